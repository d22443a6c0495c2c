// DescribeConfigs: v1-4. IncrementalAlterConfigs: v0-1.
//! Configs of topics, with Apache Kafka 4.3's names and defaults, and a few of brokers.
//!
//! - DescribeConfigs v3 adds the type and the documentation, v4 is flexible.

use super::Context;
use super::api::Api;
use super::compaction::Lags;
use super::state::{Refusal, State, check_topic_name};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::wire::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use std::collections::BTreeMap;

/// What values a config takes; the discriminant is the type in DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

use Kind::{Boolean, Double, Int, List, Long};

const TOPIC_CONFIGS: &[(&str, &str, Kind)] = &[
    ("cleanup.policy", "delete", List),
    ("compression.gzip.level", "-1", Int),
    ("compression.lz4.level", "9", Int),
    ("compression.type", "producer", Kind::String),
    ("compression.zstd.level", "3", Int),
    ("delete.retention.ms", "86400000", Long),
    ("file.delete.delay.ms", "60000", Long),
    ("flush.messages", "9223372036854775807", Long),
    ("flush.ms", "9223372036854775807", Long),
    ("follower.replication.throttled.replicas", "", List),
    ("index.interval.bytes", "4096", Int),
    ("leader.replication.throttled.replicas", "", List),
    ("local.retention.bytes", "-2", Long),
    ("local.retention.ms", "-2", Long),
    ("max.compaction.lag.ms", "9223372036854775807", Long),
    ("max.message.bytes", "1048588", Int),
    ("message.timestamp.after.max.ms", "3600000", Long),
    ("message.timestamp.before.max.ms", "9223372036854775807", Long),
    ("message.timestamp.type", "CreateTime", Kind::String),
    ("min.cleanable.dirty.ratio", "0.5", Double),
    ("min.compaction.lag.ms", "0", Long),
    ("min.insync.replicas", "1", Int),
    ("preallocate", "false", Boolean),
    ("remote.log.copy.disable", "false", Boolean),
    ("remote.log.delete.on.disable", "false", Boolean),
    ("remote.storage.enable", "false", Boolean),
    ("retention.bytes", "-1", Long),
    ("retention.ms", "604800000", Long),
    ("segment.bytes", "1073741824", Int),
    ("segment.index.bytes", "10485760", Int),
    ("segment.jitter.ms", "0", Long),
    ("segment.ms", "604800000", Long),
    ("unclean.leader.election.enable", "false", Boolean),
];

/// What was set on one topic; everything else is the default.
#[derive(Debug, Clone, Default)]
pub(super) struct TopicConfig(BTreeMap<String, String>);

impl TopicConfig {
    pub(super) fn new(set: BTreeMap<String, String>) -> Result<Self, String> {
        for (name, value) in &set {
            check(name, value)?;
        }
        Ok(Self(set))
    }

    /// Every name with its value, and whether the value was set on the topic.
    pub(super) fn entries(&self, state: &State) -> Vec<(&'static str, String, bool, i8)> {
        let entry = |(name, default, kind): &(&'static str, &str, Kind)| match self.0.get(*name) {
            Some(value) => (*name, value.clone(), true, *kind as i8),
            None if *name == "max.message.bytes" => {
                (*name, state.settings.message_max_bytes.to_string(), false, *kind as i8)
            }
            None => (*name, (*default).to_owned(), false, *kind as i8),
        };
        TOPIC_CONFIGS.iter().map(entry).collect()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(|value| value.trim().parse().ok())
    }

