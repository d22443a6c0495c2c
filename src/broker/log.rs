//! One partition's log: batches as they were sent, their base offset and leader epoch filled in. All of it is memory.
//!
//! Next to the batches stand what readers need of them: the epochs' first offsets (KIP-320), the open transactions (they
//! hold the last stable offset back), and the aborted ones.

use super::producers::{self, ProducerState};
use crate::record::batch::{BatchHeader, RawBatch};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What is known of one batch without looking into it.
#[derive(Debug, Clone)]
pub(super) struct StoredBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub leader_epoch: i32,
    pub bytes: Bytes,
}

impl StoredBatch {
    /// Whether compaction has left nothing but its head.
    pub(super) fn is_empty(&self) -> bool {
        matches!(BatchHeader::parse(&self.bytes), Ok(Some(header)) if header.record_count == 0)
    }
}

/// A transaction that was aborted: its records lie between these offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the abort marker.
    pub last_offset: i64,
}

/// Who reads: everything up to the high watermark, or up to the last stable offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    Uncommitted,
    Committed,
}

impl Isolation {
    pub(super) fn from_wire(level: i8) -> Self {
        if level == 1 { Self::Committed } else { Self::Uncommitted }
    }
}

/// What [`Log::read`] found.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub batches: Vec<Bytes>,
    pub size: usize,
    pub last_offset: Option<i64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    batches: VecDeque<StoredBatch>,
    start_offset: i64,
    end_offset: i64,
    high_watermark: i64,
    size: usize,
    /// First offset of each leader epoch that has written.
    epochs: Vec<(i32, i64)>,
    /// First offset of each open transaction, by producer id.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    pub producers: HashMap<i64, ProducerState>,
}

