//! Configs of everything that has any.

use super::ask::{Doing, Source};
use super::partitions::names;
use super::places::{AtAnybody, AtController, Found, Place};
use super::words::words;
use super::{Admin, Outcomes, each_once, outcome, text};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::create_topics_response::CreatableTopicConfigs;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use crate::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// What has configs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(NodeId),
    /// All brokers that don't say otherwise themselves (KIP-226).
    ClusterDefault,
    /// The log levels of a broker, by logger (KIP-412, brokers from 2.4).
    BrokerLogger(NodeId),
    /// A subscription to clients' metrics (KIP-714, brokers from 3.7).
    ClientMetrics(String),
    /// A group (KIP-848, brokers from 3.8).
    Group(String),
}

impl ConfigResource {
    fn to_wire(&self) -> (i8, StrBytes) {
        match self {
            Self::Topic(name) => (2, str_bytes(name)),
            Self::Broker(node) => (4, node.to_string().into()),
            Self::ClusterDefault => (4, StrBytes::default()),
            Self::BrokerLogger(node) => (8, node.to_string().into()),
            Self::ClientMetrics(name) => (16, str_bytes(name)),
            Self::Group(name) => (32, str_bytes(name)),
        }
    }

    /// `None` for a kind newer than this crate.
    fn from_wire(kind: i8, name: &str) -> Option<Self> {
        let node = || name.parse().ok().map(NodeId);
        match kind {
            2 => Some(Self::Topic(name.to_owned())),
            4 if name.is_empty() => Some(Self::ClusterDefault),
            4 => node().map(Self::Broker),
            8 => node().map(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics(name.to_owned())),
            32 => Some(Self::Group(name.to_owned())),
            _ => None,
        }
    }

    fn topic(&self) -> Option<&str> {
        if let Self::Topic(name) = self { Some(name) } else { None }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(node) => write!(f, "broker {node}"),
            Self::ClusterDefault => f.write_str("all brokers"),
            Self::BrokerLogger(node) => write!(f, "loggers of broker {node}"),
            Self::ClientMetrics(name) => write!(f, "client metrics {name}"),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

/// Which configs to describe, and with what.
#[derive(Debug, Clone, Default)]
pub struct ConfigQuery {
    resources: Vec<ConfigResource>,
    names: Option<Vec<String>>,
    synonyms: bool,
    documentation: bool,
}

impl ConfigQuery {
    /// All configs of these.
    pub fn new(resources: impl IntoIterator<Item = ConfigResource>) -> Self {
        Self { resources: resources.into_iter().collect(), ..Self::default() }
    }

    /// Only the configs of these names.
    pub fn names(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let more = names.into_iter().map(Into::into);
        Self { names: Some(self.names.into_iter().flatten().chain(more).collect()), ..self }
    }

    /// With what else each value could have come from.
    pub fn synonyms(self) -> Self {
        Self { synonyms: true, ..self }
    }

    /// With Kafka's description of each (KIP-569, brokers from 2.6; older ones say nothing).
    pub fn documentation(self) -> Self {
        Self { documentation: true, ..self }
    }
}

/// One config.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// `None` if it has none, or if the broker keeps it secret.
    pub value: Option<String>,
    /// Who set it.
    pub source: ConfigSource,
    /// It can't be changed.
    pub read_only: bool,
    /// A password or the like.
    pub sensitive: bool,
    /// What kind of value it is; `Unknown` before 2.6.
    pub config_type: ConfigType,
    /// Where the value could come from, what counts first; empty unless [`ConfigQuery::synonyms`] asked.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it is for, if [`ConfigQuery::documentation`] asked.
    pub documentation: Option<String>,
}

/// Another place that a config's value could come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// What the config is called there.
    pub name: String,
    /// The value there.
    pub value: Option<String>,
    /// Where it is.
    pub source: ConfigSource,
}

words! {
    /// Who set a config.
    ConfigSource {
        /// The topic itself.
        Topic = 1, "topic";
        /// A broker's, while it runs.
        DynamicBroker = 2, "broker";
        /// That of all brokers, while they run.
        DynamicClusterDefault = 3, "cluster-default";
        /// A broker's file.
        StaticBroker = 4, "static";
        /// Nobody: it is Kafka's default.
        Default = 5, "default";
        /// A broker's logger.
        BrokerLogger = 6, "broker-logger";
        /// A subscription to clients' metrics.
        ClientMetrics = 7, "client-metrics";
        /// The group itself.
        Group = 8, "group";
    }
}

