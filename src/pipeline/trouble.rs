//! What fails, and passes by itself: a line in the log when it begins and one when it is over, however long it lasts.

use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Without a failure for so long, it is over: consumers repeat theirs once a second, and other waits are shorter.
const QUIET: Duration = Duration::from_secs(5);

/// One kind of trouble. `what` is said in front of the error.
#[derive(Debug)]
pub(super) struct Trouble {
    what: &'static str,
    /// Its first and its last failure.
    lasts: Option<(Instant, Instant)>,
}

impl Trouble {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, lasts: None }
    }

    /// It has failed. True if that is news.
    pub(super) fn failed(&mut self, now: Instant, error: &dyn fmt::Display) -> bool {
        let is_new = self.lasts.is_none();
        self.lasts = Some((self.lasts.map_or(now, |(first, _)| first), now));
        if is_new {
            tracing::warn!(%error, "{} fails; it goes on by itself", self.what);
        } else {
            tracing::debug!(%error, "{} fails", self.what);
        }
        is_new
    }

    /// To be asked now and then: whether it is over, which is told once.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let Some((first, last)) = self.lasts.filter(|(_, last)| now.saturating_duration_since(*last) >= QUIET) else {
            return false;
        };
        self.lasts = None;
        tracing::warn!("{} goes on, after {:.1} s", self.what, last.saturating_duration_since(first).as_secs_f64());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "time is paused")]
    async fn five_minutes_of_failures_are_two_lines() {
        let (mut trouble, start) = (Trouble::new("reading"), Instant::now());
        let (mut begun, mut over) = (0, 0);
        for second in 0..320 {
            let now = start + Duration::from_secs(second);
            if second < 300 {
                begun += u32::from(trouble.failed(now, &"no broker answers"));
            }
            over += u32::from(trouble.is_over(now));
        }
        assert_eq!((begun, over), (1, 1));
        assert!(trouble.failed(start + Duration::from_secs(400), &"again"), "the next outage is news");
    }
}
