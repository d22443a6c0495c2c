//! [`TransactionalProducer`] and [`Transaction`]: records and offsets that become visible together, or not at all (KIP-98).
//!
//! ```text
//! transactional_producer(id) --begin--> Transaction --commit--> visible to readers of isolation.level=read_committed
//!    fences who had the id                  |  | send, send_offsets
//!                                           |  +--abort, or dropped--> never visible
//!                                           +--an error--> aborted by the commit, which says why
//! ```
//! What ends a transaction is driven by the producer's task: a future that is dropped loses its answer, nothing else.

use super::driver::Command;
use super::{Deliveries, Delivery, Producer, ProducerConfig, ProducerMetrics, ProducerRecord, Purge, RecordMetadata};
use crate::client::Client;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};
use crate::machine::sender::TransactionCommand;
use crate::machine::transaction::{GroupOffsets, Operation};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

impl Client {
    /// A producer of transactions under `transactional_id`, once its coordinator has given it an epoch: whoever had the id
    /// before is fenced, and what he left open is aborted. There may be many on one client; each runs one task.
    ///
    /// Dropping the future closes the producer; the fencing may have happened.
    ///
    /// # Errors
    /// `Config` for settings that rule transactions out; `Timeout` if no coordinator gave an epoch within `max.block.ms`;
    /// `Denied` without the right to the id; `State` outside of a tokio runtime.
    pub async fn transactional_producer(
        &self,
        transactional_id: impl Into<Arc<str>>,
        config: ProducerConfig,
    ) -> Result<TransactionalProducer> {
        let transactional_id = transactional_id.into();
        let producer = self.start_producer(&config, Some(transactional_id.clone()))?;
        let producer = TransactionalProducer { producer, transactional_id };
        producer.call(TransactionCommand::Init, Certainty::NotSent).await?;
        Ok(producer)
    }
}

/// A producer whose records all belong to transactions, one after the other. It fences whoever had its `transactional.id`.
///
/// Dropping it aborts what is open, as [`Producer`]'s drop without waiting: if that does not succeed within a second, the
/// coordinator aborts after `transaction.timeout.ms`.
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: Producer,
    transactional_id: Arc<str>,
}

impl TransactionalProducer {
    /// `transactional.id`.
    pub fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// Begins a transaction, once the one before is at its end: that of a [`Transaction`] that was dropped, or of a `commit`
    /// whose answer nobody waited for.
    ///
    /// Dropping the future begins nothing.
    ///
    /// # Errors
    /// `Timeout` if the one before did not end within `max.block.ms`; and what [is fatal](Error::is_fatal): fenced, not
    /// allowed, closed, `UnsupportedVersion` on a broker before Kafka 2.5 if the one before needs a new epoch after it (an
    /// EndTxn that was not answered at first, a record that was lost; KIP-360).
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        // Made before the wait, so that dropping the wait takes the beginning back.
        let mut transaction = Transaction { producer: self, is_open: true };
        let begun = transaction.producer.call(TransactionCommand::Begin, Certainty::NotSent).await;
        transaction.is_open = begun.is_ok() || begun.as_ref().is_err_and(Error::is_timeout);
        begun.map(|()| transaction)
    }

    /// Waits for the end of what a dropped [`Transaction`] left open, and ends the task: within `timeout`, and a second more
    /// if then something is still under way.
    ///
    /// Dropping the future leaves the producer as after a drop.
    ///
    /// # Errors
    /// `Timeout` if the end did not come in time; why the abort failed.
    pub async fn close(self, timeout: Duration) -> Result<()> {
        let client = &self.producer.shared.client;
        let deadline = client.deadline(timeout);
        let abort = |operation| TransactionCommand::Abort(Some(operation));
        let aborted = timeout_at(deadline.into(), self.call(abort, Certainty::PossiblySent)).await;
        let closed = self.producer.close(deadline.saturating_duration_since(client.now())).await;
        match aborted {
            Ok(Err(error)) if !error.is_closed() => Err(error),
            Ok(_) => closed,
            Err(_) => Err(Error::with_message(ErrorKind::Timeout, "the transaction did not end in time")),
        }
    }

    /// Bytes of `buffer.memory` that nothing holds at the moment.
    pub fn free_memory(&self) -> usize {
        self.producer.free_memory()
    }

    /// As [`Producer::metrics`].
    pub fn metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    /// Waits for the outcome of a command, for `max.block.ms`. `unknown`: what a time-out means.
    async fn call(
        &self,
        what: impl FnOnce(Operation) -> TransactionCommand + Send + 'static,
        unknown: Certainty,
    ) -> Result<()> {
        let shared = &self.producer.shared;
        let (reply, outcome) = oneshot::channel();
        let closed = || shared.why(Error::with_message(ErrorKind::Closed, "the producer is closed").certainty(unknown));
        let command = Command::Transaction { what: Box::new(what), reply: Some(reply) };
        shared.commands.send(command).map_err(|_| closed())?;
        let deadline = shared.client.now() + shared.max_block;
        match timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let message = "the transaction's coordinator did not answer within max.block.ms";
                Err(Error::with_message(ErrorKind::Timeout, message).certainty(unknown))
            }
        }
    }
}

