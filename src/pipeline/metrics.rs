//! What Prometheus reads, and every screen with it: the one source of the numbers.
//!
//! A stage says what it has done when that is committed, so a record counts once, however often it was read; what a
//! kill undid was never counted. What it calls, and when:
//!
//! | when | call |
//! | --- | --- |
//! | at its start, kept until its end | [`Metrics::stage`] |
//! | each turn of its loop | [`StageMetrics::alive`] |
//! | when the group has answered, even with nothing | [`StageMetrics::joined`] |
//! | on assignment, kept until revoked or lost | [`StageMetrics::partition`] |
//! | each look at the partition, at least once a second | [`PartitionMetrics::look`] |
//! | after a commit, and for an aggregator's partition that begins: what is committed | [`PartitionMetrics::total`], or [`PartitionMetrics::records`] |
//! | when a partition went to another process, in order or not | [`StageMetrics::moved`] |
//! | after a commit: how long it took, and how long closed windows had waited for it | [`StageMetrics::txn`], [`StageMetrics::emitted`] |
//! | records read again after an assignment | [`StageMetrics::replayed`] |
//! | sink | [`StageMetrics::sink_rows`], [`StageMetrics::db_up`] |
//!
//! Nothing of this belongs into the work on one record: counts are kept in plain integers until the commit.
//! A handle that is dropped takes its gauges with it (a partition that went elsewhere has no lag here); counters stay.
//! Delays and skew are worked out when somebody asks, so that a stage which hangs shows as one.

mod live;
mod series;

use crate::pipeline::{
    board::Numbers,
    counts::Counts,
    metrics::{
        live::{Live, Place, Seen, StageState},
        series::Series,
    },
};
pub use live::{Gauges, StageHealth};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// A stage of the pipeline, `stage` in labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Writes events.
    Clickstream,
    /// Makes partial rows of them.
    Aggregate,
    /// Makes final rows of those.
    Merge,
    /// Writes into a database.
    Sink,
}

impl Role {
    /// Its name in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clickstream => "clickstream",
            Self::Aggregate => "aggregate",
            Self::Merge => "merge",
            Self::Sink => "sink",
        }
    }
}

/// What became of a row that the sink had, `result` in labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowResult {
    /// New in the table, or replaced one.
    Written,
    /// The table had it.
    Present,
    /// The database doesn't take it: a dead letter.
    Refused,
}

impl RowResult {
    const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Present => "present",
            Self::Refused => "refused",
        }
    }
}

/// The numbers of one pipeline. Clones share them; a second `new` shares nothing, so that one process can run many.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: Series,
    live: Live,
}

impl Metrics {
    /// No numbers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stage begins; it ends when the handle and all that were made of it are dropped.
    pub fn stage(&self, role: Role, group: &str) -> StageMetrics {
        let state = Arc::new(StageState::new(role, group));
        self.0.live.began(&state);
        self.0.series.starts.with_label_values(&[role.name()]).inc();
        StageMetrics(Arc::new(Stage { metrics: self.clone(), state }))
    }

    /// Everything in Prometheus's text format, as of `now_micros` of the wall clock, with the windows of this board.
    pub fn render(&self, board: &Numbers, now_micros: i64) -> String {
        let families = self.gather(board, now_micros);
        prometheus::TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// The same as families.
    pub(super) fn gather(&self, board: &Numbers, now_micros: i64) -> Vec<prometheus::proto::MetricFamily> {
        self.0.series.gather(&self.0.live, board, now_micros)
    }

    /// The names of all series, those that have no sample yet included.
    pub fn names(&self) -> &[&'static str] {
        self.0.series.names()
    }

    /// The partitions that stages of this kind own, as of `now_micros` of the wall clock.
    pub fn partitions(&self, role: Role, now_micros: i64) -> BTreeMap<i32, Gauges> {
        let partitions = self.0.live.partitions();
        let mine = partitions.iter().filter(|(place, _)| place.stage == role);
        mine.map(|(place, seen)| (place.partition, seen.gauges(now_micros))).collect()
    }

    /// How the stages at work are, in the order of their starts.
    pub fn health(&self, now: Instant) -> Vec<StageHealth> {
        self.0.live.health(now)
    }
}

/// One stage at work. Clones share it.
#[derive(Debug, Clone)]
pub struct StageMetrics(Arc<Stage>);

#[derive(Debug)]
struct Stage {
    metrics: Metrics,
    state: Arc<StageState>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.metrics.0.live.ended(&self.state);
    }
}

