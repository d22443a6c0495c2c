// Fetch: v4-18.
//! Batches out, parked until there are `min_bytes` or the time is up.
//!
//! - The first batch of an answer is always whole, whatever the limits say (KIP-74); after it, batches that fit. No batch
//!   is cut unless the builder says so, though Apache cuts the last one where the limit falls.
//! - v7 has sessions (KIP-227): see `fetch_sessions`.
//! - v9 checks the leader epoch, v11 lets followers be read and sends a consumer to the one in its rack (KIP-392), v12
//!   finds a diverging log, v13 names topics by id, v16 gives the new leader and its address (KIP-951).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::fetch_sessions::{Claim, FetchSessions, Kind, Plan, Wanted};
use super::log::Isolation;
use super::quotas::Direction;
use super::state::{Partition, State, Topic};
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::wire::StrBytes;
use crate::wire::messages::fetch_request::FetchPartition;
use crate::wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use crate::wire::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

/// From here on followers are read too.
const FIRST_WITH_RACKS: i16 = 11;

/// From here on topics go by id.
const FIRST_BY_ID: i16 = 13;

/// `fetch.max.bytes` of the broker: no answer is asked to be larger.
const MAX_BYTES: i32 = 55 << 20;

impl Api for FetchRequest {
    async fn serve(self, on: Context) -> FetchResponse {
        let plan = match begin(&mut on.state(), &on, &self) {
            Ok(plan) => plan,
            Err(code) => return session_refused(code, 0),
        };
        let deadline = on.now() + Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let woken = Arc::new(Notify::new());
        loop {
            {
                let mut state = on.state();
                if on.now() >= deadline || is_ready(&mut state, &on, &self, &plan.partitions) {
                    let read = read(&mut state, &on, &self, plan);
                    drop(state);
                    return read
                        .map_or_else(|(code, session)| session_refused(code, session), |read| read.into_response(&on));
                }
                park(&mut state, &on, &plan.partitions, &woken);
            }
            tokio::select! {
                () = woken.notified() => {}
                () = on.shared.clock.wait_until(Some(deadline)) => {}
            }
        }
    }

    fn names_topic(&self, wanted: &Topic, sessions: &FetchSessions) -> bool {
        self.topics.iter().any(|topic| wanted.is(&topic.topic, topic.topic_id))
            || sessions.names(self.session_id, wanted.id, &wanted.name)
    }

    /// A code about the session is the whole answer's; another one befalls what the session reads, whose epoch goes on.
    fn refuse_on(&self, on: &Context, code: ErrorCode) -> FetchResponse {
        use ErrorCode::{FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch};
        if matches!(code, FetchSessionIdNotFound | InvalidFetchSessionEpoch | FetchSessionTopicIdError) {
            return session_refused(code, 0);
        }
        let mut state = on.state();
        let plan = match begin(&mut state, on, self) {
            Ok(plan) if matches!(plan.kind, Kind::Incremental { .. }) => plan,
            Ok(_) => return self.refuse(code),
            Err(code) => return session_refused(code, 0),
        };
        let answers = plan.partitions.into_iter().map(|wanted| {
            let data = failed(wanted.partition.partition, code);
            Answered { wanted, data, batches: Vec::new() }
        });
        let answers = answers.collect();
        match finish(&mut state, on, plan.kind, answers) {
            Ok(read) => read.into_response(on),
            Err((code, session)) => session_refused(code, session),
        }
    }

    fn refuse(&self, code: ErrorCode) -> FetchResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| failed(partition.partition, code));
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        });
        FetchResponse::default().with_responses(topics.collect())
    }
}

fn session_refused(code: ErrorCode, session: i32) -> FetchResponse {
    FetchResponse::default().with_error_code(code.to_wire()).with_session_id(session)
}

