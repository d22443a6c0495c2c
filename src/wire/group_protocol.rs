//! What members of a classic group tell each other through the coordinator, which passes it on unread: subscriptions
//! (`protocol_metadata` in JoinGroup) and assignments (`SyncGroup`), versions 0 to 3 of Kafka's "consumer" protocol.
//!
//! The bytes come from other clients, so they are as untrusted as a broker's: the guard walks them first, and a member
//! with broken ones is an error for the leader to live with. Newer versions only append fields (v1 owned partitions,
//! v2 generation KIP-792, v3 rack KIP-881), so what follows the fields that we know is skipped.

use super::StrBytes;
use super::guard::{self, Direction, table};
use super::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use super::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use super::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{GenerationId, TopicPartition};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A string in the schema crate's form.
pub fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The type of group that consumers form.
pub const PROTOCOL_TYPE: &str = "consumer";
/// The version that we write and the newest that we know.
const VERSION: i16 = 3;

/// What one member wants and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// Whatever its assignor adds for the leader's.
    pub user_data: Option<Bytes>,
    /// What it holds while it joins (cooperative protocols), and nothing in eager ones.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got them; `NONE` if it does not say.
    pub generation: GenerationId,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { topics: vec![], user_data: None, owned: vec![], generation: GenerationId::NONE, rack: None }
    }
}

impl Subscription {
    /// To the wire, its version first.
    pub fn encode(&self) -> Result<Bytes> {
        let owned = by_topic(&self.owned)
            .map(|(topic, partitions)| OwnedTopic::default().with_topic(topic).with_partitions(partitions))
            .collect();
        let message = ConsumerProtocolSubscription::default()
            .with_topics(self.topics.iter().map(|topic| str_bytes(topic)).collect())
            .with_user_data(self.user_data.clone())
            .with_owned_partitions(owned)
            .with_generation_id(self.generation.0)
            .with_rack_id(self.rack.as_deref().map(str_bytes));
        encode(&message, "subscription")
    }

    /// From the wire.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let key = table::CONSUMER_PROTOCOL_SUBSCRIPTION;
        let message: ConsumerProtocolSubscription = decode(key, bytes, "subscription")?;
        let owned = message
            .owned_partitions
            .iter()
            .flat_map(|topic| partitions(topic.topic.as_str(), &topic.partitions))
            .collect();
        Ok(Self {
            topics: message.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            user_data: message.user_data,
            owned,
            generation: GenerationId(message.generation_id),
            rack: message.rack_id.map(|rack| Arc::from(rack.as_str())),
        })
    }
}

/// To the wire: what a leader gives one member.
pub fn encode_assignment(assigned: &[TopicPartition]) -> Result<Bytes> {
    let assigned = by_topic(assigned)
        .map(|(topic, partitions)| AssignedTopic::default().with_topic(topic).with_partitions(partitions))
        .collect();
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(assigned), "assignment")
}

/// From the wire. No bytes at all are no partitions: that is what a coordinator gives a member that the leader forgot.
pub fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(vec![]);
    }
    let key = table::CONSUMER_PROTOCOL_ASSIGNMENT;
    let message: ConsumerProtocolAssignment = decode(key, bytes, "assignment")?;
    let assigned = message.assigned_partitions.iter();
    Ok(assigned.flat_map(|topic| partitions(topic.topic.as_str(), &topic.partitions)).collect())
}

/// What `sticky` puts into a member's user data: what it had, and of which generation (Java's `StickyAssignor`).
pub fn encode_sticky(assigned: &[TopicPartition], generation: GenerationId) -> Result<Bytes> {
    let too_long = |_| Error::with_message(ErrorKind::InvalidArgument, "can't write what was assigned: too long");
    let mut out = BytesMut::new();
    let topics: Vec<_> = by_topic(assigned).collect();
    out.put_i32(i32::try_from(topics.len()).map_err(too_long)?);
    for (topic, numbers) in topics {
        out.put_i16(i16::try_from(topic.len()).map_err(too_long)?);
        out.put_slice(topic.as_bytes());
        out.put_i32(i32::try_from(numbers.len()).map_err(too_long)?);
        numbers.into_iter().for_each(|number| out.put_i32(number));
    }
    out.put_i32(generation.0);
    Ok(out.freeze())
}

/// From the wire. The first version had no generation.
pub fn decode_sticky(mut bytes: Bytes) -> Result<(Vec<TopicPartition>, GenerationId)> {
    let malformed = |_| Error::with_message(ErrorKind::Malformed, "malformed user data of a sticky member");
    let mut assigned = vec![];
    for _ in 0..bytes.try_get_i32().map_err(malformed)? {
        let length = usize::try_from(bytes.try_get_i16().map_err(malformed)?).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(Error::with_message(
                ErrorKind::Malformed,
                "the name of a topic is cut off in a sticky member's data",
            ));
        }
        let topic: Arc<str> = String::from_utf8_lossy(&bytes.split_to(length)).into();
        for _ in 0..bytes.try_get_i32().map_err(malformed)? {
            let number = bytes.try_get_i32().map_err(malformed)?;
            assigned.push(TopicPartition::new(topic.clone(), number));
        }
    }
    Ok((assigned, bytes.try_get_i32().map_or(GenerationId::NONE, GenerationId)))
}

