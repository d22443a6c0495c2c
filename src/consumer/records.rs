//! [`Records`]: what one poll brought, opened on the application's task. Records are views into their batch.
//!
//! Two ways to read them:
//! - [`Records::next_batch`] lends batch after batch. All compressed ones are opened in the same scratch memory: nothing
//!   is allocated per batch. For those who want the last nanosecond.
//! - `for record in &records` keeps what it decompresses, batch by batch, so that records may be held side by side, as
//!   long as `records` is there.

use crate::error::{Error, Result};
use crate::ids::{LeaderEpoch, OffsetAndMetadata, TopicPartition};
use crate::machine::fetcher::FetchedRecords;
use crate::record::batch::{Attributes, RawBatch, batches};
use crate::record::compression::Decompressor;
use crate::record::decode::{self, ControlRecord, Headers, RecordView, SharedBatch};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a timestamp is the time of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// When the record was made, as the producer says.
    CreateTime,
    /// When the broker stored it.
    LogAppendTime,
}

/// A record that could not be read after it was handed out; the consumer goes back to it.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) name: TopicPartition,
    pub(super) generation: u64,
    pub(super) offset: i64,
    pub(super) error: Error,
}

/// What a consumer and its records share.
#[derive(Debug)]
pub(super) struct Common {
    limit: usize,
    /// Decompression memory to be used again.
    scratch: Mutex<Vec<Decompressor>>,
    unreadable: Mutex<Vec<Unreadable>>,
}

