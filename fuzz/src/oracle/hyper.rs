//! What hyper makes of the bytes of a connection, without a socket and without waiting.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};

use super::{End, Served, Verdict};

/// The verdict of hyper's server with its own settings, on a client that sends this and closes its
/// side.
pub fn verdict(bytes: &[u8]) -> Verdict {
    let served = RefCell::new(Vec::new());
    let written = Rc::new(RefCell::new(Vec::new()));
    let pipe = Pipe {
        unread: bytes.to_vec(),
        written: Rc::clone(&written),
    };
    let service = service_fn(|request| serve(request, &served));
    let connection = http1::Builder::new()
        // The client still reads.
        .half_close(true)
        .serve_connection(pipe, service);
    let result = pollster::block_on(connection);
    let served = served.into_inner();
    let end = match result {
        Ok(()) => End::Done,
        Err(error) if is_incomplete(&error) => End::Waits,
        Err(_) => End::Refuses {
            status: last_status(&written.borrow(), served.len()),
            fault: String::new(),
        },
    };
    Verdict { served, end }
}

/// Notes a request whose body is whole; the connection ends with one whose body is not.
async fn serve(
    request: Request<Incoming>,
    served: &RefCell<Vec<Served>>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    served.borrow_mut().push(Served {
        method: head.method.as_str().to_owned(),
        target: path_and_query(&head.uri),
        body: body.to_vec(),
    });
    Ok(Response::new(Empty::new()))
}

/// Without scheme and authority, as the codec gives it.
fn path_and_query(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or_else(|| uri.to_string(), ToString::to_string)
}

/// Whether the error, or what is behind it, is that the client ended amid a request.
fn is_incomplete(error: &(dyn std::error::Error + 'static)) -> bool {
    let ours = error.downcast_ref::<hyper::Error>();
    if ours.is_some_and(hyper::Error::is_incomplete_message) {
        return true;
    }
    let io = error.downcast_ref::<io::Error>();
    if io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
        return true;
    }
    error.source().is_some_and(is_incomplete)
}

/// The status of the reply behind so many others; 0 if there is none.
fn last_status(written: &[u8], replies: usize) -> u16 {
    let text = String::from_utf8_lossy(written);
    text.split("HTTP/1.")
        .skip(1)
        .filter_map(|reply| reply.get(2..5)?.parse().ok())
        .filter(|status| *status != 100)
        .nth(replies)
        .unwrap_or(0)
}

/// Gives what the client sent, and keeps what the server writes.
struct Pipe {
    unread: Vec<u8>,
    written: Rc<RefCell<Vec<u8>>>,
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let len = room.remaining().min(self.unread.len());
        room.put_slice(&self.unread[..len]);
        self.unread.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