/// A transaction under way. There is one at a time; dropping it aborts it, and the next
/// [`begin`](TransactionalProducer::begin) waits for that.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    producer: &'a TransactionalProducer,
    is_open: bool,
}

impl Transaction<'_> {
    /// As [`Producer::send`]. A record that is refused here is not part of the transaction and doesn't end it; one whose
    /// [`Delivery`] fails does.
    ///
    /// # Errors
    /// Those of [`Producer::send`].
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        self.producer.producer.send(record).await
    }

    /// As [`Producer::send_with`].
    ///
    /// # Errors
    /// Those of [`Producer::send_with`].
    pub async fn send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static,
    ) -> Result<()> {
        self.producer.producer.send_with(record, callback).await
    }

    /// As [`Producer::try_send`].
    ///
    /// # Errors
    /// Those of [`Producer::try_send`].
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        self.producer.producer.try_send(record)
    }

    /// As [`Producer::send_many`]. A record that is refused is not part of the transaction and doesn't end it.
    pub fn send_many<'r, I>(&self, topic: &str, records: I) -> impl Future<Output = Deliveries> + Send
    where
        I: IntoIterator<Item = ProducerRecord<'r>, IntoIter: Send> + Send,
    {
        self.producer.producer.send_many(topic, records)
    }

    /// As [`Producer::flush`]. [`commit`](Self::commit) does it by itself.
    ///
    /// # Errors
    /// Those of [`Producer::flush`].
    pub async fn flush(&self, timeout: Duration) -> Result<usize> {
        self.producer.producer.flush(timeout).await
    }

    /// As [`Producer::purge`]. If any record was dropped nothing is left for the transaction but to be aborted.
    pub async fn purge(&self, what: Purge) -> usize {
        self.producer.producer.purge(what).await
    }

    /// Commits a consumer's offsets with this transaction, in the name of the member that consumed (KIP-447): take both from
    /// the consumer, [`positions`](crate::consumer::Consumer::positions) or a part of them, and
    /// [`group_metadata`](crate::consumer::Consumer::group_metadata).
    ///
    /// Dropping the future does not take the offsets back: the commit waits for them.
    ///
    /// # Errors
    /// `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID` or `FENCED_INSTANCE_ID` if the group has given the partitions to others: the
    /// transaction must be aborted. `UnsupportedVersion` for a member of a group on a broker before Kafka 2.5. Each of
    /// them dooms the transaction.
    pub async fn send_offsets(
        &self,
        offsets: HashMap<TopicPartition, OffsetAndMetadata>,
        metadata: ConsumerGroupMetadata,
    ) -> Result<()> {
        if metadata.group_id().is_empty() {
            let message = "offsets of a consumer without a group can't be committed";
            return Err(Error::with_message(ErrorKind::InvalidArgument, message).certainty(Certainty::NotSent));
        }
        let offsets = GroupOffsets { metadata, offsets };
        self.producer
            .call(|operation| TransactionCommand::SendOffsets(operation, offsets), Certainty::PossiblySent)
            .await
    }

    /// Sends what was taken, waits for it, and commits.
    ///
    /// Dropping the future after its first poll loses the answer only: the transaction is committed, and the next `begin`
    /// waits for that.
    ///
    /// # Errors
    /// [`is_abortable`](Error::is_abortable): a record or the offsets failed, and the transaction has been aborted; the next
    /// one can begin. [`is_fatal`](Error::is_fatal): fenced, or not allowed; close the producer. With
    /// [`PossiblySent`](Certainty::PossiblySent) it is not known whether it was committed: EndTxn was not answered within
    /// `max.block.ms` (the task goes on asking), or another producer took the id over before there was an answer.
    pub async fn commit(mut self) -> Result<()> {
        self.is_open = false;
        self.producer.call(TransactionCommand::Commit, Certainty::PossiblySent).await
    }

    /// Drops what was not sent, and aborts.
    ///
    /// Dropping the future after its first poll loses the answer only.
    ///
    /// # Errors
    /// `Timeout` after `max.block.ms`, in which case the producer goes on trying; and what is [fatal](Error::is_fatal).
    pub async fn abort(mut self) -> Result<()> {
        self.is_open = false;
        let abort = |operation| TransactionCommand::Abort(Some(operation));
        self.producer.call(abort, Certainty::PossiblySent).await
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let abort = Command::Transaction { what: Box::new(|_| TransactionCommand::Abort(None)), reply: None };
            let _ = self.producer.producer.shared.commands.send(abort); // without a task there is nothing to abort
        }
    }
}
