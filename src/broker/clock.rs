//! The broker's one clock. Deadlines are tokio's time, so that a test with `start_paused` moves them; wall time is the
//! wall clock's at the start plus what tokio's clock has moved since, so that both stay together under paused time.
#![allow(clippy::disallowed_methods, reason = "this is where the broker's clock is read")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

const NANOS_OF_A_MILLI: i128 = 1_000_000;

/// Monotonic and wall time of a [`TestCluster`](super::TestCluster).
#[derive(Debug, Clone, Copy)]
pub struct BrokerClock {
    start: Instant,
    /// What the wall clock showed at `start`, in nanoseconds: in milliseconds this clock would lag behind others', and
    /// what they date by "now" (a bearer token's `iat`) would lie in its future.
    unix_nanos: i128,
}

impl BrokerClock {
    /// A clock that shows the wall clock's time now.
    pub(super) fn starting_now() -> Self {
        let start = Instant::now(); // first: rather a moment ahead of other clocks than behind
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { start, unix_nanos: since.as_nanos() as i128 }
    }

    /// A clock that shows this time now.
    pub(super) fn starting_at(unix_millis: i64) -> Self {
        Self { start: Instant::now(), unix_nanos: i128::from(unix_millis) * NANOS_OF_A_MILLI }
    }

    /// Monotonic time: tokio's.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Wall time, in milliseconds since 1970.
    pub fn unix_millis(&self) -> i64 {
        let nanos = self.unix_nanos.saturating_add(self.start.elapsed().as_nanos() as i128);
        i64::try_from(nanos.div_euclid(NANOS_OF_A_MILLI)).unwrap_or(i64::MAX)
    }

    /// Lets so much time go by: at once under paused time, with everything that becomes due meanwhile; else it takes as
    /// long.
    pub async fn advance(&self, by: Duration) {
        self.wait_until(Some(self.now() + by)).await;
    }

    /// Returns when the clock shows `deadline`; never, if there is none.
    pub(super) async fn wait_until(&self, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_behind_the_clock_that_it_was_started_by() {
        let unix_millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        for _ in 0..20 {
            let clock = BrokerClock::starting_now();
            let begun = unix_millis();
            while unix_millis() == begun {} // its first moment in another millisecond
            let other = unix_millis();
            assert!(u128::from(clock.unix_millis().unsigned_abs()) >= other);
        }
    }
}
