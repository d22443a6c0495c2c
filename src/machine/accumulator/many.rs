//! Many records of one topic at once: under one lock per partition and batch, and without a ticket each.
//!
//! A chunk is sorted by partition first, so that records of a partition stand together; the order within a partition is
//! that of the chunk. Records without a partition of their own are one group, which goes where the handle's sticky choice
//! says, whole runs under one lock.

use super::{NewRecord, RecordAccumulator, Target, TopicQueues, lock};
use crate::machine::batch::Ticket;
use crate::machine::partitioner::Sticky;
use std::sync::Arc;

/// The group of what the partitioner leaves open.
const OPEN: u32 = u32::MAX;
/// The group of what can't go anywhere; no topic has so many partitions.
const NOWHERE: u32 = u32::MAX - 1;

/// A record as [`RecordAccumulator::append_many`] sees it.
pub trait ToAppend {
    /// Whether it goes to this topic.
    fn is_for(&self, topic: &str) -> bool;
    /// The partition that it names.
    fn partition(&self) -> Option<u32>;
    /// What is appended.
    fn record(&self) -> NewRecord<'_>;
}

/// The order in which the records of a chunk are appended, and how far that has come.
#[derive(Debug, Default)]
pub struct Order {
    /// Partition and place in the chunk, of those that are left: sorted.
    left: Vec<(u32, u32)>,
    /// How many of them are done.
    done: usize,
    /// The number of partitions that keys were hashed over.
    hashed_over: u32,
}

impl Order {
    /// A chunk of `records` begins.
    pub fn begin(&mut self, records: usize) {
        self.left.clear();
        self.left.extend((0..records as u32).map(|place| (OPEN, place)));
        (self.done, self.hashed_over) = (0, 0);
    }

    /// The record that [`RecordAccumulator::append_many`] stopped at is done with.
    pub fn skip(&mut self) {
        self.done += 1;
    }

    /// The places of the chunk that are not done.
    pub fn rest(&self) -> impl Iterator<Item = usize> {
        self.left.get(self.done..).unwrap_or_default().iter().map(|(_, place)| *place as usize)
    }

    fn next(&self) -> Option<(u32, usize)> {
        self.left.get(self.done).map(|(group, place)| (*group, *place as usize))
    }
}

impl RecordAccumulator {
    /// Appends what is left of a chunk, as far as that goes without waiting. Gives the place of a record that has to be
    /// appended by itself first, because it needs memory that is not there or can't be appended at all; then come again
    /// after [`Order::skip`].
    pub fn append_many<R: ToAppend>(
        &self,
        topic: &Arc<TopicQueues>,
        sticky: &Sticky,
        records: &[R],
        order: &mut Order,
        tickets: &mut Tickets,
    ) -> Option<usize> {
        let now = self.clock.unix_millis();
        while let Some((group, place)) = order.next() {
            let count = topic.partition_count();
            if order.hashed_over != count {
                if count == 0 {
                    return Some(place);
                }
                self.group(topic, records, order, count);
                continue;
            }
            let (partition, sent) = match group {
                OPEN => self.sticky_partition(topic, sticky),
                partition => (partition, 0),
            };
            let Some(queue) = topic.partition(partition).filter(|_| partition < count) else { return Some(place) };
            let mut state = lock(&queue.state);
            if state.closed {
                return Some(place);
            }
            let count = topic.partition_count();
            if partition >= count || (group != OPEN && order.hashed_over != count) {
                continue;
            }
            let before = order.done;
            if let Some(batch) = &mut state.open {
                let size = batch.encoder.size();
                while let Some((same, place)) = order.next()
                    && same == group
                    && let Some(record) = records.get(place).map(ToAppend::record)
                    && self.size(&record).is_ok()
                    && (group != OPEN || sent as usize + batch.encoder.size() - size < self.enough as usize)
                {
                    let timestamp = record.timestamp.unwrap_or(now);
                    let (key, value) = (record.key, record.value);
                    let Some(index) = batch.encoder.append(timestamp, key, value, record.headers) else { break };
                    if order.done == before {
                        tickets.begin(batch.ticket(index, timestamp, None));
                    }
                    tickets.push(place, index, timestamp);
                    order.done += 1;
                }
                let bytes = batch.encoder.size() - size;
                self.on_turn(&mut state, (order.done - before) as u32);
                drop(state);
                if group == OPEN && bytes > 0 {
                    sticky.set(partition, sent.saturating_add(bytes as u32));
                }
            } else {
                drop(state);
            }
            // The next one needs a batch of its own, or its partition another turn.
            let Some((same, place)) = order.next() else { break };
            if same != group || (order.done > before && group == OPEN && !self.stays(sticky)) {
                continue;
            }
            let record = records.get(place)?;
            let target = record.partition().map_or(Target::Partitioner(sticky), Target::Partition);
            match self.try_append(topic, target, &record.record(), None, &mut None) {
                Ok(Some(ticket)) => tickets.add(place, ticket),
                Ok(None) | Err(_) => return Some(place),
            }
            order.done += 1;
        }
        tickets.end_chunk();
        None
    }

