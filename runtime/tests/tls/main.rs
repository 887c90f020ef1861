//! TLS and the PROXY protocol over real sockets.

mod certificates;
mod exchange;
mod files;
mod handshake;
mod haproxy;
mod programs;
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod wire;

/// Says who asked and with what, or as many bytes as `bytes` in the query asks for.
fn echo(reader: snapback::ServerReader) -> snapback::StreamWriter {
    let requests = reader.load().expect("the options are good");
    requests
        .make_reply_with(|request, reply| {
            let wanted = request.query("bytes").and_then(|bytes| bytes.parse().ok());
            match wanted {
                Some(bytes) => reply.bytes(&pattern(bytes)),
                None if request.body().is_empty() => reply.text(&request.peer().to_string()),
                None => reply.bytes(request.body()),
            };
        })
        .write_stream()
}

/// Bytes whose order shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect()
}
