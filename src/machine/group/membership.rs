//! What the two kinds of membership have in common: [`ClassicMembership`](super::classic::ClassicMembership) of a group
//! whose leader assigns, and [`ConsumerMembership`](super::consumer_group::ConsumerMembership) of one whose coordinator
//! does (KIP-848). The same commands and events, so that commits, reads and the consumer's handle need not know which.

use super::{GroupEvent, GroupResponse, Out, RevocationId};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{GenerationId, NodeId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::coordinator::Coordinator;
use crate::machine::metadata::Cluster;
use std::collections::BTreeMap;
use std::collections::btree_map::Keys;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As whom a commit may be sent right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A consumer without subscription: no generation, no member id.
    Outside,
    /// In the group, and the coordinator takes commits of this generation.
    Member(GenerationId, Arc<str>),
    /// Between two generations: the coordinator would refuse.
    BetweenGenerations,
}

/// A member, or someone who is about to become one.
///
/// After each mutation comes [`decide`](Self::decide), then [`send`](Self::send).
pub trait Membership: fmt::Debug + Send {
    /// See [`super::ConsumerCoordinator::subscribe`].
    fn subscribe(&mut self, now: Instant, topics: SubscribedTopics, out: &mut Out);

    /// The topics that a member's pattern matches are these now. Not the application's doing: it is no poll, and nothing
    /// happens to one who has not subscribed or whose group has failed.
    fn matched(&mut self, now: Instant, names: Vec<Arc<str>>);

    /// See [`super::ConsumerCoordinator::unsubscribe`].
    fn unsubscribe(&mut self, out: &mut Out);

    /// See [`super::ConsumerCoordinator::polled`].
    fn polled(&mut self, now: Instant);

    /// See [`super::ConsumerCoordinator::revoked`].
    fn revoked(&mut self, acknowledged: RevocationId);

    /// What the application has let go of, and what is let go once its last commits are answered.
    fn acknowledged(&self) -> Option<&[TopicPartition]>;

    /// What was acknowledged is no longer ours.
    fn let_go(&mut self, now: Instant, out: &mut Out);

    /// See [`super::ConsumerCoordinator::metadata`].
    fn metadata(&mut self, cluster: &Arc<Cluster>);

    /// See [`super::ConsumerCoordinator::close`].
    fn close(&mut self, deadline: Instant);

    /// The group can't go on. Another `subscribe` begins anew.
    fn fail(&mut self, error: Error, out: &mut Out);

    /// The coordinator says that this generation, or even this member, is not in the group (any more).
    fn expelled(&mut self, now: Instant, code: ErrorCode, out: &mut Out);

    /// A commit or a read was told that the group is further than we know: finds out, as soon as the state allows it.
    fn catch_up(&mut self, now: Instant, reason: &'static str);

    /// As whom to commit.
    fn standing(&self) -> Standing;

    /// As whom to read what is committed: the coordinator checks it, or nobody's business.
    fn reads_as(&self) -> Option<(GenerationId, Arc<str>)>;

    /// Whether a refusal of this generation only says that the coordinator is ahead of us (librdkafka 4059: taken as
    /// "lost", for four years).
    fn is_rebalancing(&self, of: GenerationId) -> bool;

    /// Since when a partition is ours, if it is.
    fn tenure(&self, partition: &TopicPartition) -> Option<Tenure>;

    /// Whether anything has to be asked of the coordinator.
    fn wants_coordinator(&self) -> bool;

    /// Out for good.
    fn has_left(&self) -> bool;

    /// Whether this is the answer to a request of this part.
    fn is_asked(&self, id: RequestId) -> bool;

    /// An answer to a request of this part.
    fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    );

    /// What time and flags have made due. Nothing is sent here.
    fn decide(&mut self, now: Instant, out: &mut Out);

    /// Sends what the state asks for, and the heartbeat if it is time. `may_leave`: the last commits are done.
    fn send(&mut self, now: Instant, node: Option<NodeId>, may_leave: bool, out: &mut Out);

    /// When to look again.
    fn poll_timeout(&self, has_node: bool) -> Option<Instant>;
}

/// What a member wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscribedTopics {
    /// Sorted, each once.
    Names(Vec<Arc<str>>),
    /// Every topic whose whole name the coordinator matches with this expression (RE2, KIP-848).
    Regex(Arc<str>),
}

impl SubscribedTopics {
    /// These topics.
    pub fn names(mut names: Vec<Arc<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self::Names(names)
    }
}

/// How long one partition has been ours without a break. What was meant under another tenure must not be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure(u64);

/// Everything assigned and not yet given up, what is being revoked included.
#[derive(Debug, Default)]
pub struct Owned {
    tenures: BTreeMap<TopicPartition, Tenure>,
    counter: u64,
}

impl Owned {
    /// These are ours from now on.
    pub fn add(&mut self, partitions: &[TopicPartition]) -> Tenure {
        self.counter += 1;
        let tenure = Tenure(self.counter);
        self.tenures.extend(partitions.iter().map(|partition| (partition.clone(), tenure)));
        tenure
    }

    /// These are not ours any more.
    pub fn remove(&mut self, partitions: &[TopicPartition]) {
        self.tenures.retain(|partition, _| !partitions.contains(partition));
    }

    /// Nothing is ours any more, and the application is told if there was something.
    pub fn lose_all(&mut self, out: &mut Out) {
        let lost: Vec<_> = std::mem::take(&mut self.tenures).into_keys().collect();
        if !lost.is_empty() {
            out.tell(GroupEvent::Lost(lost));
        }
    }

    /// Nothing is ours any more.
    pub fn clear(&mut self) {
        self.tenures.clear();
    }

    /// Since when this is ours, if it is.
    pub fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.tenures.get(partition).copied()
    }

    /// All of it, in order.
    pub fn partitions(&self) -> Keys<'_, TopicPartition, Tenure> {
        self.tenures.keys()
    }

    /// Asks the application to let go of these.
    pub fn revoke(&mut self, partitions: Vec<TopicPartition>, deadline: Instant) -> Revocation {
        self.counter += 1;
        Revocation { id: RevocationId(self.counter), partitions, deadline, acknowledged: false }
    }
}

/// Partitions that the application has been asked to let go of.
#[derive(Debug)]
pub struct Revocation {
    /// Its name.
    pub id: RevocationId,
    /// What is to go.
    pub partitions: Vec<TopicPartition>,
    /// When it goes whatever the application says: the coordinator waits no longer either.
    pub deadline: Instant,
    /// The application is through.
    pub acknowledged: bool,
}

impl Revocation {
    /// How long the application has: the coordinator's clock has run since before our last heartbeat.
    pub fn patience(max_poll_interval: Duration, heartbeat_interval: Duration) -> Duration {
        max_poll_interval.saturating_sub(heartbeat_interval).max(max_poll_interval / 2)
    }

    /// The application says that it is through with this one.
    pub fn acknowledge(&mut self, id: RevocationId) {
        self.acknowledged |= self.id == id;
    }

    /// For the application.
    pub fn event(&self, generation: GenerationId, member_id: Arc<str>) -> GroupEvent {
        GroupEvent::Revoking { id: self.id, partitions: self.partitions.clone(), generation, member_id }
    }
}
