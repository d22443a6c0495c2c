// InitProducerId: v0-5.
//! Producer ids, and what a partition remembers of each producer: its epoch and its last five batches.
//!
//! - v3 lets a producer name the id and epoch that it has, to go on from (KIP-360).
//! - A producer that the partition knows nothing of may begin at any sequence, as in Apache Kafka since 2.5 (KIP-360).

use super::api::Api;
use super::log::Log;
use super::produce::store;
use super::state::Partition;
use super::{Context, Emulation};
use crate::error::{ErrorCode, Result};
use crate::ids::ProducerIdAndEpoch;
use crate::record::batch::{BatchHeader, RawBatch};
use crate::record::compression::Decompressor;
use crate::record::decode::open;
use crate::record::encode::transaction_marker;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use std::collections::VecDeque;
use std::time::Duration;

/// How many batches of a producer a partition can tell from new ones.
const REMEMBERED: usize = 5;

/// What a partition remembers of one producer.
#[derive(Debug, Default, Clone)]
pub(super) struct ProducerState {
    pub epoch: i16,
    /// Of its last batch, or of the last marker in its name.
    pub last_timestamp: i64,
    /// Of the coordinator that wrote the last marker in its name.
    pub coordinator_epoch: Option<i32>,
    /// The last batches of this epoch, oldest first.
    batches: VecDeque<Remembered>,
}

impl ProducerState {
    /// The number of its last record, if there is one in this epoch.
    pub(super) fn last_sequence(&self) -> Option<i32> {
        self.batches.back().map(|newest| newest.last)
    }

    /// The offset of that record.
    pub(super) fn last_offset(&self) -> Option<i64> {
        self.batches.back().map(|newest| newest.base_offset + newest.offset_delta)
    }

    /// From here on it writes in this epoch, if it was in an older one.
    fn raise_to(&mut self, epoch: i16) {
        if self.epoch < epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    first: i32,
    last: i32,
    base_offset: i64,
    /// Its last offset less that.
    offset_delta: i64,
    log_append_time: i64,
}

/// What a batch is in its producer's sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sequenced {
    /// The one that is due.
    Next,
    /// One that is there already.
    Duplicate { base_offset: i64, log_append_time: i64 },
}

/// Sequence numbers wrap to 0 after the largest `i32`.
fn add(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) % (i64::from(i32::MAX) + 1)) as i32
}

