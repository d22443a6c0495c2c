//! The wish to stop in order, handed to every stage: a signal, the demo's `--for`, a failed neighbour.

use tokio::sync::watch;

/// Asked for by one, seen by many. Clones share the state.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks everybody who holds a clone to finish what is in hand and stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been asked for.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for. A drop leaves nothing behind.
    pub async fn stopped(&self) {
        // `self` holds the sender: the channel can't close while we wait.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
