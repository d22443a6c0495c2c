//! Commits: in the order of the calls, one request at a time, so that a commit never overtakes the one before and a
//! group's offsets never go backwards; and never for a partition that has been given up since the application was told that
//! it is its own.

use super::RequestId;
use super::backoff::Backoff;
use super::coordinator::Coordinator;
use super::group::membership::{Membership, Standing, Tenure};
use super::group::{GroupCall, GroupConfig, GroupRequest, GroupResponse, Out, Reply, To, mismatched};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{GenerationId, LeaderEpoch, NodeId, OffsetAndMetadata, TopicPartition};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, TopicName};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// One call to commit, and what is left of it to do.
pub struct Commit {
    left: BTreeMap<TopicPartition, Meant>,
    deadline: Instant,
    replies: Vec<Reply<()>>,
    /// Somebody waits for it.
    awaited: bool,
    /// All of it or nothing.
    whole: bool,
    /// The first error that no retry cures; told once the rest is done.
    error: Option<Error>,
    was_sent: bool,
}

/// An offset, and the tenure of its partition as the application knows it: without one only who is in no group commits.
pub type Meant = (OffsetAndMetadata, Option<Tenure>);

impl Commit {
    /// These offsets, by `deadline`. Those of partitions that are not ours any more are left out, and an error then.
    pub fn new(offsets: impl IntoIterator<Item = (TopicPartition, Meant)>, deadline: Instant) -> Self {
        let left = offsets.into_iter().collect();
        Self { left, deadline, replies: vec![], awaited: false, whole: false, error: None, was_sent: false }
    }

    /// All of it, or nothing if one of the partitions is not ours.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Who waits for what becomes of it.
    pub fn awaited(mut self, reply: Reply<()>) -> Self {
        self.awaited = true;
        self.told(reply)
    }

    /// Who is told what becomes of it, without waiting.
    pub fn told(mut self, reply: Reply<()>) -> Self {
        self.replies.push(reply);
        self
    }

    fn finish(self, error: Option<Error>) {
        let outcome = self.error.or(error).map_or(Ok(()), Err);
        if let Err(error) = &outcome
            && !self.awaited
        {
            tracing::warn!(%error, "offsets not committed");
        }
        self.replies.into_iter().for_each(|reply| reply(outcome.clone()));
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("left", &self.left).field("error", &self.error).finish_non_exhaustive()
    }
}

/// The request under way: for the first of the queue.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    node: NodeId,
    generation: GenerationId,
    member_id: Arc<str>,
}

/// The queue of commits.
#[derive(Debug)]
pub struct OffsetCommit {
    config: Arc<GroupConfig>,
    queue: VecDeque<Commit>,
    asked: Option<Asked>,
    not_before: Option<Instant>,
    backoff: Backoff,
    leaving: Option<Leaving>,
}

/// What a member that is leaving still has time for.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// Of every commit, at most.
    deadline: Instant,
    /// For the end of a rebalance.
    rebalance_until: Instant,
}

impl OffsetCommit {
    /// Nothing to commit yet.
    pub fn new(config: Arc<GroupConfig>, backoff: Backoff) -> Self {
        Self { config, queue: VecDeque::new(), asked: None, not_before: None, backoff, leaving: None }
    }

    /// Whether everything is done.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a commit of any of these is not done.
    pub fn concerns(&self, partitions: &[TopicPartition]) -> bool {
        let concerns = |commit: &Commit| partitions.iter().any(|partition| commit.left.contains_key(partition));
        self.queue.iter().any(concerns)
    }

    /// Puts a commit behind the others.
    pub fn push(&mut self, mut commit: Commit, membership: &dyn Membership) {
        commit.deadline = self.leaving.map_or(commit.deadline, |leaving| commit.deadline.min(leaving.deadline));
        if commit.whole && membership.standing() != Standing::Outside {
            let is_stray = |(partition, (_, tenure)): &(&TopicPartition, &Meant)| {
                tenure.is_none() || membership.tenure(partition) != *tenure
            };
            if let Some((partition, _)) = commit.left.iter().find(is_stray) {
                let error = no_longer_owned(partition.clone());
                return commit.finish(Some(error));
            }
        }
        // Nobody waits for either: the newer offsets are all that matters.
        let is_waiting = self.queue.len() > usize::from(self.asked.is_some());
        if let Some(last) = self.queue.back_mut()
            && is_waiting
            && !last.awaited
            && !last.was_sent // or what is tried again would have a new deadline each time
            && !commit.awaited
        {
            last.left.extend(commit.left);
            last.replies.append(&mut commit.replies);
            last.deadline = commit.deadline;
            return;
        }
        self.queue.push_back(commit);
    }

