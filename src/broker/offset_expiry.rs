//! Committed offsets that nobody wants any more, and groups of which nothing else was left.
//!
//! Every ten minutes (`offsets.retention.check.interval.ms`) offsets go that have been kept for
//! [`offsets.retention.minutes`](super::Builder::offsets_retention): since the group became empty; since their commit if
//! there was never more of the group than offsets, or if it has members that don't subscribe to the topic. Those that came
//! with a time of their own (OffsetCommit v2-4) go when that is up. An empty group without offsets goes too.

use super::groups::{Committed, Group, Phase};
use super::state::State;
use crate::wire::group_protocol::{PROTOCOL_TYPE, Subscription};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// `offsets.retention.check.interval.ms`.
const INTERVAL: Duration = Duration::from_secs(600);

impl State {
    /// When [`Self::expire_offsets`] has something to do; `now` is when it was last asked.
    pub(super) fn next_offsets_check(&mut self, now: Instant) -> Option<Instant> {
        self.offsets_check = (!self.groups.is_empty()).then(|| self.offsets_check.unwrap_or(now + INTERVAL));
        self.offsets_check
    }

    pub(super) fn expire_offsets(&mut self, now: Instant) {
        if self.offsets_check.is_none_or(|due| due > now) {
            return;
        }
        self.offsets_check = None;
        let retention = self.settings.offsets_retention;
        self.groups.values_mut().for_each(|group| group.expire_offsets(now, retention));
        self.groups.retain(|_, group| !group.is_forgotten());
    }
}

impl Group {
    /// Whether its members are consumers, who tell each other what they subscribe to.
    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(PROTOCOL_TYPE)
    }

    /// Whether somebody in it subscribes to the topic, as far as the coordinator can read what members of a classic group
    /// tell each other.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.subscribes_to(topic);
        }
        if !self.is_of_consumers() {
            return false;
        }
        // What can't be read may be anything.
        let Some(protocol) = &self.protocol else { return !self.members.is_empty() };
        let subscribes = |metadata| {
            Subscription::decode(metadata).map_or(true, |wanted| wanted.topics.iter().any(|wanted| **wanted == *topic))
        };
        self.members.iter().any(|member| subscribes(member.metadata(protocol)))
    }

    /// A topic is gone, and what was committed for it.
    pub(super) fn forget_topic(&mut self, name: &str) {
        self.offsets.retain(|(topic, _), _| **topic != *name);
        self.transactional.values_mut().for_each(|open| open.retain(|(topic, _), _| **topic != *name));
    }

    /// Since when an offset without a time of its own is kept for nobody; `None` while it is for somebody.
    fn unwanted_since(&self, committed: &Committed) -> Option<Instant> {
        let classic = self.consumer.is_none() && self.protocol_type.is_some();
        match self.phase {
            _ if !classic => Some(committed.at),
            Phase::Empty => Some(self.emptied_at.unwrap_or(committed.at)),
            Phase::Stable if self.is_of_consumers() => Some(committed.at),
            Phase::Stable | Phase::PreparingRebalance | Phase::CompletingRebalance => None,
        }
    }

    fn expire_offsets(&mut self, now: Instant, retention: Duration) {
        let expired = |((topic, partition), committed): (&(Arc<str>, i32), &Committed)| {
            let unwanted = self.unwanted_since(committed)?;
            let over = match committed.expires {
                Some(until) => until <= now,
                None => now.saturating_duration_since(unwanted) >= retention, // which may be for ever
            };
            let key = (Arc::clone(topic), *partition);
            let pending = self.transactional.values().any(|open| open.contains_key(&key));
            (over && !pending && !self.subscribes_to(topic)).then_some(key)
        };
        let expired: Vec<_> = self.offsets.iter().filter_map(expired).collect();
        expired.iter().for_each(|key| drop(self.offsets.remove(key)));
    }
}