    pub(super) fn max_message_bytes(&self) -> Option<usize> {
        self.number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok())
    }

    pub(super) fn is_log_append_time(&self) -> bool {
        self.0.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime")
    }

    /// How far ahead of the broker's clock a record may be.
    pub(super) fn timestamp_after_max_ms(&self) -> i64 {
        self.number("message.timestamp.after.max.ms").unwrap_or(3_600_000)
    }

    /// How far behind the broker's clock a record may be.
    pub(super) fn timestamp_before_max_ms(&self) -> i64 {
        self.number("message.timestamp.before.max.ms").unwrap_or(i64::MAX)
    }

    pub(super) fn min_insync_replicas(&self) -> usize {
        self.number("min.insync.replicas").and_then(|replicas| usize::try_from(replicas).ok()).unwrap_or(1)
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.0
            .get("cleanup.policy")
            .is_some_and(|policies| policies.split(',').any(|policy| policy.trim() == "compact"))
    }

    pub(super) fn deletes(&self) -> bool {
        self.0.get("cleanup.policy").is_none_or(|policies| policies.split(',').any(|policy| policy.trim() == "delete"))
    }

    pub(super) fn allows_unclean_elections(&self) -> bool {
        self.0.get("unclean.leader.election.enable").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    pub(super) fn compaction_lags(&self) -> Lags {
        Lags {
            delete_retention: self.number("delete.retention.ms").unwrap_or(86_400_000),
            min_compaction: self.number("min.compaction.lag.ms").unwrap_or(0),
        }
    }

    /// `None`: for ever.
    pub(super) fn retention_ms(&self) -> Option<i64> {
        Some(self.number("retention.ms").unwrap_or(604_800_000)).filter(|limit| *limit >= 0)
    }

    /// `None`: any number.
    pub(super) fn retention_bytes(&self) -> Option<usize> {
        self.number("retention.bytes").and_then(|limit| usize::try_from(limit).ok())
    }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let known = TOPIC_CONFIGS.iter().find(|(known, ..)| *known == name);
    let Some((_, _, kind)) = known else { return Err(format!("Unknown topic config name: {name}")) };
    let trimmed = value.trim();
    let fits = match (name, kind) {
        ("cleanup.policy", _) => trimmed.split(',').all(|policy| matches!(policy.trim(), "delete" | "compact" | "")),
        ("message.timestamp.type", _) => matches!(trimmed, "CreateTime" | "LogAppendTime"),
        ("compression.type", _) => {
            matches!(trimmed, "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd")
        }
        (_, Boolean) => trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false"),
        (_, Int) => trimmed.parse::<i32>().is_ok_and(|number| i64::from(number) >= least(name)),
        (_, Long) => trimmed.parse::<i64>().is_ok_and(|number| number >= least(name)),
        (_, Double) => trimmed.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)),
        (_, Kind::String | List) => true,
    };
    if fits { Ok(()) } else { Err(format!("Invalid value {value} for configuration {name}")) }
}

/// The smallest number that a config takes.
fn least(name: &str) -> i64 {
    match name {
        "min.insync.replicas" | "segment.ms" | "flush.messages" | "max.compaction.lag.ms" => 1,
        "segment.index.bytes" => 4,
        "segment.bytes" => 1 << 20,
        "retention.ms" | "compression.gzip.level" => -1,
        "local.retention.ms" | "local.retention.bytes" => -2,
        "retention.bytes" | "compression.zstd.level" => i64::MIN,
        _ => 0,
    }
}

const BROKER: i8 = 4;
const TOPIC: i8 = 2;

impl Api for DescribeConfigsRequest {
    async fn serve(self, on: Context) -> DescribeConfigsResponse {
        let state = on.state();
        let results =
            self.resources.iter().map(|resource| match describe(&state, &on, resource, self.include_synonyms) {
                Ok(configs) => described(resource).with_configs(configs),
                Err((code, why)) => {
                    described(resource).with_error_code(code.to_wire()).with_error_message(Some(StrBytes::from(why)))
                }
            });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|resource| described(resource).with_error_code(code.to_wire()));
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

fn described(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

fn describe(
    state: &State,
    on: &Context,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    const DYNAMIC_TOPIC: i8 = 1;
    const STATIC: i8 = 4;
    const DEFAULT: i8 = 5;
    let entries: Vec<(&'static str, String, i8, i8)> = match resource.resource_type {
        TOPIC => {
            check_topic_name(&resource.resource_name).map_err(|why| (ErrorCode::InvalidTopicException, why))?;
            let topic = state.topics.get(&*resource.resource_name);
            let topic = topic.ok_or((ErrorCode::UnknownTopicOrPartition, String::new()))?;
            let source = |set| if set { DYNAMIC_TOPIC } else { DEFAULT };
            let entries = topic.config.entries(state);
            entries.into_iter().map(|(name, value, set, kind)| (name, value, source(set), kind)).collect()
        }
        // A broker knows its own configs only; the empty name means those that all have.
        BROKER if ["", &on.node.0.to_string()].contains(&&*resource.resource_name) => {
            let entries = broker_entries(state, on.node);
            entries.into_iter().map(|(name, value, kind)| (name, value, STATIC, kind)).collect()
        }
        BROKER => {
            let why = format!("This is broker {}, not {}.", on.node.0, resource.resource_name);
            return Err((ErrorCode::InvalidRequest, why));
        }
        kind => return Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {kind}"))),
    };
    let wanted = |name: &str| {
        resource.configuration_keys.as_ref().is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| **key == *name))
    };
    let configs = entries.into_iter().filter(|(name, ..)| wanted(name)).map(|(name, value, source, kind)| {
        let value = StrBytes::from(value);
        let synonym = DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(value.clone()))
            .with_source(source);
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(value))
            .with_config_source(source)
            .with_synonyms(if synonyms { vec![synonym] } else { Vec::new() })
            .with_config_type(if on.version >= 3 { kind } else { 0 })
            .with_documentation(None)
    });
    Ok(configs.collect())
}

