// AlterPartitionReassignments: v0-1. ListPartitionReassignments: v0.
//! Partitions moved to other replicas (KIP-455). The new ones have the log when the
//! [lag](super::Builder::replication_lag) has passed, if they and the leader run; then all of them are in sync at once and
//! the old ones go.
//!
//! - AlterPartitionReassignments v1 can forbid that the number of replicas changes (KIP-860).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::metadata::ids;
use super::state::{Partition, Refusal, State, plain};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::messages::alter_partition_reassignments_request::ReassignablePartition;
use crate::wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, TopicName,
};
use std::collections::HashSet;
use tokio::time::Instant;

/// What of a partition's replicas is to come and to go.
#[derive(Debug)]
pub(super) struct Reassignment {
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
    /// When the new ones have the log.
    due: Instant,
}

impl Partition {
    /// Its replicas, but for those that are only being added.
    fn settled(&self) -> Vec<NodeId> {
        let adding = self.reassignment.as_ref().map_or(&[][..], |ongoing| &ongoing.adding);
        self.replicas.iter().copied().filter(|node| !adding.contains(node)).collect()
    }

    fn reassign(&mut self, target: &[NodeId], due: Instant) {
        let settled = self.settled();
        let adding = target.iter().copied().filter(|node| !settled.contains(node)).collect();
        let removing: Vec<_> = self.replicas.iter().copied().filter(|node| !target.contains(node)).collect();
        self.replicas = [target, &removing].concat();
        self.reassignment = Some(Reassignment { adding, removing, due });
    }

    /// When it is done, if nothing but time is missing.
    fn reassigned_at(&self, runs: impl Fn(NodeId) -> bool) -> Option<Instant> {
        let ongoing = self.reassignment.as_ref().filter(|_| self.leader.is_some_and(&runs))?;
        let stays = |node: &&NodeId| !ongoing.removing.contains(node);
        let ready = |node: &NodeId| if ongoing.adding.contains(node) { runs(*node) } else { self.isr.contains(node) };
        self.replicas.iter().filter(stays).all(ready).then_some(ongoing.due)
    }

    /// The new replicas are in sync, the old ones are gone.
    fn finish_reassignment(&mut self) {
        let Some(Reassignment { adding, removing, .. }) = self.reassignment.take() else { return };
        for node in &adding {
            self.followers.in_sync(*node);
            if !self.isr.contains(node) {
                self.isr.push(*node);
            }
        }
        self.drop_replicas(&removing);
    }

    /// Whether nobody would be left in sync without the replicas that are being added.
    fn leads_by_the_added(&self) -> bool {
        self.reassignment.as_ref().is_some_and(|ongoing| self.isr.iter().all(|node| ongoing.adding.contains(node)))
    }

    /// Takes back what has begun; whether anything had.
    fn cancel_reassignment(&mut self) -> bool {
        let Some(Reassignment { adding, .. }) = self.reassignment.take() else { return false };
        self.drop_replicas(&adding);
        true
    }

    /// One of the others leads if the leader is among them. In either case a new epoch begins.
    fn drop_replicas(&mut self, gone: &[NodeId]) {
        if gone.is_empty() {
            return;
        }
        self.isr.retain(|node| !gone.contains(node));
        self.replicas.retain(|node| !gone.contains(node));
        gone.iter().for_each(|node| self.followers.in_sync(*node)); // nothing to be behind with
        if self.leader.is_some_and(|leader| gone.contains(&leader)) {
            self.lead_by(self.replicas.iter().copied().find(|node| self.isr.contains(node)));
        } else {
            self.leader_epoch += 1;
            self.wake();
        }
    }
}

impl State {
    /// The partitions whose reassignment waits for nothing but time, with that.
    fn reassigning(&mut self) -> impl Iterator<Item = (Instant, &mut Partition)> {
        let nodes = &self.nodes;
        let runs = |id: NodeId| nodes.get(&id).is_some_and(|node| node.alive && node.absent_since().is_none());
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        partitions.filter_map(move |partition| Some((partition.reassigned_at(runs)?, partition)))
    }

    pub(super) fn complete_reassignments(&mut self, now: Instant) {
        let due = self.reassigning().filter(|(due, _)| *due <= now);
        if due.map(|(_, partition)| partition.finish_reassignment()).count() > 0 {
            self.find_held();
        }
    }

