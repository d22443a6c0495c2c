//! Fetch v4 to v17 by hand, where the schema crate would copy names and record sets: the request is written from
//! borrowed parts, and the answer is walked once, with bounds, its record sets being slices of the frame.
//!
//! | version | what it brought, as far as it is used here |
//! | --- | --- |
//! | 4 | isolation level, last stable offset, aborted transactions |
//! | 5 | log start offset |
//! | 7 | sessions (KIP-227); an error for the whole answer |
//! | 9 | the leader epoch that the client believes in (KIP-320) |
//! | 11 | the client's rack, a preferred replica to read from (KIP-392) |
//! | 12 | flexible; the epoch where a log diverged; the leader's successor (KIP-951 fills it from v16) |
//! | 13 | topics by id (KIP-516): below it by name |
//! | 15 | no replica id |
//! | 16 | where the successors listen (KIP-951) |

use super::request::put_request_header;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, TopicId, TopicPartition};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Fetch's API key.
pub const API_KEY: i16 = 1;
/// From here on topics go by id.
pub const FIRST_WITH_TOPIC_IDS: i16 = 13;
const FIRST_FLEXIBLE: i16 = 12;

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// All, those of open and aborted transactions too. Kafka's default.
    #[default]
    ReadUncommitted,
    /// Only those of committed transactions and those outside of any; reading ends at the last stable offset.
    ReadCommitted,
}

impl IsolationLevel {
    /// As requests say it.
    pub fn to_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// What a Fetch asks for as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchParameters {
    /// How long the broker may wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Less than this is not answered before the wait is over.
    pub min_bytes: i32,
    /// A soft limit for the whole answer: the first batch comes whole even if it is larger (KIP-74).
    pub max_bytes: i32,
    /// Which records.
    pub isolation: IsolationLevel,
    /// The session (KIP-227) that this continues or ends; 0: none.
    pub session_id: i32,
    /// Which of the session's requests this is: 0 asks for a new session, -1 ends it or does without.
    pub session_epoch: i32,
}

/// What a Fetch asks of one partition.
#[derive(Debug, Clone, Copy)]
pub struct FetchPartition<'a> {
    /// The topic's name, for versions below 13.
    pub topic: &'a str,
    /// Its id, from 13 on.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
    /// The leader's epoch as we know it: a broker that knows better refuses.
    pub leader_epoch: Option<LeaderEpoch>,
    /// From where on.
    pub offset: i64,
    /// A soft limit.
    pub max_bytes: i32,
}

/// A partition that the broker is to leave out of the session from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Which.
    pub name: TopicPartition,
    /// Its topic's id when the broker was told of it.
    pub topic_id: TopicId,
}

/// A whole Fetch request, its length included. Partitions of one topic that follow each other share its entry; a topic
/// may come twice, since the order of the partitions is the order in which the broker serves them.
pub fn encode<'a>(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    parameters: FetchParameters,
    rack: &str,
    partitions: impl Iterator<Item = FetchPartition<'a>> + Clone,
    forgotten: &[Forgotten],
) -> Bytes {
    let flexible = version >= FIRST_FLEXIBLE;
    let mut out = BytesMut::with_capacity(128usize.saturating_add(partitions.size_hint().0.saturating_mul(48)));
    out.put_i32(0); // the length, below
    put_request_header(&mut out, API_KEY, version, correlation_id, client_id, flexible);
    if version < 15 {
        out.put_i32(-1); // a consumer, not a replica
    }
    out.put_i32(parameters.max_wait_ms);
    out.put_i32(parameters.min_bytes);
    out.put_i32(parameters.max_bytes);
    out.put_i8(parameters.isolation.to_wire());
    if version >= 7 {
        out.put_i32(parameters.session_id);
        out.put_i32(parameters.session_epoch);
    }
    let by_id = version >= FIRST_WITH_TOPIC_IDS;
    let same = |a: &FetchPartition<'_>, b: &FetchPartition<'_>| match by_id {
        true => a.topic_id == b.topic_id,
        false => a.topic == b.topic,
    };
    let mut rest = partitions.peekable();
    put_length(&mut out, runs(rest.clone(), same), flexible);
    while let Some(first) = rest.peek().copied() {
        if by_id {
            out.put_slice(&first.topic_id.0);
        } else {
            put_string(&mut out, first.topic, flexible);
        }
        put_length(&mut out, rest.clone().take_while(|next| same(&first, next)).count(), flexible);
        while let Some(next) = rest.next_if(|next| same(&first, next)) {
            out.put_i32(next.partition);
            if version >= 9 {
                out.put_i32(LeaderEpoch::to_wire(next.leader_epoch));
            }
            out.put_i64(next.offset);
            if version >= 12 {
                out.put_i32(-1); // last fetched epoch: followers only
            }
            if version >= 5 {
                out.put_i64(-1); // log start offset: followers only
            }
            out.put_i32(next.max_bytes);
            put_no_tags(&mut out, flexible);
        }
        put_no_tags(&mut out, flexible);
    }
    if version >= 7 {
        put_forgotten(&mut out, forgotten, by_id, flexible);
    }
    if version >= 11 {
        put_string(&mut out, rack, flexible);
    }
    put_no_tags(&mut out, flexible);
    let length = i32::try_from(out.len().saturating_sub(4)).unwrap_or(i32::MAX);
    if let Some(prefix) = out.first_chunk_mut::<4>() {
        *prefix = length.to_be_bytes();
    }
    out.freeze()
}

