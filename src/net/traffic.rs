//! What crosses the connections to one node.

use crate::metrics::{AtomicHistogram, Count};

/// Shared by all connections to it, whatever they are for.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(crate) opened: Count,
    pub(crate) closed: Count,
    pub(crate) failed: Count,
    /// Of those that failed: we were not let in.
    pub(crate) denied: Count,
    /// Bytes.
    pub(crate) sent: Count,
    pub(crate) received: Count,
    pub(crate) requests: Count,
    pub(crate) produce_requests: Count,
    pub(crate) in_flight: Count,
    /// Microseconds, from handing a request to the connection's task to its answer; parked Fetches and JoinGroups with the others.
    pub(crate) request_latency: AtomicHistogram,
}
