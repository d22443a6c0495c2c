//! Tasks on the user's runtime, counted, so that a test can say that none is left, and told when it is time to end.

use crate::error::{Error, ErrorKind, Result};
use crate::machine::Offload;
use std::future::Future;
use std::num::NonZero;
use std::thread::available_parallelism;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where a client's tasks run.
#[derive(Debug, Clone)]
pub struct Tasks {
    runtime: Handle,
    live: watch::Sender<usize>,
    closing: watch::Sender<bool>,
}

impl Tasks {
    /// On the runtime that calls this.
    ///
    /// # Errors
    /// `State` outside of one: there is no hidden runtime.
    pub fn new() -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::with_message(ErrorKind::State, "a client must be made inside of a tokio runtime").caused_by(error)
        })?;
        Ok(Self { runtime, live: watch::Sender::new(0), closing: watch::Sender::new(false) })
    }

    /// Runs `future` until it ends.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let guard = Live::new(&self.live);
        self.runtime.spawn(async move {
            let _guard = guard;
            future.await
        })
    }

    /// How many have not ended.
    pub fn live(&self) -> usize {
        *self.live.borrow()
    }

    /// From now on nothing is to be begun, nor waited for.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until that is said.
    pub async fn closing(&self) {
        // Can't fail: the sender is in `self`.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Waits until all have ended.
    pub async fn ended(&self) {
        let _ = self.live.subscribe().wait_for(|live| *live == 0).await;
    }
}

/// On the runtime's threads for what blocks; counted as well.
impl Offload for Tasks {
    fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        let guard = Live::new(&self.live);
        let _detached = self.runtime.spawn_blocking(move || {
            let _guard = guard;
            work();
        });
    }

    fn threads(&self) -> usize {
        available_parallelism().map_or(1, NonZero::get)
    }
}

struct Live(watch::Sender<usize>);

impl Live {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|live| *live += 1);
        Self(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.send_modify(|live| *live -= 1);
    }
}
