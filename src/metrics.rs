//! What clients, producers and consumers count: [`Client::metrics`](crate::client::Client::metrics),
//! [`Producer::metrics`](crate::producer::Producer::metrics), [`Consumer::metrics`](crate::consumer::Consumer::metrics).
//!
//! Each gives a value that is a picture of one moment: counts since the beginning, and gauges. It costs a few reads and asks
//! nobody. Whoever wants rates takes two pictures; [`Histogram::since`] is what lies between two.
//!
//! Every one is a [`Metrics`] too: it tells what it has under Kafka's names (those of the Java client's MBeans, as its
//! documentation lists them), for whatever one exports to. With the feature `metrics` `Exporter` gives them to the `metrics`
//! facade.

#[cfg(feature = "metrics")]
mod export;
mod histogram;

#[cfg(feature = "metrics")]
pub use export::Exporter;
pub(crate) use histogram::AtomicHistogram;
pub use histogram::Histogram;

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that tells its figures one by one.
pub trait Metrics {
    /// Calls `each` with every figure.
    fn visit(&self, each: &mut dyn FnMut(Metric<'_>));
}

/// One figure.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Metric<'a> {
    /// Kafka's group and name, with a slash between: `producer-metrics/record-send-total`. Where Kafka has an average and a
    /// maximum (`-avg`, `-max`) there is a histogram under the name without the ending. Latencies are in microseconds, where
    /// Kafka has milliseconds: the names say so.
    pub name: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
    /// What distinguishes it from others of the name: `node-id`, `topic`, `partition`.
    pub labels: &'a [(&'static str, &'a str)],
    /// How much.
    pub value: Value<'a>,
}

/// The value of a [`Metric`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Value<'a> {
    /// It only grows.
    Counter(u64),
    /// It goes up and down.
    Gauge(f64),
    /// A distribution since the beginning.
    Histogram(&'a Histogram),
}

/// A visit under one set of labels.
pub(crate) struct Visit<'a> {
    each: &'a mut dyn FnMut(Metric<'_>),
    labels: &'a [(&'static str, &'a str)],
}

impl<'a> Visit<'a> {
    pub(crate) fn new(each: &'a mut dyn FnMut(Metric<'_>), labels: &'a [(&'static str, &'a str)]) -> Self {
        Self { each, labels }
    }

    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str, count: u64) {
        (self.each)(Metric { name, help, labels: self.labels, value: Value::Counter(count) });
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        (self.each)(Metric { name, help, labels: self.labels, value: Value::Gauge(value) });
    }

    pub(crate) fn histogram(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        (self.each)(Metric { name, help, labels: self.labels, value: Value::Histogram(histogram) });
    }
}

/// A count that many add to and others read; nothing else depends on its order.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
