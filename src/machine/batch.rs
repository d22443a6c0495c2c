//! `ProducerBatch`: the records of one partition that go over the wire together. It is the unit of nearly everything:
//! memory, sequence numbers, retries, outcomes.
//!
//! ```text
//! OpenBatch --seal, outside of the partition's lock--> ProducerBatch --first drain--> numbered --answer--> Outcome
//!  a buffer that grows                                  body: Bytes                   head: 61 bytes
//! ```
//! A batch that a broker finds too large is split in two (KIP-126): its outcome then is that of its halves.
//!
//! A sealed body is immutable until the final answer, and the same bytes are sent however often it takes
//! (KAFKA-19012: a reused buffer put records on another topic).

mod split;
pub use split::Halves;

use super::accumulator::{Attention, TopicQueues, capacity_for, lock};
use super::sync::Mutex;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::ProducerIdAndEpoch;
use crate::record::batch::HEADER_LEN;
use crate::record::compression::{Compression, Compressor};
use crate::record::encode::{BatchBody, RecordEncoder};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;

/// What the broker said of a batch that it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The offset of the batch's first record; `None` if the broker did not say (`acks=0`, or a duplicate of a batch
    /// that it has written already).
    pub base_offset: Option<i64>,
    /// The broker's time, which then is every record's timestamp (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: Option<i64>,
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub enum Settled {
    /// It is in the log.
    Written(Acknowledged),
    /// It is not, or nobody knows, for this reason.
    Failed(Error),
    /// It was refused because of some of its records (KIP-467).
    Rejected(RecordErrors),
}

/// Which records of a batch a broker refused; there is nothing wrong with the others.
#[derive(Debug, Clone)]
pub struct RecordErrors {
    /// What those to blame fail with.
    pub error: Error,
    /// Their places in the batch, and what the broker said of each.
    pub culprits: Vec<(u32, Option<String>)>,
}

impl RecordErrors {
    fn of(&self, index: u32) -> Error {
        match self.culprits.iter().find(|(culprit, _)| *culprit == index) {
            Some((_, Some(why))) => self.error.clone().message(why.clone()),
            Some((_, None)) => self.error.clone(),
            None => self.error.clone().of_another_record(),
        }
    }
}

/// What the deliveries of one batch wait for: one for all of them, so that a record costs an `Arc` and an index.
#[derive(Debug)]
pub struct Outcome {
    topic: Arc<str>,
    partition: i32,
    result: OnceLock<Resolution>,
    wakers: Mutex<Vec<Waker>>,
    /// Whom to tell when somebody waits.
    attention: Option<Attention>,
}

#[derive(Debug)]
enum Resolution {
    Settled(Settled),
    /// The records from this one on have the second outcome.
    Split(u32, [Arc<Outcome>; 2]),
}

impl Outcome {
    fn new(topic: Arc<str>, partition: i32, attention: Option<Attention>) -> Self {
        Self { topic, partition, result: OnceLock::new(), wakers: Mutex::default(), attention }
    }

