//! Configs of what is not a topic: brokers, groups (KIP-848) and client metrics subscriptions (KIP-714), with Apache Kafka
//! 4.3's names and defaults.
//!
//! Of a broker's configs there are those that the test broker has; the largest batch can be changed while it runs, for one
//! broker or, without a name, for all. Names that Apache doesn't know either it keeps unlooked at, and so does this. Of a
//! group's configs those of consumer groups hold; a client metrics subscription makes nobody push anything.

use super::configs::Kind;
use super::consumer_groups::ConsumerGroupSettings;
use super::state::{Refusal, State};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// What has configs, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResourceType {
    Topic = 2,
    Broker = 4,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceType {
    pub(super) fn from_wire(number: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::ClientMetrics, Self::Group].into_iter().find(|kind| *kind as i8 == number)
    }
}

/// What was set on which; topics keep their own.
pub(super) type ResourceConfigs = BTreeMap<(ResourceType, String), BTreeMap<String, String>>;

/// A config with its default, and what its number has to be between.
type Definition = (&'static str, &'static str, Kind, Option<(i64, i64)>);

const GROUP_CONFIGS: &[Definition] = &[
    ("consumer.assignment.interval.ms", "1000", Kind::Int, Some((0, 15_000))),
    ("consumer.heartbeat.interval.ms", "5000", Kind::Int, Some((5_000, 15_000))),
    ("consumer.session.timeout.ms", "45000", Kind::Int, Some((45_000, 60_000))),
    ("share.assignment.interval.ms", "1000", Kind::Int, Some((0, 15_000))),
    ("share.auto.offset.reset", "latest", Kind::String, None),
    ("share.delivery.count.limit", "5", Kind::Int, Some((2, 10))),
    ("share.heartbeat.interval.ms", "5000", Kind::Int, Some((5_000, 15_000))),
    ("share.isolation.level", "read_uncommitted", Kind::String, None),
    ("share.partition.max.record.locks", "2000", Kind::Int, Some((100, 10_000))),
    ("share.record.lock.duration.ms", "30000", Kind::Int, Some((15_000, 60_000))),
    ("share.renew.acknowledge.enable", "true", Kind::Boolean, None),
    ("share.session.timeout.ms", "45000", Kind::Int, Some((45_000, 60_000))),
    ("streams.assignment.interval.ms", "1000", Kind::Int, Some((0, 15_000))),
    ("streams.heartbeat.interval.ms", "5000", Kind::Int, Some((5_000, 15_000))),
    ("streams.initial.rebalance.delay.ms", "3000", Kind::Int, Some((0, i32::MAX as i64))),
    ("streams.num.standby.replicas", "0", Kind::Int, Some((0, 2))),
    ("streams.session.timeout.ms", "45000", Kind::Int, Some((45_000, 60_000))),
];

const METRICS_CONFIGS: &[Definition] = &[
    ("interval.ms", "300000", Kind::Int, Some((100, 3_600_000))),
    ("match", "", Kind::List, None),
    ("metrics", "", Kind::List, None),
];

