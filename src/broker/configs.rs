//! Configs of topics, with Apache Kafka 4.3's names and defaults. Those of other things are in `resource_configs`, the wire is
//! in `config_api`.

use super::compaction::Lags;
use std::collections::BTreeMap;

/// What values a config takes; the discriminant is the type in DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

impl Kind {
    pub(super) fn takes(self, value: &str) -> bool {
        match self {
            Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Int => value.parse::<i32>().is_ok(),
            Long => value.parse::<i64>().is_ok(),
            Double => value.parse::<f64>().is_ok(),
            Self::String | List => true,
        }
    }
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

    /// What was set.
    pub(super) fn set(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Every name with its value, and whether the value was set on the topic. `max_bytes` is the broker's largest batch.
    pub(super) fn entries(&self, max_bytes: usize) -> Vec<(&'static str, String, bool, i8)> {
        let entry = |(name, default, kind): &(&'static str, &str, Kind)| match self.0.get(*name) {
            Some(value) => (*name, value.clone(), true, *kind as i8),
            None if *name == "max.message.bytes" => (*name, max_bytes.to_string(), false, *kind as i8),
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
        (_, Int | Long) => kind.takes(trimmed) && trimmed.parse::<i64>().is_ok_and(|number| number >= least(name)),
        (_, Double) => trimmed.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)),
        (_, kind) => kind.takes(trimmed),
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

/// The list that a topic's config is, as it is set or by default; `None` for one that is no list.
pub(super) fn list(set: &BTreeMap<String, String>, name: &str) -> Option<Vec<String>> {
    let (_, default, _) = TOPIC_CONFIGS.iter().find(|(known, _, kind)| *known == name && *kind == List)?;
    let current = set.get(name).map_or(*default, |value| value);
    Some(current.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
}
