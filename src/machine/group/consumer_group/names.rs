//! The names of topics that the coordinator knows by id. An assignment may come before the metadata that names its
//! topics, for good with a regular expression that only the coordinator matches (franz-go 1.21.6: such a topic was never
//! consumed): then we ask for them, until all have one.

use crate::error::Result;
use crate::ids::TopicId;
use crate::machine::RequestId;
use crate::machine::backoff::Backoff;
use crate::machine::group::{GroupCall, GroupRequest, GroupResponse, Out, To};
use crate::machine::metadata::Cluster;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ids, their names, and the question for those that have none yet.
#[derive(Debug)]
pub(super) struct TopicNames {
    cluster: Arc<Cluster>,
    known: BTreeMap<TopicId, Arc<str>>,
    missing: BTreeSet<TopicId>,
    asked: Option<RequestId>,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl TopicNames {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            cluster: Arc::default(),
            known: BTreeMap::new(),
            missing: BTreeSet::new(),
            asked: None,
            not_before: None,
            backoff,
        }
    }

    /// The client's metadata has changed.
    pub(super) fn metadata(&mut self, cluster: &Arc<Cluster>) {
        self.cluster = cluster.clone();
        // A topic that was made anew has another id now; what the old one was called must not be taken for the new one.
        let is_current = |id: &TopicId, name: &Arc<str>| cluster.topics.get(name).is_none_or(|topic| topic.id == *id);
        self.known.retain(|id, name| is_current(id, name));
    }

    /// From now on these are the ids whose names matter.
    pub(super) fn look_up(&mut self, ids: impl Iterator<Item = TopicId>) {
        let ids: BTreeSet<_> = ids.collect();
        self.known.retain(|id, _| ids.contains(id));
        let unknown: Vec<_> = ids.into_iter().filter(|id| !self.known.contains_key(id)).collect();
        self.missing.clear();
        for id in unknown {
            match self.cluster.topic_by_id(id) {
                Some(topic) => {
                    let name = topic.name.clone();
                    self.learn(id, name);
                }
                None => drop(self.missing.insert(id)),
            }
        }
    }

    /// A name is one topic's: two under one name would be assigned as one, twice. Who comes second waits until the other is
    /// gone.
    fn learn(&mut self, id: TopicId, name: Arc<str>) {
        match self.known.values().any(|known| *known == name) {
            true => drop(self.missing.insert(id)),
            false => drop(self.known.insert(id, name)),
        }
    }

    /// The name of one that was looked up.
    pub(super) fn get(&self, id: TopicId) -> Option<&Arc<str>> {
        self.known.get(&id)
    }

    /// Whether all that were looked up have a name.
    pub(super) fn are_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Asks for what is missing, if it is time.
    pub(super) fn send(&mut self, now: Instant, timeout: Duration, out: &mut Out) {
        if self.missing.is_empty() || self.asked.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        let request = GroupRequest::TopicNames(self.missing.iter().copied().collect());
        self.asked = Some(out.ask(GroupCall { to: To::Metadata, timeout, request }));
    }

    pub(super) fn is_asked(&self, id: RequestId) -> bool {
        self.asked == Some(id)
    }

    pub(super) fn on_answer(&mut self, now: Instant, answer: Result<GroupResponse>) {
        self.asked = None;
        match answer {
            Ok(GroupResponse::TopicNames(names)) => {
                for (id, name) in names {
                    if self.missing.remove(&id) {
                        self.learn(id, name);
                    }
                }
            }
            answer => tracing::debug!(?answer, "topics have no names yet"),
        }
        match self.missing.is_empty() {
            true => self.backoff.reset(),
            // Brokers learn of a topic one after the other.
            false => self.not_before = Some(now + self.backoff.next_wait()),
        }
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.asked.is_none() && !self.missing.is_empty())
    }
}
