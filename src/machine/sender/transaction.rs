//! What ties a transactional producer's batches to its [`TransactionManager`].

use super::{Identity, Sender, SenderEvent, SenderRequest, SenderResponse, failure};
use crate::error::Result;
use crate::machine::RequestId;
use crate::machine::batch::Settled;
use crate::machine::transaction::{GroupOffsets, Operation, TransactionManager, TransactionVersion};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// What the application asks of its transactions. The outcome comes as [`SenderEvent::Done`].
#[derive(Debug, Clone)]
pub enum TransactionCommand {
    /// A producer id; before anything else.
    Init(Operation),
    /// See [`TransactionManager::begin`].
    Begin(Operation),
    /// See [`TransactionManager::send_offsets`].
    SendOffsets(Operation, GroupOffsets),
    /// See [`TransactionManager::commit`].
    Commit(Operation),
    /// See [`TransactionManager::abort`].
    Abort(Option<Operation>),
}

impl Sender {
    /// The application wants something of its transactions. Nothing, for a producer without any.
    pub fn command(&mut self, now: Instant, command: TransactionCommand) {
        let Some(transaction) = &mut self.transaction else { return };
        match command {
            TransactionCommand::Init(operation) => transaction.init(operation),
            TransactionCommand::Begin(operation) => transaction.begin(operation),
            TransactionCommand::SendOffsets(operation, offsets) => transaction.send_offsets(operation, offsets),
            TransactionCommand::Commit(operation) => {
                self.transaction_until = self.accumulator.flush();
                transaction.commit(operation);
            }
            TransactionCommand::Abort(operation) => {
                self.transaction_until = self.accumulator.flush();
                transaction.abort(operation);
            }
        }
        self.follow_transaction(now);
    }

    /// `transactional.id` and the version of the transaction under way, for the heads of requests.
    pub fn transaction(&self) -> Option<(&Arc<str>, TransactionVersion)> {
        self.transaction.as_ref().map(|transaction| (transaction.transactional_id(), transaction.version()))
    }

    /// Whether the transaction is lost: what has no number is not sent any more.
    pub(super) fn is_doomed(&self) -> bool {
        self.transaction.as_ref().is_some_and(TransactionManager::is_doomed)
    }

    /// The answer to a request of the transaction's goes there; any other is given back.
    pub(super) fn transaction_response(
        &mut self,
        now: Instant,
        id: RequestId,
        response: Result<SenderResponse>,
    ) -> Option<Result<SenderResponse>> {
        let Some(transaction) = &mut self.transaction else { return Some(response) };
        let response = match response {
            Ok(SenderResponse::Transaction(response)) => Ok(response),
            Err(error) if !self.in_flight.contains_key(&id) => Err(error),
            other => return Some(other),
        };
        match (transaction.handle_response(now, id, response.clone()), response) {
            (true, _) | (false, Ok(_)) => {
                self.follow_transaction(now);
                None
            }
            (false, Err(error)) => Some(Err(error)), // of a connection, then
        }
    }

    /// Does what has become of the transaction: a new epoch, partitions that may be written to, batches that may not.
    pub(super) fn follow_transaction(&mut self, now: Instant) {
        let Some(transaction) = &mut self.transaction else { return };
        while let Some((operation, outcome)) = transaction.poll_done() {
            self.events.push_back(SenderEvent::Done(operation, outcome));
        }
        if !transaction.take_news() {
            return; // what follows looks at every partition
        }
        if let Some(error) = transaction.fatal_error().cloned() {
            if !matches!(self.identity, Identity::Failed) {
                self.end(now, error);
            }
            return;
        }
        let doomed = transaction.is_doomed();
        if let Some(producer) = transaction.producer() {
            self.identity = Identity::Known(producer);
        }
        if doomed {
            self.drop_unnumbered();
        }
        self.look_at_unadmitted(now);
    }

    /// Fails what was never sent. What has a number is sent until there is an answer, or a late arrival could open a
    /// transaction behind the marker.
    fn drop_unnumbered(&mut self) {
        let Some(error) = self.transaction.as_ref().map(TransactionManager::lost_with_it) else { return };
        let (mut dropped, _) = self.accumulator.take_all(&error);
        for partition in self.partitions.iter_mut().flatten() {
            let (kept, unnumbered): (VecDeque<_>, VecDeque<_>) =
                partition.queue.drain(..).partition(|batch| batch.numbered.is_some());
            partition.queue = kept;
            dropped.extend(unnumbered);
        }
        dropped.sort_by_key(|batch| batch.order);
        for batch in dropped {
            let error = failure(&batch, error.clone());
            self.finish(batch, Settled::Failed(error));
        }
    }

    /// The transaction's next request.
    pub(super) fn poll_transaction(&mut self, now: Instant) -> Option<(RequestId, SenderRequest)> {
        self.look_for_unsealed(now);
        let Self { transaction, in_flight, accumulator, next_id, transaction_until, unsealed, .. } = self;
        let transaction = transaction.as_mut()?;
        let before = transaction.state();
        // In this order: a batch that could not be compressed counts before it has its outcome.
        let is_settled = || {
            in_flight.is_empty() && accumulator.is_flushed(*transaction_until) && accumulator.unsealed() == *unsealed
        };
        let request = transaction.poll_request(now, is_settled, || {
            *next_id += 1;
            RequestId(*next_id - 1)
        });
        if transaction.state() != before {
            self.follow_transaction(now); // it ended without a word to anyone
        }
        request.map(|(id, call)| (id, SenderRequest::Transaction(call)))
    }

    /// A batch that could not be compressed never came here: its records have failed, and the transaction with them.
    fn look_for_unsealed(&mut self, now: Instant) {
        let Some(transaction) = &mut self.transaction else { return };
        let unsealed = self.accumulator.unsealed();
        if std::mem::replace(&mut self.unsealed, unsealed) == unsealed {
            return;
        }
        if let Some(error) = self.accumulator.take_seal_error() {
            transaction.on_failed_batch(&error, false);
            self.follow_transaction(now);
        }
    }
}
