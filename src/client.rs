//! [`Client`]: what producers, consumers and the admin of one cluster share: connections, metadata, clock.

mod config;
mod metrics;
mod security;
pub use config::ClientConfig;
pub use metrics::{ClientMetrics, NodeMetrics};
#[cfg(feature = "schema-registry")]
pub(crate) use security::tls_by_properties;

use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{CoordinatorKey, NodeId};
use crate::machine::metadata::{Cluster, Interest, Metadata, MetadataConfig, TopicMetadata};
use crate::machine::{Clock, Machine, Offload, backoff::Backoff};
use crate::net::brokers::{Brokers, BrokersConfig, Purpose};
use crate::net::clock::{NetClock, bounded};
use crate::net::connection::{Connection, ConnectionConfig};
use crate::net::drive::{Call, Command, drive};
use crate::net::tasks::Tasks;
use crate::wire::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse};
use crate::wire::{Request, StrBytes};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// A handle to one cluster. Cheap to clone; the last one, and the last producer, consumer or admin made of it, closes
/// the connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    brokers: Arc<Brokers>,
    tasks: Tasks,
    cluster: watch::Receiver<Arc<Cluster>>,
    metadata: mpsc::Sender<Command<Metadata>>,
    seeds: Mutex<fastrand::Rng>,
    next_id: AtomicU64,
}