impl Log {
    /// Appends a batch of `count` offsets, made by `build` from its base offset.
    pub(super) fn append(
        &mut self,
        count: i64,
        max_timestamp: i64,
        leader_epoch: i32,
        build: impl FnOnce(i64) -> Bytes,
    ) -> i64 {
        let base_offset = self.end_offset;
        let bytes = build(base_offset);
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < leader_epoch) {
            self.epochs.push((leader_epoch, base_offset));
        }
        self.end_offset += count;
        self.size += bytes.len();
        let last_offset = self.end_offset - 1;
        self.batches.push_back(StoredBatch { base_offset, last_offset, max_timestamp, leader_epoch, bytes });
        base_offset
    }

    /// Notes that the producer's transaction begins here with `offset`, if it is not open already.
    pub(super) fn open_transaction(&mut self, producer_id: i64, offset: i64) {
        self.open.entry(producer_id).or_insert(offset);
    }

    /// Where the producer's open transaction begins here.
    pub(super) fn open_since(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }

    /// Closes the producer's transaction by the marker at `marker_offset`.
    pub(super) fn close_transaction(&mut self, producer_id: i64, marker_offset: i64, committed: bool) {
        if let Some(first_offset) = self.open.remove(&producer_id)
            && !committed
        {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: marker_offset });
        }
    }

    /// Every in-sync replica has what lies below `offset`. Whether that is news.
    pub(super) fn replicated_to(&mut self, offset: i64) -> bool {
        let before = self.high_watermark;
        self.high_watermark = before.max(offset.min(self.end_offset));
        self.high_watermark > before
    }

    /// Loses what lies at `end` or behind it, and the whole of a batch that does so in part: the log is another replica's
    /// now. What comes next has the offset `end`.
    pub(super) fn truncate(&mut self, end: i64) {
        let end = end.clamp(self.start_offset, self.end_offset);
        let mut writers = Vec::new();
        while let Some(batch) = self.batches.pop_back_if(|batch| batch.last_offset >= end) {
            self.size -= batch.bytes.len();
            writers.extend(producers::writer(&batch.bytes));
        }
        self.end_offset = end;
        self.high_watermark = self.high_watermark.min(end);
        self.epochs.retain(|(_, first)| *first < end);
        self.open.retain(|_, first| *first < end);
        // Whose marker is lost is open again.
        while let Some(again) = self.aborted.pop_if(|aborted| aborted.last_offset >= end) {
            if again.first_offset < end {
                self.open.insert(again.producer_id, again.first_offset);
            }
        }
        if !writers.is_empty() {
            producers::recall(self, &writers);
        }
    }

    /// Forgets every whole batch below `offset`, which becomes the first one that can be read.
    pub(super) fn delete_before(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset.min(self.end_offset));
        while let Some(batch) = self.batches.front().filter(|batch| batch.last_offset < self.start_offset) {
            self.size -= batch.bytes.len();
            self.batches.pop_front();
        }
        let start = self.start_offset;
        self.aborted.retain(|aborted| aborted.last_offset >= start);
        // The epoch that holds the first offset stays, moved up to it.
        let live = self.epochs.iter().rposition(|(_, first)| *first <= start).unwrap_or(0);
        self.epochs.drain(..live);
        if let Some(first) = self.epochs.first_mut() {
            first.1 = first.1.max(start);
        }
    }

    /// Puts what a compaction has left in the place of the batches below `end`, and of the aborted transactions that ended
    /// there. Where the log begins and ends stays.
    pub(super) fn rewrite(&mut self, end: i64, batches: Vec<RawBatch>, aborted: Vec<Aborted>) {
        let behind = self.batches.partition_point(|batch| batch.last_offset < end);
        let behind = self.batches.split_off(behind);
        let batches = batches.into_iter().map(|batch| StoredBatch {
            base_offset: batch.header().base_offset,
            last_offset: batch.header().last_offset(),
            max_timestamp: batch.header().max_timestamp,
            leader_epoch: batch.header().partition_leader_epoch,
            bytes: batch.into_bytes(),
        });
        self.batches = batches.chain(behind).collect();
        self.size = self.batches.iter().map(|batch| batch.bytes.len()).sum();
        self.aborted.retain(|one| one.last_offset >= end);
        self.aborted.splice(..0, aborted);
    }

    /// Deletes from the front what is older than `retention_ms` by its largest timestamp, or more than
    /// `retention_bytes` hold; the last batch stays, as Kafka's active segment does.
    pub(super) fn retain(&mut self, now_millis: i64, retention_ms: Option<i64>, retention_bytes: Option<usize>) {
        while self.batches.len() > 1 {
            let Some(first) = self.batches.front() else { return };
            let old = retention_ms.is_some_and(|limit| now_millis.saturating_sub(first.max_timestamp) > limit);
            let large = retention_bytes.is_some_and(|limit| self.size - first.bytes.len() >= limit);
            if !old && !large {
                return;
            }
            self.delete_before(first.last_offset + 1);
        }
    }

    /// The first offset that can be read.
    pub(super) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The next offset to be written.
    pub(super) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Every in-sync replica has what lies below it.
    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Below it no transaction is open.
    pub(super) fn last_stable_offset(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(i64::MAX).min(self.high_watermark)
    }

    /// Whether a reader of committed records gets it.
    pub(super) fn is_committed(&self, batch: &StoredBatch) -> bool {
        let aborts = |aborted: &Aborted| (aborted.first_offset..=aborted.last_offset).contains(&batch.base_offset);
        let writer = || producers::writer(&batch.bytes);
        let is_aborted = self.aborted.iter().any(|aborted| aborts(aborted) && writer() == Some(aborted.producer_id));
        batch.last_offset < self.last_stable_offset() && !is_aborted
    }

    /// Where a reader of this kind has to stop.
    pub(super) fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark,
            Isolation::Committed => self.last_stable_offset(),
        }
    }

    /// Bytes of all batches.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whole batches from the one that holds `offset` up to `end`, at most `max_bytes`; but the first one whole if
    /// `at_least_one`. With `cut`, the batch that does not fit comes as far as it does, which is Apache's way.
    pub(super) fn read(&self, offset: i64, end: i64, max_bytes: usize, at_least_one: bool, cut: bool) -> Slice {
        let first = self.batches.partition_point(|batch| batch.last_offset < offset);
        let mut slice = Slice::default();
        for batch in self.batches.range(first..).take_while(|batch| batch.base_offset < end) {
            let owed = at_least_one && slice.batches.is_empty();
            if slice.size + batch.bytes.len() > max_bytes && !owed {
                let left = max_bytes.saturating_sub(slice.size);
                if cut && left > 0 {
                    slice.size += left;
                    slice.batches.push(batch.bytes.slice(..left));
                }
                break;
            }
            slice.size += batch.bytes.len();
            slice.last_offset = Some(batch.last_offset);
            slice.batches.push(batch.bytes.clone());
        }
        slice
    }

    /// Bytes that a read from `offset` up to `end` could give, counted no further than `enough`.
    pub(super) fn readable_bytes(&self, offset: i64, end: i64, enough: usize) -> usize {
        let first = self.batches.partition_point(|batch| batch.last_offset < offset);
        let mut bytes = 0;
        for batch in self.batches.range(first..).take_while(|batch| batch.base_offset < end) {
            bytes += batch.bytes.len();
            if bytes >= enough {
                break;
            }
        }
        bytes
    }

    /// The aborted transactions with records in `from..to`, in the order of their ends, as Apache has them in its index.
    pub(super) fn aborted_between(&self, from: i64, to: i64) -> Vec<Aborted> {
        let overlaps = |aborted: &&Aborted| aborted.last_offset >= from && aborted.first_offset < to;
        self.aborted.iter().filter(overlaps).copied().collect()
    }

    /// Every batch, oldest first.
    pub(super) fn batches(&self) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter()
    }

    /// The epoch that `offset` was written under; the newest one for the end of the log.
    pub(super) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.iter().rev().find(|(_, first)| *first <= offset).map(|(epoch, _)| *epoch)
    }

    /// Where the largest epoch not above `epoch` ends (KIP-320): that epoch, and the first offset of the next one.
    /// `current` is the leader's epoch, which may have written nothing yet. An epoch older than all that is left ends where
    /// the log begins. `None`: not known, since it is to come.
    pub(super) fn epoch_end(&self, epoch: i32, current: i32) -> Option<(i32, i64)> {
        if epoch == current {
            return Some((epoch, self.end_offset));
        }
        if epoch < 0 || epoch > current {
            return None;
        }
        let end = self.epochs.iter().find(|(known, _)| *known > epoch).map_or(self.end_offset, |(_, first)| *first);
        let known = self.epochs.iter().rev().find(|(known, _)| *known <= epoch).map_or(epoch, |(known, _)| *known);
        Some((known, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(sizes: &[usize]) -> Log {
        let mut log = Log::default();
        for (i, size) in sizes.iter().enumerate() {
            log.append(2, i as i64 * 10, i as i32 / 2, |_| Bytes::from(vec![i as u8; *size]));
        }
        log.replicated_to(i64::MAX);
        log
    }

    #[test]
    fn the_first_batch_is_whole_whatever_the_limit_and_no_batch_is_cut() {
        let log = log(&[100, 100, 100]);
        let read = |offset, max, one| log.read(offset, log.high_watermark(), max, one, false).batches.len();
        assert_eq!(read(0, 10, true), 1);
        assert_eq!(read(0, 10, false), 0);
        assert_eq!(read(1, 250, true), 2, "a batch is found by any of its offsets");
        assert_eq!(read(5, 1000, true), 1);
        assert_eq!(read(6, 1000, true), 0);
        let cut = log.read(0, log.high_watermark(), 250, true, true);
        assert_eq!(
            (cut.batches.iter().map(Bytes::len).collect::<Vec<_>>(), cut.last_offset),
            (vec![100, 100, 50], Some(3))
        );
    }

    #[test]
    fn an_open_transaction_holds_the_stable_offset_back_and_an_aborted_one_is_listed() {
        let mut log = log(&[10, 10, 10]);
        log.open_transaction(7, 2);
        log.open_transaction(7, 4);
        assert_eq!((log.last_stable_offset(), log.end_offset()), (2, 6));
        assert_eq!(log.read(0, log.readable_end(Isolation::Committed), 100, true, false).batches.len(), 1);
        let marker = log.append(1, 30, 1, |_| Bytes::from_static(b"marker"));
        log.close_transaction(7, marker, false);
        assert_eq!(log.last_stable_offset(), 6, "the followers have not got the marker yet");
        log.replicated_to(7);
        assert_eq!(log.last_stable_offset(), 7);
        assert_eq!(log.aborted_between(0, 7), [Aborted { producer_id: 7, first_offset: 2, last_offset: 6 }]);
        assert_eq!(log.aborted_between(0, 2), []);
    }

    #[test]
    fn deleting_moves_the_start_and_keeps_the_batch_that_holds_it() {
        let mut log = log(&[10, 10, 10]);
        log.delete_before(3);
        assert_eq!((log.start_offset(), log.size()), (3, 20));
        log.delete_before(100);
        assert_eq!((log.start_offset(), log.size(), log.end_offset()), (6, 0, 6));
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let mut log = log(&[1, 1, 1, 1, 1]); // epochs 0, 0, 1, 1, 2
        assert_eq!(log.epoch_end(0, 2), Some((0, 4)));
        assert_eq!(log.epoch_end(1, 2), Some((1, 8)));
        assert_eq!(log.epoch_end(2, 2), Some((2, 10)));
        assert_eq!(log.epoch_end(3, 5), Some((2, 10)), "epochs that wrote nothing");
        assert_eq!((log.epoch_end(6, 5), log.epoch_end(-1, 5)), (None, None));
        assert_eq!(Log::default().epoch_end(1, 2), Some((1, 0)));
        assert_eq!((log.epoch_at(0), log.epoch_at(5), log.epoch_at(10)), (Some(0), Some(1), Some(2)));
        log.delete_before(8);
        assert_eq!(log.epoch_end(0, 2), Some((0, 8)), "nothing is left of it");
    }

    #[test]
    fn what_no_follower_has_is_not_read_and_lost_with_its_leader() {
        let mut log = log(&[10, 10]);
        log.append(2, 20, 5, |_| Bytes::from(vec![0; 10]));
        assert_eq!(log.read(4, log.readable_end(Isolation::Uncommitted), 100, true, false).batches.len(), 0);
        log.truncate(log.high_watermark());
        assert_eq!((log.end_offset(), log.size(), log.epoch_at(4)), (4, 20, Some(0)));
        assert!(!log.replicated_to(6), "there is nothing more");
        log.truncate(3);
        assert_eq!((log.end_offset(), log.high_watermark(), log.size()), (3, 3, 10), "no half a batch");
    }

    #[test]
    fn a_transaction_whose_abort_is_lost_is_open_again() {
        let mut log = log(&[10, 10]);
        log.open_transaction(7, 2);
        let marker = log.append(1, 30, 1, |_| Bytes::from_static(b"marker"));
        log.close_transaction(7, marker, false);
        log.truncate(4);
        assert_eq!((log.last_stable_offset(), log.aborted_between(0, 10)), (2, vec![]));
    }

    #[test]
    fn retention_deletes_what_is_old_or_too_much_but_never_the_newest_batch() {
        let mut log = log(&[10, 10, 10]); // timestamps 0, 10, 20
        log.retain(1000, Some(985), None);
        assert_eq!(log.start_offset(), 4);
        log.retain(10_000, Some(1), Some(1));
        assert_eq!(log.start_offset(), 4);
    }
}
