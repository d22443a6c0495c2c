//! Connections by node and purpose. A broker answers a connection in order, so what may be parked there for long (a
//! Fetch, a JoinGroup) has a connection of its own and never stands before a Produce or a heartbeat.

use super::connection::{Connection, ConnectionConfig};
use super::tasks::Tasks;
use super::traffic::Traffic;
use crate::connect::Connect;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::backoff::Backoff;
use crate::machine::metadata::Node;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often the log is told of one peer at most.
const NAG: Duration = Duration::from_secs(30);

/// What a connection is for. The number is the consumer's, since one client may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Metadata, coordinators, admin: short questions.
    General,
    /// Produce.
    Produce,
    /// Long polls of one consumer.
    Fetch(u64),
    /// One member's heartbeats and commits.
    Group(u64),
    /// One member's JoinGroup, which may be parked for minutes.
    Join(u64),
    /// One transactional producer's: a broker takes the requests of a connection one after the other, and the end of a
    /// transaction waits for replicas.
    Transaction(u64),
}

/// How connections are made and made again.
#[derive(Debug, Clone)]
pub struct BrokersConfig {
    /// For each connection.
    pub connection: ConnectionConfig,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `bootstrap.servers`.
    pub bootstrap: Vec<(String, u16)>,
    /// For the jitter, and for which broker is asked first.
    pub seed: u64,
}

/// Every connection of one client.
#[derive(Debug)]
pub struct Brokers {
    connect: Arc<dyn Connect>,
    config: BrokersConfig,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeId, Node>,
    /// Brokers that others have told of and that the metadata doesn't know yet.
    learned: BTreeMap<NodeId, Node>,
    slots: HashMap<(Peer, Purpose), Arc<tokio::sync::Mutex<Slot>>>,
    attempts: HashMap<Peer, Attempts>,
    /// By node; `None` has the bootstrap addresses.
    traffic: BTreeMap<Option<NodeId>, Arc<Traffic>>,
    random: fastrand::Rng,
}

/// How a peer was connected to so far, for whatever purpose.
#[derive(Debug, Default)]
struct Attempts {
    /// At least once.
    reached: bool,
    /// Why the last one failed, for those who have no time for one of their own.
    failure: Option<Error>,
    /// When the log was last told that it can't be reached, if it could not since.
    warned: Option<Instant>,
}

impl Attempts {
    /// The node is elsewhere, or gone.
    fn forget(&mut self) {
        (self.reached, self.failure) = (false, None);
    }
}

/// Nodes are known by their id alone; a bootstrap address stands for nobody yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Peer {
    Bootstrap(usize),
    Node(NodeId),
}

/// Held while a connection is made, so that it is made once; whoever drops out leaves the next one to try.
#[derive(Debug)]
struct Slot {
    connection: Option<Connection>,
    backoff: Backoff,
    /// Not before this; the cause of the last failure, for those who can't wait that long.
    not_before: Option<(Instant, Error)>,
}

impl Brokers {
    /// Makes no connection yet.
    pub fn new(connect: Arc<dyn Connect>, config: BrokersConfig, tasks: Tasks) -> Self {
        let state = State { random: fastrand::Rng::with_seed(config.seed), ..State::default() };
        Self { connect, config, tasks, state: Mutex::new(state) }
    }

    /// What crossed the connections to each node; under `None` what did to bootstrap addresses.
    pub fn traffic(&self) -> BTreeMap<Option<NodeId>, Arc<Traffic>> {
        self.state().traffic.clone()
    }

    /// The brokers and where they listen now. Connections to a node that has moved are dropped: they serve those who
    /// hold them, and nobody else gets them.
    pub fn update(&self, nodes: &BTreeMap<NodeId, Node>) {
        let mut state = self.state();
        if state.nodes == *nodes {
            return;
        }
        let old = std::mem::replace(&mut state.nodes, nodes.clone());
        let State { learned, slots, attempts, .. } = &mut *state;
        let same_place = |id: &NodeId| match (old.get(id).or(learned.get(id)), nodes.get(id).or(learned.get(id))) {
            (Some(old), Some(new)) => (&old.host, old.port) == (&new.host, new.port),
            _ => false,
        };
        let stays = |peer: &Peer| match peer {
            Peer::Node(id) => same_place(id),
            Peer::Bootstrap(_) => true,
        };
        slots.retain(|(peer, _), _| stays(peer));
        // The log is told of an outage's end though the metadata has forgotten the node meanwhile.
        attempts.iter_mut().filter(|(peer, _)| !stays(peer)).for_each(|(_, attempts)| attempts.forget());
        learned.retain(|id, _| !nodes.contains_key(id));
    }

