// ListOffsets: v1-10.
//! Offsets by time, on the exact record: the first one whose timestamp is not below the one asked for, in offset order.
//!
//! - -1 is the end (v2: the last stable offset for read_committed), -2 the start.
//! - v7: -3 is the record with the largest timestamp. v8: -4 is the earliest local offset, the start here. v9: -5 is the
//!   latest tiered one: nothing is tiered, so -1. A special timestamp that the version lacks is `UNSUPPORTED_VERSION`.
//! - A partition that is named twice is `INVALID_REQUEST`.

use super::Context;
use super::api::{Api, repeated};
use super::authorizer::{Operation, Resource};
use super::fetch_sessions::FetchSessions;
use super::log::{Isolation, Log, StoredBatch};
use super::state::{Partition, State, Topic};
use crate::error::ErrorCode;
use crate::record::DEFAULT_DECOMPRESSED_LIMIT;
use crate::record::compression::Decompressor;
use crate::record::decode::open;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

/// An offset, the timestamp of its record (-1 for the start and the end), and the epoch that it was written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl Api for ListOffsetsRequest {
    async fn serve(self, on: Context) -> ListOffsetsResponse {
        let each = self.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |wanted| place(topic, wanted)));
        let repeated = repeated(each);
        let mut state = on.state();
        let isolation = Isolation::from_wire(self.isolation_level);
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let twice = repeated.contains(&place(topic, wanted));
                match look_up(&mut state, &on, topic, wanted, twice, isolation) {
                    Ok(found) => ListOffsetsPartitionResponse::default()
                        .with_partition_index(wanted.partition_index)
                        .with_timestamp(found.timestamp)
                        .with_offset(found.offset)
                        .with_leader_epoch(if on.version >= 4 { found.leader_epoch } else { -1 }),
                    Err(code) => failed(wanted, code),
                }
            });
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn names_topic(&self, wanted: &Topic, _sessions: &FetchSessions) -> bool {
        self.topics.iter().any(|topic| *topic.name == *wanted.name)
    }

    fn refuse(&self, code: ErrorCode) -> ListOffsetsResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| failed(wanted, code));
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

fn failed(wanted: &ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index).with_error_code(code.to_wire())
}

fn place<'a>(topic: &'a ListOffsetsTopic, wanted: &ListOffsetsPartition) -> (&'a str, i32) {
    (&topic.name, wanted.partition_index)
}

fn look_up(
    state: &mut State,
    on: &Context,
    topic: &ListOffsetsTopic,
    wanted: &ListOffsetsPartition,
    twice: bool,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    on.may(state, Operation::Describe, Resource::Topic(&topic.name))?;
    if twice {
        return Err(ErrorCode::InvalidRequest);
    }
    if on.version < version_of(wanted.timestamp).ok_or(ErrorCode::UnsupportedVersion)? {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = state.led_in_epoch(on.node, &topic.name, wanted.partition_index, wanted.current_leader_epoch)?;
    Ok(match wanted.timestamp {
        -1 => at(partition, partition.log.readable_end(isolation)),
        -2 | -4 => at(partition, partition.log.start_offset()),
        -3 => newest(&partition.log),
        -5 => NOTHING,
        time => {
            let found = first_from(&partition.log, time);
            if found.offset < partition.log.readable_end(isolation) { found } else { NOTHING }
        }
    })
}

/// The first version in which a timestamp means something.
fn version_of(timestamp: i64) -> Option<i16> {
    match timestamp {
        -2.. => Some(1),
        -3 => Some(7),
        -4 => Some(8),
        -5 => Some(9),
        _ => None,
    }
}

fn at(partition: &Partition, offset: i64) -> Found {
    // An empty log has no epoch of its own yet: the leader's.
    let leader_epoch = partition.log.epoch_at(offset).unwrap_or(partition.leader_epoch);
    Found { offset, timestamp: -1, leader_epoch }
}

/// The first record from `time` on. Timestamps need not grow with the offsets, so no search by halves.
fn first_from(log: &Log, time: i64) -> Found {
    let start = log.start_offset();
    let batches = log.batches().filter(|batch| batch.max_timestamp >= time);
    batches
        .filter_map(|batch| record(batch, |offset, timestamp| offset >= start && timestamp >= time))
        .next()
        .unwrap_or(NOTHING)
}

/// The first of the records with the largest timestamp.
fn newest(log: &Log) -> Found {
    let start = log.start_offset();
    let written = log.batches().filter(|batch| !batch.is_empty());
    let Some(largest) = written.map(|batch| batch.max_timestamp).max() else { return NOTHING };
    let batches = log.batches().filter(|batch| batch.max_timestamp == largest);
    batches
        .filter_map(|batch| record(batch, |offset, timestamp| offset >= start && timestamp == largest))
        .next()
        .unwrap_or(NOTHING)
}

fn record(batch: &StoredBatch, wanted: impl Fn(i64, i64) -> bool) -> Option<Found> {
    let mut scratch = Decompressor::default();
    // What can't be opened was stored unread; readers will find that out for themselves.
    let records = open(&batch.bytes, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).ok()?;
    records.map_while(Result::ok).find(|record| wanted(record.offset, record.timestamp)).map(|record| Found {
        offset: record.offset,
        timestamp: record.timestamp,
        leader_epoch: batch.leader_epoch,
    })
}
