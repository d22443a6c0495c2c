//! A consumer's side of its group: one machine that joins, heartbeats, commits and leaves, made of parts that call each
//! other and give out only requests, events and deadlines.
//!
//! ```text
//!  application ── subscribe, polled, revoked, commit, fetch_offsets, close ──> ConsumerCoordinator
//!                                                                                │
//!       Coordinator          Membership             OffsetCommit    OffsetFetch  │  each wants the coordinator's node,
//!   who is to be asked    in the group or not      what to commit   and to read  │  holds its own request in flight
//!            └────────────── GroupCall ─────────────────┴────────────────────────┘
//!  application <── Assigned, Revoking, Lost, Failed
//! ```
//!
//! After each mutation `step` lets every part do what has become possible. Nothing is sent while the coordinator is
//! not known; then it is looked up first.

pub mod assignor;
pub mod classic;
pub mod consumer_group;
pub mod group_topics;
pub mod membership;
pub mod range;
mod refusal;
#[cfg(test)]
mod simulation_tests;
pub mod sticky;
#[cfg(test)]
mod tests;
pub mod topic_pattern;

use super::backoff::Backoff;
use super::coordinator::Coordinator;
use super::metadata::Cluster;
use super::offset_commit::{Commit, OffsetCommit};
use super::offset_fetch::{Committed, OffsetFetch};
use super::{Machine, RequestId};
use crate::error::{Error, ErrorKind};
use crate::ids::{CoordinatorKey, GenerationId, NodeId, TopicId, TopicPartition};
use crate::wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use assignor::Assignor;
use classic::ClassicMembership;
use consumer_group::ConsumerMembership;
use group_topics::GroupTopics;
use membership::{Membership, SubscribedTopics, Tenure};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic_pattern::TopicPattern;

/// What a member of a group goes by.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// `group.instance.id`: a static member keeps its partitions over a restart (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// `session.timeout.ms`: how long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: how long the application may go without polling, and how long a rebalance waits for it.
    pub max_poll_interval: Duration,
    /// `request.timeout.ms`, for everything but JoinGroup.
    pub request_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub backoff: (Duration, Duration),
    /// `partition.assignment.strategy`, the preferred first.
    pub assignors: Vec<Arc<dyn Assignor>>,
    /// `client.rack`: where we are, for assignors that care.
    pub rack: Option<Arc<str>>,
    /// `group.protocol`: who assigns.
    pub protocol: GroupProtocol,
    /// `group.remote.assignor`: which of the coordinator's assignors, with [`GroupProtocol::Consumer`].
    pub remote_assignor: Option<Arc<str>>,
    /// For the jitter of the waits, and the member id that we give ourselves.
    pub seed: u64,
}

/// `group.protocol`: who decides which member reads what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// `classic`: one of the members, by `partition.assignment.strategy`. Every broker has it.
    #[default]
    Classic,
    /// `consumer`: the coordinator, by `group.remote.assignor`; members change one by one, without a rebalance of all
    /// (KIP-848). Apache Kafka from 4.0.
    Consumer,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Any broker.
    Any,
    /// The coordinator.
    Group(NodeId),
    /// The coordinator, over a connection of its own, since the answer may take minutes.
    Join(NodeId),
    /// The client's own metadata.
    Metadata,
}

/// One request and where it goes.
#[derive(Debug, Clone)]
pub struct GroupCall {
    /// Whom to ask.
    pub to: To,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// What.
    pub request: GroupRequest,
}

/// What is asked. The requests have the form of their newest version (`wire::group_requests` makes older ones).
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named as in Kafka's protocol")]
pub enum GroupRequest {
    FindCoordinator(CoordinatorKey),
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    /// How many partitions these topics have now, and where; ours to answer, from fresh metadata.
    Topics(Vec<Arc<str>>),
    /// What the topics with these ids are called; ours to answer, from a broker's metadata.
    TopicNames(Vec<TopicId>),
}

/// What is answered, in the form of the newest version.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named as in Kafka's protocol")]
pub enum GroupResponse {
    FindCoordinator(NodeId),
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponse),
    Topics(GroupTopics),
    /// Those that are known.
    TopicNames(Vec<(TopicId, Arc<str>)>),
}

/// Names one revocation, so that a late `revoked` does not acknowledge the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevocationId(pub u64);

