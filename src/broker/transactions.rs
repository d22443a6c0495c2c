// AddPartitionsToTxn: v0-5. AddOffsetsToTxn: v0-4. TxnOffsetCommit: v0-5. EndTxn: v0-5.
//! Transactions, of both kinds: version 1, where each partition is added before it is written to, and version 2
//! (KIP-890), where Produce v12 and TxnOffsetCommit v5 add it and each EndTxn v5 raises the epoch.
//!
//! ```text
//!              first partition or group             EndTxn, or time is up
//!   Empty ------------------------------> Ongoing ------------------------> CompleteCommit / CompleteAbort
//!                                            ^                                      |
//!                                            +--------------------------------------+
//! ```
//! The markers are written at once: all partitions live in this process, so that nobody ever sees a Prepare state. What is
//! left of Apache's waits is the one after a fencing InitProducerId: it is answered `CONCURRENT_TRANSACTIONS` once.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::coordinator::TRANSACTION;
use super::groups::{Commit, Identity};
use super::state::{State, Topic};
use super::{offsets, producers};
use crate::error::ErrorCode;
use crate::ids::ProducerIdAndEpoch;
use crate::record::batch::BatchHeader;
use crate::wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use crate::wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use crate::wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, ProducerId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// `transaction.max.timeout.ms`.
const MAX_TIMEOUT: Duration = Duration::from_secs(900);

/// Of every coordinator: nobody loses what it knows, so that none has to be fenced.
const COORDINATOR_EPOCH: i32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    Ongoing,
    CompleteCommit,
    CompleteAbort,
}

impl Phase {
    fn complete(commit: bool) -> Self {
        if commit { Self::CompleteCommit } else { Self::CompleteAbort }
    }

