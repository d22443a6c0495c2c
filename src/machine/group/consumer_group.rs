//! Membership of a consumer group ([KIP-848](https://cwiki.apache.org/confluence/x/HhD1D)): the coordinator assigns, and
//! one request, ConsumerGroupHeartbeat, says and asks everything.
//!
//! What an answer changes (protocol-rules 9); partitions are named by topic id on the wire:
//!
//! | answer | epoch | member id | partitions |
//! | --- | --- | --- | --- |
//! | an assignment | adopted | kept | a target: revoke what is not in it, then assign, then say so at once |
//! | FENCED_MEMBER_EPOCH, UNKNOWN_MEMBER_ID | 0 | kept | lost, then joined anew |
//! | what no retry cures (`answers.rs`) | none | kept | lost; the application is told |
//! | no answer, NOT_COORDINATOR | kept | kept | kept; the coordinator is looked up, and told everything |
//!
//! One heartbeat at a time, and never the same one twice: a duplicate of one that has moved the epoch gets its member
//! fenced (KAFKA-19222). After one without an answer the next says everything, owned partitions included, by which the
//! coordinator knows a member that has only missed an answer.
//!
//! `answers.rs` has what answers do, `request.rs` what a heartbeat says, `names.rs` the names of topics.

mod answers;
mod names;
mod request;
#[cfg(test)]
mod tests;

use super::membership::{Membership, Owned, Revocation, Standing, SubscribedTopics, Tenure};
use super::{GroupCall, GroupConfig, GroupEvent, GroupRequest, GroupResponse, Out, RevocationId, To};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{GenerationId, NodeId, TopicId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::backoff::Backoff;
use crate::machine::coordinator::Coordinator;
use crate::machine::metadata::Cluster;
use names::TopicNames;
use request::Sent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In the names of Java's `MemberState`.
///
/// ```text
///               subscribe            first answer                 application is through
///  Unsubscribed ─────────> Joining ──────────────> Reconciling ──────────────────────────> Acknowledging
///     ^  ^                  ^  ^ ^                  ^   │  ^ nothing to change │                │ heartbeat
///     │  │                  │  │ │     new target   │   │  └── topics without  v                v sent
///     │  │   FENCED, told   │  │ │                  │   v      a name yet    Stable <──────────┘
///     │  │   as Lost: any ──┘  │ └─ subscribe       └── (both) ───────────────┘
///     │  │                     │            │
///     │  └── unsubscribe ── Leaving         Fatal <── what no retry cures: any
///     │                        │ max.poll.interval
///     │                        └────────> Stale ── poll ──> Joining
///  any ── close ──> PrepareLeaving ── last commits done ──> Leaving ── answer, or deadline ──> Left
/// ```
/// What Java spends in callbacks (FENCED, the losing of STALE) takes no time here: the events keep their order.
#[derive(Debug)]
enum State {
    Unsubscribed,
    Joining,
    /// `None`: to be begun, or topics have no names yet.
    Reconciling(Option<Reconciliation>),
    Acknowledging,
    Stable,
    PrepareLeaving {
        deadline: Instant,
    },
    Leaving {
        then: Then,
        deadline: Option<Instant>,
    },
    Stale,
    Fatal,
    Left,
}

/// Where leaving leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Unsubscribed,
    Stale,
    Left,
}

/// What the application gives up, and what comes after. A newer target waits until this is through.
#[derive(Debug)]
struct Reconciliation {
    revocation: Revocation,
    added: Vec<(TopicId, TopicPartition)>,
}

/// The heartbeat under way.
#[derive(Debug)]
struct Beat {
    id: RequestId,
    node: NodeId,
    /// Of which `incarnation`.
    incarnation: u64,
    leaves: bool,
}

/// A member of a consumer group, or someone who is about to become one.
#[derive(Debug)]
pub struct ConsumerMembership {
    config: Arc<GroupConfig>,
    state: State,
    /// `None`: not subscribed.
    topics: Option<SubscribedTopics>,
    /// A UUID of version 4, for life.
    member_id: Arc<str>,
    /// `NONE` until the coordinator has taken us in.
    epoch: GenerationId,
    /// Grows whenever we begin anew: answers to heartbeats of before concern nothing.
    incarnation: u64,
    /// A heartbeat of this incarnation has gone out, so that there is something to leave.
    entered: bool,
    owned: Owned,
    /// The id under which each topic was assigned of which we own partitions.
    owned_ids: BTreeMap<Arc<str>, TopicId>,
    /// What the coordinator wants us to have.
    target: BTreeSet<(TopicId, i32)>,
    /// The application has not been told of an assignment since we joined; it is, be it empty.
    unannounced: bool,
    names: TopicNames,
    heartbeat: Option<Beat>,
    next_heartbeat: Instant,
    /// The coordinator's, once it has said.
    heartbeat_interval: Duration,
    /// What the coordinator knows of us; `None`: nothing for certain.
    sent: Option<Sent>,
    backoff: Backoff,
    last_poll: Instant,
    /// Out of the group because the application did not poll; the next poll joins again.
    stalled: bool,
}

