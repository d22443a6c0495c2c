//! [`Client::metrics`]: its connections, by node.

use super::Client;
use crate::ids::NodeId;
use crate::metrics::{Histogram, Metric, Metrics, Visit};
use std::collections::BTreeMap;

/// A picture of a client's connections at one moment; those of its producers, consumers and admins are among them. Counts are
/// since the client was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientMetrics {
    /// By node; `None` has the connections to bootstrap addresses, of which it is not known whose they are.
    pub nodes: BTreeMap<Option<NodeId>, NodeMetrics>,
    /// How many answers to Metadata there have been.
    pub metadata_generation: u64,
    /// Tasks that have not ended.
    pub live_tasks: usize,
}

/// The connections to one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeMetrics {
    /// Connections on which the broker has answered ApiVersions, those that ended since included.
    pub connections_opened: u64,
    /// Of these, those that ended.
    pub connections_closed: u64,
    /// Attempts that led to no connection.
    pub connections_failed: u64,
    /// Of these, those on which we were not let in (wrong password, mechanism that is not enabled).
    pub authentications_failed: u64,
    /// Bytes written, without TLS around them.
    pub bytes_sent: u64,
    /// Bytes read, without TLS around them.
    pub bytes_received: u64,
    /// Requests handed to sockets.
    pub requests_sent: u64,
    /// Produce requests among them; one that is sent again counts again.
    pub produce_requests_sent: u64,
    /// Requests that have no answer yet.
    pub requests_in_flight: u64,
    /// Microseconds from a request to its answer. Fetches and JoinGroups, which the broker may park for long, are among them.
    pub request_latency: Histogram,
}

impl Client {
    /// How its connections stand. Cheap, and asks nobody.
    pub fn metrics(&self) -> ClientMetrics {
        let nodes = self.inner.brokers.traffic().into_iter().map(|(node, traffic)| {
            let metrics = NodeMetrics {
                connections_opened: traffic.opened.get(),
                connections_closed: traffic.closed.get(),
                connections_failed: traffic.failed.get(),
                authentications_failed: traffic.denied.get(),
                bytes_sent: traffic.sent.get(),
                bytes_received: traffic.received.get(),
                requests_sent: traffic.requests.get(),
                produce_requests_sent: traffic.produce_requests.get(),
                requests_in_flight: traffic.in_flight.get(),
                request_latency: traffic.request_latency.get(),
            };
            (node, metrics)
        });
        let metadata_generation = self.cluster().generation;
        ClientMetrics { nodes: nodes.collect(), metadata_generation, live_tasks: self.live_tasks() }
    }
}

impl Metrics for ClientMetrics {
    fn visit(&self, each: &mut dyn FnMut(Metric<'_>)) {
        for (node, metrics) in &self.nodes {
            let id = node.map_or_else(|| "bootstrap".to_owned(), |node| node.to_string());
            let labels = [("node-id", id.as_str())];
            let mut visit = Visit::new(each, &labels);
            let open = metrics.connections_opened.saturating_sub(metrics.connections_closed);
            visit.gauge("node-metrics/connection-count", "open connections", open as f64);
            visit.counter(
                "node-metrics/connection-creation-total",
                "connections that were opened",
                metrics.connections_opened,
            );
            visit.counter("node-metrics/connection-close-total", "connections that ended", metrics.connections_closed);
            visit.counter("node-metrics/connection-failed-total", "attempts in vain", metrics.connections_failed);
            visit.counter(
                "node-metrics/failed-authentication-total",
                "attempts that the broker refused",
                metrics.authentications_failed,
            );
            visit.counter("node-metrics/outgoing-byte-total", "bytes written", metrics.bytes_sent);
            visit.counter("node-metrics/incoming-byte-total", "bytes read", metrics.bytes_received);
            visit.counter("node-metrics/request-total", "requests sent", metrics.requests_sent);
            visit.gauge("node-metrics/requests-in-flight", "requests not answered", metrics.requests_in_flight as f64);
            visit.histogram(
                "node-metrics/request-latency-us",
                "microseconds from a request to its answer",
                &metrics.request_latency,
            );
        }
        Visit::new(each, &[]).gauge("client-metrics/live-tasks", "tasks that have not ended", self.live_tasks as f64);
    }
}
