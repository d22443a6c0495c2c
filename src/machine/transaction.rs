//! `TransactionManager`: the transactions of one producer, towards their coordinator and those of the groups whose offsets
//! go with them. A part of the `Sender`, which tells it of batches and asks it what may be sent.
//!
//! Two protocols, chosen anew for each transaction by what the coordinator's connection has (`transaction.version`):
//!
//! | | version 1 (KIP-98) | version 2 (KIP-890) |
//! | --- | --- | --- |
//! | a partition joins | by AddPartitionsToTxn, before anything is written to it | by Produce v12 |
//! | a group joins | by AddOffsetsToTxn | by TxnOffsetCommit v5 |
//! | after EndTxn | the same epoch goes on; after an error it is bumped (KIP-360) | EndTxn v5 brings the next epoch |
//! | a request without an answer | asked again until there is one, and a new epoch is taken before the next transaction begins: a late first one, which would change or end *that* (KAFKA-17754, Jepsen on Bufstream), is fenced | asked again: a late first one is fenced by the epoch |
//!
//! InitProducerId instead of a second EndTxn would be no way out: while the transaction is still open the coordinator takes it
//! as a take-over, whoever asks. It fences us, and if another has our id by now, that one in mid transaction. For the same
//! reason a broker before Kafka 2.5, whose InitProducerId does not ask who we are (KIP-360), is not asked for the new epoch of
//! version 1: the producer ends there.
//!
//! One request to a coordinator at a time. Nothing is asked before its time, and EndTxn goes out only when every batch of
//! the transaction has its outcome *and* is no longer under way: what arrives behind the marker would open a transaction
//! that nobody ends.

mod answer;
mod offsets;
mod state;
pub use offsets::GroupOffsets;
pub use state::State;

use super::RequestId;
use super::backoff::Backoff;
use super::coordinator::Coordinator;
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{CoordinatorKey, NodeId, ProducerIdAndEpoch};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use crate::wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TopicName,
    TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use offsets::OffsetsToSend;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first wait after CONCURRENT_TRANSACTIONS: the transaction before is nearly always done within milliseconds.
const CONCURRENT_BACKOFF: Duration = Duration::from_millis(5);

/// What the manager must know of the producer's configuration.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// `transactional.id`.
    pub transactional_id: Arc<str>,
    /// `transaction.timeout.ms`.
    pub timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub backoff: (Duration, Duration),
    /// For the jitter.
    pub seed: u64,
}

/// `transaction.version`, as far as it concerns a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionVersion {
    /// Below 2: partitions and groups are added one by one.
    One,
    /// 2: they are added by what is written to them, and each transaction has an epoch of its own (KIP-890).
    Two,
}

/// Names one call of the application, so that its outcome finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation(pub u64);

/// One request and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionCall {
    /// To this broker, or to any.
    pub to: Option<NodeId>,
    /// Which versions of it will do.
    pub version: TransactionVersion,
    /// What.
    pub request: TransactionRequest,
}