    /// Kafka's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What the coordinator knows of one transactional id.
#[derive(Debug)]
pub(super) struct Transaction {
    pub producer: ProducerIdAndEpoch,
    /// Before its owner had the epoch raised: who has it may ask again for the answer that it missed.
    previous: Option<ProducerIdAndEpoch>,
    pub timeout: Duration,
    pub phase: Phase,
    /// When its last transaction began, in milliseconds since 1970.
    pub started: Option<i64>,
    pub partitions: BTreeSet<(Arc<str>, i32)>,
    groups: BTreeSet<Arc<str>>,
    deadline: Option<Instant>,
    /// Of the last transaction, those that can't be written yet.
    markers: Option<Markers>,
}

/// Markers of a transaction that has been decided.
#[derive(Debug)]
struct Markers {
    partitions: BTreeSet<(Arc<str>, i32)>,
    commit: bool,
    writer: ProducerIdAndEpoch,
}

impl Transaction {
    fn begin_if_needed(&mut self, on: &Context) {
        if self.phase != Phase::Ongoing {
            self.phase = Phase::Ongoing;
            self.started = Some(on.unix_millis());
            self.deadline = Some(on.now() + self.timeout);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl State {
    /// A producer id for a transactional id; whoever had it before is fenced.
    pub(super) fn init_transactional(
        &mut self,
        now_millis: i64,
        id: &str,
        timeout: Duration,
        known: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(transaction) = self.transactions.get_mut(id) else {
            let producer = ProducerIdAndEpoch { id: self.producers.next_id(), epoch: 0 };
            let fresh = Transaction {
                producer,
                previous: None,
                timeout,
                phase: Phase::Empty,
                started: None,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
                deadline: None,
                markers: None,
            };
            self.transactions.insert(id.into(), fresh);
            return Ok(producer);
        };
        transaction.timeout = timeout;
        let same_id = |known: ProducerIdAndEpoch| {
            known.id == transaction.producer.id || transaction.previous.is_some_and(|previous| previous.id == known.id)
        };
        if known.is_some_and(|known| !same_id(known)) {
            return Err(ErrorCode::ProducerFenced);
        }
        if transaction.markers.is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if transaction.phase == Phase::Ongoing {
            // Whoever asks, and in whatever epoch. Nobody is given this epoch: who was in the transaction is fenced, even if
            // it is he who asks.
            let writer = self.raise_epoch(id, false);
            self.end_transaction(now_millis, id, false, writer);
            return Err(ErrorCode::ConcurrentTransactions);
        }
        match known {
            Some(known) if Some(known) == transaction.previous => return Ok(transaction.producer), // its answer was lost
            Some(known) if known != transaction.producer => return Err(ErrorCode::ProducerFenced),
            _ => {}
        }
        self.raise_epoch(id, known.is_some());
        let transaction = self.transactions.get_mut(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        transaction.phase = Phase::Empty; // in this epoch there has been no transaction yet
        transaction.started = None;
        Ok(transaction.producer)
    }

    /// The next epoch, or the next producer id when the epochs are used up. `by_owner`: the one before is remembered, so that
    /// who has it may ask again. Gives in whose name the markers of what is open are written: a new producer id has not
    /// written anything.
    fn raise_epoch(&mut self, id: &str, by_owner: bool) -> ProducerIdAndEpoch {
        let next_id = &mut self.producers;
        let Some(transaction) = self.transactions.get_mut(id) else { return ProducerIdAndEpoch::NONE };
        let before = transaction.producer;
        transaction.previous = by_owner.then_some(before);
        transaction.producer = if before.epoch >= i16::MAX - 1 {
            ProducerIdAndEpoch { id: next_id.next_id(), epoch: 0 }
        } else {
            ProducerIdAndEpoch { epoch: before.epoch + 1, ..before }
        };
        if transaction.producer.id == before.id { transaction.producer } else { before }
    }

    /// The transaction, if it is this producer's.
    fn owned_transaction(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        fenced: ErrorCode,
    ) -> Result<&mut Transaction, ErrorCode> {
        let transaction = self.transactions.get_mut(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if transaction.producer.id != producer.id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        match transaction.markers {
            _ if transaction.producer.epoch != producer.epoch => Err(fenced),
            Some(_) => Err(ErrorCode::ConcurrentTransactions),
            None => Ok(transaction),
        }
    }

    /// Whether a transactional batch may be written here, as far as the coordinator knows. Produce v12 adds the partition by
    /// itself.
    pub(super) fn may_write(
        &mut self,
        on: &Context,
        id: &str,
        header: &BatchHeader,
        partition: (&Arc<str>, i32),
    ) -> Result<(), ErrorCode> {
        let producer = ProducerIdAndEpoch { id: header.producer_id, epoch: header.producer_epoch };
        let transaction = self.owned_transaction(id, producer, ErrorCode::InvalidProducerEpoch)?;
        let key = (Arc::clone(partition.0), partition.1);
        if on.version >= 12 {
            transaction.begin_if_needed(on);
            transaction.partitions.insert(key);
            return Ok(());
        }
        match transaction.phase == Phase::Ongoing && transaction.partitions.contains(&key) {
            true => Ok(()),
            false if on.version >= 11 => Err(ErrorCode::TransactionAbortable),
            false => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Writes the markers, in the name of `writer`, where that can be done already, and settles the offsets.
    fn end_transaction(&mut self, now_millis: i64, id: &str, commit: bool, writer: ProducerIdAndEpoch) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        transaction.phase = Phase::complete(commit);
        transaction.deadline = None;
        let (partitions, groups) =
            (std::mem::take(&mut transaction.partitions), std::mem::take(&mut transaction.groups));
        transaction.markers = Some(Markers { partitions, commit, writer });
        write_markers(&mut self.topics, transaction, now_millis);
        for group in groups {
            let Some(group) = self.groups.get_mut(&group) else { continue };
            let pending = group.transactional.remove(&writer.id).unwrap_or_default();
            if commit {
                group.offsets.extend(pending);
            }
        }
    }

    /// Whether a marker that had to wait can be written.
    pub(super) fn has_due_markers(&self) -> bool {
        let waiting = self.transactions.values().filter_map(|transaction| transaction.markers.as_ref());
        let mut partitions = waiting.flat_map(|markers| &markers.partitions);
        partitions.any(|(topic, index)| self.topics.get(topic).is_none_or(|topic| takes_markers(topic, *index)))
    }

    /// Writes the markers that had to wait and need not any more.
    pub(super) fn write_due_markers(&mut self, now_millis: i64) {
        let waiting = self.transactions.values_mut().filter(|transaction| transaction.markers.is_some());
        waiting.for_each(|transaction| write_markers(&mut self.topics, transaction, now_millis));
    }

    /// Aborts what has been open for longer than its timeout, and fences its producer.
    pub(super) fn expire_transactions(&mut self, now: Instant, now_millis: i64) {
        let due = self.transactions.iter().filter(|(_, open)| open.deadline.is_some_and(|deadline| deadline <= now));
        let due: Vec<Arc<str>> = due.map(|(id, _)| Arc::clone(id)).collect();
        for id in due {
            let writer = self.raise_epoch(&id, false);
            self.end_transaction(now_millis, &id, false, writer);
        }
    }

    pub(super) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|topic| (0..topic.partitions.len() as i32).contains(&partition))
    }
}

/// Whether a marker can be written here and replicated; one of a partition that is gone is no matter.
fn takes_markers(topic: &Topic, index: i32) -> bool {
    let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    partition.is_none_or(|partition| partition.leader.is_some() && !partition.is_held())
}

/// Those that a leader can take and have replicated; the others wait, and until then nothing new begins.
fn write_markers(topics: &mut BTreeMap<Arc<str>, Topic>, transaction: &mut Transaction, now_millis: i64) {
    let Some(markers) = &mut transaction.markers else { return };
    let (commit, writer) = (markers.commit, markers.writer);
    markers.partitions.retain(|(name, index)| {
        let Some(topic) = topics.get_mut(name) else { return false }; // deleted meanwhile
        if !takes_markers(topic, *index) {
            return true;
        }
        if let Some(partition) = topic.partitions.get_mut(*index as usize)
            && let Err(error) = producers::write_marker(partition, writer, commit, COORDINATOR_EPOCH, now_millis)
        {
            tracing::error!(%error, "a transaction's marker could not be written");
        }
        false
    });
    if markers.partitions.is_empty() {
        transaction.markers = None;
    }
}

/// What older clients call being fenced.
fn fenced(version: i16) -> ErrorCode {
    if version >= 2 { ErrorCode::ProducerFenced } else { ErrorCode::InvalidProducerEpoch }
}

impl Api for AddPartitionsToTxnRequest {
    async fn serve(self, on: Context) -> AddPartitionsToTxnResponse {
        let mut state = on.state();
        if on.version < 4 {
            let producer =
                ProducerIdAndEpoch { id: self.v3_and_below_producer_id.0, epoch: self.v3_and_below_producer_epoch };
            let topics = &self.v3_and_below_topics;
            let results = add(&mut state, &on, &self.v3_and_below_transactional_id, producer, topics, false);
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
        }
        // Brokers ask in these versions.
        if let Err(code) = on.may(&state, Operation::ClusterAction, Resource::Cluster) {
            return AddPartitionsToTxnResponse::default().with_error_code(code.to_wire());
        }
        let results = self.transactions.iter().map(|wanted| {
            let producer = ProducerIdAndEpoch { id: wanted.producer_id.0, epoch: wanted.producer_epoch };
            let id = &wanted.transactional_id;
            let results = add(&mut state, &on, id, producer, &wanted.topics, wanted.verify_only);
            AddPartitionsToTxnResult::default().with_transactional_id(id.clone()).with_topic_results(results)
        });
        let response = AddPartitionsToTxnResponse::default().with_results_by_transaction(results.collect());
        on.shared.deadlines.notify_one();
        response
    }

    fn refuse(&self, code: ErrorCode) -> AddPartitionsToTxnResponse {
        let each = |topics: &[AddPartitionsToTxnTopic]| results(topics, |_, _| Some(code));
        let by_transaction = self.transactions.iter().map(|wanted| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(wanted.transactional_id.clone())
                .with_topic_results(each(&wanted.topics))
        });
        AddPartitionsToTxnResponse::default()
            .with_results_by_transaction(by_transaction.collect())
            .with_results_by_topic_v3_and_below(each(&self.v3_and_below_topics))
    }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str, i32) -> Option<ErrorCode>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code(&topic.name, *partition).map_or(0, ErrorCode::to_wire))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    topics.collect()
}

/// All of the partitions, or none.
fn add(
    state: &mut State,
    on: &Context,
    id: &str,
    producer: ProducerIdAndEpoch,
    topics: &[AddPartitionsToTxnTopic],
    verify_only: bool,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let by_client = on.version < 4;
    let coordinates =
        if by_client { on.coordinates_transaction(state, id) } else { on.coordinates(state, TRANSACTION, id) };
    if let Err(code) = coordinates {
        return results(topics, |_, _| Some(code));
    }
    let all = || topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| (&**topic.name, *partition)));
    let addable = |topic: &str, partition: i32| {
        if by_client {
            on.may(state, Operation::Write, Resource::Topic(topic))?;
        }
        if state.has_partition(topic, partition) { Ok(()) } else { Err(ErrorCode::UnknownTopicOrPartition) }
    };
    if all().any(|(topic, partition)| addable(topic, partition).is_err()) {
        return results(topics, |topic, partition| {
            Some(addable(topic, partition).err().unwrap_or(ErrorCode::OperationNotAttempted))
        });
    }
    if let Err(code) = state.owned_transaction(id, producer, fenced(on.version)) {
        return results(topics, |_, _| Some(code));
    }
    let Some(transaction) = state.transactions.get_mut(id) else { return Vec::new() };
    if verify_only {
        return results(topics, |topic, partition| {
            let there = transaction.partitions.contains(&(Arc::from(topic), partition));
            (!there).then_some(ErrorCode::TransactionAbortable)
        });
    }
    transaction.begin_if_needed(on);
    transaction.partitions.extend(all().map(|(topic, partition)| (Arc::from(topic), partition)));
    on.shared.deadlines.notify_one();
    results(topics, |_, _| None)
}

