//! To the `metrics` facade, for whatever recorder is installed (Prometheus, StatsD, …).

use super::{Histogram, Metric, Metrics, Value};
use metrics::{Label, counter, describe_counter, describe_gauge, gauge};
use std::collections::{BTreeMap, HashSet};

/// Gives pictures to the [`metrics`](https://docs.rs/metrics) facade.
///
/// `producer-metrics/record-send-total` becomes `kafka_producer_metrics_record_send_total`. Of a histogram the facade gets the
/// counters `…_count` and `…_sum`, and the gauges `…{quantile="0.5"|"0.99"|"1"}` of what came since the last time: the
/// facade takes single values only, and there is one per batch or request.
///
/// ```no_run
/// # async fn example(client: milena::client::Client, producer: milena::producer::Producer) {
/// let mut exporter = milena::metrics::Exporter::new();
/// loop {
///     exporter.export(&[("client-id", "orders")], &client.metrics());
///     exporter.export(&[("client-id", "orders")], &producer.metrics());
///     tokio::time::sleep(std::time::Duration::from_secs(10)).await;
/// }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Exporter {
    described: HashSet<&'static str>,
    last: BTreeMap<Series, Histogram>,
    /// By the labels given with pictures: the gauges that they had last.
    gauges: BTreeMap<Vec<(&'static str, String)>, HashSet<Series>>,
}

