//! Transactions: which there are, and the end of those that hang (KIP-664).

use super::ask::Doing;
use super::partitions::{by_partition, name, names};
use super::places::{AtCoordinators, AtEachBroker, AtLeaders};
use super::producers::ProducerState;
use super::{Admin, Outcomes, outcome, text};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{NodeId, ProducerIdAndEpoch, TopicPartition};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::describe_transactions_response::TransactionState;
use crate::wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::wire::messages::{
    DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest, ProducerId, TransactionalId,
    WriteTxnMarkersRequest,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Which transactions to list; all, if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    states: Vec<String>,
    producer_ids: Vec<i64>,
    longer_than: Option<Duration>,
    pattern: Option<String>,
}

impl TransactionFilter {
    /// Only those in one of these states, in Kafka's words: `Ongoing`, `PrepareCommit`, `PrepareAbort`, `CompleteCommit`,
    /// `CompleteAbort`, `Empty`, `Dead`.
    pub fn states(mut self, states: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.states.extend(states.into_iter().map(Into::into));
        self
    }

    /// Only those of these producers.
    pub fn producer_ids(mut self, ids: impl IntoIterator<Item = i64>) -> Self {
        self.producer_ids.extend(ids);
        self
    }

    /// Only those that have gone on for longer than this (KIP-994, brokers from 3.8).
    pub fn longer_than(self, duration: Duration) -> Self {
        Self { longer_than: Some(duration), ..self }
    }

    /// Only those whose ids match this regular expression of RE2/J, from beginning to end (KIP-1152, brokers from 4.1).
    pub fn pattern(self, pattern: impl Into<String>) -> Self {
        Self { pattern: Some(pattern.into()), ..self }
    }
}

/// A transaction in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TransactionListing {
    /// `transactional.id`.
    pub transactional_id: String,
    /// Its producer.
    pub producer_id: i64,
    /// In Kafka's words.
    pub state: String,
}

/// A transactional id and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// `transactional.id`.
    pub transactional_id: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// In Kafka's words.
    pub state: String,
    /// Its producer.
    pub producer: ProducerIdAndEpoch,
    /// How long a transaction may take.
    pub timeout: Duration,
    /// When it began, in milliseconds since 1970; `None` if there is none under way.
    pub started: Option<i64>,
    /// What it has written to.
    pub partitions: Vec<TopicPartition>,
}

/// A transaction that hangs in a partition: its coordinator does not know of it any more, and readers wait for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangingTransaction {
    partition: TopicPartition,
    producer: ProducerIdAndEpoch,
    coordinator_epoch: i32,
}

impl HangingTransaction {
    /// By what [`Admin::describe_producers`] says of it: the last coordinator's epoch, or 0 if it does not say.
    pub fn new(partition: TopicPartition, producer: ProducerIdAndEpoch, coordinator_epoch: i32) -> Self {
        Self { partition, producer, coordinator_epoch }
    }

    /// That of a producer that [`Admin::describe_producers`] has found.
    pub fn of(partition: TopicPartition, producer: &ProducerState) -> Self {
        Self::new(partition, producer.producer, producer.coordinator_epoch.unwrap_or(0))
    }
}