/// What is asked, in the newest form that a client sends.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named as in Kafka's protocol")]
pub enum TransactionRequest {
    FindCoordinator(CoordinatorKey),
    InitProducerId(InitProducerIdRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    EndTxn(EndTxnRequest),
}

/// What is answered. The two that end or begin something say which version the coordinator's connection has now.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named as in Kafka's protocol")]
pub enum TransactionResponse {
    FindCoordinator(NodeId),
    InitProducerId(InitProducerIdResponse, TransactionVersion),
    AddPartitionsToTxn(AddPartitionsToTxnResponse),
    AddOffsetsToTxn(AddOffsetsToTxnResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    EndTxn(EndTxnResponse, TransactionVersion),
}

/// Whether a batch may be numbered and sent.
#[derive(Debug)]
pub enum Admission {
    /// It may.
    Yes,
    /// Not yet: its partition is being added, or there is no producer id.
    Wait,
    /// It never may, and fails with this.
    No(Error),
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    InitProducerId,
    AddPartitions,
    AddOffsets,
    OffsetCommit,
    EndTxn { commit: bool },
}

/// Partitions by the accumulator's number.
type Partitions = BTreeMap<usize, (Arc<str>, i32)>;

/// What was asked of a coordinator and not answered yet.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    node: NodeId,
    step: Step,
    /// Whose coordinator, if it is a group's.
    group: Option<Arc<str>>,
    /// Those of AddPartitionsToTxn.
    partitions: Partitions,
}

/// How the transaction under way is to end, and who wants to know.
#[derive(Debug)]
struct Ending {
    operation: Option<Operation>,
    /// EndTxn was sent and not answered, or half done: it may have been carried out, or will be.
    unanswered: bool,
    /// What the one who asked is told instead of success.
    error: Option<Error>,
}

/// See the module's head.
#[derive(Debug)]
pub struct TransactionManager {
    config: TransactionConfig,
    state: State,
    /// Why, in an error state.
    error: Option<Error>,
    producer: Option<ProducerIdAndEpoch>,
    /// Of the transaction under way, or the next.
    version: TransactionVersion,
    /// What the coordinator had last.
    supported: TransactionVersion,
    coordinator: Coordinator,
    groups: HashMap<Arc<str>, Coordinator>,
    /// The coordinator knows, or may know, of a partition or group: the transaction has to be ended there.
    started: bool,
    /// In version 1, a request that was not answered may still arrive: perhaps it has added a partition or group, and a new
    /// epoch is needed after this transaction.
    uncertain: bool,
    /// A sequence number is missing: a new epoch is needed after this one.
    needs_bump: bool,
    /// Partitions of the transaction, by the accumulator's number.
    added: HashSet<usize>,
    /// Those that have something to send and are not of the transaction yet.
    wanted: Partitions,
    offsets: VecDeque<OffsetsToSend>,
    ending: Option<Ending>,
    /// Calls that wait for the producer id, or for the end of the transaction before.
    waiting: VecDeque<(Operation, Awaited)>,
    asked: Option<Asked>,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// For CONCURRENT_TRANSACTIONS.
    short_backoff: Backoff,
    done: VecDeque<(Operation, Result<()>)>,
    /// Whether something has changed that decides what may be sent.
    has_news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Ready,
    Transaction,
}

impl TransactionManager {
    /// Without a producer id yet.
    pub fn new(config: TransactionConfig) -> Self {
        let (base, max) = config.backoff;
        let backoff = |nth, base| Backoff::new(base, max, config.seed.wrapping_add(nth));
        Self {
            state: State::Uninitialized,
            error: None,
            producer: None,
            version: TransactionVersion::One,
            supported: TransactionVersion::One,
            coordinator: Coordinator::new(
                CoordinatorKey::Transaction(config.transactional_id.clone()),
                backoff(0, base),
            ),
            groups: HashMap::new(),
            started: false,
            uncertain: false,
            needs_bump: false,
            added: HashSet::new(),
            wanted: Partitions::new(),
            offsets: VecDeque::new(),
            ending: None,
            waiting: VecDeque::new(),
            asked: None,
            not_before: None,
            backoff: backoff(1, base),
            short_backoff: backoff(2, base.min(CONCURRENT_BACKOFF)),
            done: VecDeque::new(),
            has_news: false,
            config,
        }
    }

    /// `transactional.id`.
    pub fn transactional_id(&self) -> &Arc<str> {
        &self.config.transactional_id
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Of the transaction under way, or the next: Produce must have the version that goes with it.
    pub fn version(&self) -> TransactionVersion {
        self.version
    }

    /// Why nothing will ever be sent again.
    pub fn fatal_error(&self) -> Option<&Error> {
        self.error.as_ref().filter(|_| self.state == State::FatalError)
    }

    /// Whether what has no number yet is to be dropped instead of sent.
    pub fn is_doomed(&self) -> bool {
        matches!(self.state, State::AbortableError | State::AbortingTransaction | State::FatalError)
    }

    /// Whether a transaction is under way, or its end is.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Uninitialized | State::Ready | State::FatalError)
    }