fn partitions(topic: &str, numbers: &[i32]) -> impl Iterator<Item = TopicPartition> {
    let topic: Arc<str> = Arc::from(topic);
    numbers.iter().map(move |partition| TopicPartition::new(topic.clone(), *partition))
}

fn by_topic(partitions: &[TopicPartition]) -> impl Iterator<Item = (TopicName, Vec<i32>)> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics.into_iter().map(|(topic, mut numbers)| {
        numbers.sort_unstable();
        (TopicName(str_bytes(topic)), numbers)
    })
}

fn encode(message: &impl Encodable, what: &str) -> Result<Bytes> {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    message.encode(&mut out, VERSION).map_err(|error| {
        Error::with_message(ErrorKind::InvalidArgument, format!("can't write the {what}: {error:#}"))
    })?;
    Ok(out.freeze())
}

fn decode<T: Decodable>(key: i16, mut bytes: Bytes, what: &str) -> Result<T> {
    let malformed = |why: String| Error::with_message(ErrorKind::Malformed, format!("malformed {what}: {why}"));
    let version = bytes.try_get_i16().map_err(|_| malformed("no version".into()))?.min(VERSION);
    guard::check_prefix(key, version, Direction::Request, &bytes).map_err(|why| malformed(why.to_string()))?;
    T::decode(&mut bytes, version).map_err(|error| malformed(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(&[0, 0, 0, 7])),
            owned: vec![("a", 0).into(), ("a", 2).into(), ("b", 1).into()],
            generation: GenerationId(7),
            rack: Some("eu-1a".into()),
        }
    }

    #[test]
    fn a_subscription_comes_back() {
        assert_eq!(Subscription::decode(subscription().encode().unwrap()).unwrap(), subscription());
    }

    #[test]
    fn an_assignment_comes_back_and_no_bytes_are_no_partitions() {
        let assigned = subscription().owned;
        assert_eq!(decode_assignment(encode_assignment(&assigned).unwrap()).unwrap(), assigned);
        assert_eq!(decode_assignment(Bytes::new()).unwrap(), vec![]);
    }

    /// As the schemas in Java's `StickyAssignor` say, byte by byte.
    #[test]
    fn the_data_of_sticky_members_is_javas_and_the_first_version_lacks_the_generation() {
        let bytes = [&[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2][..], &[0, 0, 0, 0, 0, 0, 0, 3], &[0, 0, 0, 9]].concat();
        let assigned = vec![("a", 0).into(), ("a", 3).into()];
        assert_eq!(encode_sticky(&assigned, GenerationId(9)).unwrap(), bytes);
        assert_eq!(decode_sticky(bytes.clone().into()).unwrap(), (assigned.clone(), GenerationId(9)));
        let first = Bytes::copy_from_slice(&bytes[..bytes.len() - 4]);
        assert_eq!(decode_sticky(first).unwrap(), (assigned, GenerationId::NONE));
        for cut in 0..bytes.len() - 4 {
            assert!(decode_sticky(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        assert!(decode_sticky(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff])).is_err());
    }

    /// v0 and v1 as the Java client wrote them before KIP-792, byte by byte.
    #[test]
    fn old_versions_lack_what_came_later() {
        let v0 = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff]);
        let decoded = Subscription::decode(v0).unwrap();
        assert_eq!((decoded.topics, decoded.generation), (vec!["a".into()], GenerationId::NONE));
        let v1 = [&[0, 1, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 0][..], &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 3]];
        let decoded = Subscription::decode(v1.concat().into()).unwrap();
        assert_eq!((decoded.owned, decoded.user_data), (vec![("a", 3).into()], Some(Bytes::new())));
    }

    #[test]
    fn newer_versions_only_append() {
        let mut bytes = BytesMut::from(&subscription().encode().unwrap()[..]);
        bytes[1] = 9;
        bytes.put_slice(b"a field of the future");
        assert_eq!(Subscription::decode(bytes.freeze()).unwrap(), subscription());
    }

    /// franz-go 1.21.4: one member's broken metadata took the whole group's leader down.
    #[test]
    fn any_broken_member_metadata_is_an_error_and_never_a_panic() {
        let whole = subscription().encode().unwrap();
        for cut in 0..whole.len() {
            assert!(Subscription::decode(whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = BytesMut::from(&whole[..]);
                bytes[at] = byte;
                let bytes = bytes.freeze();
                drop((Subscription::decode(bytes.clone()), decode_assignment(bytes)));
            }
        }
        let negative = Bytes::from_static(&[0xff, 0xfe, 0, 0, 0, 0]);
        assert_eq!(Subscription::decode(negative).unwrap_err().kind(), ErrorKind::Malformed);
    }
}
