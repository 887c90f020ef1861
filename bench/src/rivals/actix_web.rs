//! actix-web with one worker, and nothing in front of its handler.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::web::{Json, post};
use actix_web::{App, HttpServer};

use super::{FooLength, Hello};
use crate::HELLO_PATH;

/// Longer than a measurement; the default of 5 s is shorter than a long one.
const KEEP_ALIVE: Duration = Duration::from_secs(600);

pub(super) fn serve(listen: SocketAddr) -> io::Result<()> {
    System::new().block_on(async {
        HttpServer::new(|| App::new().route(HELLO_PATH, post().to(answer)))
            .workers(1)
            .keep_alive(KEEP_ALIVE)
            // Without it each reply may wait for an acknowledgement.
            .tcp_nodelay(true)
            // Who stops it does not want it to wait for connections that stay.
            .disable_signals()
            .bind(listen)?
            .run()
            .await
    })
}

async fn answer(hello: Json<Hello>) -> Json<FooLength> {
    Json(FooLength::from(hello.into_inner()))
}
