//! `--http`: metrics, health and the dashboard, from a small server beside the stages.
//!
//! ```text
//! GET /metrics    Prometheus's text        GET /              the dashboard, see `dashboard`
//! GET /healthz    200, or 503 and why      GET /numbers.json  what it shows
//! GET /readyz     200, or 503 and why      POST /demo/…       the demo's buttons, from the same origin only
//! ```
#![allow(clippy::disallowed_methods, reason = "a shell that serves has tasks and a clock")]

mod health;
mod origin;
mod routes;

use crate::{
    client::Client,
    pipeline::{
        board::Board,
        dashboard::Controls,
        error::{PipelineError, Result},
        metrics::{Metrics, Role},
    },
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use routes::Routes;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

/// Where the demo serves unless told otherwise.
pub const DEMO_ADDRESS: (&str, u16) = ("127.0.0.1", 8_080);
/// How many connections are served at once; others wait.
const CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const HEADER: Duration = Duration::from_secs(5);

/// What is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pages {
    /// The numbers.
    pub metrics: Metrics,
    /// What the dashboard shows besides.
    pub board: Arc<Board>,
    /// Asked whether the brokers answer.
    pub client: Client,
    /// The stages that should be at work.
    pub expected: Vec<Role>,
    /// The demo's buttons.
    pub controls: Option<Controls>,
}

impl Pages {
    /// Pages without buttons.
    pub fn new(metrics: Metrics, board: Arc<Board>, client: Client, expected: impl IntoIterator<Item = Role>) -> Self {
        Self { metrics, board, client, expected: expected.into_iter().collect(), controls: None }
    }
}

/// An address that is ours, and not served yet: taken before anything begins, so that a wrong one ends the command.
#[derive(Debug)]
pub struct Listener(TcpListener, SocketAddr);

impl Listener {
    /// Takes this address, `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence, if the address is none, or not to be had.
    pub async fn bind(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| refuse(address, &error))?;
        let bound = listener.local_addr().map_err(|error| refuse(address, &error))?;
        Ok(Self(listener, bound))
    }

    /// Takes [`DEMO_ADDRESS`], or the next port that nobody has.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_demo() -> Result<Self> {
        let (host, first) = DEMO_ADDRESS;
        for port in first..first + 100 {
            match TcpListener::bind((host, port)).await {
                Ok(listener) => {
                    let bound = listener.local_addr().map_err(|error| refuse(host, &error))?;
                    return Ok(Self(listener, bound));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(refuse(host, &error)),
            }
        }
        Err(PipelineError::Config(format!("--http: {host}:{first} and the next hundred ports are taken")))
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.1
    }

    /// Serves these pages.
    pub fn serve(self, pages: Pages) -> Server {
        Server(tokio::spawn(accept(self.0, Arc::new(Routes::new(pages)))))
    }
}

/// A server at work. Dropped, it and its connections are gone.
#[derive(Debug)]
pub struct Server(JoinHandle<()>);

impl Server {
    /// Closes the address and all connections, and waits until they are.
    pub async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn refuse(address: &str, error: &io::Error) -> PipelineError {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it",
        io::ErrorKind::InvalidInput => "; write HOST:PORT, such as 127.0.0.1:8080",
        _ => "",
    };
    PipelineError::Config(format!("--http {address}: {error}{hint}"))
}

/// The connections are in the task's own set: they go with it.
async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No file descriptors: the next accept fails as well, until some are closed.
                tracing::debug!(%error, "accepting");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let routes = routes.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let routes = routes.clone();
                async move { Ok::<_, std::convert::Infallible>(routes.answer(&request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection for pages");
            }
            drop(place);
        });
    }
}
