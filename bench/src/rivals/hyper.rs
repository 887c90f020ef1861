//! hyper on a single-threaded tokio, with a service written by hand: what a framework on top of it
//! cannot be faster than.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::{FooLength, Hello, single_threaded};
use crate::HELLO_PATH;

pub(super) fn serve(listen: SocketAddr) -> io::Result<()> {
    // Nothing has to be `Send` where there is one thread.
    LocalSet::new().block_on(&single_threaded()?, async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Without it each reply may wait for an acknowledgement.
            stream.set_nodelay(true)?;
            let connection = http1::Builder::new()
                // The replies to pipelined requests leave together.
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            spawn_local(async {
                // A client that resets its connection is the load's to count.
                let _ = connection.await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != HELLO_PATH {
        return Ok(refusal(StatusCode::NOT_FOUND));
    }
    if request.method() != Method::POST {
        return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(refusal(StatusCode::BAD_REQUEST));
    };
    let reply = serde_json::from_slice::<Hello>(&body.to_bytes())
        .and_then(|hello| serde_json::to_vec(&FooLength::from(hello)));
    let Ok(reply) = reply else {
        return Ok(refusal(StatusCode::BAD_REQUEST));
    };
    let mut response = Response::new(Full::new(reply.into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
