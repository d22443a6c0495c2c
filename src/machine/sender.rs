//! `Sender`: which batch goes to which broker and when, and what an answer means. One per producer.
//!
//! ```text
//!  accumulator --drain--> [queue of the partition] --> one request per node, at most one batch of each partition
//!                              ^                                         |
//!                              | retriable: same head, same body         v
//!                              +----------------------------------- in flight --> outcome, memory back
//! ```
//! Order within a partition:
//! - Batches are numbered when they are first drained. With idempotence the broker refuses what does not follow on, so up
//!   to five batches may be under way and the order holds through every retry.
//! - What is sent again goes alone: only the oldest batch whose outcome is open, and nothing goes out behind it.
//! - Nothing goes to a new leader while something is under way to the old one, and one batch at a time until it has
//!   written one.
//! - Without idempotence and with more than one request in flight a batch may overtake one that is refused, as in the Java
//!   client; `max.in.flight.requests.per.connection=1` keeps the order then.
//!
//! When a numbered batch fails for good its number is missing: the epoch is bumped (KIP-360), and each partition starts at
//! 0 in the new epoch once nothing numbered in the old one is open there. What may have been written is not numbered anew,
//! it fails. In a transaction the transaction is lost instead, and its end brings the next epoch where one is needed.

mod answer;
mod counts;
mod drain;
mod expiry;
mod identity;
mod transaction;

use super::accumulator::{Readiness, RecordAccumulator, TopicQueues};
use super::backoff::Backoff;
use super::batch::{ProducerBatch, Settled};
use super::metadata::Cluster;
use super::transaction::{Operation, TransactionCall, TransactionConfig, TransactionManager, TransactionResponse};
use super::{Machine, RequestId};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, ProducerIdAndEpoch, TopicId};
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceResponse};
use answer::failure;
pub use counts::SenderCounts;
pub use expiry::Purge;
use identity::Identity;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};
pub use transaction::TransactionCommand;

/// How many batches a broker remembers of each partition and producer: what may be under way with idempotence.
const REMEMBERED_BATCHES: usize = 5;
/// How long an abandoned sender waits for the answers to what it has sent.
const FAREWELL: Duration = Duration::from_secs(1);
/// The most that a batch takes in a request besides itself and its topic's name.
const BATCH_OVERHEAD: usize = 16;

/// What the sender must know of the producer's configuration.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// `acks`: 0, 1, or -1 for all.
    pub acks: i16,
    /// `enable.idempotence`.
    pub idempotence: bool,
    /// `max.request.size`: the batches of one request, unless it is one batch alone.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `retries`.
    pub retries: u32,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// For a transactional producer.
    pub transaction: Option<TransactionConfig>,
    /// For the jitter.
    pub seed: u64,
}

/// What the sender asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum SenderRequest {
    /// A connection to this node.
    Connect(NodeId),
    /// A producer id, of any node.
    InitProducerId(InitProducerIdRequest),
    /// A Produce request to this node, over the connection asked for last: [`Sender::batches`] has what is in it.
    Produce(NodeId),
    /// For its transactions, of a coordinator.
    Transaction(TransactionCall),
}

/// The answers.
#[derive(Debug, Clone)]
pub enum SenderResponse {
    /// The connection is there.
    Connected,
    /// The broker's.
    ProducerId(InitProducerIdResponse),
    /// The broker's; anything with `acks=0`.
    Produced(ProduceResponse),
    /// A coordinator's.
    Transaction(TransactionResponse),
}

/// What the sender tells.
#[derive(Debug, Clone)]
pub enum SenderEvent {
    /// The metadata of this generation is wrong.
    StaleMetadata(u64),
    /// The outcome of a call that concerns transactions.
    Done(Operation, Result<()>),
    /// Nothing will be sent any more, for this reason.
    Failed(Error),
}