/// Name and labels.
type Series = (&'static str, Vec<(String, String)>);

const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.99", 0.99), ("1", 1.0)];

impl Exporter {
    /// One that has told nothing yet. One is enough for any number of clients, if their labels differ.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the installed recorder what `picture` has, each under these labels and its own. A gauge that an earlier picture of
    /// the kind under the same labels had, and this one has not (of a partition that went elsewhere), becomes NaN.
    pub fn export(&mut self, labels: &[(&'static str, &str)], picture: &dyn Metrics) {
        let owner: Vec<_> = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut gauges = self.gauges.remove(&owner).unwrap_or_default();
        let (mut seen, mut groups) = (HashSet::new(), HashSet::new());
        picture.visit(&mut |metric| {
            groups.insert(group(metric.name));
            if matches!(metric.value, Value::Gauge(_)) {
                seen.insert(series(labels, &metric));
            }
            self.one(labels, &metric);
        });
        for (kafkas, labels) in gauges.extract_if(|series| groups.contains(group(series.0)) && !seen.contains(series)) {
            let labels: Vec<Label> = labels.into_iter().map(|(key, value)| label(&key, value)).collect();
            gauge!(name(kafkas), labels).set(f64::NAN);
        }
        gauges.extend(seen);
        self.gauges.insert(owner, gauges);
    }

    fn one(&mut self, labels: &[(&'static str, &str)], metric: &Metric<'_>) {
        let name = name(metric.name);
        let series = series(labels, metric);
        let labels: Vec<Label> = series.1.iter().map(|(key, value)| label(key, value.clone())).collect();
        let is_new = self.described.insert(metric.name);
        match metric.value {
            Value::Counter(count) => {
                if is_new {
                    describe_counter!(name.clone(), metric.help);
                }
                counter!(name, labels).absolute(count);
            }
            Value::Gauge(value) => {
                if is_new {
                    describe_gauge!(name.clone(), metric.help);
                }
                gauge!(name, labels).set(value);
            }
            Value::Histogram(histogram) => {
                if is_new {
                    describe_gauge!(name.clone(), metric.help);
                }
                counter!(format!("{name}_count"), labels.clone()).absolute(histogram.count());
                counter!(format!("{name}_sum"), labels.clone()).absolute(histogram.sum());
                let before = self.last.insert(series, histogram.clone()).unwrap_or_default();
                let between = histogram.since(&before);
                for (text, q) in QUANTILES {
                    let mut labels = labels.clone();
                    labels.push(Label::new("quantile", text));
                    gauge!(name.clone(), labels).set(between.quantile(q).map_or(f64::NAN, |value| value as f64));
                }
            }
        }
    }
}

fn series(labels: &[(&'static str, &str)], metric: &Metric<'_>) -> Series {
    let all = labels.iter().chain(metric.labels);
    (metric.name, all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

/// `producer-metrics` of `producer-metrics/record-send-total`.
fn group(kafkas: &str) -> &str {
    kafkas.split('/').next().unwrap_or(kafkas)
}

fn label(key: &str, value: String) -> Label {
    Label::new(key.replace('-', "_"), value)
}

fn name(kafkas: &str) -> String {
    format!("kafka_{}", kafkas.replace(['-', '/'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AtomicHistogram, Visit};
    use metrics::{Counter, CounterFn, Gauge, GaugeFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Default, Clone)]
    struct Seen(Arc<Mutex<BTreeMap<String, f64>>>);

    #[derive(Debug)]
    struct Handle(Seen, String);

    impl Handle {
        fn new(seen: &Seen, key: &Key) -> Arc<Self> {
            let labels: String = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
            Arc::new(Self(seen.clone(), format!("{}{labels}", key.name())))
        }

        fn put(&self, value: f64) {
            self.0.0.lock().unwrap().insert(self.1.clone(), value);
        }
    }

    impl CounterFn for Handle {
        fn increment(&self, _: u64) {
            panic!("counts are told as they are");
        }

        fn absolute(&self, value: u64) {
            self.put(value as f64);
        }
    }

    impl GaugeFn for Handle {
        fn increment(&self, _: f64) {
            panic!("gauges are set");
        }

        fn decrement(&self, _: f64) {
            panic!("gauges are set");
        }

        fn set(&self, value: f64) {
            self.put(value);
        }
    }

    impl Recorder for Seen {
        fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
            self.0.lock().unwrap().insert(format!("{}: {help}", key.as_str()), 0.0);
        }

        fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
            self.describe_counter(key, unit, help);
        }

        fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
            self.describe_counter(key, unit, help);
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Handle::new(self, key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Handle::new(self, key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
            panic!("single values are not told");
        }
    }

    struct Picture(Histogram, &'static [&'static str]);

    impl Metrics for Picture {
        fn visit(&self, each: &mut dyn FnMut(Metric<'_>)) {
            let mut visit = Visit::new(each, &[("node-id", "1")]);
            visit.counter("node-metrics/request-total", "requests", self.0.count());
            visit.gauge("node-metrics/connection-count", "connections", 2.0);
            visit.histogram("node-metrics/request-latency-us", "latency", &self.0);
            for partition in self.1 {
                Visit::new(each, &[("partition", partition)]).gauge("fetch/records-lag", "lag", 7.0);
            }
        }
    }

    #[test]
    fn the_facade_gets_totals_and_quantiles_of_the_time_between() {
        let (seen, histogram, mut exporter) = (Seen::default(), AtomicHistogram::default(), Exporter::new());
        metrics::with_local_recorder(&seen, || {
            histogram.record(1000);
            exporter.export(&[("client-id", "a")], &Picture(histogram.get(), &["0", "1"]));
            histogram.record(3);
            exporter.export(&[("client-id", "a")], &Picture(histogram.get(), &["1"]));
        });
        let seen = seen.0.lock().unwrap();
        let labels = "client_id=a node_id=1";
        assert_eq!(seen["kafka_node_metrics_request_total: requests"], 0.0);
        assert_eq!(seen[&format!("kafka_node_metrics_request_total {labels}")], 2.0);
        assert_eq!(seen[&format!("kafka_node_metrics_connection_count {labels}")], 2.0);
        assert_eq!(seen[&format!("kafka_node_metrics_request_latency_us_count {labels}")], 2.0);
        assert_eq!(seen[&format!("kafka_node_metrics_request_latency_us_sum {labels}")], 1003.0);
        assert_eq!(seen["kafka_fetch_records_lag client_id=a partition=1"], 7.0);
        assert!(seen["kafka_fetch_records_lag client_id=a partition=0"].is_nan(), "that partition has gone");
        for quantile in ["0.5", "0.99", "1"] {
            let name = format!("kafka_node_metrics_request_latency_us {labels} quantile={quantile}");
            assert_eq!(seen[&name], 3.0, "the first value was told before");
        }
    }
}
