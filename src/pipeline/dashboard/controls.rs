//! The demo's buttons: what the page asks for, and what the demo looks at.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// The wish that the aggregator be killed, and that the database be away. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Controls(Arc<State>);

#[derive(Debug, Default)]
struct State {
    kill: Notify,
    kills: AtomicU64,
    away: AtomicBool,
    over: AtomicBool,
    bootstrap: OnceLock<String>,
}

impl Controls {
    /// Asks for a kill of the aggregator's task; asked twice before it has happened, it happens once. False if the
    /// demo is ending.
    pub fn kill(&self) -> bool {
        let is_on = !self.is_over();
        if is_on {
            self.0.kill.notify_one();
        }
        is_on
    }

    /// Takes the sink's database away, or gives it back. False if the demo is ending: then it is there, and stays.
    pub fn database_away(&self, away: bool) -> bool {
        self.0.away.store(away, Ordering::SeqCst);
        // Asked afterwards: who ends the demo gives the database back after it has said so.
        let is_on = !self.is_over();
        if !is_on {
            self.0.away.store(false, Ordering::SeqCst);
        }
        is_on
    }

    /// How often the aggregator has been killed.
    pub fn kills(&self) -> u64 {
        self.0.kills.load(Ordering::Relaxed)
    }

    /// Whether the database is away.
    pub fn is_database_away(&self) -> bool {
        self.0.away.load(Ordering::SeqCst)
    }

    /// Where the embedded broker listens, once it does: for whoever wants to look at the topics.
    pub fn bootstrap(&self) -> Option<&str> {
        self.0.bootstrap.get().map(String::as_str)
    }

    pub(in crate::pipeline) fn listens(&self, bootstrap: String) {
        let _ = self.0.bootstrap.set(bootstrap);
    }

    /// Waits for the wish to kill. A drop leaves the wish for the next who waits.
    pub async fn killed(&self) {
        self.0.kill.notified().await;
    }

    /// The demo is ending: the database is given back, and buttons do nothing.
    pub(in crate::pipeline) fn end(&self) {
        self.0.over.store(true, Ordering::SeqCst);
        self.0.away.store(false, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    /// The aggregator is dead.
    pub(in crate::pipeline) fn was_killed(&self) {
        self.0.kills.fetch_add(1, Ordering::Relaxed);
    }
}
