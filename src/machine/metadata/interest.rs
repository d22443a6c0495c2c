//! Who wants to know of a topic, so that nobody asks for one that nobody wants any more.

use std::sync::{Arc, Weak};
use std::time::Instant;

/// Topics are kept fresh for whoever holds it, until its last clone is dropped.
#[derive(Debug, Clone, Default)]
pub struct Interest(Arc<()>);

/// A topic, and those who want it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// And whether for them the broker may create it.
    by: Vec<(Weak<()>, bool)>,
    /// When a broker first said that it has never heard of it, since it was last seen or wanted anew.
    pub(super) unknown_since: Option<Instant>,
}

impl Wanted {
    pub(super) fn add(&mut self, interest: &Interest, auto_create: bool) {
        let new = Arc::downgrade(&interest.0);
        if !self.by.iter().any(|(by, known)| by.ptr_eq(&new) && *known == auto_create) {
            self.by.push((new, auto_create));
        }
    }

    /// Whether anybody still wants it.
    pub(super) fn is_wanted(&mut self) -> bool {
        self.by.retain(|(by, _)| by.strong_count() > 0);
        !self.by.is_empty()
    }

    /// Whether the broker may create it.
    pub(super) fn auto_create(&self) -> bool {
        self.by.iter().any(|(by, auto_create)| *auto_create && by.strong_count() > 0)
    }
}
