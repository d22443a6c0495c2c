//! What a coordinator's answer means for the transaction.

use super::{Asked, Coordinator, State, Step, TransactionManager, TransactionResponse, TransactionVersion};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{ProducerIdAndEpoch, TopicPartition};
use crate::machine::RequestId;
use crate::wire::messages::{
    AddPartitionsToTxnResponse, EndTxnResponse, InitProducerIdResponse, TxnOffsetCommitResponse,
};
use std::time::Instant;

/// What a code means to whoever asked a coordinator.
enum Verdict {
    /// Ask again after a while.
    Again,
    /// Ask another.
    Elsewhere,
    /// The transaction is lost.
    Abort(Error),
    /// The producer is lost.
    Fatal(Error),
}

impl TransactionManager {
    /// Takes the answer to a request of ours; `false` if it is none.
    pub fn handle_response(&mut self, now: Instant, id: RequestId, response: Result<TransactionResponse>) -> bool {
        let node = |response: Result<TransactionResponse>| match response? {
            TransactionResponse::FindCoordinator(node) => Ok(node),
            _ => Err(mismatched()),
        };
        if self.coordinator.is_asked(id) {
            if let Err(error) = self.coordinator.on_answer(now, node(response)) {
                self.fail(error);
            }
            return true;
        }
        if let Some(group) = self.groups.values_mut().find(|group| group.is_asked(id)) {
            if let Err(error) = group.on_answer(now, node(response)) {
                self.doom(error);
            }
            return true;
        }
        let Some(asked) = self.asked.take_if(|asked| asked.id == id) else { return false };
        if self.state == State::FatalError {
            return true;
        }
        match response {
            Ok(response) => self.on_response(now, asked, response),
            Err(error) => self.on_no_response(now, asked, error),
        }
        true
    }

    fn on_response(&mut self, now: Instant, asked: Asked, response: TransactionResponse) {
        let (api, outcome) = match (asked.step, response) {
            (Step::InitProducerId, TransactionResponse::InitProducerId(answer, supported)) => {
                ("InitProducerId", self.on_init(&answer, supported))
            }
            (Step::AddPartitions, TransactionResponse::AddPartitionsToTxn(answer)) => {
                ("AddPartitionsToTxn", self.on_partitions_added(&asked, &answer))
            }
            (Step::AddOffsets, TransactionResponse::AddOffsetsToTxn(answer)) => {
                ("AddOffsetsToTxn", self.on_group_added(answer.error_code))
            }
            (Step::OffsetCommit, TransactionResponse::TxnOffsetCommit(answer)) => {
                ("TxnOffsetCommit", self.on_offsets_committed(&answer))
            }
            (Step::EndTxn { .. }, TransactionResponse::EndTxn(answer, supported)) => {
                ("EndTxn", self.on_ended(&answer, supported))
            }
            _ => return self.fail(mismatched()),
        };
        match outcome {
            Ok(()) => {
                self.short_backoff.reset();
                self.backoff.reset();
                self.coordinator_of(&asked).works();
            }
            Err(code) => {
                if is_half_done(code) {
                    self.on_open_outcome(asked.step);
                }
                let verdict = Self::judge(asked.step, code);
                let place = |error: Error| error.api(api).node(asked.node);
                let verdict = match verdict {
                    Verdict::Abort(error) => Verdict::Abort(place(error)),
                    Verdict::Fatal(error) => Verdict::Fatal(place(error)),
                    again => again,
                };
                self.carry_out(now, asked, code, verdict);
            }
        }
    }

    fn carry_out(&mut self, now: Instant, asked: Asked, code: ErrorCode, verdict: Verdict) {
        match verdict {
            Verdict::Again => {
                let short = code == ErrorCode::ConcurrentTransactions;
                let backoff = if short { &mut self.short_backoff } else { &mut self.backoff };
                self.not_before = Some(now + backoff.next_wait());
                self.want_again(asked);
            }
            Verdict::Elsewhere => {
                self.coordinator_of(&asked).lost(now, asked.node);
                self.want_again(asked);
            }
            Verdict::Abort(error) => self.doom(error),
            Verdict::Fatal(error) => self.fail(error),
        }
    }

    /// No answer came: the connection broke, or the time was up.
    fn on_no_response(&mut self, now: Instant, asked: Asked, error: Error) {
        if error.delivery_certainty() != Some(Certainty::NotSent) {
            self.on_open_outcome(asked.step);
        }
        if !error.is_retriable() && error.kind() != ErrorKind::Malformed {
            return match asked.step {
                Step::InitProducerId | Step::EndTxn { .. } => self.fail(error),
                // A broker without transactions: the next one would fare no better.
                Step::AddPartitions | Step::AddOffsets if error.kind() == ErrorKind::UnsupportedVersion => {
                    self.fail(error);
                }
                _ => self.doom(error),
            };
        }
        self.coordinator_of(&asked).lost(now, asked.node);
        self.want_again(asked);
    }

    /// It may have been carried out, or will be.
    fn on_open_outcome(&mut self, step: Step) {
        if let (Step::EndTxn { .. }, Some(ending)) = (step, &mut self.ending) {
            ending.unanswered = true;
        }
        self.uncertain |= self.version == TransactionVersion::One && step != Step::InitProducerId;
    }

    /// What was asked for is still wanted, unless the transaction is given up.
    fn want_again(&mut self, asked: Asked) {
        if matches!(self.state, State::InTransaction | State::CommittingTransaction) {
            self.wanted.extend(asked.partitions);
        }
    }

