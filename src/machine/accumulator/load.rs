//! How busy partitions and their leaders are: what the choice for records without a key looks at (KIP-794), without a
//! partition's lock. The numbers are written under partitions' locks; a look may be a batch behind.

use crate::machine::sync::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The partitions of a topic that have a leader.
#[derive(Debug)]
pub(super) struct Available {
    /// In order.
    pub(super) partitions: Arc<[u32]>,
    /// The leader of each; empty while nobody asks how quick they are.
    pub(super) leaders: Vec<Arc<Leader>>,
}

/// Whether a broker takes what is full for it.
#[derive(Debug)]
pub(super) struct Leader {
    start: Instant,
    /// Full batches of its partitions that it has not taken.
    waiting: AtomicUsize,
    /// When it took one last, or when the first of these began to wait: milliseconds since `start`.
    since: AtomicU64,
}

impl Leader {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, waiting: AtomicUsize::new(0), since: AtomicU64::new(0) }
    }

    /// `batches` of its partitions are full.
    pub(super) fn on_full(&self, batches: usize, now: Instant) {
        if self.waiting.fetch_add(batches, Ordering::Relaxed) == 0 {
            self.since.store(self.millis(now), Ordering::Relaxed);
        }
    }

    /// It has taken a batch.
    pub(super) fn on_taken(&self, now: Instant) {
        self.on_gone(1);
        self.since.store(self.millis(now), Ordering::Relaxed);
    }

    /// `batches` don't wait for it any more.
    pub(super) fn on_gone(&self, batches: usize) {
        self.waiting.fetch_sub(batches, Ordering::Relaxed);
    }

    /// Whether something has waited for it for longer than `timeout` without it taking anything.
    pub(super) fn is_slow(&self, now: Instant, timeout: Duration) -> bool {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        self.waiting.load(Ordering::Relaxed) > 0 && now.saturating_duration_since(self.start + since) > timeout
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}