impl Admin {
    /// The transactional ids of all brokers, by id. Those that we may not describe are not among them. ListTransactions
    /// (brokers from 3.0).
    ///
    /// # Errors
    /// `UnsupportedVersion` if a broker is too old, `InvalidArgument` for a state that there is not,
    /// `InvalidRegularExpression`; a broker that does not answer in time: the list would not be whole.
    pub async fn list_transactions(&self, filter: TransactionFilter) -> Result<Vec<TransactionListing>> {
        let deadline = self.deadline();
        let least = match (&filter.pattern, filter.longer_than) {
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        let longer_than = filter.longer_than.map_or(-1, |longer| i64::try_from(longer.as_millis()).unwrap_or(i64::MAX));
        let request = ListTransactionsRequest::default()
            .with_state_filters(names(&filter.states))
            .with_producer_id_filters(filter.producer_ids.iter().map(|id| ProducerId(*id)).collect())
            .with_duration_filter(longer_than)
            .with_transactional_id_pattern(filter.pattern.as_deref().map(str_bytes));
        let ask = self.ask(AtEachBroker, self.brokers(deadline).await?).versions(least..=i16::MAX).until(deadline);
        let answers = ask
            .send(
                |_, _| request.clone(),
                |answer, way| {
                    outcome(answer.error_code, None, None)?;
                    if let Some(state) = answer.unknown_state_filters.first() {
                        let message = format!("there is no state {:?} of transactions", state.as_str());
                        return Err(Error::with_message(ErrorKind::InvalidArgument, message));
                    }
                    Ok(way.node.map(|node| (node, Ok(answer.transaction_states))).into_iter().collect())
                },
            )
            .await?;
        // By id: while a coordinator moves, two brokers may have the same one.
        let mut listed = BTreeMap::new();
        for (node, answer) in answers {
            listed.extend(answer.map_err(|error| error.node(node))?.into_iter().map(|one| {
                let listing = TransactionListing {
                    transactional_id: text(&one.transactional_id),
                    producer_id: one.producer_id.0,
                    state: text(&one.transaction_state),
                };
                (listing.transactional_id.clone(), listing)
            }));
        }
        Ok(listed.into_values().collect())
    }

    /// These transactional ids, and what is under way of them. DescribeTransactions (brokers from 3.0), one request per
    /// coordinator.
    ///
    /// # Errors
    /// Per id: `TransactionalIdNotFound`, `Denied` (Describe on the transactional id), or no coordinator in time. For all:
    /// `UnsupportedVersion`.
    pub async fn describe_transactions(
        &self,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<TransactionDescription>> {
        let ids = ids.into_iter().map(|id| (id.as_ref().to_owned(), ())).collect();
        let ask = self.ask(AtCoordinators::OfTransactions, ids);
        ask.send(
            |ids, _| {
                let ids = ids.iter().map(|(id, ())| TransactionalId(str_bytes(id)));
                DescribeTransactionsRequest::default().with_transactional_ids(ids.collect())
            },
            |answer, way| {
                let each = answer.transaction_states.into_iter();
                Ok(each.map(|one| (text(&one.transactional_id), described(way.node, one))).collect())
            },
        )
        .await
    }

    /// Ends a transaction that hangs, by writing the marker of its abort to one partition past its coordinator. Whoever reads
    /// committed records goes on then. For a transaction that its coordinator does know,
    /// [`fence_producers`](Self::fence_producers) is right. WriteTxnMarkers, to the leader.
    ///
    /// # Errors
    /// `InvalidProducerEpoch`, `TransactionCoordinatorFenced` for an epoch that is too low, `UnknownTopicOrPartition`,
    /// `Denied` (ClusterAction or, from 3.9, Alter on the cluster), or no leader in time.
    pub async fn abort_transaction(&self, hanging: HangingTransaction) -> Result<()> {
        let HangingTransaction { partition, producer, coordinator_epoch } = hanging;
        let ask = self.ask(AtLeaders, [(partition, ())].into()).doing(Doing::Change);
        let done = ask
            .send(
                |partitions, _| {
                    let topics = partitions.iter().map(|(partition, ())| {
                        let topic = WritableTxnMarkerTopic::default().with_name(name(&partition.topic));
                        topic.with_partition_indexes(vec![partition.partition])
                    });
                    let marker = WritableTxnMarker::default()
                        .with_producer_id(ProducerId(producer.id))
                        .with_producer_epoch(producer.epoch)
                        .with_transaction_result(false)
                        .with_coordinator_epoch(coordinator_epoch)
                        .with_topics(topics.collect());
                    WriteTxnMarkersRequest::default().with_markers(vec![marker])
                },
                |answer, _| {
                    let topics = answer.markers.into_iter().flat_map(|marker| marker.topics);
                    let topics = topics.map(|topic| (topic.name, topic.partitions));
                    let told = |at: &TopicPartition, one: Marked| {
                        outcome(one.error_code, None, None).map_err(|error| error.partition(at.clone()))
                    };
                    Ok(by_partition(topics, told, |one| one.partition_index))
                },
            )
            .await?;
        done.into_values().collect()
    }

    /// Fences the producers of these transactional ids: what they have under way is aborted, and they can't go on. Gives the
    /// epochs from which on others may. InitProducerId (KIP-664), one request for each.
    ///
    /// # Errors
    /// Per id: `Denied` (Write on the transactional id), or no coordinator in time, which it also is while the end of another
    /// transaction is under way.
    pub async fn fence_producers(
        &self,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<ProducerIdAndEpoch>> {
        let ids = ids.into_iter().map(|id| (id.as_ref().to_owned(), ())).collect();
        let ask = self.ask(AtCoordinators::OfTransactions, ids).doing(Doing::Repeatable).most(|_| 1);
        // Nobody is to have a transaction by this, but the coordinator waits no longer than that for the replicas of its own log.
        let timeout = i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
        ask.send(
            |ids, _| {
                let id = ids.first().map(|(id, ())| TransactionalId(str_bytes(id)));
                InitProducerIdRequest::default().with_transactional_id(id).with_transaction_timeout_ms(timeout)
            },
            |answer, way| {
                let told = outcome(answer.error_code, None, None);
                let told = told.map(|()| ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch });
                Ok(way.keys.iter().map(|id| (id.clone(), told.clone())).collect())
            },
        )
        .await
    }
}

type Marked = crate::wire::messages::write_txn_markers_response::WritableTxnMarkerPartitionResult;

fn described(node: Option<NodeId>, one: TransactionState) -> Result<TransactionDescription> {
    outcome(one.error_code, None, None)?;
    let topics: BTreeMap<_, _> = one.topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect();
    let partitions = by_partition(topics, |_, _| (), |number| *number);
    Ok(TransactionDescription {
        transactional_id: text(&one.transactional_id),
        coordinator: node.unwrap_or(NodeId(-1)), // a coordinator is always asked by its id
        state: text(&one.transaction_state),
        producer: ProducerIdAndEpoch { id: one.producer_id.0, epoch: one.producer_epoch },
        timeout: Duration::from_millis(u64::try_from(one.transaction_timeout_ms).unwrap_or_default()),
        started: Some(one.transaction_start_time_ms).filter(|millis| *millis >= 0),
        partitions: partitions.into_iter().map(|(partition, ())| partition).collect(),
    })
}
