// Produce: v3-13 (v0-2 are listed, as Apache does, and close the connection).
//! Batches in. They are kept as sent: what is checked is the head and the CRC, and the records only where a topic asks
//! something of each: a key when it is compacted, a time within bounds.
//!
//! - v7 brings zstd; before, it is `UNSUPPORTED_COMPRESSION_TYPE`.
//! - v8 adds record errors, v10 the new leader of a partition that has moved, v13 topic ids instead of names.
//! - acks=all is answered when every in-sync replica has the batch.
//! - acks=0 is never answered; an error then closes the connection, so that the client learns of it.
//! - A duplicate of one of the producer's last five batches is answered with the offset that it got (success).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::coordinator::TRANSACTION;
use super::fetch_sessions::FetchSessions;
use super::log::Log;
use super::producers::{self, Sequenced};
use super::quotas::Direction;
use super::replication::replicated;
use super::state::{Partition, State, Topic};
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::record::DEFAULT_DECOMPRESSED_LIMIT;
use crate::record::batch::{BatchHeader, HEADER_LEN, RawBatch, batches};
use crate::record::compression::{Compression, Decompressor};
use crate::record::decode::open;
use crate::wire::StrBytes;
use crate::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use crate::wire::messages::{BrokerId, ProduceRequest, ProduceResponse};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A record without key, value and headers: length, attributes, two deltas, three more lengths.
const MIN_RECORD: usize = 7;
/// An answer names no more bad records than this, over all of its batches: a compressed batch holds millions in a few bytes.
const MAX_NAMED: usize = 1_000;
/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// What a partition's batch came to: where it stands, or why not.
type Outcome = Result<Appended, Rejected>;

#[derive(Debug, Clone, Copy)]
struct Appended {
    base_offset: i64,
    /// The offset behind the batch, and the leader's epoch: what followers are waited for with.
    end_offset: i64,
    leader_epoch: i32,
    log_append_time: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Rejected {
    code: ErrorCode,
    message: Option<String>,
    /// Records that are to blame, by their place in the batch.
    records: Vec<(i32, String)>,
    /// -1 where it says nothing.
    log_start_offset: i64,
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start_offset: -1 }
    }
}

fn rejected(code: ErrorCode, message: impl Into<String>) -> Rejected {
    Rejected { message: Some(message.into()), ..code.into() }
}

impl Api for ProduceRequest {
    async fn serve(self, on: Context) -> ProduceResponse {
        if !matches!(self.acks, -1..=1) {
            return self.refuse(ErrorCode::InvalidRequiredAcks);
        }
        if let Err(code) = may_use_its_transaction(&on, &self) {
            return self.refuse(code);
        }
        let deadline = on.now() + Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0));
        // All are written before any is waited for.
        let (mut written, mut nameable) = (Vec::new(), MAX_NAMED);
        for topic in &self.topic_data {
            let name = writable(&on, &topic.name, TopicId(topic.topic_id.into_bytes()));
            let outcomes = topic.partition_data.iter().map(|data| match (&name, &data.records) {
                (Err(code), _) => Err((*code).into()),
                (Ok(name), Some(records)) => append(&on, &self, name, data.index, records, &mut nameable),
                (Ok(_), None) => Err(rejected(ErrorCode::InvalidRecord, "Produce requests must have a record batch")),
            });
            written.push((name.clone(), outcomes.collect::<Vec<Outcome>>()));
        }
        let (mut moved, mut topics) = (Vec::new(), Vec::new());
        for (topic, (name, outcomes)) in self.topic_data.iter().zip(written) {
            let mut partitions = Vec::new();
            for (data, mut outcome) in topic.partition_data.iter().zip(outcomes) {
                if let (Ok(name), Ok(appended), -1) = (&name, &outcome, self.acks) {
                    let place = (name, data.index, appended.leader_epoch);
                    if let Err(code) = replicated(&on, place, appended.end_offset, deadline).await {
                        outcome = Err(code.into());
                    }
                }
                let answer = answered(data.index, outcome, on.version);
                let stale = answer.error_code == ErrorCode::NotLeaderOrFollower.to_wire() && on.version >= 10;
                partitions.push(match (stale, &name) {
                    (true, Ok(name)) => with_leader(&on.state(), answer, name, &mut moved),
                    _ => answer,
                });
            }
            topics.push(
                TopicProduceResponse::default()
                    .with_name(topic.name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partition_responses(partitions),
            );
        }
        let mut state = on.state();
        let throttle = on.counted(&mut state, Direction::Produce, on.request_bytes);
        ProduceResponse::default()
            .with_responses(topics)
            .with_node_endpoints(endpoints(&state, moved))
            .with_throttle_time_ms(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX))
    }

    fn refuse(&self, code: ErrorCode) -> ProduceResponse {
        let topics = self.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| answered(data.index, Err(code.into()), 3));
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    fn names_topic(&self, wanted: &Topic, _sessions: &FetchSessions) -> bool {
        self.topic_data.iter().any(|topic| wanted.is(&topic.name, topic.topic_id))
    }

    fn wants_answer(&self) -> bool {
        self.acks != 0
    }

    fn failed(response: &ProduceResponse) -> bool {
        response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .any(|partition| partition.error_code != 0)
    }
}

