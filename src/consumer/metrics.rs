//! [`Consumer::metrics`]: how it stands, for a watchdog or a page of figures.

use super::Consumer;
use crate::ids::TopicPartition;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
        ConsumerMetrics { partitions, bytes_buffered, rebalances, last_poll: self.last_poll, last_heartbeat }
    }
}
