//! One consumer group of the new protocol (KIP-848): the coordinator deals the partitions out, and each member goes to its
//! target in its own time. A value: time and the topics that there are come in as arguments.
//!
//! ```text
//!            a member joins                         target assigned                  all have what they are to have
//!   Empty ---------------------> Assigning ---------------------> Reconciling ----------------------> Stable
//!     ^                              ^                                |                                 |
//!     +------- nobody is left        +--------------------------------+---------------------------------+
//!                                        somebody joins, leaves or falls silent, or wants or gets other topics
//! ```
//! The group's epoch counts what has changed; a target is of an epoch, and so is each member. What happens between
//! two heartbeats of a member (a regular expression that is worked out, a member that is thrown out) is in the answer
//! to its next one, as with Apache.

use super::consumer_members::{ConsumerMember, LEAVES, LEAVES_FOR_A_WHILE};
use super::groups::{Commit, Identity};
use super::server_assignors::{Assignor, Partitions, Subscriber, Topics};
use super::state::Refusal;
use crate::error::ErrorCode;
use crate::topic_regex::TopicRegex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A regular expression is worked out again for new topics, but no more often than this.
const REGEX_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct ConsumerGroupSettings {
    pub session_timeout: Duration,
    /// A target is no younger than this when the next one comes.
    pub assignment_interval: Duration,
    pub max_size: usize,
}

/// What a ConsumerGroupHeartbeat says; `None` is what has not changed.
#[derive(Debug, Clone)]
pub(super) struct Beat {
    pub member_id: String,
    pub epoch: i32,
    pub instance_id: Option<String>,
    pub rack: Option<String>,
    pub rebalance_timeout: Option<Duration>,
    pub topics: Option<BTreeSet<Arc<str>>>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub owned: Option<Partitions>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
}

impl Beat {
    /// Says everything, as who joins or does not know whether it was heard.
    fn is_full(&self) -> bool {
        self.epoch == 0 || self.rebalance_timeout.is_some() && self.topics.is_some() && self.owned.is_some()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beaten {
    pub member_id: String,
    pub epoch: i32,
    pub assignment: Option<Partitions>,
}

#[derive(Debug)]
pub(super) struct ConsumerGroup {
    name: Arc<str>,
    pub epoch: i32,
    /// Of the target.
    pub assignment_epoch: i32,
    pub members: BTreeMap<String, ConsumerMember>,
    pub target: BTreeMap<String, Partitions>,
    assigned_at: Option<Instant>,
    /// The topics subscribed to that there were when the epoch was last counted.
    topics: Topics,
    /// The regular expressions of the members, and the topics that they stand for.
    regexes: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// When they were worked out, and how many topics there were.
    resolved: Option<(Instant, usize)>,
}

impl ConsumerGroup {
    /// An empty one. Its first epoch has an empty target.
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            epoch: 1,
            assignment_epoch: 1,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            assigned_at: None,
            topics: Topics::new(),
            regexes: BTreeMap::new(),
            resolved: None,
        }
    }

    fn unknown_member(&self, id: &str) -> Refusal {
        (ErrorCode::UnknownMemberId, format!("Member {id} is not a member of group {}.", self.name))
    }

