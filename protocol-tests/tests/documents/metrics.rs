//! `docs/metrics.md`: every series of `/metrics` has a row, and every row a series.

use super::{quoted, read, rows};
use milena::pipeline::metrics::Metrics;
use std::collections::BTreeSet;

#[test]
fn every_series_of_the_pipeline_has_a_row_and_every_row_a_series() {
    let rows = rows(&read("docs/metrics.md"));
    let first = rows.iter().flat_map(|row| quoted(&row[0]));
    let ours = |name: &&str| name.starts_with("pipeline_") || name.starts_with("kafka_consumergroup_");
    let named: BTreeSet<&str> = first.filter(ours).collect();
    let metrics = Metrics::new();
    let there: BTreeSet<&str> = metrics.names().iter().copied().collect();
    let missing: Vec<_> = there.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}
