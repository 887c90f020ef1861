//! may_minihttp with one worker.

use std::io::{self, Read};
use std::net::SocketAddr;

use may_minihttp::{HttpServer, HttpService, Request, Response};

use super::{FooLength, Hello};

pub(super) fn serve(listen: SocketAddr) -> io::Result<()> {
    may::config().set_workers(1);
    let server = HttpServer(Minihttp).start(listen)?;
    server
        .join()
        .map_err(|_| io::Error::other("may_minihttp panicked"))
}

#[derive(Clone)]
struct Minihttp;

impl HttpService for Minihttp {
    fn call(
        &mut self,
        request: Request<'_, '_, '_>,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        let mut body = Vec::new();
        request.body().read_to_end(&mut body)?;
        match serde_json::from_slice::<Hello>(&body) {
            Ok(hello) => {
                response.header("Content-Type: application/json");
                let out = response.body_mut();
                serde_json::to_writer(BytesWriter(out), &FooLength::from(hello))?;
            }
            Err(_) => {
                response.status_code(400, "Bad Request");
            }
        }
        Ok(())
    }
}

struct BytesWriter<'b>(&'b mut bytes::BytesMut);

impl io::Write for BytesWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