impl Client {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// `Config` for a bad address or an empty list, and for what is wrong with TLS or SASL, naming the property;
    /// `State` outside of a tokio runtime: there is no hidden one.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let tasks = Tasks::new()?;
        let mut seeds = fastrand::Rng::with_seed(config.seed.unwrap_or_else(|| fastrand::u64(..)));
        let brokers = Arc::new(Brokers::new(
            config.connect.clone(),
            BrokersConfig {
                connection: ConnectionConfig {
                    client_id: config.client_id.as_str().into(),
                    setup_timeout: config.connection_setup_timeout,
                    security: config.security.build(config.clock, config.connection_setup_timeout)?,
                },
                reconnect_backoff: config.reconnect_backoff,
                reconnect_backoff_max: config.reconnect_backoff_max,
                bootstrap: config.addresses()?,
                seed: seeds.u64(..),
            },
            tasks.clone(),
        ));
        let (publish, cluster) = watch::channel(Arc::default());
        let (metadata, commands) = mpsc::channel(64);
        let machine = Metadata::new(MetadataConfig {
            max_age: config.metadata_max_age,
            retry_backoff: config.retry_backoff,
            retry_backoff_max: config.retry_backoff_max,
            seed: seeds.u64(..),
        });
        let asker = AskAny { brokers: brokers.clone(), timeout: config.request_timeout };
        tasks.spawn(keep_metadata(machine, asker, commands, publish, config.clock));
        let (seeds, next_id) = (Mutex::new(seeds), AtomicU64::new(1));
        Ok(Self { inner: Arc::new(Inner { config, brokers, tasks, cluster, metadata, seeds, next_id }) })
    }

    /// A client that has reached the cluster.
    ///
    /// # Errors
    /// Those of [`Client::new`], and why no broker answered within `default.api.timeout.ms`. Dropping the future
    /// closes what was opened.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let client = Self::new(config)?;
        let deadline = client.api_deadline();
        client.retry_connecting(deadline).await?;
        client.refreshed(0, deadline).await?;
        Ok(client)
    }

    /// The cluster's id, once a broker has answered.
    pub fn cluster_id(&self) -> Option<String> {
        self.cluster().cluster_id.clone()
    }

    /// Closes every connection and ends every task: what is under way fails as `Closed`. Close producers and consumers
    /// first, or what they have in hand is lost. Waits two seconds at most: a group is left within one.
    pub async fn close(&self) {
        let _ = self.inner.metadata.send(Box::new(Machine::handle_abandoned)).await;
        self.inner.brokers.close();
        let _ = timeout_at((self.now() + Duration::from_secs(2)).into(), self.inner.tasks.ended()).await;
    }

    /// Bytes written to and read from sockets so far, all connections together.
    pub fn traffic(&self) -> (u64, u64) {
        let traffic = self.inner.brokers.traffic();
        traffic.values().fold((0, 0), |(sent, received), node| (sent + node.sent.get(), received + node.received.get()))
    }

    /// Produce requests sent so far, all producers together; one that is sent again counts again.
    pub fn produce_requests(&self) -> u64 {
        self.inner.brokers.traffic().values().map(|node| node.produce_requests.get()).sum()
    }

    /// How many tasks of this client have not ended. For tests that leave nothing behind.
    pub fn live_tasks(&self) -> usize {
        self.inner.tasks.live()
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    pub(crate) fn clock(&self) -> NetClock {
        self.inner.config.clock
    }

    pub(crate) fn now(&self) -> Instant {
        self.inner.config.clock.now()
    }

    /// So long from now, which an application says.
    pub(crate) fn deadline(&self, wait: Duration) -> Instant {
        self.now() + bounded(wait)
    }

    /// When an operation that begins now must have ended: `default.api.timeout.ms`.
    pub(crate) fn api_deadline(&self) -> Instant {
        self.deadline(self.inner.config.default_api_timeout)
    }

    /// Runs `future` on the client's runtime; it is counted until it ends.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.inner.tasks.spawn(future)
    }

    /// Where work that takes long is done; it is counted as tasks are.
    pub(crate) fn offload(&self) -> Arc<dyn Offload> {
        Arc::new(self.inner.tasks.clone())
    }

    /// A seed for something random, which follows from the client's.
    pub(crate) fn seed(&self) -> u64 {
        self.inner.seeds.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    /// A number of its own for each consumer or producer.
    pub(crate) fn next_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A backoff by `retry.backoff.ms`.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.config.retry_backoff, self.inner.config.retry_backoff_max, self.seed())
    }

    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(crate) fn retry_backoff(&self) -> (Duration, Duration) {
        (self.inner.config.retry_backoff, self.inner.config.retry_backoff_max)
    }

    /// Waits until it may be tried again, if that is in time.
    ///
    /// # Errors
    /// `error`, if it isn't.
    pub(crate) async fn wait_to_retry(&self, backoff: &mut Backoff, deadline: Instant, error: Error) -> Result<()> {
        let wait = backoff.next_wait();
        if self.now() + wait >= deadline {
            return Err(error);
        }
        self.sleep(wait).await;
        Ok(())
    }

    /// Waits; for retries.
    pub(crate) async fn sleep(&self, wait: Duration) {
        crate::net::clock::sleep_until(self.now() + wait).await;
    }

    /// The consumer or producer with this number is gone.
    pub(crate) fn release(&self, owner: u64) {
        self.inner.brokers.release(owner);
    }

    /// A broker has said where another one listens.
    pub(crate) fn learn(&self, node: NodeId, host: String, port: u16) {
        self.inner.brokers.learn(node, host, port);
    }

    /// What is known of the cluster.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.inner.cluster.borrow().clone()
    }

    /// Tells of every change of it.
    pub(crate) fn watch_cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.inner.cluster.clone()
    }

    /// Keeps these topics fresh as long as what is returned is held; `auto_create`: the broker may create them, if it does that.
    #[must_use = "they are forgotten when it is dropped"]
    pub(crate) fn want_topics(&self, topics: impl IntoIterator<Item = Arc<str>>, auto_create: bool) -> Interest {
        let interest = Interest::default();
        self.want_topics_for(&interest, topics, auto_create);
        interest
    }

    /// As [`want_topics`](Self::want_topics), for who has an interest already.
    pub(crate) fn want_topics_for(
        &self,
        interest: &Interest,
        topics: impl IntoIterator<Item = Arc<str>>,
        auto_create: bool,
    ) {
        let (topics, interest): (Vec<_>, _) = (topics.into_iter().collect(), interest.clone());
        self.command(move |metadata, _| metadata.want(topics, &interest, auto_create));
    }

    /// Keeps [`Cluster::listed`] fresh from now on.
    pub(crate) fn list_all_topics(&self) {
        self.command(|metadata, _| metadata.list_all());
    }

    /// What was seen under `generation` was wrong: asks again, unless there has been an answer since.
    pub(crate) fn refresh(&self, generation: u64) {
        self.command(move |metadata, now| metadata.invalidate(now, generation));
    }

    fn command(&self, command: impl FnOnce(&mut Metadata, Instant) + Send + 'static) {
        let command: Command<Metadata> = Box::new(command);
        if let Err(mpsc::error::TrySendError::Full(command)) = self.inner.metadata.try_send(command) {
            let metadata = self.inner.metadata.clone();
            self.spawn(async move {
                let _ = metadata.send(command).await;
            });
        }
    }

    /// A picture of the cluster newer than `generation`.
    ///
    /// # Errors
    /// `Timeout`, with the reason if no broker can be reached; at once, if we are refused (`Denied`, `Tls`).
    pub(crate) async fn refreshed(&self, generation: u64, deadline: Instant) -> Result<Arc<Cluster>> {
        let before = self.cluster();
        self.refresh(generation);
        self.wait_for(&before, deadline, |cluster| (cluster.generation > generation).then(|| cluster.clone())).await
    }

    /// A topic, once it is known; with what keeps it fresh from then on.
    ///
    /// # Errors
    /// The broker's code if the topic can't be (no such name, not allowed), or if there is none at the deadline; why
    /// no broker answers. Dropping the future is an end of the wait, and of nobody else's.
    pub(crate) async fn topic(
        &self,
        name: &str,
        auto_create: bool,
        deadline: Instant,
    ) -> Result<(Arc<TopicMetadata>, Interest)> {
        let before = self.cluster();
        let generation = before.generation;
        let wanted = self.want_topics([name.into()], auto_create);
        let known = |cluster: &Arc<Cluster>| match (cluster.topics.get(name), cluster.errors.get(name)) {
            (Some(topic), _) => Some(Ok(topic.clone())),
            (None, Some(error)) if !error.is_retriable() && cluster.generation > generation => Some(Err(*error)),
            _ => None,
        };
        match self.wait_for(&before, deadline, known).await {
            Ok(Ok(topic)) => Ok((topic, wanted)),
            Ok(Err(code)) => Err(Error::broker(code).api("Metadata").topic(name)),
            Err(error) => {
                let code = self.cluster().errors.get(name).copied();
                Err(code.map_or(error, |code| Error::broker(code).api("Metadata")).topic(name))
            }
        }
    }

    /// Waits for a picture, or for a refusal that is news against `before`.
    async fn wait_for<T>(
        &self,
        before: &Cluster,
        deadline: Instant,
        ready: impl Fn(&Arc<Cluster>) -> Option<T>,
    ) -> Result<T> {
        let mut cluster = self.watch_cluster();
        let waiting = async {
            loop {
                let now = cluster.borrow_and_update().clone();
                if let Some(found) = ready(&now) {
                    return Ok(found);
                }
                if let (count, Some(refusal)) = &now.refusals
                    && *count > before.refusals.0
                {
                    return Err(refusal.clone());
                }
                if cluster.changed().await.is_err() {
                    return Err(Error::with_message(ErrorKind::Closed, "the client is closed"));
                }
            }
        };
        match timeout_at(deadline.into(), waiting).await {
            Ok(done) => done.map_err(|error| error.certainty(Certainty::NotSent)),
            // Why it took so long: the last question failed, or nobody could be reached.
            Err(_) => {
                let late = || Error::with_message(ErrorKind::Timeout, "no metadata in time");
                let why = match self.cluster().failure.clone() {
                    Some(failure) => failure,
                    None => self.inner.brokers.any(self.now().into()).await.map_or_else(|error| error, |_| late()),
                };
                Err(why.certainty(Certainty::NotSent))
            }
        }
    }

    /// A connection to `node`: one attempt, after the reconnect backoff if the last one failed.
    ///
    /// # Errors
    /// `Connection` or `Timeout`, always `NotSent`.
    pub(crate) async fn connection(&self, node: NodeId, purpose: Purpose, deadline: Instant) -> Result<Connection> {
        self.inner.brokers.connection(node, purpose, deadline.into()).await
    }

    /// Any broker, tried until the deadline.
    pub(crate) async fn retry_connecting(&self, deadline: Instant) -> Result<Connection> {
        let mut backoff = self.backoff();
        loop {
            match self.inner.brokers.any(deadline.into()).await {
                Ok(connection) => return Ok(connection),
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => self.wait_to_retry(&mut backoff, deadline, error).await?,
            }
        }
    }

    /// Asks on this connection, in the highest common version.
    pub(crate) async fn call_on<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let version = connection.versions().pick::<R>().map_err(|error| connection.place(error))?;
        connection.call(request, version, self.call_timeout(deadline)).await
    }

    /// `request.timeout.ms`, or what is left until the deadline.
    pub(crate) fn call_timeout(&self, deadline: Instant) -> Duration {
        self.inner.config.request_timeout.min(deadline.saturating_duration_since(self.now()))
    }

    /// Asks whoever answers, until one does. Only for questions that may be asked twice.
    pub(crate) async fn call_any<R: Request>(&self, request: &R, deadline: Instant) -> Result<R::Response> {
        let mut backoff = self.backoff();
        loop {
            let connection = self.retry_connecting(deadline).await?;
            match self.call_on(&connection, request, deadline).await {
                Err(error) if error.is_retriable() => {
                    self.wait_to_retry(&mut backoff, deadline, error.certainty(Certainty::NotSent)).await?;
                }
                done => return done,
            }
        }
    }

    /// The coordinator of a group or a transactional id. One question; the errors of one that is not there yet are retriable.
    pub(crate) async fn find_coordinator(&self, key: &CoordinatorKey, deadline: Instant) -> Result<NodeId> {
        let (key_type, key) = match key {
            CoordinatorKey::Group(id) => (0, id),
            CoordinatorKey::Transaction(id) => (1, id),
        };
        let found = self.find_coordinators(key_type, std::slice::from_ref(key), deadline).await?;
        found.into_iter().next().unwrap_or_else(|| Err(ErrorCode::CoordinatorNotAvailable.into()))
    }

    /// The coordinators of groups (`key_type` 0) or transactional ids (1), in their order: by one question from v4 on
    /// (KIP-699), by one for each before. The errors of those that are not there yet are retriable.
    pub(crate) async fn find_coordinators(
        &self,
        key_type: i8,
        keys: &[impl AsRef<str>],
        deadline: Instant,
    ) -> Result<Vec<Result<NodeId>>> {
        let connection = self.retry_connecting(deadline).await?;
        let version = connection.versions().pick::<FindCoordinatorRequest>()?;
        let mut nodes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(if version >= 4 { keys.len().max(1) } else { 1 }) {
            let wanted: Vec<_> = keys.iter().map(|key| StrBytes::from_string(key.as_ref().to_owned())).collect();
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            let request = match wanted.first() {
                Some(key) if version < 4 => request.with_key(key.clone()),
                _ => request.with_coordinator_keys(wanted.clone()),
            };
            let response = connection.call(&request, version, self.call_timeout(deadline)).await?;
            let place = |code, message: Option<StrBytes>, node: NodeId| match ErrorCode::check(code) {
                Ok(()) => Ok(node),
                Err(code) => {
                    let error = connection.place(Error::broker(code)).api("FindCoordinator");
                    Err(message.into_iter().fold(error, |error, message| error.message(message.to_string())))
                }
            };
            if version < 4 {
                nodes.push(place(response.error_code, response.error_message, NodeId(response.node_id.0)));
                continue;
            }
            let mut found: HashMap<_, _> =
                response.coordinators.into_iter().map(|one| (one.key.clone(), one)).collect();
            nodes.extend(wanted.iter().map(|key| match found.remove(key) {
                Some(one) => place(one.error_code, one.error_message, NodeId(one.node_id.0)),
                None => Err(connection.place(ErrorCode::CoordinatorNotAvailable.into()).api("FindCoordinator")),
            }));
        }
        Ok(nodes)
    }
}

/// Runs the metadata machine and publishes what it finds.
async fn keep_metadata(
    machine: Metadata,
    asker: AskAny,
    commands: mpsc::Receiver<Command<Metadata>>,
    publish: watch::Sender<Arc<Cluster>>,
    clock: NetClock,
) {
    let brokers = asker.brokers.clone();
    let (events, mut pictures) = mpsc::channel::<Arc<Cluster>>(1);
    let publishing = async {
        while let Some(cluster) = pictures.recv().await {
            brokers.update(&cluster.nodes);
            publish.send_replace(cluster);
        }
    };
    tokio::join!(drive(machine, asker, commands, events, Arc::new(Notify::new()), clock), publishing);
}

struct AskAny {
    brokers: Arc<Brokers>,
    timeout: Duration,
}

impl Call<Metadata> for AskAny {
    async fn call(&self, request: MetadataRequest) -> Result<MetadataResponse> {
        let connection = self.brokers.any(crate::net::clock::deadline(self.timeout).into()).await?;
        let version = connection.versions().pick::<MetadataRequest>()?;
        connection.call(&request, version, self.timeout).await
    }
}

#[cfg(all(test, feature = "test-broker"))]
mod tests;
