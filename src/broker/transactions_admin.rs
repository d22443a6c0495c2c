// WriteTxnMarkers: v1. DescribeProducers: v0. DescribeTransactions: v0. ListTransactions: v0-2.
//! Who is in a transaction, and how a hanging one is ended (KIP-664): one that is open in a partition and that its
//! coordinator knows nothing of, so that nobody will ever write its marker.
//!
//! - ListTransactions and DescribeTransactions ask coordinators. ListTransactions v1 filters by how long a transaction has
//!   been open, v2 by a regular expression over the transactional ids (KIP-1152).
//! - DescribeProducers asks any replica what its log knows of the producers.
//! - WriteTxnMarkers tells a leader to write a marker. It is the coordinators' own request; an admin client sends it to abort
//!   a hanging transaction. v2, which says the transaction's version, is not served: the schema crate has not got it.

use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::coordinator::TRANSACTION;
use super::producers::write_marker;
use super::state::Partition;
use super::transactions::Transaction;
use super::{Context, TestCluster};
use crate::error::ErrorCode;
use crate::ids::ProducerIdAndEpoch;
use crate::topic_regex::TopicRegex;
use crate::wire::StrBytes;
use crate::wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use crate::wire::messages::describe_transactions_response::{self as describe, TopicData};
use crate::wire::messages::list_transactions_response as list;
use crate::wire::messages::write_txn_markers_request::WritableTxnMarker;
use crate::wire::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use crate::wire::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};
use std::collections::BTreeMap;

/// Every state in Kafka's names: a filter may name one that no transaction of ours is ever in.
const STATES: [&str; 8] = [
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Empty",
    "PrepareEpochFence",
    "Dead",
];