fn put_forgotten(out: &mut BytesMut, forgotten: &[Forgotten], by_id: bool, flexible: bool) {
    let same = |a: &Forgotten, b: &Forgotten| match by_id {
        true => a.topic_id == b.topic_id,
        false => a.name.topic == b.name.topic,
    };
    put_length(out, forgotten.chunk_by(same).count(), flexible);
    for topic in forgotten.chunk_by(same) {
        if let Some(first) = topic.first() {
            match by_id {
                true => out.put_slice(&first.topic_id.0),
                false => put_string(out, &first.name.topic, flexible),
            }
        }
        put_length(out, topic.len(), flexible);
        topic.iter().for_each(|partition| out.put_i32(partition.name.partition));
        put_no_tags(out, flexible);
    }
}

fn runs<T>(items: impl Iterator<Item = T>, same: impl Fn(&T, &T) -> bool) -> usize {
    let (mut count, mut last) = (0usize, None);
    for item in items {
        if last.as_ref().is_none_or(|last| !same(last, &item)) {
            count = count.saturating_add(1);
        }
        last = Some(item);
    }
    count
}

fn put_length(out: &mut BytesMut, length: usize, flexible: bool) {
    if !flexible {
        out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        return;
    }
    let mut left = u32::try_from(length.saturating_add(1)).unwrap_or(u32::MAX);
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

fn put_string(out: &mut BytesMut, text: &str, flexible: bool) {
    if flexible {
        put_length(out, text.len(), true);
    } else {
        out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    }
    out.put_slice(text.as_bytes());
}

fn put_no_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}

/// An answer, its record sets slices of the frame.
#[derive(Debug, Default)]
pub struct FetchResponse {
    /// How long the broker holds this client back.
    pub throttle_ms: i32,
    /// What is wrong with the whole request.
    pub error: Option<ErrorCode>,
    /// The session that the broker opened or continues; 0: none.
    pub session_id: i32,
    /// In the broker's order.
    pub partitions: Vec<FetchedPartition>,
    /// Where the leaders listen that the partitions name (KIP-951, from v16): host and port.
    pub endpoints: Vec<(NodeId, String, u16)>,
}

/// A topic as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedTopic {
    /// Below version 13; a slice of the frame.
    Name(Bytes),
    /// From 13 on.
    Id(TopicId),
}

/// The part of an answer that is about one partition.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// Of which topic.
    pub topic: FetchedTopic,
    /// The partition's number.
    pub partition: i32,
    /// What is wrong with it.
    pub error: Option<ErrorCode>,
    /// The end of what is replicated; -1 with an error.
    pub high_watermark: i64,
    /// The end of what a read-committed consumer sees; -1 if the broker doesn't say.
    pub last_stable_offset: i64,
    /// Where the log begins; -1 if the broker doesn't say.
    pub log_start_offset: i64,
    /// Where our log and the leader's part ways: the largest common epoch and its end (KIP-320).
    pub diverging: Option<(i32, i64)>,
    /// Who leads now, if the broker that we asked doesn't (KIP-951).
    pub current_leader: Option<(NodeId, LeaderEpoch)>,
    /// Producer id and first offset of the transactions aborted in this range; not always sorted (Redpanda).
    pub aborted: Vec<(i64, i64)>,
    /// Who else has these records, nearer to us.
    pub preferred_replica: Option<NodeId>,
    /// Record batches, the last one often cut off.
    pub records: Bytes,
}

