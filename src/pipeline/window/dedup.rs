//! The ids of events in windows still open.
//!
//! An event belongs to the last-ending window that holds it, and is compared with the others of that window only: then the
//! event that came first is read again after a restart whenever its duplicate is, and both are judged as they were.

use std::collections::{BTreeMap, HashSet};

/// Ids by the end of their window.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(BTreeMap<i64, HashSet<Box<str>>>);

impl Seen {
    /// Remembers the id; false if it was there.
    pub(super) fn insert(&mut self, end: i64, id: &str) -> bool {
        let ids = self.0.entry(end).or_default();
        !ids.contains(id) && ids.insert(id.into())
    }

    /// The windows up to this watermark are closed.
    pub(super) fn forget(&mut self, watermark: i64) {
        while self.0.first_key_value().is_some_and(|(end, _)| *end <= watermark) {
            self.0.pop_first();
        }
    }
}
