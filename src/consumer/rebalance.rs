//! What a member of a group is told when its partitions change.

use crate::ids::TopicPartition;
use std::ops::Deref;
use tokio::sync::oneshot;

/// Partitions that are about to go to another member. Finish what you hold of them and commit; the group waits, up to a
/// deadline, until this is [`done`](Self::done) or dropped. Heartbeats go on meanwhile.
#[derive(Debug)]
pub struct Revoking {
    partitions: Vec<TopicPartition>,
    done: Option<oneshot::Sender<()>>,
}

impl Revoking {
    /// `done` hears when the application is through.
    pub(crate) fn new(partitions: Vec<TopicPartition>, done: oneshot::Sender<()>) -> Self {
        Self { partitions, done: Some(done) }
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

impl Drop for Revoking {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            let _ = done.send(()); // nobody waits any more: the deadline has passed, or the consumer is closed
        }
    }
}