impl Api for AddOffsetsToTxnRequest {
    async fn serve(self, on: Context) -> AddOffsetsToTxnResponse {
        let mut state = on.state();
        let producer = ProducerIdAndEpoch { id: self.producer_id.0, epoch: self.producer_epoch };
        let id = &self.transactional_id;
        let admitted = on.may(&state, Operation::Write, Resource::TransactionalId(id));
        let admitted = admitted.and_then(|()| on.may(&state, Operation::Read, Resource::Group(&self.group_id)));
        let outcome = admitted.and_then(|()| on.coordinates(&state, TRANSACTION, id)).and_then(|()| {
            let transaction = state.owned_transaction(&self.transactional_id, producer, fenced(on.version))?;
            transaction.begin_if_needed(&on);
            transaction.groups.insert((**self.group_id).into());
            Ok(())
        });
        on.shared.deadlines.notify_one();
        AddOffsetsToTxnResponse::default().with_error_code(outcome.err().map_or(0, ErrorCode::to_wire))
    }

    fn refuse(&self, code: ErrorCode) -> AddOffsetsToTxnResponse {
        AddOffsetsToTxnResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for TxnOffsetCommitRequest {
    async fn serve(self, on: Context) -> TxnOffsetCommitResponse {
        let mut state = on.state();
        if let Err(code) = self.admit(&on, &mut state) {
            return self.refuse(code);
        }
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let metadata = wanted.committed_metadata.as_deref().unwrap_or_default();
                let partition = wanted.partition_index;
                let offset = (partition, wanted.committed_offset, wanted.committed_leader_epoch, metadata);
                let readable = on.may(&state, Operation::Read, Resource::Topic(&topic.name));
                let outcome = readable.and_then(|()| offsets::checked(&state, &on, &topic.name, offset));
                let code = outcome.as_ref().err().map_or(0, |code| code.to_wire());
                if let (Ok(committed), Some(group)) = (outcome, state.groups.get_mut(&**self.group_id)) {
                    let pending = group.transactional.entry(self.producer_id.0).or_default();
                    pending.insert(((**topic.name).into(), partition), committed);
                }
                TxnOffsetCommitResponsePartition::default().with_partition_index(partition).with_error_code(code)
            });
            TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn refuse(&self, code: ErrorCode) -> TxnOffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code.to_wire())
            });
            TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }
}

