//! Membership of a classic group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! What an answer of the coordinator changes, here and for commits alike (protocol-rules 8):
//!
//! | code | generation | member id | partitions |
//! | --- | --- | --- | --- |
//! | REBALANCE_IN_PROGRESS | kept | kept | revoked (eager) or kept (cooperative), then rejoin |
//! | ILLEGAL_GENERATION | reset | kept | lost, then rejoin |
//! | UNKNOWN_MEMBER_ID | reset | reset | lost, then rejoin |
//! | MEMBER_ID_REQUIRED | - | adopted | rejoin at once (KIP-394) |
//! | FENCED_INSTANCE_ID, and what no retry cures | reset | reset | lost; the application is told |
//! | no answer, NOT_COORDINATOR | kept | kept | kept; the coordinator is looked up |
//!
//! `answers.rs` has the code of this table.

mod answers;

use super::assignor::{GroupMember, PartitionCounts, RebalanceProtocol, all_topics};
use super::{GroupCall, GroupConfig, GroupEvent, GroupRequest, Out, RevocationId, To};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{GenerationId, NodeId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::backoff::Backoff;
use crate::wire::group_protocol::{PROTOCOL_TYPE, Subscription, str_bytes};
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Java gives a JoinGroup this much longer than the rebalance may take.
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// In Kafka's state names, and `Revoking`, which Java spends inside a callback.
///
/// ```text
///              subscribe           JoinGroup's answer                SyncGroup's answer
///  Unjoined ─────────────> Preparing ─────────────> Completing ──────────────────────────> Stable ──┐
///     ^  nothing to revoke ^  ^  ^                   Counting: a leader's                    │  ^    │ heartbeat
///     │                    │  │  │                   partition counts                        │  └────┘
///     │                    │  │  └──── error ──────── Syncing                                │
///     │                    │  │                          │ cooperative, something to give up │ REBALANCE_IN_PROGRESS,
///     │                    │  └── revoked(), deadline ── Revoking <──────────────────────────┤ subscription or
///     │                    └───────────────────────────── nothing to revoke ─────────────────┘ partitions changed
///     ├── generation or member id reset: everything is Lost
///     └── unsubscribe, max.poll.interval, failure
///  any ── close ──> Leaving ── answer, or deadline ──> Left
/// ```
#[derive(Debug)]
enum State {
    Unjoined,
    Revoking { id: RevocationId, partitions: Vec<TopicPartition>, deadline: Instant, acknowledged: bool },
    PreparingRebalance,
    Counting { members: Vec<GroupMember>, skip: bool },
    Syncing(Vec<SyncGroupRequestAssignment>),
    Stable,
    Leaving { deadline: Instant },
    Left,
}

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

/// How long one partition has been ours without a break. What was meant under another tenure must not be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure(u64);

/// What the leader assigned by.
#[derive(Debug)]
struct Leading {
    counts: PartitionCounts,
    topics: BTreeSet<Arc<str>>,
}

/// A member, or someone who is about to become one.
#[derive(Debug)]
pub struct Membership {
    config: Arc<GroupConfig>,
    protocol: RebalanceProtocol,
    state: State,
    /// Sorted; `None`: not subscribed.
    topics: Option<Vec<Arc<str>>>,
    /// What the coordinator knows of them.
    joined_topics: Vec<Arc<str>>,
    member_id: Arc<str>,
    generation: GenerationId,
    /// The assignor that the coordinator chose for this generation.
    assignor: Arc<str>,
    /// Everything assigned and not yet given up, what is being revoked included.
    owned: BTreeMap<TopicPartition, Tenure>,
    counter: u64,
    /// The one JoinGroup, SyncGroup, LeaveGroup or `Topics` whose answer we wait for, and who was asked.
    asked: Option<(RequestId, Option<NodeId>)>,
    /// The heartbeat under way, who was asked, and of which generation.
    heartbeat: Option<(RequestId, NodeId, GenerationId)>,
    next_heartbeat: Instant,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// Why the group must be joined again once this state allows it.
    rejoin: Option<&'static str>,
    leading: Option<Leading>,
    last_poll: Instant,
    /// Out of the group because the application did not poll; the next poll joins again.
    stalled: bool,
    /// Out of the group for good, which is not the same as never having wanted in.
    failed: bool,
    /// The coordinator when last seen, for a farewell that nobody waits for.
    node: Option<NodeId>,
}

impl Membership {
    /// Outside of the group.
    pub fn new(now: Instant, config: Arc<GroupConfig>, backoff: Backoff) -> Self {
        let eager = |assignor: &Arc<dyn super::Assignor>| assignor.protocol() == RebalanceProtocol::Eager;
        let protocol = match config.assignors.iter().any(eager) {
            true => RebalanceProtocol::Eager,
            false => RebalanceProtocol::Cooperative,
        };
        Self {
            config,
            protocol,
            state: State::Unjoined,
            topics: None,
            joined_topics: vec![],
            member_id: "".into(),
            generation: GenerationId::NONE,
            assignor: "".into(),
            owned: BTreeMap::new(),
            counter: 0,
            asked: None,
            heartbeat: None,
            next_heartbeat: now,
            not_before: None,
            backoff,
            rejoin: None,
            leading: None,
            last_poll: now,
            stalled: false,
            failed: false,
            node: None,
        }
    }

    /// See [`super::ConsumerCoordinator::subscribe`].
    pub fn subscribe(&mut self, now: Instant, mut topics: Vec<Arc<str>>) {
        if self.is_ending() {
            return;
        }
        topics.sort_unstable();
        topics.dedup();
        (self.last_poll, self.stalled, self.failed) = (now, false, false);
        if self.topics.as_ref() != Some(&topics) {
            self.rejoin = Some("the subscription has changed");
        }
        self.topics = Some(topics);
    }

    /// See [`super::ConsumerCoordinator::unsubscribe`].
    pub fn unsubscribe(&mut self, out: &mut Out) {
        if self.is_ending() {
            return;
        }
        self.say_farewell("the consumer unsubscribed", out);
        (self.topics, self.failed) = (None, false);
        self.owned.clear();
        self.outside(true);
    }

    /// See [`super::ConsumerCoordinator::polled`].
    pub fn polled(&mut self, now: Instant) {
        (self.last_poll, self.stalled) = (now, false);
    }

    /// See [`super::ConsumerCoordinator::revoked`].
    pub fn revoked(&mut self, acknowledged: RevocationId) {
        if let State::Revoking { id, acknowledged: is_acknowledged, .. } = &mut self.state
            && *id == acknowledged
        {
            *is_acknowledged = true;
        }
    }

    /// What the application has let go of. It goes once its last commits are answered: a JoinGroup that overtook them,
    /// over its own connection, would make them commits of a generation that is no more.
    pub fn acknowledged(&self) -> Option<&[TopicPartition]> {
        match &self.state {
            State::Revoking { partitions, acknowledged: true, .. } => Some(partitions),
            _ => None,
        }
    }

    /// What was acknowledged is no longer ours.
    pub fn let_go(&mut self) {
        if let State::Revoking { partitions, .. } = &self.state {
            self.owned.retain(|partition, _| !partitions.contains(partition));
            self.state = State::PreparingRebalance;
        }
    }

    /// See [`super::ConsumerCoordinator::metadata`].
    pub fn metadata(&mut self, count: impl Fn(&str) -> i32) {
        let changed = |leading: &Leading| {
            let known = |topic: &Arc<str>| leading.counts.get(topic).copied().unwrap_or(0);
            leading.topics.iter().any(|topic| count(topic) != known(topic))
        };
        if self.leading.as_ref().is_some_and(changed) {
            self.leading = None; // once is enough
            self.rejoin = Some("the number of partitions has changed");
        }
    }

    /// See [`super::ConsumerCoordinator::close`].
    pub fn close(&mut self, deadline: Instant) {
        if self.is_ending() {
            return;
        }
        self.asked = None; // a parked JoinGroup is not waited for
        (self.topics, self.not_before) = (None, None);
        self.state = State::Leaving { deadline };
    }

    /// The group can't go on. Another `subscribe` begins anew.
    pub fn fail(&mut self, error: Error, out: &mut Out) {
        if let State::Leaving { .. } = self.state {
            self.state = State::Left; // nobody to say farewell to, and asking again would not end
        }
        if self.is_ending() || self.topics.is_none() {
            return;
        }
        tracing::warn!(group = %self.config.group_id, %error, "out of the group");
        (self.topics, self.failed) = (None, true);
        self.lose_all(out);
        self.outside(true);
        out.tell(GroupEvent::Failed(error));
    }

    /// The coordinator says that this generation, or even this member, is not in the group (any more).
    pub fn expelled(&mut self, code: ErrorCode, out: &mut Out) {
        if self.is_ending() {
            return;
        }
        tracing::info!(group = %self.config.group_id, member = %self.member_id, %code, "membership lost, joining anew");
        self.lose_all(out);
        self.outside(code == ErrorCode::UnknownMemberId);
    }

    /// Joins again as soon as the state allows it.
    pub fn request_rejoin(&mut self, reason: &'static str) {
        self.rejoin = Some(reason);
    }

    /// As whom to commit.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Unjoined if self.topics.is_none() && !self.failed => Standing::Outside,
            State::Revoking { .. } | State::PreparingRebalance | State::Stable | State::Leaving { .. }
                if self.generation != GenerationId::NONE =>
            {
                Standing::Member(self.generation, self.member_id.clone())
            }
            State::Leaving { .. } | State::Left => Standing::Outside,
            _ => Standing::BetweenGenerations,
        }
    }

    /// Whether a refusal of this generation only says that the next one has begun: while a JoinGroup is under way the
    /// coordinator is ahead of us (librdkafka 4059: taken as "lost", for four years).
    pub fn is_rebalancing(&self, of: GenerationId) -> bool {
        let joining = matches!(self.state, State::PreparingRebalance | State::Counting { .. } | State::Syncing(_));
        joining || of != self.generation
    }

    /// Since when a partition is ours, if it is.
    pub fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.owned.get(partition).copied()
    }

    /// Whether anything has to be asked of the coordinator.
    pub fn wants_coordinator(&self) -> bool {
        match self.state {
            State::Unjoined | State::Left => false,
            State::Leaving { .. } => self.has_to_leave(),
            _ => true,
        }
    }

    /// Out for good.
    pub fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    /// Whether this is the answer to a request of this part.
    pub fn is_asked(&self, id: RequestId) -> bool {
        self.asked.is_some_and(|asked| asked.0 == id) || self.heartbeat.is_some_and(|beat| beat.0 == id)
    }

    /// When to look again.
    pub fn poll_timeout(&self, has_node: bool) -> Option<Instant> {
        let state = match &self.state {
            State::Revoking { deadline, .. } | State::Leaving { deadline } => Some(*deadline),
            _ => None,
        };
        let sends = match self.state {
            State::PreparingRebalance | State::Syncing(_) | State::Leaving { .. } => has_node,
            State::Counting { .. } => true,
            _ => false,
        };
        let retry = self.not_before.filter(|_| sends && self.asked.is_none());
        let beat = Some(self.next_heartbeat).filter(|_| has_node && self.is_beating() && self.heartbeat.is_none());
        let poll = self.is_in().then(|| self.last_poll + self.config.max_poll_interval);
        state.into_iter().chain(retry).chain(beat).chain(poll).min()
    }

    /// What time and flags have made due. Nothing is sent here.
    pub fn decide(&mut self, now: Instant, out: &mut Out) {
        if self.is_in() && now >= self.last_poll + self.config.max_poll_interval {
            tracing::warn!(
                group = %self.config.group_id,
                "the application has not polled within max.poll.interval.ms; leaving the group until it does"
            );
            self.say_farewell("the application did not poll within max.poll.interval.ms", out);
            self.lose_all(out);
            self.outside(true);
            self.stalled = true;
        }
        match &self.state {
            State::Leaving { deadline } if now >= *deadline => self.state = State::Left,
            State::Revoking { partitions, deadline, .. } if now >= *deadline => {
                let partitions = partitions.clone();
                tracing::warn!(group = %self.config.group_id, "the application did not finish a revocation in time");
                self.owned.retain(|partition, _| !partitions.contains(partition));
                out.tell(GroupEvent::Lost(partitions));
                self.state = State::PreparingRebalance;
            }
            State::Unjoined if self.topics.is_some() && !self.stalled => self.prepare(now, out),
            State::Stable if self.rejoin.is_some() => self.prepare(now, out),
            _ => {}
        }
    }

    /// Gives up what must be given up before joining.
    fn prepare(&mut self, now: Instant, out: &mut Out) {
        let subscribed = |partition: &TopicPartition| self.topics.iter().flatten().any(|topic| *topic == partition.topic);
        let keeps = |partition: &TopicPartition| match self.protocol {
            RebalanceProtocol::Eager => false,
            RebalanceProtocol::Cooperative => subscribed(partition),
        };
        let revoked = self.owned.keys().filter(|partition| !keeps(partition)).cloned().collect();
        self.revoke(now, revoked, out);
    }

    fn revoke(&mut self, now: Instant, partitions: Vec<TopicPartition>, out: &mut Out) {
        if partitions.is_empty() {
            self.state = State::PreparingRebalance;
            return;
        }
        self.counter += 1;
        let id = RevocationId(self.counter);
        // The coordinator's clock has run since before our last heartbeat.
        let wait = self.config.max_poll_interval.saturating_sub(self.config.heartbeat_interval);
        let deadline = now + wait.max(self.config.max_poll_interval / 2);
        let (generation, member_id) = (self.generation, self.member_id.clone());
        out.tell(GroupEvent::Revoking { id, partitions: partitions.clone(), generation, member_id });
        self.state = State::Revoking { id, partitions, deadline, acknowledged: false };
    }

    /// Sends what the state asks for, and the heartbeat if it is time. `may_leave`: the last commits are done.
    pub fn send(&mut self, now: Instant, node: Option<NodeId>, may_leave: bool, out: &mut Out) {
        self.node = node;
        if matches!(self.state, State::Leaving { .. }) && may_leave && !self.has_to_leave() {
            self.state = State::Left;
        }
        // A JoinGroup parked at a broker that is no longer the coordinator would wait for nothing.
        if node.is_some() && self.asked.is_some_and(|(_, asked)| asked.is_some() && asked != node) {
            self.asked = None;
        }
        if node.is_some() && self.heartbeat.is_some_and(|(_, asked, _)| Some(asked) != node) {
            self.heartbeat = None;
        }
        if self.asked.is_none() && self.not_before.is_none_or(|at| now >= at) {
            if node.is_some() {
                self.not_before = None;
            }
            self.asked = self.next_request(node, may_leave).map(|call| {
                let asked = match call.to {
                    To::Group(node) | To::Join(node) => Some(node),
                    To::Any | To::Metadata => None,
                };
                (out.ask(call), asked)
            });
        }
        if let Some(node) = node
            && self.is_beating()
            && self.heartbeat.is_none()
            && now >= self.next_heartbeat
        {
            let request = GroupRequest::Heartbeat(
                HeartbeatRequest::default()
                    .with_group_id(self.group_id())
                    .with_generation_id(self.generation.0)
                    .with_member_id(str_bytes(&self.member_id))
                    .with_group_instance_id(self.config.instance_id.as_deref().map(str_bytes)),
            );
            let timeout = self.config.request_timeout.min(self.config.session_timeout);
            let id = out.ask(GroupCall { to: To::Group(node), timeout, request });
            self.heartbeat = Some((id, node, self.generation));
        }
    }

    fn next_request(&mut self, node: Option<NodeId>, may_leave: bool) -> Option<GroupCall> {
        let timeout = self.config.request_timeout;
        if let State::Counting { members, .. } = &self.state {
            let topics = all_topics(members).into_iter().collect();
            return Some(GroupCall { to: To::Metadata, timeout, request: GroupRequest::Topics(topics) });
        }
        let node = node?;
        match &self.state {
            State::PreparingRebalance => {
                let timeout = timeout.max(self.config.max_poll_interval + JOIN_SLACK);
                match self.join_request() {
                    Ok(request) => Some(GroupCall { to: To::Join(node), timeout, request }),
                    Err(error) => {
                        // A topic name of more than 32,767 bytes: nothing that a broker would take.
                        tracing::error!(%error, "the subscription can't be written");
                        None
                    }
                }
            }
            State::Syncing(assignments) => {
                let request = SyncGroupRequest::default()
                    .with_group_id(self.group_id())
                    .with_generation_id(self.generation.0)
                    .with_member_id(str_bytes(&self.member_id))
                    .with_group_instance_id(self.config.instance_id.as_deref().map(str_bytes))
                    .with_protocol_type(Some(str_bytes(PROTOCOL_TYPE)))
                    .with_protocol_name(Some(str_bytes(&self.assignor)))
                    .with_assignments(assignments.clone());
                // It waits for the leader, so it may take as long as a JoinGroup.
                let timeout = timeout.max(self.config.max_poll_interval + JOIN_SLACK);
                Some(GroupCall { to: To::Join(node), timeout, request: GroupRequest::SyncGroup(request) })
            }
            State::Leaving { .. } if may_leave => {
                let request = self.leave_request("the consumer is being closed");
                Some(GroupCall { to: To::Group(node), timeout, request })
            }
            _ => None,
        }
    }

    fn join_request(&mut self) -> Result<GroupRequest> {
        let topics = self.topics.clone().unwrap_or_default();
        let mut protocols = vec![];
        for assignor in &self.config.assignors {
            let subscription = Subscription {
                user_data: assignor.user_data(&topics, self.generation),
                topics: topics.clone(),
                owned: self.owned.keys().cloned().collect(),
                generation: self.generation,
                rack: None,
            };
            let protocol = JoinGroupRequestProtocol::default().with_name(str_bytes(assignor.name()));
            protocols.push(protocol.with_metadata(subscription.encode()?));
        }
        self.joined_topics = topics;
        let reason = self.rejoin.take().unwrap_or("the consumer joins the group");
        Ok(GroupRequest::JoinGroup(
            JoinGroupRequest::default()
                .with_group_id(self.group_id())
                .with_session_timeout_ms(millis(self.config.session_timeout))
                .with_rebalance_timeout_ms(millis(self.config.max_poll_interval))
                .with_member_id(str_bytes(&self.member_id))
                .with_group_instance_id(self.config.instance_id.as_deref().map(str_bytes))
                .with_protocol_type(str_bytes(PROTOCOL_TYPE))
                .with_protocols(protocols)
                .with_reason(Some(str_bytes(reason))),
        ))
    }

    fn leave_request(&self, reason: &str) -> GroupRequest {
        let member = MemberIdentity::default()
            .with_member_id(str_bytes(&self.member_id))
            .with_group_instance_id(self.config.instance_id.as_deref().map(str_bytes))
            .with_reason(Some(str_bytes(reason)));
        GroupRequest::LeaveGroup(LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]))
    }

    fn retry_later(&mut self, now: Instant) {
        self.not_before = Some(now + self.backoff.next_wait());
    }

    /// Back to the start; the member id survives a lost generation.
    fn outside(&mut self, forget_member_id: bool) {
        self.state = State::Unjoined;
        self.generation = GenerationId::NONE;
        if forget_member_id {
            self.member_id = "".into();
        }
        (self.asked, self.rejoin, self.leading, self.not_before) = (None, None, None, None);
    }

    fn lose_all(&mut self, out: &mut Out) {
        let lost: Vec<_> = std::mem::take(&mut self.owned).into_keys().collect();
        if !lost.is_empty() {
            out.tell(GroupEvent::Lost(lost));
        }
    }

    /// A LeaveGroup whose answer changes nothing.
    fn say_farewell(&mut self, reason: &'static str, out: &mut Out) {
        if let Some(node) = self.node
            && self.has_to_leave()
        {
            let request = self.leave_request(reason);
            out.ask(GroupCall { to: To::Group(node), timeout: self.config.request_timeout, request });
        }
    }

    /// A static member stays in the group until its session ends, so that a restart finds everything as it was.
    fn has_to_leave(&self) -> bool {
        !self.member_id.is_empty() && self.config.instance_id.is_none()
    }

    fn is_ending(&self) -> bool {
        matches!(self.state, State::Leaving { .. } | State::Left)
    }

    fn is_in(&self) -> bool {
        !self.is_ending() && !matches!(self.state, State::Unjoined)
    }

    /// Heartbeats go on whatever the application does, and beside a parked JoinGroup.
    fn is_beating(&self) -> bool {
        self.is_in() && self.generation != GenerationId::NONE
    }

    fn group_id(&self) -> GroupId {
        GroupId(str_bytes(&self.config.group_id))
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
