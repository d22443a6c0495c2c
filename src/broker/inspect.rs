//! What a test does to a cluster and sees of it, besides faults: leaders, brokers, records, offsets, retention.

use super::compaction::compact;
use super::coordinator::{GROUP, TRANSACTION};
use super::groups::Group;
use super::log::{Log, StoredBatch};
use super::server_assignors::Partitions;
use super::state::Partition;
use super::{TestCluster, connection};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, OffsetAndMetadata, TopicPartition};
use crate::record::DEFAULT_DECOMPRESSED_LIMIT;
use crate::record::compression::Decompressor;
use crate::record::decode::open;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// One record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key, which may be null.
    pub key: Option<Bytes>,
    /// The value, which may be null.
    pub value: Option<Bytes>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// The fetch sessions (KIP-227) of one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FetchSessionCount {
    /// Sessions that it keeps.
    pub open: usize,
    /// Partitions in all of them together.
    pub partitions: usize,
    /// Sessions that it has opened since it started: a client that opens one per Fetch is broken.
    pub opened: u64,
    /// Those of them that had to make room for others.
    pub evicted: u64,
}

/// A member of a consumer group (KIP-848).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerGroupMember {
    /// The id that it gave itself.
    pub member_id: String,
    /// A static member's name.
    pub instance_id: Option<String>,
    /// How far it has come; -2 while a static member is away.
    pub epoch: i32,
    /// What it has, or is told to have.
    pub assigned: Vec<TopicPartition>,
    /// What it is told to give up, and has not.
    pub revoking: Vec<TopicPartition>,
    /// What it is to have in the end.
    pub target: Vec<TopicPartition>,
}

impl TestCluster {
    /// Makes `leader` lead a partition. What was asked of the old leader is answered `NOT_LEADER_OR_FOLLOWER` from now on.
    ///
    /// # Panics
    /// If there is no such partition or broker: the test is wrong.
    pub fn move_leader(&self, topic: &str, partition: i32, leader: NodeId) {
        let mut state = self.shared.state();
        let known = state.nodes.contains_key(&leader);
        let moved = known && state.move_leader(topic, partition, leader);
        drop(state);
        assert!(moved, "no partition {topic}[{partition}] or no broker {leader} in the test cluster");
    }

    /// Truncates a partition as an unclean leader election does: what lies at `offset` or behind it is lost, and the leader
    /// begins a new epoch. A batch goes as a whole.
    ///
    /// # Panics
    /// If there is no such partition: the test is wrong.
    pub fn lose(&self, topic: &str, partition: i32, offset: i64) {
        let mut state = self.shared.state();
        let found = state.partition_mut(topic, partition).map(|partition| partition.lose_from(offset));
        drop(state);
        assert!(found.is_some(), "no partition {topic}[{partition}] in the test cluster");
    }

    /// Elects a partition's leader anew, the same one: it begins a new epoch, and nothing is lost.
    ///
    /// # Panics
    /// If there is no such partition: the test is wrong.
    pub fn bump_epoch(&self, topic: &str, partition: i32) {
        let mut state = self.shared.state();
        let found = state.partition_mut(topic, partition).map(Partition::begin_epoch);
        drop(state);
        assert!(found.is_some(), "no partition {topic}[{partition}] in the test cluster");
    }

