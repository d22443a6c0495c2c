//! What `grafana/` names is what `/metrics` has, and the other way round.

use milena::pipeline::metrics::Metrics;
use std::{collections::BTreeSet, fs, path::Path};

/// Everything in the text that looks like a metric of ours, histograms by their own name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with("pipeline_") || word.starts_with("kafka_consumergroup_"));
    metrics.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn dashboard_and_alerts_name_every_metric_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana");
    let read = |file| fs::read_to_string(folder.join(file)).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&read("pipeline.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let metrics = Metrics::new();
    let there: BTreeSet<_> = metrics.names().iter().map(|name| (*name).to_owned()).collect();
    assert!(there.len() > 14, "{there:?}");
    assert_eq!(named(&expressions.join(" ")), there, "the dashboard's panels");
    let alerts = read("alerts.yml");
    let unknown: Vec<_> = named(&alerts).difference(&there).cloned().collect();
    assert!(unknown.is_empty(), "alerts name what is not there: {unknown:?}");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let runbooks = alerts.matches("runbook: ").count();
    assert_eq!(runbooks, alerts.matches("- alert: ").count(), "an alert says what to do");
}
