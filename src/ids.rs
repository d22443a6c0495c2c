//! Names for things that could be mixed up: a node is not a partition, a generation is not an epoch.

use std::{cmp::Ordering, fmt, sync::Arc};

/// The id that a broker is known by. Never its address: two brokers may stand behind one name, and one may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The 16 bytes that tell a topic from another of the same name, made before or after (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// What a broker that knows no topic ids answers with.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether the broker gave no id.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl From<uuid::Uuid> for TopicId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.into_bytes())
    }
}

impl From<TopicId> for uuid::Uuid {
    fn from(id: TopicId) -> Self {
        Self::from_bytes(id.0)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One partition of one topic. Cheap to clone: the name is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// By topic, then by number. Of one topic they mostly share the name, and whoever reads a thousand partitions looks them up in
/// trees for each Fetch.
impl Ord for TopicPartition {
    fn cmp(&self, other: &Self) -> Ordering {
        let topics =
            if Arc::ptr_eq(&self.topic, &other.topic) { Ordering::Equal } else { self.topic.cmp(&other.topic) };
        topics.then(self.partition.cmp(&other.partition))
    }
}

impl PartialOrd for TopicPartition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl<T: Into<Arc<str>>> From<(T, i32)> for TopicPartition {
    fn from((topic, partition): (T, i32)) -> Self {
        Self::new(topic, partition)
    }
}

/// How often a partition's leader has changed; -1 on the wire is "not known", `None` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// From the wire, where a negative number means that the epoch is not known.
    pub fn from_wire(epoch: i32) -> Option<Self> {
        (epoch >= 0).then_some(Self(epoch))
    }

    /// To the wire.
    pub fn to_wire(epoch: Option<Self>) -> i32 {
        epoch.map_or(-1, |epoch| epoch.0)
    }
}

/// Who writes: the id that the broker gave a producer, and how often it was fenced since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdAndEpoch {
    /// The producer id, -1 for a producer without idempotence.
    pub id: i64,
    /// The epoch, -1 without idempotence.
    pub epoch: i16,
}

impl ProducerIdAndEpoch {
    /// A producer without idempotence.
    pub const NONE: Self = Self { id: -1, epoch: -1 };
}

/// One round of a classic group: it grows with each rebalance, and -1 is outside of any. In a group whose coordinator
/// assigns (KIP-848), the epoch of this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub i32);

impl GenerationId {
    /// Not a member of any generation.
    pub const NONE: Self = Self(-1);
}

/// An offset to commit or committed: the *next* record to read, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetAndMetadata {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record consumed, if known (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Free text of the application, at most 4,096 bytes by the broker's default.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// The next record to read is at `offset`.
    pub fn new(offset: i64) -> Self {
        Self { offset, ..Self::default() }
    }
}

/// What has a coordinator among the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CoordinatorKey {
    /// A consumer group, by `group.id`.
    Group(Arc<str>),
    /// A transactional producer, by `transactional.id`.
    Transaction(Arc<str>),
}

/// Who this consumer is in its group, for transactions that commit its offsets (KIP-447).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    pub(crate) group_id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) generation: GenerationId,
    pub(crate) member_id: Arc<str>,
}

impl ConsumerGroupMetadata {
    /// The metadata of a consumer that is in no group's generation: its offsets are committed without a check of who owns
    /// the partitions.
    pub fn standalone(group_id: impl Into<Arc<str>>) -> Self {
        Self { group_id: group_id.into(), instance_id: None, generation: GenerationId::NONE, member_id: "".into() }
    }

    /// `group.id`.
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// The generation of the last assignment that the application was told of; `GenerationId::NONE` outside of the
    /// group.
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// The id that the coordinator knows us by; empty outside of the group.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// `group.instance.id`.
    pub fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }
}
