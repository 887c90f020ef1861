//! axum on a single-threaded tokio.

use std::io;
use std::net::SocketAddr;

use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};

use super::{FooLength, Hello, single_threaded};
use crate::HELLO_PATH;

pub(super) fn serve(listen: SocketAddr) -> io::Result<()> {
    single_threaded()?.block_on(async {
        let answer = |Json(hello): Json<Hello>| async { Json(FooLength::from(hello)) };
        let router: Router = Router::new().route(HELLO_PATH, post(answer));
        let listener = tokio::net::TcpListener::bind(listen)
            .await?
            .tap_io(|stream| {
                // Without it each reply may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
            });
        axum::serve(listener, router).await
    })
}
