//! Bodies of replies that come in chunks (RFC 9112, section 7.1), as those of some servers do that one
//! compares with.

use memchr::memchr;

use super::reply::MalformedReply;

/// Hands each chunk of the body that `input` begins with to `each`. Gives how long the body is, with its
/// sizes and trailers; nothing when its end has not arrived.
pub(super) fn walk(
    input: &[u8],
    mut each: impl FnMut(&[u8]),
) -> Result<Option<usize>, MalformedReply> {
    let mut at = 0;
    loop {
        let (line_bytes, size) = match httparse::parse_chunk_size(&input[at..]) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(MalformedReply),
        };
        at += line_bytes;
        if size == 0 {
            return Ok(end_of_trailers(&input[at..]).map(|trailer_bytes| at + trailer_bytes));
        }
        let data_end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size));
        let data_end = data_end.ok_or(MalformedReply)?;
        let Some(rest) = input.get(data_end..).filter(|rest| rest.len() >= 2) else {
            return Ok(None);
        };
        if !rest.starts_with(b"\r\n") {
            return Err(MalformedReply);
        }
        each(&input[at..data_end]);
        at = data_end + 2;
    }
}

/// How many bytes there are up to an empty line, with it.
fn end_of_trailers(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_bytes = memchr(b'\n', &input[at..])?;
        let is_empty = matches!(&input[at..at + line_bytes], b"" | b"\r");
        at += line_bytes + 1;
        if is_empty {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(input: &[u8]) -> Result<Option<(usize, Vec<u8>)>, MalformedReply> {
        let mut body = Vec::new();
        let bytes = walk(input, |chunk| body.extend_from_slice(chunk))?;
        Ok(bytes.map(|bytes| (bytes, body)))
    }

    #[test]
    fn chunks_end_where_they_say_wherever_they_are_cut() {
        for (input, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", "hello world"),
            (
                "B\r\nhello world\r\n0\r\na: b\r\nc: d\r\n\r\n",
                "hello world",
            ),
        ] {
            let more = [input.as_bytes(), b"HTTP/1.1 200 OK"].concat();
            let whole = Some((input.len(), body.as_bytes().to_vec()));
            assert_eq!(walked(&more), Ok(whole), "{input:?}");
            for cut in 0..input.len() {
                assert_eq!(walked(&more[..cut]), Ok(None), "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_are_no_chunks_is_malformed() {
        for input in ["x\r\n", "2\r\nhello\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(walked(input.as_bytes()), Err(MalformedReply), "{input:?}");
        }
    }
}
