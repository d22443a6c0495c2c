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
//! - What is sent again goes alone: only the oldest batch whose outcome is open, and nothing new overtakes it.
//! - Nothing goes to a new leader while something is under way to the old one.
//! - Without idempotence and with more than one request in flight a batch may overtake one that is refused, as in the Java
//!   client; `max.in.flight.requests.per.connection=1` keeps the order then.
//!
//! When a numbered batch fails for good its number is missing: the epoch is bumped (KIP-360), and each partition starts at
//! 0 in the new epoch once nothing numbered in the old one is open there.

use super::accumulator::{Drained, Readiness, RecordAccumulator, TopicQueues};
use super::backoff::Backoff;
use super::batch::{Acknowledged, Numbered, ProducerBatch};
use super::metadata::Cluster;
use super::{Machine, RequestId};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, ProducerIdAndEpoch, TopicPartition};
use crate::wire::messages::produce_response::PartitionProduceResponse;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceResponse};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

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
}

/// What the sender tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderEvent {
    /// The metadata of this generation is wrong.
    StaleMetadata(u64),
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
}

/// Who writes.
///
/// ```text
/// Unknown --asked--> Asking --answer--> Known --epoch 32767 is used up, or refused--> Unknown
///    ^                  | retriable                 fatal --> Failed (everything fails with it)
///    +--- after wait ---+
/// ```
#[derive(Debug)]
enum Identity {
    /// Without idempotence.
    None,
    Unknown {
        not_before: Option<Instant>,
    },
    Asking(RequestId),
    Known(ProducerIdAndEpoch),
    Failed,
}

#[derive(Debug)]
struct Partition {
    topic: Arc<TopicQueues>,
    partition: u32,
    leader: Option<NodeId>,
    leader_epoch: Option<LeaderEpoch>,
    /// Taken from the accumulator and not under way, oldest first.
    queue: VecDeque<ProducerBatch>,
    /// The batches under way, oldest first, and to whom.
    in_flight: VecDeque<u64>,
    in_flight_to: Option<NodeId>,
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
    /// No producer id yet.
    Unidentified,
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
    batches: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    index: usize,
    batch: Option<ProducerBatch>,
}

enum Next {
    Batch(ProducerBatch),
    /// It doesn't fit into this request any more.
    Later,
    Nothing,
}

