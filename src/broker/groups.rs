//! One classic group: its members, and the rounds in which they agree on who reads what. Time comes in as an argument;
//! answers go out through the senders that came with the requests.
//!
//! ```text
//!           first join                 all joined, or time is up            the leader's SyncGroup
//!   Empty ---------------> PreparingRebalance ---------------> CompletingRebalance ----------------> Stable
//!     ^                       |          ^                            |                                |
//!     +-----------------------+          +----------------------------+--------------------------------+
//!           nobody is left                  a member joins anew, leaves, or falls silent
//! ```
//! Rules: a member must first take the id that it is given (KIP-394, from JoinGroup v4); a static member keeps its place
//! over a restart, and the one with the older id is fenced (KIP-345); who has not joined again when the rebalance
//! timeout is up is out, static members excepted; who does not sync within it is out too.

use super::consumer_groups::ConsumerGroup;
use super::server_assignors::Topics;
use crate::error::ErrorCode;
use crate::ids::TopicId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(super) struct GroupSettings {
    pub initial_rebalance_delay: Duration,
    pub min_session_timeout: Duration,
    pub max_size: usize,
}

/// How many reasons are kept.
const REASONS: usize = 100;

/// `group.max.session.timeout.ms`.
const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(1800);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl Phase {
    /// Kafka's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What a JoinGroup says.
#[derive(Debug, Clone)]
pub(super) struct Join {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    pub protocols: Vec<(String, Bytes)>,
    /// The client knows that it may be given an id first (v4).
    pub takes_id_first: bool,
    /// The client knows that a leader may be told not to assign (v9).
    pub skips_assignment: bool,
    /// Why it joins (KIP-800).
    pub reason: Option<String>,
}

/// The answer to a JoinGroup.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    pub code: Option<ErrorCode>,
    pub member_id: String,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    /// For the leader: id, instance id, metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

impl Joined {
    pub(super) fn refused(member_id: &str, code: ErrorCode) -> Self {
        Self { code: Some(code), member_id: member_id.into(), generation: -1, ..Self::default() }
    }
}

/// The answer to a SyncGroup.
pub(super) type Synced = Result<Bytes, ErrorCode>;

/// What a request says of who sends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub generation: i32,
}

/// What is to be committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit<'a> {
    /// Of OffsetCommit; `None` in a transaction.
    pub version: Option<i16>,
    pub partitions: &'a [(TopicId, i32)],
}

#[derive(Debug)]
pub(super) struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// When it is out unless it says something.
    session_deadline: Instant,
    joining: Option<oneshot::Sender<Joined>>,
    syncing: Option<oneshot::Sender<Synced>>,
    synced: bool,
}

impl Member {
    /// What it says to the others under this protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    fn heard(&mut self, now: Instant) {
        self.session_deadline = now + self.session_timeout;
    }
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub at: Instant,
    /// When it goes, if the commit said so (OffsetCommit v2-4).
    pub expires: Option<Instant>,
}

/// What is known under a group's name: a classic group, a consumer group, or offsets alone.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// It is one of the new protocol, and nothing of the classic one's is in use but the offsets.
    pub consumer: Option<ConsumerGroup>,
    pub phase: Phase,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    leader: Option<String>,
    /// When the last member of a classic group left.
    pub emptied_at: Option<Instant>,
    pub members: Vec<Member>,
    /// Ids given out and not yet taken, with the time until which they may be.
    pending: Vec<(String, Instant)>,
    /// PreparingRebalance: when to go on without the rest. CompletingRebalance: when to go on without who didn't sync.
    deadline: Option<Instant>,
    /// The first rebalance waits for more members: no longer than until this, and whether one came since the last look.
    initial: Option<(Instant, bool)>,
    initial_delay: Duration,
    ids_given: u64,
    /// Why members have joined and left, as far as they said (KIP-800); the newest last.
    pub reasons: VecDeque<String>,
    pub offsets: BTreeMap<(Arc<str>, i32), Committed>,
    /// Offsets sent to a transaction that is still open, by its producer id.
    pub transactional: BTreeMap<i64, BTreeMap<(Arc<str>, i32), Committed>>,
}

