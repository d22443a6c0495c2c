//! [`Consumer::metrics`]: how it stands, for a watchdog or a page of figures.

use super::Consumer;
use crate::error::Result;
use crate::ids::TopicPartition;
use crate::machine::group::GroupResponse;
use crate::metrics::{AtomicHistogram, Count, Histogram, Metric, Metrics, Visit};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a consumer's tasks and its handle count: per poll and request, never per record.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records_consumed: Count,
    bytes_consumed: Count,
    bytes_fetched: Count,
    fetch_latency: AtomicHistogram,
    pub(super) throttle_time: AtomicHistogram,
    commit_latency: AtomicHistogram,
    commits_failed: Count,
}

impl Counts {
    pub(super) fn on_records(&self, records: usize, bytes: usize) {
        self.records_consumed.add(records as u64);
        self.bytes_consumed.add(bytes as u64);
    }

    pub(super) fn on_fetched(&self, bytes: usize, latency: Duration) {
        self.bytes_fetched.add(bytes as u64);
        self.fetch_latency.record_duration(latency);
    }

    pub(super) fn on_commit(&self, answer: &Result<GroupResponse>, latency: Duration) {
        let is_good = matches!(answer, Ok(GroupResponse::OffsetCommit(answer))
            if answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == 0));
        match is_good {
            true => self.commit_latency.record_duration(latency),
            false => self.commits_failed.add(1),
        }
    }
}

/// A picture of a consumer at one moment. Instants are on the clock of [`tokio::time::Instant`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// By assigned partition.
    pub partitions: BTreeMap<TopicPartition, PartitionMetrics>,
    /// Bytes that have been fetched and wait for polls; an answer counts until all of it is handed out. See
    /// `prefetch.bytes`, their bound. Not the sum of the partitions' figures: what was handed out of an answer, its frame and
    /// what it brought in vain count here alone.
    pub bytes_buffered: usize,
    /// Assignments that the group has made and [`Consumer::next`] has taken, those that brought nothing new included.
    pub rebalances: u64,
    /// When [`Consumer::next`] or [`Consumer::poll`] last looked for something to tell; `None` before the first poll.
    pub last_poll: Option<Instant>,
    /// When the group's coordinator last took a heartbeat. `None` before, and without a group.
    pub last_heartbeat: Option<Instant>,
    /// Records handed out since the consumer was made, as [`Records::len`](super::Records::len) counts them.
    pub records_consumed: u64,
    /// Bytes of their batches, compressed.
    pub bytes_consumed: u64,
    /// Bytes of answers to Fetches.
    pub bytes_fetched: u64,
    /// Microseconds from a Fetch to its answer, which the broker parks for up to `fetch.max.wait.ms` while there is nothing.
    pub fetch_latency: Histogram,
    /// Microseconds that brokers have asked us to wait for (quotas), by answer that did.
    pub throttle_time: Histogram,
    /// Microseconds from a commit to its answer, of those that were taken.
    pub commit_latency: Histogram,
    /// Commits that got no answer, or were refused for some partition; those that are sent again count each time.
    pub commits_failed: u64,
}

/// One partition of [`ConsumerMetrics`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetrics {
    /// As [`Consumer::position`].
    pub position: Option<i64>,
    /// As [`Consumer::lag`]: with some of it and no progress for long, a partition is stuck (or paused).
    pub lag: Option<i64>,
    /// Bytes of batches that have arrived and were not handed out.
    pub bytes_buffered: usize,
    /// When the position last moved because something was handed out, or passed over as not for the application (an aborted
    /// transaction, a marker); `None` if nothing was since the partition was assigned.
    pub last_progress: Option<Instant>,
    /// How old the oldest record is that has arrived and was not handed out, by the timestamp of its batch and the wall
    /// clock; `None` if nothing waits, or it has no timestamp. What has not been fetched yet is not known of.
    pub oldest_buffered: Option<Duration>,
}