/// What the request comes to, with what its session remembers.
fn begin(state: &mut State, on: &Context, request: &FetchRequest) -> Result<Plan, ErrorCode> {
    let by_id = on.version >= FIRST_BY_ID;
    let (now, names) = (on.now(), &state.names);
    let node = state.nodes.get_mut(&on.node).ok_or(ErrorCode::FetchSessionIdNotFound)?;
    let wanted = request.topics.iter().flat_map(|topic| {
        let id = TopicId(topic.topic_id.into_bytes());
        let name = if by_id { names.get(&id).cloned() } else { Some(Arc::from(&**topic.topic)) };
        topic.partitions.iter().map(move |partition| Wanted { id, name: name.clone(), partition: partition.clone() })
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let (id, name) = (TopicId(topic.topic_id.into_bytes()), Arc::from(&**topic.topic));
        topic.partitions.iter().map(move |partition| (id, Arc::clone(&name), *partition))
    });
    let claim = Claim { session: request.session_id, epoch: request.session_epoch, by_id };
    let (wanted, forgotten) = (wanted.collect(), forgotten.collect::<Vec<_>>());
    node.sessions.begin(now, claim, wanted, &forgotten, |id| names.get(&id).cloned())
}

/// Not found before a log was looked for.
fn is_unknown(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
}

fn failed(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code.to_wire())
        .with_high_watermark(-1)
        .with_aborted_transactions(is_unknown(code).then(Vec::new))
        .with_records(Some(Bytes::new()))
}

/// The partition that is meant, if it can be read here under the epoch that the client knows: from v11 on any replica will do.
fn find<'a>(state: &'a mut State, on: &Context, wanted: &Wanted) -> Result<&'a mut Partition, ErrorCode> {
    let FetchPartition { partition, current_leader_epoch, fetch_offset, .. } = wanted.partition;
    let name = wanted.name.as_ref().ok_or(ErrorCode::UnknownTopicId)?;
    on.may(state, Operation::Read, Resource::Topic(name))?;
    let topic = state.topics.get_mut(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    // Of the same name, but deleted and made anew since the session knows it.
    if !wanted.id.is_zero() && wanted.id != topic.id {
        return Err(ErrorCode::InconsistentTopicId);
    }
    let partition = match on.version >= FIRST_WITH_RACKS {
        true => state.replica(on.node, name, partition, current_leader_epoch)?,
        false => state.led_in_epoch(on.node, name, partition, current_leader_epoch)?,
    };
    let readable = partition.log.start_offset()..=partition.end_at(on.node);
    let below = fetch_offset < *readable.start();
    if below || diverged(partition, &wanted.partition)?.is_none() && !readable.contains(&fetch_offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok(partition)
}

/// Where the client's log and this one part, if they do (KIP-595): the client last read under an epoch that ended before
/// its offset. Where that can't be told the offset is out of range.
fn diverged(partition: &Partition, wanted: &FetchPartition) -> Result<Option<(i32, i64)>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let end = partition.log.epoch_end(wanted.last_fetched_epoch, partition.leader_epoch);
    let end = end.ok_or(ErrorCode::OffsetOutOfRange)?;
    Ok((end.0 < wanted.last_fetched_epoch || end.1 < wanted.fetch_offset).then_some(end))
}

/// How many bytes the answer has, but for a first batch that is larger.
fn most(state: &State, on: &Context, request: &FetchRequest) -> usize {
    usize::try_from(request.max_bytes.min(MAX_BYTES)).unwrap_or(0).min(on.fetchable(state))
}

/// Whether there is no reason to wait: enough bytes, or something to tell.
fn is_ready(state: &mut State, on: &Context, request: &FetchRequest, partitions: &[Wanted]) -> bool {
    let enough = usize::try_from(request.min_bytes).unwrap_or(0).min(most(state, on, request));
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut bytes = 0;
    for wanted in partitions {
        if preferred(state, on, &request.rack_id, wanted).is_some() {
            return true;
        }
        let Ok(partition) = find(state, on, wanted) else { return true };
        if !matches!(diverged(partition, &wanted.partition), Ok(None)) {
            return true;
        }
        let limit = usize::try_from(wanted.partition.partition_max_bytes).unwrap_or(0).max(1);
        let end = partition.log.readable_end(isolation).min(partition.end_at(on.node));
        let readable = partition.log.readable_bytes(wanted.partition.fetch_offset, end, enough.max(1));
        bytes += readable.min(limit.max(enough));
    }
    bytes >= enough || partitions.is_empty()
}

