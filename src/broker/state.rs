//! What the cluster knows: brokers, topics, partitions and their leaders. One value behind one lock; the families'
//! files add their own parts.

use super::api::{ApiKey, names_topic};
use super::authorizer::{Acl, AuthorizerSettings};
use super::configs::TopicConfig;
use super::connection::Endpoint;
use super::control::{Control, Judged};
use super::fetch_sessions::{self, FetchSessions};
use super::groups::{Group, GroupSettings};
use super::log::Log;
use super::network::{Link, Stale};
use super::producers::Producers;
use super::quotas::Quotas;
use super::reassignments::Reassignment;
use super::replication::Followers;
use super::resource_configs::ResourceConfigs;
use super::scram::Credentials;
use super::server_assignors::Topics;
use super::transactions::Transaction;
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::wire::StrBytes;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use uuid::Uuid;

/// A refusal, and why, for a person.
pub(super) type Refusal = (ErrorCode, String);

/// One that says no more than its code.
pub(super) fn plain(code: ErrorCode) -> Refusal {
    (code, code.name().to_owned())
}

/// Code and message of an outcome, as answers have them.
pub(super) fn told(outcome: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    outcome.err().map_or((0, None), |(code, why)| (code.to_wire(), Some(why.into())))
}

/// One of what can't be meant.
pub(super) fn invalid(why: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, why.into())
}

/// A topic has no more partitions than this: a number in a frame is not to size the memory.
const MAX_PARTITIONS: usize = 10_000;
/// Nor all topics together than this: neither are many such frames.
const MAX_PARTITIONS_IN_ALL: usize = 100_000;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub auto_create: bool,
    pub default_partitions: i32,
    pub default_replication: Option<i16>,
    pub initial_rebalance_delay: Duration,
    pub min_session_timeout: Duration,
    pub group_max_size: usize,
    pub offsets_retention: Duration,
    pub consumer_session_timeout: Duration,
    pub consumer_heartbeat_interval: Duration,
    pub consumer_assignment_interval: Duration,
    pub message_max_bytes: usize,
    pub cut_batches: bool,
    pub transaction_version: i16,
    pub replication_lag: Duration,
    pub fetch_session_slots: usize,
    pub authorizer: Option<AuthorizerSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create: true,
            default_partitions: 1,
            default_replication: None,
            initial_rebalance_delay: Duration::ZERO,
            min_session_timeout: Duration::from_secs(1),
            group_max_size: usize::MAX,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_assignment_interval: Duration::from_secs(1),
            message_max_bytes: 1_048_588,
            cut_batches: false,
            transaction_version: 2,
            replication_lag: Duration::ZERO,
            fetch_session_slots: fetch_sessions::SLOTS,
            authorizer: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub endpoint: Endpoint,
    pub rack: Option<Arc<str>>,
    /// Its process runs, or is paused.
    pub alive: bool,
    /// Since when it is stopped in the middle of everything.
    pub paused: Option<Instant>,
    /// Since when the other brokers are out of its reach.
    pub cut_off: Option<Instant>,
    /// It has been paused or cut off for so long that the others go on without it.
    pub fenced: bool,
    /// What it goes on with, if it was cut off.
    pub stale: Option<Stale>,
    pub listening: Option<JoinHandle<()>>,
    pub connections: HashMap<u64, AbortHandle>,
    /// They end with the process.
    pub sessions: FetchSessions,
}

impl Node {
    pub(super) fn running(
        endpoint: Endpoint,
        rack: Option<Arc<str>>,
        listening: Option<JoinHandle<()>>,
        sessions: FetchSessions,
    ) -> Self {
        let connections = HashMap::new();
        let (paused, cut_off, fenced, stale) = (None, None, false, None);
        Self { endpoint, rack, alive: true, paused, cut_off, fenced, stale, listening, connections, sessions }
    }

