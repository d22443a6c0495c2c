//! A Kafka cluster inside the process, for tests and demos: over TCP for any client, in memory for this crate's, on real
//! or on virtual time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> milena::error::Result<()> {
//! use milena::broker::{ApiKey, TestCluster};
//! use milena::{error::ErrorCode, ids::NodeId};
//!
//! let cluster = TestCluster::builder().brokers(3).topic("clicks", 6).in_memory().start().await?;
//! cluster.fault(ApiKey::Produce).once().error(ErrorCode::NotLeaderOrFollower);
//! cluster.move_leader("clicks", 0, NodeId(2));
//! # Ok(()) }
//! ```
//!
//! It answers as Apache Kafka 4.3 does, from its own notion of logs, groups and transactions: it shares bytes with the
//! client of this crate (`wire`, `record`) and no logic. What differs on purpose: nothing is on disk; replicas are names
//! (a partition has one log, leaders move without loss, unless there is a [lag](Builder::replication_lag)); batches are
//! kept as they were sent, whatever the topic's `compression.type`; retention and compaction run only when
//! [asked](TestCluster::apply_retention) [for](TestCluster::compact); a group's first rebalance waits for nobody
//! ([`Builder::initial_rebalance_delay`]); a group with members is not changed over from the classic to the consumer
//! protocol (`group.consumer.migration.policy=disabled`). Asked to, it [passes for](Builder::emulate) older Kafkas and other
//! brokers.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `api` | which APIs in which versions, the way from a frame to its family's file |
//! | `connection` | listeners, sockets and pipes, one task per connection |
//! | `state`, `log` | topics, partitions, leaders; one partition's batches |
//! | `compaction` | of each key the newest record |
//! | `replication network` | what followers have, brokers that are paused or cut off |
//! | `api_versions metadata produce fetch fetch_sessions list_offsets topics partitions features coordinator offsets producers transactions transactions_admin` | the API families |
//! | `topic_partitions elections reassignments log_dirs quorum` | what else admin clients ask |
//! | `configs resource_configs config_api config_resources` | configs of topics, and of brokers, groups and client metrics; the wire |
//! | `offset_expiry` | offsets that nobody wants any more |
//! | `groups group_api` | classic groups: what they decide, and the wire |
//! | `consumer_groups consumer_members server_assignors consumer_group_api` | groups of KIP-848, likewise |
//! | `authorizer acls` | who may do what, and the wire |
//! | `security` | what listeners ask of who connects |
//! | `tls` | encryption, and certificates for brokers and clients |
//! | `sasl` | who is it, by its mechanisms, and for how long |
//! | `scram` | users' credentials |
//! | `quotas quota_api` | client quotas: whom they hold for and how, and the wire |
//! | `control` | faults on command, the request log |
//! | `emulation` | other brokers' versions and habits |
//! | `clock` | the one clock |

mod acls;
mod api;
mod api_versions;
mod authorizer;
mod builder;
mod clock;
mod compaction;
mod config_api;
mod config_resources;
mod configs;
mod connection;
mod consumer_group_api;
mod consumer_groups;
mod consumer_members;
mod control;
mod coordinator;
mod elections;
mod emulation;
mod features;
mod fetch;
mod fetch_sessions;
mod group_api;
mod groups;
mod inspect;
mod list_offsets;
mod log;
mod log_dirs;
mod metadata;
mod network;
mod offset_expiry;
mod offsets;
mod partitions;
mod produce;
mod producers;
mod quorum;
mod quota_api;
mod quotas;
mod reassignments;
mod replication;
mod resource_configs;
mod sasl;
mod scram;
mod security;
mod server_assignors;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod topic_partitions;
mod topics;
mod transactions;
mod transactions_admin;

pub use api::ApiKey;
pub use builder::Builder;
pub use clock::BrokerClock;
pub use control::{Fault, RequestCount, ScriptedRequest};
pub use emulation::Emulation;
pub use inspect::{ConsumerGroupMember, FetchSessionCount, StoredRecord};
pub use network::Link;
pub use security::{AuthenticationCount, BearerToken, InvalidBearerToken};
#[cfg(feature = "tls")]
pub use tls::{ClientAuth, Tls};

use crate::connect::Connect;
use crate::ids::NodeId;
use connection::{Endpoint, InMemory, client_id};
use sasl::session::Session;
use security::Security;
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A running cluster. Dropping it closes every port and connection and ends every task; nothing is left.
#[derive(Debug)]
pub struct TestCluster {
    shared: Arc<Shared>,
    timekeeper: AbortHandle,
    bootstrap: String,
}

