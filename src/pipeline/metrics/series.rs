//! The names of Prometheus's series, and their registry.

use crate::pipeline::{
    board::Numbers,
    metrics::live::{Gauges, Live, Seen},
};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
    proto::MetricFamily,
};
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

/// Seconds that a transaction, or a closed window until it can be read, may take.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug)]
pub(super) struct Series {
    registry: Registry,
    /// All names, in the order of registration.
    names: Vec<&'static str>,
    records: IntCounterVec,
    pub(super) late: IntCounterVec,
    pub(super) dlq: IntCounterVec,
    pub(super) skipped: IntCounterVec,
    watermark_delay: GaugeVec,
    open_windows: IntGaugeVec,
    pub(super) emit_delay: HistogramVec,
    pub(super) txn: HistogramVec,
    pub(super) replayed: IntCounterVec,
    skew: GaugeVec,
    pub(super) sink_rows: IntCounterVec,
    pub(super) db_up: IntGaugeVec,
    lag: IntGaugeVec,
    lag_seconds: GaugeVec,
    pub(super) starts: IntCounterVec,
    finals: IntCounterVec,
    window_events: IntGaugeVec,
    window_cents: IntGaugeVec,
    top: IntGaugeVec,
    /// Held while the gauges are made and read.
    gathering: Mutex<()>,
}

impl Default for Series {
    fn default() -> Self {
        let registry = Registry::new();
        let add = Add(&registry, RefCell::default());
        Self {
            records: add.counter(
                "pipeline_records_total",
                "Records that a stage is done with: written by the clickstream, committed by the others.",
                &["stage", "topic", "partition"],
            ),
            late: add.counter(
                "pipeline_late_records_total",
                "Events that came after this window's interval had closed.",
                &["window"],
            ),
            dlq: add.counter(
                "pipeline_dlq_records_total",
                "Records sent to the dead letter queue.",
                &["stage", "reason"],
            ),
            skipped: add.counter(
                "pipeline_skipped_total",
                "Valid records that a stage doesn't look for.",
                &["stage", "reason"],
            ),
            watermark_delay: add.gauge(
                "pipeline_watermark_delay_seconds",
                "How far an input partition's watermark is behind the wall clock.",
                &["topic", "partition"],
            ),
            open_windows: add.int_gauge(
                "pipeline_open_windows",
                "Windows that are open in an input partition.",
                &["topic", "partition"],
            ),
            emit_delay: add.histogram(
                "pipeline_window_emit_delay_seconds",
                "From a window's closing until its rows can be read.",
                &["stage"],
            ),
            txn: add.histogram("pipeline_txn_seconds", "How long a transaction took, its commit included.", &["stage"]),
            replayed: add.counter(
                "pipeline_replayed_records_total",
                "Records read again after an assignment, to have the open windows back.",
                &["stage"],
            ),
            skew: add.gauge(
                "pipeline_partition_skew_ratio",
                "The busiest partition's records over the average partition's; 1 is even.",
                &["stage", "topic"],
            ),
            sink_rows: add.counter("pipeline_sink_rows_total", "Rows that the sink was rid of.", &["result"]),
            db_up: add.int_gauge(
                "pipeline_sink_db_up",
                "Whether the sink's database answered last: 1, or 0.",
                &["group"],
            ),
            lag: add.int_gauge(
                "kafka_consumergroup_group_lag",
                "Records between a group's position and a partition's end.",
                &["group", "topic", "partition"],
            ),
            lag_seconds: add.gauge(
                "kafka_consumergroup_group_lag_seconds",
                "Age of the last record read while there is a lag, else 0.",
                &["group", "topic", "partition"],
            ),
            starts: add.counter(
                "pipeline_stage_starts_total",
                "How often a stage has begun; more than once is a restart.",
                &["stage"],
            ),
            finals: add.counter("pipeline_final_windows_total", "Windows that are final over all partitions.", &[]),
            window_events: add.int_gauge(
                "pipeline_window_events",
                "Events in the newest window without a key: the newest that is open, or final.",
                &["window", "state"],
            ),
            window_cents: add.int_gauge(
                "pipeline_window_sum_cents",
                "Money in the newest window without a key: the newest that is open, or final.",
                &["window", "state"],
            ),
            top: add.int_gauge(
                "pipeline_window_top",
                "The greatest counts of the newest final window.",
                &["window", "key"],
            ),
            gathering: Mutex::new(()),
            names: add.1.take(),
            registry,
        }
    }
}