impl Group {
    /// Takes a member in, or lets it join again. The answer may come much later.
    pub(super) fn join(&mut self, now: Instant, settings: GroupSettings, join: Join, reply: oneshot::Sender<Joined>) {
        if self.consumer.as_ref().is_some_and(|consumer| consumer.members.is_empty()) {
            self.begin_anew(None);
        }
        self.note(join.reason.clone());
        self.initial_delay = settings.initial_rebalance_delay;
        match self.admit(settings, &join) {
            Err(ErrorCode::GroupMaxSizeReached) => {
                let _ = reply.send(Joined::refused("", ErrorCode::GroupMaxSizeReached));
                // One that was too slow to join again: others have taken the places.
                if let Some(at) = self.members.iter().position(|member| member.id == join.member_id) {
                    self.remove(now, at);
                }
            }
            Err(code) => {
                let _ = reply.send(Joined::refused(&join.member_id, code));
            }
            Ok(()) if join.member_id.is_empty() => self.join_newcomer(now, join, reply),
            Ok(()) => self.join_known(now, join, reply),
        }
    }

    /// Keeps what a member gives as its reason, for who looks into the group.
    pub(super) fn note(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            if self.reasons.len() == REASONS {
                self.reasons.pop_front();
            }
            self.reasons.push_back(reason);
        }
    }

    /// Another broker coordinates the group from now on: who waits is sent there.
    pub(super) fn unload(&mut self, now: Instant) {
        for member in &mut self.members {
            if let Some(joining) = member.joining.take() {
                member.heard(now);
                let _ = joining.send(Joined::refused(&member.id, ErrorCode::NotCoordinator));
            }
            if let Some(syncing) = member.syncing.take() {
                member.heard(now);
                member.synced = false;
                let _ = syncing.send(Err(ErrorCode::NotCoordinator));
            }
        }
    }

    /// An empty group becomes one of the other protocol, which has the offsets of the old one and nothing else.
    pub(super) fn begin_anew(&mut self, consumer: Option<ConsumerGroup>) {
        let (offsets, transactional) = (std::mem::take(&mut self.offsets), std::mem::take(&mut self.transactional));
        *self = Self { consumer, offsets, transactional, ids_given: self.ids_given, ..Self::default() };
    }

    fn admit(&self, settings: GroupSettings, join: &Join) -> Result<(), ErrorCode> {
        if self.consumer.is_some() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if !(settings.min_session_timeout..=MAX_SESSION_TIMEOUT).contains(&join.session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !self.has_room(settings.max_size, &join.member_id) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // A member alone may change its protocols: it is compared with the others.
        let others =
            || self.members.iter().filter(|member| member.id != join.member_id && !same_instance(member, join));
        let in_common = |name: &String| others().all(|other| other.protocols.iter().any(|(known, _)| known == name));
        let same_type = others().next().is_none() || self.protocol_type.as_ref() == Some(&join.protocol_type);
        if !same_type || !join.protocols.iter().any(|(name, _)| in_common(name)) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether the member has a place, or there is one for it (KIP-389). In a rebalance the places are theirs who come first.
    fn has_room(&self, max_size: usize, member_id: &str) -> bool {
        let known = self.members.iter().find(|member| member.id == member_id);
        match self.phase {
            Phase::Empty => true,
            Phase::PreparingRebalance => {
                let joining = self.members.iter().filter(|member| member.joining.is_some()).count();
                known.is_some_and(|member| member.joining.is_some()) || joining < max_size
            }
            Phase::CompletingRebalance | Phase::Stable => known.is_some() || self.members.len() < max_size,
        }
    }

    fn join_newcomer(&mut self, now: Instant, join: Join, reply: oneshot::Sender<Joined>) {
        self.ids_given += 1;
        let name = join.instance_id.as_deref().unwrap_or(&join.client_id);
        let id = format!("{name}-00000000-0000-4000-8000-{:012x}", self.ids_given);
        if let Some(instance_id) = &join.instance_id {
            if let Some(at) = self.members.iter().position(|member| member.instance_id.as_ref() == Some(instance_id)) {
                return self.replace_static(now, at, id, join, reply);
            }
        } else if join.takes_id_first {
            self.pending.push((id.clone(), now + join.session_timeout));
            let _ = reply.send(Joined::refused(&id, ErrorCode::MemberIdRequired));
            return;
        }
        self.add(now, id, join, reply);
    }

    fn join_known(&mut self, now: Instant, join: Join, reply: oneshot::Sender<Joined>) {
        if let Some(at) = self.pending.iter().position(|(id, _)| *id == join.member_id) {
            self.pending.remove(at);
            return self.add(now, join.member_id.clone(), join, reply);
        }
        let identity = Identity { member_id: &join.member_id, instance_id: join.instance_id.as_deref(), generation: 0 };
        let at = match self.find(identity) {
            Ok(at) => at,
            Err(code) => {
                let _ = reply.send(Joined::refused(&join.member_id, code));
                return;
            }
        };
        let leads = self.leader.as_ref() == Some(&join.member_id);
        let same = self.members[at].protocols == join.protocols;
        let again = match self.phase {
            Phase::Stable => leads || !same,
            Phase::CompletingRebalance => !same,
            Phase::PreparingRebalance | Phase::Empty => true,
        };
        self.members[at].heard(now);
        if !again {
            // It did not hear the answer: the same one again.
            let _ = reply.send(self.joined(at));
            return;
        }
        self.update(at, join, reply);
        self.rebalance(now);
    }

    /// A static member has come back under a new id.
    fn replace_static(&mut self, now: Instant, at: usize, id: String, join: Join, reply: oneshot::Sender<Joined>) {
        let member = &mut self.members[at];
        let old = std::mem::replace(&mut member.id, id.clone());
        if let Some(joining) = member.joining.take() {
            let _ = joining.send(Joined::refused(&old, ErrorCode::FencedInstanceId));
        }
        if let Some(syncing) = member.syncing.take() {
            let _ = syncing.send(Err(ErrorCode::FencedInstanceId));
        }
        member.heard(now);
        let led = self.leader.as_ref() == Some(&old);
        if led {
            self.leader = Some(id);
        }
        let same = self.members[at].protocols == join.protocols;
        if self.phase != Phase::Stable || !same {
            self.update(at, join, reply);
            return self.rebalance(now);
        }
        // Nothing has changed for the others: no rebalance. A leader that can't be told to skip the assignment must
        // not know that it leads.
        let mut joined = self.joined(at);
        if led && join.skips_assignment {
            joined.skip_assignment = true;
        } else if led {
            joined.leader = old;
            joined.members = Vec::new();
        }
        let _ = reply.send(joined);
    }

    fn add(&mut self, now: Instant, id: String, join: Join, reply: oneshot::Sender<Joined>) {
        self.protocol_type = Some(join.protocol_type.clone());
        self.leader.get_or_insert_with(|| id.clone());
        self.members.push(Member {
            id,
            instance_id: join.instance_id.clone(),
            client_id: Arc::clone(&join.client_id),
            client_host: Arc::clone(&join.client_host),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            session_deadline: now + join.session_timeout,
            joining: None,
            syncing: None,
            synced: false,
        });
        let at = self.members.len() - 1;
        self.update(at, join, reply);
        if let Some((_, newcomer)) = &mut self.initial {
            *newcomer = true;
        }
        self.rebalance(now);
    }

    fn update(&mut self, at: usize, join: Join, reply: oneshot::Sender<Joined>) {
        let member = &mut self.members[at];
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        // An earlier request of the same member that still waits will never be read.
        member.joining = Some(reply);
    }

    /// Begins a round, or goes on with the one that has begun.
    fn rebalance(&mut self, now: Instant) {
        if self.phase != Phase::PreparingRebalance {
            for member in &mut self.members {
                member.assignment = Bytes::new();
                if let Some(syncing) = member.syncing.take() {
                    let _ = syncing.send(Err(ErrorCode::RebalanceInProgress));
                }
            }
            let timeout = self.rebalance_timeout();
            if self.phase == Phase::Empty && !self.initial_delay.is_zero() {
                self.initial = Some((now + timeout, false));
                self.deadline = Some(now + self.initial_delay.min(timeout));
            } else {
                self.deadline = Some(now + timeout);
            }
            self.phase = Phase::PreparingRebalance;
        }
        self.complete_if_joined(now);
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn complete_if_joined(&mut self, now: Instant) {
        let all = self.members.iter().all(|member| member.joining.is_some()) && self.pending.is_empty();
        if self.phase == Phase::PreparingRebalance && self.initial.is_none() && (all || self.members.is_empty()) {
            self.complete_join(now);
        }
    }

    /// Ends the round of joining: whoever is there is in.
    fn complete_join(&mut self, now: Instant) {
        self.initial = None;
        self.members.retain(|member| member.joining.is_some() || member.instance_id.is_some());
        if !self.members.is_empty() && self.members.iter().all(|member| member.joining.is_none()) {
            // Only static members, and none has come back yet: wait on, their sessions will end.
            self.deadline = Some(now + self.rebalance_timeout());
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.emptied_at = Some(now);
            (self.leader, self.protocol, self.deadline) = (None, None, None);
            return;
        }
        let joined = |member: &&Member| member.joining.is_some();
        let leads = self.members.iter().filter(joined).any(|member| Some(&member.id) == self.leader.as_ref());
        if !leads {
            self.leader = self.members.iter().find(joined).map(|member| member.id.clone());
        }
        self.protocol = self.vote();
        self.phase = Phase::CompletingRebalance;
        self.deadline = Some(now + self.rebalance_timeout());
        for at in 0..self.members.len() {
            self.members[at].synced = false;
            if let Some(reply) = self.members[at].joining.take() {
                self.members[at].heard(now);
                let _ = reply.send(self.joined(at));
            }
        }
    }

    /// The protocol that all have, and that most want first.
    fn vote(&self) -> Option<String> {
        let candidates: Vec<&String> = self.members.first()?.protocols.iter().map(|(name, _)| name).collect();
        let has = |member: &Member, name: &String| member.protocols.iter().any(|(known, _)| known == name);
        let in_common = |name: &&String| self.members.iter().all(|member| has(member, name));
        let candidates: Vec<&String> = candidates.into_iter().filter(in_common).collect();
        let choice = |member: &Member| {
            member.protocols.iter().map(|(name, _)| name).find(|name| candidates.contains(name)).cloned()
        };
        let votes: Vec<String> = self.members.iter().filter_map(choice).collect();
        let count = |name: &String| votes.iter().filter(|vote| *vote == name).count();
        // `max_by_key` keeps the last of equals, `rev` makes that the first.
        candidates.iter().rev().max_by_key(|name| count(name)).map(|name| (*name).clone())
    }

    fn joined(&self, at: usize) -> Joined {
        let member = &self.members[at];
        let protocol = self.protocol.clone().unwrap_or_default();
        let leads = self.leader.as_ref() == Some(&member.id);
        let described = |member: &Member| (member.id.clone(), member.instance_id.clone(), member.metadata(&protocol));
        Joined {
            code: None,
            member_id: member.id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if leads { self.members.iter().map(described).collect() } else { Vec::new() },
        }
    }

    /// The member that sends a request, if it is one.
    fn find(&self, identity: Identity<'_>) -> Result<usize, ErrorCode> {
        if let Some(instance_id) = identity.instance_id {
            let found = self.members.iter().position(|member| member.instance_id.as_deref() == Some(instance_id));
            let at = found.ok_or(ErrorCode::UnknownMemberId)?;
            return if self.members[at].id == identity.member_id { Ok(at) } else { Err(ErrorCode::FencedInstanceId) };
        }
        self.members.iter().position(|member| member.id == identity.member_id).ok_or(ErrorCode::UnknownMemberId)
    }

    fn find_in_generation(&self, identity: Identity<'_>) -> Result<usize, ErrorCode> {
        let at = self.find(identity)?;
        if identity.generation == self.generation { Ok(at) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Takes the leader's assignments, or waits for them. `protocol` is what the member thinks was agreed on, if it says.
    pub(super) fn sync(
        &mut self,
        now: Instant,
        identity: Identity<'_>,
        protocol: (Option<&str>, Option<&str>),
        assignments: Vec<(String, Bytes)>,
        reply: oneshot::Sender<Synced>,
    ) {
        let differs = |said: Option<&str>, is: &Option<String>| said.is_some_and(|said| is.as_deref() != Some(said));
        let at = match self.find_in_generation(identity) {
            Ok(_) if differs(protocol.0, &self.protocol_type) || differs(protocol.1, &self.protocol) => {
                Err(ErrorCode::InconsistentGroupProtocol)
            }
            found => found,
        };
        let at = match (at, self.phase) {
            (Err(code), _) => {
                let _ = reply.send(Err(code));
                return;
            }
            (Ok(_), Phase::Empty) => {
                let _ = reply.send(Err(ErrorCode::UnknownMemberId));
                return;
            }
            (Ok(_), Phase::PreparingRebalance) => {
                let _ = reply.send(Err(ErrorCode::RebalanceInProgress));
                return;
            }
            (Ok(at), Phase::CompletingRebalance | Phase::Stable) => at,
        };
        self.members[at].heard(now);
        self.members[at].synced = true;
        if self.phase == Phase::Stable {
            let _ = reply.send(Ok(self.members[at].assignment.clone()));
            return;
        }
        self.members[at].syncing = Some(reply);
        if self.leader.as_deref() == Some(identity.member_id) {
            for member in &mut self.members {
                let assigned = assignments.iter().find(|(id, _)| *id == member.id);
                member.assignment = assigned.map(|(_, assignment)| assignment.clone()).unwrap_or_default();
                if let Some(syncing) = member.syncing.take() {
                    member.heard(now);
                    let _ = syncing.send(Ok(member.assignment.clone()));
                }
            }
            self.phase = Phase::Stable;
            // Who has not synced yet is out when the time is up, in Stable too.
        }
    }

    /// A sign of life.
    pub(super) fn heartbeat(&mut self, now: Instant, identity: Identity<'_>) -> Result<(), ErrorCode> {
        let at = self.find_in_generation(identity)?;
        self.members[at].heard(now);
        match self.phase {
            Phase::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            Phase::CompletingRebalance | Phase::Stable => Ok(()),
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// A member goes; a static one may be named by its instance id alone.
    pub(super) fn leave(&mut self, now: Instant, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(at) = self.pending.iter().position(|(id, _)| id == member_id) {
            self.pending.remove(at);
            self.complete_if_joined(now);
            return Ok(());
        }
        let at = match instance_id {
            Some(instance_id) if member_id.is_empty() => {
                let found = self.members.iter().position(|member| member.instance_id.as_deref() == Some(instance_id));
                found.ok_or(ErrorCode::UnknownMemberId)?
            }
            instance_id => self.find(Identity { member_id, instance_id, generation: 0 })?,
        };
        self.remove(now, at);
        Ok(())
    }

    fn remove(&mut self, now: Instant, at: usize) {
        let member = self.members.remove(at);
        if let Some(joining) = member.joining {
            let _ = joining.send(Joined::refused(&member.id, ErrorCode::UnknownMemberId));
        }
        if let Some(syncing) = member.syncing {
            let _ = syncing.send(Err(ErrorCode::UnknownMemberId));
        }
        if self.leader.as_ref() == Some(&member.id) {
            self.leader = None;
        }
        self.rebalance(now);
    }

    /// Kafka's name of its state, its generation or epoch, and how many members it has.
    pub(super) fn summary(&self) -> (&'static str, i32, usize) {
        match &self.consumer {
            Some(consumer) => (consumer.state(), consumer.epoch, consumer.members.len()),
            None => (self.phase.name(), self.generation, self.members.len()),
        }
    }

    /// Nobody is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.summary().2 == 0
    }

    /// Nobody is in it or on the way, and nothing is committed: there might as well be no such group.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && self.offsets.is_empty() && self.transactional.is_empty()
    }

    /// Whether a commit by this identity counts. Outside of a group everybody may.
    pub(super) fn may_commit(
        &mut self,
        now: Instant,
        identity: Identity<'_>,
        commit: Commit<'_>,
    ) -> Result<(), ErrorCode> {
        if let Some(consumer) = &self.consumer {
            return consumer.may_commit(identity, commit);
        }
        if identity.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        let transactional = commit.version.is_none();
        if identity.generation < 0 && identity.member_id.is_empty() && identity.instance_id.is_none() {
            // Producers before KIP-447 don't say who they are.
            return if transactional { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        }
        let at = self.find_in_generation(identity)?;
        self.members[at].heard(now);
        // Between Join and Sync nobody owns anything; a transaction's offsets may be those of the last generation's end.
        let between = self.phase == Phase::CompletingRebalance && !transactional;
        if between { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// When [`Self::expire`] has something to do, at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.iter().filter(|member| member.may_expire()).map(|member| member.session_deadline);
        let pending = self.pending.iter().map(|(_, until)| *until);
        let consumer = self.consumer.as_ref().and_then(ConsumerGroup::next_deadline);
        sessions.chain(pending).chain(self.deadline).chain(consumer).min()
    }

    /// Lets silent members and forgotten ids go, and ends waits that have become too long.
    pub(super) fn expire(&mut self, now: Instant, topics: &Topics) {
        if let Some(consumer) = &mut self.consumer {
            return consumer.expire(now, topics);
        }
        let before = self.pending.len();
        self.pending.retain(|(_, until)| *until > now);
        if self.pending.len() < before {
            self.complete_if_joined(now);
        }
        while let Some(at) =
            self.members.iter().position(|member| member.may_expire() && member.session_deadline <= now)
        {
            self.remove(now, at);
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        match (self.phase, self.initial) {
            (Phase::PreparingRebalance, Some((latest, true))) if now < latest => {
                self.initial = Some((latest, false));
                self.deadline = Some((now + self.initial_delay).min(latest));
            }
            (Phase::PreparingRebalance, _) => self.complete_join(now),
            (Phase::CompletingRebalance | Phase::Stable, _) => {
                self.deadline = None;
                while let Some(at) = self.members.iter().position(|member| !member.synced && member.joining.is_none()) {
                    self.remove(now, at);
                }
            }
            (Phase::Empty, _) => self.deadline = None,
        }
    }
}

impl Member {
    /// A member that waits for us is not silent.
    fn may_expire(&self) -> bool {
        self.joining.is_none() && self.syncing.is_none()
    }
}

fn same_instance(member: &Member, join: &Join) -> bool {
    member.instance_id.is_some() && member.instance_id == join.instance_id
}