fn answered(index: i32, outcome: Outcome, version: i16) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => answer
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time)
            .with_log_start_offset(if version >= 5 { appended.log_start_offset } else { -1 }),
        Err(rejected) => {
            let answer = answer
                .with_error_code(rejected.code.to_wire())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(if version >= 5 { rejected.log_start_offset } else { -1 });
            if version < 8 {
                return answer;
            }
            let records = rejected.records.into_iter().map(|(index, why)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(Some(StrBytes::from(why)))
            });
            answer.with_record_errors(records.collect()).with_error_message(rejected.message.map(StrBytes::from))
        }
    }
}

fn with_leader(
    state: &State,
    answer: PartitionProduceResponse,
    topic: &str,
    moved: &mut Vec<NodeId>,
) -> PartitionProduceResponse {
    let partition = state.partition(topic, answer.index);
    let Some((partition, leader)) = partition.and_then(|partition| Some((partition, partition.leader?))) else {
        return answer;
    };
    moved.push(leader);
    answer.with_current_leader(
        LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(partition.leader_epoch),
    )
}

fn endpoints(state: &State, nodes: Vec<NodeId>) -> Vec<NodeEndpoint> {
    let endpoints = state.addresses(nodes).map(|(id, (host, port, rack))| {
        NodeEndpoint::default().with_node_id(id).with_host(host).with_port(port).with_rack(rack)
    });
    endpoints.collect()
}

/// A transactional batch needs a transactional id, which is to be the caller's.
fn may_use_its_transaction(on: &Context, request: &ProduceRequest) -> Result<(), ErrorCode> {
    let mut records =
        request.topic_data.iter().flat_map(|topic| &topic.partition_data).filter_map(|data| data.records.as_ref());
    let is_transactional = |records: &Bytes| {
        BatchHeader::parse(records)
            .is_ok_and(|header| header.is_some_and(|header| header.attributes.is_transactional()))
    };
    if !records.any(is_transactional) {
        return Ok(());
    }
    let id = request.transactional_id.as_ref().ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
    on.may(&on.state(), Operation::Write, Resource::TransactionalId(id))
}

/// The topic that is meant, if the caller may write to it.
fn writable(on: &Context, name: &str, id: TopicId) -> Result<Arc<str>, ErrorCode> {
    let state = on.state();
    let name = state.wire_topic(name, id, on.version >= 13)?;
    on.may(&state, Operation::Write, Resource::Topic(&name))?;
    Ok(name)
}

