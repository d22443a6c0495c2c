//! The one clock. Everything below `net` gets `now` as an argument.

use crate::machine::Clock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time is tokio's, so that paused time is honoured; wall time depends on the kind.
#[derive(Debug, Clone, Copy, Default)]
pub enum NetClock {
    /// The machine's coarse wall clock: a tick behind at most (1 to 4 ms), for 5 ns instead of 40.
    #[default]
    System,
    /// Wall time that moves with tokio's clock from a start: for virtual time (`start_paused`).
    Virtual {
        /// Tokio's time at the start.
        start: tokio::time::Instant,
        /// The wall clock's at the start, in milliseconds since 1970.
        unix_millis: i64,
    },
}

impl NetClock {
    /// Wall time that begins now and moves with tokio's clock. Needs a tokio runtime.
    pub fn virtual_from_now() -> Self {
        Self::virtual_from(system_millis())
    }

    /// Wall time that shows this now and moves with tokio's clock. Needs a tokio runtime.
    pub fn virtual_from(unix_millis: i64) -> Self {
        Self::Virtual { start: tokio::time::Instant::now(), unix_millis }
    }
}

impl Clock for NetClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_millis(&self) -> i64 {
        match self {
            Self::System => coarse_millis(),
            Self::Virtual { start, unix_millis } => {
                unix_millis + i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn coarse_millis() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn coarse_millis() -> i64 {
    system_millis()
}

fn system_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Nothing is waited for longer: thirty-four years, near to where tokio bounds its own sleeps.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// A wait that an application gives, in bounds: `Duration::MAX` means that there is none, and no clock can show a time so far
/// away. What comes from here can be multiplied, and added to a time and to other waits.
pub fn bounded(wait: Duration) -> Duration {
    wait.min(LONGEST)
}

/// `wait` from now, by tokio's clock.
pub fn deadline(wait: Duration) -> Instant {
    (tokio::time::Instant::now() + bounded(wait)).into_std()
}

/// Waits until then, by tokio's clock.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_without_end_has_a_deadline_far_away() {
        let now = NetClock::System.now();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert!(deadline(Duration::MAX) > now + 30 * year);
        assert!(deadline(Duration::MAX) + bounded(Duration::MAX) * 10 > now + 300 * year);
        assert_eq!(deadline(year), now + year);
        assert!(tokio::time::timeout(year, sleep_until(deadline(Duration::MAX))).await.is_err());
    }
}