/// See the module's head.
///
/// Beside the [`Machine`]'s: [`handle_ready`](Self::handle_ready) after each wake-up, [`handle_cluster`](Self::handle_cluster)
/// when the cluster has changed. Answers of one node must come in the order of its requests.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    accumulator: Arc<RecordAccumulator>,
    cluster: Arc<Cluster>,
    /// By the accumulator's number of the partition.
    partitions: Vec<Option<Partition>>,
    nodes: BTreeMap<NodeId, Node>,
    in_flight: HashMap<RequestId, InFlight>,
    identity: Identity,
    transaction: Option<TransactionManager>,
    /// What a transaction that ends waits for: batches with a smaller id.
    transaction_until: u64,
    /// Records that could not be compressed, as far as the transaction knows.
    unsealed: u64,
    /// Partitions to look at again at a time: end of a backoff, or of a linger.
    timers: BTreeSet<(Instant, usize)>,
    /// When the first open batch has lingered, as the accumulator said last.
    linger: Option<Instant>,
    readiness: Option<Readiness>,
    /// When the next batch may have to fail.
    next_expiry: Option<Instant>,
    requests: VecDeque<(RequestId, SenderRequest)>,
    events: VecDeque<SenderEvent>,
    next_id: u64,
    found: Vec<(Arc<TopicQueues>, u32)>,
    backoff: Backoff,
    closing: Option<Instant>,
    counts: Arc<SenderCounts>,
}

#[derive(Debug)]
struct Partition {
    topic: Arc<TopicQueues>,
    partition: u32,
    topic_id: TopicId,
    leader: Option<NodeId>,
    leader_epoch: Option<LeaderEpoch>,
    /// Taken from the accumulator and not under way, oldest first.
    queue: VecDeque<ProducerBatch>,
    /// The batches under way, oldest first, and to whom.
    in_flight: VecDeque<(u64, u32)>,
    in_flight_to: Option<NodeId>,
    /// One of them was sent again: nothing goes out behind it.
    alone: bool,
    /// The last to have written a batch, and for which producer id. A broker that has none of ours yet takes any number for the
    /// first, so until it has written one, one batch at a time goes to it: else the second stands before the first if
    /// that is refused (franz-go 223). One that has any of this id wants a new epoch to start at 0.
    proven: Option<(NodeId, Option<i64>)>,
    place: Place,
    /// It may have something to send and waits for answers; looked at again when one comes.
    waits: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// In whose name its batches are numbered, and the next number.
    producer: Option<ProducerIdAndEpoch>,
    next_sequence: i32,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing to send that we know of.
    Idle,
    /// In the `ready` of this node.
    Ready(NodeId),
    /// It has no leader.
    Leaderless,
    /// In `timers`.
    Delayed,
    /// No producer id yet, or not yet of the transaction.
    Unadmitted,
}

#[derive(Debug)]
struct Node {
    link: Link,
    /// Counts connections: an error of an earlier one says nothing about this one.
    connections: u64,
    in_flight: usize,
    ready: VecDeque<usize>,
    /// The broker has asked us to wait (KIP-219).
    muted_until: Option<Instant>,
    backoff: Backoff,
    /// Why there is no connection.
    trouble: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { not_before: Option<Instant> },
    Connecting(RequestId),
    Up,
}

#[derive(Debug)]
struct InFlight {
    node: NodeId,
    connection: u64,
    generation: u64,
    sent: Instant,
    batches: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    index: usize,
    batch: Option<ProducerBatch>,
}