impl Sender {
    /// Takes what is ready in `accumulator`.
    pub fn new(config: SenderConfig, accumulator: Arc<RecordAccumulator>) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, config.seed);
        let identity = if config.idempotence { Identity::Unknown { not_before: None } } else { Identity::None };
        Self {
            config,
            accumulator,
            cluster: Arc::default(),
            partitions: Vec::new(),
            nodes: BTreeMap::new(),
            in_flight: HashMap::new(),
            identity,
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
            let Some(metadata) = self.cluster.topics.get(topic.name()).cloned() else { continue };
            self.accumulator.add_topic(topic.name(), metadata.partitions.len());
            let has_leader = |(partition, known): (u32, &super::metadata::PartitionMetadata)| {
                known.leader.is_some().then_some(partition)
            };
            topic.set_available((0..).zip(&metadata.partitions).filter_map(has_leader).collect());
            for (partition, known) in (0..).zip(&metadata.partitions) {
                let Some(index) = topic.partition(partition).map(|queue| queue.index) else { continue };
                self.on_leader(now, index, known.leader, known.leader_epoch);
            }
        }
    }

    /// The batches of a request, to be encoded. Those of a topic stand together.
    pub fn batches(&self, id: RequestId) -> impl Iterator<Item = &ProducerBatch> + Clone {
        self.in_flight.get(&id).into_iter().flat_map(|request| &request.batches).filter_map(|sent| sent.batch.as_ref())
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
                leader: known.and_then(|known| known.leader),
                leader_epoch: known.and_then(|known| known.leader_epoch),
                queue: VecDeque::new(),
                in_flight: VecDeque::new(),
                in_flight_to: None,
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
        if matches!(partition.place, Place::Ready(_) | Place::Unidentified) {
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
            Place::Idle | Place::Unidentified => return,
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

    fn ask_for_identity(&mut self) {
        let request = RequestId(self.next_id);
        self.next_id += 1;
        self.identity = Identity::Asking(request);
        let ask = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        self.requests.push_back((request, SenderRequest::InitProducerId(ask)));
    }

    /// One request to `node`, of what its partitions have; `None` if there is nothing or no room.
    fn build(&mut self, now: Instant, id: NodeId) -> Option<RequestId> {
        let node = self.nodes.get_mut(&id)?;
        let may_send = node.link == Link::Up
            && node.in_flight < self.config.max_in_flight
            && node.muted_until.is_none_or(|until| until <= now);
        if !may_send {
            return None;
        }
        node.muted_until = None;
        let mut batches: Vec<Sent> = Vec::with_capacity(node.ready.len());
        let mut size = 0;
        for _ in 0..node.ready.len() {
            let Some(index) = self.nodes.get_mut(&id).and_then(|node| node.ready.pop_front()) else { break };
            let room = if batches.is_empty() { usize::MAX } else { self.config.max_request_size.saturating_sub(size) };
            match self.next_batch(now, index, id, room) {
                Next::Batch(batch) => {
                    size += batch.body().size() + batch.topic.name().len() + BATCH_OVERHEAD;
                    batches.push(Sent { index, batch: Some(batch) });
                    // It may have more: it is looked at again for the next request.
                    self.nodes.get_mut(&id)?.ready.push_back(index);
                }
                Next::Later => {
                    self.nodes.get_mut(&id)?.ready.push_front(index);
                    break;
                }
                Next::Nothing => {}
            }
        }
        if batches.is_empty() {
            return None;
        }
        batches.sort_by(|a, b| topic_of(a).cmp(&topic_of(b)));
        let request = RequestId(self.next_id);
        self.next_id += 1;
        let node = self.nodes.get_mut(&id)?;
        node.in_flight += 1;
        let (connection, generation) = (node.connections, self.cluster.generation);
        self.in_flight.insert(request, InFlight { node: id, connection, generation, batches });
        Some(request)
    }

    /// The next batch of a partition that may go to `node` now. If there is none the partition has found another place.
    fn next_batch(&mut self, now: Instant, index: usize, node: NodeId, room: usize) -> Next {
        let Some(readiness) = self.readiness else { return Next::Nothing };
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return Next::Nothing };
        partition.place = Place::Idle;
        // Nothing overtakes what is under way to the leader before.
        if partition.in_flight_to.is_some_and(|to| to != node) || partition.in_flight.len() >= REMEMBERED_BATCHES {
            partition.waits = true;
            return Next::Nothing;
        }
        if partition.queue.is_empty() {
            match self.accumulator.drain(&partition.topic, partition.partition, readiness) {
                Drained::Batch(batch) => partition.queue.push_back(batch),
                Drained::Lingers(at) => {
                    if at > now {
                        partition.place = Place::Delayed;
                    }
                    self.timers.insert((at, index));
                    return Next::Nothing;
                }
                Drained::Nothing => return Next::Nothing,
            }
        }
        let Some(front) = partition.queue.front() else { return Next::Nothing };
        if front.body().size() + front.topic.name().len() + BATCH_OVERHEAD > room {
            partition.place = Place::Ready(node);
            return Next::Later;
        }
        match front.numbered {
            // Again: alone, and the oldest first.
            Some(_) if partition.in_flight.front().is_some_and(|oldest| *oldest < front.id) => {
                partition.waits = true;
                return Next::Nothing;
            }
            Some(_) => {}
            None => match self.identity {
                Identity::None => {
                    if let Some(front) = partition.queue.front_mut() {
                        front.number(ProducerIdAndEpoch::NONE, -1);
                    }
                }
                Identity::Known(producer) => {
                    if partition.producer != Some(producer) {
                        if !partition.in_flight.is_empty() {
                            partition.waits = true;
                            return Next::Nothing;
                        }
                        partition.producer = Some(producer);
                        partition.next_sequence = 0;
                    }
                    let sequence = partition.next_sequence;
                    if let Some(front) = partition.queue.front_mut() {
                        front.number(producer, sequence);
                        partition.next_sequence = sequence.wrapping_add_unsigned(front.record_count()) & i32::MAX;
                    }
                }
                Identity::Unknown { .. } | Identity::Asking(_) | Identity::Failed => {
                    partition.place = Place::Unidentified;
                    return Next::Nothing;
                }
            },
        }
        let Some(mut batch) = partition.queue.pop_front() else { return Next::Nothing };
        batch.attempts += 1;
        let at = partition.in_flight.partition_point(|id| *id < batch.id);
        partition.in_flight.insert(at, batch.id);
        partition.in_flight_to = Some(node);
        partition.place = Place::Ready(node); // the caller puts it there
        self.next_expiry = earliest(self.next_expiry, Some(batch.deadline));
        Next::Batch(batch)
    }

    fn on_produced(&mut self, now: Instant, request: InFlight, response: &ProduceResponse) {
        let mut batches = request.batches;
        if self.config.acks == 0 {
            for Sent { index, batch } in batches {
                if let Some(batch) = batch {
                    self.on_written(now, index, batch, Acknowledged { base_offset: None, log_append_time: None });
                }
            }
            return;
        }
        if let Some(node) = self.nodes.get_mut(&request.node) {
            node.backoff.reset();
            let throttle = Duration::from_millis(response.throttle_time_ms.max(0) as u64);
            if !throttle.is_zero() {
                node.muted_until = Some(now + throttle);
            }
        }
        let mut expected = 0; // answers mostly come in the order of the request
        for topic in &response.responses {
            for answer in &topic.partition_responses {
                let is_it = |sent: &Sent| {
                    sent.batch.as_ref().is_some_and(|batch| {
                        batch.partition as i32 == answer.index && **batch.topic.name() == *topic.name.as_str()
                    })
                };
                let at = match batches.get(expected).is_some_and(is_it) {
                    true => Some(expected),
                    false => batches.iter().position(is_it),
                };
                let Some(at) = at else { continue };
                expected = at + 1;
                if let Some(batch) = batches[at].batch.take() {
                    self.on_answer(now, batches[at].index, batch, answer, (request.node, request.generation));
                }
            }
        }
        for Sent { index, batch } in batches {
            let error = Error::with_message(ErrorKind::Malformed, "the answer leaves the partition out")
                .certainty(Certainty::PossiblySent);
            if let Some(batch) = batch {
                self.on_error(now, index, batch, error.api("Produce").node(request.node), request.generation);
            }
        }
    }

    fn on_answer(
        &mut self,
        now: Instant,
        index: usize,
        batch: ProducerBatch,
        answer: &PartitionProduceResponse,
        (node, generation): (NodeId, u64),
    ) {
        let Some(code) = ErrorCode::from_wire(answer.error_code) else {
            let written = Acknowledged {
                base_offset: Some(answer.base_offset).filter(|offset| *offset >= 0),
                log_append_time: Some(answer.log_append_time_ms).filter(|time| *time >= 0),
            };
            return self.on_written(now, index, batch, written);
        };
        let certainty = if is_refusal(code) { Certainty::NotSent } else { Certainty::PossiblySent };
        let error = Error::broker(code).api("Produce").node(node).certainty(certainty);
        let error = match (&answer.error_message, answer.record_errors.first()) {
            (_, Some(first)) if first.batch_index_error_message.is_some() => {
                let why = first.batch_index_error_message.as_deref().unwrap_or_default();
                error.message(format!("record {} of the batch: {why}", first.batch_index))
            }
            (Some(message), _) => error.message(message.to_string()),
            _ => error,
        };
        self.on_error(now, index, batch, error, generation);
    }

    fn on_written(&mut self, now: Instant, index: usize, batch: ProducerBatch, written: Acknowledged) {
        self.landed(index, batch.id);
        if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
            partition.backoff.reset();
        }
        self.finish(batch, Ok(written));
        self.look_again(now, index);
    }

    /// The batch is no longer under way.
    fn landed(&mut self, index: usize, id: u64) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        partition.in_flight.retain(|in_flight| *in_flight != id);
        if partition.in_flight.is_empty() {
            partition.in_flight_to = None;
        }
    }

    fn look_again(&mut self, now: Instant, index: usize) {
        let Some(partition) = self.partitions.get(index).and_then(Option::as_ref) else { return };
        if partition.waits || !partition.queue.is_empty() {
            self.activate(now, index);
        }
    }

    fn finish(&self, mut batch: ProducerBatch, result: Result<Acknowledged>) {
        if !batch.is_settled() {
            batch.settle(result);
            self.accumulator.on_settled(batch.id);
        }
        self.accumulator.release(batch);
    }

    fn on_error(&mut self, now: Instant, index: usize, mut batch: ProducerBatch, error: Error, generation: u64) {
        self.landed(index, batch.id);
        if error.delivery_certainty() != Some(Certainty::NotSent) {
            batch.possibly_sent = true;
        }
        let code = error.code();
        if code.is_some_and(ErrorCode::invalidates_metadata) || error.kind() == ErrorKind::Connection {
            self.events.push_back(SenderEvent::StaleMetadata(generation));
        }
        if batch.is_settled() {
            self.accumulator.release(batch); // it had expired, its number was given up then
            return self.look_again(now, index);
        }
        if code == Some(ErrorCode::DuplicateSequenceNumber) {
            return self.on_written(now, index, batch, Acknowledged { base_offset: None, log_append_time: None });
        }
        let in_time = batch.deadline > now && self.closing.is_none();
        if let (Some(code), true, true) = (code, self.config.idempotence, in_time) {
            match code {
                ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => {
                    return self.on_out_of_order(now, index, batch);
                }
                ErrorCode::InvalidProducerEpoch => {
                    let known = batch.numbered.map(|numbered| numbered.producer);
                    if matches!(self.identity, Identity::Known(producer) if Some(producer) == known) {
                        self.ask_for_identity();
                    }
                    return self.renumber(now, index, batch);
                }
                _ => {}
            }
        }
        let again = error.is_retriable() || error.kind() == ErrorKind::Malformed;
        if again && in_time && batch.attempts <= self.config.retries {
            if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
                // One wait for all that fail together.
                if partition.not_before.is_none_or(|at| at <= now) {
                    partition.not_before = Some(now + partition.backoff.next_wait());
                }
            }
            tracing::debug!(topic = %batch.topic.name(), partition = batch.partition, %error, "a batch is sent again");
            return self.requeue(now, index, batch);
        }
        self.fail(batch, error);
        self.look_again(now, index);
    }

    /// The broker has not got the batch before. If that is because of one whose outcome is open, it will have; if not,
    /// there is a gap, which only a new epoch can close.
    fn on_out_of_order(&mut self, now: Instant, index: usize, batch: ProducerBatch) {
        let Some(partition) = self.partitions.get(index).and_then(Option::as_ref) else { return };
        let oldest = partition.in_flight.front().copied().into_iter().chain(partition.queue.front().map(|b| b.id)).min();
        if oldest.is_some_and(|oldest| oldest < batch.id) {
            return self.requeue(now, index, batch);
        }
        self.bump_epoch(batch.numbered);
        self.renumber(now, index, batch);
    }

    /// A batch that certainly was not written gets a new number, and so do those behind it: they can't have been either.
    fn renumber(&mut self, now: Instant, index: usize, mut batch: ProducerBatch) {
        if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
            for later in partition.queue.iter_mut().filter(|later| later.id > batch.id) {
                later.numbered = None;
            }
        }
        batch.numbered = None;
        self.requeue(now, index, batch);
    }

    fn requeue(&mut self, now: Instant, index: usize, batch: ProducerBatch) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        let at = partition.queue.partition_point(|queued| queued.id < batch.id);
        partition.queue.insert(at, batch);
        if let (Place::Ready(node), Some(_)) = (partition.place, partition.not_before) {
            partition.place = Place::Idle;
            if let Some(node) = self.nodes.get_mut(&node) {
                node.ready.retain(|ready| *ready != index);
            }
        }
        self.activate(now, index);
    }

    /// Fails a batch for good.
    fn fail(&mut self, batch: ProducerBatch, error: Error) {
        self.bump_epoch(batch.numbered);
        let error = failure(&batch, error);
        self.finish(batch, Err(error));
    }

    /// This number will be missing.
    fn bump_epoch(&mut self, missing: Option<Numbered>) {
        match (&self.identity, missing) {
            (Identity::Known(producer), Some(missing)) if *producer == missing.producer => {
                match producer.epoch.checked_add(1) {
                    Some(epoch) => self.identity = Identity::Known(ProducerIdAndEpoch { epoch, ..*producer }),
                    None => self.ask_for_identity(),
                }
            }
            _ => {} // not numbered, or bumped since
        }
    }

    fn on_identity(&mut self, now: Instant, response: Result<SenderResponse>) {
        let answer = match response {
            Ok(SenderResponse::ProducerId(answer)) => match ErrorCode::check(answer.error_code) {
                Ok(()) => Ok(ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch }),
                Err(code) => Err(Error::broker(code).api("InitProducerId")),
            },
            Ok(_) => Err(Error::new(ErrorKind::Malformed)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(producer) => {
                self.backoff.reset();
                self.identity = Identity::Known(producer);
                self.unidentified(now);
            }
            // Brokers say this while the id blocks are being handed out.
            Err(error) if error.is_retriable() || error.code() == Some(ErrorCode::ConcurrentTransactions) => {
                let wait = self.backoff.next_wait();
                self.identity = Identity::Unknown { not_before: Some(now + wait) };
            }
            Err(error) => {
                tracing::error!(%error, "the producer gets no id and can't go on");
                self.identity = Identity::Failed;
                self.accumulator.close();
                self.fail_unsent(&error);
                self.closing = Some(now + FAREWELL);
            }
        }
    }

    /// Those that waited for a producer id.
    fn unidentified(&mut self, now: Instant) {
        let waiting = |partition: &Option<Partition>| {
            partition.as_ref().is_some_and(|partition| partition.place == Place::Unidentified)
        };
        let waiting: Vec<usize> = (0..self.partitions.len()).filter(|index| waiting(&self.partitions[*index])).collect();
        for index in waiting {
            if let Some(partition) = &mut self.partitions[index] {
                partition.place = Place::Idle;
            }
            self.activate(now, index);
        }
    }

    /// Fails what is past its `delivery.timeout.ms`, oldest first. What is under way keeps its memory and its buffer
    /// until the answer or the end of the connection (KAFKA-19012); only those who wait are told.
    fn expire(&mut self, now: Instant) {
        let mut next = self.accumulator.open_deadline();
        let mut late: Vec<u64> = Vec::new();
        let mut gone = Vec::new();
        for request in self.in_flight.values_mut() {
            for batch in request.batches.iter_mut().filter_map(|sent| sent.batch.as_mut()) {
                if batch.is_settled() {
                } else if batch.deadline <= now {
                    late.push(batch.id);
                } else {
                    next = earliest(next, Some(batch.deadline));
                }
            }
        }
        late.sort_unstable();
        for id in late {
            let batches = self.in_flight.values_mut().flat_map(|request| &mut request.batches);
            let Some(batch) = batches.filter_map(|sent| sent.batch.as_mut()).find(|batch| batch.id == id) else { continue };
            batch.possibly_sent = true;
            let error = failure(batch, timed_out());
            batch.settle(Err(error));
            gone.push(batch.numbered);
            self.accumulator.on_settled(id);
        }
        gone.into_iter().for_each(|numbered| self.bump_epoch(numbered));
        for index in 0..self.partitions.len() {
            while let Some(batch) = self.take_expired(now, index) {
                self.fail(batch, timed_out());
            }
            let Some(partition) = self.partitions[index].as_ref() else { continue };
            next = match partition.queue.front() {
                Some(front) => earliest(next, Some(front.deadline)),
                None if partition.place == Place::Idle && !partition.waits => next,
                None => earliest(next, self.accumulator.oldest_deadline(&partition.topic, partition.partition)),
            };
        }
        self.next_expiry = next;
    }

    fn take_expired(&mut self, now: Instant, index: usize) -> Option<ProducerBatch> {
        let partition = self.partitions[index].as_mut()?;
        match partition.queue.front() {
            Some(front) if front.deadline <= now => partition.queue.pop_front(),
            Some(_) => None,
            None if partition.place == Place::Idle && !partition.waits => None,
            None => self.accumulator.take_expired(&partition.topic, partition.partition, now),
        }
    }

    /// Fails everything that is not under way; how many records that are.
    fn fail_unsent(&mut self, error: &Error) -> usize {
        let mut records = 0;
        let queued: Vec<ProducerBatch> =
            self.partitions.iter_mut().flatten().flat_map(|partition| partition.queue.drain(..)).collect();
        for batch in queued.into_iter().chain(self.accumulator.take_all()) {
            records += batch.record_count() as usize;
            let error = failure(&batch, error.clone().certainty(Certainty::NotSent));
            self.finish(batch, Err(error));
        }
        records
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
        if let Some(request) = self.in_flight.remove(&id) {
            if let Some(node) = self.nodes.get_mut(&request.node) {
                node.in_flight -= 1;
            }
            match response {
                Ok(SenderResponse::Produced(response)) => self.on_produced(now, request, &response),
                other => {
                    let error = other.err().unwrap_or_else(|| Error::new(ErrorKind::Malformed));
                    if let Some(node) = self.nodes.get_mut(&request.node)
                        && node.connections == request.connection
                        && node.link == Link::Up
                    {
                        node.link = Link::Down { not_before: None };
                    }
                    for Sent { index, batch } in request.batches {
                        if let Some(batch) = batch {
                            self.on_error(now, index, batch, error.clone(), request.generation);
                        }
                    }
                    self.connect(now, request.node);
                }
            }
            return;
        }
        let Some((id, node)) = self.nodes.iter_mut().find(|(_, node)| node.link == Link::Connecting(id)) else { return };
        match response {
            Ok(_) => {
                node.link = Link::Up;
                node.connections += 1;
            }
            Err(error) => {
                let wait = node.backoff.next_wait();
                tracing::debug!(node = id.0, %error, "no connection to send to");
                node.link = Link::Down { not_before: Some(now + wait) };
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
        }
        if self.closing.is_some_and(|at| at <= now) {
            for (_, request) in std::mem::take(&mut self.in_flight) {
                for Sent { batch, .. } in request.batches {
                    if let Some(mut batch) = batch {
                        batch.possibly_sent = true;
                        let error = failure(&batch, Error::with_message(ErrorKind::Closed, "the producer is closed"));
                        self.finish(batch, Err(error));
                    }
                }
            }
        }
    }

    /// Fails what is not under way as `NotSent`, with one warning that counts it, and waits a second at most for the
    /// answers to the rest.
    fn handle_abandoned(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        let error = Error::with_message(ErrorKind::Closed, "the producer was closed before it was sent");
        let records = self.fail_unsent(&error);
        if records > 0 {
            tracing::warn!(records, "a producer was closed or dropped with records that were not sent");
        }
        self.closing = Some(now + FAREWELL);
    }

    fn poll_request(&mut self) -> Option<(RequestId, SenderRequest)> {
        if let Some(request) = self.requests.pop_front() {
            return Some(request);
        }
        if self.closing.is_some() {
            return None;
        }
        let now = self.readiness?.now();
        let mut next = self.nodes.first_key_value().map(|(id, _)| *id);
        while let Some(id) = next {
            if let Some(request) = self.build(now, id) {
                return Some((request, SenderRequest::Produce(id)));
            }
            next = self.nodes.range((Bound::Excluded(id), Bound::Unbounded)).next().map(|(id, _)| *id);
        }
        None
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
        let fixed = [identity, timers, self.linger, self.next_expiry, self.closing];
        fixed.into_iter().chain(self.nodes.values().map(node)).flatten().min()
    }

    fn is_closed(&self) -> bool {
        self.closing.is_some() && self.in_flight.is_empty()
    }
}