impl ConsumerMembership {
    /// Outside of the group.
    pub fn new(now: Instant, config: Arc<GroupConfig>, backoff: Backoff) -> Self {
        let random = fastrand::Rng::with_seed(config.seed).u128(..);
        let member_id = uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string();
        Self {
            state: State::Unsubscribed,
            topics: None,
            member_id: member_id.into(),
            epoch: GenerationId::NONE,
            incarnation: 0,
            entered: false,
            owned: Owned::default(),
            owned_ids: BTreeMap::new(),
            target: BTreeSet::new(),
            unannounced: true,
            names: TopicNames::new(backoff.clone()),
            heartbeat: None,
            next_heartbeat: now,
            heartbeat_interval: config.heartbeat_interval,
            sent: None,
            backoff,
            last_poll: now,
            stalled: false,
            config,
        }
    }
}

impl Membership for ConsumerMembership {
    fn subscribe(&mut self, now: Instant, topics: SubscribedTopics, _out: &mut Out) {
        if self.is_ending() {
            return;
        }
        (self.last_poll, self.stalled) = (now, false);
        if self.topics.replace(topics) != self.topics {
            self.next_heartbeat = now;
        }
        if matches!(self.state, State::Fatal) {
            self.state = State::Unsubscribed;
        }
    }

    fn matched(&mut self, now: Instant, names: Vec<Arc<str>>) {
        let names = SubscribedTopics::Names(names);
        if self.topics.as_ref().is_some_and(|topics| *topics != names) {
            self.topics = Some(names);
            self.next_heartbeat = now;
        }
    }

    fn unsubscribe(&mut self, _out: &mut Out) {
        if self.is_ending() {
            return;
        }
        self.topics = None;
        self.owned.clear();
        self.leave(Then::Unsubscribed);
    }

    fn polled(&mut self, now: Instant) {
        (self.last_poll, self.stalled) = (now, false);
    }

    fn revoked(&mut self, acknowledged: RevocationId) {
        if let State::Reconciling(Some(reconciliation)) = &mut self.state {
            reconciliation.revocation.acknowledge(acknowledged);
        }
    }

    fn acknowledged(&self) -> Option<&[TopicPartition]> {
        match &self.state {
            State::Reconciling(Some(Reconciliation { revocation, .. })) if revocation.acknowledged => {
                Some(&revocation.partitions)
            }
            _ => None,
        }
    }

    fn let_go(&mut self, now: Instant, out: &mut Out) {
        if let State::Reconciling(reconciliation) = &mut self.state
            && let Some(Reconciliation { revocation, added }) = reconciliation.take()
        {
            self.owned.remove(&revocation.partitions);
            // What a newer target takes back may be another's by now: the coordinator has not heard that we had it.
            let target = &self.target;
            let added = added.into_iter().filter(|(id, name)| target.contains(&(*id, name.partition))).collect();
            self.assign(now, added, out);
        }
    }

    fn metadata(&mut self, cluster: &Arc<Cluster>) {
        self.names.metadata(cluster);
    }

    fn close(&mut self, deadline: Instant) {
        match &mut self.state {
            State::PrepareLeaving { .. } | State::Leaving { then: Then::Left, .. } | State::Left => return,
            State::Leaving { then, deadline: until } => (*then, *until) = (Then::Left, Some(deadline)),
            state => *state = State::PrepareLeaving { deadline },
        }
        self.topics = None;
    }

    fn fail(&mut self, error: Error, out: &mut Out) {
        if let State::PrepareLeaving { .. } | State::Leaving { then: Then::Left, .. } = self.state {
            self.state = State::Left; // nobody to say farewell to, and asking again would not end
        }
        if self.is_ending() || self.topics.is_none() {
            return;
        }
        tracing::warn!(group = %self.config.group_id, %error, "out of the group");
        self.topics = None;
        self.owned.lose_all(out);
        self.begin_anew(State::Fatal);
        out.tell(GroupEvent::Failed(error));
    }

    fn expelled(&mut self, now: Instant, code: ErrorCode, out: &mut Out) {
        if self.is_in() {
            self.fenced(now, code, out);
        }
    }

    fn catch_up(&mut self, now: Instant, _reason: &'static str) {
        // One that waits after an error goes on waiting.
        if self.sent.is_some() {
            self.next_heartbeat = now;
        }
    }

