//! What `clickstream` sends and what becomes of it: records by the chunk, which costs the client less than half of one by one.

use crate::{
    error::{Error, Result},
    pipeline::metrics::{PartitionMetrics, StageMetrics},
    producer::{Deliveries, TopicProducer},
};
use futures_util::FutureExt;
use std::collections::VecDeque;

/// Records of a chunk; the producer takes as many at once.
pub(super) const CHUNK: usize = 256;
/// Chunks that wait for their outcome: more records than `buffer.memory` has room for by default.
const UNDER_WAY: usize = 2_048;

/// Records that wait to be sent, and chunks that wait for their outcome.
#[derive(Debug)]
pub(super) struct Sending {
    topic: TopicProducer,
    /// Keys and values of the chunk, one behind the other: the generator only lends them.
    bytes: Vec<u8>,
    chunk: Vec<Place>,
    under_way: VecDeque<Deliveries>,
    written: u64,
    failed: u64,
    first: Option<Error>,
    metrics: StageMetrics,
    /// By partition: its handle, once something was written there, and records of the chunk being counted.
    counted: Vec<(Option<PartitionMetrics>, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    begin: usize,
    key: Option<usize>,
    value: Option<usize>,
    timestamp_ms: i64,
}

impl Sending {
    /// Nothing sent yet.
    pub(super) fn new(topic: TopicProducer, metrics: StageMetrics) -> Self {
        let (bytes, chunk, under_way, counted) = (Vec::new(), Vec::new(), VecDeque::new(), Vec::new());
        Self { topic, bytes, chunk, under_way, written: 0, failed: 0, first: None, metrics, counted }
    }

    /// Takes a record into the chunk; whether that is full now.
    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64) -> bool {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.chunk.push(Place { begin, key: key.map(<[u8]>::len), value: value.map(<[u8]>::len), timestamp_ms });
        self.chunk.len() >= CHUNK
    }

    /// Whether the chunk has records of the other kind, with a key or without: the producer keeps the order of each kind, but
    /// not of both together.
    pub(super) fn is_of_others(&self, has_key: bool) -> bool {
        self.chunk.last().is_some_and(|place| place.key.is_some() != has_key)
    }

    /// Sends the chunk, once there is room for it, and counts what has its outcome meanwhile.
    pub(super) async fn send(&mut self) {
        if !self.chunk.is_empty() {
            let (topic, bytes) = (&self.topic, &self.bytes);
            let records = self.chunk.iter().map(|place| {
                let value = place.begin + place.key.unwrap_or(0);
                let mut record = topic.record().timestamp(place.timestamp_ms);
                if place.key.is_some() {
                    record = record.key(&bytes[place.begin..value]);
                }
                match place.value {
                    Some(len) => record.value(&bytes[value..value + len]),
                    None => record,
                }
            });
            let deliveries = topic.send_many(records).await;
            self.under_way.push_back(deliveries);
            self.bytes.clear();
            self.chunk.clear();
        }
        while let Some(first) = self.under_way.front() {
            let outcome = match first.all().now_or_never() {
                Some(outcome) => outcome,
                None if self.under_way.len() >= UNDER_WAY => first.all().await,
                None => break,
            };
            self.count(outcome);
        }
    }

    /// Whether a record is known to have failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Waits for every outcome; the producer is closed by now, so each has one. How many records were written.
    ///
    /// # Errors
    /// The first record's that was not.
    pub(super) async fn written(mut self) -> Result<u64> {
        while let Some(first) = self.under_way.front() {
            let outcome = first.all().await;
            self.count(outcome);
        }
        match self.first {
            None => Ok(self.written),
            Some(error) => {
                tracing::error!(failed = self.failed, "records were not written");
                Err(error)
            }
        }
    }

    /// The oldest chunk has its outcome.
    fn count(&mut self, outcome: Result<()>) {
        let Some(deliveries) = self.under_way.pop_front() else { return };
        let all_written = outcome.is_ok();
        if let Err(error) = outcome {
            self.first.get_or_insert(error);
        }
        let mut written = 0;
        for delivery in deliveries.iter() {
            if all_written || matches!(delivery.try_outcome(), Some(Ok(()))) {
                written += 1;
                self.at(delivery.partition());
            }
        }
        self.written += written;
        self.failed += deliveries.len() as u64 - written;
        for (partition, (handle, n)) in (0..).zip(&mut self.counted) {
            let n = std::mem::take(n);
            if n > 0 {
                handle.get_or_insert_with(|| self.metrics.partition(self.topic.name(), partition)).records(n);
            }
        }
    }

    /// One more of the chunk was written there.
    fn at(&mut self, partition: i32) {
        let Ok(partition) = usize::try_from(partition) else { return };
        if partition >= self.counted.len() {
            self.counted.resize_with(partition + 1, Default::default);
        }
        self.counted[partition].1 += 1;
    }
}
