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
//! Long because it is one state machine: states, what each answer changes and who is told are read together.

use super::assignor::{GroupMember, PartitionCounts, RebalanceProtocol, all_topics};
use super::{GroupCall, GroupConfig, GroupEvent, GroupRequest, GroupResponse, Out, RevocationId, To, mismatched};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{GenerationId, NodeId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::backoff::Backoff;
use crate::machine::coordinator::Coordinator;
use crate::wire::group_protocol::{PROTOCOL_TYPE, Subscription, decode_assignment, encode_assignment, str_bytes};
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
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
        (self.last_poll, self.stalled) = (now, false);
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
        self.topics = None;
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
        if self.is_ending() || self.topics.is_none() {
            return;
        }
        tracing::warn!(group = %self.config.group_id, %error, "out of the group");
        self.topics = None;
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
            State::Unjoined if self.topics.is_none() => Standing::Outside,
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
        out.tell(GroupEvent::Revoking { id, partitions: partitions.clone() });
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

    /// An answer to a request of this part.
    pub fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        if self.heartbeat.is_some_and(|beat| beat.0 == id) {
            return self.on_heartbeat(now, answer, coordinator, out);
        }
        let asked = self.asked.take().and_then(|(_, node)| node);
        let code = match &answer {
            Ok(GroupResponse::JoinGroup(answer)) => answer.error_code,
            Ok(GroupResponse::SyncGroup(answer)) => answer.error_code,
            _ => 0,
        };
        match (&self.state, answer, ErrorCode::from_wire(code)) {
            // Whatever it says, we are out.
            (State::Leaving { .. }, ..) => self.state = State::Left,
            (State::PreparingRebalance, Ok(GroupResponse::JoinGroup(answer)), None) => {
                coordinator.works();
                self.on_joined(now, answer, out);
            }
            (State::PreparingRebalance, Ok(GroupResponse::JoinGroup(answer)), Some(ErrorCode::MemberIdRequired)) => {
                self.member_id = Arc::from(answer.member_id.as_str());
            }
            (State::Counting { .. }, Ok(GroupResponse::Topics(counts)), _) => self.on_counted(counts, out),
            (State::Syncing(_), Ok(GroupResponse::SyncGroup(answer)), None) => {
                coordinator.works();
                self.on_synced(now, decode_assignment(answer.assignment), out);
            }
            (State::PreparingRebalance | State::Syncing(_), Ok(_), Some(code)) => {
                self.on_refused(now, code, asked, coordinator, out);
            }
            (State::Counting { .. }, Err(error), _) => {
                tracing::debug!(%error, "partition counts not known yet");
                self.retry_later(now);
            }
            (State::PreparingRebalance | State::Syncing(_), Err(error), _) => {
                self.on_unanswered(now, error, asked, coordinator, out);
            }
            (state, answer, _) => {
                let what = format!("unexpected answer {answer:?} in {state:?}");
                self.fail(mismatched().message(what), out);
            }
        }
    }

    fn on_joined(&mut self, now: Instant, answer: JoinGroupResponse, out: &mut Out) {
        self.backoff.reset();
        self.generation = GenerationId(answer.generation_id);
        self.member_id = Arc::from(answer.member_id.as_str());
        self.assignor = Arc::from(answer.protocol_name.as_ref().map_or("", |name| name.as_str()));
        self.leading = None;
        self.next_heartbeat = now + self.config.heartbeat_interval;
        if answer.leader != answer.member_id {
            self.state = State::Syncing(vec![]);
            return;
        }
        if !self.config.assignors.iter().any(|assignor| assignor.name() == &*self.assignor) {
            let message = format!("the group chose the assignor \"{}\", which this member does not have", self.assignor);
            let error = Error::broker(ErrorCode::InconsistentGroupProtocol).api("JoinGroup").message(message);
            return self.fail(error, out);
        }
        let member = |member: crate::wire::messages::join_group_response::JoinGroupResponseMember| {
            let subscription = Subscription::decode(member.metadata).unwrap_or_else(|error| {
                // It gets nothing, and the others go on.
                tracing::warn!(group = %self.config.group_id, member = %member.member_id.as_str(), %error);
                Subscription::default()
            });
            GroupMember {
                member_id: Arc::from(member.member_id.as_str()),
                instance_id: member.group_instance_id.map(|id| Arc::from(id.as_str())),
                topics: subscription.topics,
                owned: subscription.owned,
                generation: subscription.generation,
                rack: subscription.rack,
                user_data: subscription.user_data,
            }
        };
        let members = answer.members.into_iter().map(member).collect();
        self.state = State::Counting { members, skip: answer.skip_assignment };
    }

    fn on_counted(&mut self, mut counts: PartitionCounts, out: &mut Out) {
        let State::Counting { members, skip } = std::mem::replace(&mut self.state, State::Unjoined) else { return };
        counts.retain(|_, count| *count > 0);
        let assignor = self.config.assignors.iter().find(|assignor| assignor.name() == &*self.assignor);
        let mut assignments = vec![];
        // A static leader that comes back must leave the assignment as it is (KIP-814).
        if let Some(assignor) = assignor
            && !skip
        {
            let assignment = assignor.assign(&counts, &members);
            for member in &members {
                let partitions = assignment.get(&member.member_id).map_or(&[][..], |partitions| partitions);
                match encode_assignment(partitions) {
                    Ok(bytes) => assignments.push(
                        SyncGroupRequestAssignment::default()
                            .with_member_id(str_bytes(&member.member_id))
                            .with_assignment(bytes),
                    ),
                    Err(error) => return self.fail(error, out),
                }
            }
        }
        self.leading = Some(Leading { counts, topics: all_topics(&members) });
        self.state = State::Syncing(assignments);
    }

    fn on_synced(&mut self, now: Instant, assigned: Result<Vec<TopicPartition>>, out: &mut Out) {
        self.backoff.reset();
        let assigned: BTreeSet<_> = match assigned {
            Ok(assigned) => assigned.into_iter().collect(),
            Err(error) => return self.fail(error.api("SyncGroup"), out),
        };
        let topics = self.topics.clone().unwrap_or_default();
        if topics != self.joined_topics {
            self.rejoin = Some("the subscription has changed");
        }
        if let Some(stray) = assigned.iter().find(|partition| topics.binary_search(&partition.topic).is_err()) {
            tracing::info!(group = %self.config.group_id, partition = %stray, "assigned but not subscribed, joining anew");
            self.rejoin = Some("the assignment does not match the subscription");
            // The leader may not know better for a while.
            self.retry_later(now);
            self.state = State::Stable;
            return;
        }
        let revoked: Vec<_> = self.owned.keys().filter(|partition| !assigned.contains(*partition)).cloned().collect();
        self.counter += 1;
        let tenure = Tenure(self.counter);
        let added: Vec<_> = assigned.into_iter().filter(|partition| !self.owned.contains_key(partition)).collect();
        self.owned.extend(added.iter().map(|partition| (partition.clone(), tenure)));
        self.state = State::Stable;
        if !revoked.is_empty() {
            self.revoke(now, revoked, out);
            self.rejoin = Some("partitions were given up");
        }
        let (generation, member_id) = (self.generation, self.member_id.clone());
        out.tell(GroupEvent::Assigned { partitions: added, generation, member_id });
    }

    fn on_heartbeat(
        &mut self,
        now: Instant,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        let Some((_, node, generation)) = self.heartbeat.take() else { return };
        let current = generation == self.generation && self.is_beating();
        self.next_heartbeat = now + self.config.heartbeat_interval;
        let code = match answer {
            Ok(GroupResponse::Heartbeat(answer)) => ErrorCode::from_wire(answer.error_code),
            Ok(_) => return self.fail(mismatched(), out),
            Err(error) => {
                if error.is_retriable() {
                    // Says nothing about the membership: the next heartbeat asks, as soon as there is someone to ask.
                    self.next_heartbeat = now;
                    coordinator.lost(now, node);
                } else if current {
                    self.fail(error.api("Heartbeat"), out);
                }
                return;
            }
        };
        match code {
            None => coordinator.works(),
            Some(ErrorCode::RebalanceInProgress) => {
                if current && matches!(self.state, State::Stable) {
                    self.rejoin = Some("the group is rebalancing");
                }
            }
            // The JoinGroup or SyncGroup under way gets the same answer, or a better one.
            Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId) if self.is_rebalancing(generation) => {}
            Some(code @ (ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId)) if current => {
                self.expelled(code, out);
            }
            Some(code) if code.moves_coordinator() => {
                self.next_heartbeat = now;
                coordinator.lost(now, node);
            }
            Some(code) if code.is_retriable() => self.next_heartbeat = now + self.backoff.next_wait(),
            Some(code) if current => self.fail(Error::broker(code).api("Heartbeat").node(node), out),
            Some(_) => {}
        }
    }

    /// JoinGroup or SyncGroup was answered with an error.
    fn on_refused(
        &mut self,
        now: Instant,
        code: ErrorCode,
        node: Option<NodeId>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        let syncing = matches!(self.state, State::Syncing(_));
        match code {
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.expelled(code, out);
                self.retry_later(now);
            }
            ErrorCode::RebalanceInProgress => {
                // The next round has begun. What we hold we keep until its outcome says otherwise.
                self.state = State::PreparingRebalance;
                if !syncing {
                    self.retry_later(now);
                }
            }
            code if code.moves_coordinator() => {
                if let Some(node) = node {
                    coordinator.lost(now, node);
                }
                self.state = State::PreparingRebalance;
            }
            code if code.is_retriable() => self.retry_later(now),
            code => {
                let api = if syncing { "SyncGroup" } else { "JoinGroup" };
                self.fail(Error::broker(code).api(api).message(explain(code)), out);
            }
        }
    }

    /// JoinGroup or SyncGroup got no answer.
    fn on_unanswered(
        &mut self,
        now: Instant,
        error: Error,
        node: Option<NodeId>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        if !error.is_retriable() {
            return self.fail(error, out);
        }
        tracing::debug!(group = %self.config.group_id, %error, "will join again");
        if let Some(node) = node {
            coordinator.lost(now, node);
        }
        self.state = State::PreparingRebalance;
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

fn explain(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InconsistentGroupProtocol => "the other members have none of this member's assignors",
        ErrorCode::InvalidSessionTimeout => "session.timeout.ms is outside of what the broker allows",
        ErrorCode::GroupMaxSizeReached => "the group has as many members as the broker allows",
        ErrorCode::FencedInstanceId => "another member with the same group.instance.id has taken over",
        code => code.name(),
    }
}
