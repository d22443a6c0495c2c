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
#[cfg(test)]
mod tests;

use super::assignor::{GroupMember, Joining, RebalanceProtocol, all_topics};
use super::group_topics::GroupTopics;
use super::membership::{Membership, Owned, Revocation, Standing, SubscribedTopics, Tenure};
use super::{GroupCall, GroupConfig, GroupEvent, GroupRequest, GroupResponse, Out, RevocationId, To, millis};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{GenerationId, NodeId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::backoff::Backoff;
use crate::machine::coordinator::Coordinator;
use crate::machine::metadata::Cluster;
use crate::wire::group_protocol::{PROTOCOL_TYPE, Subscription, str_bytes};
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use std::collections::BTreeSet;
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
    Revoking(Revocation),
    PreparingRebalance,
    Counting { members: Vec<GroupMember>, skip: bool },
    Syncing(Vec<SyncGroupRequestAssignment>),
    Stable,
    Leaving { deadline: Instant },
    Left,
}

/// What the leader assigned by.
#[derive(Debug)]
struct Leading {
    found: GroupTopics,
    /// What members want, whether it exists or not.
    topics: BTreeSet<Arc<str>>,
}

/// A member of a classic group, or someone who is about to become one.
#[derive(Debug)]
pub struct ClassicMembership {
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
    owned: Owned,
    /// What we got last, for assignors that are asked to remember it.
    assigned: Vec<TopicPartition>,
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
    /// The coordinator when last seen, for a farewell that nobody waits for but a close.
    node: Option<NodeId>,
    /// Such a farewell that is under way.
    farewell: Option<RequestId>,
}

impl ClassicMembership {
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
            owned: Owned::default(),
            assigned: vec![],
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
            farewell: None,
        }
    }
}

impl Membership for ClassicMembership {
    fn subscribe(&mut self, now: Instant, topics: SubscribedTopics, out: &mut Out) {
        if self.is_ending() {
            return;
        }
        (self.last_poll, self.stalled, self.failed) = (now, false, false);
        let topics = match topics {
            SubscribedTopics::Names(names) => names,
            SubscribedTopics::Regex(_) => {
                self.topics.get_or_insert_default();
                let why = "the coordinator of a classic group matches no regular expressions";
                return self.fail(Error::with_message(ErrorKind::Config, why), out);
            }
        };
        if self.topics.as_ref() != Some(&topics) {
            self.rejoin = Some("the subscription has changed");
        }
        self.topics = Some(topics);
    }

    fn matched(&mut self, _now: Instant, names: Vec<Arc<str>>) {
        if self.topics.as_ref().is_some_and(|topics| *topics != names) {
            (self.topics, self.rejoin) = (Some(names), Some("the topics that the pattern matches have changed"));
        }
    }

    fn unsubscribe(&mut self, out: &mut Out) {
        if self.is_ending() {
            return;
        }
        self.say_farewell("the consumer unsubscribed", out);
        (self.topics, self.failed) = (None, false);
        self.owned.clear();
        self.outside(true);
    }

    fn polled(&mut self, now: Instant) {
        (self.last_poll, self.stalled) = (now, false);
    }

    fn revoked(&mut self, acknowledged: RevocationId) {
        if let State::Revoking(revocation) = &mut self.state {
            revocation.acknowledge(acknowledged);
        }
    }

    fn acknowledged(&self) -> Option<&[TopicPartition]> {
        match &self.state {
            // A JoinGroup that overtook the last commits, over its own connection, would make them commits of a
            // generation that is no more.
            State::Revoking(revocation) if revocation.acknowledged => Some(&revocation.partitions),
            _ => None,
        }
    }

    fn let_go(&mut self, _now: Instant, _out: &mut Out) {
        if let State::Revoking(revocation) = &self.state {
            self.owned.remove(&revocation.partitions);
            self.state = State::PreparingRebalance;
        }
    }

    fn metadata(&mut self, cluster: &Arc<Cluster>) {
        let changed = |leading: &Leading| GroupTopics::of(cluster, &leading.topics).differ_from(&leading.found);
        if self.leading.as_ref().is_some_and(changed) {
            self.leading = None; // once is enough
            self.rejoin = Some("partitions have been added or moved");
        }
    }

    fn close(&mut self, deadline: Instant) {
        if self.is_ending() {
            return;
        }
        self.asked = None; // a parked JoinGroup is not waited for
        (self.topics, self.not_before) = (None, None);
        self.state = State::Leaving { deadline };
    }

    fn fail(&mut self, error: Error, out: &mut Out) {
        if let State::Leaving { .. } = self.state {
            self.state = State::Left; // nobody to say farewell to, and asking again would not end
        }
        if self.is_ending() || self.topics.is_none() {
            return;
        }
        tracing::warn!(group = %self.config.group_id, %error, "out of the group");
        (self.topics, self.failed) = (None, true);
        self.owned.lose_all(out);
        self.outside(true);
        out.tell(GroupEvent::Failed(error));
    }

    fn expelled(&mut self, _now: Instant, code: ErrorCode, out: &mut Out) {
        if self.is_ending() {
            return;
        }
        tracing::info!(group = %self.config.group_id, member = %self.member_id, %code, "membership lost, joining anew");
        self.owned.lose_all(out);
        self.outside(code == ErrorCode::UnknownMemberId);
    }

