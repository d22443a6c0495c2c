//! How far the replay of one partition of the queue is: one offset, and further ones for reasons that a filter has taken
//! ahead of the others.
//!
//! ```text
//!   sent, whatever the reason | only bad_price was sent | nobody has looked
//!   --------------------------^ next                    ^ ahead["bad_price"]
//! ```
//! The first is the offset that is committed, the others are its metadata; so lag tools see the truth, and a group whose
//! offsets are reset begins anew. Letters that `T` has refused are in the metadata too: the next replay takes them up again.

use super::Filter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What of a partition was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    next: i64,
    ahead: BTreeMap<String, i64>,
    /// Refused, whatever stands behind them.
    left: BTreeSet<i64>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    v: u32,
    ahead: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    left: BTreeSet<i64>,
}

impl Done {
    /// So many refused letters of a partition have room in an offset's metadata.
    pub const MOST_LEFT: usize = 100;

    /// Nothing before this was sent.
    pub fn from(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// From a committed offset. Metadata that isn't ours says nothing: somebody has set the group's offset by hand.
    pub fn parse(offset: i64, metadata: &str) -> Self {
        let found = serde_json::from_str::<Metadata>(metadata).ok().filter(|found| found.v == 1);
        let Metadata { ahead, left, .. } =
            found.unwrap_or(Metadata { v: 1, ahead: BTreeMap::new(), left: BTreeSet::new() });
        Self { next: offset, ahead, left }
    }

    /// What to commit as the offset's metadata.
    pub fn metadata(&self) -> String {
        serde_json::to_string(&Metadata { v: 1, ahead: self.ahead.clone(), left: self.left.clone() })
            .unwrap_or_default()
    }

    /// Where to begin to read: everything before it was sent.
    pub fn first(&self) -> i64 {
        self.left.first().map_or(self.next, |left| self.next.min(*left))
    }

    /// The letter at this offset was refused. False if there is no room to remember that.
    pub fn leave(&mut self, offset: i64) -> bool {
        self.left.insert(offset);
        self.left.len() <= Self::MOST_LEFT
    }

    /// The letter at this offset is not to be taken up again.
    pub fn take(&mut self, offset: i64) {
        self.left.remove(&offset);
    }

    /// The offset to commit: everything before it was sent or refused.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Nothing at or behind this was sent.
    pub fn furthest(&self) -> i64 {
        self.ahead.values().copied().max().map_or(self.next, |ahead| ahead.max(self.next))
    }

    /// Whether the letter at this offset was sent.
    pub fn has(&self, offset: i64, reason: &str) -> bool {
        !self.left.contains(&offset)
            && (offset < self.next || self.ahead.get(reason).is_some_and(|ahead| offset < *ahead))
    }

    /// All letters before `position` that the filter wants were sent.
    pub fn reach(&mut self, position: i64, filter: &Filter) {
        if filter.reasons.is_empty() {
            self.next = self.next.max(position);
        }
        for reason in &filter.reasons {
            let ahead = self.ahead.entry(reason.clone()).or_default();
            *ahead = position.max(*ahead);
        }
        let next = self.next;
        self.ahead.retain(|_, ahead| *ahead > next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_one_reason_ahead_and_the_rest_follows() {
        let only = Filter { reasons: vec!["bad_price".to_owned()], ..Filter::default() };
        let mut done = Done::from(3);
        done.reach(10, &only);
        assert!(done.has(2, "not_json") && !done.has(3, "not_json"));
        assert!(done.has(9, "bad_price") && !done.has(10, "bad_price"));
        assert_eq!(Done::parse(done.next(), &done.metadata()), done);
        done.reach(8, &Filter::default());
        assert!(done.has(7, "not_json") && done.has(9, "bad_price") && !done.has(9, "not_json"));
        done.reach(12, &Filter::default());
        assert_eq!(done, Done::from(12));
        done.reach(5, &only);
        assert_eq!(done, Done::from(12), "it never goes back");
    }

    #[test]
    fn what_was_refused_is_remembered_until_it_is_sent() {
        let mut done = Done::from(10);
        assert!(done.leave(4) && !done.has(4, "x") && done.has(5, "x"));
        assert_eq!((done.first(), done.next()), (4, 10));
        assert_eq!(Done::parse(10, &done.metadata()), done);
        done.take(4);
        assert_eq!(done, Done::from(10));
        let room = (0..200).map_while(|at| done.leave(i64::MAX - at).then_some(())).count();
        assert_eq!(room, Done::MOST_LEFT);
        assert!(done.metadata().len() < 4_096);
    }

    #[test]
    fn an_offset_that_was_set_by_hand_is_taken_as_it_is() {
        assert_eq!(Done::parse(4, ""), Done::from(4));
        assert_eq!(Done::parse(4, "{\"v\":2,\"ahead\":{\"x\":9}}"), Done::from(4));
    }
}