fn append(
    on: &Context,
    request: &ProduceRequest,
    topic: &Arc<str>,
    index: i32,
    records: &Bytes,
    nameable: &mut usize,
) -> Outcome {
    // What needs no lock first: the CRC, and the copy that frees the request's frame.
    let mut batch = checked_batch(records, on.version)?;
    let rules = rules(on, topic, index)?;
    let header = *batch.header();
    let now = on.unix_millis();
    if batch.bytes().len() > rules.max_message_bytes {
        return Err(ErrorCode::MessageTooLarge.into());
    }
    // No lock is held here either: they may have to be decompressed. Whether we still lead is asked again below.
    check_records(&batch, &rules, now, nameable)?;
    let mut state = on.state();
    let mut log_append_time = -1;
    if rules.log_append_time {
        log_append_time = now;
        batch.set_log_append_time(now);
    }
    let transactional = header.attributes.is_transactional();
    if transactional && on.shared.emulation.verifies_transactions() {
        let id = request.transactional_id.as_ref().map(|id| id.as_str()).unwrap_or_default();
        let coordinator = state.coordinator(TRANSACTION, id);
        let is_cut_off = |node: &NodeId| state.nodes.get(node).is_none_or(|node| node.cut_off.is_some());
        if is_cut_off(&on.node) || coordinator.as_ref().is_none_or(is_cut_off) {
            let why = format!("The transaction's coordinator can't be asked about {topic}-{index}");
            return Err(rejected(ErrorCode::NotEnoughReplicas, why));
        }
        state.may_write(on, id, &header, (topic, index))?;
        on.shared.deadlines.notify_one();
    }
    let partition = state.led_partition(on.node, topic, index)?;
    if request.acks == -1 && !partition.has_in_sync(rules.min_insync_replicas) {
        return Err(ErrorCode::NotEnoughReplicas.into());
    }
    let leader_epoch = partition.leader_epoch;
    let appended = |log: &Log, base_offset, log_append_time| Appended {
        base_offset,
        end_offset: base_offset + i64::from(header.last_offset_delta) + 1,
        leader_epoch,
        log_append_time,
        log_start_offset: log.start_offset(),
    };
    if header.producer_id >= 0 {
        let due = producers::check_sequence(on.shared.emulation, &partition.log, &header);
        // By where the log begins the producer sees whether its batches are gone by retention.
        let log_start_offset = partition.log.start_offset();
        match due.map_err(|code| Rejected { log_start_offset, ..code.into() })? {
            Sequenced::Next => {}
            Sequenced::Duplicate { base_offset, log_append_time } => {
                return Ok(appended(&partition.log, base_offset, log_append_time));
            }
        }
    }
    let base_offset = store(partition, batch, transactional);
    if header.producer_id >= 0 {
        producers::remember(&mut partition.log, &header, base_offset, log_append_time);
    }
    if partition.send_to_followers(on.now()) {
        on.shared.deadlines.notify_one();
    }
    Ok(appended(&partition.log, base_offset, log_append_time))
}

/// Appends a batch that has passed every check.
pub(super) fn store(partition: &mut Partition, mut batch: RawBatch, transactional: bool) -> i64 {
    let header = *batch.header();
    let epoch = partition.leader_epoch;
    let count = i64::from(header.last_offset_delta) + 1;
    let base_offset =
        partition.log.append(count, header.max_timestamp.max(batch.header().max_timestamp), epoch, |base_offset| {
            batch.set_base_offset(base_offset);
            batch.set_partition_leader_epoch(epoch);
            batch.into_bytes()
        });
    if transactional {
        partition.log.open_transaction(header.producer_id, base_offset);
    }
    base_offset
}

/// The one batch of a partition's data, checked by itself and copied out of the request's frame.
fn checked_batch(records: &Bytes, version: i16) -> Result<RawBatch, Rejected> {
    let magic = records.get(16).map(|magic| *magic as i8);
    if magic.is_some_and(|magic| magic != 2) {
        let why = format!(
            "Produce requests with version {version} are only allowed to contain record batches with magic version 2"
        );
        return Err(rejected(ErrorCode::InvalidRecord, why));
    }
    let mut whole = batches(records);
    let first = whole.next().ok_or_else(|| rejected(ErrorCode::CorruptMessage, "a batch that ends too early"))?;
    let first = first.map_err(|why| rejected(ErrorCode::CorruptMessage, why.to_string()))?;
    if !whole.remaining().is_empty() {
        let why = format!(
            "Produce requests with version {version} are only allowed to contain exactly one record batch per partition"
        );
        return Err(rejected(ErrorCode::InvalidRecord, why));
    }
    first.verify_crc().map_err(|why| rejected(ErrorCode::CorruptMessage, why.to_string()))?;
    let header = first.header();
    let compression = header
        .attributes
        .compression()
        .map_err(|why| rejected(ErrorCode::UnsupportedCompressionType, why.to_string()))?;
    if compression == Compression::Zstd && version < 7 {
        let why = format!("Produce requests with version {version} are not allowed to use ZStandard compression");
        return Err(rejected(ErrorCode::UnsupportedCompressionType, why));
    }
    check_header(header)?;
    let copy = Bytes::copy_from_slice(first.bytes());
    RawBatch::parse(&copy).map_err(|_| ErrorCode::CorruptMessage.into())
}

