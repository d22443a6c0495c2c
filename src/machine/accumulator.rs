//! `RecordAccumulator`: records become wire bytes on the caller's task, in the open batch of their partition.
//!
//! What holds, and what the speed rests on:
//! - A record is written once, in wire form, under one short lock (its partition's). No allocation, task, channel or waker
//!   per record. Whatever costs more than an atomic happens once per batch.
//! - A full batch is detached under the lock and compressed outside of it, on the task that found it full, or on another
//!   thread if that would block a task for long. A placeholder keeps its place in the queue, and drain stops at the first
//!   batch that is not sealed yet: the order of a partition is the order of appends.
//! - Lock order: partition, then schedule. No other lock is held across another.
//! - Memory is reserved per batch when it opens, by capacity, from one semaphore: first come, first served, and
//!   `try_append` doesn't overtake those who wait. It comes back when the batch is done, never earlier.
//! - While someone waits for memory every open batch is ready, else batches on many partitions could hold all of it and
//!   wait for records that can't come.
//! - The sender is woken when a batch is ready *and* it said that it has room, or when its timer has to be armed.

mod append;
mod load;
mod many;
mod pool;
mod schedule;
mod seal;
mod topic;
pub use many::{Order, Tickets, ToAppend};
pub use pool::capacity_for;
pub use schedule::{Attention, Collected, Readiness};
pub use topic::{PartitionQueue, TopicQueues};

use super::batch::{Halves, ProducerBatch};
use super::partitioner::{Partitioning, Sticky};
use super::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};
use super::{Clock, Offload};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::{NodeId, TopicId, TopicPartition};
use crate::metrics::Count;
use crate::record::Header;
use crate::record::batch::HEADER_LEN;
use crate::record::compression::{Compression, Compressor};
use crate::record::encode::max_record_size;
use load::{Available, Leader};
use pool::BufferPool;
use schedule::{Progress, Schedule, wake_sender};
use seal::Helpers;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use topic::Slot;

/// Buffers kept for the next batches beyond the part of `buffer.memory` that nothing holds: where senders wait for memory
/// there is none of that, and what one batch gives back the next one takes.
const FREE_BYTES: usize = 1 << 20;

/// What the accumulator must know of the producer's configuration.
#[derive(Debug, Clone)]
pub struct AccumulatorConfig {
    /// `batch.size`: the bytes of a batch before compression, its head included.
    pub batch_size: usize,
    /// `buffer.memory`: the bytes of all batches, open, sealed and in flight.
    pub buffer_memory: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// Whether the one unfinished record doesn't linger if somebody awaits it.
    pub prompt: bool,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `max.request.size`, which no record alone may pass.
    pub max_request_size: usize,
    /// `compression.type`.
    pub compression: Compression,
    /// `compression.<type>.level`.
    pub level: Option<i32>,
    /// `partitioner`.
    pub partitioning: Partitioning,
    /// `partitioner.adaptive.partitioning.enable`.
    pub adaptive: bool,
    /// `partitioner.availability.timeout.ms`; zero for none.
    pub availability_timeout: Duration,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// To this partition.
    Partition(u32),
    /// To where the partitioner says; what it leaves open goes to where this handle's records without a key go at the
    /// moment.
    Partitioner(&'a Sticky),
}

/// A record to append.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since 1970; `None` for now.
    pub timestamp: Option<i64>,
    /// When `send` was called, if that is not now.
    pub sent_at: Option<Instant>,
}

/// What [`RecordAccumulator::drain`] found.
#[allow(clippy::large_enum_variant, reason = "it is moved; a box would be an allocation per batch")]
#[derive(Debug)]
pub enum Drained {
    /// The next batch of the partition.
    Batch(ProducerBatch),
    /// An open batch that lingers until then.
    Lingers(Instant),
    /// Nothing, or a batch that is being compressed: it will be announced.
    Nothing,
}

