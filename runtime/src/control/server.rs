//! The admin listener's connections: few, short, and of HTTP that hyper reads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::listen::Wanted;
use super::router::Router;

/// How many connections may be open; one more cuts the oldest, so that a probe gets in even while
/// somebody holds all of them.
const MAX_CONNECTIONS: usize = 64;
/// How long the head of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take in all; each serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// A taken port, or descriptors that ran out, are tried again after so long.
const RETRY: Duration = Duration::from_millis(100);

/// Answers at the admin listener until that is closed.
pub(super) struct Server {
    router: Arc<Router>,
    bound: Arc<OnceLock<SocketAddr>>,
    connections: VecDeque<JoinHandle<()>>,
}

impl Server {
    pub(super) fn new(router: Router, bound: Arc<OnceLock<SocketAddr>>) -> Self {
        Server {
            router: Arc::new(router),
            bound,
            connections: VecDeque::new(),
        }
    }

    /// Tells where it listens.
    pub(super) fn note_bound(&self, listener: &TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        tracing::info!(%address, "the admin listener is open");
        let _ = self.bound.set(address);
        Ok(())
    }

    /// Serves at the listener; without one, waits until its port is free. When it is closed, whoever had
    /// come by then is still answered.
    pub(super) async fn run(
        mut self,
        wanted: Wanted,
        listener: Option<TcpListener>,
        mut closed: oneshot::Receiver<()>,
    ) {
        let listener = match listener {
            Some(listener) => listener,
            None => match unless(&mut closed, self.wait_for(&wanted)).await {
                Some(listener) => listener,
                None => return,
            },
        };
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin listener cannot be watched"),
        };
        while let Some(accepted) = unless(&mut closed, listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.serve(stream),
                // Descriptors ran out, or the client is gone already.
                Err(error) => {
                    tracing::debug!(%error, "the admin listener cannot accept");
                    sleep(RETRY).await;
                }
            }
        }
        while let Some(stream) = waiting(&listener).await {
            self.serve(stream);
        }
        drop(listener);
        for connection in self.connections {
            // Each is bounded in time.
            let _ = connection.await;
        }
    }

    async fn wait_for(&self, wanted: &Wanted) -> TcpListener {
        let address = wanted.address();
        tracing::warn!(%address, "the port of the admin listener is taken; it opens once that is free");
        loop {
            sleep(RETRY).await;
            let listener = wanted.bind().ok().flatten();
            if let Some(listener) = listener.filter(|listener| self.note_bound(listener).is_ok()) {
                return listener;
            }
        }
    }

    fn serve(&mut self, stream: TcpStream) {
        self.connections.retain(|task| !task.is_finished());
        if self.connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.connections.pop_front()
        {
            oldest.abort();
        }
        let task = tokio::spawn(exchange(stream, Arc::clone(&self.router)));
        self.connections.push_back(task);
    }
}

/// What the work gives; none when it is closed before.
async fn unless<T>(closed: &mut oneshot::Receiver<()>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match Pin::new(&mut *closed).poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

/// A connection that has come already.
async fn waiting(listener: &tokio::net::TcpListener) -> Option<TcpStream> {
    poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(Ok((stream, _))) => Poll::Ready(Some(stream)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// One request and its reply.
async fn exchange(stream: TcpStream, router: Arc<Router>) {
    let service = service_fn(move |request| {
        let router = Arc::clone(&router);
        async move { Ok::<_, Infallible>(router.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever sends what is no HTTP, or goes away, was answered as far as that goes.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}