/// By what a subscription tells clients apart.
const SELECTORS: &[&str] = &[
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// The one config of a broker that can be changed while it runs.
pub(super) const LARGEST_BATCH: &str = "message.max.bytes";

/// What is described.
#[derive(Debug)]
pub(super) struct Described {
    pub name: &'static str,
    pub kind: Kind,
    /// What was set on the thing itself.
    pub own: Option<String>,
    /// What holds otherwise, and under which name.
    pub default: String,
    pub synonym: Option<String>,
}

/// Whether this may be all that is set. Topics are not asked about here.
pub(super) fn check(kind: ResourceType, name: &str, set: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let invalid = |why: String| Err((ErrorCode::InvalidRequest, why));
    let (definitions, what, code) = match kind {
        ResourceType::Broker | ResourceType::Topic => return check_broker(set),
        ResourceType::Group if name.is_empty() => return invalid("Default group resources are not allowed.".into()),
        ResourceType::ClientMetrics if name.is_empty() => {
            return invalid("Subscription name can't be empty".into());
        }
        ResourceType::Group => (GROUP_CONFIGS, "group config", ErrorCode::InvalidConfig),
        ResourceType::ClientMetrics => (METRICS_CONFIGS, "client metrics configuration", ErrorCode::InvalidRequest),
    };
    for (key, value) in set {
        let known = definitions.iter().find(|(known, ..)| known == key);
        let Some((_, _, value_kind, range)) = known else {
            return Err((code, format!("Unknown {what} name: {key}")));
        };
        let in_range = range.is_none_or(|(min, max)| value.trim().parse().is_ok_and(|n: i64| (min..=max).contains(&n)));
        if !value_kind.takes(value.trim()) || !in_range {
            return Err((code, format!("Invalid value {value} for configuration {key}")));
        }
        if kind == ResourceType::ClientMetrics && key == "match" && !value.split(',').all(is_selector) {
            return Err((ErrorCode::InvalidConfig, format!("Illegal client matching pattern: {value}")));
        }
    }
    Ok(())
}

fn is_selector(pattern: &str) -> bool {
    pattern.trim().is_empty() || pattern.split_once('=').is_some_and(|(name, _)| SELECTORS.contains(&name.trim()))
}

fn check_broker(set: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let invalid = |why: String| Err((ErrorCode::InvalidRequest, why));
    for (key, value) in set {
        match &**key {
            LARGEST_BATCH if !value.trim().parse::<i32>().is_ok_and(|bytes| bytes >= 0) => {
                return invalid(format!("Invalid value {value} for configuration {key}"));
            }
            key if key != LARGEST_BATCH && FIXED.contains(&key) => {
                return invalid(format!("Cannot update these configs dynamically: Set({key})"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The others of a broker, by the builder's word.
const FIXED: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "default.replication.factor",
    "group.initial.rebalance.delay.ms",
    "group.min.session.timeout.ms",
    "listeners",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
];

impl State {
    /// What was set on a thing that is no topic.
    fn set_on(&self, kind: ResourceType, name: &str) -> Option<&BTreeMap<String, String>> {
        self.configs.get(&(kind, name.to_owned()))
    }

    /// `message.max.bytes` of a broker.
    pub(super) fn message_max_bytes(&self, node: NodeId) -> usize {
        let set = |name: &str| self.set_on(ResourceType::Broker, name)?.get(LARGEST_BATCH)?.trim().parse().ok();
        set(&node.0.to_string()).or_else(|| set("")).unwrap_or(self.settings.message_max_bytes)
    }

    /// What holds for a consumer group: what is set on it, or else on the brokers.
    pub(super) fn consumer_group_settings(&self, group: &str) -> ConsumerGroupSettings {
        let own = |key, or| self.group_millis(group, key).unwrap_or(or);
        ConsumerGroupSettings {
            session_timeout: own("consumer.session.timeout.ms", self.settings.consumer_session_timeout),
            assignment_interval: own("consumer.assignment.interval.ms", self.settings.consumer_assignment_interval),
            max_size: self.settings.group_max_size,
        }
    }

    /// How often members of a consumer group are to send heartbeats.
    pub(super) fn consumer_heartbeat_interval(&self, group: &str) -> Duration {
        let own = self.group_millis(group, "consumer.heartbeat.interval.ms");
        own.unwrap_or(self.settings.consumer_heartbeat_interval)
    }

    fn group_millis(&self, group: &str, key: &str) -> Option<Duration> {
        let value = self.set_on(ResourceType::Group, group)?.get(key)?;
        value.trim().parse().ok().map(Duration::from_millis)
    }

    /// A group's configs, set or not.
    pub(super) fn group_configs(&self, group: &str) -> Vec<Described> {
        let settings = &self.settings;
        let broker = |key: &str, default: &str| match key {
            "consumer.session.timeout.ms" => settings.consumer_session_timeout.as_millis().to_string(),
            "consumer.heartbeat.interval.ms" => settings.consumer_heartbeat_interval.as_millis().to_string(),
            "consumer.assignment.interval.ms" => settings.consumer_assignment_interval.as_millis().to_string(),
            _ => default.to_owned(),
        };
        let set = self.set_on(ResourceType::Group, group);
        let described = GROUP_CONFIGS.iter().map(|(name, default, kind, _)| {
            // These are no broker's.
            let alone = ["share.auto.offset.reset", "share.isolation.level", "share.renew.acknowledge.enable"];
            let own = set.and_then(|set| set.get(*name)).cloned();
            let synonym = match alone.contains(name) {
                false => Some(format!("group.{name}")),
                true => own.is_none().then(|| (*name).to_owned()),
            };
            Described { name, kind: *kind, own, default: broker(name, default), synonym }
        });
        described.collect()
    }

    /// A client metrics subscription's configs, set or not.
    pub(super) fn metrics_configs(&self, name: &str) -> Vec<Described> {
        let set = self.set_on(ResourceType::ClientMetrics, name);
        let described = METRICS_CONFIGS.iter().map(|(name, default, kind, _)| {
            let own = set.and_then(|set| set.get(*name)).cloned();
            Described { name, kind: *kind, own, default: (*default).to_owned(), synonym: None }
        });
        described.collect()
    }

    /// What the builder said of every broker, and which one this is.
    pub(super) fn broker_configs(&self, node: NodeId) -> Vec<(&'static str, String, Kind)> {
        let settings = &self.settings;
        let listener = self.nodes.get(&node).map(|node| node.endpoint.host_and_port());
        let listener = listener.map_or(String::new(), |(host, port)| format!("PLAINTEXT://{host}:{port}"));
        vec![
            ("advertised.listeners", listener.clone(), Kind::String),
            ("listeners", listener, Kind::String),
            ("broker.id", node.0.to_string(), Kind::Int),
            ("min.insync.replicas", "1".to_owned(), Kind::Int),
            ("node.id", node.0.to_string(), Kind::Int),
            ("auto.create.topics.enable", settings.auto_create.to_string(), Kind::Boolean),
            ("default.replication.factor", settings.default_replication.unwrap_or(1).to_string(), Kind::Int),
            ("group.initial.rebalance.delay.ms", settings.initial_rebalance_delay.as_millis().to_string(), Kind::Int),
            ("group.min.session.timeout.ms", settings.min_session_timeout.as_millis().to_string(), Kind::Int),
            (LARGEST_BATCH, settings.message_max_bytes.to_string(), Kind::Int),
            ("num.partitions", settings.default_partitions.to_string(), Kind::Int),
        ]
    }
}