impl Series {
    pub(super) fn records(&self, stage: &str, topic: &str, partition: i32) -> IntCounter {
        self.records.with_label_values(&[stage, topic, &partition.to_string()])
    }

    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// All families, with the gauges as they are at this moment.
    pub(super) fn gather(&self, live: &Live, board: &Numbers, now_micros: i64) -> Vec<MetricFamily> {
        let _alone = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        self.lag.reset();
        self.lag_seconds.reset();
        self.watermark_delay.reset();
        self.open_windows.reset();
        for (place, seen) in live.partitions().iter() {
            let number = place.partition.to_string();
            let (group, topic, partition) = (&*place.group, &*place.topic, number.as_str());
            self.partition(seen, [group, topic, partition], now_micros);
        }
        for (stage, topic, ratio) in live.skew() {
            self.skew.with_label_values(&[stage.name(), &topic]).set(ratio);
        }
        self.windows(board);
        self.registry.gather()
    }

    /// Oldest first, so that the newest stays.
    fn windows(&self, board: &Numbers) {
        self.window_events.reset();
        self.window_cents.reset();
        self.top.reset();
        let finals = board.finals.iter().map(|row| (&row.window, "final", row.count, row.sum_cents));
        let open = board.open.iter().map(|row| (&row.window, "open", row.count, row.sum_cents));
        for (window, state, count, cents) in finals.chain(open) {
            self.window_events.with_label_values(&[window, state]).set(count);
            self.window_cents.with_label_values(&[window, state]).set(cents);
        }
        for entry in board.tops.values().flat_map(|top| top.top.iter().map(move |entry| (&top.window, entry))) {
            let (window, place) = entry;
            self.top.with_label_values(&[window, &place.key]).set(place.count);
        }
        let finals = self.finals.with_label_values::<&str>(&[]);
        finals.inc_by(board.windows_final.saturating_sub(finals.get()));
    }

    fn partition(&self, seen: &Seen, [group, topic, partition]: [&str; 3], now_micros: i64) {
        let Gauges { lag, lag_seconds, watermark_delay, open_windows } = seen.gauges(now_micros);
        if let Some(lag) = lag {
            self.lag.with_label_values(&[group, topic, partition]).set(lag);
        }
        if let Some(behind) = lag_seconds {
            self.lag_seconds.with_label_values(&[group, topic, partition]).set(behind);
        }
        if let Some(delay) = watermark_delay {
            self.watermark_delay.with_label_values(&[topic, partition]).set(delay);
        }
        if let Some(open) = open_windows {
            self.open_windows.with_label_values(&[topic, partition]).set(open);
        }
    }
}

/// Makes series and registers them. The names are constants of this file, and a test makes them all.
struct Add<'a>(&'a Registry, RefCell<Vec<&'static str>>);

#[allow(clippy::expect_used, reason = "names and labels are constants of this file; any test makes them all")]
impl Add<'_> {
    fn counter(&self, name: &'static str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(name, IntCounterVec::new(Opts::new(name, help), labels).expect("a name of ours"))
    }

    fn gauge(&self, name: &'static str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(name, GaugeVec::new(Opts::new(name, help), labels).expect("a name of ours"))
    }

    fn int_gauge(&self, name: &'static str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(name, IntGaugeVec::new(Opts::new(name, help), labels).expect("a name of ours"))
    }

    fn histogram(&self, name: &'static str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.register(name, HistogramVec::new(opts, labels).expect("a name of ours"))
    }

    fn register<C: Collector + Clone + 'static>(&self, name: &'static str, series: C) -> C {
        self.1.borrow_mut().push(name);
        self.0.register(Box::new(series.clone())).expect("each name once");
        series
    }
}