/// Whether a producer's batch is due in this log.
pub(super) fn check_sequence(emulation: Emulation, log: &Log, header: &BatchHeader) -> Result<Sequenced, ErrorCode> {
    let of_unknown = match emulation.refuses_unknown_producers() && header.base_sequence != 0 {
        true => Err(ErrorCode::UnknownProducerId),
        false => Ok(Sequenced::Next),
    };
    let Some(known) = log.producers.get(&header.producer_id) else { return of_unknown };
    if header.producer_epoch < known.epoch {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    if header.producer_epoch > known.epoch {
        return if header.base_sequence == 0 { Ok(Sequenced::Next) } else { Err(ErrorCode::OutOfOrderSequenceNumber) };
    }
    let last = add(header.base_sequence, header.last_offset_delta);
    if let Some(same) = known.batches.iter().find(|batch| batch.first == header.base_sequence && batch.last == last) {
        return Ok(Sequenced::Duplicate { base_offset: same.base_offset, log_append_time: same.log_append_time });
    }
    match known.last_sequence() {
        Some(last) if header.base_sequence == add(last, 1) => Ok(Sequenced::Next),
        Some(_) => Err(ErrorCode::OutOfOrderSequenceNumber),
        None if header.base_sequence == 0 => Ok(Sequenced::Next), // a marker began the epoch
        None => of_unknown.and(Err(ErrorCode::OutOfOrderSequenceNumber)),
    }
}

/// Remembers a batch that was stored at `base_offset`.
pub(super) fn remember(log: &mut Log, header: &BatchHeader, base_offset: i64, log_append_time: i64) {
    let state = log.producers.entry(header.producer_id).or_default();
    state.raise_to(header.producer_epoch);
    state.last_timestamp = header.max_timestamp.max(log_append_time);
    if state.batches.len() == REMEMBERED {
        state.batches.pop_front();
    }
    let (first, last) = (header.base_sequence, add(header.base_sequence, header.last_offset_delta));
    let offset_delta = i64::from(header.last_offset_delta);
    state.batches.push_back(Remembered { first, last, base_offset, offset_delta, log_append_time });
}

/// The producer of a batch; none for one without an id.
pub(super) fn writer(batch: &[u8]) -> Option<i64> {
    let header = BatchHeader::parse(batch).ok().flatten()?;
    Some(header.producer_id).filter(|id| *id >= 0)
}

/// Works out anew, from the batches that are left, what the partition remembers of these producers.
pub(super) fn recall(log: &mut Log, writers: &[i64]) {
    log.producers.retain(|id, _| !writers.contains(id));
    let headers = log.batches().filter_map(|batch| {
        let header = BatchHeader::parse(&batch.bytes).ok().flatten()?;
        Some((header, marker_epoch(&batch.bytes)))
    });
    let headers: Vec<_> = headers.filter(|(header, _)| writers.contains(&header.producer_id)).collect();
    for (header, coordinator_epoch) in headers {
        if header.attributes.is_control() {
            remember_marker(log, &header, coordinator_epoch);
        } else {
            let time = if header.attributes.is_log_append_time() { header.max_timestamp } else { -1 };
            remember(log, &header, header.base_offset, time);
        }
    }
}

/// A marker was written: from now on older epochs of this producer are refused.
fn remember_marker(log: &mut Log, header: &BatchHeader, coordinator_epoch: Option<i32>) {
    let state = log.producers.entry(header.producer_id).or_default();
    state.raise_to(header.producer_epoch);
    state.last_timestamp = header.max_timestamp;
    state.coordinator_epoch = coordinator_epoch.or(state.coordinator_epoch);
}

/// The coordinator's epoch in a marker: its value is a version and that.
fn marker_epoch(batch: &[u8]) -> Option<i32> {
    let mut scratch = Decompressor::default();
    let batch = open(batch, &mut scratch, 0).ok().filter(|batch| batch.header().attributes.is_control())?;
    let value = batch.flatten().next()?.value?;
    value.get(2..6)?.try_into().ok().map(i32::from_be_bytes)
}

/// Ends the producer's transaction in this partition by a marker, and fences its older epochs.
pub(super) fn write_marker(
    partition: &mut Partition,
    producer: ProducerIdAndEpoch,
    commit: bool,
    coordinator_epoch: i32,
    now_millis: i64,
) -> Result<()> {
    let marker = RawBatch::parse(&transaction_marker(producer, commit, coordinator_epoch, now_millis))?;
    let header = *marker.header();
    let offset = store(partition, marker, false);
    // The coordinator is answered when every replica has the marker, and so all before it: here that is at once.
    partition.log.replicated_to(i64::MAX);
    partition.log.close_transaction(producer.id, offset, commit);
    remember_marker(&mut partition.log, &header, Some(coordinator_epoch));
    partition.wake(); // the last stable offset has moved
    Ok(())
}

/// The ids given out.
#[derive(Debug, Default)]
pub(super) struct Producers {
    last_id: i64,
}

impl Producers {
    /// A producer id that nobody had before.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id + 999 // the first id is 1000, so that an id is not taken for an epoch in what people read
    }
}

impl Api for InitProducerIdRequest {
    async fn serve(self, on: Context) -> InitProducerIdResponse {
        let mut state = on.state();
        let Some(id) = &self.transactional_id else {
            if let Err(code) = on.may_write_somewhere(&state) {
                return self.refuse(code);
            }
            let id = state.producers.next_id();
            return InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0);
        };
        let half_known = on.version >= 3 && (self.producer_id.0 < 0) != (self.producer_epoch < 0);
        if id.is_empty() || half_known {
            return self.refuse(ErrorCode::InvalidRequest);
        }
        let timeout = Duration::from_millis(u64::try_from(self.transaction_timeout_ms).unwrap_or(0));
        let known = ProducerIdAndEpoch { id: self.producer_id.0, epoch: self.producer_epoch };
        let known = Some(known).filter(|known| on.version >= 3 && known.id >= 0);
        let outcome = on
            .coordinates_transaction(&state, id)
            .and_then(|()| state.init_transactional(on.unix_millis(), id, timeout, known));
        match outcome {
            Ok(producer) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch),
            // v4 tells a producer that was fenced from one whose epoch is merely wrong.
            Err(ErrorCode::ProducerFenced) if on.version < 4 => self.refuse(ErrorCode::InvalidProducerEpoch),
            Err(code) => self.refuse(code),
        }
    }

    fn refuse(&self, code: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse::default()
            .with_error_code(code.to_wire())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    }
}