/// What the application is told.
#[derive(Debug, Clone)]
pub enum GroupEvent {
    /// These are ours from now on, beside those that we have; of this generation, as this member.
    Assigned {
        /// Only the added ones; may be empty.
        partitions: Vec<TopicPartition>,
        /// Theirs. What is meant for them is committed with it.
        tenure: Tenure,
        /// The generation that the group is in.
        generation: GenerationId,
        /// The id that the coordinator knows us by.
        member_id: Arc<str>,
    },
    /// Finish and commit what these hold, then call [`ConsumerCoordinator::revoked`]; heartbeats go on until then.
    Revoking {
        /// Which revocation to acknowledge.
        id: RevocationId,
        /// Not all that we have, under a cooperative protocol.
        partitions: Vec<TopicPartition>,
        /// The generation to commit under: a cooperative revocation belongs to the new one already.
        generation: GenerationId,
        /// The id that the coordinator knows us by.
        member_id: Arc<str>,
    },
    /// The coordinator has moved us on: commits are of this generation from now on. Nothing else has changed.
    Generation {
        /// The epoch of the member, with [`GroupProtocol::Consumer`].
        generation: GenerationId,
        /// The id that the coordinator knows us by.
        member_id: Arc<str>,
    },
    /// These belong to others already; nothing can be committed for them.
    Lost(Vec<TopicPartition>),
    /// The group can't go on: fenced, not allowed, or misconfigured. A new `subscribe` begins anew.
    Failed(Error),
}

/// How an outcome gets back to whoever asked.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// Where all parts put what goes out.
#[derive(Debug, Default)]
pub struct Out {
    next_id: u64,
    requests: VecDeque<(RequestId, GroupCall)>,
    events: VecDeque<GroupEvent>,
}

impl Out {
    /// Sends a request.
    pub fn ask(&mut self, call: GroupCall) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.requests.push_back((id, call));
        id
    }

    /// Tells the application.
    pub fn tell(&mut self, event: GroupEvent) {
        self.events.push_back(event);
    }
}

/// The machine.
pub struct ConsumerCoordinator {
    coordinator: Coordinator,
    membership: Box<dyn Membership>,
    commits: OffsetCommit,
    fetches: OffsetFetch,
    out: Out,
    request_timeout: Duration,
    /// What of the cluster's topics the application wants, and whether the group has been joined for it.
    pattern: Option<(TopicPattern, bool)>,
    /// How often the application has unsubscribed: what was told before does not concern it after.
    round: u64,
}

impl fmt::Debug for ConsumerCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerCoordinator").field("membership", &self.membership).finish_non_exhaustive()
    }
}

impl ConsumerCoordinator {
    /// Outside of the group, with nothing to do yet.
    pub fn new(now: Instant, config: GroupConfig) -> Self {
        let config = Arc::new(config);
        let backoff = |nth| Backoff::new(config.backoff.0, config.backoff.1, config.seed.wrapping_add(nth));
        Self {
            coordinator: Coordinator::new(CoordinatorKey::Group(config.group_id.clone()), backoff(0)),
            membership: match config.protocol {
                GroupProtocol::Classic => Box::new(ClassicMembership::new(now, config.clone(), backoff(1))),
                GroupProtocol::Consumer => Box::new(ConsumerMembership::new(now, config.clone(), backoff(1))),
            },
            commits: OffsetCommit::new(config.clone(), backoff(2)),
            fetches: OffsetFetch::new(config.clone(), backoff(3)),
            out: Out::default(),
            request_timeout: config.request_timeout,
            pattern: None,
            round: 0,
        }
    }

    /// Joins the group for these topics, or joins it anew if they have changed.
    pub fn subscribe(&mut self, now: Instant, topics: SubscribedTopics) {
        self.pattern = None;
        self.membership.subscribe(now, topics, &mut self.out);
        self.step(now);
    }

    /// As `subscribe`, for what this matches of the topics that there are, now and later. The group is joined when they are
    /// known: to join it without any would be a rebalance in vain.
    pub fn subscribe_pattern(&mut self, now: Instant, pattern: TopicPattern, cluster: &Arc<Cluster>) {
        self.pattern = Some((pattern, false));
        self.metadata(now, cluster);
    }

    /// Leaves the group, but stays ready for another `subscribe`. What is held is gone without an event. Events carry the
    /// number of these calls as their round: those of an earlier one are of what was given up.
    pub fn unsubscribe(&mut self, now: Instant) {
        self.round += 1;
        self.pattern = None;
        self.out.events.clear();
        self.membership.unsubscribe(&mut self.out);
        self.step(now);
    }

    /// The application has polled.
    pub fn polled(&mut self, now: Instant) {
        self.membership.polled(now);
        self.step(now);
    }

    /// The application has finished with the partitions of a [`GroupEvent::Revoking`].
    pub fn revoked(&mut self, now: Instant, id: RevocationId) {
        self.membership.revoked(id);
        self.step(now);
    }

    /// The client's metadata has changed.
    pub fn metadata(&mut self, now: Instant, cluster: &Arc<Cluster>) {
        self.membership.metadata(cluster);
        if let Some((pattern, joined)) = &mut self.pattern
            && let Some(names) = pattern.topics(cluster)
        {
            match std::mem::replace(joined, true) {
                true => self.membership.matched(now, names),
                false => self.membership.subscribe(now, SubscribedTopics::Names(names), &mut self.out),
            }
        }
        self.step(now);
    }