/// Reads an answer (the frame without its length).
///
/// # Errors
/// `Malformed` if the frame ends early or goes on after the message.
pub fn decode(version: i16, frame: &Bytes) -> Result<FetchResponse> {
    let mut cursor = Cursor { rest: frame, frame, flexible: version >= FIRST_FLEXIBLE };
    read(version, &mut cursor).ok_or_else(|| {
        let at = frame.len().saturating_sub(cursor.rest.len());
        Error::with_message(
            ErrorKind::Malformed,
            format!("malformed answer (v{version}, byte {at} of {})", frame.len()),
        )
        .api("Fetch")
    })
}

fn read(version: i16, cursor: &mut Cursor<'_>) -> Option<FetchResponse> {
    let mut response = FetchResponse::default();
    cursor.i32()?; // correlation id
    cursor.skip_tags()?;
    response.throttle_ms = cursor.i32()?;
    if version >= 7 {
        response.error = ErrorCode::from_wire(cursor.i16()?);
        response.session_id = cursor.i32()?;
    }
    for _ in 0..cursor.length()?.unwrap_or(0) {
        let topic = match version >= FIRST_WITH_TOPIC_IDS {
            true => FetchedTopic::Id(TopicId(*cursor.take(16)?.first_chunk()?)),
            false => FetchedTopic::Name(cursor.name()?),
        };
        for _ in 0..cursor.length()?.unwrap_or(0) {
            let partition = read_partition(version, cursor, topic.clone())?;
            response.partitions.push(partition);
        }
        cursor.skip_tags()?;
    }
    let frame = cursor.frame;
    cursor.tags(|tag, value| {
        if tag == 0 {
            response.endpoints = read_endpoints(&mut Cursor { rest: value, frame, flexible: true })?;
        }
        Some(())
    })?;
    cursor.rest.is_empty().then_some(response)
}

