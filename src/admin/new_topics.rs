//! Topics made, grown and deleted.

use super::ask::Doing;
use super::configs::ConfigEntry;
use super::partitions::{broker_ids, name};
use super::places::AtController;
use super::{Admin, Outcomes, each_once, outcome, text};
use crate::error::Result;
use crate::ids::{NodeId, TopicId};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use crate::wire::messages::create_topics_response::CreatableTopicResult;
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use std::collections::BTreeMap;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication: i16,
    assignment: Vec<Vec<NodeId>>,
    configs: Vec<(String, String)>,
}

impl NewTopic {
    /// `partitions` and `replication`: -1 leaves them to the broker's defaults (KIP-464, brokers from 2.4).
    pub fn new(name: impl Into<String>, partitions: i32, replication: i16) -> Self {
        Self { name: name.into(), partitions, replication, assignment: vec![], configs: vec![] }
    }

    /// With these replicas: a list for each partition from 0 on, the preferred leader first in each.
    pub fn with_assignment(name: impl Into<String>, replicas: impl IntoIterator<Item = Vec<NodeId>>) -> Self {
        Self { assignment: replicas.into_iter().collect(), ..Self::new(name, -1, -1) }
    }

    /// Sets one of the topic's configs (`retention.ms`, `cleanup.policy`).
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((key.into(), value.into()));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn to_wire(&self) -> CreatableTopic {
        let configs = self.configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(str_bytes(key)).with_value(Some(str_bytes(value)))
        });
        let assignments = (0..).zip(&self.assignment).map(|(partition, replicas)| {
            let assignment = CreatableReplicaAssignment::default().with_partition_index(partition);
            assignment.with_broker_ids(broker_ids(replicas))
        });
        CreatableTopic::default()
            .with_name(name(&self.name))
            .with_num_partitions(self.partitions)
            .with_replication_factor(self.replication)
            .with_assignments(assignments.collect())
            .with_configs(configs.collect())
    }
}

/// A topic as it was made, or would be in a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Zero if the broker does not say (before 2.8, and in a dry run).
    pub id: TopicId,
    /// How many partitions it has; `None` if the broker does not say (before 2.4, or we may not know).
    pub partitions: Option<i32>,
    /// How many replicas each has; `None` as above.
    pub replication: Option<i16>,
    /// Its configs, the defaults too; empty as above (KIP-525).
    pub configs: Vec<ConfigEntry>,
}

/// How many partitions a topic is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    topic: String,
    total: i32,
    assignment: Option<Vec<Vec<NodeId>>>,
}

impl NewPartitions {
    /// `total` is what it has in the end.
    pub fn new(topic: impl Into<String>, total: i32) -> Self {
        Self { topic: topic.into(), total, assignment: None }
    }

    /// The replicas of the new ones, a list for each.
    pub fn assignment(self, replicas: impl IntoIterator<Item = Vec<NodeId>>) -> Self {
        Self { assignment: Some(replicas.into_iter().collect()), ..self }
    }
}

impl<T: AsRef<str>> From<(T, i32)> for NewPartitions {
    fn from((topic, total): (T, i32)) -> Self {
        Self::new(topic.as_ref(), total)
    }
}

impl Admin {
    /// Creates topics. In a [dry run](Self::dry_run) they are only checked. CreateTopics (KIP-4), to the controller.
    ///
    /// # Errors
    /// Per topic: `TopicAlreadyExists`, `InvalidTopicException`, `InvalidPartitions`, `InvalidReplicationFactor`,
    /// `InvalidReplicaAssignment`, `InvalidConfig`, `PolicyViolation`, `ThrottlingQuotaExceeded`, `Denied` (Create on the topic
    /// or the cluster). For all: `InvalidArgument` for a topic that is named twice, or no controller in
    /// time.
    pub async fn create_topics(&self, topics: impl IntoIterator<Item = NewTopic>) -> Result<Outcomes<CreatedTopic>> {
        let topics = each_once(topics.into_iter().map(|topic| (topic.name.clone(), topic)))?;
        let ask = self.ask(AtController, topics).doing(Doing::Checkable);
        ask.send(
            |topics, way| {
                CreateTopicsRequest::default()
                    .with_topics(topics.iter().map(|(_, topic)| topic.to_wire()).collect())
                    .with_timeout_ms(way.timeout_ms)
                    .with_validate_only(self.dry_run)
            },
            |answer, _| Ok(answer.topics.into_iter().map(|topic| (text(&topic.name), created(topic))).collect()),
        )
        .await
    }

