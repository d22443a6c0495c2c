//! The broker's one clock. Deadlines are tokio's time, so that a test with `start_paused` moves them; wall time is the
//! wall clock's at the start plus what tokio's clock has moved since, so that both stay together under paused time.
#![allow(clippy::disallowed_methods, reason = "this is where the broker's clock is read")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Monotonic and wall time of a [`TestCluster`](super::TestCluster).
#[derive(Debug, Clone, Copy)]
pub struct BrokerClock {
    start: Instant,
    unix_millis: i64,
}

impl BrokerClock {
    /// A clock that shows the wall clock's time now.
    pub(super) fn starting_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::starting_at(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// A clock that shows this time now.
    pub(super) fn starting_at(unix_millis: i64) -> Self {
        Self { start: Instant::now(), unix_millis }
    }

    /// Monotonic time: tokio's.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Wall time, in milliseconds since 1970.
    pub fn unix_millis(&self) -> i64 {
        self.unix_millis.saturating_add(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
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