    /// Commits this behind the commits before, retried until its deadline.
    pub fn commit(&mut self, now: Instant, commit: Commit) {
        self.commits.push(commit, &*self.membership);
        self.step(now);
    }

    /// Reads what the group has committed. A partition without a commit is not in the answer.
    pub fn fetch_offsets(
        &mut self,
        now: Instant,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
        reply: Reply<Committed>,
    ) {
        self.fetches.push(partitions, deadline, reply);
        self.step(now);
    }

    /// Finishes the commits and leaves the group, by `deadline` at the latest; then the machine is closed. Commits have three
    /// quarters of the time, or one heartbeat's during a rebalance: one that is refused again and again must not take the
    /// farewell along.
    pub fn close(&mut self, now: Instant, deadline: Instant) {
        self.commits.hurry(now, now + deadline.saturating_duration_since(now) * 3 / 4);
        self.membership.close(deadline);
        self.step(now);
    }

    fn step(&mut self, now: Instant) {
        self.commits.expire(now, &mut self.coordinator);
        self.fetches.expire(now);
        self.let_go(now);
        self.membership.decide(now, &mut self.out);
        if self.wants_coordinator() {
            let (timeout, out) = (self.request_timeout, &mut self.out);
            self.coordinator.find(now, |key| {
                out.ask(GroupCall { to: To::Any, timeout, request: GroupRequest::FindCoordinator(key) })
            });
        }
        let node = self.coordinator.node();
        self.commits.send(now, node, &*self.membership, &mut self.out);
        self.fetches.send(now, node, &*self.membership, &mut self.out);
        self.let_go(now);
        // The last commits go before the farewell.
        self.membership.send(now, node, self.commits.is_empty(), &mut self.out);
        if self.is_closed() {
            self.commits.fail_all(&closed());
            self.fetches.fail_all(&closed());
        }
    }

    fn let_go(&mut self, now: Instant) {
        if self.membership.acknowledged().is_some_and(|partitions| !self.commits.concerns(partitions)) {
            self.membership.let_go(now, &mut self.out);
        }
    }

    fn wants_coordinator(&self) -> bool {
        self.membership.wants_coordinator() || !self.commits.is_empty() || !self.fetches.is_empty()
    }
}

impl Machine for ConsumerCoordinator {
    type Request = GroupCall;
    type Response = GroupResponse;
    /// With the round it belongs to, see [`ConsumerCoordinator::unsubscribe`].
    type Event = (u64, GroupEvent);

    fn handle_response(&mut self, now: Instant, id: RequestId, response: Result<GroupResponse, Error>) {
        let Self { coordinator, membership, commits, fetches, out, .. } = self;
        if coordinator.is_asked(id) {
            let answer = response.and_then(|response| match response {
                GroupResponse::FindCoordinator(node) => Ok(node),
                _ => Err(mismatched()),
            });
            if let Err(error) = coordinator.on_answer(now, answer) {
                membership.fail(error.clone(), out);
                commits.fail_all(&error);
                fetches.fail_all(&error);
            }
        } else if membership.is_asked(id) {
            membership.on_answer(now, id, response, coordinator, out);
        } else if commits.is_asked(id) {
            commits.on_answer(now, response, coordinator, &mut **membership, out);
        } else if fetches.is_asked(id) {
            fetches.on_answer(now, id, response, coordinator, &mut **membership);
        } // else: the answer to a question no longer asked
        self.step(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.step(now);
    }

    fn handle_abandoned(&mut self, now: Instant) {
        self.close(now, now + Duration::from_secs(1));
    }

    fn poll_request(&mut self) -> Option<(RequestId, GroupCall)> {
        self.out.requests.pop_front()
    }

    fn poll_event(&mut self) -> Option<(u64, GroupEvent)> {
        Some((self.round, self.out.events.pop_front()?))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let has_node = self.coordinator.node().is_some();
        let lookup = self.coordinator.poll_timeout().filter(|_| self.wants_coordinator());
        lookup
            .into_iter()
            .chain(self.membership.poll_timeout(has_node))
            .chain(self.commits.poll_timeout(has_node))
            .chain(self.fetches.poll_timeout(has_node))
            .min()
    }

    fn is_closed(&self) -> bool {
        self.membership.has_left()
    }
}

/// An answer of another API than asked: a caller's mistake, never a broker's.
pub(super) fn mismatched() -> Error {
    Error::with_message(ErrorKind::Malformed, "the answer to another request")
}

/// As a request has them.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn closed() -> Error {
    Error::with_message(ErrorKind::Closed, "the consumer is closed")
}