    /// Asks for a producer id; whoever has the transactional id is fenced, and what he has open is aborted.
    pub fn init(&mut self, operation: Operation) {
        match self.become_state(State::Initializing) {
            Ok(()) => self.waiting.push_back((operation, Awaited::Ready)),
            Err(error) => self.done.push_back((operation, Err(error))),
        }
    }

    /// Begins a transaction, as soon as the one before is at its end.
    pub fn begin(&mut self, operation: Operation) {
        match self.state {
            State::Initializing | State::CommittingTransaction | State::AbortingTransaction => {
                self.waiting.push_back((operation, Awaited::Transaction));
            }
            _ => self.begin_now(operation),
        }
    }

    fn begin_now(&mut self, operation: Operation) {
        let begun = self.become_state(State::InTransaction);
        self.done.push_back((operation, begun));
    }

    /// Commits these offsets with the transaction.
    pub fn send_offsets(&mut self, operation: Operation, offsets: GroupOffsets) {
        match self.state {
            State::InTransaction if offsets.is_empty() => self.done.push_back((operation, Ok(()))),
            State::InTransaction => self.offsets.push_back(OffsetsToSend::new(operation, offsets)),
            _ => {
                let error = self.error.clone().unwrap_or_else(|| self.misused("send offsets"));
                self.done.push_back((operation, Err(error.certainty(Certainty::NotSent))));
            }
        }
    }

    /// Commits once everything that was taken is written. If something failed, or does, the transaction is aborted, and the
    /// answer, which comes after that, says why.
    pub fn commit(&mut self, operation: Operation) {
        match self.state {
            State::InTransaction => {
                self.ending = Some(Ending { operation: Some(operation), unanswered: false, error: None });
                self.enter(State::CommittingTransaction);
            }
            State::AbortableError => {
                let error = self.error.clone().map(|error| error.certainty(Certainty::NotSent));
                self.start_abort(Ending { operation: Some(operation), unanswered: false, error });
            }
            _ => {
                let error = self.error.clone().unwrap_or_else(|| self.misused("commit"));
                self.done.push_back((operation, Err(error.certainty(Certainty::NotSent))));
            }
        }
    }

    /// Drops what was not sent and aborts. Without a transaction it only takes back a `begin` that still waits.
    pub fn abort(&mut self, operation: Option<Operation>) {
        for (waiting, awaited) in std::mem::take(&mut self.waiting) {
            match awaited {
                Awaited::Ready => self.waiting.push_back((waiting, awaited)),
                Awaited::Transaction => self.done.push_back((waiting, Err(aborted(None)))),
            }
        }
        match self.state {
            State::InTransaction | State::AbortableError => {
                self.start_abort(Ending { operation, unanswered: false, error: None });
            }
            State::FatalError => {
                let error = self.error.clone().unwrap_or_else(|| self.misused("abort"));
                self.done.extend(operation.map(|operation| (operation, Err(error))));
            }
            State::Initializing | State::CommittingTransaction | State::AbortingTransaction => {
                self.waiting.extend(operation.map(|operation| (operation, Awaited::Ready)));
            }
            State::Ready | State::Uninitialized => self.done.extend(operation.map(|operation| (operation, Ok(())))),
        }
    }

    fn start_abort(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.enter(State::AbortingTransaction);
        self.give_up_offsets(&aborted(self.error.as_ref()));
        self.wanted.clear();
    }