    /// When [`Self::complete_reassignments`] has something to do.
    pub(super) fn next_reassignment(&mut self) -> Option<Instant> {
        self.reassigning().map(|(due, _)| due).min()
    }

    fn reassign(
        &mut self,
        now: Instant,
        topic: &str,
        wanted: &ReassignablePartition,
        may_change_count: bool,
    ) -> Result<(), Refusal> {
        let index = wanted.partition_index;
        let unknown = || (ErrorCode::UnknownTopicOrPartition, format!("Unable to find partition {topic}:{index}."));
        let target = wanted.replicas.as_ref().map(|nodes| nodes.iter().map(|id| NodeId(id.0)).collect::<Vec<_>>());
        self.partition_mut(topic, index).ok_or_else(unknown)?;
        if let Some(target) = &target {
            self.check_assignment(target, None)?;
        }
        let due = now + self.settings.replication_lag;
        let partition = self.partition_mut(topic, index).ok_or_else(unknown)?;
        match target {
            None if partition.leads_by_the_added() => {
                let why = "Cancelling would need an unclean election: only added replicas are in sync.";
                return Err((ErrorCode::InvalidReplicaAssignment, why.into()));
            }
            None if partition.cancel_reassignment() => {}
            None => {
                return Err((ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.".into()));
            }
            Some(target) => {
                let (before, after) = (partition.settled().len(), target.len());
                if !may_change_count && before != after {
                    let why = format!("The replication factor is changed from {before} to {after}");
                    return Err((ErrorCode::InvalidReplicationFactor, why));
                }
                partition.reassign(&target, due);
            }
        }
        Ok(())
    }
}

impl Api for AlterPartitionReassignmentsRequest {
    async fn serve(self, on: Context) -> AlterPartitionReassignmentsResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::Alter, Resource::Cluster) {
            return self.refuse(code);
        }
        let may_change_count = on.version < 1 || self.allow_replication_factor_change;
        let response = altered(&self, |topic, wanted| state.reassign(on.now(), topic, wanted, may_change_count))
            .with_allow_replication_factor_change(may_change_count);
        state.complete_reassignments(on.now());
        on.shared.deadlines.notify_one();
        response
    }

    fn refuse(&self, code: ErrorCode) -> AlterPartitionReassignmentsResponse {
        altered(self, |_, _| Err(plain(code))).with_error_code(code.to_wire())
    }
}

fn altered(
    request: &AlterPartitionReassignmentsRequest,
    mut alter: impl FnMut(&str, &ReassignablePartition) -> Result<(), Refusal>,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let answer = ReassignablePartitionResponse::default().with_partition_index(wanted.partition_index);
            match alter(&topic.name, wanted) {
                Ok(()) => answer.with_error_message(None),
                Err((code, why)) => {
                    answer.with_error_code(code.to_wire()).with_error_message(Some(StrBytes::from(why)))
                }
            }
        });
        ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default().with_error_message(None).with_responses(topics.collect())
}

impl Api for ListPartitionReassignmentsRequest {
    async fn serve(self, on: Context) -> ListPartitionReassignmentsResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::Describe, Resource::Cluster) {
            return self.refuse(code);
        }
        let named: Option<HashSet<_>> = self.topics.as_ref().map(|topics| {
            topics
                .iter()
                .flat_map(|topic| topic.partition_indexes.iter().map(|index| (&**topic.name, *index)))
                .collect()
        });
        let wanted = |topic, index| named.as_ref().is_none_or(|named| named.contains(&(topic, index)));
        let topics = state.topics.values().filter_map(|topic| {
            let partitions = (0..).zip(&topic.partitions).filter(|(index, _)| wanted(&topic.name, *index));
            let ongoing: Vec<_> = partitions.filter_map(|(index, partition)| ongoing(index, partition)).collect();
            let listed = OngoingTopicReassignment::default().with_name(TopicName(topic.name.to_string().into()));
            (!ongoing.is_empty()).then(|| listed.with_partitions(ongoing))
        });
        ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse::default().with_error_code(code.to_wire())
    }
}

fn ongoing(index: i32, partition: &Partition) -> Option<OngoingPartitionReassignment> {
    let ongoing = partition.reassignment.as_ref()?;
    let listed = OngoingPartitionReassignment::default().with_partition_index(index);
    let listed = listed.with_replicas(ids(&partition.replicas)).with_adding_replicas(ids(&ongoing.adding));
    Some(listed.with_removing_replicas(ids(&ongoing.removing)))
}
