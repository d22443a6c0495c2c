//! Offsets of a consumer group that are committed with a transaction (KIP-98), in the name of the member that consumed
//! (KIP-447): a member that has lost its partitions can't commit them.

use super::Operation;
use crate::ids::{ConsumerGroupMetadata, LeaderEpoch, OffsetAndMetadata, ProducerIdAndEpoch, TopicPartition};
use crate::wire::StrBytes;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use crate::wire::messages::{
    AddOffsetsToTxnRequest, GroupId, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What to commit, and for whom.
#[derive(Debug, Clone)]
pub struct GroupOffsets {
    /// The group, and which of its members consumed.
    pub metadata: ConsumerGroupMetadata,
    /// The next record to read of each partition.
    pub offsets: HashMap<TopicPartition, OffsetAndMetadata>,
}

impl GroupOffsets {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}

/// One call, and what is left of it to do.
#[derive(Debug)]
pub(super) struct OffsetsToSend {
    pub(super) operation: Operation,
    metadata: ConsumerGroupMetadata,
    /// Without those that were answered.
    pub(super) left: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// The transaction coordinator knows of the group.
    pub(super) group_is_added: bool,
}

impl OffsetsToSend {
    pub(super) fn new(operation: Operation, offsets: GroupOffsets) -> Self {
        let GroupOffsets { metadata, offsets } = offsets;
        Self { operation, metadata, left: offsets.into_iter().collect(), group_is_added: false }
    }

    pub(super) fn group(&self) -> &Arc<str> {
        &self.metadata.group_id
    }

    pub(super) fn add_request(&self, id: TransactionalId, producer: ProducerIdAndEpoch) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(id)
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_group_id(GroupId(str_bytes(self.group())))
    }

    pub(super) fn commit_request(&self, id: TransactionalId, producer: ProducerIdAndEpoch) -> TxnOffsetCommitRequest {
        let mut topics: BTreeMap<&Arc<str>, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for (TopicPartition { topic, partition }, offset) in &self.left {
            let offset = TxnOffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(LeaderEpoch::to_wire(offset.leader_epoch))
                .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone())));
            topics.entry(topic).or_default().push(offset);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TxnOffsetCommitRequestTopic::default().with_name(TopicName(str_bytes(topic))).with_partitions(partitions)
        });
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id)
            .with_group_id(GroupId(str_bytes(self.group())))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_generation_id(self.metadata.generation.0)
            .with_member_id(str_bytes(&self.metadata.member_id))
            .with_group_instance_id(self.metadata.instance_id.as_deref().map(str_bytes))
            .with_topics(topics.collect())
    }
}