impl Common {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, scratch: Mutex::default(), unreadable: Mutex::default() }
    }

    /// What could not be read since the last call.
    pub(super) fn take_unreadable(&self) -> Vec<Unreadable> {
        std::mem::take(&mut self.unreadable.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn scratch(&self) -> Decompressor {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, scratch: Decompressor) {
        let mut pool = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < 4 {
            pool.push(scratch);
        }
    }
}

/// What one [`poll`](super::Consumer::poll) brought: whole batches, read where they arrived. `Send + Sync + 'static`,
/// borrows nothing.
///
/// It keeps the answers that its batches came in in memory: drop it before the next poll, and their buffers are used
/// again. It doesn't count against `prefetch.bytes`: kept records never hold up the consumer.
///
/// # Unreadable records
/// Checksums are verified and records decoded as they are read, after the position has moved past them. If a batch turns
/// out to be corrupt, [`next_batch`](Self::next_batch) returns the error, and iteration leaves out the rest of that
/// partition; in both cases the consumer's position goes back to the batch before anything else happens to it, and the
/// next poll returns the error: nothing unread is ever committed. To go on behind it, `seek`.
pub struct Records {
    parts: Vec<Part>,
    common: Arc<Common>,
    /// The part that `next_batch` is at, and how far it is in there.
    at: (usize, usize),
    scratch: Option<Decompressor>,
}

/// Batches of one partition, of which there may be others further on.
struct Part {
    fetched: FetchedRecords,
    /// What iteration has opened, in order; made when it begins.
    opened: OnceLock<Vec<Opened>>,
    /// Where the last batch to be handed out begins: something behind that, or in it, can't be read.
    last: AtomicI64,
}

struct Opened {
    raw: RawBatch,
    /// `None`: unreadable.
    batch: OnceLock<Option<SharedBatch>>,
}

impl Records {
    pub(super) fn new(fetched: Vec<FetchedRecords>, common: Arc<Common>) -> Self {
        Self { parts: fetched.into_iter().map(Part::new).collect(), common, at: (0, 0), scratch: None }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many records there are, as their batches announce it; nothing is opened for it. Too high by what compaction
    /// has removed from the first batch, if the position was in its middle.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.fetched.announced).sum()
    }

    /// As [`len`](Self::len), under Java's name.
    pub fn count(&self) -> usize {
        self.len()
    }

    /// Bytes of the batches, compressed as they came.
    pub fn size_in_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.fetched.batches.len()).sum()
    }

    /// The partitions that there are records of.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let mut names: Vec<_> = self.parts.iter().map(|part| part.fetched.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where to go on behind these records, by partition, as a commit stores it (KIP-1094).
    pub fn next_offsets(&self) -> HashMap<TopicPartition, OffsetAndMetadata> {
        let mut offsets = HashMap::new();
        for part in &self.parts {
            // The heads were read when the answer came, so none of them fails now.
            if let Some(last) = batches(&part.fetched.batches).flatten().last() {
                let header = last.header();
                let leader_epoch = LeaderEpoch::from_wire(header.partition_leader_epoch);
                let next = OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::new(header.next_offset()) };
                offsets.insert(part.fetched.name.clone(), next);
            }
        }
        offsets
    }

    /// One `Records` for each partition, for workers. The bytes are shared, nothing is copied.
    pub fn by_partition(self) -> Vec<Records> {
        let mut split: Vec<Records> = Vec::new();
        for part in &self.parts {
            let of_partition =
                |records: &&mut Records| records.parts.first().is_some_and(|p| p.fetched.name == part.fetched.name);
            let part = part.again();
            match split.iter_mut().find(of_partition) {
                Some(records) => records.parts.push(part),
                None => split.push(Self { parts: vec![part], common: self.common.clone(), at: (0, 0), scratch: None }),
            }
        }
        split
    }

    /// Lends the next batch, `None` at the end: its checksum verified, decompressed if need be, its records from the
    /// position on. A batch may turn out to be empty.
    ///
    /// # Errors
    /// `Malformed` for a batch that is corrupt, `Config` or `UnsupportedVersion` for a codec that is not there. The next
    /// call goes on with the next partition; see [`Records`] for what the consumer does.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch<'_>>> {
        let (mut at, mut from) = self.at;
        let is_through =
            |(part, from): (&Part, usize)| part.fetched.batches.get(from..).is_none_or(|rest| part.is_behind(rest));
        while self.parts.get(at).is_some_and(|part| is_through((part, from))) {
            (at, from) = (at + 1, 0);
        }
        self.at = (at, from);
        let Some(part) = self.parts.get(at) else { return Ok(None) };
        let rest = &part.fetched.batches[from..];
        let length = crate::record::batch::BatchHeader::parse(rest)?.map_or(rest.len(), |header| header.size());
        let scratch = self.scratch.get_or_insert_with(|| self.common.scratch());
        match decode::open(&rest[..length.min(rest.len())], scratch, self.common.limit) {
            Ok(batch) => {
                self.at = (at, from + length);
                let batch = batch.starting_at(part.fetched.from);
                Ok(Some(RecordBatch { parts: &self.parts[at..], batch, common: &self.common }))
            }
            Err(error) => {
                self.at = (at + 1, 0);
                Err(unreadable(&self.parts[at..], &self.common, offset_of(rest), error))
            }
        }
    }
}

/// The batch at this offset of the first of these parts can't be read: nothing behind it of its partition is handed out, and the
/// consumer is told, once.
fn unreadable(parts: &[Part], common: &Common, base_offset: i64, error: Error) -> Error {
    let Some((part, later)) = parts.split_first() else { return error };
    part.last.fetch_min(base_offset, Ordering::Relaxed);
    for other in later.iter().filter(|other| other.fetched.name == part.fetched.name) {
        other.last.store(-1, Ordering::Relaxed);
    }
    let FetchedRecords { name, generation, from, .. } = &part.fetched;
    let error = error.partition(name.clone()).hint("seek past it to go on");
    let (offset, told) = (base_offset.max(*from), error.clone());
    let unreadable = Unreadable { name: name.clone(), generation: *generation, offset, error: told };
    common.unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(unreadable);
    error
}

