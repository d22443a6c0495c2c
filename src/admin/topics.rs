//! Topics: which there are, and what they are like.

use super::partitions::{name, nodes};
use super::places::AtAnybody;
use super::{AclOperation, Admin, Outcomes, outcome};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{LeaderEpoch, NodeId, TopicId};
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::MetadataResponseTopic;
use crate::wire::messages::{MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A topic in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Zero on brokers that have no ids.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: usize,
    /// One of Kafka's own (`__consumer_offsets`).
    pub internal: bool,
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Zero on brokers that have no ids.
    pub id: TopicId,
    /// One of Kafka's own.
    pub internal: bool,
    /// By number.
    pub partitions: Vec<PartitionDescription>,
    /// What we may do with it, if [`Admin::with_authorized_operations`] has asked.
    pub authorized_operations: Option<BTreeSet<AclOperation>>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Who takes writes; `None` while there is none.
    pub leader: Option<NodeId>,
    /// How often that has changed, if the broker says.
    pub leader_epoch: Option<LeaderEpoch>,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those whose broker or disk is not there.
    pub offline: Vec<NodeId>,
}

impl Admin {
    /// All topics, Kafka's own included, by name. Those that we may not describe are not among them. Metadata.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>> {
        let ask = self.ask_one(AtAnybody);
        let answer = ask.send_one(|_| metadata().with_topics(None), |answer: MetadataResponse, _| Ok(answer)).await?;
        let listing = |topic: MetadataResponseTopic| TopicListing {
            name: topic.name.map_or(String::new(), |name| name.to_string()),
            id: TopicId(*topic.topic_id.as_bytes()),
            partitions: topic.partitions.len(),
            internal: topic.is_internal,
        };
        let topics = answer.topics.into_iter().filter(|topic| topic.error_code == 0);
        let mut listings: Vec<_> = topics.map(listing).collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// These topics and their partitions. Never creates one. Metadata.
    ///
    /// # Errors
    /// Per topic: `UnknownTopicOrPartition`, `InvalidTopicException`, `Denied` (Describe on the topic). For all: no broker
    /// answers in time.
    pub async fn describe_topics(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<TopicDescription>> {
        self.topics_as_they_are(names.into_iter().map(|name| name.as_ref().to_owned()), self.deadline()).await
    }

    /// The topics that have these ids. Metadata from v12 on (KIP-516, brokers from 3.1).
    ///
    /// # Errors
    /// Per topic: `UnknownTopicId`, `Denied`. For all: `UnsupportedVersion`, or no broker answers in time.
    pub async fn describe_topics_by_id(
        &self,
        ids: impl IntoIterator<Item = TopicId>,
    ) -> Result<Outcomes<TopicDescription, TopicId>> {
        let ids: BTreeMap<_, ()> = ids.into_iter().map(|id| (id, ())).collect();
        let authorized = self.authorized_operations;
        let ask = self.ask(AtAnybody, ids).versions(12..=i16::MAX);
        ask.send(
            |ids, _| {
                let topic = |id: &TopicId| MetadataRequestTopic::default().with_topic_id((*id).into()).with_name(None);
                let topics = ids.iter().map(|(id, ())| topic(id)).collect();
                metadata().with_topics(Some(topics)).with_include_topic_authorized_operations(authorized)
            },
            |answer, _| Ok(answer.topics.into_iter().map(|topic| (id(&topic), description(topic))).collect()),
        )
        .await
    }

    /// These topics, as a broker knows them now.
    pub(super) async fn topics_as_they_are(
        &self,
        names: impl Iterator<Item = String>,
        deadline: Instant,
    ) -> Result<Outcomes<TopicDescription>> {
        let names: BTreeMap<_, ()> = names.map(|name| (name, ())).collect();
        let authorized = self.authorized_operations;
        let ask = self.ask(AtAnybody, names).until(deadline);
        ask.send(
            |names, way| {
                let topic = |topic: &str| MetadataRequestTopic::default().with_name(Some(name(topic)));
                let topics = names.iter().map(|(name, ())| topic(name)).collect();
                let request = metadata().with_topics(Some(topics));
                request.with_include_topic_authorized_operations(authorized && way.version >= 8)
            },
            |answer, _| {
                let topics = answer
                    .topics
                    .into_iter()
                    .filter_map(|topic| Some((topic.name.as_ref()?.to_string(), description(topic))));
                Ok(topics.collect())
            },
        )
        .await
    }
}

fn metadata() -> MetadataRequest {
    MetadataRequest::default().with_allow_auto_topic_creation(false)
}

fn id(topic: &MetadataResponseTopic) -> TopicId {
    TopicId(*topic.topic_id.as_bytes())
}

fn description(topic: MetadataResponseTopic) -> Result<TopicDescription> {
    let id = id(&topic);
    let name = topic.name.as_ref().map_or(String::new(), |name| name.to_string());
    outcome(topic.error_code, None, Some(&name).filter(|name| !name.is_empty()).map(String::as_str))?;
    if name.is_empty() {
        return Err(Error::broker(ErrorCode::UnknownTopicId));
    }
    let partitions = topic.partitions.into_iter().map(|partition| PartitionDescription {
        partition: partition.partition_index,
        leader: Some(NodeId(partition.leader_id.0)).filter(|leader| leader.0 >= 0),
        leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
        replicas: nodes(&partition.replica_nodes),
        isr: nodes(&partition.isr_nodes),
        offline: nodes(&partition.offline_replicas),
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|partition| partition.partition);
    let authorized_operations = AclOperation::from_bits(topic.topic_authorized_operations);
    Ok(TopicDescription { name, id, internal: topic.is_internal, partitions, authorized_operations })
}