/// The replica that the leader sends this consumer to: in sync, in its rack, and as far as it is. Nobody, where the leader is in
/// its rack itself.
fn preferred(state: &State, on: &Context, rack: &str, wanted: &Wanted) -> Option<NodeId> {
    if on.version < FIRST_WITH_RACKS || rack.is_empty() {
        return None;
    }
    let partition = state.partition(wanted.name.as_ref()?, wanted.partition.partition)?;
    let is_there = |node: &NodeId| state.nodes.get(node).is_some_and(|node| node.rack.as_deref() == Some(rack));
    if partition.leader != Some(on.node) || is_there(&on.node) {
        return None;
    }
    let has = |node: &NodeId| {
        (partition.log.start_offset()..=partition.end_at(*node)).contains(&wanted.partition.fetch_offset)
    };
    let in_sync = partition.isr.iter().filter(|node| **node != on.node && state.is_alive(**node));
    in_sync.filter(|node| is_there(node) && has(node)).max().copied()
}

fn park(state: &mut State, on: &Context, partitions: &[Wanted], woken: &Arc<Notify>) {
    for wanted in partitions {
        if let Ok(partition) = find(state, on, wanted) {
            partition.park(woken);
        }
    }
}

/// What was read of one partition under the lock; the batches are put together outside of it.
#[derive(Debug)]
struct Answered {
    wanted: Wanted,
    data: PartitionData,
    batches: Vec<Bytes>,
}

#[derive(Debug)]
struct Read {
    session: i32,
    answers: Vec<Answered>,
    moved: Vec<NodeEndpoint>,
    /// Over the quota, for so long: nothing is told.
    throttle: Duration,
}

fn read(state: &mut State, on: &Context, request: &FetchRequest, plan: Plan) -> Result<Read, (ErrorCode, i32)> {
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut left = most(state, on, request);
    let mut size = 0;
    let mut first = true;
    let cut = state.settings.cut_batches;
    let mut answers = Vec::with_capacity(plan.partitions.len());
    for wanted in plan.partitions {
        let preferred = preferred(state, on, &request.rack_id, &wanted);
        let partition = match find(state, on, &wanted) {
            Ok(partition) => partition,
            Err(code) => {
                let data = refused(state, on, &wanted, code);
                answers.push(Answered { wanted, data, batches: Vec::new() });
                continue;
            }
        };
        let log = &partition.log;
        let end = partition.end_at(on.node);
        let data = PartitionData::default()
            .with_partition_index(wanted.partition.partition)
            .with_high_watermark(log.high_watermark().min(end))
            .with_last_stable_offset(log.last_stable_offset().min(end))
            .with_log_start_offset(if on.version >= 5 { log.start_offset() } else { -1 });
        if let Ok(Some((epoch, end_offset))) = diverged(partition, &wanted.partition) {
            let diverging = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
            let data = data.with_diverging_epoch(diverging).with_aborted_transactions(None);
            answers.push(Answered { wanted, data, batches: Vec::new() });
            continue;
        }
        if let Some(preferred) = preferred {
            let data = data.with_preferred_read_replica(BrokerId(preferred.0)).with_aborted_transactions(None);
            answers.push(Answered { wanted, data, batches: Vec::new() });
            continue;
        }
        let limit = usize::try_from(wanted.partition.partition_max_bytes).unwrap_or(0).min(left);
        let offset = wanted.partition.fetch_offset;
        let slice = log.read(offset, log.readable_end(isolation).min(end), limit, first, cut);
        first &= slice.batches.is_empty();
        left = left.saturating_sub(slice.size);
        size += slice.size;
        let aborted = match isolation {
            Isolation::Uncommitted => None,
            Isolation::Committed => {
                let end = slice.last_offset.map_or(offset, |last| last + 1);
                let mut aborted = log.aborted_between(offset, end);
                if on.shared.emulation.lists_newest_aborted_first() {
                    aborted.reverse();
                }
                let aborted = aborted.into_iter().map(|aborted| {
                    AbortedTransaction::default()
                        .with_producer_id(ProducerId(aborted.producer_id))
                        .with_first_offset(aborted.first_offset)
                });
                Some(aborted.collect())
            }
        };
        answers.push(Answered { wanted, data: data.with_aborted_transactions(aborted), batches: slice.batches });
    }
    let throttle = on.counted(state, Direction::Fetch, size);
    if !throttle.is_zero() {
        let session = if let Kind::Incremental { session, .. } = plan.kind { session } else { 0 };
        return Ok(Read { session, answers: Vec::new(), moved: Vec::new(), throttle });
    }
    // Apache tells of these last.
    answers.sort_by_key(|answer| ErrorCode::from_wire(answer.data.error_code).is_some_and(is_unknown));
    finish(state, on, plan.kind, answers)
}