    /// The first answer stands.
    fn complete(&self, result: Resolution) {
        let mut wakers = lock(&self.wakers); // under the lock, so that a delivery either sees the result or is woken
        let _ = self.result.set(result);
        let wakers = std::mem::take(&mut *wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One record's share of its batch's outcome.
#[derive(Debug, Clone)]
pub struct Ticket {
    outcome: Arc<Outcome>,
    index: u32,
    timestamp: i64,
}

impl Ticket {
    /// The topic that the record goes to.
    pub fn topic(&self) -> &Arc<str> {
        &self.outcome.topic
    }

    /// The partition that the record goes to.
    pub fn partition(&self) -> i32 {
        self.outcome.partition
    }

    /// The ticket of a record that no batch has taken: it has failed already.
    pub fn refused(topic: Arc<str>, partition: i32, error: Error) -> Self {
        let outcome = Outcome::new(topic, partition, None);
        outcome.complete(Resolution::Settled(Settled::Failed(error)));
        Self { outcome: Arc::new(outcome), index: 0, timestamp: -1 }
    }

    /// The ticket of another record of the same batch.
    pub fn of_record(&self, index: u32, timestamp: i64) -> Self {
        Self { outcome: self.outcome.clone(), index, timestamp }
    }

    /// Makes it the ticket of another record of the same batch and time.
    pub fn set_index(&mut self, index: u32) {
        self.index = index;
    }

    /// The record's number in its batch.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The record's own timestamp.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Whether both records are in one batch.
    pub fn is_of_same_batch(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.outcome, &other.outcome)
    }

    /// Offset, if the broker said it, and timestamp of the record; `None` while there is no answer.
    pub fn result(&self) -> Option<Result<(Option<i64>, i64)>> {
        self.settled().ok()
    }

    /// The result, or the outcome that it will come from.
    fn settled(&self) -> Result<Result<(Option<i64>, i64)>, &Outcome> {
        let (mut outcome, mut index) = (&*self.outcome, self.index);
        loop {
            match outcome.result.get() {
                None => return Err(outcome),
                Some(Resolution::Split(at, halves)) => match index.checked_sub(*at) {
                    None => outcome = &halves[0],
                    Some(rest) => (outcome, index) = (&halves[1], rest),
                },
                Some(Resolution::Settled(Settled::Written(written))) => {
                    let offset = written.base_offset.map(|base| base + i64::from(index));
                    return Ok(Ok((offset, written.log_append_time.unwrap_or(self.timestamp))));
                }
                Some(Resolution::Settled(Settled::Failed(error))) => return Ok(Err(error.clone())),
                Some(Resolution::Settled(Settled::Rejected(errors))) => return Ok(Err(errors.of(index))),
            }
        }
    }

    /// [`result`](Self::result), or the task is woken when there is one.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<(Option<i64>, i64)>> {
        loop {
            let outcome = match self.settled() {
                Ok(result) => return Poll::Ready(result),
                Err(outcome) => outcome,
            };
            let mut wakers = lock(&outcome.wakers);
            if outcome.result.get().is_some() {
                continue; // since the look; it may have been split
            }
            let is_first = wakers.is_empty();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            drop(wakers);
            if is_first && let Some(attention) = &outcome.attention {
                attention.on_awaited();
            }
            return Poll::Pending;
        }
    }
}

/// Called once with the ticket of a record whose batch has its outcome, on the sender's task.
pub type Callback = Box<dyn FnOnce(Ticket) + Send>;

/// A batch that still takes records. Its partition's lock guards it.
pub struct OpenBatch {
    /// In the order in which batches were opened, over all partitions.
    pub id: u64,
    /// The records so far.
    pub encoder: RecordEncoder,
    /// When it is ready at the latest: `linger.ms` after its first record.
    pub ready_at: Instant,
    /// When it fails at the latest: `delivery.timeout.ms` after the `send` of its first record.
    pub deadline: Instant,
    /// Its part of `buffer.memory`.
    pub memory: OwnedSemaphorePermit,
    outcome: Arc<Outcome>,
    callbacks: Vec<(u32, i64, Callback)>,
}

/// A batch that was sealed, or its id and why it could not be; and the buffer, if it can be used again.
pub type Sealed = (Result<ProducerBatch, (u64, Error)>, Option<Vec<u8>>);

impl OpenBatch {
    /// An empty batch for a partition.
    pub fn new(
        id: u64,
        encoder: RecordEncoder,
        (ready_at, deadline): (Instant, Instant),
        memory: OwnedSemaphorePermit,
        (topic, partition): (Arc<str>, u32),
        attention: Option<Attention>,
    ) -> Self {
        let outcome = Arc::new(Outcome::new(topic, partition as i32, attention));
        Self { id, encoder, ready_at, deadline, memory, outcome, callbacks: Vec::new() }
    }

    /// The ticket of the record that was appended as number `index`.
    #[inline]
    pub fn ticket(&mut self, index: u32, timestamp: i64, callback: Option<Callback>) -> Ticket {
        if let Some(callback) = callback {
            self.callbacks.push((index, timestamp, callback));
        }
        Ticket { outcome: self.outcome.clone(), index, timestamp }
    }

    /// Compresses the records and makes them immutable, gives back the memory that this saves, and the buffer if it can
    /// be used again. On an error the batch has failed with it.
    pub fn seal(
        self,
        topic: Arc<TopicQueues>,
        partition: u32,
        (compression, level): (Compression, Option<i32>),
        compressor: &mut Compressor,
        copy: impl FnOnce(usize) -> Vec<u8>,
    ) -> Sealed {
        let Self { id, encoder, deadline, mut memory, outcome, callbacks, .. } = self;
        let capacity = encoder.capacity();
        match encoder.seal_into(compression, level, compressor, copy) {
            Ok((body, buffer)) => {
                // What it really holds: the capacity of a buffer, not the length of what is in it.
                let held = HEADER_LEN + if buffer.is_none() { capacity } else { capacity_for(body.bytes().len()) };
                drop(memory.split(memory.num_permits().saturating_sub(held)));
                let batch = ProducerBatch {
                    id,
                    order: (id, 0),
                    siblings: None,
                    topic,
                    partition,
                    body: Some(body),
                    deadline,
                    attempts: 0,
                    possibly_sent: false,
                    possibly_appended: false,
                    numbered: None,
                    outcome,
                    callbacks,
                    memory,
                };
                (Ok(batch), buffer)
            }
            Err(error) => {
                let error = error.certainty(Certainty::NotSent);
                settle(&outcome, callbacks, Settled::Failed(error.clone()));
                (Err((id, error)), None)
            }
        }
    }
}

impl fmt::Debug for OpenBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBatch").field("id", &self.id).field("records", &self.encoder.record_count()).finish()
    }
}