    fn standing(&self) -> Standing {
        match self.state {
            State::Reconciling(_) | State::Acknowledging | State::Stable | State::PrepareLeaving { .. }
                if self.epoch != GenerationId::NONE =>
            {
                Standing::Member(self.epoch, self.member_id.clone())
            }
            State::Unsubscribed | State::Leaving { then: Then::Unsubscribed, .. } if self.topics.is_none() => {
                Standing::Outside
            }
            State::PrepareLeaving { .. } | State::Leaving { then: Then::Left, .. } | State::Left => Standing::Outside,
            _ => Standing::BetweenGenerations,
        }
    }

    fn reads_as(&self) -> Option<(GenerationId, Arc<str>)> {
        (self.epoch != GenerationId::NONE).then(|| (self.epoch, self.member_id.clone()))
    }

    fn is_rebalancing(&self, of: GenerationId) -> bool {
        of != self.epoch
    }

    fn tenure(&self, partition: &TopicPartition) -> Option<Tenure> {
        self.owned.tenure(partition)
    }

    fn wants_coordinator(&self) -> bool {
        match self.state {
            State::PrepareLeaving { .. } => self.entered,
            State::Leaving { then, .. } => then == Then::Left,
            _ => self.is_in(),
        }
    }

    fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    fn is_asked(&self, id: RequestId) -> bool {
        self.names.is_asked(id) || self.heartbeat.as_ref().is_some_and(|beat| beat.id == id)
    }

    fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        if self.names.is_asked(id) {
            return self.names.on_answer(now, answer);
        }
        if let Some(beat) = self.heartbeat.take() {
            self.answered(now, &beat, answer, coordinator, out);
        }
    }

    fn decide(&mut self, now: Instant, out: &mut Out) {
        if self.is_in() && now >= self.last_poll + self.config.max_poll_interval {
            tracing::warn!(
                group = %self.config.group_id,
                "the application has not polled within max.poll.interval.ms; leaving the group until it does"
            );
            self.owned.lose_all(out);
            self.stalled = true;
            self.leave(Then::Stale);
        }
        match &self.state {
            State::PrepareLeaving { deadline } | State::Leaving { deadline: Some(deadline), .. }
                if now >= *deadline =>
            {
                self.state = State::Left;
            }
            State::Unsubscribed if self.topics.is_some() => self.join(now),
            State::Stale if !self.stalled => self.join(now),
            State::Reconciling(None) => self.reconcile(now, out),
            State::Reconciling(Some(Reconciliation { revocation, .. })) if now >= revocation.deadline => {
                tracing::warn!(group = %self.config.group_id, "the application did not finish a revocation in time");
                out.tell(GroupEvent::Lost(revocation.partitions.clone()));
                self.let_go(now, out);
            }
            _ => {}
        }
    }

    fn send(&mut self, now: Instant, node: Option<NodeId>, may_leave: bool, out: &mut Out) {
        if let State::PrepareLeaving { deadline } = self.state
            && may_leave
        {
            self.state = match self.entered {
                true => State::Leaving { then: Then::Left, deadline: Some(deadline) },
                false => State::Left,
            };
        }
        if self.is_in() {
            self.names.send(now, self.config.request_timeout, out);
        }
        let Some(node) = node else {
            // Its session ends by itself.
            if let State::Leaving { then: then @ (Then::Unsubscribed | Then::Stale), .. } = self.state
                && self.heartbeat.is_none()
            {
                self.left(then);
                self.decide(now, out); // it may have been subscribed again meanwhile
            }
            return;
        };
        if self.heartbeat.as_ref().is_some_and(|beat| beat.node != node) {
            (self.heartbeat, self.sent) = (None, None); // whoever was asked is no longer the coordinator
        }
        let leaves = match self.state {
            // It may follow a heartbeat under way: the same connection, in order, and nothing comes after it.
            State::Leaving { .. } => self.heartbeat.as_ref().is_none_or(|beat| !beat.leaves),
            _ => false,
        };
        if leaves || self.is_beating() && self.heartbeat.is_none() && now >= self.next_heartbeat {
            let request = if leaves { self.leave_request() } else { self.heartbeat_request() };
            let request = GroupRequest::ConsumerGroupHeartbeat(request);
            let id = out.ask(GroupCall { to: To::Group(node), timeout: self.config.request_timeout, request });
            self.heartbeat = Some(Beat { id, node, incarnation: self.incarnation, leaves });
        }
    }

    fn poll_timeout(&self, has_node: bool) -> Option<Instant> {
        let state = match &self.state {
            State::Reconciling(Some(Reconciliation { revocation, .. })) => Some(revocation.deadline),
            State::PrepareLeaving { deadline } => Some(*deadline),
            State::Leaving { deadline, .. } => *deadline,
            _ => None,
        };
        let beat = Some(self.next_heartbeat).filter(|_| has_node && self.is_beating() && self.heartbeat.is_none());
        let names = self.names.poll_timeout().filter(|_| self.is_in());
        let poll = self.is_in().then(|| self.last_poll + self.config.max_poll_interval);
        state.into_iter().chain(beat).chain(names).chain(poll).min()
    }
}

