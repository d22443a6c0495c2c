//! A batch in two halves (KIP-126), for a broker that finds it too large.

use super::{Callback, Outcome, ProducerBatch, Resolution};
use crate::error::{Error, Result};
use crate::ids::ProducerIdAndEpoch;
use crate::record::compression::{Compression, Compressor, Decompressor};
use crate::record::decode::{RecordView, open};
use crate::record::encode::{BatchBody, RecordEncoder};
use crate::record::{DEFAULT_DECOMPRESSED_LIMIT, Header};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The two, in their order; or the batch as it was, with why it can't be split.
pub type Halves = std::result::Result<[ProducerBatch; 2], Box<(ProducerBatch, Error)>>;

impl ProducerBatch {
    /// Splits it in two of about the same length. They have its numbers between them, so nothing behind has to be numbered
    /// anew; only what was not written may be split. It must have two records or more.
    ///
    /// # Errors
    /// The batch, if its records can't be compressed again.
    pub fn split(mut self, level: Option<i32>, compressor: &mut Compressor, transactional: bool) -> Halves {
        let (at, [first, second]) = match halves(self.body(), level, compressor) {
            Ok(halves) => halves,
            Err(error) => return Err(Box::new((self, error))),
        };
        let outcome = || Arc::new(Outcome::new(self.topic.name().clone(), self.partition as i32, None));
        let outcomes = [outcome(), outcome()];
        self.siblings.get_or_insert_default();
        let mut memory = self.memory.split(self.memory.num_permits()).expect("it has as many as it says");
        let rest = memory.split(memory.num_permits() / 2).expect("half of it is not more than all");
        let callbacks = std::mem::take(&mut self.callbacks);
        let (before, mut after): (Vec<_>, Vec<_>) = callbacks.into_iter().partition(|(index, ..)| *index < at);
        after.iter_mut().for_each(|(index, ..)| *index -= at);
        let pieces = [
            self.piece(0, first, outcomes[0].clone(), before, memory, transactional),
            self.piece(at, second, outcomes[1].clone(), after, rest, transactional),
        ];
        // Who waits finds the halves' outcomes from here on.
        self.outcome.complete(Resolution::Split(at, outcomes));
        self.siblings = None;
        Ok(pieces)
    }

    fn piece(
        &self,
        from: u32,
        body: BatchBody,
        outcome: Arc<Outcome>,
        callbacks: Vec<(u32, i64, Callback)>,
        memory: OwnedSemaphorePermit,
        transactional: bool,
    ) -> Self {
        let mut piece = Self {
            id: self.id,
            order: (self.order.0, self.order.1 + from),
            siblings: self.siblings.clone(),
            topic: self.topic.clone(),
            partition: self.partition,
            deadline: self.deadline,
            attempts: 0, // a split is not a retry
            possibly_sent: self.possibly_sent,
            possibly_appended: false,
            numbered: None,
            body: Some(body),
            outcome,
            callbacks,
            memory,
        };
        if let Some(numbered) = self.numbered.filter(|numbered| numbered.producer != ProducerIdAndEpoch::NONE) {
            let sequence = numbered.base_sequence.wrapping_add_unsigned(from) & i32::MAX;
            piece.number(numbered.producer, sequence, transactional);
        }
        piece
    }
}

/// Where the second half begins, and both.
fn halves(body: &BatchBody, level: Option<i32>, compressor: &mut Compressor) -> Result<(u32, [BatchBody; 2])> {
    let batch = body.to_batch(ProducerIdAndEpoch::NONE, -1, false);
    let mut scratch = Decompressor::default();
    let records: Vec<RecordView<'_>> =
        open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT)?.collect::<Result<_>>()?;
    let size = |record: &RecordView<'_>| {
        let headers: usize = record.headers.map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len)).sum();
        record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
    };
    let total: usize = records.iter().map(size).sum();
    let mut seen = 0;
    let mut before = |record: &RecordView<'_>| {
        seen += size(record);
        2 * seen <= total
    };
    let at = records.iter().take_while(|record| before(record)).count().clamp(1, records.len().max(2) - 1);
    let (first, second) = records.split_at(at);
    let compression = body.compression();
    let bodies = [encode(first, compression, level, compressor)?, encode(second, compression, level, compressor)?];
    Ok((at as u32, bodies))
}

fn encode(
    records: &[RecordView<'_>],
    compression: Compression,
    level: Option<i32>,
    compressor: &mut Compressor,
) -> Result<BatchBody> {
    let mut encoder = RecordEncoder::new(Vec::new(), usize::MAX);
    for record in records {
        let headers: Vec<Header<'_>> = record.headers.collect();
        encoder.append(record.timestamp, record.key, record.value, &headers);
    }
    encoder.seal(compression, level, compressor).map(|(body, _)| body)
}