    /// Deletes topics and what is in them. A broker may still list a deleted topic for a moment. DeleteTopics, to the
    /// controller.
    ///
    /// # Errors
    /// Per topic: `UnknownTopicOrPartition`, `TopicDeletionDisabled`, `InvalidRequest` for one of Kafka's own, `Denied` (Delete
    /// on the topic). For all: no controller in time.
    pub async fn delete_topics(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Outcomes<()>> {
        let names: BTreeMap<String, ()> = names.into_iter().map(|name| (name.as_ref().to_owned(), ())).collect();
        let ask = self.ask(AtController, names).doing(Doing::Change);
        ask.send(
            |names, way| {
                let request = DeleteTopicsRequest::default().with_timeout_ms(way.timeout_ms);
                let names = names.iter().map(|(topic, ())| name(topic));
                if way.version < 6 {
                    return request.with_topic_names(names.collect());
                }
                request.with_topics(names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect())
            },
            |answer, _| {
                let topics = answer.responses.into_iter().filter_map(|topic| {
                    let name = topic.name?.to_string();
                    let outcome = outcome(topic.error_code, topic.error_message, Some(&name));
                    Some((name, outcome))
                });
                Ok(topics.collect())
            },
        )
        .await
    }

    /// Deletes the topics that have these ids, and never another that has come to have the name (KIP-516, brokers from 2.8).
    ///
    /// # Errors
    /// Per topic: `UnknownTopicId`, else as [`delete_topics`](Self::delete_topics). For all: `UnsupportedVersion`, or no
    /// controller in time.
    pub async fn delete_topics_by_id(&self, ids: impl IntoIterator<Item = TopicId>) -> Result<Outcomes<(), TopicId>> {
        let ids: BTreeMap<TopicId, ()> = ids.into_iter().map(|id| (id, ())).collect();
        let ask = self.ask(AtController, ids).doing(Doing::Change).versions(6..=i16::MAX);
        ask.send(
            |ids, way| {
                let topic = |id: &TopicId| DeleteTopicState::default().with_name(None).with_topic_id((*id).into());
                let topics = ids.iter().map(|(id, ())| topic(id)).collect();
                DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(way.timeout_ms)
            },
            |answer, _| {
                let topics = answer.responses.into_iter().map(|topic| {
                    let name = topic.name.as_ref().map(|name| name.to_string());
                    let told = outcome(topic.error_code, topic.error_message, name.as_deref());
                    (TopicId(*topic.topic_id.as_bytes()), told)
                });
                Ok(topics.collect())
            },
        )
        .await
    }

    /// Gives topics more partitions: `(name, new total)`, or a [`NewPartitions`]. Keys are hashed over all partitions, so records
    /// of a key that come after may be in another partition than those before. In a [dry run](Self::dry_run) it is only checked.
    /// CreatePartitions (KIP-195), to the controller.
    ///
    /// # Errors
    /// Per topic: `InvalidPartitions` if it has as many already, `InvalidReplicaAssignment`, `UnknownTopicOrPartition`,
    /// `ReassignmentInProgress`, `Denied` (Alter on the topic). For all: no controller in time.
    pub async fn create_partitions(
        &self,
        totals: impl IntoIterator<Item = impl Into<NewPartitions>>,
    ) -> Result<Outcomes<()>> {
        let totals = totals.into_iter().map(Into::into);
        let totals = each_once(totals.map(|new: NewPartitions| (new.topic.clone(), new)))?;
        let ask = self.ask(AtController, totals).doing(Doing::Checkable);
        ask.send(
            |topics, way| {
                let topics = topics.iter().map(|(topic, new)| {
                    let one = |replicas: &Vec<NodeId>| {
                        CreatePartitionsAssignment::default().with_broker_ids(broker_ids(replicas))
                    };
                    CreatePartitionsTopic::default()
                        .with_name(name(topic))
                        .with_count(new.total)
                        .with_assignments(new.assignment.as_ref().map(|each| each.iter().map(one).collect()))
                });
                CreatePartitionsRequest::default()
                    .with_topics(topics.collect())
                    .with_timeout_ms(way.timeout_ms)
                    .with_validate_only(self.dry_run)
            },
            |answer, _| {
                let topics = answer.results.into_iter().map(|topic| {
                    let name = text(&topic.name);
                    let outcome = outcome(topic.error_code, topic.error_message, Some(&name));
                    (name, outcome)
                });
                Ok(topics.collect())
            },
        )
        .await
    }
}

fn created(topic: CreatableTopicResult) -> Result<CreatedTopic> {
    outcome(topic.error_code, topic.error_message, Some(&topic.name))?;
    let configs = topic.configs.unwrap_or_default().into_iter().map(ConfigEntry::of_created);
    Ok(CreatedTopic {
        id: TopicId(*topic.topic_id.as_bytes()),
        partitions: Some(topic.num_partitions).filter(|partitions| *partitions >= 0),
        replication: Some(topic.replication_factor).filter(|replication| *replication >= 0),
        configs: configs.collect(),
    })
}
