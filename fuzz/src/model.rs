//! Where a request ends, said a second time: slowly, simply, and without the codec's code.
//!
//! It follows RFC 9112, sections 2.2, 5, 6 and 7.1, for requests that the codec takes. So it knows
//! no limits and gives no reasons: a request that it frames in another way, or not at all, must not
//! have been served.

use snapback::internals::{Event, Received};

/// A request as the model frames it.
#[derive(Debug, PartialEq, Eq)]
pub struct Framed {
    /// The bytes behind the head, without chunk framing.
    pub body: Vec<u8>,
    /// Its length, with the empty lines before it.
    pub len: usize,
}

/// Frames the request at the beginning of `bytes`; `None` if there is no whole and unambiguous one.
pub fn frame(bytes: &[u8]) -> Option<Framed> {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let end = start + find(&bytes[start..], b"\r\n\r\n")? + 4;
    let mut lines = lines(&bytes[start..end - 4])?.into_iter();
    let version = request_line(lines.next()?)?;
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let (name, value) = field(line)?;
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            b"host" => hosts += 1,
            _ => {}
        }
    }
    if hosts > 1 || hosts == 0 && version == b"HTTP/1.1" {
        return None;
    }
    let (body, body_len) = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => (Vec::new(), 0),
        ([length], []) => {
            let all_digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            let body = bytes.get(end..end.checked_add(length)?)?;
            all_digits.then(|| (body.to_vec(), length))?
        }
        ([], [coding]) if version == b"HTTP/1.1" && coding.eq_ignore_ascii_case(b"chunked") => {
            chunks(&bytes[end..])?
        }
        _ => return None,
    };
    Some(Framed {
        body,
        len: end + body_len,
    })
}

/// Checks every served request of a connection that got `bytes` against the model, one after the
/// other: each begins where the one before it ended, so that no byte of a body is a request.
///
/// # Panics
///
/// If the codec served what the model frames in another way.
pub fn check(bytes: &[u8], events: &[Event]) {
    let mut start = 0;
    let served = events.iter().filter_map(|event| match event {
        Event::Request(request) => Some(request),
        _ => None,
    });
    for Received { body, end, .. } in served {
        let framed = frame(&bytes[start..]);
        let (body, len) = (body.clone(), end - start);
        assert_eq!(
            framed,
            Some(Framed { body, len }),
            "the request at byte {start} of \"{}\"",
            bytes.escape_ascii()
        );
        start = *end;
    }
}

/// The lines of a head; none may hold a CR or LF of its own.
fn lines(head: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let (line, tail) = match find(rest, b"\r\n") {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return None;
        }
        lines.push(line);
        match tail {
            Some(tail) => rest = tail,
            None => return Some(lines),
        }
    }
}

/// The version of `METHOD SP TARGET SP VERSION`.
fn request_line(line: &[u8]) -> Option<&[u8]> {
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version @ (b"HTTP/1.1" | b"HTTP/1.0")] = parts.as_slice() else {
        return None;
    };
    let visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    (is_token(method) && !target.is_empty() && target.iter().all(visible)).then_some(version)
}

/// Name and value of a field line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    (is_token(name) && value.iter().all(is_text)).then(|| (name, value.trim_ascii()))
}

/// The body in these chunks, and how long they are up to the empty line behind the trailers.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line_end = at + find(&bytes[at..], b"\r\n")?;
        let line = &bytes[at..line_end];
        if line.contains(&b'\n') || line.contains(&b'\r') {
            return None;
        }
        at = line_end + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (digits, extension) = line.split_at(digits.count());
        let digits = std::str::from_utf8(digits).ok()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        if !extension.is_empty() && !extension.trim_ascii_start().starts_with(b";") {
            return None;
        }
        if size == 0 {
            return Some((body, at + trailers(&bytes[at..])?));
        }
        let end = at.checked_add(size)?;
        body.extend_from_slice(bytes.get(at..end)?);
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
}

/// How long the trailers are, with the empty line behind them.
fn trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let end = find(bytes, b"\r\n\r\n")?;
    for line in lines(&bytes[..end])? {
        field(line)?;
    }
    Some(end + 4)
}

fn is_token(bytes: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_token)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bytes: &str) -> Option<(String, usize)> {
        let Framed { body, len } = frame(bytes.as_bytes())?;
        Some((String::from_utf8(body).expect("text"), len))
    }

    #[test]
    fn a_length_and_chunks() {
        let head = "\r\nPOST / HTTP/1.1\r\nHost: a\r\n";
        let request = format!("{head}Content-Length: 2\r\n\r\nabGET");
        assert_eq!(framed(&request), Some(("ab".into(), request.len() - 3)));
        let request =
            format!("{head}Transfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nT: t\r\n\r\nGET");
        assert_eq!(framed(&request), Some(("a".into(), request.len() - 3)));
    }

    #[test]
    fn what_has_two_readings_has_none() {
        for fields in [
            "Host: a\r\nHost: a",
            "Host: a\r\nContent-Length: +1",
            "Host: a\r\nContent-Length: 1\r\nContent-Length: 1",
            "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "Host: a\r\nTransfer-Encoding: gzip, chunked",
            "Host: a\r\nTransfer-Encoding : chunked",
            "Host: a\nTransfer-Encoding: chunked",
        ] {
            let request = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n0\r\n\r\n");
            assert_eq!(framed(&request), None, "{fields}");
        }
    }
}
