//! What the coordinator may answer in any order, and what the application may ask at any time.
#![allow(clippy::disallowed_methods, reason = "a test's start of time")]

use super::*;
use crate::ids::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};
use crate::wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use crate::wire::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

const NODE: NodeId = NodeId(1);

/// A manager, and the other side of it.
struct Pair {
    manager: TransactionManager,
    now: Instant,
    next_id: u64,
    next_operation: u64,
    epoch: i16,
    /// Every outcome so far.
    told: Vec<(Operation, Result<()>)>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let backoff = (Duration::from_millis(100), Duration::from_secs(1));
        let config =
            TransactionConfig { transactional_id: "tx".into(), timeout: Duration::from_secs(60), backoff, seed };
        let manager = TransactionManager::new(config);
        Self { manager, now: Instant::now(), next_id: 0, next_operation: 0, epoch: -1, told: Vec::new() }
    }

    fn ask(&mut self, what: impl FnOnce(&mut TransactionManager, Operation)) -> Operation {
        let operation = Operation(self.next_operation);
        self.next_operation += 1;
        what(&mut self.manager, operation);
        operation
    }

    fn poll(&mut self, is_settled: bool) -> Option<(RequestId, TransactionCall)> {
        let next_id = &mut self.next_id;
        let request = self.manager.poll_request(
            self.now,
            || is_settled,
            || {
                *next_id += 1;
                RequestId(*next_id)
            },
        );
        self.hear();
        request
    }

    fn answer(&mut self, id: RequestId, response: Result<TransactionResponse>) {
        assert!(self.manager.handle_response(self.now, id, response), "it was asked for");
        self.hear();
    }

    fn hear(&mut self) {
        while let Some(done) = self.manager.poll_done() {
            self.told.push(done);
        }
    }

    fn outcome(&self, operation: Operation) -> Option<&Result<()>> {
        self.told.iter().find(|(told, _)| *told == operation).map(|(_, outcome)| outcome)
    }

    /// Answers what is asked for as a coordinator that has no complaint, until nothing is asked for.
    fn serve(&mut self, version: TransactionVersion) {
        for _ in 0..100 {
            self.now += Duration::from_secs(2);
            let Some((id, call)) = self.poll(true) else { return };
            let response = self.response(&call.request, 0, version);
            self.answer(id, Ok(response));
        }
        panic!("it asks for ever: {:?}", self.manager);
    }

    /// The answer to a request, with this code everywhere.
    fn response(&mut self, request: &TransactionRequest, code: i16, has: TransactionVersion) -> TransactionResponse {
        response(request, code, (self.manager.version(), has), &mut self.epoch)
    }
}

/// What a coordinator of this version, and `has` from the next transaction on, answers, with this code everywhere.
pub(in crate::machine) fn response(
    request: &TransactionRequest,
    code: i16,
    (version, has): (TransactionVersion, TransactionVersion),
    epoch: &mut i16,
) -> TransactionResponse {
    match request {
        TransactionRequest::FindCoordinator(_) => TransactionResponse::FindCoordinator(NODE),
        TransactionRequest::InitProducerId(_) => {
            *epoch += i16::from(code == 0);
            let answer = InitProducerIdResponse::default().with_error_code(code);
            let answer = answer.with_producer_id(ProducerId(7)).with_producer_epoch(*epoch);
            TransactionResponse::InitProducerId(answer, has)
        }
        TransactionRequest::AddPartitionsToTxn(request) => {
            let topics = request.v3_and_below_topics.iter().map(|topic| {
                let each = topic.partitions.iter().map(|partition| {
                    let result = AddPartitionsToTxnPartitionResult::default().with_partition_index(*partition);
                    result.with_partition_error_code(code)
                });
                let topic = AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone());
                topic.with_results_by_partition(each.collect())
            });
            let answer = AddPartitionsToTxnResponse::default();
            TransactionResponse::AddPartitionsToTxn(answer.with_results_by_topic_v3_and_below(topics.collect()))
        }
        TransactionRequest::AddOffsetsToTxn(_) => {
            TransactionResponse::AddOffsetsToTxn(AddOffsetsToTxnResponse::default().with_error_code(code))
        }
        TransactionRequest::TxnOffsetCommit(request) => {
            let topics = request.topics.iter().map(|topic| {
                let each = topic.partitions.iter().map(|partition| {
                    let result = TxnOffsetCommitResponsePartition::default().with_error_code(code);
                    result.with_partition_index(partition.partition_index)
                });
                let topic = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
                topic.with_partitions(each.collect())
            });
            TransactionResponse::TxnOffsetCommit(TxnOffsetCommitResponse::default().with_topics(topics.collect()))
        }
        TransactionRequest::EndTxn(_) => {
            let raised = code == 0 && version == TransactionVersion::Two;
            *epoch += i16::from(raised);
            let answer = EndTxnResponse::default().with_error_code(code).with_producer_epoch(*epoch);
            TransactionResponse::EndTxn(answer.with_producer_id(ProducerId(if raised { 7 } else { -1 })), has)
        }
    }
}