impl Node {
    fn new(backoff: Backoff) -> Self {
        let link = Link::Down { not_before: None };
        Self { link, connections: 0, in_flight: 0, ready: VecDeque::new(), muted_until: None, backoff }
    }
}

fn topic_of(sent: &Sent) -> Option<&str> {
    sent.batch.as_ref().map(|batch| &**batch.topic.name())
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

fn timed_out() -> Error {
    Error::with_message(ErrorKind::Timeout, "not acknowledged within delivery.timeout.ms").certainty(Certainty::NotSent)
}

/// What those who wait for a batch are told: whose it is, and whether it may have been written, by any attempt.
fn failure(batch: &ProducerBatch, error: Error) -> Error {
    let certainty = if batch.possibly_sent { Certainty::PossiblySent } else { Certainty::NotSent };
    error.partition(TopicPartition::new(batch.topic.name().clone(), batch.partition as i32)).certainty(certainty)
}

/// Whether a broker answers this only before it writes anything. Others can come when it has written: a leader that is
/// deposed while it waits for its followers says NOT_LEADER_OR_FOLLOWER of what it has in its log.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::InvalidTopicException
            | ErrorCode::InvalidRequest
            | ErrorCode::PolicyViolation
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::ProducerFenced
            | ErrorCode::InvalidTxnState
            | ErrorCode::UnknownProducerId
            | ErrorCode::ThrottlingQuotaExceeded
    )
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
