//! `docs/metrics.md`: every figure has a row, and every row a figure; of the library, by Kafka's names, and of `/metrics`.

use super::{quoted, read, rows};
use milena::client::{ClientMetrics, NodeMetrics};
use milena::consumer::{ConsumerMetrics, PartitionMetrics};
use milena::metrics::Metrics;
use milena::pipeline;
use milena::producer::ProducerMetrics;
use std::collections::BTreeSet;

fn check(is_one: impl Fn(&str) -> bool, there: &BTreeSet<String>) {
    let rows = rows(&read("docs/metrics.md"));
    let first = rows.iter().flat_map(|row| quoted(&row[0]));
    let named: BTreeSet<String> = first.filter(|name| is_one(name)).map(str::to_owned).collect();
    let missing: Vec<_> = there.difference(&named).collect();
    let unknown: Vec<_> = named.difference(there).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn every_figure_of_the_library_has_a_row_and_every_row_a_figure() {
    let (mut client, mut consumer) = (ClientMetrics::default(), ConsumerMetrics::default());
    client.nodes.insert(None, NodeMetrics::default());
    let mut partition = PartitionMetrics::default();
    (partition.lag, partition.position) = (Some(1), Some(1));
    consumer.partitions.insert(("t", 0).into(), partition);
    let mut there = BTreeSet::new();
    for picture in [&client as &dyn Metrics, &ProducerMetrics::default(), &consumer] {
        picture.visit(&mut |metric| {
            there.insert(metric.name.to_owned());
        });
    }
    assert!(there.len() > 30, "{there:?}");
    check(|name| name.contains('/'), &there);
}

#[test]
fn every_series_of_the_pipeline_has_a_row_and_every_row_a_series() {
    let metrics = pipeline::metrics::Metrics::new();
    let there = metrics.names().iter().map(|name| (*name).to_owned()).collect();
    check(|name| name.starts_with("pipeline_") || name.starts_with("kafka_consumergroup_"), &there);
}
