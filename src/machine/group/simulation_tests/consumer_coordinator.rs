//! A coordinator of a consumer group, after Kafka's GroupMetadataManager and CurrentAssignmentBuilder: what it takes away
//! it gives to nobody before its holder has said that it is gone.

use super::{PARTITIONS, REBALANCE, SESSION};
use crate::error::ErrorCode;
use crate::machine::group::tests::T;
use crate::wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use crate::wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

struct Member {
    epoch: i32,
    /// The epoch before, of one who may have missed an answer.
    previous: i32,
    assigned: BTreeSet<i32>,
    /// Taken away, but not known to be gone.
    revoked: BTreeSet<i32>,
    revoked_at: Instant,
    told: Option<BTreeSet<i32>>,
    last_seen: Instant,
}

#[derive(Default)]
pub(super) struct ConsumerGroup {
    epoch: i32,
    members: BTreeMap<String, Member>,
    target: BTreeMap<String, BTreeSet<i32>>,
}

impl ConsumerGroup {
    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        beat: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let answer = ConsumerGroupHeartbeatResponse::default().with_heartbeat_interval_ms(3000);
        match self.heard(now, beat) {
            Ok((epoch, assignment)) => answer.with_member_epoch(epoch).with_assignment(assignment),
            Err(code) => answer.with_error_code(code.to_wire()),
        }
    }

    fn heard(
        &mut self,
        now: Instant,
        beat: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(i32, Option<Assignment>), ErrorCode> {
        let id = beat.member_id.to_string();
        let owned = beat
            .topic_partitions
            .as_ref()
            .map(|topics| topics.iter().flat_map(|topic| topic.partitions.iter().copied()).collect::<BTreeSet<_>>());
        let is_full = beat.rebalance_timeout_ms != -1 && beat.subscribed_topic_names.is_some() && owned.is_some();
        match beat.member_epoch {
            -1 => {
                self.members.remove(&id).ok_or(ErrorCode::UnknownMemberId)?;
                self.rebalance();
                return Ok((-1, None));
            }
            0 => {
                assert_eq!((is_full, owned.as_ref().map(BTreeSet::len)), (true, Some(0)), "a join says everything");
                let (assigned, revoked) = (BTreeSet::new(), BTreeSet::new());
                let member =
                    Member { epoch: 0, previous: 0, assigned, revoked, revoked_at: now, told: None, last_seen: now };
                self.members.insert(id.clone(), member);
                self.rebalance();
            }
            epoch => {
                let member = self.members.get(&id).ok_or(ErrorCode::UnknownMemberId)?;
                let has_missed_an_answer =
                    epoch == member.previous && owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
                if epoch != member.epoch && !has_missed_an_answer {
                    return Err(ErrorCode::FencedMemberEpoch);
                }
                let is_ours = |number: &i32| member.assigned.contains(number) || member.revoked.contains(number);
                assert!(owned.iter().flatten().all(is_ours), "a member has what was not given to it, or taken back");
            }
        }
        self.reconcile(now, &id, owned.as_ref());
        let member = self.members.get_mut(&id).unwrap();
        member.last_seen = now;
        let is_news = is_full || member.told.as_ref() != Some(&member.assigned);
        member.told = Some(member.assigned.clone());
        let topic = TopicPartitions::default().with_topic_id(T.into());
        let topic = topic.with_partitions(member.assigned.iter().copied().collect());
        Ok((member.epoch, is_news.then(|| Assignment::default().with_topic_partitions(vec![topic]))))
    }

    fn reconcile(&mut self, now: Instant, id: &str, owned: Option<&BTreeSet<i32>>) {
        let held_by_others: BTreeSet<_> = self
            .members
            .iter()
            .filter(|(other, _)| *other != id)
            .flat_map(|(_, member)| member.assigned.union(&member.revoked).copied())
            .collect();
        let target = self.target[id].clone();
        let member = self.members.get_mut(id).unwrap();
        if owned.is_some_and(|owned| owned.is_disjoint(&member.revoked)) {
            member.revoked.clear();
        }
        if !member.revoked.is_empty() {
            return;
        }
        let revoked: BTreeSet<_> = member.assigned.difference(&target).copied().collect();
        member.assigned.retain(|number| target.contains(number));
        if !revoked.is_empty() && owned.is_none_or(|owned| !owned.is_disjoint(&revoked)) {
            (member.revoked, member.revoked_at) = (revoked, now);
            return;
        }
        member.assigned.extend(target.difference(&held_by_others));
        if member.epoch != self.epoch {
            (member.previous, member.epoch) = (member.epoch, self.epoch);
        }
    }

    /// As a commit is checked.
    pub(super) fn check(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let before = self.members.len();
        self.members.retain(|_, member| {
            now < member.last_seen + SESSION && (member.revoked.is_empty() || now < member.revoked_at + REBALANCE)
        });
        if self.members.len() != before {
            self.rebalance();
        }
        let all: Vec<_> = self.members.values().flat_map(|member| member.assigned.union(&member.revoked)).collect();
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "a partition is given twice");
    }

    fn rebalance(&mut self) {
        self.epoch += 1;
        self.target = self.members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
        // From another member on each time, so that much moves.
        for number in 0..PARTITIONS {
            let nth = (number + self.epoch) as usize % self.target.len().max(1);
            if let Some(target) = self.target.values_mut().nth(nth) {
                target.insert(number);
            }
        }
    }

    /// Whether these many members have what they are to have.
    pub(super) fn is_settled(&self, members: usize) -> bool {
        let settled =
            |(id, member): (&String, &Member)| member.epoch == self.epoch && member.assigned == self.target[id];
        self.members.len() == members && self.members.iter().all(settled)
    }
}
