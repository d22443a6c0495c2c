//! What the coordinator may answer in any order, and what the application may ask at any time.
#![allow(clippy::disallowed_methods, reason = "a test's start of time")]

use super::*;
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
        let config = TransactionConfig { transactional_id: "tx".into(), timeout: Duration::from_secs(60), backoff, seed };
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
        let request = self.manager.poll_request(self.now, || is_settled, || {
            *next_id += 1;
            RequestId(*next_id)
        });
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
        match request {
            TransactionRequest::FindCoordinator(_) => TransactionResponse::FindCoordinator(NODE),
            TransactionRequest::InitProducerId(_) => {
                self.epoch += i16::from(code == 0);
                let answer = InitProducerIdResponse::default().with_error_code(code);
                let answer = answer.with_producer_id(ProducerId(7)).with_producer_epoch(self.epoch);
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
                let raised = code == 0 && self.manager.version() == TransactionVersion::Two;
                self.epoch += i16::from(raised);
                let answer = EndTxnResponse::default().with_error_code(code).with_producer_epoch(self.epoch);
                TransactionResponse::EndTxn(answer.with_producer_id(ProducerId(if raised { 7 } else { -1 })), has)
            }
        }
    }
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

fn assert_matches_end(request: &TransactionRequest, commit: bool) {
    let TransactionRequest::EndTxn(end) = request else { panic!("{request:?} instead of EndTxn") };
    assert_eq!(end.committed, commit);
}