/// See the module's head.
pub struct RecordAccumulator {
    config: AccumulatorConfig,
    /// The bytes after which a record without a key moves on in any case, twice a batch: records with a key may have
    /// opened the batch that doesn't end.
    enough: u32,
    clock: Arc<dyn Clock>,
    topics: Mutex<HashMap<Arc<str>, Arc<TopicQueues>>>,
    leaders: Mutex<HashMap<NodeId, Arc<Leader>>>,
    schedule: Arc<Mutex<Schedule>>,
    memory: Arc<Semaphore>,
    pool: BufferPool,
    compressors: Mutex<Vec<Compressor>>,
    /// Records of batches that could not be compressed.
    unsealed: Count,
    finished: Notify,
    next_index: AtomicUsize,
    yield_due: AtomicBool,
    /// Who compresses what takes long.
    helpers: Option<Helpers>,
}

impl RecordAccumulator {
    /// Empty.
    pub fn new(mut config: AccumulatorConfig, clock: Arc<dyn Clock>) -> Self {
        config.buffer_memory = config.buffer_memory.min(Semaphore::MAX_PERMITS);
        config.batch_size = config.batch_size.min(config.buffer_memory).min(i32::MAX as usize);
        Self {
            memory: Arc::new(Semaphore::new(config.buffer_memory)),
            enough: 2 * config.batch_size.max(1) as u32,
            config,
            clock,
            topics: Mutex::default(),
            leaders: Mutex::default(),
            schedule: Arc::default(),
            pool: BufferPool::default(),
            compressors: Mutex::default(),
            unsealed: Count::default(),
            finished: Notify::new(),
            next_index: AtomicUsize::new(0),
            yield_due: AtomicBool::new(false),
            helpers: None,
        }
    }

    /// As [`new`](Self::new), and batches that take long to compress go to `offload`.
    pub fn with_offload(config: AccumulatorConfig, clock: Arc<dyn Clock>, offload: Arc<dyn Offload>) -> Arc<Self> {
        let long = seal::long(config.compression, config.level);
        Self::with_helpers(config, clock, offload, long)
    }

    /// Batches from `long` bytes on go there.
    fn with_helpers(
        config: AccumulatorConfig,
        clock: Arc<dyn Clock>,
        offload: Arc<dyn Offload>,
        long: usize,
    ) -> Arc<Self> {
        let helpers = |this: &Weak<Self>| Some(Helpers::new(this.clone(), offload, long));
        Arc::new_cyclic(|this| Self { helpers: helpers(this), ..Self::new(config, clock) })
    }

    /// The topic's partitions, `partitions` of them at least from now on, and no more if it has another id than before. What is
    /// queued for a partition that is no more is the [sender's](Self::take_partition) to fail.
    pub fn add_topic(&self, name: &str, id: TopicId, partitions: usize) -> Arc<TopicQueues> {
        let mut topics = lock(&self.topics);
        let topic = match topics.get(name) {
            Some(topic) => topic.clone(),
            None => {
                let topic = Arc::new(TopicQueues::new(name.into()));
                topics.insert(topic.name().clone(), topic.clone());
                topic
            }
        };
        topic.resize(id, partitions, &self.next_index, lock(&self.schedule).closed);
        topic
    }

    /// The topic's partitions, if it was added.
    pub fn topic(&self, name: &str) -> Option<Arc<TopicQueues>> {
        lock(&self.topics).get(name).cloned()
    }

    /// All topics that were added.
    pub fn topics(&self) -> Vec<Arc<TopicQueues>> {
        lock(&self.topics).values().cloned().collect()
    }

    /// Tells who leads the topic's partitions, from the first on. Records without a key go only where there is a leader,
    /// if there is one anywhere.
    pub fn set_leaders(&self, topic: &TopicQueues, leaders: impl Iterator<Item = Option<NodeId>>) {
        let timed = !self.config.availability_timeout.is_zero();
        let (mut partitions, mut of) = (Vec::new(), Vec::new());
        let now = self.clock.now();
        let mut known = lock(&self.leaders);
        for (partition, node) in (0..).zip(leaders) {
            partitions.extend(node.map(|_| partition));
            if timed && let Some(queue) = topic.partition(partition) {
                let leader = node.map(|node| known.entry(node).or_insert_with(|| Arc::new(Leader::new(now))).clone());
                queue.set_leader(leader.as_ref(), now);
                of.extend(leader);
            }
        }
        topic.set_available(Available { partitions: partitions.into(), leaders: of });
    }

