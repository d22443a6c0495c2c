//! [`Producer::metrics`]: how it stands, and what it has sent.

use super::{Producer, Shared, TopicProducer};
use crate::metrics::{Histogram, Metric, Metrics, Visit};

/// A picture of a producer at one moment, all its handles together. Counts are since it was made, and told by the batch: a
/// record counts when its batch does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// `buffer.memory`.
    pub buffer_total_bytes: usize,
    /// What no batch holds of it.
    pub buffer_available_bytes: usize,
    /// `send`s that wait for some of it.
    pub waiting_senders: usize,
    /// Produce requests without an answer.
    pub requests_in_flight: u64,
    /// Records in Produce requests; those that are sent again count again.
    pub records_sent: u64,
    /// Those that were sent again, halves of a batch that was too large included.
    pub records_retried: u64,
    /// Records that a broker has acknowledged, or that were sent with `acks=0`.
    pub records_acknowledged: u64,
    /// Records whose delivery has failed, purged and expired ones included.
    pub records_failed: u64,
    /// Batches in Produce requests; those that are sent again count again.
    pub batches_sent: u64,
    /// Batches that a broker found too large and that went in two halves.
    pub batches_split: u64,
    /// Bytes of these batches, compressed.
    pub bytes_sent: u64,
    /// Bytes of a batch, compressed.
    pub batch_size: Histogram,
    /// Records of a request.
    pub records_per_request: Histogram,
    /// Microseconds from the `send` of a batch's first record to its first request; `linger.ms` is in it.
    pub queue_time: Histogram,
    /// Microseconds from a Produce request to its answer.
    pub request_latency: Histogram,
    /// Microseconds that brokers have asked us to wait for (quotas), by answer that did.
    pub throttle_time: Histogram,
}

impl Shared {
    fn metrics(&self) -> ProducerMetrics {
        let counts = &self.counts;
        ProducerMetrics {
            buffer_total_bytes: self.accumulator.total_memory(),
            buffer_available_bytes: self.accumulator.free_memory(),
            waiting_senders: self.accumulator.waiting(),
            requests_in_flight: counts.requests_in_flight.get(),
            records_sent: counts.records_sent.get(),
            records_retried: counts.records_retried.get(),
            records_acknowledged: counts.records_acknowledged.get(),
            records_failed: counts.records_failed.get() + self.accumulator.unsealed(),
            batches_sent: counts.batches_sent.get(),
            batches_split: counts.batches_split.get(),
            bytes_sent: counts.bytes_sent.get(),
            batch_size: counts.batch_size.get(),
            records_per_request: counts.records_per_request.get(),
            queue_time: counts.queue_time.get(),
            request_latency: counts.request_latency.get(),
            throttle_time: counts.throttle_time.get(),
        }
    }
}

impl Producer {
    /// How the producer stands. Cheap, and asks nobody.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.metrics()
    }
}

impl TopicProducer {
    /// As [`Producer::metrics`]: of the whole producer, not of this topic alone.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.metrics()
    }
}

impl Metrics for ProducerMetrics {
    fn visit(&self, each: &mut dyn FnMut(Metric<'_>)) {
        let mut visit = Visit::new(each, &[]);
        visit.gauge("producer-metrics/buffer-total-bytes", "buffer.memory", self.buffer_total_bytes as f64);
        visit.gauge(
            "producer-metrics/buffer-available-bytes",
            "what is free of it",
            self.buffer_available_bytes as f64,
        );
        visit.gauge("producer-metrics/waiting-threads", "sends that wait for memory", self.waiting_senders as f64);
        visit.gauge("producer-metrics/requests-in-flight", "requests not answered", self.requests_in_flight as f64);
        visit.counter(
            "producer-metrics/record-send-total",
            "records in requests, repeated ones again",
            self.records_sent,
        );
        visit.counter("producer-metrics/record-retry-total", "records that were sent again", self.records_retried);
        visit.counter("producer-metrics/record-ack-total", "records acknowledged", self.records_acknowledged);
        visit.counter("producer-metrics/record-error-total", "records that failed", self.records_failed);
        visit.counter(
            "producer-metrics/batch-send-total",
            "batches in requests, repeated ones again",
            self.batches_sent,
        );
        visit.counter("producer-metrics/batch-split-total", "batches that were split", self.batches_split);
        visit.counter("producer-metrics/byte-total", "bytes of batches, compressed", self.bytes_sent);
        visit.histogram("producer-metrics/batch-size", "bytes of a batch, compressed", &self.batch_size);
        visit.histogram("producer-metrics/records-per-request", "records of a request", &self.records_per_request);
        visit.histogram(
            "producer-metrics/record-queue-time-us",
            "microseconds until the first request",
            &self.queue_time,
        );
        visit.histogram("producer-metrics/request-latency-us", "microseconds until the answer", &self.request_latency);
        visit.histogram(
            "producer-metrics/produce-throttle-time-us",
            "microseconds of waiting asked for",
            &self.throttle_time,
        );
    }
}