    /// Host, port and rack, as answers give them.
    pub(super) fn advertised(&self) -> (StrBytes, i32, Option<StrBytes>) {
        let (host, port) = self.endpoint.host_and_port();
        let text = |text: &Arc<str>| StrBytes::from(text.to_string());
        (text(host), i32::from(port), self.rack.as_ref().map(text))
    }
}

#[derive(Debug)]
pub(super) struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    pub partitions: Vec<Partition>,
    pub config: TopicConfig,
}

impl Topic {
    /// Whether a request means this topic: by its name, or by its id in the versions that have no name.
    pub(super) fn is(&self, name: &str, id: Uuid) -> bool {
        *self.name == *name || self.id == TopicId(id.into_bytes())
    }
}

#[derive(Debug)]
pub(super) struct Partition {
    /// `None` while every replica is down.
    pub leader: Option<NodeId>,
    pub leader_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub log: Log,
    pub followers: Followers,
    /// Who had all of the log last.
    pub led_last: Option<NodeId>,
    pub reassignment: Option<Reassignment>,
    /// Parked requests, woken by whatever makes more readable or moves the leader.
    waiters: Vec<Arc<Notify>>,
}

impl Partition {
    fn new(replicas: Vec<NodeId>, lag: Duration, alive: impl Fn(NodeId) -> bool) -> Self {
        let isr: Vec<_> = replicas.iter().copied().filter(|node| alive(*node)).collect();
        let leader = isr.first().copied();
        Self {
            leader,
            leader_epoch: 0,
            replicas,
            isr,
            log: Log::default(),
            followers: Followers::new(lag),
            led_last: leader,
            reassignment: None,
            waiters: Vec::new(),
        }
    }

    /// The partition as a broker takes it along that the others go on without: with those who wait at it, if it leads.
    pub(super) fn kept_by(&mut self, node: NodeId) -> Self {
        let waiters = if self.leader == Some(node) { std::mem::take(&mut self.waiters) } else { Vec::new() };
        Self {
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            log: if self.replicas.contains(&node) { self.log.clone() } else { Log::default() },
            followers: Followers::held(),
            led_last: self.led_last,
            reassignment: None,
            waiters,
        }
    }

    /// Has `waiter` told about the next change.
    pub(super) fn park(&mut self, waiter: &Arc<Notify>) {
        // A fetch that has ended leaves us its last reference; one that was woken by another partition is here already.
        self.waiters.retain(|parked| Arc::strong_count(parked) > 1 && !Arc::ptr_eq(parked, waiter));
        self.waiters.push(Arc::clone(waiter));
    }

    /// Tells every parked request to look again.
    pub(super) fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            waiter.notify_one();
        }
    }

    /// What a replica answers a client that says which epoch it knows; -1 is not knowing.
    fn check_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        match epoch {
            epoch if epoch < 0 || epoch == self.leader_epoch => Ok(()),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            _ => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }

    /// These replicas have all of the log, and are in sync.
    pub(super) fn catch_up(&mut self, which: impl Fn(NodeId) -> bool) {
        for node in self.replicas.iter().copied().filter(|node| which(*node)) {
            if !self.isr.contains(&node) {
                self.isr.push(node);
            }
            self.followers.in_sync(node);
        }
    }

    /// An unclean election: what lies at `offset` or behind it is gone, and the leader begins a new epoch.
    pub(super) fn lose_from(&mut self, offset: i64) {
        self.truncate(offset);
        self.begin_epoch();
    }

    /// The leader is elected anew.
    pub(super) fn begin_epoch(&mut self) {
        self.leader_epoch += 1;
        self.wake();
    }

    /// A replica that has not led last has only what was replicated.
    pub(super) fn lead_by(&mut self, leader: Option<NodeId>) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        self.leader_epoch += 1;
        if leader.is_some() && leader != self.led_last {
            self.led_last = leader;
            self.truncate(self.log.high_watermark());
        }
        self.wake();
    }
}