fn broker_entries(state: &State, node: NodeId) -> Vec<(&'static str, String, i8)> {
    let settings = &state.settings;
    vec![
        ("broker.id", node.0.to_string(), Int as i8),
        ("min.insync.replicas", "1".to_owned(), Int as i8),
        ("node.id", node.0.to_string(), Int as i8),
        ("auto.create.topics.enable", settings.auto_create.to_string(), Boolean as i8),
        ("default.replication.factor", settings.default_replication.unwrap_or(1).to_string(), Int as i8),
        ("group.initial.rebalance.delay.ms", settings.initial_rebalance_delay.as_millis().to_string(), Int as i8),
        ("group.min.session.timeout.ms", settings.min_session_timeout.as_millis().to_string(), Int as i8),
        ("message.max.bytes", settings.message_max_bytes.to_string(), Int as i8),
        ("num.partitions", settings.default_partitions.to_string(), Int as i8),
    ]
}

impl Api for IncrementalAlterConfigsRequest {
    async fn serve(self, on: Context) -> IncrementalAlterConfigsResponse {
        let mut state = on.state();
        let responses = self.resources.iter().map(|resource| {
            let outcome = alter(&mut state, resource, self.validate_only);
            let (code, message) = outcome.err().map_or((0, None), |(code, why)| (code.to_wire(), Some(why.into())));
            altered(resource).with_error_code(code).with_error_message(message)
        });
        IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
    }

    fn refuse(&self, code: ErrorCode) -> IncrementalAlterConfigsResponse {
        let responses = self.resources.iter().map(|resource| altered(resource).with_error_code(code.to_wire()));
        IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
    }
}

fn altered(resource: &AlterConfigsResource) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

fn alter(state: &mut State, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), (ErrorCode, String)> {
    if resource.resource_type != TOPIC {
        let why = format!("Unsupported resource type: {}", resource.resource_type);
        return Err((ErrorCode::InvalidRequest, why));
    }
    let topic = state.topics.get_mut(&*resource.resource_name);
    let topic = topic.ok_or((ErrorCode::UnknownTopicOrPartition, String::new()))?;
    let mut set = topic.config.0.clone();
    for config in &resource.configs {
        if resource.configs.iter().filter(|other| other.name == config.name).count() > 1 {
            return Err((ErrorCode::InvalidRequest, format!("{} comes twice.", config.name)));
        }
        if config.value.is_none() && config.config_operation != 1 {
            return Err((ErrorCode::InvalidRequest, format!("{} needs a value.", config.name)));
        }
        apply(&mut set, config).map_err(|why| (ErrorCode::InvalidConfig, why))?;
    }
    if !validate_only {
        topic.config = TopicConfig(set);
    }
    Ok(())
}

/// 0 sets, 1 deletes, 2 appends to a list, 3 takes away from a list.
fn apply(set: &mut BTreeMap<String, String>, config: &AlterableConfig) -> Result<(), String> {
    let name = config.name.to_string();
    let value = config.value.as_deref().map(str::to_owned);
    let default = TOPIC_CONFIGS.iter().find(|(known, ..)| *known == name).filter(|(.., kind)| *kind == List);
    let list = |set: &BTreeMap<String, String>| -> Option<Vec<String>> {
        let current = set.get(&name).map_or(default?.1, |value| value);
        Some(current.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
    };
    let new = match (config.config_operation, value) {
        (1, _) => {
            set.remove(&name);
            return Ok(());
        }
        (0, Some(value)) => value,
        (2 | 3, Some(value)) => {
            let mut items = list(set).ok_or(format!("Config {name} is not a list"))?;
            items.retain(|item| !value.split(',').any(|changed| changed == *item));
            if config.config_operation == 2 {
                items.extend(value.split(',').map(str::to_owned));
            }
            items.join(",")
        }
        (operation, _) => return Err(format!("Operation {operation} on {name} needs a value")),
    };
    check(&name, &new)?;
    set.insert(name, new);
    Ok(())
}