fn offset_of(batch: &[u8]) -> i64 {
    batch.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

impl Part {
    fn new(fetched: FetchedRecords) -> Self {
        Self { fetched, opened: OnceLock::new(), last: AtomicI64::new(i64::MAX) }
    }

    /// The same bytes, of which nothing is opened.
    fn again(&self) -> Self {
        let last = AtomicI64::new(self.last.load(Ordering::Relaxed));
        Self { last, ..Self::new(self.fetched.clone()) }
    }

    /// Whether this batch, if there is one, is behind what can be handed out.
    fn is_behind(&self, batch: &[u8]) -> bool {
        batch.is_empty() || offset_of(batch) > self.last.load(Ordering::Relaxed)
    }

    fn opened(&self) -> &[Opened] {
        // The heads were read when the answer came, so none of them fails now.
        let open = |raw: RawBatch| Opened { raw, batch: OnceLock::new() };
        self.opened.get_or_init(|| batches(&self.fetched.batches).flatten().map(open).collect())
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            self.common.give_back(scratch);
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("len", &self.len()).field("partitions", &self.partitions()).finish()
    }
}

/// One batch on loan: an iterator over its records.
pub struct RecordBatch<'a> {
    /// The first is its own.
    parts: &'a [Part],
    batch: decode::RecordBatch<'a>,
    common: &'a Common,
}

impl RecordBatch<'_> {
    /// Where it is from.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.parts[0].fetched.name
    }

    /// The offset behind the last record.
    pub fn next_offset(&self) -> i64 {
        self.batch.header().next_offset()
    }
}

impl<'a> Iterator for RecordBatch<'a> {
    type Item = Result<ConsumerRecord<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.batch.next()? {
            Ok(view) => {
                let attributes = self.batch.header().attributes;
                let leader_epoch = self.batch.header().partition_leader_epoch;
                let name = &self.parts[0].fetched.name;
                Some(Ok(ConsumerRecord { name, view, attributes, leader_epoch, shared: None }))
            }
            Err(error) => Some(Err(unreadable(self.parts, self.common, self.batch.header().base_offset, error))),
        }
    }
}

impl fmt::Debug for RecordBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch")
            .field("partition", self.topic_partition())
            .field("header", self.batch.header())
            .finish()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = ConsumerRecord<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter { records: self, part: 0, batch: 0, current: None }
    }
}

/// All records of a poll: `for record in &records`.
pub struct Iter<'a> {
    records: &'a Records,
    part: usize,
    batch: usize,
    current: Option<(&'a SharedBatch, decode::RecordBatch<'a>)>,
}

impl<'a> Iter<'a> {
    #[inline(never)]
    fn next_batch(&mut self) -> Option<()> {
        loop {
            let part = self.records.parts.get(self.part)?;
            let Some(opened) = part.opened().get(self.batch).filter(|opened| !part.is_behind(opened.raw.bytes()))
            else {
                (self.part, self.batch) = (self.part + 1, 0);
                continue;
            };
            let batch = opened.batch.get_or_init(|| {
                let common = &self.records.common;
                let mut scratch = common.scratch();
                let batch = SharedBatch::open(&opened.raw, &mut scratch, common.limit);
                common.give_back(scratch);
                let base_offset = opened.raw.header().base_offset;
                let parts = &self.records.parts[self.part..];
                batch.map_err(|error| unreadable(parts, common, base_offset, error)).ok()
            });
            self.batch += 1;
            let Some(batch) = batch else { continue };
            self.current = Some((batch, batch.records().starting_at(part.fetched.from)));
            return Some(());
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = ConsumerRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<ConsumerRecord<'a>> {
        loop {
            let Some((shared, batch)) = &mut self.current else {
                self.next_batch()?;
                continue;
            };
            match batch.next() {
                Some(Ok(view)) => {
                    let name = &self.records.parts.get(self.part)?.fetched.name;
                    let attributes = batch.header().attributes;
                    let leader_epoch = batch.header().partition_leader_epoch;
                    return Some(ConsumerRecord { name, view, attributes, leader_epoch, shared: Some(shared) });
                }
                Some(Err(error)) => {
                    let base_offset = batch.header().base_offset;
                    self.current = None;
                    unreadable(&self.records.parts[self.part..], &self.records.common, base_offset, error);
                }
                None => self.current = None,
            }
        }
    }
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("records", self.records).finish_non_exhaustive()
    }
}