impl StageMetrics {
    /// The loop has come round; one that hasn't for long is taken for hung.
    pub fn alive(&self, now: Instant) {
        self.0.state.alive(now);
    }

    /// The group has answered: the member has its partitions, or none by right. False while it has to join again.
    pub fn joined(&self, joined: bool) {
        self.0.state.joined.store(joined, Ordering::Relaxed);
    }

    /// A partition that is this stage's from now on, until the handle is dropped. Looks its series up; not for each record.
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionMetrics {
        let place = self.place(topic, partition);
        let stage = place.stage;
        let seen = Arc::new(Seen::default());
        self.live().took(place.clone(), seen.clone());
        let counter = self.series().records(stage.name(), topic, partition);
        self.live().counter(stage, topic, partition, counter.clone());
        PartitionMetrics { stage: self.clone(), place, seen, counter }
    }

    /// The partition is, or may be, another process's: what is committed there from now on is not counted here.
    pub fn moved(&self, topic: &str, partition: i32) {
        self.live().forget(&self.place(topic, partition));
    }

    /// So many records went to the dead letter queue (`pipeline_dlq_records_total`).
    pub fn dead(&self, reason: &str, n: u64) {
        self.series().dlq.with_label_values(&[self.name(), reason]).inc_by(n);
    }

    /// So many events were late for this window (`pipeline_late_records_total`).
    pub fn late(&self, window: &str, n: u64) {
        self.series().late.with_label_values(&[window]).inc_by(n);
    }

    /// So many valid records were not looked for (`pipeline_skipped_total`).
    pub fn skipped(&self, reason: &str, n: u64) {
        self.series().skipped.with_label_values(&[self.name(), reason]).inc_by(n);
    }

    /// A transaction took this long, from its first record to its commit's answer (`pipeline_txn_seconds`).
    pub fn txn(&self, took: Duration) {
        self.series().txn.with_label_values(&[self.name()]).observe(took.as_secs_f64());
    }

    /// Windows are readable now that had closed this long ago (`pipeline_window_emit_delay_seconds`, once for each).
    pub fn emitted(&self, windows: u64, delay: Duration) {
        let histogram = self.series().emit_delay.with_label_values(&[self.name()]);
        for _ in 0..windows {
            histogram.observe(delay.as_secs_f64());
        }
    }

    /// So many records were read again, silently (`pipeline_replayed_records_total`).
    pub fn replayed(&self, n: u64) {
        self.series().replayed.with_label_values(&[self.name()]).inc_by(n);
    }

    /// The sink is rid of so many rows (`pipeline_sink_rows_total`).
    pub fn sink_rows(&self, result: RowResult, n: u64) {
        self.series().sink_rows.with_label_values(&[result.name()]).inc_by(n);
    }

    /// Whether the database answered last (`pipeline_sink_db_up`). True if that is news.
    pub fn db_up(&self, up: bool) -> bool {
        self.series().db_up.with_label_values(&[&self.0.state.group]).set(i64::from(up));
        self.0.state.db_up(up)
    }

    fn place(&self, topic: &str, partition: i32) -> Place {
        let StageState { role, group, .. } = &*self.0.state;
        Place { stage: *role, group: group.clone(), topic: topic.into(), partition }
    }

    fn name(&self) -> &'static str {
        self.0.state.role.name()
    }

    fn series(&self) -> &Series {
        &self.0.metrics.0.series
    }

    fn live(&self) -> &Live {
        &self.0.metrics.0.live
    }
}

/// One partition that a stage owns. Dropped, its gauges go.
#[derive(Debug)]
pub struct PartitionMetrics {
    stage: StageMetrics,
    place: Place,
    seen: Arc<Seen>,
    counter: prometheus::IntCounter,
}

impl PartitionMetrics {
    /// So many records are done with (`pipeline_records_total`).
    pub fn records(&self, n: u64) {
        self.counter.inc_by(n);
    }

