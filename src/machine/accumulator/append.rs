//! One record: where it goes, and into its batch. This is the hot path.

use super::schedule::{Attention, Opened, Progress, wake_sender};
use super::topic::{QueueState, RECORDS_PER_TURN};
use super::{NewRecord, PartitionQueue, RecordAccumulator, Target, TopicQueues, closed, lock, no_partition};
use crate::error::Result;
use crate::machine::batch::{Callback, OpenBatch, Ticket};
use crate::machine::partitioner::{Partitioning, Sticky};
use crate::machine::sync::Ordering;
use crate::record::batch::HEADER_LEN;
use crate::record::encode::RecordEncoder;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

/// Where a record is to be appended.
#[derive(Clone, Copy)]
struct Place<'a> {
    partition: u32,
    /// The number of partitions that it was chosen among, if that must still be so under the partition's lock: a topic
    /// that grows or shrinks meanwhile takes the record to where it belongs now.
    hashed_over: Option<u32>,
    /// Whose choice it is, and the bytes sent there since it was made.
    sticky: Option<(&'a Sticky, u32)>,
}

impl RecordAccumulator {
    /// Appends a record and gives its ticket. `None`: there is no memory for a new batch at the moment; then nothing has
    /// happened, to `callback` neither. With `paid` the memory is there already, and what isn't used of it goes back.
    ///
    /// # Errors
    /// `RecordTooLarge`, `Closed`, or `InvalidArgument` for a partition that the topic hasn't got.
    #[inline]
    pub fn try_append(
        &self,
        topic: &Arc<TopicQueues>,
        target: Target<'_>,
        record: &NewRecord<'_>,
        mut paid: Option<OwnedSemaphorePermit>,
        callback: &mut Option<Callback>,
    ) -> Result<Option<Ticket>> {
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None => self.clock.unix_millis(),
        };
        let size = self.size(record)?;
        let mut place = self.place(topic, target, record)?;
        loop {
            let Place { partition, hashed_over, sticky } = place;
            let queue = topic.partition(partition).ok_or_else(|| no_partition(topic, partition))?;
            let mut state = lock(&queue.state);
            if state.closed {
                return Err(closed());
            }
            let count = topic.partition_count();
            if partition >= count || hashed_over.is_some_and(|hashed_over| hashed_over != count) {
                drop(state);
                if let Some((choice, _)) = sticky {
                    self.choose(topic, choice); // it was made anew with fewer partitions
                }
                place = self.place(topic, target, record)?;
                continue;
            }
            if let Some(batch) = &mut state.open {
                let before = batch.encoder.size();
                if let Some(index) = batch.encoder.append(timestamp, record.key, record.value, record.headers) {
                    let bytes = batch.encoder.size() - before;
                    let ticket = batch.ticket(index, timestamp, callback.take());
                    self.on_turn(&mut state, 1);
                    drop(state);
                    if let Some((sticky, sent)) = sticky {
                        sticky.set(partition, sent.saturating_add(bytes as u32));
                    }
                    return Ok(Some(ticket));
                }
            }
            let detached = state.detach(|| self.clock.now());
            // The batch is complete. A record without a key that would open another moves on, unless little has been sent
            // here: with a linger that ends batches early, moving on would make them smaller still.
            let moves = matches!(sticky, Some((_, sent)) if sent > 0 && sent as usize + size >= self.config.batch_size);
            let need = size.max(self.config.batch_size);
            let opened = match moves {
                true => None,
                false => self.open(topic, partition, &mut state, need, timestamp, record, &mut paid, callback),
            };
            let bytes = state.open.as_ref().map_or(0, |batch| batch.encoder.size() - HEADER_LEN);
            queue.recount(&state);
            drop(state);
            self.seal(topic, partition, detached);
            match (opened, sticky) {
                (None, Some((choice, _))) if moves => {
                    let sticky = Some((choice, 0));
                    place = Place { partition: self.choose(topic, choice), hashed_over: None, sticky };
                }
                (None, _) => return Ok(None),
                (Some(ticket), sticky) => {
                    if let Some((sticky, sent)) = sticky {
                        sticky.set(partition, sent.saturating_add(bytes as u32));
                    }
                    return ticket.map(Some);
                }
            }
        }
    }

    /// `records` were appended.
    #[inline]
    pub(super) fn on_turn(&self, state: &mut QueueState, records: u32) {
        state.turn += records;
        if state.turn >= RECORDS_PER_TURN {
            state.turn = 0;
            self.yield_due.store(true, Ordering::Relaxed);
        }
    }

    /// Where to try it.
    #[inline]
    fn place<'a>(&self, topic: &TopicQueues, target: Target<'a>, record: &NewRecord<'_>) -> Result<Place<'a>> {
        // Nearly every record: no key, and a choice that holds.
        if let (Target::Partitioner(sticky), Partitioning::Murmur2Random, None) =
            (target, &self.config.partitioning, record.key)
            && let Some((partition, sent)) = sticky.get()
            && sent < self.enough
        {
            return Ok(Place { partition, hashed_over: None, sticky: Some((sticky, sent)) });
        }
        self.find_place(topic, target, record)
    }

    fn find_place<'a>(&self, topic: &TopicQueues, target: Target<'a>, record: &NewRecord<'_>) -> Result<Place<'a>> {
        let count = topic.partition_count();
        let sticky = match target {
            Target::Partition(partition) if partition < count => {
                return Ok(Place { partition, hashed_over: None, sticky: None });
            }
            Target::Partition(partition) => return Err(no_partition(topic, partition)),
            Target::Partitioner(_) if count == 0 => return Err(no_partition(topic, 0)),
            Target::Partitioner(sticky) => sticky,
        };
        match self.partition_of(topic, record, count) {
            Some(partition) if partition < count => Ok(Place { partition, hashed_over: Some(count), sticky: None }),
            Some(partition) => Err(no_partition(topic, partition)),
            None => {
                let (partition, sent) = self.sticky_partition(topic, sticky);
                Ok(Place { partition, hashed_over: None, sticky: Some((sticky, sent)) })
            }
        }
    }

    /// What the partitioner says.
    pub(super) fn partition_of(&self, topic: &TopicQueues, record: &NewRecord<'_>, count: u32) -> Option<u32> {
        let key_and_value = (record.key, record.value);
        self.config.partitioning.place(topic.name(), key_and_value, count, || topic.available().partitions.clone())
    }

    /// The sticky choice of the moment, and the bytes sent there.
    pub(super) fn sticky_partition(&self, topic: &TopicQueues, sticky: &Sticky) -> (u32, u32) {
        let choice = sticky.get().filter(|(_, sent)| *sent < self.enough);
        choice.unwrap_or_else(|| (self.choose(topic, sticky), 0))
    }

    /// Another partition for a handle's records without a key.
    #[cold]
    pub(super) fn choose(&self, topic: &TopicQueues, sticky: &Sticky) -> u32 {
        let (available, timeout) = (topic.available(), self.config.availability_timeout);
        let now = (!available.leaders.is_empty()).then(|| self.clock.now());
        let partition = |i: usize| available.partitions.get(i).copied().unwrap_or(i as u32);
        let load = |i: usize| {
            if let (Some(now), Some(leader)) = (now, available.leaders.get(i))
                && leader.is_slow(now, timeout)
            {
                return None;
            }
            let queued = || topic.partition(partition(i)).map_or(0, PartitionQueue::queued);
            Some(if self.config.adaptive { queued() } else { 0 })
        };
        let candidates = match available.partitions.len() {
            0 => topic.partition_count() as usize,
            some => some,
        };
        let chosen = partition(sticky.draw(candidates, load));
        sticky.set(chosen, 0);
        chosen
    }

    /// A new batch with its first record. `None`: no memory.
    #[allow(clippy::too_many_arguments, reason = "one step of `try_append`, apart because it happens once per batch")]
    fn open(
        &self,
        topic: &Arc<TopicQueues>,
        partition: u32,
        state: &mut QueueState,
        need: usize,
        timestamp: i64,
        record: &NewRecord<'_>,
        paid: &mut Option<OwnedSemaphorePermit>,
        callback: &mut Option<Callback>,
    ) -> Option<Result<Ticket>> {
        let memory = match paid.take() {
            Some(memory) => memory,
            None => match self.memory.clone().try_acquire_many_owned(need as u32) {
                Ok(memory) => memory,
                Err(TryAcquireError::NoPermits) => return None,
                Err(TryAcquireError::Closed) => return Some(Err(closed())),
            },
        };
        let mut encoder = RecordEncoder::new(self.buffer(need.saturating_sub(HEADER_LEN)), self.config.batch_size);
        let Some(index) = encoder.append(timestamp, record.key, record.value, record.headers) else {
            return Some(Err(self.too_large(need)));
        };
        let now = self.clock.now();
        let times = (now + self.config.linger, record.sent_at.unwrap_or(now) + self.config.delivery_timeout);
        let mut schedule = lock(&self.schedule);
        let id = schedule.unfinished.next_id();
        schedule.unfinished.batches.push_back(Progress::Open);
        schedule.earliest_deadline = schedule.earliest_deadline.into_iter().chain([times.1]).min();
        let (ready_at, deadline) = times;
        schedule.opened.push_back(Opened { ready_at, deadline, topic: topic.clone(), partition, id });
        let attention = self.config.prompt.then(|| Attention { schedule: Arc::downgrade(&self.schedule), id });
        let mut batch = OpenBatch::new(id, encoder, times, memory, (topic.name().clone(), partition), attention);
        let ticket = batch.ticket(index, timestamp, callback.take());
        state.open = Some(batch);
        if schedule.wants_opened || (schedule.wants_ready && schedule.waiting > 0) {
            wake_sender(schedule);
        }
        Some(Ok(ticket))
    }
}
