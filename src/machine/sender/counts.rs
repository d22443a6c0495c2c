//! What a sender counts, for [`Producer::metrics`](crate::producer::Producer::metrics): per batch and request, never per record.

use super::Sent;
use crate::machine::batch::{ProducerBatch, Settled};
use crate::metrics::{AtomicHistogram, Count};
use std::time::{Duration, Instant};

/// Written by the sender's task, read by anybody.
#[derive(Debug, Default)]
pub struct SenderCounts {
    pub(crate) requests_in_flight: Count,
    pub(crate) batches_sent: Count,
    pub(crate) batches_split: Count,
    pub(crate) records_sent: Count,
    pub(crate) records_retried: Count,
    pub(crate) records_acknowledged: Count,
    pub(crate) records_failed: Count,
    pub(crate) bytes_sent: Count,
    /// Bytes.
    pub(crate) batch_size: AtomicHistogram,
    pub(crate) records_per_request: AtomicHistogram,
    /// From here on microseconds.
    pub(crate) queue_time: AtomicHistogram,
    pub(crate) request_latency: AtomicHistogram,
    pub(crate) throttle_time: AtomicHistogram,
}

impl SenderCounts {
    /// A request goes out with these.
    pub(super) fn on_request(&self, now: Instant, delivery_timeout: Duration, sent: &[Sent]) {
        self.requests_in_flight.add(1);
        let mut all = 0;
        for batch in sent.iter().filter_map(|sent| sent.batch.as_ref()) {
            let (records, size) = (u64::from(batch.record_count()), batch.body().size() as u64);
            all += records;
            self.batches_sent.add(1);
            self.records_sent.add(records);
            self.bytes_sent.add(size);
            self.batch_size.record(size);
            if batch.attempts > 1 || batch.is_piece() {
                self.records_retried.add(records);
                continue;
            }
            // The deadline counts from the `send` of its first record.
            let age = delivery_timeout.saturating_sub(batch.deadline.saturating_duration_since(now));
            self.queue_time.record_duration(age);
        }
        self.records_per_request.record(all);
    }

    /// A batch has its outcome.
    pub(super) fn on_settled(&self, batch: &ProducerBatch, settled: &Settled) {
        let count = match settled {
            Settled::Written(_) => &self.records_acknowledged,
            Settled::Failed(_) | Settled::Rejected(_) => &self.records_failed,
        };
        count.add(u64::from(batch.record_count()));
    }
}