words! {
    /// What kind of value a config has.
    ConfigType {
        /// `true` or `false`.
        Boolean = 1, "boolean";
        /// Text.
        String = 2, "string";
        /// 32 bits.
        Int = 3, "int";
        /// 16 bits.
        Short = 4, "short";
        /// 64 bits.
        Long = 5, "long";
        /// A number with a fraction.
        Double = 6, "double";
        /// Texts with commas between.
        List = 7, "list";
        /// A Java class.
        Class = 8, "class";
        /// A secret.
        Password = 9, "password";
    }
}

/// A change of one config. It does not show its value, which may be a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigChange {
    name: String,
    operation: i8,
    value: Option<String>,
}

impl ConfigChange {
    /// Gives it a value.
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), operation: 0, value: Some(value.into()) }
    }

    /// Takes it back to its default.
    pub fn delete(name: impl Into<String>) -> Self {
        Self { name: name.into(), operation: 1, value: None }
    }

    /// Adds to a list.
    pub fn append(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), operation: 2, value: Some(value.into()) }
    }

    /// Takes from a list.
    pub fn subtract(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), operation: 3, value: Some(value.into()) }
    }
}

impl fmt::Debug for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(|_| "…");
        let Self { name, operation, .. } = self;
        f.debug_struct("ConfigChange").field("name", name).field("operation", operation).field("value", &value).finish()
    }
}

/// What is about one broker goes to that broker; the rest to anybody, or, if it is a change, to the controller.
struct AtItsBroker {
    is_change: bool,
}

impl Place<ConfigResource> for AtItsBroker {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<ConfigResource>,
        again: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<ConfigResource>>> {
        Box::pin(async move {
            let node = |item: &ConfigResource| match item {
                ConfigResource::Broker(node) | ConfigResource::BrokerLogger(node) => Some(*node),
                _ => None,
            };
            let (own, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| node(item).is_some());
            admin.meet(own.iter().filter_map(node).collect(), deadline).await;
            let own = own.into_iter().filter_map(|item| Some((admin.broker(node(&item)?), item)));
            let mut found: Found<ConfigResource> = own.map(|(broker, item)| (item, broker)).collect();
            if !others.is_empty() {
                found.extend(match self.is_change {
                    true => AtController.find(admin, others, again, deadline).await?,
                    false => AtAnybody.find(admin, others, again, deadline).await?,
                });
            }
            Ok(found)
        })
    }

    fn passes(&self, _: ErrorCode, _: Source) -> bool {
        false
    }
}

impl Admin {
    /// The configs of a topic, by name, defaults included.
    ///
    /// # Errors
    /// As each of [`describe_config_resources`](Self::describe_config_resources).
    pub async fn describe_configs(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        let topic = ConfigResource::Topic(topic.to_owned());
        let outcomes = self.describe_config_resources(ConfigQuery::new([topic])).await?;
        outcomes.into_values().next().unwrap_or_else(|| Err(Error::with_message(ErrorKind::Malformed, "no resource")))
    }

    /// The configs of topics, brokers, groups and so on, by name, defaults included. DescribeConfigs (KIP-133); what is about a
    /// broker is asked of it.
    ///
    /// # Errors
    /// Per resource: `UnknownTopicOrPartition`, `BrokerNotAvailable` for a broker that is not there, `InvalidRequest` for a kind
    /// that the broker does not know, `Denied` (DescribeConfigs on the topic, the group, or the cluster). For all: no broker
    /// answers in time.
    pub async fn describe_config_resources(
        &self,
        query: ConfigQuery,
    ) -> Result<Outcomes<Vec<ConfigEntry>, ConfigResource>> {
        let resources: BTreeMap<_, ()> = query.resources.iter().map(|resource| (resource.clone(), ())).collect();
        let ask = self.ask(AtItsBroker { is_change: false }, resources);
        ask.send(
            |resources, way| {
                let resources = resources.iter().map(|(resource, ())| {
                    let (kind, name) = resource.to_wire();
                    DescribeConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(name)
                        .with_configuration_keys(query.names.as_deref().map(names))
                });
                DescribeConfigsRequest::default()
                    .with_resources(resources.collect())
                    .with_include_synonyms(query.synonyms)
                    .with_include_documentation(query.documentation && way.version >= 3)
            },
            |answer, _| {
                let results = answer.results.into_iter().filter_map(|result| {
                    let resource = ConfigResource::from_wire(result.resource_type, &result.resource_name)?;
                    let told = outcome(result.error_code, result.error_message, resource.topic());
                    let told = told.map(|()| {
                        let mut entries: Vec<_> = result.configs.into_iter().map(ConfigEntry::of_described).collect();
                        entries.sort_by(|a, b| a.name.cmp(&b.name));
                        entries
                    });
                    Some((resource, told))
                });
                Ok(results.collect())
            },
        )
        .await
    }

