//! A point in time on the command line, as `consume -o @` takes it.

use crate::consume::times;
use milena::pipeline::{context::wall_micros, timestamp};

/// Milliseconds since 1970: a Unix time in seconds or milliseconds, a date, a time with its zone, or a distance from now as
/// `-1h`.
pub fn when(text: &str) -> Result<i64, String> {
    times::parse(text, wall_micros() / 1_000).map(|at| at.millis.max(0))
}

/// That time for a person, in UTC.
pub fn shown(ms: i64) -> String {
    timestamp::format(ms.saturating_mul(1_000))
}