/// The place of a batch in its writer's sequence, and the head that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Who writes; [`ProducerIdAndEpoch::NONE`] without idempotence.
    pub producer: ProducerIdAndEpoch,
    /// The sequence of its first record, -1 without idempotence.
    pub base_sequence: i32,
    /// The first 61 bytes of the batch.
    pub head: [u8; HEADER_LEN],
}

/// A sealed batch, until its final answer.
pub struct ProducerBatch {
    /// In the order in which batches were opened, over all partitions; pieces of one that was split have the same.
    pub id: u64,
    /// Within a partition the order of the records: the id, and where in the batch that was opened this piece begins.
    pub order: (u64, u32),
    /// Held by every piece of what was one batch that has no outcome yet.
    siblings: Option<Arc<()>>,
    /// The topic that it goes to.
    pub topic: Arc<TopicQueues>,
    /// The partition that it goes to.
    pub partition: u32,
    /// When it fails at the latest.
    pub deadline: Instant,
    /// How often it was sent.
    pub attempts: u32,
    /// Whether one of these attempts may have been written.
    pub possibly_sent: bool,
    /// The same, but by what the answers tell between the lines: good enough to send it in another form, not to promise.
    pub possibly_appended: bool,
    /// Written at its first drain and kept while the outcome is not known.
    pub numbered: Option<Numbered>,
    body: Option<BatchBody>, // taken only when its buffer is to be used again, at the end
    outcome: Arc<Outcome>,
    callbacks: Vec<(u32, i64, Callback)>,
    memory: OwnedSemaphorePermit,
}

impl ProducerBatch {
    /// The records, as they go over the wire.
    pub fn body(&self) -> &BatchBody {
        self.body.as_ref().expect("taken only by `release`, which takes the batch")
    }

    /// How many records it holds.
    pub fn record_count(&self) -> u32 {
        self.body().record_count()
    }

    /// Gives it its place in the sequence and writes the head. Only a batch that can't have been written may be numbered
    /// again.
    pub fn number(&mut self, producer: ProducerIdAndEpoch, base_sequence: i32, transactional: bool) {
        let head = self.body().head(producer, base_sequence, transactional);
        self.numbered = Some(Numbered { producer, base_sequence, head });
    }

    /// Whether it is a piece of one that was too large, and another piece has no outcome yet.
    pub fn is_piece(&self) -> bool {
        self.siblings.is_some()
    }

    /// Tells everyone who waits; the first answer stands. Whether that was the last piece of what was opened as one batch.
    pub fn settle(&mut self, settled: Settled) -> bool {
        settle(&self.outcome, std::mem::take(&mut self.callbacks), settled);
        self.siblings.take().is_none_or(|siblings| Arc::into_inner(siblings).is_some())
    }

    /// Whether the outcome is known to those who wait.
    pub fn is_settled(&self) -> bool {
        self.outcome.result.get().is_some()
    }

    /// The bytes of `buffer.memory` that it holds.
    pub fn held(&self) -> usize {
        self.memory.num_permits()
    }

    /// Gives its memory back, and its buffer if nothing else (a write under way) refers to it.
    pub fn release(mut self) -> Option<Vec<u8>> {
        self.body.take()?.into_buffer()
    }
}

impl Drop for ProducerBatch {
    /// Nobody waits for ever, whatever happens to the sender.
    fn drop(&mut self) {
        if !self.is_settled() {
            let certainty =
                if self.attempts > 0 || self.possibly_sent { Certainty::PossiblySent } else { Certainty::NotSent };
            self.settle(Settled::Failed(Error::new(ErrorKind::Closed).certainty(certainty)));
        }
    }
}

impl fmt::Debug for ProducerBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ProducerBatch");
        out.field("id", &self.id).field("topic", &self.topic.name()).field("partition", &self.partition);
        out.field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

fn settle(outcome: &Arc<Outcome>, callbacks: Vec<(u32, i64, Callback)>, settled: Settled) {
    outcome.complete(Resolution::Settled(settled));
    for (index, timestamp, callback) in callbacks {
        let ticket = Ticket { outcome: outcome.clone(), index, timestamp };
        // A callback that panics must not take the sender, and with it everyone else's records, along.
        if catch_unwind(AssertUnwindSafe(move || callback(ticket))).is_err() {
            tracing::error!("a producer's callback panicked");
        }
    }
}
