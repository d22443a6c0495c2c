//! Which partitions to fetch from which leader, what an answer changes, and what is handed out next.
//!
//! A value like the machines (`now` comes in; no socket, clock or task in here), but not behind their driver: the fetch
//! tasks, one per broker, and the application's `poll` share it.
//!
//! What holds:
//! - One Fetch per broker at a time; the next goes out while the previous one's records are consumed.
//! - A Fetch reserves its `max_bytes` in its node's share of the byte budget before it is sent; the answer's length
//!   corrects that, and the room comes back when the last part of the answer is handed out. Half a share is asked for
//!   at most, so that a second answer can arrive while the first is consumed.
//! - A partition that has enough waiting holds up its node's next Fetch instead of being left out of it: else that
//!   Fetch would be parked at the broker for the others' sake, and the partition starve behind `fetch.max.wait.ms`.
//! - Whoever has waited longest for data comes first in a Fetch, since the broker fills its answer in that order.
//! - What arrived is never asked for again, unless the position was moved. Data of a paused partition is copied out of
//!   its answer and kept, in half the budget at most.
//! - A Fetch says what the broker doesn't know from the ones before it, and what an answer leaves out is as it was.
//! - A position is reset only on an answer that says so, never on an error of the transport.

mod answer;
mod leaders;
mod replicas;
mod validation;

pub use super::completed_fetch::FetchedRecords;
pub use validation::Validation;

use super::completed_fetch::Lease;
use super::fetch_session::{FetchSession, SessionRequest};
use super::metadata::Cluster;
use super::subscription::{FetchState, OffsetReset, OffsetSpec, Partition, Position, Start, SubscriptionState};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, OffsetAndMetadata, TopicId, TopicPartition};
use crate::wire::fetch::{FetchParameters, IsolationLevel};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers that may wait for the application per partition, however small.
const WAITING: usize = 16;
/// How often the application is told of a problem that stays.
pub const REMIND: Duration = Duration::from_secs(1);

/// What the Fetcher goes by.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// For everything prefetched.
    pub budget: usize,
    /// `fetch.max.bytes`.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub max_partition_bytes: usize,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub max_wait: Duration,
    /// `isolation.level`.
    pub isolation: IsolationLevel,
    /// Whether the application wants to see control records.
    pub control_records: bool,
    /// `auto.offset.reset`.
    pub reset: OffsetReset,
    /// Whether the application wants to hear of the end of a partition.
    pub partition_end: bool,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
}

impl FetcherConfig {
    /// Before the next try, after so many failures before this one.
    fn retry_wait(&self, failures: u32) -> Duration {
        self.retry_backoff.saturating_mul(1 << failures.min(20)).min(self.retry_backoff_max)
    }
}

