//! What a Fetch brought for one partition: whole batches, undecoded, of which runs are handed out. Here it is decided
//! which batches an application sees: no control batches unless it asks for them, and for read-committed none of an aborted
//! transaction.
//!
//! The list of aborted transactions comes with each answer and covers the transactions that overlap with its range,
//! those that began long before included; so each answer is filtered by its own list.

use super::subscription::Position;
use crate::error::Result;
use crate::ids::{LeaderEpoch, TopicPartition};
use crate::record::batch::BatchHeader;
use crate::record::compression::Decompressor;
use crate::record::decode::{self, ControlRecord};
use crate::wire::fetch::IsolationLevel;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A control batch holds one record of a few bytes.
const MARKER_LIMIT: usize = 1 << 16;

/// Room in the byte budget, shared by what one answer brought: given back when the last part of it is handed out.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::machine) enum Lease {
    /// Of the share of this node.
    Node(crate::ids::NodeId, usize),
    /// A paused partition's copy.
    Parked(usize),
}

/// Batches to hand out: a run of them, whole, none of them aborted or an unwanted control batch.
#[derive(Debug, Clone)]
pub struct FetchedRecords {
    /// Where they are from.
    pub name: TopicPartition,
    /// Of which generation of its position.
    pub generation: u64,
    /// Records before this are not for the application: batches come whole, also when asked for from their middle.
    pub from: i64,
    /// At least one.
    pub batches: Bytes,
    /// How many records their heads announce.
    pub announced: usize,
}

/// Whole batches of one partition that wait for the application.
#[derive(Debug)]
pub(in crate::machine) struct CompletedFetch {
    /// What was asked for: the offset, and the epoch of what is before it.
    pub(in crate::machine) from: Position,
    batches: Bytes,
    /// First offset and producer id, sorted, those already looked at cut off at the front.
    aborted: Vec<(i64, i64)>,
    looked_at: usize,
    active: BTreeSet<i64>,
    pub(in crate::machine) lease: Arc<Lease>,
}

impl CompletedFetch {
    /// `batches` are whole and their heads have been read once. `aborted` is as it came: producer id and first offset.
    pub(in crate::machine) fn new(from: Position, batches: Bytes, aborted: &[(i64, i64)], lease: Arc<Lease>) -> Self {
        let mut aborted: Vec<_> = aborted.iter().map(|(producer, first)| (*first, *producer)).collect();
        aborted.sort_unstable(); // Redpanda's comes unsorted
        Self { from, batches, aborted, looked_at: 0, active: BTreeSet::new(), lease }
    }

    /// The bytes left.
    pub(in crate::machine) fn len(&self) -> usize {
        self.batches.len()
    }

    /// When the first record left was made, or stored, as its batch has it.
    pub(in crate::machine) fn timestamp(&self) -> Option<i64> {
        let header = BatchHeader::parse(&self.batches).ok()??;
        let timestamp = match header.attributes.is_log_append_time() {
            true => header.max_timestamp, // the other is the producer's
            false => header.base_timestamp,
        };
        Some(timestamp).filter(|timestamp| *timestamp >= 0)
    }

    pub(in crate::machine) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Moves the batches into memory of their own, so that they don't keep the whole answer.
    pub(in crate::machine) fn detach(&mut self, lease: Arc<Lease>) -> Arc<Lease> {
        self.batches = Bytes::copy_from_slice(&self.batches);
        std::mem::replace(&mut self.lease, lease)
    }

    /// Hands out whole batches until they announce `max_records`, the last of them whole too, and moves `position`
    /// behind what was handed out or skipped. On an error the position is at the batch that is to blame. `control`: control
    /// batches are handed out too.
    pub(in crate::machine) fn take(
        &mut self,
        (name, generation): (&TopicPartition, u64),
        position: &mut Position,
        (isolation, control): (IsolationLevel, bool),
        max_records: usize,
        out: &mut Vec<FetchedRecords>,
    ) -> Result<usize> {
        let (mut at, mut taken, mut result) = (0, 0, Ok(()));
        let mut run: Option<(usize, i64, usize)> = None; // where it starts, in bytes and offsets, and its records
        let batches = std::mem::take(&mut self.batches);
        let mut hand_out = |run: &mut Option<(usize, i64, usize)>, end: usize| {
            if let Some((start, from, announced)) = run.take() {
                let batches = batches.slice(start..end);
                out.push(FetchedRecords { name: name.clone(), generation, from, batches, announced });
            }
        };
        while taken < max_records {
            let header = match BatchHeader::parse(&batches[at..]) {
                Ok(Some(header)) if header.size() <= batches.len() - at => header,
                Ok(_) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let end = at + header.size();
            match self.is_visible(&header, &batches[at..end], position.offset, (isolation, control)) {
                Ok(true) => {
                    let announced = announced(&header, position.offset);
                    run.get_or_insert((at, position.offset, 0)).2 += announced;
                    taken += announced;
                }
                Ok(false) => hand_out(&mut run, at),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            at = end;
            if header.next_offset() > position.offset {
                position.offset = header.next_offset();
                position.leader_epoch = LeaderEpoch::from_wire(header.partition_leader_epoch);
            }
        }
        hand_out(&mut run, at);
        self.batches = batches.slice(at..);
        result.map(|()| taken)
    }

    fn is_visible(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        position: i64,
        (isolation, control): (IsolationLevel, bool),
    ) -> Result<bool> {
        let attributes = header.attributes;
        if isolation == IsolationLevel::ReadCommitted {
            while let Some((_, producer)) =
                self.aborted.get(self.looked_at).filter(|(first, _)| *first <= header.last_offset())
            {
                self.active.insert(*producer);
                self.looked_at += 1;
            }
            if attributes.is_control() {
                let marker = decode::open(batch, &mut Decompressor::default(), MARKER_LIMIT)?.control()?;
                if marker == Some(ControlRecord::Abort) {
                    self.active.remove(&header.producer_id);
                }
            } else if attributes.is_transactional() && self.active.contains(&header.producer_id) {
                return Ok(false);
            }
        }
        Ok((control || !attributes.is_control()) && header.record_count > 0 && header.last_offset() >= position)
    }
}

/// How many records a batch has from `position` on. Exact but for a batch that compaction has thinned out and of which
/// only the end is wanted.
fn announced(header: &BatchHeader, position: i64) -> usize {
    let before = position.saturating_sub(header.base_offset).max(0);
    let count = i64::from(header.record_count);
    let dense = count == i64::from(header.last_offset_delta) + 1;
    let left = if dense { count - before } else { count.min(header.next_offset() - position.max(header.base_offset)) };
    usize::try_from(left).unwrap_or(0)
}