    /// What the partition has come to since its group began, as it is committed. What is new since the last such total
    /// is counted: also what a stage committed that was killed before it could say so. The first total of a partition,
    /// and the first after [`StageMetrics::moved`], only says where counting begins.
    pub fn total(&self, total: &Counts) {
        if let Some(before) = self.stage.live().total(&self.place, total.clone()) {
            let mut fresh = total.clone();
            fresh.subtract(&before);
            self.counted(&fresh);
        }
    }

    /// What a commit covered (`pipeline_records_total`, `pipeline_late_records_total`,
    /// `pipeline_skipped_total`, `pipeline_dlq_records_total`): this commit only.
    pub fn counted(&self, fresh: &Counts) {
        self.records(fresh.read);
        for (window, n) in &fresh.late_by_window {
            self.stage.late(window, *n);
        }
        for (reason, n) in &fresh.skipped {
            self.stage.skipped(reason, *n);
        }
        if fresh.duplicate > 0 {
            self.stage.skipped("duplicate", fresh.duplicate);
        }
        for (reason, n) in &fresh.dead {
            self.stage.dead(reason, *n);
        }
    }

    /// What can be seen of the partition now.
    pub fn look(&self, look: Look) {
        let Look { lag, last_ms, watermark, open_windows } = look;
        self.seen.lag.store(lag.unwrap_or(-1), Ordering::Relaxed);
        self.seen.last_ms.store(last_ms.unwrap_or(-1), Ordering::Relaxed);
        self.seen.watermark.store(watermark.unwrap_or(i64::MIN), Ordering::Relaxed);
        self.seen.open_windows.store(open_windows.map_or(-1, |n| n as i64), Ordering::Relaxed);
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        self.stage.live().left(&self.place, &self.seen);
    }
}

