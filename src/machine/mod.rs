//! The protocol as sans-IO state machines: `now` comes in; requests, events and deadlines go out. No socket, clock or
//! task in here, and no randomness but from a seed. `net::drive` gives a machine its clock and its caller.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `backoff` | how long to wait before the next try |
//! | `negotiation` | which versions a broker speaks |
//! | `sasl` | what is said of who we are, and when it is said again |
//! | `connection` | which answer belongs to which request, when to give a connection up |
//! | `group` | a consumer's side of its group: membership, assignors, and the machine of it all |
//! | `coordinator` | which broker coordinates a group or a transactional id |
//! | `offset_commit`, `offset_fetch` | what is committed, in which order, and read back |
//! | `metadata` | what the cluster looks like, when to ask again |
//! | `subscription` | what a consumer reads, how far, and where a position comes from |
//! | `fetcher` | what to fetch from whom, what an answer changes, what is handed out next |
//! | `fetch_session` | what of a Fetch a broker knows already, so that it is not said again |
//! | `completed_fetch` | which batches of an answer an application sees |
//! | `accumulator` | records into batches, on the caller's task; memory |
//! | `batch` | one batch from its first record to its outcome |
//! | `partitioner` | which partition a record goes to |
//! | `sender` | which batch goes to which broker when, and what an answer means |
//! | `transaction` | a transactional producer's side of its transactions |
//! | `sync` | the accumulator's locks: the standard library's, or those of its model test |

pub mod accumulator;
pub mod backoff;
pub mod batch;
mod completed_fetch;
pub mod connection;
pub mod coordinator;
pub mod fetch_session;
pub mod fetcher;
pub mod group;
pub mod metadata;
pub mod negotiation;
pub mod offset_commit;
pub mod offset_fetch;
pub mod partitioner;
pub mod sasl;
pub mod sender;
pub mod subscription;
mod sync;
pub mod transaction;

use crate::error::Error;
use std::time::Instant;

/// Names one request, so that its answer can't be taken for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A protocol state machine.
///
/// The contract, *single mutation*: one mutation (`handle_*`, or a command of the concrete type), then drain
/// `poll_request` and `poll_event` to `None`, then wait for `poll_timeout`.
pub trait Machine {
    /// What it asks of a broker.
    type Request;
    /// What a broker answers.
    type Response;
    /// What it tells the application.
    type Event;

    /// The answer to a request of `poll_request`, or why there is none.
    fn handle_response(&mut self, now: Instant, id: RequestId, response: Result<Self::Response, Error>);
    /// The deadline of `poll_timeout` has passed.
    fn handle_timeout(&mut self, now: Instant);
    /// Every handle is gone: finish what must be finished, then be closed.
    fn handle_abandoned(&mut self, now: Instant);
    /// The next request to send.
    fn poll_request(&mut self) -> Option<(RequestId, Self::Request)>;
    /// The next thing to tell the application.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// When `handle_timeout` is to be called at the latest.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Nothing more will come out. Answers still under way no longer matter.
    fn is_closed(&self) -> bool;
}

/// Where the time comes from, for the two hot paths that can't be handed `now` with each record.
pub trait Clock: Send + Sync {
    /// Monotonic.
    fn now(&self) -> Instant;
    /// Wall time in milliseconds since 1970; cheap enough for each record.
    fn unix_millis(&self) -> i64;
}

/// Threads for work that would keep a task from others for long.
pub trait Offload: Send + Sync {
    /// Runs it there, soon.
    fn offload(&self, work: Box<dyn FnOnce() + Send>);
    /// How much of it may run side by side.
    fn threads(&self) -> usize;
}