impl Partition {
    /// After a failure.
    fn retry_later(&mut self, now: Instant, config: &FetcherConfig) {
        self.not_before = Some(now + config.retry_wait(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// What a node's fetch task is to do.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Fetch(FetchPlan),
    /// Nothing, until woken or at the latest then.
    Wait(Option<Instant>),
    /// End: nothing that is assigned is read from the node.
    Gone,
}

/// A Fetch to send.
#[derive(Debug)]
pub struct FetchPlan {
    /// Names it.
    pub id: u64,
    /// To whom.
    pub node: NodeId,
    /// The generation of the metadata that it goes by.
    pub cluster: u64,
    /// As a whole.
    pub parameters: FetchParameters,
    /// The session that it belongs to.
    pub session: SessionRequest,
    /// All that it asks for, in the order in which they are to be served. Only the news among them are said.
    pub partitions: Vec<PlannedPartition>,
}

/// One partition in a Fetch to send.
#[derive(Debug, Clone)]
pub struct PlannedPartition {
    /// Which.
    pub name: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// The leader's epoch, as far as known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// From where on.
    pub offset: i64,
    /// How much.
    pub max_bytes: i32,
    /// Whether the broker has to be told; else it knows from the Fetches before (KIP-227).
    pub is_news: bool,
    /// Whether no answer has said yet where its log ends. A session's answers say that only when it changes.
    pub is_end_unknown: bool,
    pub(in crate::machine) generation: u64,
}

/// What an answer asks of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answered {
    /// The application has something to look at.
    pub data: bool,
    /// The metadata that the Fetch went by is wrong.
    pub refresh: bool,
    /// A ListOffsets or an OffsetForLeaderEpoch is due, or a leader's fetch task.
    pub supervise: bool,
}

/// An offset to look up for a partition whose position is not known.
#[derive(Debug, Clone)]
pub struct ResetLookup {
    /// Which.
    pub name: TopicPartition,
    /// Who leads it.
    pub leader: NodeId,
    /// Since when.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What to look up.
    pub spec: OffsetSpec,
    generation: u64,
    id: u64,
}

/// What is next for the application.
#[derive(Debug)]
pub enum Polled {
    /// Records.
    Records(Vec<FetchedRecords>),
    /// The position has reached the end of this partition, which is at this offset.
    PartitionEnd(TopicPartition, i64),
    /// Something is wrong that the application should know.
    Failed(Error),
    /// Nothing, before then unless something arrives.
    Nothing(Option<Instant>),
}

#[derive(Debug, Default)]
struct NodeState {
    running: bool,
    /// Its task was told to wait.
    waits: bool,
    reserved: usize,
    used: usize,
    session: FetchSession,
}

/// The consumer's data path.
#[derive(Debug)]
pub struct Fetcher {
    config: FetcherConfig,
    subscription: SubscriptionState,
    cluster: Arc<Cluster>,
    nodes: BTreeMap<NodeId, NodeState>,
    /// Partitions with something to hand out, each once; paused ones are skipped.
    ready: VecDeque<TopicPartition>,
    parked: usize,
    /// Partitions that may have something to tell besides records: a problem, an end.
    tell: BTreeSet<TopicPartition>,
    next_id: u64,
    served: u64,
    wake: BTreeSet<NodeId>,
}

impl Fetcher {
    /// Nothing assigned.
    pub fn new(config: FetcherConfig) -> Self {
        Self {
            config,
            subscription: SubscriptionState::default(),
            cluster: Arc::default(),
            nodes: BTreeMap::new(),
            ready: VecDeque::new(),
            parked: 0,
            tell: BTreeSet::new(),
            next_id: 0,
            served: 0,
            wake: BTreeSet::new(),
        }
    }

    /// What is assigned, and how far it was read.
    pub fn subscription(&self) -> &SubscriptionState {
        &self.subscription
    }

    /// See [`SubscriptionState::mark_processed`].
    ///
    /// # Errors
    /// As there.
    pub fn mark_processed(&mut self, name: &TopicPartition, offset: OffsetAndMetadata) -> Result<()> {
        self.subscription.mark_processed(name, offset)
    }

    /// The sessions that brokers keep for us, to be ended. No Fetch may follow.
    pub fn close_sessions(&mut self) -> Vec<(NodeId, i32)> {
        self.nodes.iter_mut().filter_map(|(node, state)| Some((*node, state.session.close()?))).collect()
    }

    /// The next fetch task to wake. Drain it after each mutation.
    pub fn poll_wake(&mut self) -> Option<NodeId> {
        self.wake.pop_first()
    }

    /// Takes partitions away and adds others; those that stay keep their positions and data.
    pub fn change_assignment(
        &mut self,
        now: Instant,
        removed: impl IntoIterator<Item = TopicPartition>,
        added: impl IntoIterator<Item = (TopicPartition, Start)>,
    ) {
        for name in removed {
            self.drop_buffer(&name);
            self.subscription.partitions.remove(&name);
            self.tell.remove(&name);
        }
        for (name, start) in added {
            self.subscription.add(name.clone());
            self.start(now, &name, start);
        }
        self.look_up_leaders(now);
        self.wake_all();
    }

    /// Says where a partition starts that has no position yet.
    pub fn start(&mut self, now: Instant, name: &TopicPartition, start: Start) {
        let generation = self.subscription.next_generation();
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        if partition.state != FetchState::Initializing {
            return; // a seek came first
        }
        match start {
            Start::Later => {}
            Start::At(at) => {
                partition.move_to(Position { offset: at.offset, leader_epoch: at.leader_epoch }, generation);
                partition.check_epoch();
            }
            Start::Reset => self.reset(now, name, "there is no committed offset"),
        }
        self.wake_source(name);
    }

    /// Moves the position.
    ///
    /// # Errors
    /// `State` if the partition is not assigned, `InvalidArgument` for a negative offset.
    pub fn seek(&mut self, name: &TopicPartition, position: Position) -> Result<()> {
        if position.offset < 0 {
            let error = Error::with_message(ErrorKind::InvalidArgument, "an offset is not negative");
            return Err(error.partition(name.clone()));
        }
        self.subscription.get_mut(name)?;
        self.drop_buffer(name);
        let generation = self.subscription.next_generation();
        self.subscription.get_mut(name)?.move_to(position, generation);
        self.wake_source(name);
        Ok(())
    }

    /// Moves the position to where a broker says that this is.
    ///
    /// # Errors
    /// `State` if the partition is not assigned.
    pub fn seek_to(&mut self, name: &TopicPartition, to: OffsetReset) -> Result<()> {
        self.subscription.get_mut(name)?;
        self.drop_buffer(name);
        let generation = self.subscription.next_generation();
        let partition = self.subscription.get_mut(name)?;
        partition.start_over(generation);
        partition.state = FetchState::AwaitReset(to);
        Ok(())
    }

    /// Nothing more is handed out or asked for of this partition. What has arrived is kept.
    ///
    /// # Errors
    /// `State` if the partition is not assigned.
    pub fn pause(&mut self, name: &TopicPartition) -> Result<()> {
        let partition = self.subscription.get_mut(name)?;
        (partition.paused, partition.caught_up) = (true, None);
        self.park(name);
        self.wake_source(name); // it may have held up its node's Fetch
        Ok(())
    }

    /// Goes on where `pause` was.
    ///
    /// # Errors
    /// `State` if the partition is not assigned.
    pub fn resume(&mut self, name: &TopicPartition) -> Result<()> {
        self.subscription.get_mut(name)?.paused = false;
        self.enqueue(name);
        self.wake_source(name);
        Ok(())
    }

    /// Records handed out turned out to be unreadable from `offset` on: the position goes back there, unless it was
    /// moved since, and the application is told until it seeks past it.
    pub fn unreadable(&mut self, now: Instant, name: &TopicPartition, generation: u64, offset: i64, error: Error) {
        if self.subscription.get(name).is_none_or(|partition| partition.generation != generation) {
            return;
        }
        self.drop_buffer(name);
        let generation = self.subscription.next_generation();
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        let leader_epoch = partition.position.leader_epoch;
        let state = partition.state;
        partition.move_to(Position { offset, leader_epoch }, generation);
        // What lies before a valid position is valid, and a doubtful one stays so, if there is an epoch to ask about.
        partition.state = state;
        if state == FetchState::AwaitValidation {
            partition.check_epoch();
        }
        partition.not_before = Some(now + REMIND);
        partition.untold = true;
        self.complain(now, name, error);
        self.wake_source(name);
    }

    /// What is next for the application: at most about `max_records` records, the last batch whole.
    pub fn poll(&mut self, now: Instant, max_records: usize) -> Polled {
        if let Some(polled) = self.told(now) {
            return polled;
        }
        let (mut records, mut count) = (Vec::new(), 0);
        while let Some(name) = self.ready.front().cloned() {
            match self.hand_out(now, &name, max_records.saturating_sub(count), &mut records) {
                Ok(taken) => count += taken,
                Err(error) => {
                    // What was read so far is good; the error is told by the next poll.
                    let Some(partition) = self.subscription.partitions.get(&name) else { continue };
                    let (generation, offset) = (partition.generation, partition.position.offset);
                    self.unreadable(now, &name, generation, offset, error.partition(name.clone()));
                }
            }
            if count >= max_records {
                break;
            }
        }
        if !records.is_empty() {
            return Polled::Records(records);
        }
        self.told(now).unwrap_or_else(|| Polled::Nothing(self.next_reminder()))
    }

    /// Hands out what waits of the partition at the front of the queue.
    fn hand_out(
        &mut self,
        now: Instant,
        name: &TopicPartition,
        most: usize,
        out: &mut Vec<FetchedRecords>,
    ) -> Result<usize> {
        let Some(partition) = self.subscription.partitions.get_mut(name).filter(|partition| partition.is_readable())
        else {
            self.ready.pop_front();
            if let Some(partition) = self.subscription.partitions.get_mut(name) {
                partition.queued = false;
            }
            return Ok(0);
        };
        let Some(fetch) = partition.buffer.front_mut() else {
            partition.queued = false;
            self.ready.pop_front();
            return Ok(0);
        };
        let (before, position) = (fetch.len(), partition.position.offset);
        let from = (name, partition.generation);
        let wanted = (self.config.isolation, self.config.control_records);
        let taken = fetch.take(from, &mut partition.position, wanted, most, out);
        partition.buffered = partition.buffered.saturating_sub(before - fetch.len());
        if partition.position.offset > position {
            partition.last_progress = Some(now);
        }
        if !fetch.is_empty() && taken.is_ok() {
            return taken;
        }
        // This answer's part is through: the next partition has its turn.
        let done = partition.buffer.pop_front();
        self.ready.pop_front();
        partition.queued = false;
        if taken.is_ok() && partition.buffer.is_empty() {
            partition.position.offset = partition.position.offset.max(partition.next_fetch);
            if partition.end.is_some() {
                self.tell.insert(name.clone());
            }
        }
        if let Some(done) = done {
            self.give_back(done.lease);
        }
        self.enqueue(name);
        self.wake_source(name);
        taken
    }

    /// A problem or an end that the application should hear of.
    fn told(&mut self, now: Instant) -> Option<Polled> {
        if self.tell.is_empty() {
            return None;
        }
        for name in self.tell.clone() {
            let Some(partition) = self.subscription.partitions.get_mut(&name) else {
                self.tell.remove(&name);
                continue;
            };
            if let Some((error, at)) = &mut partition.problem {
                if *at <= now {
                    (*at, partition.untold) = (now + REMIND, false);
                    return Some(Polled::Failed(error.clone()));
                }
                continue;
            }
            if !partition.is_readable() {
                continue;
            }
            if !partition.buffer.is_empty() {
                self.tell.remove(&name); // it will be back here when that is handed out
                continue;
            }
            self.tell.remove(&name);
            let offset = partition.position.offset;
            if partition.end.is_some_and(|end| end <= offset) && partition.end_told != Some(offset) {
                partition.end_told = Some(offset);
                if self.config.partition_end {
                    return Some(Polled::PartitionEnd(name, offset));
                }
            }
        }
        None
    }

    fn next_reminder(&self) -> Option<Instant> {
        let problem = |name: &TopicPartition| Some(self.subscription.get(name)?.problem.as_ref()?.1);
        self.tell.iter().filter_map(problem).min()
    }

    fn complain(&mut self, now: Instant, name: &TopicPartition, error: Error) {
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        let at = partition.problem.as_ref().filter(|(last, _)| last.kind() == error.kind()).map_or(now, |(_, at)| *at);
        partition.problem = Some((error, at));
        self.tell.insert(name.clone());
    }

    /// How many records are left to read, as of the last answer: up to the high watermark, or to the last stable
    /// offset for read-committed.
    pub fn lag(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.subscription.get(name)?;
        let end = match self.config.isolation {
            IsolationLevel::ReadUncommitted => partition.high_watermark,
            IsolationLevel::ReadCommitted => partition.last_stable_offset.or(partition.high_watermark),
        };
        Some((end? - partition.position()?.offset).max(0))
    }

    /// Bytes that have arrived and wait for the application, answers counted whole; and those reserved for answers
    /// under way.
    pub fn memory(&self) -> (usize, usize) {
        let used: usize = self.nodes.values().map(|node| node.used).sum();
        (used + self.parked, self.nodes.values().map(|node| node.reserved).sum())
    }

    fn enqueue(&mut self, name: &TopicPartition) {
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        if !partition.buffer.is_empty() && partition.is_readable() && !partition.queued {
            partition.queued = true;
            self.ready.push_back(name.clone());
        }
        if partition.buffer.is_empty() && partition.end.is_some() && self.config.partition_end {
            self.tell.insert(name.clone());
        }
    }

    fn drop_buffer(&mut self, name: &TopicPartition) {
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        partition.buffered = 0;
        for fetch in std::mem::take(&mut partition.buffer) {
            self.give_back(fetch.lease);
        }
    }

    /// Copies what waits of a paused partition out of the answers it came in: else it would hold on to all of them.
    /// Beyond half the budget it is dropped, to be fetched again later.
    fn park(&mut self, name: &TopicPartition) {
        let limit = self.config.budget / 2;
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        let mut leases = Vec::new();
        for at in 0..partition.buffer.len() {
            let Some(fetch) = partition.buffer.get_mut(at) else { break };
            if matches!(*fetch.lease, Lease::Parked(_)) {
                continue;
            }
            if self.parked + fetch.len() > limit {
                // Part of the first may have been handed out: the position says how far.
                let position = partition.position;
                let from = if fetch.from.offset < position.offset { position } else { fetch.from };
                partition.fetch_from(from);
                match partition.state {
                    FetchState::AwaitValidation => partition.check_epoch(), // of what is left
                    // An answer under way is of what comes behind the gap that this makes.
                    _ => partition.in_flight = None,
                }
                for dropped in partition.buffer.split_off(at) {
                    partition.buffered = partition.buffered.saturating_sub(dropped.len());
                    leases.push(dropped.lease);
                }
                partition.end = None;
                break;
            }
            self.parked += fetch.len();
            let lease = Arc::new(Lease::Parked(fetch.len()));
            leases.push(fetch.detach(lease));
        }
        leases.into_iter().for_each(|lease| self.give_back(lease));
    }

    fn give_back(&mut self, lease: Arc<Lease>) {
        match Arc::into_inner(lease) {
            Some(Lease::Node(node, bytes)) => {
                if let Some(state) = self.nodes.get_mut(&node) {
                    state.used = state.used.saturating_sub(bytes);
                    if state.waits {
                        self.wake.insert(node);
                    }
                }
            }
            Some(Lease::Parked(bytes)) => self.parked = self.parked.saturating_sub(bytes),
            None => {}
        }
    }

    fn wake_source(&mut self, name: &TopicPartition) {
        let source = self.subscription.get(name).and_then(|partition| partition.read_from());
        if let Some(source) = source.filter(|source| self.nodes.get(source).is_some_and(|node| node.waits)) {
            self.wake.insert(source);
        }
    }

    fn wake_all(&mut self) {
        self.wake.extend(self.nodes.iter().filter(|(_, node)| node.waits).map(|(node, _)| *node));
    }
}

#[cfg(test)]
mod tests;