pub(in crate::machine) fn offsets() -> GroupOffsets {
    let offsets = [(TopicPartition::new("clicks", 0), OffsetAndMetadata::new(5))].into();
    GroupOffsets { metadata: ConsumerGroupMetadata::standalone("g"), offsets }
}

/// A transaction of one partition, in version 1 and begun.
fn begun() -> Pair {
    let mut pair = Pair::new(7);
    pair.ask(TransactionManager::init);
    pair.serve(TransactionVersion::One);
    pair.ask(TransactionManager::begin);
    pair.manager.admit(0, &"clicks".into(), 0);
    pair.serve(TransactionVersion::One);
    assert_eq!(pair.manager.state(), State::InTransaction);
    pair
}

/// What becomes of the epoch after it is another matter: a commit was told to have failed when it could not be raised.
#[test]
fn a_commit_is_told_when_the_coordinator_has_answered_it() {
    let mut pair = begun();
    pair.manager.needs_bump = true;
    let commit = pair.ask(TransactionManager::commit);
    let (id, call) = pair.poll(true).unwrap();
    assert_matches_end(&call.request, true);
    let response = pair.response(&call.request, 0, TransactionVersion::One);
    pair.answer(id, Ok(response));
    assert_eq!(pair.manager.state(), State::Initializing);
    assert!(pair.outcome(commit).unwrap().is_ok());
    let begin = pair.ask(TransactionManager::begin);
    let (id, call) = pair.poll(true).unwrap();
    let response = pair.response(&call.request, ErrorCode::ProducerFenced.to_wire(), TransactionVersion::One);
    pair.answer(id, Ok(response));
    assert!(pair.outcome(begin).unwrap().as_ref().unwrap_err().is_fenced());
}

/// A commit always says whether it may have happened, also when the producer was lost before.
#[test]
fn a_commit_of_a_lost_producer_was_not_sent() {
    let mut pair = begun();
    pair.manager.fail(Error::broker(ErrorCode::ProducerFenced));
    let commit = pair.ask(TransactionManager::commit);
    pair.hear();
    let error = pair.outcome(commit).unwrap().as_ref().unwrap_err();
    assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent));
}

/// Fenced by the second EndTxn, it is not known what the first has done.
#[test]
fn an_end_that_was_not_answered_and_then_refused_may_have_happened() {
    for code in [ErrorCode::ProducerFenced, ErrorCode::TransactionAbortable] {
        let mut pair = begun();
        let commit = pair.ask(TransactionManager::commit);
        let (id, _) = pair.poll(true).unwrap();
        pair.answer(id, Err(Error::new(ErrorKind::Timeout).certainty(Certainty::PossiblySent)));
        pair.now += Duration::from_secs(2);
        let (id, call) = pair.poll(true).unwrap();
        let response = pair.response(&call.request, 0, TransactionVersion::One); // where it is now
        pair.answer(id, Ok(response));
        let (id, call) = pair.poll(true).unwrap();
        assert_matches_end(&call.request, true);
        let response = pair.response(&call.request, code.to_wire(), TransactionVersion::One);
        pair.answer(id, Ok(response));
        pair.serve(TransactionVersion::One);
        let error = pair.outcome(commit).unwrap().as_ref().unwrap_err();
        assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent), "{code}");
    }
}

/// As is COORDINATOR_NOT_AVAILABLE: the coordinator may have it in its log, which its successor will carry out.
#[test]
fn an_end_that_a_coordinator_could_not_see_through_may_have_happened() {
    for (code, may_have) in [(ErrorCode::CoordinatorNotAvailable, true), (ErrorCode::CoordinatorLoadInProgress, false)]
    {
        let mut pair = begun();
        let commit = pair.ask(TransactionManager::commit);
        for code in [code, ErrorCode::ProducerFenced] {
            let (id, call) = loop {
                pair.now += Duration::from_secs(2);
                let (id, call) = pair.poll(true).unwrap();
                if let TransactionRequest::EndTxn(_) = call.request {
                    break (id, call);
                }
                let response = pair.response(&call.request, 0, TransactionVersion::One);
                pair.answer(id, Ok(response)); // where it is now
            };
            let response = pair.response(&call.request, code.to_wire(), TransactionVersion::One);
            pair.answer(id, Ok(response));
        }
        let error = pair.outcome(commit).unwrap().as_ref().unwrap_err();
        let certainty = if may_have { Certainty::PossiblySent } else { Certainty::NotSent };
        assert_eq!(error.delivery_certainty(), Some(certainty), "{code}");
    }
}

fn assert_matches_end(request: &TransactionRequest, commit: bool) {
    let TransactionRequest::EndTxn(end) = request else { panic!("{request:?} instead of EndTxn") };
    assert_eq!(end.committed, commit);
}

