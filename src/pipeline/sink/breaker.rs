//! A circuit breaker: who has failed a few times in a row is left alone, and asked by one probe at a time.
//!
//! ```text
//!          LIMIT failures in a row           its wait is over
//! Closed ---------------------------> Open ------------------> HalfOpen
//!    ^                                  ^                       |    |
//!    |                                  +------- failure -------+    |
//!    +------------------------------ success ------------------------+
//! ```
//!
//! The probe is the work itself: a database that answers a question and has no room for a row is not up.

use std::time::{Duration, Instant};

/// Whether the other side is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "the three states of a circuit breaker")]
pub enum State {
    /// It answers, or has not failed often enough.
    #[default]
    Closed,
    /// It is left alone until its wait is over.
    Open,
    /// One probe is on its way.
    HalfOpen,
}

/// Counts failures in a row, and says when to ask next.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    state: State,
    failures: u32,
    next: Option<Instant>,
}

impl Breaker {
    /// So many failures in a row open it.
    pub const LIMIT: u32 = 3;
    /// The wait after a failure, while it is closed.
    pub const FIRST_WAIT: Duration = Duration::from_millis(50);
    /// The wait once it is open, doubled by each probe that fails.
    pub const OPEN_WAIT: Duration = Duration::from_secs(1);
    /// The longest wait between two probes.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

    /// An attempt failed. `jitter`, from 0 to 1, spreads those who wait for the same database: they wait between half and
    /// all of it.
    pub fn failed(&mut self, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        let (first, times) = match self.failures.checked_sub(Self::LIMIT) {
            None => (Self::FIRST_WAIT, self.failures - 1),
            Some(probes) => {
                self.state = State::Open;
                (Self::OPEN_WAIT, probes)
            }
        };
        let wait = first.saturating_mul(1 << times.min(16)).min(Self::LONGEST_WAIT);
        self.next = Some(now + wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
    }

    /// An attempt came through.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// When the next attempt may be made; `None`: at any time.
    pub fn next_attempt(&self) -> Option<Instant> {
        self.next
    }

    /// An attempt begins. False if it is too early for it.
    pub fn attempt(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        if self.state == State::Open {
            self.state = State::HalfOpen;
        }
        true
    }

    /// Whether the other side is asked now.
    pub fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do to begin with")]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_a_few_failures_and_probes_one_at_a_time() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 1..Breaker::LIMIT {
            assert!(breaker.attempt(now));
            breaker.failed(now, 1.0);
            assert_eq!(breaker.state(), State::Closed);
            now = breaker.next_attempt().unwrap();
        }
        assert!(breaker.attempt(now));
        breaker.failed(now, 1.0);
        assert_eq!((breaker.state(), breaker.next_attempt()), (State::Open, Some(now + Breaker::OPEN_WAIT)));
        assert!(!breaker.attempt(now), "it is left alone");
        now = breaker.next_attempt().unwrap();
        assert!(breaker.attempt(now));
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.failed(now, 1.0);
        assert_eq!((breaker.state(), breaker.next_attempt()), (State::Open, Some(now + 2 * Breaker::OPEN_WAIT)));
        now = breaker.next_attempt().unwrap();
        assert!(breaker.attempt(now));
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.next_attempt()), (State::Closed, None));
        breaker.failed(now, 1.0);
        assert_eq!(breaker.state(), State::Closed, "failures count in a row only");
    }

    #[test]
    fn waits_are_bounded_on_both_sides() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for round in 0..100 {
            let jitter = f64::from(round % 5) / 4.0;
            breaker.failed(now, jitter);
            let wait = breaker.next_attempt().unwrap() - now;
            assert!(wait >= Breaker::FIRST_WAIT / 2 && wait <= Breaker::LONGEST_WAIT, "{round}: {wait:?}");
        }
        assert!(breaker.next_attempt().unwrap() - now >= Breaker::LONGEST_WAIT / 2);
    }
}