    /// Who leads a partition; `None` if nobody does, or there is no such partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        let state = self.shared.state();
        state.partition(topic, partition)?.leader
    }

    /// Who coordinates a group.
    pub fn coordinator(&self, group: &str) -> Option<NodeId> {
        self.shared.state().coordinator(GROUP, group)
    }

    /// Makes `node` coordinate a group. Members, generation and offsets move with it; who waits for a rebalance is answered
    /// `NOT_COORDINATOR`.
    pub fn move_coordinator(&self, group: &str, node: NodeId) {
        let mut state = self.shared.state();
        let before = state.coordinator(GROUP, group);
        state.coordinators.insert((GROUP, group.into()), node);
        if state.coordinator(GROUP, group) != before
            && let Some(group) = state.groups.get_mut(group)
        {
            group.unload(self.shared.clock.now());
        }
    }

    /// Makes `node` coordinate a transactional id.
    pub fn move_transaction_coordinator(&self, transactional_id: &str, node: NodeId) {
        self.shared.state().coordinators.insert((TRANSACTION, transactional_id.into()), node);
    }

    /// Stops a broker: its port is closed, its connections break, others lead what it led. Nothing written is lost, but
    /// what the followers [have not got yet](super::Builder::replication_lag).
    pub fn kill(&self, node: NodeId) {
        let mut state = self.shared.state();
        state.unload_groups_of(node, self.shared.clock.now());
        state.stop_node(node);
        drop(state);
        self.shared.deadlines.notify_one();
    }

    /// Stops a broker as SIGSTOP does: its connections stay and new ones are accepted, nothing is answered, what it leads
    /// is not replicated. After 9 s (`broker.session.timeout.ms`) others lead what it led.
    pub fn pause(&self, node: NodeId) {
        let mut state = self.shared.state();
        if let Some(node) = state.nodes.get_mut(&node).filter(|node| node.alive) {
            node.paused.get_or_insert(self.shared.clock.now());
        }
        state.find_held();
        drop(state);
        self.shared.deadlines.notify_one();
    }

    /// Ends a [pause](Self::pause): the broker first answers what it was asked meanwhile.
    pub fn resume(&self, node: NodeId) {
        self.shared.state().resume_node(node);
        self.shared.resumed.notify_waiters();
        self.shared.deadlines.notify_one();
    }

    /// Sets who of a partition's replicas is in sync: of these the ones that are up, and always the leader. Kafka drops a
    /// replica that lags for more than `replica.lag.time.max.ms`; from here on it gets nothing more, and who reads from it
    /// finds the log as it was. `acks=all` needs `min.insync.replicas` of them. Without a
    /// leader nothing changes.
    ///
    /// # Panics
    /// If there is no such partition: the test is wrong.
    pub fn set_in_sync(&self, topic: &str, partition: i32, replicas: &[NodeId]) {
        let set = self.shared.state().set_in_sync(topic, partition, replicas);
        self.shared.deadlines.notify_one();
        assert!(set, "no partition {topic}[{partition}] in the test cluster");
    }

    /// The replicas of a partition that are in sync; none if there is no such partition.
    pub fn in_sync(&self, topic: &str, partition: i32) -> Vec<NodeId> {
        let state = self.shared.state();
        state.partition(topic, partition).map(|partition| partition.isr.clone()).unwrap_or_default()
    }

    /// Starts a killed broker again, on the same address.
    ///
    /// # Errors
    /// `InvalidArgument` for a node that the cluster has not got, `Connection` if its port was taken meanwhile.
    pub async fn restart(&self, node: NodeId) -> Result<()> {
        let (endpoint, rack, listening) = {
            let mut state = self.shared.state();
            let unknown = || Error::with_message(ErrorKind::InvalidArgument, format!("no broker {node}"));
            let known = state.nodes.get_mut(&node).ok_or_else(unknown)?;
            if known.alive {
                return Ok(());
            }
            (known.endpoint.clone(), known.rack.clone(), known.listening.take())
        };
        if let Some(listening) = listening {
            let _ = listening.await; // aborted: it is over when the port is free
        }
        let shared = Arc::clone(&self.shared);
        // The port is to be served by the cluster's runtime, not by the caller's.
        let opening = async move { connection::open_node(&shared, node, endpoint, rack).await };
        let opened = self.shared.runtime.spawn(opening).await;
        opened.map_err(|error| Error::new(ErrorKind::Closed).caused_by(error))??;
        self.shared.state().node_started(node);
        self.shared.deadlines.notify_one();
        Ok(())
    }

    /// Creates a topic, as an admin client would.
    ///
    /// # Errors
    /// What the broker would answer.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let mut state = self.shared.state();
        let spec = state.topic_spec(name, partitions, -1, Default::default());
        let made = spec.and_then(|spec| state.create_topic(spec));
        made.map(drop).map_err(|(code, why)| Error::broker(code).message(why).topic(name))
    }

    /// The topics' names.
    pub fn topics(&self) -> Vec<String> {
        self.shared.state().topics.keys().map(|name| name.to_string()).collect()
    }

    /// Every record of a topic, by partition and offset; those of open and aborted transactions too.
    ///
    /// # Errors
    /// `Broker(UnknownTopicOrPartition)`, or `Malformed` if a client has stored a batch whose records can't be read.
    pub fn records(&self, topic: &str) -> Result<Vec<StoredRecord>> {
        self.decoded(topic, |_, _| true)
    }

    /// The same as a consumer with `isolation.level=read_committed` sees it: nothing of aborted transactions, and of each
    /// partition nothing from the first open one on.
    ///
    /// # Errors
    /// Those of [`Self::records`].
    pub fn committed_records(&self, topic: &str) -> Result<Vec<StoredRecord>> {
        self.decoded(topic, Log::is_committed)
    }

    fn decoded(&self, topic: &str, wanted: impl Fn(&Log, &StoredBatch) -> bool) -> Result<Vec<StoredRecord>> {
        let mut batches = Vec::new();
        {
            let state = self.shared.state();
            let unknown = || Error::broker(ErrorCode::UnknownTopicOrPartition).topic(topic);
            let topic = state.topics.get(topic).ok_or_else(unknown)?;
            for (index, partition) in topic.partitions.iter().enumerate() {
                let log = &partition.log;
                let wanted = log.batches().filter(|batch| wanted(log, batch));
                batches.extend(wanted.map(|batch| (index as i32, log.start_offset(), batch.bytes.clone())));
            }
        }
        let mut scratch = Decompressor::default();
        let mut records = Vec::new();
        for (partition, start, batch) in batches {
            let opened = open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT)?;
            if opened.header().attributes.is_control() {
                continue;
            }
            for record in opened.starting_at(start) {
                let record = record?;
                let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
                let headers = record
                    .headers
                    .map(|header| (String::from_utf8_lossy(header.name).into_owned(), copied(header.value)));
                records.push(StoredRecord {
                    partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: copied(record.key),
                    value: copied(record.value),
                    headers: headers.collect(),
                });
            }
        }
        Ok(records)
    }

    /// Finalizes another level of `transaction.version`, as an upgrade does. Clients see it when they connect anew.
    pub fn set_transaction_version(&self, level: i16) {
        self.shared.state().finalize(level);
    }

    /// First and next offset of a partition; `None` if there is no such partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let state = self.shared.state();
        let partition = state.partition(topic, partition)?;
        Some((partition.log.start_offset(), partition.log.end_offset()))
    }

    /// Bytes stored of a topic.
    pub fn stored_bytes(&self, topic: &str) -> usize {
        let state = self.shared.state();
        state.topics.get(topic).map_or(0, |topic| topic.partitions.iter().map(|partition| partition.log.size()).sum())
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<OffsetAndMetadata> {
        let state = self.shared.state();
        let committed = state.groups.get(group)?.offsets.get(&(partition.topic.clone(), partition.partition))?;
        Some(OffsetAndMetadata {
            offset: committed.offset,
            leader_epoch: LeaderEpoch::from_wire(committed.leader_epoch),
            metadata: committed.metadata.clone(),
        })
    }

    /// A group's state in Kafka's name, its generation or group epoch, and its number of members; `None` if there is no such
    /// group.
    pub fn group(&self, group: &str) -> Option<(&'static str, i32, usize)> {
        let state = self.shared.state();
        state.groups.get(group).map(Group::summary)
    }

    /// Why members of a classic group have joined and left, as far as they said (KIP-800): the last hundred, oldest first.
    pub fn group_reasons(&self, group: &str) -> Vec<String> {
        let state = self.shared.state();
        state.groups.get(group).map(|group| group.reasons.iter().cloned().collect()).unwrap_or_default()
    }

    /// The members of a consumer group (KIP-848) by their ids; none of a classic one.
    pub fn consumer_group_members(&self, group: &str) -> Vec<ConsumerGroupMember> {
        let state = self.shared.state();
        let Some(consumer) = state.groups.get(group).and_then(|group| group.consumer.as_ref()) else {
            return Vec::new();
        };
        let named = |partitions: &Partitions| {
            let named = |(id, partition): &(_, i32)| Some(TopicPartition::new(state.topic_name(*id)?, *partition));
            partitions.iter().filter_map(named).collect()
        };
        let members = consumer.members.values().map(|member| ConsumerGroupMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            epoch: member.epoch,
            assigned: named(&member.assigned),
            revoking: named(&member.revoking),
            target: consumer.target.get(&member.id).map(named).unwrap_or_default(),
        });
        members.collect()
    }

    /// Deletes what each topic's `retention.ms` and `retention.bytes` say, now. A cluster never does so by itself: a test
    /// that writes records with old dates is to find them.
    pub fn apply_retention(&self) {
        let now = self.shared.clock.unix_millis();
        let mut state = self.shared.state();
        for topic in state.topics.values_mut().filter(|topic| topic.config.deletes()) {
            let (ms, bytes) = (topic.config.retention_ms(), topic.config.retention_bytes());
            for partition in &mut topic.partitions {
                let start = partition.log.start_offset();
                partition.log.retain(now, ms, bytes);
                if partition.log.start_offset() > start {
                    partition.wake(); // a parked fetch below the new start has to learn of it
                }
            }
        }
    }

    /// Compacts a topic with `cleanup.policy=compact`, now: of each key the newest record stays, at its offset. A cluster
    /// never does so by itself. Like Kafka's log cleaner it leaves alone what is above the last stable offset and what is
    /// younger than `min.compaction.lag.ms`; it has no active segment, so all else is cleaned. Tombstones go with the first
    /// compaction `delete.retention.ms` after the one that found them, and with the second so markers of transactions of
    /// which nothing else is left.
    ///
    /// # Errors
    /// `Broker(UnknownTopicOrPartition)`, `State` for a topic that is not compacted, or `Malformed` if a client has stored a
    /// batch whose records can't be read: then its partition stays as it is.
    pub fn compact(&self, topic: &str) -> Result<()> {
        let now = self.shared.clock.unix_millis();
        let mut state = self.shared.state();
        let unknown = || Error::broker(ErrorCode::UnknownTopicOrPartition).topic(topic);
        let known = state.topics.get_mut(topic).ok_or_else(unknown)?;
        if !known.config.is_compacted() {
            return Err(Error::with_message(ErrorKind::State, format!("cleanup.policy of {topic} is not compact")));
        }
        let lags = known.config.compaction_lags();
        known.partitions.iter_mut().try_for_each(|partition| compact(&mut partition.log, now, lags))
    }

    /// Waits until the cluster is as a test wants it, looking every 5 ms.
    ///
    /// # Panics
    /// After a minute (of virtual time, if it is paused), with `what` was waited for.
    pub async fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = self.clock().now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "after a minute still not: {what}");
            self.clock().wait_until(Some(self.clock().now() + Duration::from_millis(5))).await;
        }
    }

    /// The fetch sessions of a broker; none if there is no such broker.
    pub fn fetch_sessions(&self, node: NodeId) -> FetchSessionCount {
        let state = self.shared.state();
        let Some(sessions) = state.nodes.get(&node).map(|node| &node.sessions) else { return Default::default() };
        FetchSessionCount {
            open: sessions.sizes().len(),
            partitions: sessions.sizes().sum(),
            opened: sessions.opened,
            evicted: sessions.evicted,
        }
    }

    /// Connections that are open now, over all brokers.
    pub fn connections(&self) -> usize {
        self.shared.state().nodes.values().map(|node| node.connections.len()).sum()
    }
}