impl Sender {
    /// Takes what is ready in `accumulator`.
    pub fn new(config: SenderConfig, accumulator: Arc<RecordAccumulator>) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, config.seed);
        let identity = if config.idempotence { Identity::Unknown { not_before: None } } else { Identity::None };
        let transaction = config.transaction.clone().map(TransactionManager::new);
        Self {
            config,
            accumulator,
            cluster: Arc::default(),
            partitions: Vec::new(),
            nodes: BTreeMap::new(),
            in_flight: HashMap::new(),
            identity,
            transaction,
            transaction_until: 0,
            unsealed: 0,
            timers: BTreeSet::new(),
            linger: None,
            readiness: None,
            next_expiry: None,
            requests: VecDeque::new(),
            events: VecDeque::new(),
            next_id: 0,
            found: Vec::new(),
            backoff,
            closing: None,
            counts: Arc::default(),
        }
    }

    /// Looks what the accumulator has; `waker` is woken when there is more. To be called after each wake-up. Whether the
    /// accumulator was abandoned.
    pub fn handle_ready(&mut self, now: Instant, waker: &Waker) -> bool {
        let room = self.nodes.is_empty() || self.nodes.values().any(|node| node.in_flight < self.config.max_in_flight);
        let mut found = std::mem::take(&mut self.found);
        let before = self.readiness;
        let collected = self.accumulator.collect(now, waker, room, &mut found);
        self.linger = collected.lingers_until;
        self.readiness = Some(collected.readiness);
        self.next_expiry = earliest(self.next_expiry, collected.deadline);
        for (topic, partition) in found.drain(..) {
            if let Some(index) = self.index_of(&topic, partition) {
                self.activate(now, index);
            }
        }
        self.found = found;
        if collected.readiness.is_wider(before) {
            // What lingers may not have to any more.
            for (_, index) in std::mem::take(&mut self.timers) {
                self.on_timer(now, index);
            }
        }
        collected.abandoned
    }

    /// The cluster has changed: leaders, partitions.
    pub fn handle_cluster(&mut self, now: Instant, cluster: Arc<Cluster>) {
        self.cluster = cluster;
        for topic in self.accumulator.topics() {
            let Some(metadata) = self.cluster.topics.get(topic.name()).cloned() else {
                self.on_gone(&topic);
                continue;
            };
            self.accumulator.add_topic(topic.name(), metadata.id, metadata.partitions.len());
            self.accumulator.set_leaders(&topic, metadata.partitions.iter().map(|known| known.leader));
            self.fail_vanished(&topic);
            for (partition, known) in (0..).zip(&metadata.partitions) {
                let Some(index) = topic.partition(partition).map(|queue| queue.index) else { continue };
                if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
                    if partition.topic_id != metadata.id {
                        // Another topic of the same name: its leader has nothing of ours yet.
                        (partition.topic_id, partition.leader_epoch, partition.proven) = (metadata.id, None, None);
                    } else if known.leader_epoch.is_some() && known.leader_epoch < partition.leader_epoch {
                        if !metadata.id.is_zero() {
                            continue; // older than what a broker has told us of it (KIP-951)
                        }
                        partition.proven = None; // without ids nobody tells us; it was made anew
                    }
                }
                self.on_leader(now, index, known.leader, known.leader_epoch);
            }
        }
        self.follow_transaction(now);
    }

    /// Nobody knows the topic any more. If it comes back it may be another, whose leaders have nothing of ours and count their
    /// epochs anew.
    fn on_gone(&mut self, topic: &Arc<TopicQueues>) {
        topic.forget();
        for partition in self.partitions.iter_mut().flatten().filter(|partition| Arc::ptr_eq(&partition.topic, topic)) {
            (partition.leader_epoch, partition.proven) = (None, None);
        }
    }

    /// The batches of a request, to be encoded. Those of a topic stand together.
    pub fn batches(&self, id: RequestId) -> impl Iterator<Item = &ProducerBatch> + Clone {
        self.in_flight.get(&id).into_iter().flat_map(|request| &request.batches).filter_map(|sent| sent.batch.as_ref())
    }

    /// What it counts.
    pub fn counts(&self) -> &Arc<SenderCounts> {
        &self.counts
    }

    /// `acks`, for the request's head.
    pub fn acks(&self) -> i16 {
        self.config.acks
    }

    fn index_of(&mut self, topic: &Arc<TopicQueues>, partition: u32) -> Option<usize> {
        let index = topic.partition(partition)?.index;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        if self.partitions[index].is_none() {
            let known = self.cluster.partition(topic.name(), partition as i32);
            let seed = self.config.seed.wrapping_add(index as u64);
            self.partitions[index] = Some(Partition {
                topic: topic.clone(),
                partition,
                topic_id: self.cluster.topics.get(topic.name()).map(|topic| topic.id).unwrap_or_default(),
                leader: known.and_then(|known| known.leader),
                leader_epoch: known.and_then(|known| known.leader_epoch),
                queue: VecDeque::new(),
                in_flight: VecDeque::new(),
                in_flight_to: None,
                alone: false,
                proven: None,
                place: Place::Idle,
                waits: false,
                not_before: None,
                backoff: Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max, seed),
                producer: None,
                next_sequence: 0,
            });
        }
        Some(index)
    }

    /// The partition may have something to send: puts it where it will be looked at.
    fn activate(&mut self, now: Instant, index: usize) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        if matches!(partition.place, Place::Ready(_) | Place::Unadmitted) {
            return;
        }
        partition.waits = false;
        if let Some(at) = partition.not_before.filter(|at| *at > now) {
            partition.place = Place::Delayed;
            self.timers.insert((at, index));
            return;
        }
        partition.not_before = None;
        let Some(leader) = partition.leader else {
            if partition.place != Place::Leaderless {
                partition.place = Place::Leaderless;
                self.events.push_back(SenderEvent::StaleMetadata(self.cluster.generation));
            }
            return;
        };
        partition.place = Place::Ready(leader);
        if let Identity::Unknown { not_before: None } = self.identity {
            self.ask_for_identity();
        }
        let (base, max) = (self.config.retry_backoff, self.config.retry_backoff_max);
        let seed = self.config.seed.wrapping_mul(31).wrapping_add(leader.0 as u64);
        let node = self.nodes.entry(leader).or_insert_with(|| Node::new(Backoff::new(base, max, seed)));
        node.ready.push_back(index);
        self.connect(now, leader);
    }

    fn on_timer(&mut self, now: Instant, index: usize) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        if partition.place == Place::Delayed {
            partition.place = Place::Idle;
        }
        self.activate(now, index);
    }

    fn on_leader(&mut self, now: Instant, index: usize, leader: Option<NodeId>, epoch: Option<LeaderEpoch>) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        if partition.leader == leader && partition.leader_epoch == epoch {
            return;
        }
        partition.leader = leader;
        partition.leader_epoch = epoch;
        partition.not_before = None; // it was to wait for this
        match partition.place {
            Place::Ready(node) => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.ready.retain(|ready| *ready != index);
                }
            }
            Place::Delayed => self.timers.retain(|(_, timer)| *timer != index),
            Place::Leaderless => {}
            Place::Idle | Place::Unadmitted => return,
        }
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        partition.place = Place::Idle;
        self.activate(now, index);
    }

    fn connect(&mut self, now: Instant, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Link::Down { not_before } = node.link else { return };
        if node.ready.is_empty() || not_before.is_some_and(|at| at > now) {
            return;
        }
        let request = RequestId(self.next_id);
        self.next_id += 1;
        node.link = Link::Connecting(request);
        self.requests.push_back((request, SenderRequest::Connect(id)));
    }
}

