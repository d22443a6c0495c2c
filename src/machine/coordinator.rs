//! Which broker coordinates the group: looked up when it is not known, forgotten when a broker says that it is not the
//! one or can't be reached. A coordinator that is still loading is the right one, and is only given time.

use super::RequestId;
use super::backoff::Backoff;
use super::group::{GroupCall, GroupRequest, Out, To};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::ids::NodeId;
use crate::wire::group_requests::find_group_coordinator;
use crate::wire::messages::FindCoordinatorResponse;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lookup of one group's coordinator.
///
/// ```text
///          find()                  answer
/// Unknown --------> asked -----------------------> Known(node)
///    ^                |  retriable error               |
///    +---- backoff ---+                                |
///    +--------------------- lost(node) ----------------+
/// ```
#[derive(Debug)]
pub struct Coordinator {
    group_id: Arc<str>,
    node: Option<NodeId>,
    asked: Option<RequestId>,
    not_before: Option<Instant>,
    backoff: Backoff,
    timeout: Duration,
}

impl Coordinator {
    /// Not looked up yet. `timeout` is for one request.
    pub fn new(group_id: Arc<str>, timeout: Duration, backoff: Backoff) -> Self {
        Self { group_id, node: None, asked: None, not_before: None, backoff, timeout }
    }

    /// The coordinator, if known.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Looks it up, unless it is known, asked for, or it is too early to ask again.
    pub fn find(&mut self, now: Instant, out: &mut Out) {
        if self.node.is_some() || self.asked.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        let request = GroupRequest::FindCoordinator(find_group_coordinator(&self.group_id));
        self.asked = Some(out.ask(GroupCall { to: To::Any, timeout: self.timeout, request }));
    }

    /// `node` is not the coordinator, or can't be reached. Says nothing about one found since.
    pub fn lost(&mut self, now: Instant, node: NodeId) {
        if self.node == Some(node) {
            self.node = None;
            // The broker that answers next may not have heard of the move either.
            self.not_before = Some(now + self.backoff.next_wait());
        }
    }

    /// A request to the coordinator was answered as it should be.
    pub fn works(&mut self) {
        self.backoff.reset();
    }

    /// Whether this is the lookup's answer.
    pub fn is_asked(&self, id: RequestId) -> bool {
        self.asked == Some(id)
    }

    /// The answer.
    ///
    /// # Errors
    /// What no further lookup can cure.
    pub fn on_answer(&mut self, now: Instant, answer: Result<FindCoordinatorResponse, Error>) -> Result<(), Error> {
        self.asked = None;
        let error = match answer.map(|answer| answer.coordinators.into_iter().next()) {
            Ok(Some(found)) => match ErrorCode::from_wire(found.error_code) {
                None if found.node_id.0 >= 0 => {
                    self.node = Some(NodeId(found.node_id.0));
                    return Ok(());
                }
                None => Error::broker(ErrorCode::CoordinatorNotAvailable),
                Some(code) => Error::broker(code),
            },
            Ok(None) => Error::with_message(ErrorKind::Malformed, "no coordinator in the answer"),
            Err(error) => error,
        };
        if !error.is_retriable() {
            return Err(error.api("FindCoordinator"));
        }
        tracing::debug!(group = %self.group_id, %error, "coordinator not found, will ask again");
        self.not_before = Some(now + self.backoff.next_wait());
        Ok(())
    }

    /// When to call [`find`](Self::find) again, if someone still wants to know.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.node.is_none() && self.asked.is_none())
    }
}
