//! [`Keeper`]: the token that is kept, and the last failure. Both the monotonic and the wall clock have to agree that a token is
//! good: the first stands still while the machine sleeps, the second can be set.

use crate::error::Error;
use crate::sasl::Token;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A token younger than this is handed out again though a broker has refused it.
const NEW: Duration = Duration::from_secs(60);

/// The monotonic clock's and the wall clock's.
type Now = (Instant, i64);

#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    token: Option<Kept>,
    failure: Option<(Error, Instant)>,
    granted: bool,
}

#[derive(Debug)]
struct Kept {
    token: Token,
    since: Now,
    /// From then on it is to be replaced.
    refresh: Duration,
    /// From then on it is worth nothing.
    end: Duration,
}

impl Kept {
    /// The token with what is left of its life, if it is younger than that.
    fn younger(&self, than: Duration, (now, unix_millis): Now) -> Option<Token> {
        let by_wall = u64::try_from(unix_millis.saturating_sub(self.since.1)).unwrap_or(0);
        let age = now.saturating_duration_since(self.since.0).max(Duration::from_millis(by_wall));
        (age < than).then(|| self.token.clone().valid_for(self.end.saturating_sub(age)))
    }
}

impl Keeper {
    /// The token, if it need not be replaced yet.
    pub(super) fn fresh(&self, now: Now) -> Option<Token> {
        self.known().token.as_ref().and_then(|kept| kept.younger(kept.refresh, now))
    }

    /// The token, if it is worth anything.
    pub(super) fn good(&self, now: Now) -> Option<Token> {
        self.known().token.as_ref().and_then(|kept| kept.younger(kept.end, now))
    }

    /// Why there is no token, and until when not to ask again.
    pub(super) fn failure(&self, now: Instant) -> Option<(Error, Instant)> {
        self.known().failure.clone().filter(|(_, until)| now < *until)
    }

    /// This one from now on, and after how much of its life to replace it.
    pub(super) fn keep(&self, token: Token, now: Now, refresh: impl FnOnce(Duration) -> Duration) {
        let end = token.lifetime().unwrap_or_default();
        *self.known() =
            Known { token: Some(Kept { token, since: now, refresh: refresh(end), end }), failure: None, granted: true };
    }

    /// Nobody asks before `until`.
    pub(super) fn failed(&self, error: Error, until: Instant) {
        self.known().failure = Some((error, until));
    }

    /// Not this one any more, unless it is new: the next would hardly be better, and the endpoint is not to be asked for one
    /// with every attempt to connect.
    pub(super) fn refused(&self, token: &Token, now: Instant) {
        let mut known = self.known();
        let is_it =
            |kept: &Kept| kept.token.value() == token.value() && now.saturating_duration_since(kept.since.0) >= NEW;
        if known.token.as_ref().is_some_and(is_it) {
            known.token = None;
        }
    }

    /// Whether there has ever been one.
    pub(super) fn has_granted(&self) -> bool {
        self.known().granted
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