/// A topic to be, checked.
#[derive(Debug)]
pub(super) struct TopicSpec {
    pub name: Arc<str>,
    pub replicas: Vec<Vec<NodeId>>,
    pub config: TopicConfig,
}

#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    /// The wall clock at the start: it tells this cluster and its topics from those of another run.
    born: i64,
    pub nodes: BTreeMap<NodeId, Node>,
    pub topics: BTreeMap<Arc<str>, Topic>,
    pub names: HashMap<TopicId, Arc<str>>,
    pub groups: BTreeMap<Arc<str>, Group>,
    pub producers: Producers,
    pub transactions: BTreeMap<Arc<str>, Transaction>,
    pub control: Control,
    pub acls: BTreeSet<Acl>,
    pub scram: Credentials,
    pub quotas: Quotas,
    pub configs: ResourceConfigs,
    /// How often a feature level has changed.
    pub features_epoch: i64,
    /// Groups and transactional ids that were told to live elsewhere than where their hash says.
    pub coordinators: HashMap<(i8, Arc<str>), NodeId>,
    /// Links to clients that are cut.
    pub cuts: Vec<Link>,
    pub closed: bool,
    connections: u64,
    topics_made: u64,
    /// Members of consumer groups that were given an id.
    pub members_named: u64,
    /// When the next look for offsets that are too old is due.
    pub offsets_check: Option<Instant>,
}

impl State {
    pub(super) fn new(settings: Settings, unix_millis: i64) -> Self {
        Self {
            settings,
            born: unix_millis,
            nodes: BTreeMap::new(),
            topics: BTreeMap::new(),
            names: HashMap::new(),
            groups: BTreeMap::new(),
            producers: Producers::default(),
            transactions: BTreeMap::new(),
            control: Control::default(),
            acls: BTreeSet::new(),
            scram: Credentials::new(),
            quotas: Quotas::default(),
            configs: ResourceConfigs::new(),
            features_epoch: 0,
            coordinators: HashMap::new(),
            cuts: Vec::new(),
            closed: false,
            connections: 0,
            topics_made: 0,
            members_named: 0,
            offsets_check: None,
        }
    }

    pub(super) fn next_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// What becomes of a request.
    pub(super) fn judge(&mut self, api: ApiKey, node: NodeId, frame: &Bytes) -> Judged {
        let (topics, sessions) = (&self.topics, self.nodes.get(&node).map(|node| &node.sessions));
        let names = |name: &str| Some(names_topic(api, frame, topics.get(name)?, sessions?));
        self.control.judge(api, node, |name| names(name).unwrap_or(false))
    }

    /// What the cluster calls itself.
    pub(super) fn cluster_id(&self) -> String {
        format!("milena-{:015x}", self.born)
    }

