//! Cuts in the network: between clients and brokers, and between a broker and the others.
//!
//! Nothing that goes over a cut link is lost, as with TCP: it arrives when the network [heals](TestCluster::heal).
//!
//! A leader that is cut off from the others does not learn that another has taken its place: it goes on with a log of its
//! own ([`Stale`]), takes what `acks=1` brings, and loses that when the network heals.

use super::state::{Partition, State, Topic};
use super::{Shared, TestCluster, client_id};
use crate::ids::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What [`TestCluster::cut`] cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Between this broker and every client: requests and answers wait, connections in memory are not made, those over
    /// TCP are made and silent. The other brokers notice nothing.
    Clients(NodeId),
    /// Between every broker and the clients with this `client.id`, from the next request or answer on.
    Client(String),
    /// Between this broker and the others. What it leads is not replicated, so `acks=all` waits; after 9 s
    /// (`broker.session.timeout.ms`) others lead instead, and it goes on as a leader who has not heard of it: its metadata
    /// is of then, and what `acks=1` writes to it is lost when the network heals. As a coordinator it answers
    /// `COORDINATOR_NOT_AVAILABLE` from the beginning, since it can't have anything replicated. Admin requests that a
    /// controller answers are carried out through it all the same. A [kill](TestCluster::kill) ends the cut.
    Brokers(NodeId),
}

/// What a broker that is cut off believes, once the others have gone on without it.
#[derive(Debug)]
pub(super) struct Stale {
    topics: BTreeMap<Arc<str>, Vec<Partition>>,
    alive: Vec<NodeId>,
}

impl Stale {
    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)
    }
}

impl State {
    /// A topic's partitions as this broker knows them; `None` if the topic has been made behind its back.
    pub(super) fn partitions_known_to<'a>(&'a self, node: NodeId, topic: &'a Topic) -> Option<&'a [Partition]> {
        match self.nodes.get(&node).and_then(|node| node.stale.as_ref()) {
            Some(stale) => stale.topics.get(&topic.name).map(Vec::as_slice),
            None => Some(&topic.partitions),
        }
    }

    /// The brokers that this one holds for alive.
    pub(super) fn alive_to(&self, node: NodeId) -> Vec<NodeId> {
        match self.nodes.get(&node).and_then(|node| node.stale.as_ref()) {
            Some(stale) => stale.alive.clone(),
            None => self.alive().map(|(id, _)| id).collect(),
        }
    }

    /// Before the others go on without it, a broker that is cut off takes along what it knows.
    pub(super) fn keep_what_it_knows(&mut self, id: NodeId) {
        if self.nodes.get(&id).is_none_or(|node| node.cut_off.is_none()) {
            return;
        }
        let alive = self.nodes.iter().filter(|(_, node)| node.alive).map(|(id, _)| *id).collect();
        let kept = |(name, topic): (&Arc<str>, &mut Topic)| {
            (Arc::clone(name), topic.partitions.iter_mut().map(|partition| partition.kept_by(id)).collect())
        };
        let topics = self.topics.iter_mut().map(kept).collect();
        self.nodes.entry(id).and_modify(|node| node.stale = Some(Stale { topics, alive }));
    }

    /// Looks anew which partitions have an in-sync replica that nothing gets to.
    pub(super) fn find_held(&mut self) {
        let nodes = &self.nodes;
        let is_away = |node: &NodeId| nodes.get(node).is_some_and(|node| node.absent_since().is_some());
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            let held = partition.isr.len() > 1 && partition.isr.iter().any(is_away);
            partition.hold(held);
        }
    }

    fn heal(&mut self) {
        self.cuts.clear();
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id).filter(|node| node.cut_off.is_some()) else { continue };
            node.cut_off = None;
            self.give_up_stale(id);
            self.come_back(id);
        }
        self.find_held();
    }

    /// What a broker has done while it was cut off: lost, but where nobody has led since, so that its log is still the one.
    pub(super) fn give_up_stale(&mut self, id: NodeId) {
        let stale = self.nodes.get_mut(&id).and_then(|node| node.stale.take());
        for (name, partitions) in stale.map(|stale| stale.topics).unwrap_or_default() {
            for (index, mut stale) in partitions.into_iter().enumerate() {
                stale.wake();
                if let Some(partition) = self.partition_mut(&name, index as i32)
                    && partition.leader.is_none()
                    && partition.led_last == Some(id)
                    && stale.leader == Some(id)
                {
                    partition.log = stale.log;
                }
            }
        }
    }
}

impl TestCluster {
    /// Cuts a link, until the network [heals](Self::heal).
    ///
    /// # Panics
    /// If there is no such broker: the test is wrong.
    pub fn cut(&self, link: Link) {
        let mut state = self.shared.state();
        let known = match &link {
            Link::Clients(node) | Link::Brokers(node) => state.nodes.contains_key(node),
            Link::Client(_) => true,
        };
        if let Link::Brokers(id) = link {
            let now = self.shared.clock.now();
            state.unload_groups_of(id, now);
            if let Some(node) = state.nodes.get_mut(&id).filter(|node| node.alive) {
                node.cut_off.get_or_insert(now);
            }
            state.find_held();
        } else {
            state.cuts.push(link);
        }
        drop(state);
        self.shared.deadlines.notify_one();
        assert!(known, "no such broker in the test cluster");
    }

    /// Mends every link that was [cut](Self::cut).
    pub fn heal(&self) {
        self.shared.state().heal();
        self.shared.resumed.notify_waiters();
        self.shared.deadlines.notify_one();
    }
}

impl Shared {
    /// Returns when the broker is not paused, and nothing stands between it and the sender of this request.
    pub(super) async fn passes(&self, node: NodeId, frame: &[u8]) {
        self.until(|state| {
            let runs = state.nodes.get(&node).is_none_or(|node| node.paused.is_none());
            let is_between = |link: &Link| match link {
                Link::Clients(cut) => *cut == node,
                Link::Client(id) => *id == *client_id(frame),
                Link::Brokers(_) => false,
            };
            runs && !state.cuts.iter().any(is_between)
        })
        .await;
    }

    /// Returns when the broker is not paused, and nothing stands between it and clients that have said nothing yet.
    pub(super) async fn can_be_reached(&self, node: NodeId) {
        self.until(|state| {
            let runs = state.nodes.get(&node).is_none_or(|node| node.paused.is_none());
            runs && !state.cuts.contains(&Link::Clients(node))
        })
        .await;
    }

    /// Returns when connections to the broker can be made.
    pub(super) async fn can_connect(&self, node: NodeId) {
        self.until(|state| !state.cuts.contains(&Link::Clients(node))).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let resumed = self.resumed.notified();
            {
                let state = self.state();
                if state.closed || holds(&state) {
                    return;
                }
            }
            resumed.await;
        }
    }
}
