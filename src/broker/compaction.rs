//! Compaction of one log, as Kafka's log cleaner does it: of each key the newest record stays, at its offset.
//!
//! - What is above the last stable offset is not touched, nor what is younger than `min.compaction.lag.ms`. All else is
//!   cleaned in one go: here no segment is active.
//! - A tombstone goes `delete.retention.ms` after the compaction that found it the newest of its key. That one writes the
//!   time into its batch's head: the delete horizon (KIP-534).
//! - Records of aborted transactions go. A marker stays as long as there is a batch of its transaction, and then until its
//!   own delete horizon.
//! - A batch that has lost all its records stays as a head if its producer is known by it, or if it is the last one that
//!   was looked at, by which readers find the end.

use super::log::{Aborted, Log, StoredBatch};
use crate::error::Result;
use crate::record::DEFAULT_DECOMPRESSED_LIMIT as LIMIT;
use crate::record::batch::{BatchHeader, RawBatch};
use crate::record::compression::Decompressor;
use crate::record::decode::{ControlRecord, open};
use crate::record::retain::retain;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// What a topic's configs say about compaction, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lags {
    /// `delete.retention.ms`
    pub delete_retention: i64,
    /// `min.compaction.lag.ms`
    pub min_compaction: i64,
}

/// Compacts the log. If a batch can't be read nothing is changed.
pub(super) fn compact(log: &mut Log, now_millis: i64, lags: Lags) -> Result<()> {
    let end = dirty_end(log, now_millis, lags.min_compaction);
    let newest = newest_of_keys(log, end)?;
    let mut transactions = Transactions::default();
    let (mut kept, mut aborted) = (Vec::new(), Vec::new());
    for stored in log.batches().take_while(|batch| batch.last_offset < end) {
        let batch = RawBatch::parse(&stored.bytes)?;
        let header = *batch.header();
        let horizon = header.attributes.has_delete_horizon().then_some(header.base_timestamp);
        let passed = horizon.is_some_and(|horizon| horizon <= now_millis);
        let mut scratch = Decompressor::default();
        let records = open(&stored.bytes, &mut scratch, LIMIT)?;
        let control = header.attributes.is_control();
        // Whether its records are not wanted: of a marker, because its transaction is gone already.
        let spent = match control {
            true => transactions.ends(records.control()?, &header, log, &mut aborted),
            false => transactions.is_aborted(stored, &header, log),
        };
        let discarded = spent && (!control || passed);
        let (mut keep, mut tombstones) = (Vec::new(), false);
        for record in records {
            let record = record?;
            let newest = record.key.and_then(|key| newest.get(key)).is_some_and(|newest| record.offset >= *newest);
            let kept = !discarded && (control || newest && (record.value.is_some() || !passed));
            tombstones |= kept && record.value.is_none();
            keep.push(kept);
        }
        let all = !keep.contains(&false);
        if keep.contains(&true) {
            let sets_horizon = horizon.is_none() && (tombstones || control && spent);
            let horizon = sets_horizon.then(|| now_millis.saturating_add(lags.delete_retention));
            let unchanged = all && !sets_horizon;
            kept.push(if unchanged { batch } else { retain(&batch, &keep, horizon, LIMIT)? });
        } else if names_its_producer(log, &header) || stored.last_offset + 1 == end {
            kept.push(retain(&batch, &[], None, LIMIT)?);
        }
    }
    log.rewrite(end, kept, aborted);
    Ok(())
}

/// What lies below it is compacted.
fn dirty_end(log: &Log, now_millis: i64, min_lag: i64) -> i64 {
    let young = |batch: &&StoredBatch| min_lag > 0 && batch.max_timestamp > now_millis.saturating_sub(min_lag);
    let young = log.batches().find(young).map_or(i64::MAX, |batch| batch.base_offset);
    log.last_stable_offset().min(young)
}

/// The last offset of each key; what was aborted counts for nothing.
fn newest_of_keys(log: &Log, end: i64) -> Result<HashMap<Bytes, i64>> {
    let (mut newest, mut transactions) = (HashMap::new(), Transactions::default());
    for stored in log.batches().take_while(|batch| batch.last_offset < end) {
        let mut scratch = Decompressor::default();
        let records = open(&stored.bytes, &mut scratch, LIMIT)?;
        let header = *records.header();
        if header.attributes.is_control() || transactions.is_aborted(stored, &header, log) {
            continue;
        }
        for record in records {
            let record = record?;
            if let Some(key) = record.key {
                newest.insert(Bytes::copy_from_slice(key), record.offset);
            }
        }
    }
    Ok(newest)
}

/// Whose batches have been seen since their last marker.
#[derive(Debug, Default)]
struct Transactions {
    committed: HashSet<i64>,
    aborted: HashSet<i64>,
}

impl Transactions {
    fn is_aborted(&mut self, batch: &StoredBatch, header: &BatchHeader, log: &Log) -> bool {
        if !header.attributes.is_transactional() {
            return false;
        }
        let within = log.aborted_between(batch.base_offset, batch.last_offset + 1);
        let aborted = within.iter().any(|one| one.producer_id == header.producer_id);
        let seen = if aborted { &mut self.aborted } else { &mut self.committed };
        seen.insert(header.producer_id);
        aborted
    }

    /// Whether nothing is left of what this marker ends. An aborted transaction of which there is something goes to
    /// `aborted`: readers have to be told of it.
    fn ends(
        &mut self,
        marker: Option<ControlRecord>,
        header: &BatchHeader,
        log: &Log,
        aborted: &mut Vec<Aborted>,
    ) -> bool {
        match marker {
            Some(ControlRecord::Commit) => !self.committed.remove(&header.producer_id),
            Some(ControlRecord::Abort) => {
                let seen = self.aborted.remove(&header.producer_id);
                let own = log.aborted_between(header.base_offset, header.base_offset + 1).into_iter();
                let own =
                    own.filter(|one| one.producer_id == header.producer_id && one.last_offset == header.base_offset);
                aborted.extend(own.filter(|_| seen));
                !seen
            }
            Some(_) => false,
            None => true, // emptied before
        }
    }
}

/// Whether what the leader knows of the producer, its last sequence or else its epoch, stands in this batch.
fn names_its_producer(log: &Log, header: &BatchHeader) -> bool {
    let Some(known) = log.producers.get(&header.producer_id).filter(|_| header.producer_id >= 0) else { return false };
    match known.last_offset() {
        Some(last) => last == header.last_offset(),
        None => header.attributes.is_control() && header.producer_epoch == known.epoch,
    }
}
