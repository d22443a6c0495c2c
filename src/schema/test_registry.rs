//! [`TestRegistry`]: a Schema Registry in this process, for tests of services that use one.

mod content;
mod routes;

use super::config::RegistryConfig;
use crate::connect::{BoxStream, Connect, Connecting};
use crate::error::{Error, ErrorKind, Result};
use crate::net::clock::{deadline, sleep_until};
use crate::net::tasks::Tasks;
use crate::secret::Secret;
use content::Content;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use routes::Routes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// After a connection that could not be had.
const PAUSE: Duration = Duration::from_millis(100);

/// A registry that begins empty and forgets everything with its end; a drop ends it.
///
/// It has Confluent's API as far as serializers, deserializers and this crate's client ask: subjects, versions, ids, references, lookup,
/// compatibility, configuration, deletion both soft and hard. It is not the judge of what is compatible that a real one is: under
/// every level but `NONE` a schema is compatible that is there already, or that only adds fields with a default to an Avro record or takes
/// some away; of JSON and Protobuf everything is taken that can be read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> milena::error::Result<()> {
/// use milena::schema::{Registry, Schema, TestRegistry};
///
/// let test = TestRegistry::in_memory()?;
/// let registry = Registry::new(test.config())?;
/// let id = registry.register("clicks-value", &Schema::avro(r#""string""#)).await?;
/// assert_eq!(registry.latest("clicks-value").await?.id, id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestRegistry {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    /// What is asked for, and nothing else is let in.
    authorization: Option<Secret>,
    /// Answers that come before all others.
    failures: Vec<u16>,
    requests: Vec<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, stream: impl crate::connect::Stream) -> JoinHandle<()> {
        let routes = Routes(self.clone());
        self.tasks.spawn(async move {
            let service = service_fn(move |request| routes.clone().answer(request));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection of the test registry ended");
            }
        })
    }
}

impl TestRegistry {
    /// One that is reached by [`config`](Self::config) only, without a socket: for virtual time, too.
    ///
    /// # Errors
    /// `State` outside of a tokio runtime.
    pub fn in_memory() -> Result<Self> {
        let shared = Arc::new(Shared { tasks: Tasks::new()?, state: Mutex::default() });
        Ok(Self { shared, address: None, accepting: None })
    }

    /// One that listens: `127.0.0.1:0` is a port that is free.
    ///
    /// # Errors
    /// `Connection` if the address can't be had; `State` outside of a tokio runtime.
    pub async fn listen(address: &str) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::with_message(ErrorKind::Connection, format!("{address} can't be listened at: {error}"))
                .caused_by(error)
        };
        let mut registry = Self::in_memory()?;
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        registry.address = Some(listener.local_addr().map_err(failed)?);
        let shared = registry.shared.clone();
        registry.accepting = Some(registry.shared.tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let handle = shared.serve(stream);
                        let abort = Abort(handle);
                        connections.spawn(async move { abort.ended().await });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the test registry could not accept");
                        sleep_until(deadline(PAUSE)).await; // no more sockets: some may be closed until then
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        }));
        Ok(registry)
    }

    /// `http://127.0.0.1:PORT`; of one in memory, an address that only [`config`](Self::config) reaches.
    pub fn url(&self) -> String {
        match self.address {
            Some(address) => format!("http://{address}"),
            None => "http://test-registry".to_owned(),
        }
    }

    /// The settings that reach it.
    ///
    /// # Panics
    /// Never: the address is one.
    #[allow(clippy::expect_used, reason = "the address is ours")]
    pub fn config(&self) -> RegistryConfig {
        let config = RegistryConfig::new([self.url()]).expect("its own address is one");
        if self.address.is_some() { config } else { config.connect(InMemory(self.shared.clone())) }
    }

    /// From now on only those are let in who have this name and password.
    pub fn require_basic_auth(&self, user: &str, password: &str) {
        use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
        let both = format!("{user}:{password}");
        self.shared.state().authorization = Some(format!("Basic {}", BASE64.encode(both)).into());
    }

    /// From now on only those are let in who have this token.
    pub fn require_bearer_auth(&self, token: &str) {
        self.shared.state().authorization = Some(format!("Bearer {token}").into());
    }

    /// The next requests are answered with these, one each: 503, 429, ….
    pub fn fail_next(&self, statuses: impl IntoIterator<Item = u16>) {
        self.shared.state().failures.extend(statuses);
    }

    /// What has been asked so far: `GET /schemas/ids/1`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// A connection's task, which goes with whoever waits for it.
struct Abort(JoinHandle<()>);

impl Abort {
    async fn ended(mut self) {
        // A panic of its has been told.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct InMemory(Arc<Shared>);

impl Connect for InMemory {
    fn connect(&self, _: &str, _: u16) -> Connecting {
        let shared = self.0.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            // It ends with the client's side.
            drop(shared.serve(theirs));
            Ok(Box::new(ours) as BoxStream)
        })
    }
}