impl TestCluster {
    /// One broker on the default settings, until told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `host:port` of every broker, comma separated.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// Whether its brokers are reached through [`Self::connector`], and not over TCP.
    pub fn is_in_memory(&self) -> bool {
        self.shared.state().nodes.values().all(|node| matches!(node.endpoint, Endpoint::InMemory { .. }))
    }

    /// Reaches the brokers of an [in-memory](Builder::in_memory) cluster. It refuses once the cluster is dropped.
    pub fn connector(&self) -> Arc<dyn Connect> {
        Arc::new(InMemory::new(&self.shared, None))
    }

    /// The same for somebody in particular, as if every connection had said who it is (`User:name`): for ACLs and quotas. No
    /// password is asked for, whatever the cluster asks of [others](Self::connector).
    pub fn connector_as(&self, principal: impl Into<String>) -> Arc<dyn Connect> {
        Arc::new(InMemory::new(&self.shared, Some(principal.into().into())))
    }

    /// The cluster's clock.
    pub fn clock(&self) -> BrokerClock {
        self.shared.clock
    }

    /// Ends every task and waits until they are gone, ports closed. A drop does the same without the wait.
    pub async fn stop(self) {
        let shared = Arc::clone(&self.shared);
        drop(self);
        shared.tasks.gone().await;
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.timekeeper.abort();
        let mut state = self.shared.state();
        state.closed = true;
        let nodes: Vec<_> = state.nodes.keys().copied().collect();
        for node in nodes {
            state.stop_node(node);
        }
        self.shared.resumed.notify_waiters();
    }
}

/// What every task of the cluster holds.
#[derive(Debug)]
struct Shared {
    /// Where the cluster was started: its tasks run there, whoever calls.
    runtime: Handle,
    state: Mutex<State>,
    clock: BrokerClock,
    emulation: Emulation,
    security: Security,
    /// A deadline has come nearer: the timekeeper has to look again.
    deadlines: Notify,
    /// A paused broker goes on, or the network is whole again.
    resumed: Notify,
    tasks: Tasks,
}

impl Shared {
    /// The one lock: short, and never held across an await. A panic under it is a failed test already, so what it left is
    /// as good as anything.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets group members, transactions and offsets expire, in the order of their deadlines.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.state().next_deadline(self.clock.now());
            tokio::select! {
                () = self.clock.wait_until(next) => self.state().expire(self.clock.now(), self.clock.unix_millis()),
                () = self.deadlines.notified() => {}
            }
        }
    }
}

/// Counts the cluster's tasks, by tokens that they drop.
#[derive(Debug, Default)]
struct Tasks {
    running: Mutex<usize>,
    none_left: Notify,
}

impl Tasks {
    fn enter(shared: &Arc<Shared>) -> TaskToken {
        *shared.tasks.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TaskToken(Arc::clone(shared))
    }

    fn running(&self) -> usize {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn gone(&self) {
        loop {
            let changed = self.none_left.notified();
            if self.running() == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// Held by a task for as long as it runs.
#[derive(Debug)]
struct TaskToken(Arc<Shared>);

impl Drop for TaskToken {
    fn drop(&mut self) {
        let mut running = self.0.tasks.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running -= 1;
        if *running == 0 {
            self.0.tasks.none_left.notify_waiters();
        }
    }
}

/// Who has not said who it is.
const ANONYMOUS: &str = "User:ANONYMOUS";

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
struct Caller {
    /// `/address`.
    host: Arc<str>,
    session: Arc<Mutex<Session>>,
}

impl Caller {
    fn new(host: &str, session: Session) -> Self {
        Self { host: host.into(), session: Arc::new(Mutex::new(session)) }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is asked, in which version, by whom.
#[derive(Debug, Clone)]
struct Context {
    shared: Arc<Shared>,
    node: NodeId,
    version: i16,
    client_id: Arc<str>,
    caller: Caller,
    /// `User:name`, as of this request.
    principal: Arc<str>,
    /// Of the request's frame, length included.
    request_bytes: usize,
}

impl Context {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.caller.session()
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn unix_millis(&self) -> i64 {
        self.shared.clock.unix_millis()
    }
}

#[cfg(test)]
mod tests;
