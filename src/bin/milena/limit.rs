//! `--timeout`: no command waits for ever, and one that gives up says what it waited for.
//!
//! What only asks is cut off. What has something open (a member of a group, a transaction, records under way) is asked to stop,
//! as by Ctrl-C, and gets [`GRACE`] for it.

use crate::args::{DEADLINE, Failure, Global, Result, Role};
use milena::client::Client;
use milena::pipeline::stop::Stop;
use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What verbs get that ask brokers a few questions, and end.
pub const DEFAULT: Duration = Duration::from_secs(30);

/// How long a command may take to stop in order once its time is over.
const GRACE: Duration = DEADLINE;

/// What stops the command in order, if something does.
static STOP: OnceLock<Stop> = OnceLock::new();

/// What the command does at the moment; a process is one command.
static DOING: Mutex<Cow<'static, str>> = Mutex::new(Cow::Borrowed("it to be done"));

/// Notes what is waited for from now on, as it goes behind "waited for".
pub fn waiting_for(what: impl Into<Cow<'static, str>>) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
}

/// From now on the command is not cut off when its time is over: this stops it, and it closes what it has open.
pub fn ends_in_order(stop: &Stop) {
    let _ = STOP.set(stop.clone()); // a process is one command
}

/// Runs a command, but not longer; one that [ends in order](ends_in_order) for so long as that takes, up to [`GRACE`].
pub async fn within(limit: Duration, command: impl Future<Output = Result<()>>) -> Result<()> {
    let mut command = pin!(command);
    if let Ok(done) = tokio::time::timeout(limit, &mut command).await {
        return done;
    }
    let doing = DOING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let late = Failure::broker(format!("not done within {limit:?} (--timeout): waited for {doing}"));
    let Some(stop) = STOP.get() else { return Err(late) };
    stop.stop();
    match tokio::time::timeout(GRACE, command).await {
        Ok(Err(failure)) if failure.is_broken_pipe() => Err(failure),
        Ok(done) => Failure::all(done.err().into_iter().chain([late])),
        Err(_) => Err(late),
    }
}

/// Those that the command begins with, as it goes behind "waited for".
pub fn brokers(global: &Global) -> Result<String> {
    let settings = global.settings(Role::Client)?;
    let bootstrap = settings.iter().find(|setting| setting.key == "bootstrap.servers");
    Ok(format!("the brokers at {}", bootstrap.map_or("", |setting| setting.value.as_str())))
}

/// A client for a verb that asks a few questions: each of its calls ends a little before the whole, so that it is the
/// call's error that is seen, which knows the broker and why it did not answer.
pub fn client(global: &Global) -> Result<Client> {
    waiting_for(brokers(global)?);
    let settings = global.settings(Role::Client)?;
    let mut properties = global.properties(Role::Client)?;
    if global.timeout.is_some() || !settings.iter().any(|setting| setting.key == "default.api.timeout.ms") {
        let limit = global.timeout.unwrap_or(DEFAULT);
        let call = limit - (limit / 10).min(Duration::from_secs(1));
        properties.insert("default.api.timeout.ms", &call.as_millis().max(1).to_string())?;
    }
    Ok(Client::new(properties.client()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(1_500);
    const LATE: &str = "not done within 1.5s (--timeout): waited for the coordinator of group g";

    /// One test, since a process has one command.
    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_is_told_and_what_has_something_open_may_close_it() {
        waiting_for("the coordinator of group g");
        let cut = within(LIMIT, std::future::pending()).await.unwrap_err();
        assert_eq!((cut.exit_code(), cut.to_string().as_str()), (2, LATE));

        let stop = Stop::new();
        ends_in_order(&stop);
        let begun = tokio::time::Instant::now();
        let closing = async {
            stop.stopped().await;
            assert_eq!(begun.elapsed(), LIMIT);
            tokio::time::sleep(GRACE / 2).await;
            Ok(())
        };
        let closed = within(LIMIT, closing).await.unwrap_err();
        assert_eq!((closed.exit_code(), closed.to_string().as_str()), (2, LATE), "closed, and not done all the same");
        let refused = within(LIMIT, async {
            tokio::time::sleep(2 * LIMIT).await;
            Err(Failure::mismatch("3 records are missing"))
        });
        let refused = refused.await.unwrap_err();
        assert_eq!(
            (refused.exit_code(), refused.to_string()),
            (4, format!("3 records are missing\nmilena: {LATE}")),
            "what went wrong besides is told first"
        );
        let begun = tokio::time::Instant::now();
        assert_eq!(within(LIMIT, std::future::pending()).await.unwrap_err().to_string(), LATE);
        assert_eq!(begun.elapsed(), LIMIT + GRACE, "and what does not close is cut off");
    }
}
