//! What answers do to a membership: the table in [`classic`](super) in code.

use super::{ClassicMembership, Leading, State};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{GenerationId, NodeId, TopicPartition};
use crate::machine::RequestId;
use crate::machine::coordinator::Coordinator;
use crate::machine::group::assignor::{GroupMember, RebalanceProtocol, all_topics};
use crate::machine::group::group_topics::GroupTopics;
use crate::machine::group::membership::Membership;
use crate::machine::group::refusal::refused;
use crate::machine::group::{GroupEvent, GroupResponse, Out, mismatched};
use crate::wire::group_protocol::{Subscription, decode_assignment, encode_assignment, str_bytes};
use crate::wire::messages::JoinGroupResponse;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl ClassicMembership {
    /// An answer to a request of this part.
    pub(super) fn answered(
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
        if self.farewell.take_if(|farewell| *farewell == id).is_some() {
            return; // whatever it says, we are out
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
            (State::Counting { .. }, Ok(GroupResponse::Topics(found)), _) => self.on_counted(found, out),
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
            let message =
                format!("the group chose the assignor \"{}\", which this member does not have", self.assignor);
            let error = Error::broker(ErrorCode::InconsistentGroupProtocol).api("JoinGroup").message(message);
            return self.fail(error, out);
        }
        let member = |member: JoinGroupResponseMember| {
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

    fn on_counted(&mut self, found: GroupTopics, out: &mut Out) {
        let State::Counting { members, skip } = std::mem::replace(&mut self.state, State::Unjoined) else { return };
        let assignor = self.config.assignors.iter().find(|assignor| assignor.name() == &*self.assignor);
        let mut assignments = vec![];
        // A static leader that comes back must leave the assignment as it is (KIP-814).
        if let Some(assignor) = assignor
            && !skip
        {
            let assignment = assignor.assign(&found, &members);
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
        self.leading = Some(Leading { found, topics: all_topics(&members) });
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
        let owned = |partition: &TopicPartition| self.owned.tenure(partition).is_some();
        self.assigned = assigned.iter().cloned().collect();
        let revoked: Vec<_> = self.owned.partitions().filter(|name| !assigned.contains(*name)).cloned().collect();
        let added: Vec<_> = assigned.into_iter().filter(|partition| !owned(partition)).collect();
        let tenure = self.owned.add(&added);
        self.state = State::Stable;
        if self.protocol == RebalanceProtocol::Cooperative {
            // Whoever gave something up joins again at once, and the others can learn of it only by a heartbeat.
            self.next_heartbeat = now + self.config.heartbeat_interval / 4;
        }
        if !revoked.is_empty() {
            self.revoke(now, revoked, out);
            self.rejoin = Some("partitions were given up");
        }
        let (generation, member_id) = (self.generation, self.member_id.clone());
        out.tell(GroupEvent::Assigned { partitions: added, tenure, generation, member_id });
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
                self.expelled(now, code, out);
            }
            Some(code) if code.moves_coordinator() => {
                self.next_heartbeat = now;
                coordinator.lost(now, node);
            }
            Some(code) if code.is_retriable() => self.next_heartbeat = now + self.backoff.next_wait(),
            Some(code @ ErrorCode::FencedInstanceId) if current => {
                self.fail(refused("Heartbeat", Some(node), code, None), out);
            }
            // As in Java, only this ends a membership: whether another refusal does, the session and the next JoinGroup will say.
            Some(_) if current => self.next_heartbeat = now + self.backoff.next_wait(),
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
                self.expelled(now, code, out);
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
                self.fail(refused(api, node, code, None), out);
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
}