    fn stays(&self, sticky: &Sticky) -> bool {
        sticky.get().is_some_and(|(_, sent)| sent < self.enough)
    }

    /// Sorts what is left by partition, over `count` of them.
    fn group<R: ToAppend>(&self, topic: &TopicQueues, records: &[R], order: &mut Order, count: u32) {
        order.left.drain(..order.done);
        order.done = 0;
        order.hashed_over = count;
        let mut any = false;
        for (group, place) in &mut order.left {
            let Some(record) = records.get(*place as usize) else { continue };
            *group = match record.partition() {
                _ if !record.is_for(topic.name()) => NOWHERE,
                Some(partition) => partition.min(NOWHERE),
                None => self.partition_of(topic, &record.record(), count).map_or(OPEN, |place| place.min(NOWHERE)),
            };
            any |= *group != OPEN;
        }
        if any {
            order.left.sort_unstable();
        }
    }
}

/// The tickets of many records: runs of records that stand in one batch one after the other.
#[derive(Debug, Default)]
pub struct Tickets {
    /// A ticket of each batch, to make the others of.
    batches: Vec<Ticket>,
    /// By place, but for the chunk that is being appended.
    runs: Vec<Run>,
    /// Where the chunk begins, in records and in runs.
    chunk: (usize, usize),
    records: usize,
    refused: usize,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    place: usize,
    records: u32,
    batch: u32,
    index: u32,
    timestamp: i64,
}

impl Tickets {
    /// How many records there are tickets of.
    pub fn count(&self) -> usize {
        self.records
    }

    /// How many of them no batch has taken.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The ticket of the record at `place`.
    pub fn get(&self, place: usize) -> Option<Ticket> {
        let run = self.runs.get(self.runs.partition_point(|run| run.place <= place).checked_sub(1)?)?;
        let offset = u32::try_from(place - run.place).ok().filter(|offset| *offset < run.records)?;
        Some(self.batches.get(run.batch as usize)?.of_record(run.index + offset, run.timestamp))
    }

    /// All of them in turn, one at a time: of a run only the first is made anew.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { tickets: self, run: 0, record: 0, ticket: None }
    }

    /// The next pushes are of this batch.
    fn begin(&mut self, ticket: Ticket) {
        if !self.batches.last().is_some_and(|last| last.is_of_same_batch(&ticket)) {
            self.batches.push(ticket);
        }
    }

    #[inline]
    fn push(&mut self, place: usize, index: u32, timestamp: i64) {
        let place = self.chunk.0 + place;
        self.records += 1;
        let batch = (self.batches.len() - 1) as u32;
        if let Some(last) = self.runs.last_mut()
            && (last.batch, last.timestamp) == (batch, timestamp)
            && last.place + last.records as usize == place
            && last.index + last.records == index
        {
            last.records += 1;
            return;
        }
        self.runs.push(Run { place, records: 1, batch, index, timestamp });
    }

    /// The record at `place` of the chunk has this ticket.
    pub fn add(&mut self, place: usize, ticket: Ticket) {
        let (index, timestamp) = (ticket.index(), ticket.timestamp());
        self.begin(ticket);
        self.push(place, index, timestamp);
    }

    /// No batch has taken the record at `place` of the chunk; this says why.
    pub fn refuse(&mut self, place: usize, ticket: Ticket) {
        self.refused += 1;
        self.add(place, ticket);
    }

    /// All records of the chunk have tickets.
    pub fn end_chunk(&mut self) {
        if let Some(runs) = self.runs.get_mut(self.chunk.1..) {
            runs.sort_unstable_by_key(|run| run.place);
        }
        self.chunk = (self.records, self.runs.len());
    }
}

/// Goes over [`Tickets`].
#[derive(Debug)]
pub struct Cursor<'a> {
    tickets: &'a Tickets,
    run: usize,
    record: u32,
    ticket: Option<Ticket>,
}

impl Cursor<'_> {
    /// The ticket of the next record; the same again until [`Cursor::advance`].
    pub fn ticket(&mut self) -> Option<&Ticket> {
        if self.ticket.is_none() {
            let run = self.tickets.runs.get(self.run)?;
            let of_batch = self.tickets.batches.get(run.batch as usize)?;
            self.ticket = Some(of_batch.of_record(run.index, run.timestamp));
        }
        self.ticket.as_ref()
    }

    /// On to the next record.
    pub fn advance(&mut self) {
        self.record += 1;
        match (self.tickets.runs.get(self.run), &mut self.ticket) {
            (Some(run), Some(ticket)) if self.record < run.records => ticket.set_index(run.index + self.record),
            _ => (self.run, self.record, self.ticket) = (self.run + 1, 0, None),
        }
    }
}
