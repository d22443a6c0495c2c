//! Partitions on their way to other brokers (KIP-455).

use super::ask::{Doing, Way};
use super::partitions::{broker_ids, by_partition, by_topic, nodes};
use super::places::AtController;
use super::{Admin, Outcomes, each_once, outcome};
use crate::error::Result;
use crate::ids::{NodeId, TopicPartition};
use crate::wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use crate::wire::messages::alter_partition_reassignments_response::ReassignablePartitionResponse;
use crate::wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use crate::wire::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use std::collections::BTreeMap;

/// A partition on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reassignment {
    /// Its replicas now, those to come and those to go included.
    pub replicas: Vec<NodeId>,
    /// Those to come.
    pub adding: Vec<NodeId>,
    /// Those to go, once the others have come.
    pub removing: Vec<NodeId>,
}

impl Admin {
    /// Gives partitions other replicas, the preferred leader first, or takes back what is under way (`None`). It is done when
    /// [`list_partition_reassignments`](Self::list_partition_reassignments) does not name the partition any more.
    /// AlterPartitionReassignments, to the controller (brokers from 2.4).
    ///
    /// # Errors
    /// Per partition: `InvalidReplicaAssignment`, `NoReassignmentInProgress` if there is nothing to take back,
    /// `UnknownTopicOrPartition`. For all: `InvalidArgument` for a partition that is named twice, `Denied` (Alter on the
    /// cluster), `UnsupportedVersion`, or no controller in time.
    pub async fn alter_partition_reassignments(
        &self,
        replicas: impl IntoIterator<Item = (TopicPartition, Option<Vec<NodeId>>)>,
    ) -> Result<Outcomes<(), TopicPartition>> {
        let ask = self.ask(AtController, each_once(replicas)?).doing(Doing::Change);
        ask.send(
            |partitions, way| {
                let one = |number, replicas: &Option<Vec<NodeId>>| {
                    let replicas = replicas.as_deref().map(broker_ids);
                    ReassignablePartition::default().with_partition_index(number).with_replicas(replicas)
                };
                let topics = by_topic(partitions.iter().copied(), one).map(|(topic, partitions)| {
                    ReassignableTopic::default().with_name(topic).with_partitions(partitions)
                });
                let request = AlterPartitionReassignmentsRequest::default().with_topics(topics.collect());
                request.with_timeout_ms(way.timeout_ms)
            },
            |answer, _| {
                outcome(answer.error_code, answer.error_message, None)?;
                let topics = answer.responses.into_iter().map(|topic| (topic.name, topic.partitions));
                let told = |at: &TopicPartition, one: ReassignablePartitionResponse| {
                    outcome(one.error_code, one.error_message, None).map_err(|error| error.partition(at.clone()))
                };
                Ok(by_partition(topics, told, |one| one.partition_index))
            },
        )
        .await
    }

    /// Those of these partitions, or of all, that are on their way. ListPartitionReassignments, to the controller (brokers from
    /// 2.4).
    ///
    /// # Errors
    /// `Denied` (Describe on the cluster), `UnsupportedVersion`, or no controller in time.
    pub async fn list_partition_reassignments(
        &self,
        of: Option<Vec<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>> {
        let request = |way: Way<'_, ()>| {
            let topics = of.as_ref().map(|partitions| {
                let topics = by_topic(partitions.iter().map(|partition| (partition, ())), |number, ()| number);
                let topics = topics.map(|(topic, partitions)| {
                    let topic = ListPartitionReassignmentsTopics::default().with_name(topic);
                    topic.with_partition_indexes(partitions)
                });
                topics.collect()
            });
            ListPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(way.timeout_ms)
        };
        let read = |answer: ListPartitionReassignmentsResponse, _: Way<'_, ()>| {
            outcome(answer.error_code, answer.error_message, None)?;
            let topics = answer.topics.into_iter().map(|topic| (topic.name, topic.partitions));
            let one = |_: &TopicPartition, one: OngoingPartitionReassignment| Reassignment {
                replicas: nodes(&one.replicas),
                adding: nodes(&one.adding_replicas),
                removing: nodes(&one.removing_replicas),
            };
            Ok(by_partition(topics, one, |one| one.partition_index).into_iter().collect())
        };
        self.ask_one(AtController).send_one(request, read).await
    }
}
