//! What fails, and passes by itself: a line in the log when it begins and one when it is over, however long it lasts.

use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Without a failure for so long, it is over: consumers repeat theirs once a second, and other waits are shorter.
const QUIET: Duration = Duration::from_secs(5);
/// Without a heartbeat that was taken for so long, the brokers are away: the longest interval is KIP-848's, five seconds.
const DEAF: Duration = Duration::from_secs(12);

/// One kind of trouble. `what` is said in front of the error.
#[derive(Debug)]
pub(super) struct Trouble {
    what: &'static str,
    /// Its first and its last failure.
    lasts: Option<(Instant, Instant)>,
    /// When it was last asked for heartbeats.
    listened: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, lasts: None, listened: None }
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

    /// To be asked now and then: brokers that are away are no error of a consumer that waits for records, but they take no
    /// heartbeats.
    pub(super) fn listen(&mut self, now: Instant, last_heartbeat: impl FnOnce() -> Option<std::time::Instant>) {
        if self.listened.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.listened = Some(now);
        if last_heartbeat().is_some_and(|at| now.saturating_duration_since(at.into()) >= DEAF) {
            self.failed(now, &"the group's coordinator has taken no heartbeat for a while");
        }
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

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "time is paused")]
    async fn brokers_that_take_no_heartbeat_are_away() {
        let (mut trouble, start) = (Trouble::new("reading"), Instant::now());
        trouble.listen(start, || None);
        assert!(trouble.lasts.is_none(), "not a member yet");
        for second in 0..60 {
            let last = start + Duration::from_secs(if second < 40 { 0 } else { second });
            let now = start + Duration::from_secs(second);
            trouble.listen(now, || Some(last.into_std()));
            assert_eq!(trouble.lasts.is_some(), (12..=44).contains(&second), "second {second}");
            trouble.is_over(now);
        }
    }
}
