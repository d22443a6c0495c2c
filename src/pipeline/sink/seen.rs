//! What can be seen of a sink's partitions: for each, its handle at the metrics and the last record read.
#![allow(clippy::disallowed_methods, reason = "a shell of the pipeline has a clock")]

use crate::consumer::Consumer;
use crate::ids::TopicPartition;
use crate::pipeline::metrics::{Look, PartitionMetrics, StageMetrics};
use crate::pipeline::sink::breaker::State;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often partitions are looked at.
const EVERY: Duration = Duration::from_millis(500);

pub(super) struct Gauges {
    stage: StageMetrics,
    /// With the timestamp of the last record read, in milliseconds.
    partitions: HashMap<i32, (PartitionMetrics, Option<i64>)>,
    looked: Option<Instant>,
    database: watch::Receiver<State>,
    /// The database has answered once.
    asked: bool,
}

impl Gauges {
    pub(super) fn new(stage: StageMetrics, database: watch::Receiver<State>) -> Self {
        Self { stage, partitions: HashMap::new(), looked: None, database, asked: false }
    }

    /// The group has answered, with these besides what we had.
    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.stage.joined(true);
        for name in partitions {
            let metrics = self.stage.partition(&name.topic, name.partition);
            self.partitions.insert(name.partition, (metrics, None));
        }
    }

    /// The group has gone on without us.
    pub(super) fn lost(&self) {
        self.stage.joined(false);
    }

    pub(super) fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    pub(super) fn read(&mut self, partition: i32, timestamp: i64) {
        if let Some((_, last)) = self.partitions.get_mut(&partition) {
            *last = Some(timestamp);
        }
    }

    pub(super) fn written(&self, records: &[(i32, u64)]) {
        for (partition, n) in records {
            if let Some((metrics, _)) = self.partitions.get(partition) {
                metrics.records(*n);
            }
        }
    }

    /// The database has answered.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }

    /// Once in a turn of the loop.
    pub(super) fn look(&mut self, consumer: &Consumer, topic: &str) {
        let now = Instant::now();
        self.stage.alive(now);
        if self.looked.is_some_and(|looked| now - looked < EVERY) {
            return;
        }
        self.looked = Some(now);
        let is_up = *self.database.borrow() == State::Closed;
        if self.asked || !is_up {
            self.stage.db_up(is_up);
        }
        for (partition, (metrics, last)) in &self.partitions {
            let lag = consumer.lag(&TopicPartition::new(topic, *partition));
            metrics.look(Look { lag, last_ms: *last, ..Look::default() });
        }
    }
}