/// Anything that can be asked and answered, in any order: the states follow Kafka's table (`enter` asserts that), every call
/// is answered once, one request at a time is under way, nothing is ended before it is settled, and in version 1 no
/// transaction begins in an epoch of which a request may still arrive.
#[test]
fn whatever_is_asked_and_answered_the_states_are_kafkas_and_every_call_is_answered_once() {
    const CODES: [ErrorCode; 16] = {
        use ErrorCode::*;
        [
            ConcurrentTransactions,
            CoordinatorLoadInProgress,
            NotCoordinator,
            CoordinatorNotAvailable,
            RequestTimedOut,
            UnknownTopicOrPartition,
            InvalidProducerEpoch,
            ProducerFenced,
            InvalidTxnState,
            TransactionAbortable,
            UnknownServerError,
            IllegalGeneration,
            TopicAuthorizationFailed,
            TransactionalIdAuthorizationFailed,
            UnknownProducerId,
            OperationNotAttempted,
        ]
    };
    let mut reached = HashSet::new();
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::new(seed);
        let mut asked: Vec<(RequestId, TransactionCall)> = Vec::new();
        let mut spoiled: HashSet<i16> = HashSet::new();
        let mut begins: HashSet<u64> = HashSet::new();
        let mut version = if random.bool() { TransactionVersion::One } else { TransactionVersion::Two };
        pair.ask(TransactionManager::init);
        for _ in 0..random.usize(10..120) {
            pair.now += Duration::from_millis(random.u64(0..300));
            let told = pair.told.len();
            match random.u32(0..20) {
                0 => drop(pair.ask(|manager, operation| manager.send_offsets(operation, offsets()))),
                1 => drop(pair.ask(TransactionManager::commit)),
                2 if random.bool() => drop(pair.ask(|manager, operation| manager.abort(Some(operation)))),
                3 if random.bool() => pair.manager.abort(None),
                4 | 5 => drop(begins.insert(pair.ask(TransactionManager::begin).0)),
                6 => pair.manager.on_failed_batch(&Error::broker(CODES[random.usize(0..16)]), random.bool()),
                7 if random.u32(0..20) == 0 => pair.manager.fail(Error::new(ErrorKind::Closed)),
                8 if random.u32(0..10) == 0 => version = TransactionVersion::Two,
                9..=11 => drop(pair.manager.admit(random.usize(0..3), &"clicks".into(), 0)),
                12..=15 => {
                    let is_settled = random.bool();
                    if let Some((id, call)) = pair.poll(is_settled) {
                        assert!(is_settled || !matches!(call.request, TransactionRequest::EndTxn(_)), "seed {seed}");
                        asked.push((id, call));
                    }
                    let questions = asked.iter().filter(|(_, call)| call.to.is_some()).count();
                    assert!(questions <= 1, "seed {seed}: {asked:?}");
                }
                _ if asked.is_empty() => {}
                _ => {
                    let (id, call) = asked.swap_remove(random.usize(0..asked.len()));
                    let may_arrive = Error::new(ErrorKind::Timeout).certainty(Certainty::PossiblySent);
                    let answer = match random.u32(0..16) {
                        0 => Err(Error::new(ErrorKind::Connection).certainty(Certainty::NotSent)),
                        1 => Err(may_arrive),
                        2 => Err(Error::new(ErrorKind::Malformed).certainty(Certainty::PossiblySent)),
                        3 if random.u32(0..10) == 0 => Err(Error::new(ErrorKind::UnsupportedVersion)),
                        4..=7 => Ok(pair.response(&call.request, CODES[random.usize(0..16)].to_wire(), version)),
                        _ => Ok(pair.response(&call.request, 0, version)),
                    };
                    let lost =
                        answer.as_ref().is_err_and(|error| error.delivery_certainty() != Some(Certainty::NotSent));
                    let changes = !matches!(
                        call.request,
                        TransactionRequest::FindCoordinator(_) | TransactionRequest::InitProducerId(_)
                    );
                    if let (true, true, TransactionVersion::One, Some(producer)) =
                        (lost, changes, call.version, pair.manager.producer())
                    {
                        spoiled.insert(producer.epoch);
                    }
                    pair.answer(id, answer);
                }
            }
            pair.hear();
            reached.insert(pair.manager.state().name());
            for (operation, outcome) in &pair.told[told..] {
                if outcome.is_ok() && begins.contains(&operation.0) {
                    let epoch = pair.manager.producer().map(|producer| producer.epoch);
                    assert!(epoch.is_some_and(|epoch| !spoiled.contains(&epoch)), "seed {seed}: {:?}", pair.manager);
                }
            }
        }
        // A coordinator without a complaint, and an application that gives up.
        for (id, call) in asked {
            let response = pair.response(&call.request, 0, version);
            pair.answer(id, Ok(response));
        }
        pair.serve(version);
        pair.manager.abort(None);
        pair.serve(version);
        pair.hear();
        assert!(!pair.manager.is_busy(), "seed {seed}: {:?}", pair.manager);
        let mut told: Vec<u64> = pair.told.iter().map(|(operation, _)| operation.0).collect();
        told.sort_unstable();
        assert_eq!(told, (0..pair.next_operation).collect::<Vec<_>>(), "seed {seed}");
    }
    assert_eq!(reached.len(), State::ALL.len() - 1, "all but the one before `init`: {reached:?}");
}
