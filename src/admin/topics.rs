//! Topics and their configs.

use super::outcome;
use super::{
    Admin, ConfigEntry, ConfigSource, NewTopic, Outcomes, PartitionDescription, TopicDescription, TopicListing,
};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{NodeId, TopicId};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
use crate::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::MetadataResponseTopic;
use crate::wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, TopicName,
};

/// The resource type of a topic.
const TOPIC: i8 = 2;
const NOT_CONTROLLER: i16 = ErrorCode::NotController.to_wire();

impl Admin {
    /// Creates topics.
    ///
    /// # Errors
    /// Per topic: `TopicAlreadyExists`, `InvalidReplicationFactor`, `PolicyViolation`, … For all: no controller within
    /// `default.api.timeout.ms`.
    pub async fn create_topics(&self, topics: impl IntoIterator<Item = NewTopic>) -> Result<Outcomes<()>> {
        let topics = topics.into_iter().map(|topic| {
            let configs = topic.configs.iter().map(|(key, value)| {
                CreatableTopicConfig::default().with_name(str_bytes(key)).with_value(Some(str_bytes(value)))
            });
            CreatableTopic::default()
                .with_name(name(&topic.name))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(self.timeout_ms(self.client.api_deadline()));
        let answer = self
            .call_controller(|_| request.clone(), |answer| refused(answer.topics.iter().map(|topic| topic.error_code)))
            .await?;
        let outcomes = answer.topics.into_iter().map(|topic| {
            let name = topic.name.to_string();
            let outcome = outcome(topic.error_code, topic.error_message, Some(&name));
            (name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// Deletes topics and what is in them. A broker may still list a deleted topic for a moment.
    ///
    /// # Errors
    /// Per topic: `UnknownTopicOrPartition`, … For all: no controller in time.
    pub async fn delete_topics(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Outcomes<()>> {
        let names: Vec<_> = names.into_iter().map(|topic| name(topic.as_ref())).collect();
        let request = |version| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(self.timeout_ms(self.client.api_deadline()));
            if version < 6 {
                return request.with_topic_names(names.clone());
            }
            let state = |name: &TopicName| DeleteTopicState::default().with_name(Some(name.clone()));
            request.with_topics(names.iter().map(state).collect())
        };
        let answer = self
            .call_controller(request, |answer| refused(answer.responses.iter().map(|topic| topic.error_code)))
            .await?;
        let outcomes = answer.responses.into_iter().map(|topic| {
            let name = topic.name.map_or(String::new(), |name| name.to_string());
            let outcome = outcome(topic.error_code, topic.error_message, Some(&name));
            (name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// Gives topics more partitions: `(name, new total)`. Keys are hashed over all partitions, so records of a key that
    /// come after may be in another partition than those before.
    ///
    /// # Errors
    /// Per topic: `InvalidPartitions` if it has as many already, … For all: no controller in time.
    pub async fn create_partitions(
        &self,
        totals: impl IntoIterator<Item = (impl AsRef<str>, i32)>,
    ) -> Result<Outcomes<()>> {
        let topics = totals.into_iter().map(|(topic, total)| {
            CreatePartitionsTopic::default().with_name(name(topic.as_ref())).with_count(total).with_assignments(None)
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(self.timeout_ms(self.client.api_deadline()));
        let answer = self
            .call_controller(|_| request.clone(), |answer| refused(answer.results.iter().map(|topic| topic.error_code)))
            .await?;
        let outcomes = answer.results.into_iter().map(|topic| {
            let name = topic.name.to_string();
            let outcome = outcome(topic.error_code, topic.error_message, Some(&name));
            (name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// All topics, Kafka's own included, by name.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>> {
        let topics = self.metadata(None).await?.into_iter().filter(|topic| topic.error_code == 0);
        let listing = |topic: MetadataResponseTopic| TopicListing {
            name: topic.name.map_or(String::new(), |name| name.to_string()),
            id: TopicId(*topic.topic_id.as_bytes()),
            partitions: topic.partitions.len(),
            internal: topic.is_internal,
        };
        let mut listings: Vec<_> = topics.map(listing).collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// These topics and their partitions. Never creates one.
    ///
    /// # Errors
    /// Per topic: `UnknownTopicOrPartition`, … For all: no broker answers in time.
    pub async fn describe_topics(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<TopicDescription>> {
        let names: Vec<_> = names.into_iter().map(|topic| name(topic.as_ref())).collect();
        if names.is_empty() {
            return Ok(Outcomes::new());
        }
        let outcomes = self.metadata(Some(names)).await?.into_iter().map(|topic| {
            let name = topic.name.as_ref().map_or(String::new(), |name| name.to_string());
            let outcome = outcome(topic.error_code, None, Some(&name)).map(|()| description(name.clone(), topic));
            (name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// The configs of a topic, by name, defaults included.
    ///
    /// # Errors
    /// `UnknownTopicOrPartition`, `Denied`, or no broker answers in time.
    pub async fn describe_configs(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(str_bytes(topic))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.client.call_any(&request, self.client.api_deadline()).await?;
        let result = answer.results.into_iter().next();
        let result = result.ok_or_else(|| Error::with_message(ErrorKind::Malformed, "no resource in the answer"))?;
        outcome(result.error_code, result.error_message, Some(topic)).map_err(|error| error.api("DescribeConfigs"))?;
        let entries = result.configs.into_iter().map(|config| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            source: ConfigSource::from_wire(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes configs of a topic; `None` takes one back to its default. The others stay as they are (KIP-339; brokers
    /// from 2.3).
    ///
    /// # Errors
    /// `InvalidConfig`, `UnknownTopicOrPartition`, `UnsupportedVersion`, or no broker answers in time.
    pub async fn alter_configs(
        &self,
        topic: &str,
        changes: impl IntoIterator<Item = (impl AsRef<str>, Option<String>)>,
    ) -> Result<()> {
        let configs = changes.into_iter().map(|(key, value)| {
            AlterableConfig::default()
                .with_name(str_bytes(key.as_ref()))
                .with_config_operation(i8::from(value.is_none())) // 0 sets, 1 deletes
                .with_value(value.as_deref().map(str_bytes))
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(str_bytes(topic))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self
            .call_controller(
                |_| request.clone(),
                |answer| refused(answer.responses.iter().map(|topic| topic.error_code)),
            )
            .await?;
        match answer.responses.into_iter().next() {
            Some(result) => outcome(result.error_code, result.error_message, Some(topic)),
            None => Err(Error::with_message(ErrorKind::Malformed, "no resource in the answer")),
        }
    }

    pub(super) async fn metadata(&self, names: Option<Vec<TopicName>>) -> Result<Vec<MetadataResponseTopic>> {
        let topics = names
            .map(|names| names.into_iter().map(|name| MetadataRequestTopic::default().with_name(Some(name))).collect());
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        Ok(self.client.call_any(&request, self.client.api_deadline()).await?.topics)
    }
}

fn description(name: String, topic: MetadataResponseTopic) -> TopicDescription {
    let nodes = |nodes: Vec<crate::wire::messages::BrokerId>| nodes.into_iter().map(|node| NodeId(node.0)).collect();
    let partitions = topic.partitions.into_iter().map(|partition| PartitionDescription {
        partition: partition.partition_index,
        leader: Some(NodeId(partition.leader_id.0)).filter(|leader| leader.0 >= 0),
        replicas: nodes(partition.replica_nodes),
        isr: nodes(partition.isr_nodes),
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|partition| partition.partition);
    TopicDescription { name, id: TopicId(*topic.topic_id.as_bytes()), internal: topic.is_internal, partitions }
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(str_bytes(topic))
}

/// The broker is not the controller if it says so of anything.
fn refused(mut codes: impl Iterator<Item = i16>) -> Option<ErrorCode> {
    codes.any(|code| code == NOT_CONTROLLER).then_some(ErrorCode::NotController)
}
