//! Which broker coordinates a group or a transactional id: looked up when it is not known, forgotten when a broker says
//! that it is not the one or can't be reached. A coordinator that is still loading is the right one, and is only given
//! time.

use super::RequestId;
use super::backoff::Backoff;
use crate::error::{Error, ErrorCode};
use crate::ids::{CoordinatorKey, NodeId};
use std::time::Instant;

/// The lookup of one coordinator.
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
    key: CoordinatorKey,
    node: Option<NodeId>,
    asked: Option<RequestId>,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Coordinator {
    /// Not looked up yet.
    pub fn new(key: CoordinatorKey, backoff: Backoff) -> Self {
        Self { key, node: None, asked: None, not_before: None, backoff }
    }

    /// The coordinator, if known.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Looks it up by `ask`, unless it is known, asked for, or it is too early to ask again.
    pub fn find(&mut self, now: Instant, ask: impl FnOnce(CoordinatorKey) -> RequestId) {
        if self.node.is_some() || self.asked.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        self.asked = Some(ask(self.key.clone()));
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
    pub fn on_answer(&mut self, now: Instant, answer: Result<NodeId, Error>) -> Result<(), Error> {
        self.asked = None;
        let error = match answer {
            Ok(node) if node.0 >= 0 => {
                self.node = Some(node);
                return Ok(());
            }
            Ok(_) => Error::broker(ErrorCode::CoordinatorNotAvailable),
            Err(error) => error,
        };
        if !error.is_retriable() {
            return Err(error.api("FindCoordinator"));
        }
        tracing::debug!(key = ?self.key, %error, "coordinator not found, will ask again");
        self.not_before = Some(now + self.backoff.next_wait());
        Ok(())
    }

    /// When to call [`find`](Self::find) again, if someone still wants to know.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.node.is_none() && self.asked.is_none())
    }
}