    /// The brokers that are up, as far as the others know.
    pub(super) fn alive(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.alive && !node.fenced).map(|(id, node)| (*id, node))
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.alive && !node.fenced)
    }

    /// The replicas whose brokers are down.
    pub(super) fn offline(&self, partition: &Partition) -> Vec<NodeId> {
        partition.replicas.iter().copied().filter(|node| !self.is_alive(*node)).collect()
    }

    /// Where the metadata log would end.
    pub(super) fn metadata_end(&self) -> i64 {
        self.topics_made as i64
    }

    /// The controller: the first broker that is up.
    pub(super) fn controller(&self) -> Option<NodeId> {
        self.alive().next().map(|(id, _)| id)
    }

    /// Whose groups or transactional ids these are: by hash, unless moved; the next one if that broker is down.
    pub(super) fn coordinator(&self, kind: i8, key: &str) -> Option<NodeId> {
        let moved = self.coordinators.get(&(kind, Arc::from(key))).copied().filter(|node| self.is_alive(*node));
        moved.or_else(|| {
            let nodes: Vec<_> = self.nodes.keys().copied().collect();
            let start = hash(key.as_bytes()) as usize % nodes.len().max(1);
            nodes.iter().cycle().skip(start).take(nodes.len()).copied().find(|node| self.is_alive(*node))
        })
    }

    /// The name of the topic with this id.
    pub(super) fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        self.names.get(&id).cloned()
    }

    /// The partition, if this broker leads it.
    pub(super) fn led_partition(
        &mut self,
        node: NodeId,
        topic: &str,
        partition: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        self.led_in_epoch(node, topic, partition, -1)
    }

    /// The partition, if this broker leads it, for a client that knows its leader to be of `epoch` (-1: it doesn't know).
    pub(super) fn led_in_epoch(
        &mut self,
        node: NodeId,
        topic: &str,
        partition: i32,
        epoch: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let partition = self.replica(node, topic, partition, epoch)?;
        if partition.leader == Some(node) { Ok(partition) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// The same from any broker that has a replica: a leader that was deposed first finds that the epoch is old.
    pub(super) fn replica(
        &mut self,
        node: NodeId,
        topic: &str,
        partition: i32,
        epoch: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let partition = self.known_partition(node, topic, partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&node) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        partition.check_epoch(epoch)?;
        Ok(partition)
    }

    /// Checks a topic to be made: `partitions` and `replication` are -1 for the defaults.
    pub(super) fn topic_spec(
        &self,
        name: &str,
        partitions: i32,
        replication: i16,
        config: BTreeMap<String, String>,
    ) -> Result<TopicSpec, Refusal> {
        check_topic_name(name).map_err(|why| (ErrorCode::InvalidTopicException, why))?;
        if self.topics.contains_key(name) {
            return Err((ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        // Metrics write a dot as an underscore.
        let metric = |name: &str| name.replace('.', "_");
        if name.contains(['.', '_'])
            && let Some(other) = self.topics.keys().find(|other| metric(other) == metric(name))
        {
            let why = format!("Topic '{name}' collides with existing topic: {other}");
            return Err((ErrorCode::InvalidTopicException, why));
        }
        let config = TopicConfig::new(config).map_err(|why| (ErrorCode::InvalidConfig, why))?;
        let partitions = if partitions == -1 { self.settings.default_partitions } else { partitions };
        if partitions <= 0 {
            let why = "Number of partitions was set to an invalid non-positive value.".to_owned();
            return Err((ErrorCode::InvalidPartitions, why));
        }
        self.check_room(0, partitions as usize)?;
        let default = self.settings.default_replication.unwrap_or(self.nodes.len().min(3) as i16);
        let replication = if replication == -1 { default } else { replication };
        if replication <= 0 || replication as usize > self.nodes.len() {
            let why = format!(
                "Unable to replicate the partition {replication} time(s): {} broker(s) are registered.",
                self.nodes.len()
            );
            return Err((ErrorCode::InvalidReplicationFactor, why));
        }
        // Topics begin at different brokers.
        let first = self.topics_made as usize;
        let replicas = (first..first + partitions as usize).map(|nth| self.place(nth, replication as usize)).collect();
        Ok(TopicSpec { name: name.into(), replicas, config })
    }

    /// Where the replicas of a partition go: on brokers that are up, if there are enough. Leaders are spread.
    pub(super) fn place(&self, nth: usize, replicas: usize) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.alive().map(|(id, _)| id).collect();
        if nodes.len() < replicas {
            let away: Vec<_> = self.nodes.keys().copied().filter(|id| !nodes.contains(id)).collect();
            let first = nth % nodes.len().max(1);
            nodes.rotate_left(first); // one that is up comes first
            nodes.extend(away);
            return nodes.into_iter().take(replicas).collect();
        }
        (nth..nth + replicas).map(|i| nodes[i % nodes.len()]).collect()
    }

    pub(super) fn create_topic(&mut self, spec: TopicSpec) -> Result<TopicId, Refusal> {
        self.topics_made += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.born.to_be_bytes());
        id[8..].copy_from_slice(&self.topics_made.to_be_bytes());
        let id = TopicId(id);
        let lag = self.settings.replication_lag;
        let alive = |node| self.is_alive(node);
        let partitions = spec.replicas.into_iter().map(|replicas| Partition::new(replicas, lag, alive)).collect();
        self.names.insert(id, spec.name.clone());
        self.topics.insert(spec.name.clone(), Topic { name: spec.name, id, partitions, config: spec.config });
        self.find_held();
        Ok(id)
    }

    /// Whether a topic that has `now` partitions may have `count`.
    pub(super) fn check_room(&self, now: usize, count: usize) -> Result<(), Refusal> {
        let all: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        let why = match count {
            _ if count > MAX_PARTITIONS => format!("A test topic has {MAX_PARTITIONS} partitions at most."),
            _ if all - now + count > MAX_PARTITIONS_IN_ALL => {
                format!("All test topics together have {MAX_PARTITIONS_IN_ALL} partitions at most.")
            }
            _ => return Ok(()),
        };
        Err((ErrorCode::PolicyViolation, why))
    }

    /// Adds a partition for each of the lists of replicas.
    pub(super) fn add_partitions(&mut self, topic: &str, assignments: Vec<Vec<NodeId>>) {
        let alive: HashSet<_> = self.alive().map(|(id, _)| id).collect();
        let lag = self.settings.replication_lag;
        let Some(topic) = self.topics.get_mut(topic) else { return };
        for replicas in assignments {
            topic.partitions.push(Partition::new(replicas, lag, |node| alive.contains(&node)));
        }
        self.find_held();
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> bool {
        let Some(mut topic) = self.topics.remove(name) else { return false };
        self.names.remove(&topic.id);
        topic.partitions.iter_mut().for_each(Partition::wake);
        for group in self.groups.values_mut() {
            group.forget_topic(name);
        }
        true
    }

    /// The partition as this broker knows it.
    pub(super) fn known_partition(&mut self, node: NodeId, topic: &str, partition: i32) -> Option<&mut Partition> {
        match self.nodes.get_mut(&node).and_then(|node| node.stale.as_mut()) {
            Some(stale) => stale.partition_mut(topic, partition),
            None => self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?),
        }
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// Makes `leader` lead the partition, as a replica of it.
    pub(super) fn move_leader(&mut self, topic: &str, partition: i32, leader: NodeId) -> bool {
        let Some(partition) = self.partition_mut(topic, partition) else { return false };
        for list in [&mut partition.replicas, &mut partition.isr] {
            if !list.contains(&leader) {
                list.push(leader);
            }
        }
        partition.followers.in_sync(leader);
        partition.lead_by(Some(leader));
        self.find_held();
        true
    }

    /// Ends a broker's listener and connections.
    pub(super) fn stop_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.alive = false;
        (node.paused, node.cut_off, node.fenced) = (None, None, false);
        if let Some(listening) = &node.listening {
            listening.abort();
        }
        for (_, connection) in node.connections.drain() {
            connection.abort();
        }
        node.sessions = FetchSessions::new(0, 0);
        self.give_up_stale(id);
        self.go_on_without(id);
    }

    /// A broker is gone: it is in sync with nothing any more, and others lead what it led; of those that are not in sync
    /// only where the topic allows it.
    pub(super) fn go_on_without(&mut self, id: NodeId) {
        // One that is silent, but not for long enough, is elected only if there is no other.
        let mut alive: Vec<_> = self.alive().map(|(id, node)| (node.absent_since().is_some(), id)).collect();
        alive.sort();
        let alive: Vec<_> = alive.into_iter().map(|(_, id)| id).collect();
        for topic in self.topics.values_mut() {
            let unclean = topic.config.allows_unclean_elections();
            for partition in &mut topic.partitions {
                // The last in-sync replica stays one: it has the data.
                if partition.isr.len() > 1 {
                    partition.isr.retain(|node| *node != id);
                }
                if partition.leader == Some(id) {
                    let first =
                        |among: &[NodeId]| alive.iter().copied().find(|node| *node != id && among.contains(node));
                    match (first(&partition.isr), first(&partition.replicas).filter(|_| unclean)) {
                        (None, Some(any)) => partition.elect_unclean(any, &alive),
                        (clean, _) => partition.lead_by(clean),
                    }
                }
            }
        }
        self.find_held();
    }

    /// After a broker has come back: it is in sync at once where somebody leads, and leads what nobody leads if it was the
    /// last one in sync, or where the topic allows it. With it the others that wait are in sync.
    pub(super) fn node_started(&mut self, id: NodeId) {
        let alive: Vec<_> = self.alive().map(|(id, _)| id).collect();
        for topic in self.topics.values_mut() {
            let unclean = topic.config.allows_unclean_elections();
            for partition in topic.partitions.iter_mut().filter(|partition| partition.replicas.contains(&id)) {
                match partition.leader {
                    Some(_) => partition.catch_up(|node| node == id),
                    None if partition.isr.contains(&id) || partition.isr.is_empty() => {
                        partition.lead_by(Some(id));
                        partition.catch_up(|node| alive.contains(&node));
                    }
                    None if unclean => partition.elect_unclean(id, &alive),
                    None => {}
                }
            }
        }
        self.find_held();
    }

    pub(super) fn group_settings(&self) -> GroupSettings {
        GroupSettings {
            initial_rebalance_delay: self.settings.initial_rebalance_delay,
            min_session_timeout: self.settings.min_session_timeout,
            max_size: self.settings.group_max_size,
        }
    }

    /// Every topic, as consumer groups see it.
    pub(super) fn described_topics(&self) -> Topics {
        let described = |topic: &Topic| (Arc::clone(&topic.name), (topic.id, topic.partitions.len() as i32));
        self.topics.values().map(described).collect()
    }

    /// Partitions by their topics' ids, which are zero where there is no such topic.
    pub(super) fn with_ids<'a>(&self, partitions: impl Iterator<Item = (&'a str, i32)>) -> Vec<(TopicId, i32)> {
        let id = |name: &str| self.topics.get(name).map_or(TopicId::ZERO, |topic| topic.id);
        partitions.map(|(name, partition)| (id(name), partition)).collect()
    }

    /// When [`Self::expire`] has something to do, at the earliest.
    pub(super) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let offsets = self.next_offsets_check(now);
        let replication = self.next_replication().into_iter().chain(self.next_reassignment());
        let groups = self.groups.values().filter_map(Group::next_deadline);
        let markers = self.has_due_markers().then_some(now);
        groups
            .chain(markers)
            .chain(self.transactions.values().filter_map(Transaction::deadline))
            .chain(replication)
            .chain(offsets)
            .min()
    }

    /// Does what has become due.
    pub(super) fn expire(&mut self, now: Instant, unix_millis: i64) {
        self.expire_transactions(now, unix_millis);
        self.write_due_markers(unix_millis);
        self.fence_absent(now);
        self.replicate(now);
        self.complete_reassignments(now);
        if self.groups.values().filter_map(Group::next_deadline).any(|due| due <= now) {
            let topics = self.described_topics();
            self.groups.values_mut().for_each(|group| group.expire(now, &topics));
        }
        self.expire_offsets(now);
    }
}

/// Kafka's rules for a topic's name.
pub(super) fn check_topic_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Err("Topic name is invalid: the empty string is not allowed".into()),
        "." | ".." => Err("Topic name is invalid: '.' or '..' is not allowed".into()),
        name if name.len() > 249 => Err("Topic name is invalid: it is longer than 249 characters".into()),
        name if !name.chars().all(legal) => Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )),
        _ => Ok(()),
    }
}

/// FNV-1a: the same coordinator for the same name in every run.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