    /// The memory that must be had to append this record to a new batch.
    ///
    /// # Errors
    /// `RecordTooLarge` if that could never be had.
    pub fn needs(&self, record: &NewRecord<'_>) -> Result<usize> {
        Ok(self.size(record)?.max(self.config.batch_size))
    }

    /// The most that a batch of this record alone takes.
    #[inline]
    fn size(&self, record: &NewRecord<'_>) -> Result<usize> {
        let size = HEADER_LEN + max_record_size(record.key, record.value, record.headers);
        let limit = self.config.max_request_size.min(self.config.buffer_memory).min(u32::MAX as usize);
        if size > limit {
            return Err(self.too_large(size));
        }
        Ok(size)
    }

    #[cold]
    fn too_large(&self, size: usize) -> Error {
        let (request, memory) = (self.config.max_request_size, self.config.buffer_memory);
        let message =
            format!("a record of up to {size} bytes, with max.request.size {request} and buffer.memory {memory}");
        Error::with_message(ErrorKind::RecordTooLarge, message).certainty(Certainty::NotSent)
    }

    /// Whether the caller's task has sent long enough to let others run: to be asked *before* an append, since a future that
    /// is dropped while it lets others run must not have appended.
    #[inline]
    pub fn is_yield_due(&self) -> bool {
        self.yield_due.load(Ordering::Relaxed)
    }

    /// As [`is_yield_due`](Self::is_yield_due), and if so the caller does let others run.
    pub fn take_turn(&self) -> bool {
        self.is_yield_due() && self.yield_due.swap(false, Ordering::Relaxed)
    }