impl ConsumerMembership {
    fn join(&mut self, now: Instant) {
        (self.state, self.next_heartbeat) = (State::Joining, now);
    }

    /// Compares the target with what we own. Whatever can be done is; topics without a name are waited for.
    fn reconcile(&mut self, now: Instant, out: &mut Out) {
        self.names.look_up(self.target.iter().map(|(id, _)| *id));
        let id_of = |topic: &Arc<str>| self.owned_ids.get(topic).copied().unwrap_or(TopicId::ZERO);
        let is_wanted = |name: &&TopicPartition| self.target.contains(&(id_of(&name.topic), name.partition));
        let (kept, revoked): (Vec<_>, Vec<_>) = self.owned.partitions().partition(is_wanted);
        let added = self.target.iter().filter_map(|(id, number)| {
            let partition = TopicPartition::new(self.names.get(*id)?.clone(), *number);
            kept.binary_search(&&partition).is_err().then_some((*id, partition))
        });
        let added: Vec<_> = added.collect();
        if !revoked.is_empty() {
            let revoked = revoked.into_iter().cloned().collect();
            let patience = Revocation::patience(self.config.max_poll_interval, self.heartbeat_interval);
            let revocation = self.owned.revoke(revoked, now + patience);
            out.tell(revocation.event(self.epoch, self.member_id.clone()));
            self.state = State::Reconciling(Some(Reconciliation { revocation, added }));
        } else if !added.is_empty() || self.unannounced {
            self.assign(now, added, out);
        } else if self.names.are_complete() {
            self.state = State::Stable;
        }
    }

    /// What was to go has gone, and these are ours; the coordinator is told at once.
    fn assign(&mut self, now: Instant, added: Vec<(TopicId, TopicPartition)>, out: &mut Out) {
        let owned = &self.owned;
        self.owned_ids.retain(|topic, _| owned.partitions().any(|partition| partition.topic == *topic));
        self.owned_ids.extend(added.iter().map(|(id, partition)| (partition.topic.clone(), *id)));
        let partitions: Vec<_> = added.into_iter().map(|(_, partition)| partition).collect();
        let tenure = self.owned.add(&partitions);
        let (generation, member_id) = (self.epoch, self.member_id.clone());
        out.tell(GroupEvent::Assigned { partitions, tenure, generation, member_id });
        self.unannounced = false;
        (self.state, self.next_heartbeat) = (State::Acknowledging, now);
    }

    /// The coordinator knows this member no longer: all is lost, and the same member joins as a new one.
    fn fenced(&mut self, now: Instant, code: ErrorCode, out: &mut Out) {
        tracing::info!(group = %self.config.group_id, member = %self.member_id, %code, "membership lost, joining anew");
        let again = matches!(self.state, State::Joining);
        self.owned.lose_all(out);
        self.begin_anew(State::Joining);
        self.next_heartbeat = if again { now + self.backoff.next_wait() } else { now };
    }

    fn leave(&mut self, then: Then) {
        if let State::Leaving { then: before, .. } = &mut self.state {
            *before = then;
        } else if self.entered {
            self.begin_anew(State::Leaving { then, deadline: None });
        } else {
            self.left(then);
        }
    }

    fn left(&mut self, then: Then) {
        self.begin_anew(match then {
            Then::Unsubscribed => State::Unsubscribed,
            Then::Stale => State::Stale,
            Then::Left => State::Left,
        });
    }

    /// Out of the group, whatever the coordinator thinks. The member id stays.
    fn begin_anew(&mut self, state: State) {
        self.state = state;
        self.incarnation += 1;
        (self.epoch, self.entered, self.sent, self.unannounced) = (GenerationId::NONE, false, None, true);
        self.target.clear();
        self.owned_ids.clear();
    }

    fn is_ending(&self) -> bool {
        matches!(self.state, State::PrepareLeaving { .. } | State::Leaving { then: Then::Left, .. } | State::Left)
    }

    fn is_in(&self) -> bool {
        matches!(self.state, State::Joining | State::Reconciling(_) | State::Acknowledging | State::Stable)
    }

    /// Heartbeats go on whatever the application does.
    fn is_beating(&self) -> bool {
        self.is_in() || matches!(self.state, State::PrepareLeaving { .. }) && self.epoch != GenerationId::NONE
    }
}
