//! What a member of a group is told when its partitions change.

use crate::ids::TopicPartition;
use std::fmt;
use std::ops::Deref;

/// Partitions that are about to go to another member. Finish what you hold of them and commit; the group waits, up to a
/// deadline, until this is [`done`](Self::done) or dropped. Heartbeats go on meanwhile, nothing more is handed out of
/// these partitions, and the others go on.
///
/// The deadline is `max.poll.interval.ms` less a heartbeat: who takes longer is told [`Lost`](super::Event::Lost) and
/// can no longer commit.
pub struct Revoking {
    partitions: Vec<TopicPartition>,
    done: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Revoking {
    /// `done` is called when the application is through.
    pub(super) fn new(partitions: Vec<TopicPartition>, done: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { partitions, done: Some(Box::new(done)) }
    }

    /// They may go. A drop does the same.
    pub fn done(self) {}

    /// The partitions.
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }
}

impl Deref for Revoking {
    type Target = [TopicPartition];

    fn deref(&self) -> &[TopicPartition] {
        &self.partitions
    }
}

impl fmt::Debug for Revoking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revoking").field(&self.partitions).finish()
    }
}

impl Drop for Revoking {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done();
        }
    }
}