/// One record, a view into its batch.
#[derive(Clone, Copy)]
pub struct ConsumerRecord<'a> {
    name: &'a TopicPartition,
    view: RecordView<'a>,
    attributes: Attributes,
    leader_epoch: i32,
    shared: Option<&'a SharedBatch>,
}

impl<'a> ConsumerRecord<'a> {
    /// The topic that it is from.
    pub fn topic(&self) -> &'a str {
        &self.name.topic
    }

    /// The partition that it is from.
    pub fn partition(&self) -> i32 {
        self.name.partition
    }

    /// Both.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        self.name
    }

    /// Its offset in the partition.
    pub fn offset(&self) -> i64 {
        self.view.offset
    }

    /// The epoch of the leader that wrote it, if known (KIP-320).
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        LeaderEpoch::from_wire(self.leader_epoch)
    }

    /// Where to go on behind this record, as a commit or a mark takes it: `consumer.commit_offsets([record.behind()])`.
    /// All that is before it in the partition counts as processed then, too.
    pub fn behind(&self) -> (TopicPartition, OffsetAndMetadata) {
        behind(self.name, self.offset(), self.leader_epoch())
    }

    /// Milliseconds since 1970; -1 if there is none.
    pub fn timestamp(&self) -> i64 {
        self.view.timestamp
    }

    /// What the timestamp is the time of.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes.is_log_append_time() { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// The key; null is not empty.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.view.key
    }

    /// The value; null, a tombstone in a compacted topic, is not empty.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.view.value
    }

    /// The headers in their order, duplicates included; decoded as they are iterated over.
    pub fn headers(&self) -> Headers<'a> {
        self.view.headers
    }

    /// What a control record says; `None` for an application's, which are all but with
    /// [`control_records`](super::ConsumerConfig::control_records). Its key and value are Kafka's own.
    pub fn control(&self) -> Option<ControlRecord> {
        let says = || ControlRecord::parse(self.key().unwrap_or_default()).unwrap_or(ControlRecord::Unknown(-1));
        self.attributes.is_control().then(says)
    }

    /// The record for itself. From `for record in &records` its parts are slices of the batch, without a copy: as long
    /// as one of them is there, so is the whole batch. From a batch on loan they are copied.
    pub fn to_owned(&self) -> OwnedRecord {
        let part = |bytes: &[u8]| self.shared.map_or_else(|| Bytes::copy_from_slice(bytes), |batch| batch.share(bytes));
        OwnedRecord {
            topic_partition: self.name.clone(),
            offset: self.offset(),
            leader_epoch: self.leader_epoch(),
            timestamp: self.timestamp(),
            timestamp_type: self.timestamp_type(),
            key: self.key().map(part),
            value: self.value().map(part),
            headers: self.headers().map(|header| (part(header.name), header.value.map(part))).collect(),
        }
    }
}

impl fmt::Debug for ConsumerRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("partition", &format_args!("{}", self.name))
            .field("offset", &self.offset())
            .field("timestamp", &self.timestamp())
            .field("key", &self.key().map(Bytes::copy_from_slice))
            .field("value", &self.value().map(Bytes::copy_from_slice))
            .finish()
    }
}

/// A record that borrows nothing. Its parts may be slices of the batch that it came in: keep one, and you keep the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Where it is from.
    pub topic_partition: TopicPartition,
    /// Its offset in the partition.
    pub offset: i64,
    /// The epoch of the leader that wrote it, if known (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Milliseconds since 1970; -1 if there is none.
    pub timestamp: i64,
    /// What the timestamp is the time of.
    pub timestamp_type: TimestampType,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// Names and values in their order, duplicates included.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl OwnedRecord {
    /// As [`ConsumerRecord::behind`].
    pub fn behind(&self) -> (TopicPartition, OffsetAndMetadata) {
        behind(&self.topic_partition, self.offset, self.leader_epoch)
    }
}

fn behind(
    name: &TopicPartition,
    offset: i64,
    leader_epoch: Option<LeaderEpoch>,
) -> (TopicPartition, OffsetAndMetadata) {
    (name.clone(), OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::new(offset.saturating_add(1)) })
}

#[cfg(test)]
mod tests;