    /// A record of the transaction will not be written. `gap`: it had a number, which will be missing.
    pub fn on_failed_batch(&mut self, error: &Error, gap: bool) {
        self.needs_bump |= gap;
        let fatal = matches!(
            error.code(),
            Some(
                ErrorCode::ProducerFenced
                    | ErrorCode::InvalidProducerIdMapping
                    | ErrorCode::UnsupportedVersion
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::TransactionalIdAuthorizationFailed
            )
        );
        if fatal || error.kind() == ErrorKind::UnsupportedVersion {
            self.fail(error.clone());
        } else {
            self.doom(error.clone());
        }
    }

    /// Nothing is left for this transaction but to be aborted.
    fn doom(&mut self, error: Error) {
        let committing = match self.state {
            State::InTransaction => false,
            State::CommittingTransaction => true,
            _ => return, // the first error is the cause
        };
        tracing::debug!(transactional_id = %self.config.transactional_id, %error, "the transaction has to be aborted");
        let error = error.abortable();
        self.enter(State::AbortableError);
        self.error = Some(error.clone());
        self.give_up_offsets(&error);
        self.wanted.clear();
        if committing && let Some(Ending { operation, unanswered, .. }) = self.ending.take() {
            let certainty = if unanswered { Certainty::PossiblySent } else { Certainty::NotSent };
            self.start_abort(Ending { operation, unanswered, error: Some(error.certainty(certainty)) });
        }
    }

    /// Nothing is left for this producer but to be closed.
    pub fn fail(&mut self, error: Error) {
        if self.state == State::FatalError {
            return;
        }
        let error = error.fatal();
        // Whoever uses it is told by the next call, and may well have another by then: no error of the client's.
        tracing::warn!(transactional_id = %self.config.transactional_id, %error, "the transactional producer can't go on");
        self.enter(State::FatalError);
        self.error = Some(error.clone());
        self.give_up_offsets(&error);
        self.wanted.clear();
        if let Some(Ending { operation: Some(operation), unanswered, .. }) = self.ending.take() {
            // Fenced *after* an EndTxn without an answer, for example: it may have been committed before.
            let certainty = if unanswered { Certainty::PossiblySent } else { Certainty::NotSent };
            self.done.push_back((operation, Err(error.clone().certainty(certainty))));
        }
        self.done.extend(self.waiting.drain(..).map(|(operation, _)| (operation, Err(error.clone()))));
    }

    /// Whether a batch of this partition that has no number yet may be sent now.
    pub fn admit(&mut self, index: usize, topic: &Arc<str>, partition: u32) -> Admission {
        match (self.state, self.version) {
            (State::InTransaction | State::CommittingTransaction, TransactionVersion::Two) => {
                self.started = true; // Produce tells the coordinator
                Admission::Yes
            }
            (State::InTransaction | State::CommittingTransaction, TransactionVersion::One) => {
                if self.added.contains(&index) {
                    return Admission::Yes;
                }
                if !self.asked.as_ref().is_some_and(|asked| asked.partitions.contains_key(&index)) {
                    self.wanted.insert(index, (topic.clone(), partition as i32));
                }
                Admission::Wait
            }
            (State::Uninitialized | State::Initializing, _) => Admission::Wait,
            (State::AbortingTransaction | State::AbortableError | State::FatalError, _) => {
                Admission::No(self.lost_with_it())
            }
            (State::Ready, _) => Admission::No(self.misused("send a record").certainty(Certainty::NotSent)),
        }
    }

    /// What a record that goes down with the transaction fails with.
    pub fn lost_with_it(&self) -> Error {
        aborted(self.error.as_ref())
    }