fn check_header(header: &BatchHeader) -> Result<(), Rejected> {
    let invalid = |why: String| Err(rejected(ErrorCode::InvalidRecord, why));
    if header.attributes.is_control() {
        return invalid("Clients are not allowed to write control records".into());
    }
    if header.record_count <= 0 || header.record_count - 1 != header.last_offset_delta {
        return invalid(format!(
            "{} records, but the last offset delta is {}",
            header.record_count, header.last_offset_delta
        ));
    }
    // No record is shorter than this; what a compressed batch holds is not looked at.
    let uncompressed = matches!(header.attributes.compression(), Ok(Compression::None));
    if uncompressed && (header.size() - HEADER_LEN) / MIN_RECORD < header.record_count as usize {
        return invalid(format!("{} records in {} bytes", header.record_count, header.size()));
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return invalid(format!("A producer id ({}) without an epoch or a sequence", header.producer_id));
    }
    if header.attributes.is_transactional() && header.producer_id < 0 {
        return invalid("A transactional batch without a producer id".into());
    }
    Ok(())
}

/// What the topic says, if this broker leads the partition.
fn rules(on: &Context, topic: &str, index: i32) -> Result<Rules, ErrorCode> {
    let mut state = on.state();
    let rules = state.rules(on.node, topic)?;
    state.led_partition(on.node, topic, index)?;
    Ok(rules)
}

/// Looks at each record, if the topic asks something of it. Of the bad ones as many are named as are `nameable`.
fn check_records(batch: &RawBatch, rules: &Rules, now: i64, nameable: &mut usize) -> Result<(), Rejected> {
    let times = now.saturating_sub(rules.timestamp_before_max_ms)..=now.saturating_add(rules.timestamp_after_max_ms);
    let dated = !rules.log_append_time
        && (batch.header().max_timestamp > *times.end() || rules.timestamp_before_max_ms != i64::MAX);
    if !rules.compacted && !dated {
        return Ok(());
    }
    let mut scratch = Decompressor::default();
    let corrupt = |why: crate::error::Error| rejected(ErrorCode::InvalidRecord, why.to_string());
    let records = open(batch.bytes(), &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).map_err(corrupt)?;
    let (mut first, mut count, mut named) = (None, 0, Vec::new());
    for (i, record) in (0..).zip(records) {
        let record = record.map_err(corrupt)?;
        let keyless = rules.compacted && record.key.is_none();
        let code = if keyless {
            ErrorCode::InvalidRecord
        } else if dated && record.timestamp != NO_TIMESTAMP && !times.contains(&record.timestamp) {
            ErrorCode::InvalidTimestamp
        } else {
            continue;
        };
        first.get_or_insert(code);
        count += 1;
        if *nameable > 0 {
            *nameable -= 1;
            named.push((
                i,
                match keyless {
                    true => "A record of a compacted topic needs a key.".to_owned(),
                    false => {
                        format!("Timestamp {} is not within {} and {}.", record.timestamp, times.start(), times.end())
                    }
                },
            ));
        }
    }
    // The first one's code is the batch's.
    let Some(code) = first else { return Ok(()) };
    let message = format!("{count} of {} records were rejected.", batch.header().record_count);
    Err(Rejected { message: Some(message), records: named, ..code.into() })
}

/// What a topic's configs say about a batch.
#[derive(Debug, Clone, Copy)]
struct Rules {
    max_message_bytes: usize,
    log_append_time: bool,
    timestamp_after_max_ms: i64,
    timestamp_before_max_ms: i64,
    min_insync_replicas: usize,
    compacted: bool,
}

impl State {
    fn rules(&self, node: NodeId, topic: &str) -> Result<Rules, ErrorCode> {
        let config = &self.topics.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?.config;
        Ok(Rules {
            max_message_bytes: config.max_message_bytes().unwrap_or_else(|| self.message_max_bytes(node)),
            log_append_time: config.is_log_append_time(),
            timestamp_after_max_ms: config.timestamp_after_max_ms(),
            timestamp_before_max_ms: config.timestamp_before_max_ms(),
            min_insync_replicas: config.min_insync_replicas(),
            compacted: config.is_compacted(),
        })
    }

    /// The topic that a request means, by name or, in the newer versions, by id.
    pub(super) fn wire_topic(&self, name: &str, id: TopicId, by_id: bool) -> Result<Arc<str>, ErrorCode> {
        if by_id { self.topic_name(id).ok_or(ErrorCode::UnknownTopicId) } else { Ok(name.into()) }
    }
}