impl Consumer {
    /// How the consumer stands. Cheap, and asks nobody: what is not known by itself is as of the last answers.
    pub fn metrics(&self) -> ConsumerMetrics {
        let unix_millis = self.shared.unix_millis();
        let (partitions, bytes_buffered) = self.shared.change(|fetcher, _| {
            let subscription = fetcher.subscription();
            let metrics = |name: &TopicPartition| {
                let partition = subscription.get(name)?;
                let age =
                    |millis: i64| Duration::from_millis(unix_millis.saturating_sub(millis).try_into().unwrap_or(0));
                let metrics = PartitionMetrics {
                    position: partition.position().map(|position| position.offset),
                    lag: fetcher.lag(name),
                    bytes_buffered: partition.bytes_buffered(),
                    last_progress: partition.last_progress(),
                    oldest_buffered: partition.oldest_buffered().map(age),
                };
                Some((name.clone(), metrics))
            };
            (subscription.assignment().filter_map(metrics).collect(), fetcher.memory().0)
        });
        let (rebalances, last_heartbeat) = self.group.as_ref().map_or((0, None), |group| group.vital_signs());
        let counts = &self.shared.counts;
        ConsumerMetrics {
            partitions,
            bytes_buffered,
            rebalances,
            last_poll: self.last_poll,
            last_heartbeat,
            records_consumed: counts.records_consumed.get(),
            bytes_consumed: counts.bytes_consumed.get(),
            bytes_fetched: counts.bytes_fetched.get(),
            fetch_latency: counts.fetch_latency.get(),
            throttle_time: counts.throttle_time.get(),
            commit_latency: counts.commit_latency.get(),
            commits_failed: counts.commits_failed.get(),
        }
    }
}

impl Metrics for ConsumerMetrics {
    fn visit(&self, each: &mut dyn FnMut(Metric<'_>)) {
        let mut visit = Visit::new(each, &[]);
        let partitions = self.partitions.len() as f64;
        visit.gauge("consumer-coordinator-metrics/assigned-partitions", "partitions that are read", partitions);
        visit.counter("consumer-coordinator-metrics/rebalance-total", "assignments taken", self.rebalances);
        visit.histogram(
            "consumer-coordinator-metrics/commit-latency-us",
            "microseconds from a commit to its answer",
            &self.commit_latency,
        );
        visit.counter("consumer-coordinator-metrics/commit-failed-total", "commits in vain", self.commits_failed);
        let fetches = "consumer-fetch-manager-metrics/fetch-latency-us";
        visit.histogram(fetches, "microseconds from a Fetch to its answer", &self.fetch_latency);
        let throttled = "consumer-fetch-manager-metrics/fetch-throttle-time-us";
        visit.histogram(throttled, "microseconds of waiting asked for", &self.throttle_time);
        visit.counter(
            "consumer-fetch-manager-metrics/records-consumed-total",
            "records handed out",
            self.records_consumed,
        );
        visit.counter("consumer-fetch-manager-metrics/bytes-consumed-total", "bytes of them", self.bytes_consumed);
        visit.counter("consumer-fetch-manager-metrics/bytes-fetched-total", "bytes of answers", self.bytes_fetched);
        let buffered = self.bytes_buffered as f64;
        visit.gauge("consumer-fetch-manager-metrics/buffered-bytes", "fetched and not handed out", buffered);
        for (name, metrics) in &self.partitions {
            let number = name.partition.to_string();
            let labels = [("topic", &*name.topic), ("partition", number.as_str())];
            let mut visit = Visit::new(each, &labels);
            if let Some(lag) = metrics.lag {
                visit.gauge("consumer-fetch-manager-metrics/records-lag", "records behind the end", lag as f64);
            }
            if let Some(position) = metrics.position {
                visit.gauge("consumer-fetch-manager-metrics/position", "the next offset", position as f64);
            }
        }
    }
}