impl Machine for Sender {
    type Request = SenderRequest;
    type Response = SenderResponse;
    type Event = SenderEvent;

    fn handle_response(&mut self, now: Instant, id: RequestId, response: Result<SenderResponse>) {
        if matches!(self.identity, Identity::Asking(asked) if asked == id) {
            return self.on_identity(now, response);
        }
        let response = match self.transaction_response(now, id, response) {
            Some(response) => response,
            None => return,
        };
        if let Some(request) = self.in_flight.remove(&id) {
            if let Some(node) = self.nodes.get_mut(&request.node) {
                node.in_flight -= 1;
            }
            self.counts.requests_in_flight.sub(1);
            match response {
                Ok(SenderResponse::Produced(response)) => self.on_produced(now, request, &response),
                other => {
                    let error = other.err().unwrap_or_else(|| Error::new(ErrorKind::Malformed));
                    if let Some(node) = self.nodes.get_mut(&request.node)
                        && node.connections == request.connection
                        && node.link == Link::Up
                    {
                        // At once, unless that was for nothing already: what was not sent waits for nothing else.
                        let was_refused = error.delivery_certainty() == Some(Certainty::NotSent);
                        let wait = was_refused.then(|| (node.backoff.tries() > 0, node.backoff.next_wait()));
                        let wait = wait.filter(|(again, _)| *again).map(|(_, wait)| now + wait);
                        node.link = Link::Down { not_before: wait };
                    }
                    for Sent { index, batch } in request.batches {
                        if let Some(batch) = batch {
                            self.on_unanswered(now, index, batch, error.clone(), request.generation);
                        }
                    }
                    self.connect(now, request.node);
                }
            }
            return self.follow_transaction(now);
        }
        let Some((id, node)) = self.nodes.iter_mut().find(|(_, node)| node.link == Link::Connecting(id)) else {
            return;
        };
        match response {
            Ok(_) => {
                node.link = Link::Up;
                node.connections += 1;
                node.trouble = None;
            }
            Err(error) => {
                let wait = node.backoff.next_wait();
                tracing::debug!(node = id.0, %error, "no connection to send to");
                node.link = Link::Down { not_before: Some(now + wait) };
                node.trouble = Some(error);
                self.events.push_back(SenderEvent::StaleMetadata(self.cluster.generation));
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, index)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            self.on_timer(now, index);
        }
        if matches!(self.identity, Identity::Unknown { not_before: Some(at) } if at <= now) {
            self.ask_for_identity();
        }
        let due = |node: &Node| matches!(node.link, Link::Down { not_before: Some(at) } if at <= now);
        let nodes: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| due(node)).map(|(id, _)| *id).collect();
        for id in nodes {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.link = Link::Down { not_before: None };
            }
            self.connect(now, id);
        }
        for node in self.nodes.values_mut() {
            node.muted_until = node.muted_until.filter(|until| *until > now);
        }
        if self.next_expiry.is_some_and(|at| at <= now) {
            self.expire(now);
            self.follow_transaction(now);
        }
        if self.closing.is_some_and(|at| at <= now) {
            for (_, request) in std::mem::take(&mut self.in_flight) {
                self.counts.requests_in_flight.sub(1);
                for Sent { batch, .. } in request.batches {
                    if let Some(mut batch) = batch {
                        batch.possibly_sent = true;
                        let error = failure(&batch, Error::with_message(ErrorKind::Closed, "the producer is closed"));
                        self.finish(batch, Settled::Failed(error));
                    }
                }
            }
            self.transaction = None; // its coordinator will abort what is open, in time
        }
    }

    /// Fails what is not under way as `NotSent`, with one warning that counts it, and waits a second at most for the
    /// answers to the rest.
    fn handle_abandoned(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        self.accumulator.close(); // nobody may append to what nobody drains
        let error = Error::with_message(ErrorKind::Closed, "the producer was closed before it was sent");
        let records = self.fail_unsent(&error);
        if records > 0 {
            tracing::warn!(records, "a producer was closed or dropped with records that were not sent");
            if let Some(transaction) = &mut self.transaction {
                transaction.on_failed_batch(&error, false); // or a commit under way would commit the rest
            }
        }
        self.closing = Some(now + FAREWELL);
        self.command(now, TransactionCommand::Abort(None));
    }

    fn poll_request(&mut self) -> Option<(RequestId, SenderRequest)> {
        if let Some(request) = self.requests.pop_front() {
            return Some(request);
        }
        let now = self.readiness?.now();
        if let Some(request) = self.poll_transaction(now) {
            return Some(request);
        }
        if self.closing.is_some() {
            return None;
        }
        let mut next = self.nodes.first_key_value().map(|(id, _)| *id);
        while let Some(id) = next {
            if let Some(request) = self.build(now, id) {
                return Some((request, SenderRequest::Produce(id)));
            }
            next = self.nodes.range((Bound::Excluded(id), Bound::Unbounded)).next().map(|(id, _)| *id);
        }
        self.poll_transaction(now) // a batch may just have been found to wait for its partition to be added
    }

    fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let identity = match self.identity {
            Identity::Unknown { not_before } => not_before,
            _ => None,
        };
        let node = |node: &Node| match node.link {
            Link::Down { not_before: Some(at) } if !node.ready.is_empty() => Some(at),
            _ => node.muted_until,
        };
        let timers = self.timers.first().map(|(at, _)| *at);
        let transaction = self.transaction.as_ref().and_then(TransactionManager::poll_timeout);
        let fixed = [identity, transaction, timers, self.linger, self.next_expiry, self.closing];
        fixed.into_iter().chain(self.nodes.values().map(node)).flatten().min()
    }

    fn is_closed(&self) -> bool {
        let busy = self.transaction.as_ref().is_some_and(TransactionManager::is_busy);
        self.closing.is_some() && self.in_flight.is_empty() && !busy
    }
}

impl Node {
    fn new(backoff: Backoff) -> Self {
        let link = Link::Down { not_before: None };
        Self { link, connections: 0, in_flight: 0, ready: VecDeque::new(), muted_until: None, trouble: None, backoff }
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests;