    /// A broker has said where another one listens, of which the metadata knows nothing yet (KIP-951).
    pub fn learn(&self, id: NodeId, host: String, port: u16) {
        let mut state = self.state();
        if !state.nodes.contains_key(&id) {
            state.learned.insert(id, Node { host, port, rack: None });
        }
    }

    /// A connection to `node`, made if there is none. One attempt, after the reconnect backoff if the last one failed.
    ///
    /// # Errors
    /// `Connection` or `Timeout`, always `NotSent`. Dropping the future leaves the attempt to the next caller.
    pub async fn connection(&self, node: NodeId, purpose: Purpose, deadline: Instant) -> Result<Connection> {
        self.open(Peer::Node(node), purpose, deadline).await
    }

    /// A connection to whoever answers: one that is open, or else nodes and bootstrap addresses by turns, each tried once. By
    /// turns, for nodes that are gone for good may be silent for longer than there is time, and nobody else knows the new ones.
    ///
    /// # Errors
    /// What another attempt does not help against, if one of them said that, or what the last one said.
    pub async fn any(&self, deadline: Instant) -> Result<Connection> {
        let (open, peers) = self.candidates();
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut last = Error::with_message(ErrorKind::Connection, "no broker is known").certainty(Certainty::NotSent);
        for peer in peers {
            match self.open(peer, Purpose::General, deadline).await {
                Ok(connection) => return Ok(connection),
                Err(_) if last.is_fatal() => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The consumer or producer with this number is gone: nobody gets its connections any more, and they close when it lets go.
    pub fn release(&self, owner: u64) {
        self.state().slots.retain(|(_, purpose), _| match purpose {
            Purpose::Fetch(id) | Purpose::Group(id) | Purpose::Join(id) | Purpose::Transaction(id) => *id != owner,
            Purpose::General | Purpose::Produce => true,
        });
    }

    /// Closes everything: what is under way fails as `Closed`, and whatever is asked for from now on is refused.
    pub fn close(&self) {
        self.tasks.close();
        self.state().slots.clear();
    }

    fn candidates(&self) -> (Option<Connection>, Vec<Peer>) {
        let mut state = self.state();
        let open = state.slots.iter().filter(|((_, purpose), _)| *purpose == Purpose::General).find_map(|(_, slot)| {
            let slot = slot.try_lock().ok()?;
            slot.connection.clone().filter(|connection| !connection.is_closed())
        });
        let mut nodes: Vec<_> = state.nodes.keys().copied().map(Peer::Node).collect();
        let mut bootstrap: Vec<_> = (0..self.config.bootstrap.len()).map(Peer::Bootstrap).collect();
        state.random.shuffle(&mut nodes);
        state.random.shuffle(&mut bootstrap);
        let longer = nodes.len().max(bootstrap.len());
        let by_turns = (0..longer).flat_map(|at| nodes.get(at).into_iter().chain(bootstrap.get(at)).copied());
        (open, by_turns.collect())
    }

    async fn open(&self, peer: Peer, purpose: Purpose, deadline: Instant) -> Result<Connection> {
        tokio::select! {
            biased;
            () = self.tasks.closing() => {
                let error = Error::with_message(ErrorKind::Closed, "the client is closed");
                Err(error.certainty(Certainty::NotSent))
            }
            opened = self.open_in_time(peer, purpose, deadline) => opened,
        }
    }

    async fn open_in_time(&self, peer: Peer, purpose: Purpose, deadline: Instant) -> Result<Connection> {
        let late = || {
            let last = self.state().attempts.get(&peer).and_then(|attempts| attempts.failure.clone());
            last.unwrap_or_else(|| {
                let error = Error::with_message(ErrorKind::Timeout, "no connection in time");
                let error = error.certainty(Certainty::NotSent);
                match self.place(peer) {
                    Ok((host, port, node)) => {
                        node.into_iter().fold(error.address(format!("{host}:{port}")), Error::node)
                    }
                    Err(_) => error,
                }
            })
        };
        let slot = self.slot(peer, purpose);
        let Ok(mut slot) = timeout_at(deadline, slot.lock()).await else {
            return Err(late());
        };
        if let Some(connection) = slot.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        slot.connection = None;
        if let Some((at, cause)) = slot.not_before.clone() {
            if at > deadline {
                sleep_until(deadline).await;
                return Err(cause);
            }
            sleep_until(at).await;
        }
        let (host, port, node) = self.place(peer)?;
        let (traffic, seed) = {
            let mut state = self.state();
            (state.traffic.entry(node).or_default().clone(), state.random.u64(..))
        };
        let common = (&self.tasks, &traffic, seed);
        let opening = Connection::open(&*self.connect, (&host, port), node, &self.config.connection, common);
        let opened = match timeout_at(deadline, opening).await {
            Ok(opened) => {
                let denied = opened.as_ref().err().is_some_and(|error| error.kind() == ErrorKind::Denied);
                traffic.denied.add(u64::from(denied));
                self.attempted(peer, opened)
            }
            Err(_) => Err(late()),
        };
        traffic.failed.add(u64::from(opened.is_err()));
        match opened {
            Ok(connection) => {
                slot.backoff.reset();
                slot.not_before = None;
                slot.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                tracing::debug!(%error, ?purpose, "connecting failed");
                slot.not_before = Some((Instant::now() + slot.backoff.next_wait(), error.clone()));
                Err(error)
            }
        }
    }

    /// Remembers how it went, and tells the log: of an outage at once, as who waits may wait for long, each half minute
    /// while it is tried again, and at its end.
    fn attempted(&self, peer: Peer, opened: Result<Connection>) -> Result<Connection> {
        let mut state = self.state();
        let attempts = state.attempts.entry(peer).or_default();
        let opened = opened.map_err(|error| match peer {
            Peer::Node(_) if !attempts.reached => error.or_hint(
                "this address is of the broker's advertised.listeners: it has to be one that can be reached from here",
            ),
            _ => error,
        });
        attempts.reached |= opened.is_ok();
        attempts.failure = opened.as_ref().err().cloned();
        let is_news = attempts.warned.is_none_or(|at| at.elapsed() >= NAG);
        match &opened {
            Err(error) if is_news && !error.is_fatal() => {
                attempts.warned = Some(Instant::now());
                tracing::warn!("{error}; it is tried again");
            }
            Ok(connection) if attempts.warned.take().is_some() => {
                tracing::info!(address = %connection.address(), "connected");
            }
            _ => {}
        }
        opened
    }

    fn slot(&self, peer: Peer, purpose: Purpose) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut state = self.state();
        let seed = state.random.u64(..);
        let slot = state.slots.entry((peer, purpose)).or_insert_with(|| {
            let backoff = Backoff::new(self.config.reconnect_backoff, self.config.reconnect_backoff_max, seed);
            Arc::new(tokio::sync::Mutex::new(Slot { connection: None, backoff, not_before: None }))
        });
        slot.clone()
    }

    fn place(&self, peer: Peer) -> Result<(String, u16, Option<NodeId>)> {
        let found = match peer {
            Peer::Bootstrap(at) => self.config.bootstrap.get(at).map(|(host, port)| (host.clone(), *port, None)),
            Peer::Node(id) => {
                let state = self.state();
                let node = state.nodes.get(&id).or(state.learned.get(&id));
                node.map(|node| (node.host.clone(), node.port, Some(id)))
            }
        };
        found.ok_or_else(|| {
            let error = Error::with_message(ErrorKind::Connection, "the cluster has no such broker now");
            let error = error.certainty(Certainty::NotSent);
            if let Peer::Node(id) = peer { error.node(id) } else { error }
        })
    }

    /// A panic elsewhere leaves the maps whole, so poison is not passed on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