fn read_partition(version: i16, cursor: &mut Cursor<'_>, topic: FetchedTopic) -> Option<FetchedPartition> {
    let mut answer = FetchedPartition {
        topic,
        partition: cursor.i32()?,
        error: ErrorCode::from_wire(cursor.i16()?),
        high_watermark: cursor.i64()?,
        last_stable_offset: cursor.i64()?,
        log_start_offset: if version >= 5 { cursor.i64()? } else { -1 },
        diverging: None,
        current_leader: None,
        aborted: Vec::new(),
        preferred_replica: None,
        records: Bytes::new(),
    };
    for _ in 0..cursor.length()?.unwrap_or(0) {
        let entry = (cursor.i64()?, cursor.i64()?);
        answer.aborted.push(entry);
        cursor.skip_tags()?;
    }
    if version >= 11 {
        answer.preferred_replica = Some(NodeId(cursor.i32()?)).filter(|node| node.0 >= 0);
    }
    if let Some(length) = cursor.length()? {
        answer.records = cursor.slice(length)?;
    }
    cursor.tags(|tag, value| {
        match tag {
            0 => answer.diverging = Some((value.try_get_i32().ok()?, value.try_get_i64().ok()?)),
            1 => {
                let (leader, epoch) = (value.try_get_i32().ok()?, value.try_get_i32().ok()?);
                answer.current_leader =
                    LeaderEpoch::from_wire(epoch).filter(|_| leader >= 0).map(|epoch| (NodeId(leader), epoch));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(answer)
}

fn read_endpoints(cursor: &mut Cursor<'_>) -> Option<Vec<(NodeId, String, u16)>> {
    let mut endpoints = Vec::new();
    for _ in 0..cursor.length()?.unwrap_or(0) {
        let node = NodeId(cursor.i32()?);
        let length = cursor.length()??;
        let host = String::from_utf8_lossy(cursor.take(length)?).into_owned();
        let port = cursor.i32()?;
        if let Some(rack) = cursor.length()? {
            cursor.take(rack)?;
        }
        cursor.skip_tags()?;
        endpoints.extend(u16::try_from(port).ok().map(|port| (node, host, port)));
    }
    Some(endpoints)
}

/// What is left of a frame. A count from the wire never reserves anything: each element takes bytes, and where they
/// end, the walk ends.
struct Cursor<'a> {
    rest: &'a [u8],
    frame: &'a Bytes,
    flexible: bool,
}

impl Cursor<'_> {
    fn i16(&mut self) -> Option<i16> {
        self.rest.try_get_i16().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.rest.try_get_i32().ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.rest.try_get_i64().ok()
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.try_get_u8().ok()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Of an array or of bytes; the inner `None` is null.
    fn length(&mut self) -> Option<Option<usize>> {
        if self.flexible {
            return Some(self.varint()?.checked_sub(1).map(|length| length as usize));
        }
        match self.i32()? {
            -1 => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn slice(&mut self, length: usize) -> Option<Bytes> {
        let at = self.frame.len().checked_sub(self.rest.len())?;
        self.take(length)?;
        Some(self.frame.slice(at..at.checked_add(length)?))
    }

    fn name(&mut self) -> Option<Bytes> {
        let length = match self.flexible {
            true => self.length()??,
            false => usize::try_from(self.i16()?).ok()?,
        };
        self.slice(length)
    }

    fn skip_tags(&mut self) -> Option<()> {
        self.tags(|_, _| Some(()))
    }

    /// Tagged fields, of which those not known are skipped by their size.
    fn tags(&mut self, mut each: impl FnMut(u32, &mut &[u8]) -> Option<()>) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let (mut value, rest) = self.rest.split_at_checked(size)?;
            self.rest = rest;
            each(tag, &mut value)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::StrBytes;
    use crate::wire::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    };
    use crate::wire::messages::{BrokerId, FetchRequest, ProducerId, TopicName};
    use crate::wire::request::{decode_request, encode_response};

    const ID: [u8; 16] = [7; 16];

    fn ask(version: i16, topics: &[(&str, [u8; 16], i32)]) -> Bytes {
        let parameters = FetchParameters {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 50 << 20,
            isolation: IsolationLevel::ReadCommitted,
            session_id: 0,
            session_epoch: -1,
        };
        let partitions = topics.iter().map(|&(topic, id, partition)| FetchPartition {
            topic,
            topic_id: TopicId(id),
            partition,
            leader_epoch: Some(LeaderEpoch(4)),
            offset: 1 << 40,
            max_bytes: 1 << 20,
        });
        let forgotten = [("a", 1, 7), ("a", 1, 9), ("b", 2, 0)].map(|(topic, id, partition)| Forgotten {
            name: TopicPartition::new(topic, partition),
            topic_id: TopicId([id; 16]),
        });
        encode(version, 9, "me", parameters, "rack-1", partitions, if version < 7 { &[] } else { &forgotten })
    }

    /// The schema crate is the judge: what it reads is what was meant, with no byte left over.
    #[test]
    fn every_version_of_the_request_is_what_the_schema_says() {
        for version in 4..=17 {
            let mut frame = ask(version, &[("a", [1; 16], 0), ("a", [1; 16], 5), ("b", [2; 16], 1), ("a", [1; 16], 2)]);
            assert_eq!(frame.get_i32() as usize, frame.len());
            let (header, request) = decode_request::<FetchRequest>(frame).unwrap_or_else(|e| panic!("v{version}: {e}"));
            assert_eq!((header.correlation_id, header.client_id.as_deref()), (9, Some("me")));
            assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (500, 1, 50 << 20));
            assert_eq!((request.isolation_level, request.session_id, request.session_epoch), (1, 0, -1));
            let shape: Vec<Vec<i32>> =
                request.topics.iter().map(|t| t.partitions.iter().map(|p| p.partition).collect()).collect();
            assert_eq!(shape, [vec![0, 5], vec![1], vec![2]], "the order of serving is kept");
            let first = &request.topics[0];
            match version >= 13 {
                true => assert_eq!(first.topic_id.as_bytes(), &[1; 16]),
                false => assert_eq!(first.topic.0.as_str(), "a"),
            }
            let partition = &first.partitions[1];
            assert_eq!((partition.fetch_offset, partition.partition_max_bytes), (1 << 40, 1 << 20));
            assert_eq!(partition.current_leader_epoch, if version >= 9 { 4 } else { -1 });
            assert_eq!(request.rack_id.as_str(), if version >= 11 { "rack-1" } else { "" });
            let forgotten: Vec<_> = request.forgotten_topics_data.iter().map(|topic| &topic.partitions[..]).collect();
            assert_eq!(forgotten, if version < 7 { vec![] } else { vec![&[7, 9][..], &[0]] });
            if version >= 13 {
                assert_eq!(request.forgotten_topics_data[1].topic_id.as_bytes(), &[2; 16]);
            }
        }
    }

    fn answer(version: i16, aborted: Option<Vec<AbortedTransaction>>) -> Bytes {
        let mut partition = PartitionData::default()
            .with_partition_index(3)
            .with_error_code(6)
            .with_high_watermark(100)
            .with_last_stable_offset(90)
            .with_aborted_transactions(aborted)
            .with_preferred_read_replica(BrokerId(if version >= 11 { 2 } else { -1 }))
            .with_records(Some(Bytes::from_static(b"batches")));
        if version >= 5 {
            partition.log_start_offset = 10;
        }
        if version >= 12 {
            partition.current_leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(5)).with_leader_epoch(8);
            partition.diverging_epoch = EpochEndOffset::default().with_epoch(3).with_end_offset(77);
        }
        let empty = PartitionData::default().with_partition_index(4).with_records(None);
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![partition, empty]);
        match version >= 13 {
            true => topic.topic_id = uuid::Uuid::from_bytes(ID),
            false => topic.topic = TopicName(StrBytes::from_static_str("clicks")),
        }
        let mut response =
            kafka_protocol::messages::FetchResponse::default().with_throttle_time_ms(7).with_responses(vec![topic]);
        if version >= 7 {
            response.session_id = 42;
        }
        if version >= 16 {
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(5)).with_host("b5".into()).with_port(9092);
            let in_a_rack = endpoint.clone().with_node_id(BrokerId(6)).with_rack(Some("r".into()));
            response.node_endpoints = vec![endpoint, in_a_rack];
        }
        let mut frame = encode_response::<FetchRequest>(&response, version, 9).unwrap();
        frame.advance(4);
        frame
    }

    #[test]
    fn every_version_of_the_answer_is_read_without_a_copy() {
        for version in 4..=17 {
            let aborted = vec![
                AbortedTransaction::default().with_producer_id(ProducerId(8)).with_first_offset(50),
                AbortedTransaction::default().with_producer_id(ProducerId(9)).with_first_offset(40),
            ];
            let frame = answer(version, Some(aborted));
            let response = decode(version, &frame).unwrap_or_else(|e| panic!("v{version}: {e}"));
            assert_eq!((response.throttle_ms, response.error), (7, None));
            let [first, second] = &response.partitions[..] else { panic!("two partitions") };
            match &first.topic {
                FetchedTopic::Id(id) => assert_eq!((id.0, version >= 13), (ID, true)),
                FetchedTopic::Name(name) => assert_eq!((&name[..], version < 13), (&b"clicks"[..], true)),
            }
            assert_eq!((first.partition, first.error), (3, Some(ErrorCode::NotLeaderOrFollower)));
            assert_eq!((first.high_watermark, first.last_stable_offset), (100, 90));
            assert_eq!(first.log_start_offset, if version >= 5 { 10 } else { -1 });
            assert_eq!(first.aborted, [(8, 50), (9, 40)]);
            assert_eq!(first.preferred_replica, (version >= 11).then_some(NodeId(2)));
            assert_eq!(first.current_leader, (version >= 12).then_some((NodeId(5), LeaderEpoch(8))));
            assert_eq!(first.diverging, (version >= 12).then_some((3, 77)));
            assert_eq!(&first.records[..], b"batches");
            let endpoints: &[_] = &[(NodeId(5), "b5".to_owned(), 9092), (NodeId(6), "b5".to_owned(), 9092)];
            assert_eq!(response.endpoints, if version >= 16 { endpoints } else { &[] });
            assert!(frame.as_ptr_range().contains(&first.records.as_ptr()), "a slice of the frame");
            assert!(second.records.is_empty() && second.aborted.is_empty());
        }
    }

    #[test]
    fn an_answer_cut_anywhere_or_with_bytes_left_over_is_an_error_and_no_panic() {
        for version in [4, 11, 12, 17] {
            let frame = answer(version, None);
            for end in 0..frame.len() {
                assert!(decode(version, &frame.slice(..end)).is_err(), "v{version} cut at {end}");
            }
            let longer = [&frame[..], &[0]].concat();
            assert_eq!(decode(version, &longer.into()).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn hostile_counts_end_where_the_bytes_end() {
        for version in [4, 11, 12, 17] {
            let frame = answer(version, None);
            for at in 0..frame.len().saturating_sub(4) {
                for hostile in [i32::MAX, -2, i32::MIN, 0x00ff_ffff] {
                    let mut bytes = frame.to_vec();
                    bytes[at..at + 4].copy_from_slice(&hostile.to_be_bytes());
                    let _ = decode(version, &bytes.into());
                }
            }
        }
    }
}
