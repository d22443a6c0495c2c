//! The producers that a partition knows (KIP-664).

use super::partitions::{by_partition, by_topic};
use super::places::AtLeaders;
use super::{Admin, Outcomes, outcome};
use crate::error::Result;
use crate::ids::{ProducerIdAndEpoch, TopicPartition};
use crate::wire::messages::DescribeProducersRequest;
use crate::wire::messages::describe_producers_request::TopicRequest;
use crate::wire::messages::describe_producers_response::PartitionResponse;

/// A producer as a partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerState {
    /// Who it is.
    pub producer: ProducerIdAndEpoch,
    /// The number of its last record; -1 if there is none.
    pub last_sequence: i32,
    /// When its last batch or marker was written, in milliseconds since 1970.
    pub last_timestamp: Option<i64>,
    /// The epoch of the coordinator that wrote its last marker.
    pub coordinator_epoch: Option<i32>,
    /// Where the transaction that it has open here begins.
    pub transaction_start: Option<i64>,
}

impl Admin {
    /// The producers with a number of their own (idempotent or transactional) that have written to these partitions of late, as
    /// the leaders know them. One whose transaction has been open for longer than any may be hangs: see
    /// [`abort_transaction`](Self::abort_transaction). DescribeProducers (brokers from 2.8), one request per leader.
    ///
    /// # Errors
    /// Per partition: `UnknownTopicOrPartition`, `Denied` (Read on the topic), or no leader in time. For all:
    /// `UnsupportedVersion`.
    pub async fn describe_producers(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Outcomes<Vec<ProducerState>, TopicPartition>> {
        let partitions = partitions.into_iter().map(|partition| (partition, ())).collect();
        let ask = self.ask(AtLeaders, partitions);
        ask.send(
            |partitions, _| {
                let topics = by_topic(partitions.iter().map(|(partition, ())| (*partition, ())), |number, ()| number);
                let topics = topics.map(|(topic, partitions)| {
                    TopicRequest::default().with_name(topic).with_partition_indexes(partitions)
                });
                DescribeProducersRequest::default().with_topics(topics.collect())
            },
            |answer, _| {
                let topics = answer.topics.into_iter().map(|topic| (topic.name, topic.partitions));
                Ok(by_partition(topics, producers, |one| one.partition_index))
            },
        )
        .await
    }
}

fn producers(at: &TopicPartition, partition: PartitionResponse) -> Result<Vec<ProducerState>> {
    let told = outcome(partition.error_code, partition.error_message, None);
    told.map_err(|error| error.partition(at.clone()))?;
    let known = |number: i64| (number >= 0).then_some(number);
    let producers = partition.active_producers.iter().map(|one| ProducerState {
        producer: ProducerIdAndEpoch {
            id: one.producer_id.0,
            epoch: i16::try_from(one.producer_epoch).unwrap_or(-1), // 32 bits in this answer alone
        },
        last_sequence: one.last_sequence,
        last_timestamp: known(one.last_timestamp),
        coordinator_epoch: (one.coordinator_epoch >= 0).then_some(one.coordinator_epoch),
        transaction_start: known(one.current_txn_start_offset),
    });
    Ok(producers.collect())
}