/// What of it is told, to which session.
fn finish(state: &mut State, on: &Context, kind: Kind, mut answers: Vec<Answered>) -> Result<Read, (ErrorCode, i32)> {
    let gone = (ErrorCode::FetchSessionIdNotFound, 0);
    let sessions = &mut state.nodes.get_mut(&on.node).ok_or(gone)?.sessions;
    let session = match kind {
        Kind::Sessionless => 0,
        Kind::Full => {
            let answered = answers.iter().map(|answer| (answer.wanted.clone(), &answer.data));
            sessions.open(on.now(), on.version >= FIRST_BY_ID, answered)
        }
        Kind::Incremental { session, epoch } => {
            let news = sessions.news((session, epoch), &mut answers, |answer: &Answered| {
                (&answer.wanted, &answer.data, !answer.batches.is_empty())
            });
            news.map_err(|code| (code, session))?;
            session
        }
    };
    let moved = if on.version >= 16 { successors(state, &answers) } else { Vec::new() };
    Ok(Read { session, answers, moved, throttle: Duration::ZERO })
}

/// A partition's error; where its leader has moved, with the new one (v16).
fn refused(state: &State, on: &Context, wanted: &Wanted, code: ErrorCode) -> PartitionData {
    let index = wanted.partition.partition;
    let data = failed(index, code);
    let moves = matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    if on.version < 16 || !moves {
        return data;
    }
    let partition = wanted.name.as_ref().and_then(|name| state.partition(name, index));
    let Some((partition, leader)) = partition.and_then(|partition| Some((partition, partition.leader?))) else {
        return data;
    };
    data.with_current_leader(
        LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(partition.leader_epoch),
    )
}

/// Where the leaders named in the answers can be reached.
fn successors(state: &State, answers: &[Answered]) -> Vec<NodeEndpoint> {
    let leaders = answers.iter().map(|answer| NodeId(answer.data.current_leader.leader_id.0)).collect();
    let endpoints = state.addresses(leaders).map(|(id, (host, port, rack))| {
        NodeEndpoint::default().with_node_id(id).with_host(host).with_port(port).with_rack(rack)
    });
    endpoints.collect()
}

impl Read {
    /// Partitions of one topic that follow each other share its entry.
    fn into_response(self, on: &Context) -> FetchResponse {
        let by_id = on.version >= FIRST_BY_ID;
        let mut topics: Vec<FetchableTopicResponse> = Vec::new();
        let mut last: Option<(TopicId, Option<Arc<str>>)> = None;
        for Answered { wanted, data, batches } in self.answers {
            let topic = (wanted.id, wanted.name.filter(|_| !by_id));
            if last.as_ref() != Some(&topic) {
                let name = topic.1.as_deref().unwrap_or_default();
                let response = FetchableTopicResponse::default()
                    .with_topic(TopicName(StrBytes::from(name.to_owned())))
                    .with_topic_id(Uuid::from_bytes(wanted.id.0));
                topics.push(response);
                last = Some(topic);
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(data.with_records(Some(joined(batches))));
            }
        }
        FetchResponse::default()
            .with_session_id(self.session)
            .with_responses(topics)
            .with_node_endpoints(self.moved)
            .with_throttle_time_ms(i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX))
    }
}

fn joined(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() <= 1 {
        return batches.pop().unwrap_or_default();
    }
    let mut out = BytesMut::with_capacity(batches.iter().map(Bytes::len).sum());
    batches.iter().for_each(|batch| out.extend_from_slice(batch));
    out.freeze()
}