    fn catch_up(&mut self, _now: Instant, reason: &'static str) {
        self.rejoin = Some(reason);
    }

    fn standing(&self) -> Standing {
        match self.state {
            State::Unjoined if self.topics.is_none() && !self.failed => Standing::Outside,
            State::Revoking(_) | State::PreparingRebalance | State::Stable | State::Leaving { .. }
                if self.generation != GenerationId::NONE =>
            {
                Standing::Member(self.generation, self.member_id.clone())
            }
            State::Leaving { .. } | State::Left => Standing::Outside,
            _ => Standing::BetweenGenerations,
        }
    }

    fn reads_as(&self) -> Option<(GenerationId, Arc<str>)> {
        None // a classic coordinator does not ask
    }

    fn is_rebalancing(&self, of: GenerationId) -> bool {
        // While a JoinGroup is under way the coordinator is ahead of us.
        let joining = matches!(self.state, State::PreparingRebalance | State::Counting { .. } | State::Syncing(_));
        joining || of != self.generation
    }

    fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.owned.tenure(partition)
    }

    fn wants_coordinator(&self) -> bool {
        match self.state {
            State::Unjoined | State::Left => false,
            State::Leaving { .. } => self.has_to_leave(),
            _ => true,
        }
    }

    fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    fn is_asked(&self, id: RequestId) -> bool {
        self.asked.is_some_and(|asked| asked.0 == id)
            || self.heartbeat.is_some_and(|beat| beat.0 == id)
            || self.farewell == Some(id)
    }

    fn poll_timeout(&self, has_node: bool) -> Option<Instant> {
        let state = match &self.state {
            State::Revoking(Revocation { deadline, .. }) | State::Leaving { deadline } => Some(*deadline),
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

    fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        self.answered(now, id, answer, coordinator, out);
    }

    fn decide(&mut self, now: Instant, out: &mut Out) {
        if self.is_in() && now >= self.last_poll + self.config.max_poll_interval {
            tracing::warn!(
                group = %self.config.group_id,
                "the application has not polled within max.poll.interval.ms; leaving the group until it does"
            );
            self.say_farewell("the application did not poll within max.poll.interval.ms", out);
            self.owned.lose_all(out);
            self.outside(true);
            self.stalled = true;
        }
        match &self.state {
            State::Leaving { deadline } if now >= *deadline => self.state = State::Left,
            State::Revoking(revocation) if now >= revocation.deadline => {
                tracing::warn!(group = %self.config.group_id, "the application did not finish a revocation in time");
                self.owned.remove(&revocation.partitions);
                out.tell(GroupEvent::Lost(revocation.partitions.clone()));
                self.state = State::PreparingRebalance;
            }
            State::Unjoined if self.topics.is_some() && !self.stalled => self.prepare(now, out),
            State::Stable if self.rejoin.is_some() => self.prepare(now, out),
            _ => {}
        }
    }

    fn send(&mut self, now: Instant, node: Option<NodeId>, may_leave: bool, out: &mut Out) {
        self.node = node;
        if matches!(self.state, State::Leaving { .. }) && may_leave && !self.has_to_leave() && self.farewell.is_none() {
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
}

impl ClassicMembership {
    /// Gives up what must be given up before joining.
    fn prepare(&mut self, now: Instant, out: &mut Out) {
        let subscribed =
            |partition: &TopicPartition| self.topics.iter().flatten().any(|topic| *topic == partition.topic);
        let keeps = |partition: &TopicPartition| match self.protocol {
            RebalanceProtocol::Eager => false,
            RebalanceProtocol::Cooperative => subscribed(partition),
        };
        let revoked = self.owned.partitions().filter(|partition| !keeps(partition)).cloned().collect();
        self.revoke(now, revoked, out);
    }

    fn revoke(&mut self, now: Instant, partitions: Vec<TopicPartition>, out: &mut Out) {
        if partitions.is_empty() {
            self.state = State::PreparingRebalance;
            return;
        }
        let patience = Revocation::patience(self.config.max_poll_interval, self.config.heartbeat_interval);
        let revocation = self.owned.revoke(partitions, now + patience);
        out.tell(revocation.event(self.generation, self.member_id.clone()));
        self.state = State::Revoking(revocation);
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
            State::Leaving { .. } if may_leave && self.has_to_leave() => {
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
            let member = Joining { topics: &topics, generation: self.generation, assigned: &self.assigned };
            let subscription = Subscription {
                user_data: assignor.user_data(&member),
                topics: topics.clone(),
                owned: self.owned.partitions().cloned().collect(),
                generation: self.generation,
                rack: self.config.rack.clone(),
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
        self.assigned.clear();
        if forget_member_id {
            self.member_id = "".into();
        }
        (self.asked, self.rejoin, self.leading, self.not_before) = (None, None, None, None);
    }

    /// A LeaveGroup whose answer changes nothing, but that a close waits for.
    fn say_farewell(&mut self, reason: &'static str, out: &mut Out) {
        if let Some(node) = self.node
            && self.has_to_leave()
        {
            let request = self.leave_request(reason);
            self.farewell =
                Some(out.ask(GroupCall { to: To::Group(node), timeout: self.config.request_timeout, request }));
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
