//! The page that shows a pipeline: one document, its style and its script, in the binary, asking only this server.
//!
//! All its numbers are metrics: `/numbers.json` is made of the same families as `/metrics`. What the board adds is which
//! windows there were, for the charts; of those the newest are metrics, too.

mod controls;

use crate::pipeline::{
    board::Numbers,
    metrics::{Metrics, StageHealth},
};
pub use controls::Controls;
use prometheus::proto::{MetricFamily, MetricType};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The document.
pub(super) const PAGE: &str = include_str!("dashboard/page.html");
/// Its style.
pub(super) const STYLE: &str = include_str!("dashboard/page.css");
/// Its script.
pub(super) const SCRIPT: &str = include_str!("dashboard/page.js");

/// What `/numbers.json` says.
#[derive(Debug, Serialize)]
struct Page<'a> {
    now_ms: i64,
    phase: &'a str,
    /// Every metric that isn't a histogram: by name, the samples.
    metrics: BTreeMap<String, Vec<Sample>>,
    stages: Vec<StageLine>,
    /// Windows that sum, oldest first.
    windows: Vec<WindowLine<'a>>,
    tops: Vec<&'a crate::pipeline::rows::TopRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    demo: Option<DemoLine<'a>>,
}

#[derive(Debug, Serialize)]
struct Sample {
    #[serde(flatten)]
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Debug, Serialize)]
struct StageLine {
    stage: &'static str,
    joined: bool,
    partitions: usize,
    db_up: Option<bool>,
}

#[derive(Debug, Serialize)]
struct WindowLine<'a> {
    window: &'a str,
    start_ms: i64,
    count: i64,
    sum_cents: i64,
    is_final: bool,
}

#[derive(Debug, Serialize)]
struct DemoLine<'a> {
    bootstrap: Option<&'a str>,
    kills: u64,
    database_away: bool,
}

/// The page's numbers as of `now_micros` of the wall clock and `now`.
pub(super) fn numbers(
    metrics: &Metrics,
    board: &Numbers,
    controls: Option<&Controls>,
    now_micros: i64,
    now: Instant,
) -> String {
    let finals = board.finals.iter().map(|row| WindowLine {
        window: &row.window,
        start_ms: row.start_ms,
        count: row.count,
        sum_cents: row.sum_cents,
        is_final: true,
    });
    let open = board.open.iter().map(|row| WindowLine {
        window: &row.window,
        start_ms: row.start_ms,
        count: row.count,
        sum_cents: row.sum_cents,
        is_final: false,
    });
    let page = Page {
        now_ms: now_micros / 1_000,
        phase: board.phase,
        metrics: metrics.gather(board, now_micros).iter().filter_map(samples).collect(),
        stages: metrics.health(now).iter().map(stage_line).collect(),
        windows: finals.chain(open).collect(),
        tops: board.tops.values().collect(),
        demo: controls.map(|controls| DemoLine {
            bootstrap: controls.bootstrap(),
            kills: controls.kills(),
            database_away: controls.is_database_away(),
        }),
    };
    serde_json::to_string(&page).unwrap_or_default()
}

fn stage_line(health: &StageHealth) -> StageLine {
    let StageHealth { role, joined, partitions, db_up, .. } = *health;
    StageLine { stage: role.name(), joined, partitions, db_up }
}

fn samples(family: &MetricFamily) -> Option<(String, Vec<Sample>)> {
    let kind = family.get_field_type();
    if kind == MetricType::HISTOGRAM {
        return None;
    }
    let samples = family.get_metric().iter().map(|metric| Sample {
        labels: metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect(),
        value: match kind {
            MetricType::COUNTER => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        },
    });
    Some((family.name().to_owned(), samples.collect()))
}