    /// Waits for memory for a new batch, in the order of the calls. Dropped before it is ready it has taken nothing.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(self);
        self.memory.clone().acquire_many_owned(bytes as u32).await.map_err(|_| closed())
    }

    /// For the sender: the partitions that have something ready and that it doesn't know of go to `ready`, and its waker
    /// stays. `room`: it could send at once. Gives the rule for [`drain`](Self::drain), and when to come back at the latest.
    pub fn collect(
        &self,
        now: Instant,
        waker: &Waker,
        room: bool,
        ready: &mut Vec<(Arc<TopicQueues>, u32)>,
    ) -> Collected {
        let mut schedule = lock(&self.schedule);
        let (flush_until, prompt) = (schedule.flush_until, schedule.prompt);
        let readiness = Readiness { now, flush_until, all: schedule.waiting > 0 || schedule.closed, prompt };
        ready.append(&mut schedule.ready);
        if let Some(prompt) = prompt {
            let opened = schedule.opened.iter().rev().find(|opened| opened.id == prompt);
            ready.extend(opened.map(|opened| (opened.topic.clone(), opened.partition)));
        }
        while schedule.opened.front().is_some_and(|first| readiness.is_ready(first.id, first.ready_at)) {
            // A batch that has been sealed since is an announcement too many, which does no harm.
            ready.extend(schedule.opened.pop_front().map(|first| (first.topic, first.partition)));
        }
        if !schedule.sender.as_ref().is_some_and(|left| left.will_wake(waker)) {
            schedule.sender = Some(waker.clone());
        }
        (schedule.wants_ready, schedule.wants_opened) = (room, schedule.opened.is_empty());
        Collected {
            readiness,
            lingers_until: schedule.opened.front().map(|first| first.ready_at),
            deadline: schedule.earliest_deadline.take(),
            abandoned: schedule.abandoned,
        }
    }

    /// When the first of the open batches that linger fails.
    pub fn open_deadline(&self) -> Option<Instant> {
        lock(&self.schedule).opened.iter().map(|opened| opened.deadline).min()
    }

    /// The partitions of open batches that are to fail before they have lingered, since their first record waited long for
    /// metadata or memory. They linger no more.
    pub fn take_overdue(&self, now: Instant) -> Vec<(Arc<TopicQueues>, u32)> {
        let mut overdue = Vec::new();
        lock(&self.schedule).opened.retain(|opened| {
            let late = opened.deadline <= now;
            overdue.extend(late.then(|| (opened.topic.clone(), opened.partition)));
            !late
        });
        overdue
    }

    /// For the sender: the next batch of a partition, in the order of appends. It goes on until there is nothing, and
    /// comes back when `collect` says so.
    pub fn drain(&self, topic: &Arc<TopicQueues>, partition: u32, readiness: Readiness) -> Drained {
        let Some(queue) = topic.partition(partition) else { return Drained::Nothing };
        loop {
            let mut state = lock(&queue.state);
            match state.full.front() {
                Some(Slot::Sealed(_)) => {
                    if let Some(Slot::Sealed(batch)) = state.full.pop_front() {
                        state.announced = true;
                        queue.recount(&state);
                        state.leader.iter().for_each(|leader| leader.on_taken(readiness.now()));
                        return Drained::Batch(batch);
                    }
                }
                Some(Slot::Sealing(_)) => {
                    state.announced = false;
                    return Drained::Nothing;
                }
                None => {}
            }
            state.announced = false;
            let Some(open) = &state.open else { return Drained::Nothing };
            if !readiness.is_ready(open.id, open.ready_at) {
                let prompted = readiness.prompt == Some(open.id);
                if !prompted || open.encoder.record_count() > 1 {
                    if prompted {
                        lock(&self.schedule).prompt = None; // it has got company
                    }
                    return Drained::Lingers(open.ready_at);
                }
            }
            if self.is_long(open) {
                // It will be announced when it is sealed.
                let detached = state.detach(|| readiness.now());
                drop(state);
                self.seal(topic, partition, detached);
                return Drained::Nothing;
            }
            // Nobody else drains, so the batch keeps its place while it is in our hands.
            let open = state.open.take();
            state.announced = true;
            queue.recount(&state);
            drop(state);
            if let Some(batch) = open.and_then(|open| self.compress(topic, partition, open, self.config.compression)) {
                return Drained::Batch(batch);
            }
        }
    }

    /// When the oldest batch of a partition that the sender has not taken fails. One that is being compressed is announced with
    /// its deadline when that is done.
    pub fn oldest_deadline(&self, topic: &TopicQueues, partition: u32) -> Option<Instant> {
        let mut state = lock(&topic.partition(partition)?.state);
        state.announced &= !matches!(state.full.front(), Some(Slot::Sealing(_)));
        state.oldest_deadline()
    }

    /// For the sender: the oldest batch of a partition if its time is up, whatever it waits for.
    pub fn take_expired(&self, topic: &Arc<TopicQueues>, partition: u32, now: Instant) -> Option<ProducerBatch> {
        let queue = topic.partition(partition)?;
        let mut state = lock(&queue.state);
        if state.oldest_deadline()? > now {
            return None;
        }
        state.announced = true;
        if let Some(slot) = state.full.pop_front() {
            queue.recount(&state);
            state.leader.iter().for_each(|leader| leader.on_taken(now));
            return match slot {
                Slot::Sealed(batch) => Some(batch),
                Slot::Sealing(_) => None, // has no deadline yet
            };
        }
        let open = state.open.take()?;
        queue.recount(&state);
        drop(state);
        self.compress(topic, partition, open, Compression::None) // nobody will read it
    }

    /// A batch has its outcome: those who flush may go on.
    pub fn on_settled(&self, id: u64) {
        let mut schedule = lock(&self.schedule);
        let before = schedule.unfinished.base;
        schedule.unfinished.set(id, Progress::Done);
        let moved = schedule.unfinished.base > before && schedule.flush_until > before;
        if schedule.prompt.is_some_and(|prompt| prompt < schedule.unfinished.base) {
            schedule.prompt = None;
        }
        match schedule.is_prompted() {
            true => wake_sender(schedule),
            false => drop(schedule),
        }
        if moved {
            self.finished.notify_waiters();
        }
    }

    /// A batch that a broker finds too large in two: see [`ProducerBatch::split`].
    pub fn split(&self, batch: ProducerBatch, transactional: bool) -> Halves {
        let mut compressor = lock(&self.compressors).pop().unwrap_or_default();
        let halves = batch.split(self.config.level, &mut compressor, transactional);
        lock(&self.compressors).push(compressor);
        halves
    }

    /// Gives a settled batch's memory back, and keeps its buffer if nothing else refers to it.
    pub fn release(&self, batch: ProducerBatch) {
        let buffer = batch.release();
        self.recycle(buffer);
    }

    /// What was appended until now doesn't linger. Gives what to wait for with [`flushed`](Self::flushed).
    pub fn flush(&self) -> u64 {
        let mut schedule = lock(&self.schedule);
        schedule.flush_until = schedule.unfinished.next_id();
        let until = schedule.flush_until;
        wake_sender(schedule);
        until
    }

    /// Waits until every batch opened before `until` has its outcome. Dropping it stops nothing.
    pub async fn flushed(&self, until: u64) {
        loop {
            let mut finished = std::pin::pin!(self.finished.notified());
            finished.as_mut().enable(); // before the look, or the last answer could come in between
            if self.is_flushed(until) {
                return;
            }
            finished.await;
        }
    }

    /// Whether every batch opened before `until` has its outcome.
    pub fn is_flushed(&self, until: u64) -> bool {
        lock(&self.schedule).unfinished.base >= until
    }

    /// How many records of batches opened before `until` have no outcome yet.
    pub fn unfinished_records(&self, until: u64) -> usize {
        let open: HashMap<u64, u32> = self
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
            .filter_map(|queue| lock(&queue.state).open.as_ref().map(|open| (open.id, open.encoder.record_count())))
            .collect();
        let schedule = lock(&self.schedule);
        let ids = schedule.unfinished.base..until;
        let records = |(id, progress): (u64, &Progress)| match progress {
            Progress::Open => open.get(&id).copied().unwrap_or(1) as usize,
            Progress::Sealed(records) => *records as usize,
            Progress::Done => 0,
        };
        ids.zip(&schedule.unfinished.batches).map(records).sum()
    }

    /// Takes no more records: `Closed` from now on, also for those who wait for memory. What is there is ready at once.
    pub fn close(&self) {
        let mut schedule = lock(&self.schedule);
        schedule.closed = true;
        wake_sender(schedule);
        self.memory.close();
        for topic in self.topics() {
            topic.partitions().for_each(|queue| lock(&queue.state).closed = true);
        }
        let mut schedule = lock(&self.schedule);
        schedule.flush_until = u64::MAX;
        wake_sender(schedule);
    }

    /// As [`close`](Self::close), and what is not sent yet is not to be sent.
    pub fn abandon(&self) {
        self.close();
        let mut schedule = lock(&self.schedule);
        schedule.abandoned = true;
        wake_sender(schedule);
    }

    /// For the sender: everything that it has not taken, to be failed with `error`. What is being compressed at the moment
    /// fails with it by itself as soon as that is done; how many records those are.
    pub fn take_all(&self, error: &Error) -> (Vec<ProducerBatch>, usize) {
        let (mut all, mut sealing) = (Vec::new(), 0);
        for topic in self.topics() {
            for partition in 0..topic.partitions().count() as u32 {
                let (batches, records) = self.take_partition(&topic, partition, error);
                all.extend(batches);
                sealing += records;
            }
        }
        (all, sealing)
    }

    /// As [`take_all`](Self::take_all), of one partition.
    pub fn take_partition(
        &self,
        topic: &Arc<TopicQueues>,
        partition: u32,
        error: &Error,
    ) -> (Vec<ProducerBatch>, usize) {
        let (mut batches, mut sealing) = (Vec::new(), 0);
        let Some(queue) = topic.partition(partition) else { return (batches, sealing) };
        let error = || {
            let partition = TopicPartition::new(topic.name().clone(), partition as i32);
            error.clone().partition(partition).certainty(Certainty::NotSent)
        };
        let mut state = lock(&queue.state);
        let before = state.full.len();
        for slot in std::mem::take(&mut state.full) {
            match slot {
                Slot::Sealed(batch) => batches.push(batch),
                Slot::Sealing(mut place) => {
                    sealing += if place.failed.is_none() { place.records as usize } else { 0 };
                    place.failed.get_or_insert_with(error);
                    state.full.push_back(Slot::Sealing(place));
                }
            }
        }
        let open = state.open.take();
        state.leader.iter().for_each(|leader| leader.on_gone(before - state.full.len()));
        queue.recount(&state);
        drop(state);
        // Nobody will read it, so it is not compressed.
        batches.extend(open.and_then(|open| self.compress(topic, partition, open, Compression::None)));
        (batches, sealing)
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.schedule).closed
    }

    /// Bytes of `buffer.memory` that no batch holds.
    pub fn free_memory(&self) -> usize {
        self.memory.available_permits()
    }

    /// Bytes of `buffer.memory` in all.
    pub fn total_memory(&self) -> usize {
        self.config.buffer_memory
    }

    /// How many wait for some of it.
    pub fn waiting(&self) -> usize {
        lock(&self.schedule).waiting
    }

    /// Records that have failed since their batches could not be compressed.
    pub fn unsealed(&self) -> u64 {
        self.unsealed.get()
    }

    /// Why the first of them could not, since this was asked last. It is there before they count and have their outcome.
    pub fn take_seal_error(&self) -> Option<Error> {
        lock(&self.schedule).seal_error.take()
    }

    /// `delivery.timeout.ms`.
    pub fn delivery_timeout(&self) -> Duration {
        self.config.delivery_timeout
    }

    /// Wakes the sender, so that it looks at what has changed outside of it.
    pub fn wake(&self) {
        wake_sender(lock(&self.schedule));
    }

    fn buffer(&self, capacity: usize) -> Vec<u8> {
        self.pool.take(capacity, self.free_memory() + FREE_BYTES)
    }

    fn recycle(&self, buffer: Option<Vec<u8>>) {
        // That of a record larger than a batch fits no other.
        let fits = |buffer: &Vec<u8>| {
            let capacity = buffer.capacity();
            capacity + HEADER_LEN == self.config.batch_size || capacity == capacity_for(capacity)
        };
        if let Some(buffer) = buffer.filter(fits) {
            self.pool.give(buffer, self.free_memory() + FREE_BYTES);
        }
    }
}

impl fmt::Debug for RecordAccumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordAccumulator").field("free_memory", &self.free_memory()).finish_non_exhaustive()
    }
}

/// Counts one who waits for memory, from his first look to his last.
struct Waiting<'a>(&'a RecordAccumulator);

impl<'a> Waiting<'a> {
    fn new(accumulator: &'a RecordAccumulator) -> Self {
        let mut schedule = lock(&accumulator.schedule);
        schedule.waiting += 1;
        if schedule.wants_ready {
            wake_sender(schedule);
        }
        Self(accumulator)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.schedule).waiting -= 1;
    }
}

#[cold]
fn closed() -> Error {
    Error::with_message(ErrorKind::Closed, "the producer is closed").certainty(Certainty::NotSent)
}

#[cold]
fn no_partition(topic: &TopicQueues, partition: u32) -> Error {
    let message = format!("partition {partition} of a topic that has {}", topic.partition_count());
    Error::with_message(ErrorKind::InvalidArgument, message).topic(topic.name().clone()).certainty(Certainty::NotSent)
}

/// A panic elsewhere leaves our values whole (each is changed by moves), so poison is not passed on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, shuttle))]
mod model;
#[cfg(test)]
pub(super) mod tests;
