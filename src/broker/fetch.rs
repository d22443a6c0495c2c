// Fetch: v4-18.
//! Batches out, parked until there are `min_bytes` or the time is up.
//!
//! - The first batch of an answer is always whole, whatever the limits say (KIP-74); after it, batches that fit. No batch
//!   is cut unless the builder says so, though Apache cuts the last one where the limit falls.
//! - Sessions (v7, KIP-227) are refused politely: session id 0 says that every Fetch is a full one.
//! - v9 checks the leader epoch, v12 finds a diverging log, v13 names topics by id, v16 gives the new leader's address.

use super::Context;
use super::api::Api;
use super::log::Isolation;
use super::state::{Partition, State, Topic};
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use crate::wire::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

impl Api for FetchRequest {
    async fn serve(self, on: Context) -> FetchResponse {
        // Only a broken client can have a session with a broker that gives none.
        if self.session_id != 0 && self.session_epoch > 0 {
            return FetchResponse::default().with_error_code(ErrorCode::FetchSessionIdNotFound.to_wire());
        }
        let deadline = on.now() + Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0));
        let woken = Arc::new(Notify::new());
        loop {
            {
                let mut state = on.state();
                if on.now() >= deadline || is_ready(&mut state, &on, &self) {
                    let read = read(&mut state, &on, &self);
                    drop(state);
                    return read.into_response(&on, &self);
                }
                park(&mut state, &on, &self, &woken);
            }
            tokio::select! {
                () = woken.notified() => {}
                () = on.shared.clock.wait_until(Some(deadline)) => {}
            }
        }
    }

    fn names_topic(&self, wanted: &Topic) -> bool {
        self.topics.iter().any(|topic| wanted.is(&topic.topic, topic.topic_id))
    }

    fn throttle(response: &mut FetchResponse, millis: i32) {
        response.throttle_time_ms = millis;
    }

    fn refuse(&self, code: ErrorCode) -> FetchResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| failed(partition.partition, code));
            answered(topic, partitions.collect())
        });
        FetchResponse::default().with_responses(topics.collect())
    }
}

fn answered(topic: &FetchTopic, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

fn failed(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code.to_wire())
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}

/// The partition that is meant, if it can be read here under the epoch that the client knows.
fn find<'a>(
    state: &'a mut State,
    on: &Context,
    topic: &FetchTopic,
    wanted: &FetchPartition,
) -> Result<&'a mut Partition, ErrorCode> {
    let name = state.wire_topic(&topic.topic, TopicId(topic.topic_id.into_bytes()), on.version >= 13)?;
    let partition = state.led_partition(on.node, &name, wanted.partition)?;
    partition.check_epoch(wanted.current_leader_epoch)?;
    let readable = partition.log.start_offset()..=partition.log.end_offset();
    if diverged(partition, wanted).is_none() && !readable.contains(&wanted.fetch_offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok(partition)
}

/// Where the client's log and this one part, if they do (KIP-595): the client last read under an epoch that ended before
/// its offset.
fn diverged(partition: &Partition, wanted: &FetchPartition) -> Option<(i32, i64)> {
    if wanted.last_fetched_epoch < 0 {
        return None;
    }
    let end = partition.log.epoch_end(wanted.last_fetched_epoch, partition.leader_epoch)?;
    (end.0 < wanted.last_fetched_epoch || end.1 < wanted.fetch_offset).then_some(end)
}

/// Whether there is no reason to wait: enough bytes, or something to tell.
fn is_ready(state: &mut State, on: &Context, request: &FetchRequest) -> bool {
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut bytes = 0;
    for topic in &request.topics {
        for wanted in &topic.partitions {
            let Ok(partition) = find(state, on, topic, wanted) else { return true };
            if diverged(partition, wanted).is_some() {
                return true;
            }
            let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).max(1);
            bytes += partition.log.readable_bytes(wanted.fetch_offset, isolation, enough.max(1)).min(limit.max(enough));
        }
    }
    bytes >= enough || request.topics.is_empty()
}