/// What can be seen of a partition at one moment; what isn't known is `None` and has no series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by the stages, with `..Look::default()`")]
pub struct Look {
    /// Records between the position and the end (`kafka_consumergroup_group_lag`).
    pub lag: Option<i64>,
    /// Timestamp of the last record read, in milliseconds: how far behind one is while there is a lag
    /// (`kafka_consumergroup_group_lag_seconds`).
    pub last_ms: Option<i64>,
    /// The watermark in microseconds, if it is a time (`pipeline_watermark_delay_seconds`).
    pub watermark: Option<i64>,
    /// How many windows are open (`pipeline_open_windows`).
    pub open_windows: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_705_312_200_000_000; // 2024-01-15T09:50:00Z

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|other| other == line)
    }

    #[test]
    fn what_a_stage_counts_is_there_by_name() {
        let metrics = Metrics::new();
        let stage = metrics.stage(Role::Aggregate, "clicks.aggregate");
        let parts = [0, 1].map(|partition| stage.partition("clicks", partition));
        let mut counts = Counts { read: 30, duplicate: 3, ..Counts::default() };
        counts.late_by_window.insert("gmv_1m".to_owned(), 2);
        counts.dead.insert("bad_json".into(), 1);
        counts.skipped.insert("no_price".into(), 4);
        parts[0].counted(&counts);
        parts[1].records(10);
        let (lag, last_ms) = (Some(7), Some(NOW / 1_000 - 2_500));
        parts[0].look(Look { lag, last_ms, watermark: Some(NOW - 5_250_000), open_windows: Some(3) });
        parts[1].look(Look { lag: Some(0), last_ms: Some(0), ..Look::default() });
        stage.replayed(5);
        stage.txn(Duration::from_millis(20));
        stage.emitted(2, Duration::from_millis(40));
        let sink = metrics.stage(Role::Sink, "clicks.sink");
        sink.sink_rows(RowResult::Present, 6);
        assert!(sink.db_up(true) && !sink.db_up(true) && sink.db_up(false));
        let text = metrics.render(&Numbers::default(), NOW);
        for line in [
            r#"pipeline_records_total{partition="0",stage="aggregate",topic="clicks"} 30"#,
            r#"pipeline_late_records_total{window="gmv_1m"} 2"#,
            r#"pipeline_dlq_records_total{reason="bad_json",stage="aggregate"} 1"#,
            r#"pipeline_skipped_total{reason="no_price",stage="aggregate"} 4"#,
            r#"pipeline_skipped_total{reason="duplicate",stage="aggregate"} 3"#,
            r#"pipeline_watermark_delay_seconds{partition="0",topic="clicks"} 5.25"#,
            r#"pipeline_open_windows{partition="0",topic="clicks"} 3"#,
            r#"pipeline_window_emit_delay_seconds_bucket{stage="aggregate",le="0.05"} 2"#,
            r#"pipeline_txn_seconds_count{stage="aggregate"} 1"#,
            r#"pipeline_replayed_records_total{stage="aggregate"} 5"#,
            r#"pipeline_partition_skew_ratio{stage="aggregate",topic="clicks"} 1.5"#,
            r#"pipeline_sink_rows_total{result="present"} 6"#,
            r#"pipeline_sink_db_up{group="clicks.sink"} 0"#,
            r#"kafka_consumergroup_group_lag{group="clicks.aggregate",partition="0",topic="clicks"} 7"#,
            r#"kafka_consumergroup_group_lag_seconds{group="clicks.aggregate",partition="0",topic="clicks"} 2.5"#,
            r#"kafka_consumergroup_group_lag_seconds{group="clicks.aggregate",partition="1",topic="clicks"} 0"#,
        ] {
            assert!(has(&text, line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains(r#"pipeline_watermark_delay_seconds{partition="1""#), "nobody knows it");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "nothing looks at how much time has passed")]
    fn a_partition_that_went_takes_its_gauges_and_leaves_its_counters() {
        let metrics = Metrics::new();
        let stage = metrics.stage(Role::Aggregate, "g");
        let first = stage.partition("clicks", 0);
        first.records(5);
        first.look(Look { lag: Some(1), ..Look::default() });
        // The next owner is here before the last one has let go.
        let second = metrics.stage(Role::Aggregate, "g").partition("clicks", 0);
        second.records(1);
        second.look(Look { lag: Some(9), ..Look::default() });
        drop((first, stage));
        let lag = r#"kafka_consumergroup_group_lag{group="g",partition="0",topic="clicks"} 9"#;
        assert!(has(&metrics.render(&Numbers::default(), NOW), lag));
        drop(second);
        let text = metrics.render(&Numbers::default(), NOW);
        assert!(!text.contains("group_lag{"), "{text}");
        assert!(has(&text, r#"pipeline_records_total{partition="0",stage="aggregate",topic="clicks"} 6"#));
        assert!(metrics.health(Instant::now()).is_empty());
    }

    #[test]
    fn a_total_counts_what_a_killed_stage_had_no_time_to_say() {
        let metrics = Metrics::new();
        let total = |read| Counts { read, ..Counts::default() };
        let is = |n| {
            let line = format!(r#"pipeline_records_total{{partition="0",stage="aggregate",topic="clicks"}} {n}"#);
            let text = metrics.render(&Numbers::default(), NOW);
            assert!(has(&text, &line), "{line}\nis not in\n{text}");
        };
        let stage = metrics.stage(Role::Aggregate, "g");
        let part = stage.partition("clicks", 0);
        part.total(&total(1_000)); // by others, before
        part.total(&total(1_010));
        is(10);
        drop((part, stage));
        let stage = metrics.stage(Role::Aggregate, "g");
        stage.partition("clicks", 0).total(&total(1_015));
        is(15);
        stage.moved("clicks", 0);
        let part = stage.partition("clicks", 0);
        part.total(&total(2_000));
        part.total(&total(2_001));
        is(16);
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "time is paused")]
    async fn a_stages_health_is_what_it_said_last() {
        let metrics = Metrics::new();
        let start = Instant::now();
        let stage = metrics.stage(Role::Sink, "clicks.sink");
        assert_eq!(metrics.health(start)[0].quiet, None);
        stage.alive(start);
        stage.joined(true);
        stage.db_up(false);
        let _part = stage.partition("clicks", 2);
        let health = metrics.health(start + Duration::from_secs(3)).remove(0);
        assert_eq!((health.role, health.quiet), (Role::Sink, Some(Duration::from_secs(3))));
        assert_eq!((health.joined, health.partitions, health.db_up), (true, 1, Some(false)));
    }

    #[test]
    fn two_pipelines_in_one_process_share_nothing() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.stage(Role::Merge, "g").dead("bad_field", 1);
        assert!(!other.render(&Numbers::default(), NOW).contains("pipeline_dlq_records_total"));
        assert!(one.clone().render(&Numbers::default(), NOW).contains("pipeline_dlq_records_total"));
    }
}