trait Admit {
    fn admit(&self, on: &Context, state: &mut State) -> Result<(), ErrorCode>;
}

impl Admit for TxnOffsetCommitRequest {
    /// The group's word on the member (KIP-447), and the transaction's on the producer.
    fn admit(&self, on: &Context, state: &mut State) -> Result<(), ErrorCode> {
        on.may(state, Operation::Write, Resource::TransactionalId(&self.transactional_id))?;
        on.coordinates_group(state, Operation::Read, &self.group_id)?;
        let group: Arc<str> = (**self.group_id).into();
        let identity = Identity {
            member_id: &self.member_id,
            instance_id: self.group_instance_id.as_deref(),
            generation: self.generation_id,
        };
        if identity.generation >= 0 || !identity.member_id.is_empty() {
            // `may_commit` leaves nothing behind in a group that there was not.
            let partitions = self
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|wanted| (&**topic.name, wanted.partition_index)));
            let partitions = state.with_ids(partitions);
            let commit = Commit { version: None, partitions: &partitions };
            let known = state.groups.get_mut(&group).ok_or(ErrorCode::IllegalGeneration)?;
            known.may_commit(on.now(), identity, commit)?;
        }
        let producer = ProducerIdAndEpoch { id: self.producer_id.0, epoch: self.producer_epoch };
        let id = &self.transactional_id;
        let transaction = state.owned_transaction(id, producer, ErrorCode::InvalidProducerEpoch)?;
        if on.version >= 5 {
            transaction.begin_if_needed(on);
            transaction.groups.insert(Arc::clone(&group));
            on.shared.deadlines.notify_one();
        } else if transaction.phase != Phase::Ongoing || !transaction.groups.contains(&group) {
            return Err(ErrorCode::InvalidTxnState);
        }
        state.groups.entry(group).or_default();
        Ok(())
    }
}

