//! What a cluster is made of, and its start.

use super::connection::{self, Endpoint};
use super::security::{SaslSettings, Security};
use super::state::{Settings, State};
use super::{BrokerClock, Emulation, Shared, Tasks, TestCluster};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use std::fmt::Display;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A topic to begin with: name, partitions, configs.
type Wanted = (String, i32, Vec<(String, String)>);

/// Settings of a [`TestCluster`]; made by [`TestCluster::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    brokers: usize,
    racks: Vec<String>,
    listen: Option<String>,
    topics: Vec<Wanted>,
    settings: Settings,
    pub(super) sasl: SaslSettings,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Tls>,
    /// Or why there is no such broker.
    emulation: Result<Emulation, String>,
    unix_millis: Option<i64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            brokers: 1,
            racks: Vec::new(),
            listen: None,
            topics: Vec::new(),
            settings: Settings::default(),
            sasl: SaslSettings::default(),
            #[cfg(feature = "tls")]
            tls: None,
            emulation: Ok(Emulation::default()),
            unix_millis: None,
        }
    }
}

impl Builder {
    /// How many brokers; their node ids count from 1. Default 1.
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// `broker.rack` of each broker, from the first on and over again. With racks leaders send consumers that name theirs to a
    /// replica there (KIP-392), as with Kafka's `RackAwareReplicaSelector`. Default: none, and everybody reads from the
    /// leader.
    pub fn racks<const N: usize>(mut self, racks: [&str; N]) -> Self {
        self.racks = racks.map(str::to_owned).into();
        self
    }

    /// A topic that is there from the start.
    pub fn topic(self, name: impl Into<String>, partitions: i32) -> Self {
        self.topic_with(name, partitions, [])
    }

    /// A topic that is there from the start, with configs in Kafka's names.
    pub fn topic_with<const N: usize>(
        mut self,
        name: impl Into<String>,
        partitions: i32,
        configs: [(&str, &str); N],
    ) -> Self {
        let configs = configs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.topics.push((name.into(), partitions, configs.into()));
        self
    }

    /// No sockets: brokers are reached through [`TestCluster::connector`] under the names `broker-1:9092` and so on.
    /// This is the default, and the way that paused time needs.
    pub fn in_memory(mut self) -> Self {
        self.listen = None;
        self
    }

    /// Listens on TCP: broker i on port + i - 1, or each on a free one if the port is 0. What brokers advertise is the
    /// host given here and the port that each got.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// `auto.create.topics.enable`: whether a topic asked for by name comes into being. Default true, as Kafka's.
    pub fn auto_create_topics(mut self, yes: bool) -> Self {
        self.settings.auto_create = yes;
        self
    }

