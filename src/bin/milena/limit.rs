//! `--timeout`: no command waits for ever, and one that gives up says what it waited for.

use crate::args::{Failure, Global, Result, Role};
use milena::client::Client;
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What verbs get that ask brokers a few questions, and end.
pub const DEFAULT: Duration = Duration::from_secs(30);

/// What the command does at the moment; a process is one command.
static DOING: Mutex<Cow<'static, str>> = Mutex::new(Cow::Borrowed("it to be done"));

/// Notes what is waited for from now on, as it goes behind "waited for".
pub fn waiting_for(what: impl Into<Cow<'static, str>>) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
}

/// Runs a command, but not longer.
pub async fn within(limit: Duration, command: impl Future<Output = Result<()>>) -> Result<()> {
    match tokio::time::timeout(limit, command).await {
        Ok(done) => done,
        Err(_) => {
            let doing = DOING.lock().unwrap_or_else(PoisonError::into_inner);
            Err(Failure::broker(format!("not done within {limit:?} (--timeout): waited for {doing}")))
        }
    }
}

/// A client for a verb that asks a few questions: each of its calls ends a little before the whole, so that it is the
/// call's error that is seen, which knows the broker and why it did not answer.
pub fn client(global: &Global) -> Result<Client> {
    let settings = global.settings(Role::Client)?;
    let bootstrap = settings.iter().find(|setting| setting.key == "bootstrap.servers");
    waiting_for(format!("the brokers at {}", bootstrap.map_or("", |setting| setting.value.as_str())));
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

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_is_told() {
        waiting_for("the coordinator of group g");
        let failure = within(Duration::from_millis(1_500), std::future::pending()).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert_eq!(failure.to_string(), "not done within 1.5s (--timeout): waited for the coordinator of group g");
    }
}