    /// The next request, with the number that `next_id` gives it. `is_settled`: every batch that was taken has its outcome,
    /// and none is under way.
    pub fn poll_request(
        &mut self,
        now: Instant,
        is_settled: impl FnOnce() -> bool,
        mut next_id: impl FnMut() -> RequestId,
    ) -> Option<(RequestId, TransactionCall)> {
        if self.asked.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        let (step, version) = (self.next_step(is_settled)?, self.version);
        let coordinator = match (step, self.offsets.front()) {
            (Step::OffsetCommit, Some(offsets)) => {
                let backoff = Backoff::new(self.config.backoff.0, self.config.backoff.1, self.config.seed);
                let key = CoordinatorKey::Group(offsets.group().clone());
                self.groups.entry(offsets.group().clone()).or_insert_with(|| Coordinator::new(key, backoff))
            }
            _ => &mut self.coordinator,
        };
        let Some(node) = coordinator.node() else {
            let mut lookup = None;
            coordinator.find(now, |key| {
                let id = next_id();
                lookup = Some((
                    id,
                    TransactionCall { to: None, version, request: TransactionRequest::FindCoordinator(key) },
                ));
                id
            });
            if lookup.is_none() {
                self.not_before = coordinator.poll_timeout(); // too early to ask again
            }
            return lookup;
        };
        let partitions = match step {
            Step::AddPartitions => std::mem::take(&mut self.wanted),
            _ => Partitions::new(),
        };
        let (id, request) = (next_id(), self.request(step, &partitions)?);
        let group = self.offsets.front().filter(|_| step == Step::OffsetCommit).map(|offsets| offsets.group().clone());
        self.asked = Some(Asked { id, node, step, group, partitions });
        Some((id, TransactionCall { to: Some(node), version, request }))
    }

    fn next_step(&mut self, is_settled: impl FnOnce() -> bool) -> Option<Step> {
        match self.state {
            State::Initializing => return Some(Step::InitProducerId),
            State::InTransaction | State::CommittingTransaction if !self.wanted.is_empty() => {
                return Some(Step::AddPartitions);
            }
            State::InTransaction | State::CommittingTransaction if !self.offsets.is_empty() => {
                let front = self.offsets.front()?;
                return Some(match self.version {
                    TransactionVersion::One if !front.group_is_added => Step::AddOffsets,
                    _ => Step::OffsetCommit,
                });
            }
            State::CommittingTransaction | State::AbortingTransaction => {}
            _ => return None,
        }
        if !is_settled() {
            return None;
        }
        let commit = self.state == State::CommittingTransaction;
        if self.started || self.uncertain {
            return Some(Step::EndTxn { commit });
        }
        self.complete();
        (self.state == State::Initializing).then_some(Step::InitProducerId)
    }

    fn request(&mut self, step: Step, partitions: &Partitions) -> Option<TransactionRequest> {
        let transactional_id = TransactionalId(str_bytes(&self.config.transactional_id));
        let producer = self.producer.unwrap_or(ProducerIdAndEpoch::NONE);
        let (id, epoch) = (ProducerId(producer.id), producer.epoch);
        Some(match step {
            Step::InitProducerId => TransactionRequest::InitProducerId(
                InitProducerIdRequest::default()
                    .with_transactional_id(Some(transactional_id))
                    .with_transaction_timeout_ms(i32::try_from(self.config.timeout.as_millis()).unwrap_or(i32::MAX))
                    // Ours, so that whoever has fenced us is not fenced in his turn (KIP-360).
                    .with_producer_id(id)
                    .with_producer_epoch(epoch),
            ),
            Step::AddPartitions => {
                let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
                for (topic, partition) in partitions.values() {
                    topics.entry(topic).or_default().push(*partition);
                }
                let topic = |(name, partitions): (&Arc<str>, Vec<i32>)| {
                    AddPartitionsToTxnTopic::default().with_name(TopicName(str_bytes(name))).with_partitions(partitions)
                };
                TransactionRequest::AddPartitionsToTxn(
                    AddPartitionsToTxnRequest::default()
                        .with_v3_and_below_transactional_id(transactional_id)
                        .with_v3_and_below_producer_id(id)
                        .with_v3_and_below_producer_epoch(epoch)
                        .with_v3_and_below_topics(topics.into_iter().map(topic).collect()),
                )
            }
            Step::AddOffsets => {
                TransactionRequest::AddOffsetsToTxn(self.offsets.front()?.add_request(transactional_id, producer))
            }
            Step::OffsetCommit => {
                self.started |= self.version == TransactionVersion::Two;
                TransactionRequest::TxnOffsetCommit(self.offsets.front()?.commit_request(transactional_id, producer))
            }
            Step::EndTxn { commit } => TransactionRequest::EndTxn(
                EndTxnRequest::default()
                    .with_transactional_id(transactional_id)
                    .with_producer_id(id)
                    .with_producer_epoch(epoch)
                    .with_committed(commit),
            ),
        })
    }