    fn coordinator_of(&mut self, asked: &Asked) -> &mut Coordinator {
        match asked.group.as_ref().and_then(|group| self.groups.get_mut(group)) {
            Some(group) => group,
            None => &mut self.coordinator,
        }
    }

    fn on_init(&mut self, answer: &InitProducerIdResponse, supported: TransactionVersion) -> Result<(), ErrorCode> {
        ErrorCode::check(answer.error_code)?;
        self.producer = Some(ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch });
        self.supported = supported;
        // Whatever was open is ended by now.
        (self.started, self.uncertain, self.needs_bump) = (false, false, false);
        self.added.clear();
        self.error = None;
        self.ready();
        Ok(())
    }

    fn on_partitions_added(&mut self, asked: &Asked, answer: &AddPartitionsToTxnResponse) -> Result<(), ErrorCode> {
        let mut first = None;
        let topics = &answer.results_by_topic_v3_and_below;
        for result in topics.iter().flat_map(|topic| &topic.results_by_partition) {
            match ErrorCode::from_wire(result.partition_error_code) {
                // All or none are added; who is to blame is another one.
                None | Some(ErrorCode::OperationNotAttempted) => {}
                Some(code) => first = first.or(Some(code)),
            }
        }
        first.map_or(Ok(()), Err)?;
        self.started = true;
        self.added.extend(asked.partitions.keys());
        self.has_news = true;
        Ok(())
    }

    fn on_group_added(&mut self, code: i16) -> Result<(), ErrorCode> {
        ErrorCode::check(code)?;
        self.started = true;
        if let Some(front) = self.offsets.front_mut() {
            front.group_is_added = true;
        }
        Ok(())
    }

    fn on_offsets_committed(&mut self, answer: &TxnOffsetCommitResponse) -> Result<(), ErrorCode> {
        let Some(front) = self.offsets.front_mut() else { return Ok(()) }; // given up meanwhile
        let mut first = None;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                match ErrorCode::from_wire(partition.error_code) {
                    None => {
                        front.left.remove(&TopicPartition::new(topic.name.as_str(), partition.partition_index));
                    }
                    // What ends the transaction comes before what a retry cures.
                    Some(code) => {
                        first = first.filter(|first: &ErrorCode| !first.is_retriable()).or(Some(code));
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)?;
        if !front.left.is_empty() {
            return Err(ErrorCode::CoordinatorLoadInProgress); // left out of the answer: asked again
        }
        self.done.extend(self.offsets.pop_front().map(|offsets| (offsets.operation, Ok(()))));
        Ok(())
    }

    fn on_ended(&mut self, answer: &EndTxnResponse, supported: TransactionVersion) -> Result<(), ErrorCode> {
        match ErrorCode::check(answer.error_code) {
            // Nothing of what was not answered had arrived: there is nothing to abort.
            Err(ErrorCode::InvalidTxnState) if !self.started && self.uncertain => {}
            outcome => outcome?,
        }
        if answer.producer_id.0 >= 0 {
            self.producer = Some(ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch });
        }
        self.supported = supported;
        self.complete();
        Ok(())
    }

    /// By the Java client's handlers.
    fn judge(step: Step, code: ErrorCode) -> Verdict {
        match code {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => Verdict::Elsewhere,
            ErrorCode::RequestTimedOut if step == Step::OffsetCommit => Verdict::Elsewhere,
            // An older coordinator calls it INVALID_PRODUCER_EPOCH.
            ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => Verdict::Fatal(fenced(code)),
            ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::ClusterAuthorizationFailed => Verdict::Fatal(Error::broker(code)),
            _ if code.is_retriable() => Verdict::Again,
            _ => match (step, code) {
                (Step::EndTxn { commit: true }, ErrorCode::TransactionAbortable | ErrorCode::UnknownProducerId) => {
                    Verdict::Abort(Error::broker(code))
                }
                (Step::EndTxn { commit: true }, ErrorCode::UnknownServerError) => {
                    Verdict::Fatal(unknown_outcome(Error::broker(code)))
                }
                (Step::InitProducerId | Step::EndTxn { .. }, _) | (_, ErrorCode::InvalidTxnState) => {
                    Verdict::Fatal(Error::broker(code))
                }
                // A member that was replaced, a group or a topic that may not be used: the producer can go on without.
                _ => Verdict::Abort(Error::broker(code)),
            },
        }
    }
}

/// Whether a coordinator answers this also when it has what was asked for in its log: it could not see it through, and
/// whoever loads the log may.
fn is_half_done(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::RequestTimedOut
            | ErrorCode::UnknownServerError
    )
}

fn fenced(code: ErrorCode) -> Error {
    let error = Error::broker(ErrorCode::ProducerFenced);
    let what = match code {
        ErrorCode::ProducerFenced => {
            "another producer has the transactional id, or the transaction took longer than its timeout"
        }
        _ => {
            "INVALID_PRODUCER_EPOCH of the coordinator: another producer has the transactional id, or the transaction took longer than its timeout"
        }
    };
    error.message(what)
}

fn unknown_outcome(cause: Error) -> Error {
    Error::with_message(
        cause.kind(),
        "whether the transaction was committed is not known: its coordinator failed over EndTxn",
    )
    .certainty(Certainty::PossiblySent)
    .caused_by(cause)
}

fn mismatched() -> Error {
    Error::with_message(ErrorKind::Malformed, "the answer to another question")
}