    /// Kafka's name.
    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// A member says that it is there, wants something else, or has given something up; or joins with epoch 0. Regular expressions
    /// stand for topics that are `describable` to it.
    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        settings: ConsumerGroupSettings,
        topics: &Topics,
        describable: &BTreeSet<Arc<str>>,
        beat: Beat,
    ) -> Result<Beaten, Refusal> {
        if let Some(regex) = &beat.regex {
            TopicRegex::new(regex).map_err(|why| {
                let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.");
                (ErrorCode::InvalidRegularExpression, message)
            })?;
        }
        if self.members.len() >= settings.max_size && !self.members.contains_key(&beat.member_id) {
            let why = format!("The consumer group has reached its maximum capacity of {} members.", settings.max_size);
            return Err((ErrorCode::GroupMaxSizeReached, why));
        }
        let before = self.admit(now, &beat)?;
        let full = beat.is_full();
        let Beat { member_id, owned, .. } = beat.clone();
        let mut member = before.clone();
        self.update(&mut member, beat);
        let wants_else = member.topics != before.topics || self.regex_bumps(&before, &member);
        self.members.insert(member_id.clone(), member);
        self.forget_regexes();
        self.count(topics, wants_else);
        let old_enough = |at: Instant| now - at >= settings.assignment_interval;
        if self.epoch > self.assignment_epoch && self.assigned_at.is_none_or(old_enough) {
            self.assign();
            self.assigned_at = Some(now);
        }
        let taken = self.members.values().flat_map(|member| member.assigned.iter().chain(&member.revoking));
        let taken: Partitions = taken.copied().collect();
        let target = self.wanted_target(&member_id, topics);
        let unknown = self.unknown_member(&member_id);
        let member = self.members.get_mut(&member_id).ok_or(unknown)?;
        member.reconcile(now, (self.assignment_epoch, &target), owned.as_ref(), |one| !taken.contains(one));
        member.session_deadline = now + settings.session_timeout;
        let changed = member.assigned != before.assigned;
        let beaten = Beaten {
            member_id: member.id.clone(),
            epoch: member.epoch,
            assignment: (full || changed).then(|| member.assigned.clone()),
        };
        self.resolve_regexes(now, topics, describable);
        Ok(beaten)
    }

    /// The member that a heartbeat is of: a new one, if it joins.
    fn admit(&mut self, now: Instant, beat: &Beat) -> Result<ConsumerMember, Refusal> {
        let (id, joins) = (&beat.member_id, beat.epoch == 0);
        let Some(instance_id) = &beat.instance_id else {
            let known = match self.members.get(id) {
                Some(known) => known.clone(),
                None if joins => ConsumerMember::new(id.clone(), now),
                None => return Err(self.unknown_member(id)),
            };
            known.check_epoch(beat.epoch, beat.owned.as_ref())?;
            return Ok(known);
        };
        let known = match self.static_member(instance_id, id) {
            Ok(known) => known.clone(),
            Err((ErrorCode::UnknownMemberId, _)) if joins => return Ok(ConsumerMember::new(id.clone(), now)),
            Err((ErrorCode::FencedInstanceId, _)) if joins => return self.replace_static(instance_id, id),
            Err(refusal) => return Err(refusal),
        };
        if joins && known.epoch == LEAVES_FOR_A_WHILE {
            return self.replace_static(instance_id, id);
        }
        if joins {
            return Err(unreleased(instance_id, id, &known.id));
        }
        known.check_epoch(beat.epoch, beat.owned.as_ref())?;
        Ok(known)
    }

    fn static_member(&self, instance_id: &str, id: &str) -> Result<&ConsumerMember, Refusal> {
        let found = self.members.values().find(|member| member.instance_id.as_deref() == Some(instance_id));
        let unknown = || (ErrorCode::UnknownMemberId, format!("Instance id {instance_id} is unknown."));
        let found = found.ok_or_else(unknown)?;
        if found.id != id {
            let why = format!("Static member {id} with instance id {instance_id} was fenced by member {}.", found.id);
            return Err((ErrorCode::FencedInstanceId, why));
        }
        Ok(found)
    }

    /// A static member has come back, and has what it had; if its place is free.
    fn replace_static(&mut self, instance_id: &str, id: &str) -> Result<ConsumerMember, Refusal> {
        let old = self.members.values().find(|member| member.instance_id.as_deref() == Some(instance_id));
        let old = old.map(|member| (member.id.clone(), member.epoch)).unwrap_or_default();
        if old.1 != LEAVES_FOR_A_WHILE {
            return Err(unreleased(instance_id, id, &old.0));
        }
        let unknown = || (ErrorCode::UnknownMemberId, format!("Instance id {instance_id} is unknown."));
        let mut member = self.members.remove(&old.0).ok_or_else(unknown)?;
        if let Some(target) = self.target.remove(&old.0) {
            self.target.insert(id.to_owned(), target);
        }
        member.id = id.to_owned();
        (member.epoch, member.previous_epoch) = (0, 0);
        self.members.insert(id.to_owned(), member.clone());
        Ok(member)
    }

    fn update(&self, member: &mut ConsumerMember, beat: Beat) {
        member.client_id = beat.client_id;
        member.client_host = beat.client_host;
        member.instance_id = beat.instance_id.or(member.instance_id.take());
        member.rack = beat.rack.or(member.rack.take());
        member.rebalance_timeout = beat.rebalance_timeout.unwrap_or(member.rebalance_timeout);
        member.assignor = beat.assignor.or(member.assignor.take());
        if let Some(topics) = beat.topics {
            member.topics = topics;
        }
        // The empty one takes the subscription back.
        member.regex = beat.regex.or(member.regex.take()).filter(|regex| !regex.is_empty());
    }

    /// Whether a member's new expression counts at once: not, if it has to be worked out first.
    fn regex_bumps(&self, before: &ConsumerMember, after: &ConsumerMember) -> bool {
        let known = |regex: &Option<String>| regex.as_ref().is_some_and(|regex| self.regexes.contains_key(regex));
        before.regex != after.regex && (known(&after.regex) || after.regex.is_none())
    }

    fn forget_regexes(&mut self) {
        let members = &self.members;
        self.regexes.retain(|regex, _| members.values().any(|member| member.regex.as_ref() == Some(regex)));
    }

    /// Works the expressions out, if there are new ones or new topics; another outcome is a new epoch. As with Apache all of them
    /// by what the member may see whose heartbeat it is.
    fn resolve_regexes(&mut self, now: Instant, topics: &Topics, describable: &BTreeSet<Arc<str>>) {
        let wanted: BTreeSet<_> = self.members.values().filter_map(|member| member.regex.clone()).collect();
        let unresolved = wanted.iter().any(|regex| !self.regexes.contains_key(regex));
        let stale = self.resolved.is_none_or(|(at, count)| count != topics.len() && now - at >= REGEX_INTERVAL);
        if wanted.is_empty() || !unresolved && !stale {
            return;
        }
        self.resolved = Some((now, topics.len()));
        let before = self.regexes.clone();
        for regex in wanted {
            // It was looked at when it came.
            let Ok(compiled) = TopicRegex::new(&regex) else { continue };
            let matching: BTreeSet<_> = describable.iter().filter(|name| compiled.is_match(name)).cloned().collect();
            self.regexes.insert(regex, matching);
        }
        self.count(topics, self.regexes != before);
    }

    /// A new epoch, if somebody wants something else or the topics are no longer what they were.
    fn count(&mut self, topics: &Topics, wants_else: bool) {
        let subscribed: BTreeSet<_> = self.members.values().flat_map(|member| self.wanted(member)).collect();
        let subscribed = topics.iter().filter(|(name, _)| subscribed.contains(name));
        let subscribed: Topics = subscribed.map(|(name, topic)| (Arc::clone(name), *topic)).collect();
        if wants_else || subscribed != self.topics {
            self.epoch += 1;
            self.topics = subscribed;
        }
    }

    /// The names that a member subscribes to, one way or the other.
    fn wanted<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a Arc<str>> {
        let matching = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.topics.iter().chain(matching.into_iter().flatten())
    }

    /// A member's target, without what it no longer subscribes to.
    fn wanted_target(&self, id: &str, topics: &Topics) -> Partitions {
        let (Some(member), Some(target)) = (self.members.get(id), self.target.get(id)) else {
            return Partitions::new();
        };
        let wanted: BTreeSet<_> = self.wanted(member).filter_map(|name| topics.get(name)).map(|(id, _)| *id).collect();
        target.iter().filter(|(topic, _)| wanted.contains(topic)).copied().collect()
    }

    /// The assignor that most of the members want.
    pub(super) fn assignor(&self) -> Assignor {
        let named = self.members.values().filter_map(|member| Assignor::named(member.assignor.as_deref()?));
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        named.for_each(|assignor| *votes.entry(assignor).or_default() += 1);
        // Of equals the last one is taken: the default.
        votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(assignor, _)| assignor).unwrap_or_default()
    }

    /// A new target for everybody.
    fn assign(&mut self) {
        let subscribers = self.members.values().map(|member| Subscriber {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            topics: self.wanted(member).filter_map(|name| self.topics.get(name)).copied().collect(),
            had: self.target.get(&member.id).cloned().unwrap_or_default(),
        });
        let subscribers: Vec<_> = subscribers.collect();
        let assigned = self.assignor().assign(&subscribers);
        self.target = subscribers.into_iter().map(|member| member.member_id).zip(assigned).collect();
        self.assignment_epoch = self.epoch;
    }

    /// A member goes for good (-1), or a static one for a while (-2).
    pub(super) fn leave(&mut self, topics: &Topics, beat: &Beat) -> Result<Beaten, Refusal> {
        let id = match &beat.instance_id {
            Some(instance_id) => self.static_member(instance_id, &beat.member_id)?.id.clone(),
            None => beat.member_id.clone(),
        };
        let unknown = self.unknown_member(&id);
        let member = self.members.get_mut(&id).ok_or(unknown)?;
        if beat.epoch == LEAVES_FOR_A_WHILE {
            member.epoch = LEAVES_FOR_A_WHILE;
            member.revoking.clear();
            member.rebalance_deadline = None;
        } else {
            debug_assert_eq!(beat.epoch, LEAVES);
            self.remove(topics, &id);
        }
        Ok(Beaten { member_id: id, epoch: beat.epoch, assignment: None })
    }

    fn remove(&mut self, topics: &Topics, id: &str) {
        self.members.remove(id);
        self.target.remove(id);
        self.forget_regexes();
        self.count(topics, true);
    }

    /// Whether a commit counts, as for a classic group.
    pub(super) fn may_commit(&self, identity: Identity<'_>, commit: Commit<'_>) -> Result<(), ErrorCode> {
        if identity.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(identity.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        match (commit.version, member.may_commit(identity.generation, commit.partitions)) {
            (Some(..9), _) => Err(ErrorCode::UnsupportedVersion),
            (_, true) => Ok(()),
            (Some(_), false) => Err(ErrorCode::StaleMemberEpoch),
            // Producers know of no such code.
            (None, false) => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Whether a member subscribes to this topic.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.wanted(member).any(|name| **name == *topic))
    }

    /// Whether a member may ask in `epoch` for what was committed.
    pub(super) fn check_member(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    /// When [`Self::expire`] has something to do, at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines =
            |member: &ConsumerMember| member.rebalance_deadline.into_iter().chain([member.session_deadline]);
        self.members.values().flat_map(deadlines).min()
    }

    /// Throws out who has been silent, or has not given up what it was told to, for too long.
    pub(super) fn expire(&mut self, now: Instant, topics: &Topics) {
        let late = |member: &&ConsumerMember| {
            member.session_deadline <= now || member.rebalance_deadline.is_some_and(|deadline| deadline <= now)
        };
        let late: Vec<_> = self.members.values().filter(late).map(|member| member.id.clone()).collect();
        late.iter().for_each(|id| self.remove(topics, id));
    }
}

fn unreleased(instance_id: &str, id: &str, owner: &str) -> Refusal {
    let why = format!(
        "Static member {id} with instance id {instance_id} cannot join the group because the instance id is owned by {owner} \
         member."
    );
    (ErrorCode::UnreleasedInstanceId, why)
}