    /// Changes configs of a topic; `None` takes one back to its default. The others stay as they are.
    ///
    /// # Errors
    /// As each of [`alter_config_resources`](Self::alter_config_resources).
    pub async fn alter_configs(
        &self,
        topic: &str,
        changes: impl IntoIterator<Item = (impl AsRef<str>, Option<String>)>,
    ) -> Result<()> {
        let changes = changes.into_iter().map(|(name, value)| match value {
            Some(value) => ConfigChange::set(name.as_ref(), value),
            None => ConfigChange::delete(name.as_ref()),
        });
        let changes = (ConfigResource::Topic(topic.to_owned()), changes.collect());
        self.alter_config_resources([changes]).await?.into_values().collect()
    }

    /// Changes configs of topics, brokers, groups and so on; those that are not named stay as they are. In a
    /// [dry run](Self::dry_run) they are only checked. IncrementalAlterConfigs (KIP-339, brokers from 2.3); what is about a
    /// broker goes to it, the rest to the controller.
    ///
    /// # Errors
    /// Per resource: `InvalidConfig` (before KRaft also `InvalidRequest`), `UnknownTopicOrPartition`, `BrokerNotAvailable`,
    /// `PolicyViolation`, `Denied` (AlterConfigs on the topic, the group, or the cluster). For all: `InvalidArgument` for a
    /// resource that is named twice, `UnsupportedVersion`, or no broker in time.
    pub async fn alter_config_resources(
        &self,
        changes: impl IntoIterator<Item = (ConfigResource, Vec<ConfigChange>)>,
    ) -> Result<Outcomes<(), ConfigResource>> {
        let ask = self.ask(AtItsBroker { is_change: true }, each_once(changes)?).doing(Doing::Checkable);
        ask.send(
            |resources, _| {
                let resources = resources.iter().map(|(resource, changes)| {
                    let (kind, name) = resource.to_wire();
                    let configs = changes.iter().map(|change| {
                        AlterableConfig::default()
                            .with_name(str_bytes(&change.name))
                            .with_config_operation(change.operation)
                            .with_value(change.value.as_deref().map(str_bytes))
                    });
                    AlterConfigsResource::default()
                        .with_resource_type(kind)
                        .with_resource_name(name)
                        .with_configs(configs.collect())
                });
                let request = IncrementalAlterConfigsRequest::default().with_resources(resources.collect());
                request.with_validate_only(self.dry_run)
            },
            |answer, _| {
                let responses = answer.responses.into_iter().filter_map(|response| {
                    let resource = ConfigResource::from_wire(response.resource_type, &response.resource_name)?;
                    let told = outcome(response.error_code, response.error_message, resource.topic());
                    Some((resource, told))
                });
                Ok(responses.collect())
            },
        )
        .await
    }

    /// Everything that can have configs of its own, as far as the cluster keeps a list: topics, brokers, and the groups and
    /// subscriptions to metrics that have some. ListConfigResources v1 (KIP-1142, brokers from 4.1).
    ///
    /// # Errors
    /// `UnsupportedVersion`, `Denied` (DescribeConfigs on the cluster), or no broker answers in time.
    pub async fn list_config_resources(&self) -> Result<Vec<ConfigResource>> {
        let ask = self.ask_one(AtAnybody).versions(1..=i16::MAX);
        let read = |answer: crate::wire::messages::ListConfigResourcesResponse, _: super::ask::Way<'_, ()>| {
            outcome(answer.error_code, None, None)?;
            let listed = answer.config_resources.iter();
            let known = listed.filter_map(|one| ConfigResource::from_wire(one.resource_type, &one.resource_name));
            let mut resources: Vec<_> = known.collect();
            resources.sort();
            Ok(resources)
        };
        ask.send_one(|_| ListConfigResourcesRequest::default(), read).await
    }
}

impl ConfigEntry {
    fn of_described(config: DescribeConfigsResourceResult) -> Self {
        let synonyms = config.synonyms.iter().map(|synonym| ConfigSynonym {
            name: text(&synonym.name),
            value: synonym.value.as_ref().map(text),
            source: ConfigSource::from_wire(synonym.source),
        });
        Self {
            name: text(&config.name),
            value: config.value.as_ref().map(text),
            source: ConfigSource::from_wire(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
            config_type: ConfigType::from_wire(config.config_type),
            synonyms: synonyms.collect(),
            documentation: config.documentation.as_ref().map(text).filter(|text| !text.is_empty()),
        }
    }

    pub(super) fn of_created(config: CreatableTopicConfigs) -> Self {
        Self {
            name: text(&config.name),
            value: config.value.as_ref().map(text),
            source: ConfigSource::from_wire(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
            config_type: ConfigType::Unknown(0),
            synonyms: vec![],
            documentation: None,
        }
    }
}