impl Api for ListTransactionsRequest {
    async fn serve(self, on: Context) -> ListTransactionsResponse {
        let state = on.state();
        let pattern = match self.transactional_id_pattern.as_ref().filter(|pattern| !pattern.is_empty()) {
            Some(pattern) => match TopicRegex::new(pattern) {
                Ok(regex) => Some(regex),
                Err(_) => return self.refuse(ErrorCode::InvalidRegularExpression),
            },
            None => None,
        };
        let unknown = self.state_filters.iter().filter(|name| !STATES.contains(&&***name)).cloned().collect();
        let wanted = |id: &str, known: &Transaction| {
            let open_for = known.started.map_or(i64::MAX, |started| on.unix_millis() - started);
            on.coordinates(&state, TRANSACTION, id).is_ok()
                && on.may(&state, Operation::Describe, Resource::TransactionalId(id)).is_ok()
                && (self.producer_id_filters.is_empty()
                    || self.producer_id_filters.contains(&ProducerId(known.producer.id)))
                && (self.state_filters.is_empty()
                    || self.state_filters.iter().any(|name| **name == *known.phase.name()))
                && (self.duration_filter < 0 || open_for > self.duration_filter)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        };
        let listed = state.transactions.iter().filter(|(id, known)| wanted(id, known)).map(|(id, known)| {
            list::TransactionState::default()
                .with_transactional_id(TransactionalId(id.to_string().into()))
                .with_producer_id(ProducerId(known.producer.id))
                .with_transaction_state(StrBytes::from_static_str(known.phase.name()))
        });
        ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(listed.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ListTransactionsResponse {
        ListTransactionsResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for DescribeTransactionsRequest {
    async fn serve(self, on: Context) -> DescribeTransactionsResponse {
        let state = on.state();
        let states = self.transactional_ids.iter().map(|id| {
            let known = match id.is_empty() {
                true => Err(ErrorCode::InvalidRequest),
                false => on.may(&state, Operation::Describe, Resource::TransactionalId(id)),
            };
            let known = known.and_then(|()| on.coordinates(&state, TRANSACTION, id));
            let known = known.and_then(|()| state.transactions.get(&***id).ok_or(ErrorCode::TransactionalIdNotFound));
            let may_see = |topic: &str| on.may(&state, Operation::Describe, Resource::Topic(topic)).is_ok();
            known.map_or_else(|code| not_described(id, code), |known| described(id, known, may_see))
        });
        DescribeTransactionsResponse::default().with_transaction_states(states.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeTransactionsResponse {
        let states = self.transactional_ids.iter().map(|id| not_described(id, code));
        DescribeTransactionsResponse::default().with_transaction_states(states.collect())
    }
}

fn not_described(id: &TransactionalId, code: ErrorCode) -> describe::TransactionState {
    describe::TransactionState::default().with_transactional_id(id.clone()).with_error_code(code.to_wire())
}

fn described(id: &TransactionalId, known: &Transaction, may_see: impl Fn(&str) -> bool) -> describe::TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in known.partitions.iter().filter(|(topic, _)| may_see(topic)) {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicData::default().with_topic(TopicName(topic.to_owned().into())).with_partitions(partitions)
    });
    describe::TransactionState::default()
        .with_transactional_id(id.clone())
        .with_transaction_state(StrBytes::from_static_str(known.phase.name()))
        .with_transaction_timeout_ms(i32::try_from(known.timeout.as_millis()).unwrap_or(i32::MAX))
        .with_transaction_start_time_ms(known.started.unwrap_or(-1))
        .with_producer_id(ProducerId(known.producer.id))
        .with_producer_epoch(known.producer.epoch)
        .with_topics(topics.collect())
}

impl Api for DescribeProducersRequest {
    async fn serve(self, on: Context) -> DescribeProducersResponse {
        let mut state = on.state();
        producers(&self, |topic, index| {
            on.may(&state, Operation::Read, Resource::Topic(topic))?;
            Ok(active(state.replica(on.node, topic, index, -1)?))
        })
    }

    fn refuse(&self, code: ErrorCode) -> DescribeProducersResponse {
        producers(self, |_, _| Err(code))
    }
}

fn producers(
    request: &DescribeProducersRequest,
    mut active: impl FnMut(&str, i32) -> Result<Vec<ProducerState>, ErrorCode>,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let answer = PartitionResponse::default().with_partition_index(*index).with_error_message(None);
            match active(&topic.name, *index) {
                Ok(producers) => answer.with_active_producers(producers),
                Err(code) => answer.with_error_code(code.to_wire()),
            }
        });
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

/// The producers that a partition remembers, by their ids.
fn active(partition: &Partition) -> Vec<ProducerState> {
    let log = &partition.log;
    let known: BTreeMap<_, _> = log.producers.iter().collect();
    let each = known.into_iter().map(|(id, known)| {
        ProducerState::default()
            .with_producer_id(ProducerId(*id))
            .with_producer_epoch(i32::from(known.epoch))
            .with_last_sequence(known.last_sequence().unwrap_or(-1))
            .with_last_timestamp(known.last_timestamp)
            .with_coordinator_epoch(known.coordinator_epoch.unwrap_or(-1))
            .with_current_txn_start_offset(log.open_since(*id).unwrap_or(-1))
    });
    each.collect()
}

impl Api for WriteTxnMarkersRequest {
    async fn serve(self, on: Context) -> WriteTxnMarkersResponse {
        let mut state = on.state();
        let may = |operation| on.may(&state, operation, Resource::Cluster);
        if let Err(code) = may(Operation::Alter).or_else(|_| may(Operation::ClusterAction)) {
            return self.refuse(code);
        }
        marked(&self, |marker, topic, index| {
            let partition = state.partition_mut(topic, index).filter(|partition| partition.replicas.contains(&on.node));
            let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            if partition.leader != Some(on.node) {
                return Err(ErrorCode::NotLeaderOrFollower);
            }
            let known = partition.log.producers.get(&marker.producer_id.0);
            if known.is_some_and(|known| marker.producer_epoch < known.epoch) {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if known.and_then(|known| known.coordinator_epoch).is_some_and(|last| marker.coordinator_epoch < last) {
                return Err(ErrorCode::TransactionCoordinatorFenced);
            }
            let producer = ProducerIdAndEpoch { id: marker.producer_id.0, epoch: marker.producer_epoch };
            let (commit, epoch) = (marker.transaction_result, marker.coordinator_epoch);
            write_marker(partition, producer, commit, epoch, on.unix_millis())
                .map_err(|_| ErrorCode::UnknownServerError)
        })
    }

    fn refuse(&self, code: ErrorCode) -> WriteTxnMarkersResponse {
        marked(self, |_, _, _| Err(code))
    }
}

fn marked(
    request: &WriteTxnMarkersRequest,
    mut mark: impl FnMut(&WritableTxnMarker, &str, i32) -> Result<(), ErrorCode>,
) -> WriteTxnMarkersResponse {
    let markers = request.markers.iter().map(|marker| {
        let topics = marker.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(mark(marker, &topic.name, *index).err().map_or(0, ErrorCode::to_wire))
            });
            WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics.collect())
    });
    WriteTxnMarkersResponse::default().with_markers(markers.collect())
}

impl TestCluster {
    /// Makes its coordinator forget a transactional id. What it has open stays so: a hanging transaction (KIP-664), behind
    /// which nothing committed is read until an admin client aborts it.
    ///
    /// # Panics
    /// If nobody has this transactional id: the test is wrong.
    pub fn forget_transaction(&self, transactional_id: &str) {
        let known = self.shared.state().transactions.remove(transactional_id).is_some();
        assert!(known, "no transactional id {transactional_id} in the test cluster");
    }
}