    /// The transaction is at its end; a new epoch may be needed before the next.
    fn complete(&mut self) {
        let upgraded = self.supported > self.version;
        let bump = upgraded || ((self.needs_bump || self.uncertain) && self.version == TransactionVersion::One);
        (self.started, self.uncertain, self.needs_bump) = (false, false, false);
        self.added.clear();
        self.wanted.clear();
        self.error = None;
        // Told now: whatever becomes of the next epoch, this is done.
        self.tell_end();
        if bump {
            self.enter(State::Initializing);
        } else {
            self.ready();
        }
    }

    /// Who ended the transaction learns that it is at its end.
    fn tell_end(&mut self) {
        if let Some(Ending { operation: Some(operation), error, .. }) = self.ending.take() {
            self.done.push_back((operation, error.map_or(Ok(()), Err)));
        }
    }

    /// The next transaction may begin.
    fn ready(&mut self) {
        self.enter(State::Ready);
        self.version = self.supported;
        self.backoff.reset();
        for (operation, awaited) in std::mem::take(&mut self.waiting) {
            match awaited {
                Awaited::Ready => self.done.push_back((operation, Ok(()))),
                Awaited::Transaction => self.begin_now(operation),
            }
        }
    }

    fn give_up_offsets(&mut self, error: &Error) {
        let given_up = self.offsets.drain(..).map(|offsets| (offsets.operation, Err(error.clone())));
        self.done.extend(given_up);
    }

    fn become_state(&mut self, next: State) -> Result<()> {
        if self.state.may_become(next) {
            tracing::trace!(id = %self.config.transactional_id, from = self.state.name(), to = next.name(), "transaction");
            self.state = next;
            self.has_news = true;
            return Ok(());
        }
        match &self.error {
            Some(error) => Err(error.clone()),
            None => {
                let message = format!("a transactional producer in {} can't go to {}", self.state.name(), next.name());
                Err(Error::with_message(ErrorKind::State, message))
            }
        }
    }

    /// A step of our own, which the table has.
    fn enter(&mut self, next: State) {
        if let Err(error) = self.become_state(next) {
            debug_assert!(false, "{error}");
            self.state = State::FatalError;
            self.error = Some(error.fatal());
        }
    }

    fn misused(&self, what: &str) -> Error {
        Error::with_message(ErrorKind::State, format!("can't {what}: the producer is {}", self.state.name()))
    }

    /// The outcomes of calls.
    pub fn poll_done(&mut self) -> Option<(Operation, Result<()>)> {
        self.done.pop_front()
    }

    /// Whether, since this was asked last, something has changed that decides what may be sent: partitions that were added,
    /// a transaction that was doomed, an epoch.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Who writes, in the epoch of the transaction under way.
    pub fn producer(&self) -> Option<ProducerIdAndEpoch> {
        self.producer
    }

    /// When to ask for the next request again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.asked.is_some() || !self.is_busy() {
            return None;
        }
        self.not_before
    }
}

/// What is told to records and offsets that go down with their transaction, or with the producer.
fn aborted(cause: Option<&Error>) -> Error {
    match cause {
        Some(cause) => Error::with_message(ErrorKind::Aborted, format!("the transaction is aborted: {cause}")),
        None => Error::with_message(ErrorKind::Aborted, "the transaction was aborted"),
    }
    .certainty(Certainty::NotSent)
}

#[cfg(test)]
pub(super) mod tests;