impl Api for EndTxnRequest {
    async fn serve(self, on: Context) -> EndTxnResponse {
        let mut state = on.state();
        match end(&mut state, &on, &self) {
            Ok(producer) if on.version >= 5 => {
                EndTxnResponse::default().with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch)
            }
            Ok(_) => EndTxnResponse::default(),
            Err(code) => self.refuse(code),
        }
    }

    fn refuse(&self, code: ErrorCode) -> EndTxnResponse {
        EndTxnResponse::default().with_error_code(code.to_wire())
    }
}

fn end(state: &mut State, on: &Context, request: &EndTxnRequest) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let id: &str = &request.transactional_id;
    on.coordinates_transaction(state, id)?;
    let raises = on.version >= 5;
    let producer = ProducerIdAndEpoch { id: request.producer_id.0, epoch: request.producer_epoch };
    let known = state.transactions.get(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
    let settled = known.phase == Phase::complete(request.committed);
    if raises && known.previous == Some(producer) && settled {
        return Ok(known.producer); // its answer was lost
    }
    let transaction = state.owned_transaction(id, producer, fenced(on.version))?;
    match transaction.phase {
        Phase::Ongoing => {}
        // Nothing was written: with version 2 an abort is as good as any.
        Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort if raises && !request.committed => {}
        Phase::CompleteCommit | Phase::CompleteAbort if settled && !raises => return Ok(producer),
        Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort => return Err(ErrorCode::InvalidTxnState),
    }
    let writer = if raises { state.raise_epoch(id, true) } else { producer };
    state.end_transaction(on.unix_millis(), id, request.committed, writer);
    Ok(state.transactions.get(id).map_or(producer, |transaction| transaction.producer))
}