    /// `num.partitions` of topics created without a number. Default 1, as Kafka's.
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.settings.default_partitions = partitions;
        self
    }

    /// `default.replication.factor`. Default 3, or the number of brokers if that is less (Kafka's is 1, but then a
    /// killed broker takes partitions with it).
    pub fn default_replication(mut self, replicas: i16) -> Self {
        self.settings.default_replication = Some(replicas);
        self
    }

    /// `group.initial.rebalance.delay.ms`: how long a group's first rebalance waits for more members. Default 0; Kafka's
    /// is 3 s.
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.initial_rebalance_delay = delay;
        self
    }

    /// `group.min.session.timeout.ms`. Default 1 s; Kafka's is 6 s.
    pub fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.min_session_timeout = timeout;
        self
    }

    /// `group.max.size` and `group.consumer.max.size`: how many members a group can have; who comes then is answered
    /// `GROUP_MAX_SIZE_REACHED`. Default: any number, as Kafka's.
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.settings.group_max_size = members;
        self
    }

    /// `offsets.retention.minutes`: how long offsets are kept that nobody has use for, because their group is empty, or never
    /// was more than these offsets, or does not subscribe to the topic any more. Every ten minutes those that are older go,
    /// and with the last one the group. Default 7 days, as Kafka's.
    pub fn offsets_retention(mut self, retention: Duration) -> Self {
        self.settings.offsets_retention = retention;
        self
    }

    /// `group.consumer.session.timeout.ms`: how long a member of a consumer group (KIP-848) may be silent. Default 45 s, as
    /// Kafka's.
    pub fn consumer_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.consumer_session_timeout = timeout;
        self
    }

    /// `group.consumer.heartbeat.interval.ms`: how often members of consumer groups are told to send heartbeats. Default 5 s,
    /// as Kafka's.
    pub fn consumer_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.consumer_heartbeat_interval = interval;
        self
    }

    /// `group.consumer.assignment.interval.ms`: how long the coordinator of a consumer group waits at least before it deals the
    /// partitions out anew. Default 1 s, as Kafka's.
    pub fn consumer_assignment_interval(mut self, interval: Duration) -> Self {
        self.settings.consumer_assignment_interval = interval;
        self
    }

    /// `message.max.bytes`: the largest batch, for topics without `max.message.bytes`. Default 1,048,588, as Kafka's.
    pub fn message_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.message_max_bytes = bytes;
        self
    }

    /// Whether a Fetch's last batch is cut where the byte limit falls, as Apache Kafka does. Default false: whole batches
    /// only, which is allowed and cheaper for everybody; true to test that a client copes.
    pub fn cut_batches(mut self, yes: bool) -> Self {
        self.settings.cut_batches = yes;
        self
    }

    /// Passes for another broker, in its versions and in its habits: an [`Emulation`] or its name (`2.4`, `2.8`, `3.9`,
    /// `4.3`, `redpanda`, `event-hubs`). Default `4.3`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> milena::error::Result<()> {
    /// use milena::broker::{ApiKey, Emulation, TestCluster};
    ///
    /// let cluster = TestCluster::builder().emulate("2.8").start().await?;
    /// assert_eq!(Emulation::Kafka28.versions(ApiKey::Fetch), Some((4, 12)));
    /// # drop(cluster); Ok(()) }
    /// ```
    pub fn emulate(mut self, broker: impl TryInto<Emulation, Error: Display>) -> Self {
        self.emulation = broker.try_into().map_err(|unknown| unknown.to_string());
        self
    }

    /// The finalized level of the feature `transaction.version`: 2 has transactions as of KIP-890. Default 2, as a fresh Kafka
    /// 4.3; clients see a level when they connect. Brokers before 4.0, and others than Apache's, have no such feature: a
    /// cluster that [passes](Self::emulate) for one never shows it.
    pub fn transaction_version(mut self, level: i16) -> Self {
        self.settings.transaction_version = level;
        self
    }

    /// How long followers take to have what a leader has written. Until then nobody reads it, `acks=all` is not answered,
    /// and it is lost if another broker leads: with its leader's death, or by a move. Default 0: nothing is ever lost.
    pub fn replication_lag(mut self, lag: Duration) -> Self {
        self.settings.replication_lag = lag;
        self
    }

    /// `max.incremental.fetch.session.cache.slots`: how many fetch sessions (KIP-227) each broker keeps. Default 1,000, as
    /// Kafka's; with 0 every Fetch is a full one.
    pub fn fetch_session_slots(mut self, slots: usize) -> Self {
        self.settings.fetch_session_slots = slots;
        self
    }

    /// Has every broker check what callers may do, as Kafka's `StandardAuthorizer` does by the ACLs that are created. `super.users`,
    /// as `User:name`, may do everything; nobody else anything, to begin with. A connection is who it has
    /// [proved to be](Self::sasl) or is [said to be](TestCluster::connector_as), else `User:ANONYMOUS`. Default: no authorizer, and ACLs are `SECURITY_DISABLED`.
    pub fn authorizer(mut self, super_users: &[&str]) -> Self {
        let owned = super_users.iter().map(|user| (*user).to_owned());
        self.settings.authorizer.get_or_insert_default().super_users = owned.collect();
        self
    }

    /// `allow.everyone.if.no.acl.found` of the [authorizer](Self::authorizer), which this brings too: whether what no ACL is
    /// about is free for all. Default false, as Kafka's.
    pub fn allow_everyone_if_no_acl_found(mut self, yes: bool) -> Self {
        self.settings.authorizer.get_or_insert_default().allow_everyone = yes;
        self
    }

    /// What the wall clock shows at the start, in milliseconds since 1970; it moves with tokio's clock from there.
    /// Default: the machine's.
    pub fn unix_millis(mut self, millis: i64) -> Self {
        self.unix_millis = Some(millis);
        self
    }

    /// Starts the cluster. When this returns, every broker accepts connections.
    ///
    /// # Errors
    /// `Config` for no broker, one that can't be [emulated](Self::emulate), a topic, a SASL mechanism or a certificate that
    /// can't be, `Connection` if a port can't be had, `State` outside of a tokio runtime.
    pub async fn start(self) -> Result<TestCluster> {
        let needs_one = |_| Error::with_message(ErrorKind::State, "a test cluster needs a tokio runtime");
        let runtime = Handle::try_current().map_err(needs_one)?;
        if self.brokers == 0 {
            return Err(Error::with_message(ErrorKind::Config, "a cluster of no broker"));
        }
        let emulation = self.emulation.map_err(|why| Error::with_message(ErrorKind::Config, why))?;
        let clock = match self.unix_millis {
            Some(millis) => BrokerClock::starting_at(millis),
            None => BrokerClock::starting_now(),
        };
        let mut endpoints = Vec::new();
        for i in 0..self.brokers {
            endpoints.push(match &self.listen {
                Some(address) => Endpoint::tcp(address, i as u16)?,
                None => Endpoint::in_memory(NodeId(i as i32 + 1)),
            });
        }
        #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "TLS is added to it"))]
        let (mut security, credentials) = Security::start(self.sasl)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls {
            let hosts = endpoints.iter().map(|endpoint| endpoint.host_and_port().0.to_string());
            security.tls = Some(tls.start(hosts.collect())?);
        }
        let mut state = State::new(self.settings, clock.unix_millis());
        state.scram = credentials;
        let shared = Arc::new(Shared {
            runtime,
            state: Mutex::new(state),
            clock,
            emulation,
            security,
            deadlines: Notify::new(),
            resumed: Notify::new(),
            tasks: Tasks::default(),
        });
        // From here on a failure drops the cluster, which takes back what has been started.
        let timekeeper = connection::spawn(&shared, Arc::clone(&shared).keep_time()).abort_handle();
        let mut cluster = TestCluster { shared, timekeeper, bootstrap: String::new() };
        let mut addresses = Vec::new();
        for (i, endpoint) in endpoints.into_iter().enumerate() {
            let node = NodeId(i as i32 + 1);
            let rack = self.racks.get(i % self.racks.len().max(1)).map(|rack| rack.as_str().into());
            let (host, port) = connection::open_node(&cluster.shared, node, endpoint, rack).await?;
            addresses.push(format!("{host}:{port}"));
        }
        cluster.bootstrap = addresses.join(",");
        for (name, partitions, configs) in self.topics {
            let mut state = cluster.shared.state();
            let spec = state.topic_spec(&name, partitions, -1, configs.into_iter().collect());
            spec.and_then(|spec| state.create_topic(spec))
                .map_err(|(code, why)| Error::broker(code).message(why).topic(name))?;
        }
        Ok(cluster)
    }

    /// Starts the cluster on a thread and a runtime of its own, over TCP: for tests that share one, each on its own
    /// runtime or on none. The thread ends with the cluster.
    ///
    /// ```
    /// # use milena::broker::TestCluster;
    /// use std::sync::LazyLock;
    /// static CLUSTER: LazyLock<TestCluster> =
    ///     LazyLock::new(|| TestCluster::builder().start_in_background().expect("a free port"));
    /// # assert!(CLUSTER.bootstrap().starts_with("127.0.0.1:"));
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_in_background(mut self) -> Result<TestCluster> {
        self.listen.get_or_insert_with(|| "127.0.0.1:0".to_owned());
        let (started, cluster) = mpsc::channel();
        let not_started =
            |error| Error::with_message(ErrorKind::State, "no thread for a test cluster").caused_by(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(not_started)?;
        let run = move || {
            runtime.block_on(async move {
                let cluster = self.start().await;
                let shared = cluster.as_ref().ok().map(|cluster| Arc::clone(&cluster.shared));
                if started.send(cluster).is_ok()
                    && let Some(shared) = shared
                {
                    shared.tasks.gone().await;
                }
            });
        };
        std::thread::Builder::new().name("test-cluster".to_owned()).spawn(run).map_err(not_started)?;
        cluster.recv().map_err(|_| Error::with_message(ErrorKind::State, "the test cluster's thread has ended"))?
    }
}
