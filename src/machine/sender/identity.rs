//! Who the sender writes as: the producer id, and the epoch that is bumped when a number is missing.

use super::{FAREWELL, Partition, Place, Sender, SenderEvent, SenderRequest, SenderResponse};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::ProducerIdAndEpoch;
use crate::machine::RequestId;
use crate::machine::batch::Numbered;
use crate::wire::messages::InitProducerIdRequest;
use std::time::Instant;

/// Who writes.
///
/// ```text
/// Unknown --asked--> Asking --answer--> Known --epoch 32767 is used up, or refused--> Unknown
///    ^                  | retriable                 fatal --> Failed (everything fails with it)
///    +--- after wait ---+
/// ```
#[derive(Debug)]
pub(super) enum Identity {
    /// Without idempotence.
    None,
    Unknown {
        not_before: Option<Instant>,
    },
    Asking(RequestId),
    Known(ProducerIdAndEpoch),
    Failed,
}

impl Sender {
    pub(super) fn ask_for_identity(&mut self) {
        if self.transaction.is_some() {
            return; // it brings its own
        }
        let request = RequestId(self.next_id);
        self.next_id += 1;
        self.identity = Identity::Asking(request);
        let ask = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        self.requests.push_back((request, SenderRequest::InitProducerId(ask)));
    }

    /// A batch will not be written: its number, if it had one, will be missing, and its transaction is lost.
    pub(super) fn give_up(&mut self, numbered: Option<Numbered>, error: &Error) {
        match &mut self.transaction {
            Some(transaction) => transaction.on_failed_batch(error, numbered.is_some()),
            None => self.bump_epoch(numbered),
        }
    }

    /// This number will be missing.
    pub(super) fn bump_epoch(&mut self, missing: Option<Numbered>) {
        match (&self.identity, missing) {
            (Identity::Known(producer), Some(missing)) if *producer == missing.producer => {
                match producer.epoch.checked_add(1) {
                    Some(epoch) => self.identity = Identity::Known(ProducerIdAndEpoch { epoch, ..*producer }),
                    None => self.ask_for_identity(),
                }
            }
            _ => {} // not numbered, or bumped since
        }
    }

    pub(super) fn on_identity(&mut self, now: Instant, response: Result<SenderResponse>) {
        let answer = match response {
            Ok(SenderResponse::ProducerId(answer)) => match ErrorCode::check(answer.error_code) {
                Ok(()) => Ok(ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch }),
                Err(code) => Err(Error::broker(code).api("InitProducerId")),
            },
            Ok(_) => Err(Error::new(ErrorKind::Malformed)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(producer) => {
                self.backoff.reset();
                self.identity = Identity::Known(producer);
                self.look_at_unadmitted(now);
            }
            // Brokers say this while the id blocks are being handed out.
            Err(error) if error.is_retriable() || error.code() == Some(ErrorCode::ConcurrentTransactions) => {
                let wait = self.backoff.next_wait();
                self.identity = Identity::Unknown { not_before: Some(now + wait) };
            }
            Err(error) => {
                tracing::error!(%error, "the producer gets no id and can't go on");
                self.end(now, error);
            }
        }
    }

    /// Nothing can be sent any more.
    pub(super) fn end(&mut self, now: Instant, error: Error) {
        self.identity = Identity::Failed;
        self.accumulator.close();
        self.fail_unsent(&error);
        self.closing = Some(now + FAREWELL);
        self.events.push_back(SenderEvent::Failed(error));
    }

    /// Those that waited for a producer id, or to be of the transaction.
    pub(super) fn look_at_unadmitted(&mut self, now: Instant) {
        let waiting = |partition: &Option<Partition>| {
            partition.as_ref().is_some_and(|partition| partition.place == Place::Unadmitted)
        };
        let waiting: Vec<usize> =
            (0..self.partitions.len()).filter(|index| waiting(&self.partitions[*index])).collect();
        for index in waiting {
            if let Some(partition) = &mut self.partitions[index] {
                partition.place = Place::Idle;
            }
            self.activate(now, index);
        }
    }
}
