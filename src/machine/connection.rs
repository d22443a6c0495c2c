//! One connection's requests under way: answers come in the order of the requests, and the first that does not ends
//! the connection. So does a request that is not answered in time, since nothing behind it can be.
//!
//! A broken connection is one state that holds its cause; everything in flight fails with it as *possibly sent*, but for what only
//! asks.

use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::wire::{
    api_versions::{api_name, is_question},
    request,
};
use std::{collections::VecDeque, time::Instant};

/// A request that was handed to the socket, and who waits for its answer.
#[derive(Debug)]
struct InFlight<T> {
    correlation_id: i32,
    api_key: i16,
    sent: Instant,
    deadline: Instant,
    waiter: T,
}

/// The requests under way on one connection. `T` is whatever the answer is given to.
#[derive(Debug)]
pub struct InFlightRequests<T> {
    requests: VecDeque<InFlight<T>>,
    /// The earliest deadline of all, kept so that asking for it costs nothing.
    deadline: Option<Instant>,
}

impl<T> Default for InFlightRequests<T> {
    fn default() -> Self {
        Self { requests: VecDeque::new(), deadline: None }
    }
}

impl<T> InFlightRequests<T> {
    /// A request that will be answered goes out.
    pub fn handle_sent(&mut self, now: Instant, correlation_id: i32, api_key: i16, deadline: Instant, waiter: T) {
        self.requests.push_back(InFlight { correlation_id, api_key, sent: now, deadline, waiter });
        self.deadline = Some(self.deadline.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// A frame has arrived: whose it is, and when that was asked.
    ///
    /// # Errors
    /// `Malformed` if it is nobody's; then the connection is of no use any more.
    pub fn handle_frame(&mut self, frame: &[u8]) -> Result<(T, Instant)> {
        let correlation_id = request::correlation_id(frame)?;
        let Some(request) = self.requests.pop_front() else {
            return Err(Error::with_message(ErrorKind::Malformed, "an answer that nobody asked for"));
        };
        if request.correlation_id != correlation_id {
            let message = format!("the answer to request {correlation_id} came for request {}", request.correlation_id);
            self.requests.push_front(request); // it fails with the others
            return Err(Error::with_message(ErrorKind::Malformed, message));
        }
        if self.deadline == Some(request.deadline) {
            self.deadline = self.requests.iter().map(|request| request.deadline).min();
        }
        Ok((request.waiter, request.sent))
    }

    /// When `handle_timeout` is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// When the last of them must have been answered.
    pub fn latest_deadline(&self) -> Option<Instant> {
        self.requests.iter().map(|request| request.deadline).max()
    }

    /// Why the connection must be given up, if a request was not answered in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Error> {
        let late = self.requests.iter().find(|request| request.deadline <= now)?;
        Some(Error::new(ErrorKind::Timeout).api(api_name(late.api_key)))
    }

    /// The connection is broken: everyone who waits, and what to tell them.
    pub fn handle_closed(&mut self, cause: &Error) -> Vec<(T, Error)> {
        self.deadline = None;
        let fail = |request: InFlight<T>| {
            let error = cause.clone().api(api_name(request.api_key));
            let error = if is_question(request.api_key) { error } else { error.certainty(Certainty::PossiblySent) };
            (request.waiter, error)
        };
        self.requests.drain(..).map(fail).collect()
    }

    /// Those who wait for an answer.
    pub fn waiters(&mut self) -> impl Iterator<Item = &mut T> {
        self.requests.iter_mut().map(|request| &mut request.waiter)
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[allow(clippy::disallowed_methods, reason = "a test's start of time")]
    fn now() -> Instant {
        Instant::now()
    }

    fn frame(correlation_id: i32) -> Vec<u8> {
        correlation_id.to_be_bytes().to_vec()
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let (mut requests, at) = (InFlightRequests::default(), now() + Duration::from_secs(30));
        requests.handle_sent(at, 1, 0, at, "first");
        requests.handle_sent(at, 2, 1, at, "second");
        assert_eq!(requests.handle_frame(&frame(1)).unwrap(), ("first", at));
        assert_eq!(requests.handle_frame(&frame(2)).unwrap(), ("second", at));
        assert!(requests.is_empty() && requests.poll_timeout().is_none());
    }

    #[test]
    fn a_wrong_correlation_id_ends_the_connection_and_nobody_gets_anothers_answer() {
        let (mut requests, at) = (InFlightRequests::default(), now());
        requests.handle_sent(at, 1, 0, at, "first");
        requests.handle_sent(at, 2, 1, at, "second");
        let cause = requests.handle_frame(&frame(2)).unwrap_err();
        let failed = requests.handle_closed(&cause);
        assert_eq!(failed.iter().map(|(waiter, _)| *waiter).collect::<Vec<_>>(), ["first", "second"]);
        // A Produce and a Fetch: nothing was to be done by the latter.
        let certainties: Vec<_> = failed.iter().map(|(_, error)| error.delivery_certainty()).collect();
        assert_eq!(certainties, [Some(Certainty::PossiblySent), None]);
        assert!(requests.handle_frame(&frame(9)).is_err(), "nobody asked");
    }

    #[test]
    fn the_earliest_deadline_counts_wherever_it_stands() {
        let (mut requests, start) = (InFlightRequests::default(), now());
        requests.handle_sent(start, 1, 11, start + Duration::from_secs(300), "join");
        requests.handle_sent(start, 2, 12, start + Duration::from_secs(30), "beat");
        assert_eq!(requests.poll_timeout(), Some(start + Duration::from_secs(30)));
        assert!(requests.handle_timeout(start + Duration::from_secs(29)).is_none());
        let cause = requests.handle_timeout(start + Duration::from_secs(30)).unwrap();
        assert!(cause.is_timeout() && cause.to_string().contains("Heartbeat"), "{cause}");
        requests.handle_frame(&frame(1)).unwrap();
        requests.handle_frame(&frame(2)).unwrap();
        assert_eq!(requests.poll_timeout(), None);
    }
}