    /// Whether this is the answer to the request under way.
    pub fn is_asked(&self, id: RequestId) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.id == id)
    }

    /// Gives up what is out of time.
    pub fn expire(&mut self, now: Instant, coordinator: &mut Coordinator) {
        for index in (0..self.queue.len()).rev() {
            if now < self.queue[index].deadline {
                continue;
            }
            if index == 0
                && let Some(asked) = self.asked.take()
            {
                coordinator.lost(now, asked.node);
            }
            if let Some(commit) = self.queue.remove(index) {
                let certainty = if commit.was_sent { Certainty::PossiblySent } else { Certainty::NotSent };
                commit.finish(Some(Error::new(ErrorKind::Timeout).api("OffsetCommit").certainty(certainty)));
            }
        }
    }

    /// Everything that waits, or comes, has this deadline at most, for the member is leaving: what is refused because of a
    /// rebalance has a heartbeat's time. Others end it within that, but for the one who should assign and is us.
    pub fn hurry(&mut self, now: Instant, deadline: Instant) {
        self.leaving = Some(Leaving { deadline, rebalance_until: now + self.config.heartbeat_interval });
        self.queue.iter_mut().for_each(|commit| commit.deadline = commit.deadline.min(deadline));
    }

    /// Everything that waits fails with this.
    pub fn fail_all(&mut self, error: &Error) {
        self.asked = None;
        self.queue.drain(..).for_each(|commit| commit.finish(Some(error.clone())));
    }

    /// Sends the next commit, if there is one and someone to send it to.
    pub fn send(&mut self, now: Instant, node: Option<NodeId>, membership: &dyn Membership, out: &mut Out) {
        let Some(node) = node else { return };
        if self.asked.as_ref().is_some_and(|asked| asked.node != node) {
            self.asked = None; // whoever was asked is no longer the coordinator
        }
        if self.asked.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        let (generation, member_id) = match membership.standing() {
            Standing::Outside => (GenerationId::NONE, Arc::from("")),
            Standing::Member(generation, member_id) => (generation, member_id),
            Standing::BetweenGenerations => return self.drop_strays(membership),
        };
        self.drop_strays(membership);
        let Some(commit) = self.queue.front_mut() else { return };
        commit.was_sent = true;
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, (committed, _)) in &commit.left {
            topics.entry(&partition.topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(partition.partition)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(LeaderEpoch::to_wire(committed.leader_epoch))
                    .with_committed_metadata(Some(str_bytes(&committed.metadata))),
            );
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(TopicName(str_bytes(topic))).with_partitions(partitions)
        });
        // An instance id without a generation would be refused.
        let instance_id = self.config.instance_id.as_deref().filter(|_| generation != GenerationId::NONE);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(str_bytes(&self.config.group_id)))
            .with_generation_id_or_member_epoch(generation.0)
            .with_member_id(str_bytes(&member_id))
            .with_group_instance_id(instance_id.map(str_bytes))
            .with_topics(topics.collect());
        let request = GroupRequest::OffsetCommit(request);
        let id = out.ask(GroupCall { to: To::Group(node), timeout: self.config.request_timeout, request });
        self.asked = Some(Asked { id, node, generation, member_id });
    }

    /// Partitions given up since the call are no longer ours to commit.
    fn drop_strays(&mut self, membership: &dyn Membership) {
        let subscribed = membership.standing() != Standing::Outside;
        while let Some(commit) = self.queue.front_mut() {
            let error = &mut commit.error;
            commit.left.retain(|partition, (_, tenure)| {
                let kept = match tenure {
                    Some(_) => membership.tenure(partition) == *tenure,
                    None => !subscribed,
                };
                if !kept {
                    error.get_or_insert_with(|| no_longer_owned(partition.clone()));
                }
                kept
            });
            if !commit.left.is_empty() {
                return;
            }
            if let Some(commit) = self.queue.pop_front() {
                commit.finish(None);
            }
        }
    }

    /// The answer, or why there is none.
    pub fn on_answer(
        &mut self,
        now: Instant,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        membership: &mut dyn Membership,
        out: &mut Out,
    ) {
        let Some(asked) = self.asked.take() else { return };
        match answer {
            Ok(GroupResponse::OffsetCommit(answer)) => {
                self.on_committed(now, &asked, answer, coordinator, membership, out);
            }
            Err(error) if error.is_retriable() => {
                coordinator.lost(now, asked.node);
                self.not_before = Some(now + self.backoff.next_wait());
            }
            answer => {
                let error = answer.err().unwrap_or_else(mismatched);
                if let Some(commit) = self.queue.pop_front() {
                    commit.finish(Some(error));
                }
            }
        }
    }

    fn on_committed(
        &mut self,
        now: Instant,
        asked: &Asked,
        answer: OffsetCommitResponse,
        coordinator: &mut Coordinator,
        membership: &mut dyn Membership,
        out: &mut Out,
    ) {
        let Some(commit) = self.queue.front_mut() else { return };
        let mut retry = false;
        let mut expelled = None;
        for topic in answer.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            for answered in topic.partitions {
                let partition = TopicPartition::new(name.clone(), answered.partition_index);
                let Some(code) = ErrorCode::from_wire(answered.error_code) else {
                    commit.left.remove(&partition);
                    continue;
                };
                match code {
                    code if code.moves_coordinator() || code == ErrorCode::RequestTimedOut => {
                        coordinator.lost(now, asked.node);
                        retry = true;
                    }
                    ErrorCode::RebalanceInProgress
                        if self.leaving.is_none_or(|leaving| now < leaving.rebalance_until) =>
                    {
                        membership.catch_up(now, "a commit was answered that the group is rebalancing");
                        retry = true;
                    }
                    ErrorCode::StaleMemberEpoch => {
                        membership.catch_up(now, "a commit was answered that the group has a newer epoch");
                        retry = true;
                    }
                    // The coordinator is only ahead of us. Whether the partition is still ours the rebalance will say.
                    ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
                        if membership.is_rebalancing(asked.generation) =>
                    {
                        retry = true;
                    }
                    // A topic that was deleted comes back seldom: only who waits for it tries it again, or a revocation would
                    // wait for this (KAFKA-13310).
                    code if code.is_retriable() && (code != ErrorCode::UnknownTopicOrPartition || commit.awaited) => {
                        retry = true;
                    }
                    code => {
                        if matches!(code, ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId) {
                            expelled = Some(code);
                        }
                        commit.left.remove(&partition);
                        let error = Error::broker(code).api("OffsetCommit").node(asked.node).partition(partition);
                        if code == ErrorCode::FencedInstanceId {
                            membership.fail(error.clone(), out);
                        }
                        commit.error.get_or_insert(error);
                    }
                }
            }
        }
        // Without it a zombie would go on consuming what others have.
        if let Some(code) = expelled
            && membership.standing() == Standing::Member(asked.generation, asked.member_id.clone())
        {
            membership.expelled(now, code, out);
        }
        if retry {
            self.not_before = Some(now + self.backoff.next_wait());
            return;
        }
        coordinator.works();
        self.backoff.reset();
        if let Some(mut commit) = self.queue.pop_front() {
            if let Some(partition) = commit.left.keys().next() {
                let error = Error::with_message(ErrorKind::Malformed, "not in the answer").api("OffsetCommit");
                commit.error.get_or_insert(error.partition(partition.clone()));
            }
            commit.finish(None);
        }
    }

    /// When to look again.
    pub fn poll_timeout(&self, has_node: bool) -> Option<Instant> {
        let retry = self.not_before.filter(|_| has_node && self.asked.is_none() && !self.queue.is_empty());
        self.queue.iter().map(|commit| commit.deadline).chain(retry).min()
    }
}

fn no_longer_owned(partition: TopicPartition) -> Error {
    Error::broker(ErrorCode::RebalanceInProgress)
        .api("OffsetCommit")
        .partition(partition)
        .message("not assigned to this consumer any more; whoever has it now starts from the commit before")
        .certainty(Certainty::NotSent)
}