fn park(state: &mut State, on: &Context, request: &FetchRequest, woken: &Arc<Notify>) {
    for topic in &request.topics {
        for wanted in &topic.partitions {
            if let Ok(partition) = find(state, on, topic, wanted) {
                partition.park(woken);
            }
        }
    }
}

/// What was read under the lock; the batches are put together outside of it.
#[derive(Debug, Default)]
struct Read {
    topics: Vec<Vec<(PartitionData, Vec<Bytes>)>>,
    moved: Vec<(NodeId, String, u16)>,
}

fn read(state: &mut State, on: &Context, request: &FetchRequest) -> Read {
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
    let mut first = true;
    let cut = state.settings.cut_batches;
    let mut read = Read::default();
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let partition = match find(state, on, topic, wanted) {
                Ok(partition) => partition,
                Err(code) => {
                    partitions.push((refused(state, on, topic, wanted, code, &mut read.moved), Vec::new()));
                    continue;
                }
            };
            let log = &partition.log;
            let data = PartitionData::default()
                .with_partition_index(wanted.partition)
                .with_high_watermark(log.high_watermark())
                .with_last_stable_offset(log.last_stable_offset())
                .with_log_start_offset(if on.version >= 5 { log.start_offset() } else { -1 });
            if let Some((epoch, end_offset)) = diverged(partition, wanted) {
                let diverging = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
                partitions.push((data.with_diverging_epoch(diverging), Vec::new()));
                continue;
            }
            let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
            let slice = log.read(wanted.fetch_offset, isolation, limit, first, cut);
            first &= slice.batches.is_empty();
            left = left.saturating_sub(slice.size);
            let aborted = match isolation {
                Isolation::Uncommitted => None,
                Isolation::Committed => {
                    let end = slice.last_offset.map_or(wanted.fetch_offset, |last| last + 1);
                    let aborted = log.aborted_between(wanted.fetch_offset, end).into_iter().map(|aborted| {
                        AbortedTransaction::default()
                            .with_producer_id(ProducerId(aborted.producer_id))
                            .with_first_offset(aborted.first_offset)
                    });
                    Some(aborted.collect())
                }
            };
            partitions.push((data.with_aborted_transactions(aborted), slice.batches));
        }
        read.topics.push(partitions);
    }
    read
}

/// A partition's error; where its leader has moved, with the new one (v12, its address in v16).
fn refused(
    state: &State,
    on: &Context,
    topic: &FetchTopic,
    wanted: &FetchPartition,
    code: ErrorCode,
    moved: &mut Vec<(NodeId, String, u16)>,
) -> PartitionData {
    let data = failed(wanted.partition, code);
    let moves = matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    if on.version < 12 || !moves {
        return data;
    }
    let name = state.wire_topic(&topic.topic, TopicId(topic.topic_id.into_bytes()), on.version >= 13);
    let partition = name.ok().and_then(|name| state.topics.get(&name)?.partitions.get(wanted.partition as usize));
    let Some((partition, leader)) = partition.and_then(|partition| Some((partition, partition.leader?))) else {
        return data;
    };
    if let Some(node) = state.nodes.get(&leader).filter(|_| !moved.iter().any(|(known, ..)| *known == leader)) {
        let (host, port) = node.endpoint.host_and_port();
        moved.push((leader, host.to_string(), port));
    }
    data.with_current_leader(
        LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(partition.leader_epoch),
    )
}

impl Read {
    fn into_response(self, on: &Context, request: &FetchRequest) -> FetchResponse {
        let topics = self.topics.into_iter().zip(&request.topics).map(|(partitions, topic)| {
            let partitions = partitions.into_iter().map(|(data, batches)| data.with_records(Some(joined(batches))));
            answered(topic, partitions.collect())
        });
        let endpoints = self.moved.into_iter().map(|(id, host, port)| {
            NodeEndpoint::default().with_node_id(BrokerId(id.0)).with_host(host.into()).with_port(i32::from(port))
        });
        let endpoints = if on.version >= 16 { endpoints.collect() } else { Vec::new() };
        FetchResponse::default().with_responses(topics.collect()).with_node_endpoints(endpoints)
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
