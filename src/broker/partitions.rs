// DeleteRecords: v0-2. OffsetForLeaderEpoch: v2-4.
//! What is asked of a partition's leader besides records.
//!
//! - DeleteRecords: -1 is the high watermark. What lies before the offset can't be read any more. A topic that is only
//!   compacted refuses (`POLICY_VIOLATION`).
//! - OffsetForLeaderEpoch: where an epoch ended, for a reader that checks whether its position was cut off (KIP-320).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use crate::error::ErrorCode;
use crate::wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::wire::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

impl Api for DeleteRecordsRequest {
    async fn serve(self, on: Context) -> DeleteRecordsResponse {
        deleted(&self, |topic, index, offset| {
            let mut state = on.state();
            on.may(&state, Operation::Delete, Resource::Topic(topic))?;
            let deletes = state.topics.get(topic).is_some_and(|topic| topic.config.deletes());
            let partition = state.led_partition(on.node, topic, index)?;
            if !deletes {
                return Err(ErrorCode::PolicyViolation);
            }
            let offset = if offset == -1 { partition.log.high_watermark() } else { offset };
            if offset < 0 || offset > partition.log.high_watermark() {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            partition.log.delete_before(offset);
            partition.wake(); // a parked fetch below the new start has to learn of it
            Ok(partition.log.start_offset())
        })
    }

    fn refuse(&self, code: ErrorCode) -> DeleteRecordsResponse {
        deleted(self, |_, _, _| Err(code))
    }
}

fn deleted(
    request: &DeleteRecordsRequest,
    delete: impl Fn(&str, i32, i64) -> Result<i64, ErrorCode>,
) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
            match delete(&topic.name, wanted.partition_index, wanted.offset) {
                Ok(low_watermark) => result.with_low_watermark(low_watermark),
                Err(code) => result.with_low_watermark(-1).with_error_code(code.to_wire()),
            }
        });
        DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

impl Api for OffsetForLeaderEpochRequest {
    async fn serve(self, on: Context) -> OffsetForLeaderEpochResponse {
        ended(&self, |topic, index, current, epoch| {
            let mut state = on.state();
            // Followers ask too.
            on.may(&state, Operation::ClusterAction, Resource::Cluster)
                .or_else(|_| on.may(&state, Operation::Describe, Resource::Topic(topic)))?;
            let partition = state.led_in_epoch(on.node, topic, index, current)?;
            Ok(partition.log.epoch_end(epoch, partition.leader_epoch).unwrap_or((-1, -1)))
        })
    }

    fn refuse(&self, code: ErrorCode) -> OffsetForLeaderEpochResponse {
        ended(self, |_, _, _, _| Err(code))
    }
}

fn ended(
    request: &OffsetForLeaderEpochRequest,
    end: impl Fn(&str, i32, i32, i32) -> Result<(i32, i64), ErrorCode>,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let result = EpochEndOffset::default().with_partition(wanted.partition);
            match end(&topic.topic, wanted.partition, wanted.current_leader_epoch, wanted.leader_epoch) {
                Ok((epoch, offset)) => result.with_leader_epoch(epoch).with_end_offset(offset),
                Err(code) => result.with_leader_epoch(-1).with_end_offset(-1).with_error_code(code.to_wire()),
            }
        });
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
