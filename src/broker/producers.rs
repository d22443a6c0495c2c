// InitProducerId: v0-5.
//! Producer ids, and what a partition remembers of each producer: its epoch and its last five batches.
//!
//! - v3 lets a producer name the id and epoch that it has, to go on from (KIP-360).
//! - A producer that the partition knows nothing of may begin at any sequence, as in Apache Kafka since 2.4.

use super::Context;
use super::api::Api;
use super::coordinator::TRANSACTION;
use super::log::Log;
use crate::error::ErrorCode;
use crate::ids::ProducerIdAndEpoch;
use crate::record::batch::BatchHeader;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use std::collections::VecDeque;
use std::time::Duration;

/// How many batches of a producer a partition can tell from new ones.
const REMEMBERED: usize = 5;

/// What a partition remembers of one producer.
#[derive(Debug, Default, Clone)]
pub(super) struct ProducerState {
    epoch: i16,
    /// The last batches of this epoch, oldest first.
    batches: VecDeque<Remembered>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    first: i32,
    last: i32,
    base_offset: i64,
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
pub(super) fn check_sequence(log: &Log, header: &BatchHeader) -> Result<Sequenced, ErrorCode> {
    let Some(known) = log.producers.get(&header.producer_id) else { return Ok(Sequenced::Next) };
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
    match known.batches.back() {
        Some(newest) if add(newest.last, 1) != header.base_sequence => Err(ErrorCode::OutOfOrderSequenceNumber),
        _ => Ok(Sequenced::Next),
    }
}

/// Remembers a batch that was stored at `base_offset`.
pub(super) fn remember(log: &mut Log, header: &BatchHeader, base_offset: i64, log_append_time: i64) {
    let state = log.producers.entry(header.producer_id).or_default();
    if state.epoch != header.producer_epoch {
        state.epoch = header.producer_epoch;
        state.batches.clear();
    }
    if state.batches.len() == REMEMBERED {
        state.batches.pop_front();
    }
    let (first, last) = (header.base_sequence, add(header.base_sequence, header.last_offset_delta));
    state.batches.push_back(Remembered { first, last, base_offset, log_append_time });
}

/// The producer of a batch; none for one without an id.
pub(super) fn writer(batch: &[u8]) -> Option<i64> {
    let header = BatchHeader::parse(batch).ok().flatten()?;
    Some(header.producer_id).filter(|id| *id >= 0)
}

/// Works out anew, from the batches that are left, what the partition remembers of these producers.
pub(super) fn recall(log: &mut Log, writers: &[i64]) {
    log.producers.retain(|id, _| !writers.contains(id));
    let headers = log.batches().filter_map(|batch| BatchHeader::parse(&batch.bytes).ok().flatten());
    let headers: Vec<_> = headers.filter(|header| writers.contains(&header.producer_id)).collect();
    for header in headers {
        if header.attributes.is_control() {
            fence(log, ProducerIdAndEpoch { id: header.producer_id, epoch: header.producer_epoch });
        } else {
            let time = if header.attributes.is_log_append_time() { header.max_timestamp } else { -1 };
            remember(log, &header, header.base_offset, time);
        }
    }
}

/// A marker was written: from now on older epochs of this producer are refused.
pub(super) fn fence(log: &mut Log, producer: ProducerIdAndEpoch) {
    let state = log.producers.entry(producer.id).or_default();
    if state.epoch < producer.epoch {
        state.epoch = producer.epoch;
        state.batches.clear();
    }
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
            let id = state.producers.next_id();
            return InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0);
        };
        let timeout = Duration::from_millis(u64::try_from(self.transaction_timeout_ms).unwrap_or(0));
        let known = ProducerIdAndEpoch { id: self.producer_id.0, epoch: self.producer_epoch };
        let known = Some(known).filter(|known| on.version >= 3 && known.id >= 0);
        let outcome = on
            .coordinates(&state, TRANSACTION, id)
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
