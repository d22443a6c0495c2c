//! The partitions of a topic, and what each has that the sender has not taken.

use super::load::{Available, Leader};
use super::lock;
use crate::error::Error;
use crate::ids::TopicId;
use crate::machine::batch::{OpenBatch, ProducerBatch};
use crate::machine::sync::{AtomicU32, AtomicUsize, Mutex, Ordering};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A task that sends in a loop never waits by itself; it lets others run after this many records on one partition.
/// By count and not at each wake-up of the sender: on two workers the caller would change cores for each batch.
pub(super) const RECORDS_PER_TURN: u32 = 1024;

/// A topic's partitions. Callers may hold one of these instead of a name: it saves them the lookup.
pub struct TopicQueues {
    name: Arc<str>,
    /// Of the topic that `count` is of, once there was one.
    id: Mutex<Option<TopicId>>,
    count: AtomicU32,
    /// Partition `p` is in segment `log2(p + 1)`, which has `2^segment` of them: so that there can be more of them later
    /// while nothing that exists moves, and a look takes no lock.
    segments: [OnceLock<Box<[PartitionQueue]>>; 24],
    /// Those with a leader, for records without a key. Looked at once per batch.
    available: Mutex<Arc<Available>>,
}

/// One partition's batches that the sender has not taken yet.
#[derive(Debug)]
pub struct PartitionQueue {
    /// A number of its own among all partitions of the producer, from 0.
    pub index: usize,
    pub(super) state: Mutex<QueueState>,
    /// The batches in it, the open one included; written under its lock.
    queued: AtomicU32,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) open: Option<OpenBatch>,
    pub(super) full: VecDeque<Slot>,
    /// The sender knows that there is something, and looks until there is nothing.
    pub(super) announced: bool,
    /// Who leads the partition, if it matters how quick that is. It counts the batches in `full`.
    pub(super) leader: Option<Arc<Leader>>,
    pub(super) closed: bool,
    pub(super) turn: u32, // starts apart for each partition, or many partitions would all let a long time go by
}

#[allow(clippy::large_enum_variant, reason = "it is moved; a box would be an allocation per batch")]
#[derive(Debug)]
pub(super) enum Slot {
    Sealing(Sealing),
    Sealed(ProducerBatch),
}

/// The place of a batch that is being compressed.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) id: u64,
    pub(super) records: u32,
    /// What it fails with as soon as it is compressed.
    pub(super) failed: Option<Error>,
}

impl QueueState {
    /// Takes the open batch and leaves its place.
    pub(super) fn detach(&mut self, now: impl FnOnce() -> Instant) -> Option<OpenBatch> {
        let open = self.open.take()?;
        self.full.push_back(Slot::Sealing(Sealing { id: open.id, records: open.encoder.record_count(), failed: None }));
        if let Some(leader) = &self.leader {
            leader.on_full(1, now());
        }
        Some(open)
    }

    /// When the oldest batch fails, unless it is being compressed.
    pub(super) fn oldest_deadline(&self) -> Option<Instant> {
        match self.full.front() {
            Some(Slot::Sealed(batch)) => Some(batch.deadline),
            Some(Slot::Sealing(_)) => None,
            None => self.open.as_ref().map(|open| open.deadline),
        }
    }
}

impl PartitionQueue {
    /// How many batches wait here, the open one included.
    pub(super) fn queued(&self) -> u32 {
        self.queued.load(Ordering::Relaxed)
    }

    /// To be called under the lock, after a batch was opened or taken.
    pub(super) fn recount(&self, state: &QueueState) {
        self.queued.store(state.full.len() as u32 + u32::from(state.open.is_some()), Ordering::Relaxed);
    }

    /// From now on `leader` is who its full batches wait for.
    pub(super) fn set_leader(&self, leader: Option<&Arc<Leader>>, now: Instant) {
        let mut state = lock(&self.state);
        if state.leader.as_ref().map(Arc::as_ptr) == leader.map(Arc::as_ptr) {
            return;
        }
        let full = state.full.len();
        if let Some(before) = std::mem::replace(&mut state.leader, leader.cloned()) {
            before.on_gone(full);
        }
        if let Some(leader) = leader
            && full > 0
        {
            leader.on_full(full, now);
        }
    }
}

impl TopicQueues {
    pub(super) fn new(name: Arc<str>) -> Self {
        let segments = [const { OnceLock::new() }; 24];
        let available = Available { partitions: Arc::from([]), leaders: Vec::new() };
        Self {
            name,
            id: Mutex::default(),
            count: AtomicU32::new(0),
            segments,
            available: Mutex::new(Arc::new(available)),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// One partition.
    pub fn partition(&self, partition: u32) -> Option<&PartitionQueue> {
        let segment = (partition.checked_add(1)?).ilog2();
        self.segments.get(segment as usize)?.get()?.get((partition + 1 - (1 << segment)) as usize)
    }

    /// All that there ever were, and some more.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &PartitionQueue> {
        self.segments.iter().filter_map(OnceLock::get).flatten()
    }

    pub(super) fn set_available(&self, available: Available) {
        *lock(&self.available) = Arc::new(available);
    }

    pub(super) fn available(&self) -> Arc<Available> {
        lock(&self.available).clone()
    }

    /// The numbers of those that the topic has not got any more, since it was made anew with fewer.
    pub fn vanished(&self) -> impl Iterator<Item = u32> {
        self.partition_count()..self.partitions().count() as u32
    }

    /// The topic is gone, on brokers that have no ids: the next of this name is another.
    pub fn forget(&self) {
        let mut id = lock(&self.id);
        *id = id.filter(|id| !id.is_zero());
    }

    /// So many partitions, or as many as before unless the topic was made anew. Called under the lock of the accumulator's topics.
    pub(super) fn resize(&self, id: TopicId, partitions: usize, next_index: &AtomicUsize, closed: bool) {
        let partitions = partitions.min((1 << self.segments.len()) - 1) as u32;
        for segment in 0..=partitions.max(1).ilog2() {
            self.segments[segment as usize].get_or_init(|| {
                let first = next_index.fetch_add(1 << segment, Ordering::Relaxed);
                let queue = |i: usize| {
                    let turn = (first + i) as u32 * 257 % RECORDS_PER_TURN;
                    let state = QueueState { turn, closed, ..QueueState::default() };
                    PartitionQueue { index: first + i, state: Mutex::new(state), queued: AtomicU32::new(0) }
                };
                (0..1 << segment).map(queue).collect()
            });
        }
        let mut known = lock(&self.id);
        let is_another = known.is_none_or(|known| known != id && !known.is_zero() && !id.is_zero());
        if is_another || !id.is_zero() {
            *known = Some(id);
        }
        match is_another {
            true => {
                // Records without a key go to none of the old ones until their leaders are told.
                self.set_available(Available { partitions: Arc::from([]), leaders: Vec::new() });
                self.count.store(partitions, Ordering::Release);
            }
            false => drop(self.count.fetch_max(partitions, Ordering::AcqRel)),
        }
    }
}

impl fmt::Debug for TopicQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicQueues").field("name", &self.name).field("partitions", &self.count).finish()
    }
}
