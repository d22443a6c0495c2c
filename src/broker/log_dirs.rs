// DescribeLogDirs: v1-4.
//! What each broker has, as if it lay on a disk: one directory, with every replica as large as its part of the log.
//!
//! - v3 has an error of its own, v4 tells how large the disk is and what of it is free (KIP-827). v5, which tells of
//!   directories that take no new replicas, is not served: the schema crate has not got it.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::Partition;
use crate::error::ErrorCode;
use crate::ids::NodeId;
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use std::collections::HashSet;

/// The size of each disk: 1 TiB.
const DISK: i64 = 1 << 40;

impl Api for DescribeLogDirsRequest {
    async fn serve(self, on: Context) -> DescribeLogDirsResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::Describe, Resource::Cluster) {
            let told = if on.version < 3 { 0 } else { code.to_wire() };
            return DescribeLogDirsResponse::default().with_error_code(told);
        }
        let own = |partition: &Partition| partition.replicas.contains(&on.node);
        let named: Option<HashSet<_>> = self.topics.as_ref().map(|topics| {
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (&**topic.topic, *index))).collect()
        });
        let wanted = |topic, index| named.as_ref().is_none_or(|named| named.contains(&(topic, index)));
        let used: i64 = {
            let all = state.topics.values().flat_map(|topic| &topic.partitions).filter(|partition| own(partition));
            all.map(|partition| size_at(partition, on.node)).sum()
        };
        let topics = state.topics.values().filter_map(|topic| {
            let partitions =
                (0..).zip(&topic.partitions).filter(|(index, partition)| own(partition) && wanted(&topic.name, *index));
            let partitions: Vec<_> =
                partitions.map(|(index, partition)| described(index, partition, on.node)).collect();
            let described = DescribeLogDirsTopic::default().with_name(TopicName(topic.name.to_string().into()));
            (!partitions.is_empty()).then(|| described.with_partitions(partitions))
        });
        let result = DescribeLogDirsResult::default()
            .with_log_dir(format!("/broker-{}", on.node).into())
            .with_topics(topics.collect());
        let sized = on.version >= 4;
        let result = if sized { result.with_total_bytes(DISK).with_usable_bytes((DISK - used).max(0)) } else { result };
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    fn refuse(&self, code: ErrorCode) -> DescribeLogDirsResponse {
        let result = DescribeLogDirsResult::default().with_error_code(code.to_wire());
        DescribeLogDirsResponse::default().with_results(vec![result])
    }
}

/// The bytes of the batches that this replica has.
fn size_at(partition: &Partition, node: NodeId) -> i64 {
    let end = partition.end_at(node);
    partition.log.batches().filter(|batch| batch.last_offset < end).map(|batch| batch.bytes.len() as i64).sum()
}

fn described(index: i32, partition: &Partition, node: NodeId) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(index)
        .with_partition_size(size_at(partition, node))
        .with_offset_lag((partition.log.high_watermark() - partition.end_at(node)).max(0))
}
