//! What the admin takes and gives.

use crate::ids::{NodeId, OffsetAndMetadata, TopicId, TopicPartition};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication: i16,
    pub(super) configs: Vec<(String, String)>,
}

impl NewTopic {
    /// `partitions` and `replication`: -1 leaves them to the broker's defaults.
    pub fn new(name: impl Into<String>, partitions: i32, replication: i16) -> Self {
        Self { name: name.into(), partitions, replication, configs: vec![] }
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
}

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
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Who takes writes; `None` while there is none.
    pub leader: Option<NodeId>,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// One config of a topic.
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
}

/// Who set a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// The topic itself.
    Topic,
    /// A broker's, while it runs.
    DynamicBroker,
    /// A broker's file.
    StaticBroker,
    /// Nobody: it is Kafka's default.
    Default,
    /// Something newer than this crate.
    Unknown,
}

impl ConfigSource {
    pub(super) fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 | 3 => Self::DynamicBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            _ => Self::Unknown,
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// `consumer`, `connect`, or empty for a group that only commits.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty from brokers before 2.6.
    pub state: String,
    /// `classic` or `consumer` (KIP-848); empty from brokers before 3.8.
    pub group_type: String,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// In Kafka's words: `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, `Dead`.
    pub state: String,
    /// `consumer`, or what else the members are.
    pub protocol_type: String,
    /// The assignor that the group has settled on; empty without members.
    pub assignor: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it reads; empty while the group rebalances.
    pub assignment: Vec<TopicPartition>,
}

/// Where a group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOffset {
    /// What it has committed: the next record to read.
    pub committed: OffsetAndMetadata,
    /// The end of the partition; `None` if the partition is gone or has no leader.
    pub end_offset: Option<i64>,
}

impl GroupOffset {
    /// How many records are left to read, at least: markers of transactions and compacted records count too.
    pub fn lag(&self) -> Option<i64> {
        self.end_offset.map(|end| (end - self.committed.offset).max(0))
    }
}
