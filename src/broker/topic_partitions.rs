// DescribeTopicPartitions: v0.
//! Topics described some partitions at a time (KIP-966): sorted by name, up to a limit, with a cursor to go on from.
//!
//! Nobody is ever an eligible leader outside of the in-sync replicas here: the last of those stays one.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::metadata::ids;
use super::state::{Partition, State, Topic, check_topic_name};
use crate::error::ErrorCode;
use crate::wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::wire::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use std::collections::BTreeSet;
use uuid::Uuid;

/// `max.request.partition.size.limit`.
const MAX_PARTITIONS: usize = 2000;

impl Api for DescribeTopicPartitionsRequest {
    async fn serve(self, on: Context) -> DescribeTopicPartitionsResponse {
        let state = on.state();
        let may_describe = |name: &str| on.may(&state, Operation::Describe, Resource::Topic(name));
        let all = self.topics.is_empty();
        let from = self.cursor.as_ref().map_or("", |cursor| &**cursor.topic_name);
        let names: BTreeSet<&str> = match all {
            true => state.topics.keys().map(|name| &**name).filter(|name| may_describe(name).is_ok()).collect(),
            false => self.topics.iter().map(|topic| &**topic.name).collect(),
        };
        if let Some(cursor) = &self.cursor
            && (cursor.partition_index < 0 || !all && !names.contains(from))
        {
            return self.refuse(ErrorCode::InvalidRequest);
        }
        let mut left = usize::try_from(self.response_partition_limit).unwrap_or(0).clamp(1, MAX_PARTITIONS);
        let mut response = DescribeTopicPartitionsResponse::default().with_next_cursor(None);
        for name in names.range(from..) {
            let next = |partition| {
                Cursor::default().with_topic_name(TopicName((*name).to_owned().into())).with_partition_index(partition)
            };
            if left == 0 {
                return response.with_next_cursor(Some(next(0)));
            }
            if let Err(code) = may_describe(name) {
                response.topics.push(failed(name, code));
                continue;
            }
            let Some(topic) = state.topics.get(*name) else {
                let code = if check_topic_name(name).is_ok() {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    ErrorCode::InvalidTopicException
                };
                response.topics.push(failed(name, code));
                continue;
            };
            let cursor = self.cursor.as_ref().filter(|_| **name == *from);
            let first = cursor.map_or(0, |cursor| cursor.partition_index as usize);
            let described = described(&state, topic, first, left)
                .with_topic_authorized_operations(on.operations(&state, Resource::Topic(name)));
            let (shown, count) = (described.partitions.len(), topic.partitions.len());
            response.topics.push(described);
            let end = first + shown;
            if end < count {
                return response.with_next_cursor(Some(next(end as i32)));
            }
            left -= shown;
        }
        response
    }

    fn refuse(&self, code: ErrorCode) -> DescribeTopicPartitionsResponse {
        let topics = self.topics.iter().map(|topic| failed(&topic.name, code));
        DescribeTopicPartitionsResponse::default().with_next_cursor(None).with_topics(topics.collect())
    }
}

fn failed(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(name.to_owned().into())))
        .with_error_code(code.to_wire())
}

/// The topic with `count` of its partitions at most, from `first` on.
fn described(state: &State, topic: &Topic, first: usize, count: usize) -> DescribeTopicPartitionsResponseTopic {
    let partitions = (0..).zip(&topic.partitions).skip(first).take(count);
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(topic.name.to_string().into())))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_partitions(partitions.map(|(index, partition)| described_partition(state, index, partition)).collect())
}

fn described_partition(state: &State, index: i32, partition: &Partition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader.map_or(-1, |node| node.0)))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(ids(&state.offline(partition)))
}
