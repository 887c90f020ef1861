//! Servers that others wrote, with the workload `hello`, on one worker each.

use std::error::Error;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Serves the workload from another's server until it is killed.
#[derive(Args, Debug)]
pub struct RivalArguments {
    /// Whose server.
    rival: Rival,
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rival {
    /// axum on a single-threaded tokio.
    Axum,
    /// may_minihttp with one worker.
    #[value(name = "may_minihttp")]
    MayMinihttp,
}

#[derive(Deserialize)]
struct Hello {
    foo: String,
    #[expect(dead_code, reason = "part of the workload's schema")]
    bar: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FooLength {
    foo_length: usize,
}

impl From<Hello> for FooLength {
    fn from(hello: Hello) -> Self {
        FooLength {
            foo_length: hello.foo.chars().count(),
        }
    }
}

/// Serves until it is killed.
///
/// # Errors
/// It cannot listen.
pub fn main(arguments: &RivalArguments) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.rival {
        Rival::Axum => axum(arguments.listen)?,
        Rival::MayMinihttp => may_minihttp(arguments.listen)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn axum(listen: SocketAddr) -> io::Result<()> {
    use axum::routing::post;
    use axum::serve::ListenerExt;
    use axum::{Json, Router};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let answer = |Json(hello): Json<Hello>| async { Json(FooLength::from(hello)) };
        let router: Router = Router::new().route(crate::HELLO_PATH, post(answer));
        let listener = tokio::net::TcpListener::bind(listen)
            .await?
            .tap_io(|stream| {
                // Without it each reply may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
            });
        axum::serve(listener, router).await
    })
}

#[derive(Clone)]
struct Minihttp;

impl may_minihttp::HttpService for Minihttp {
    fn call(
        &mut self,
        request: may_minihttp::Request<'_, '_, '_>,
        response: &mut may_minihttp::Response<'_>,
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

fn may_minihttp(listen: SocketAddr) -> io::Result<()> {
    may::config().set_workers(1);
    let server = may_minihttp::HttpServer(Minihttp).start(listen)?;
    server
        .join()
        .map_err(|_| io::Error::other("may_minihttp panicked"))
}
