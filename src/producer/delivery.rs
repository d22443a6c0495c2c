//! `Delivery`: the wait for a record's acknowledgement.

use crate::error::Result;
use crate::ids::TopicPartition;
use crate::machine::batch::{Callback, Ticket};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Where and when a record was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    topic: Arc<str>,
    partition: i32,
    offset: Option<i64>,
    timestamp: i64,
}

impl RecordMetadata {
    fn new(ticket: &Ticket, (offset, timestamp): (Option<i64>, i64)) -> Self {
        Self { topic: ticket.topic().clone(), partition: ticket.partition(), offset, timestamp }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Topic and partition.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), self.partition)
    }

    /// The record's offset; `None` if the broker did not say it: with `acks=0`, or when a retry turned out to have been
    /// written long before.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The record's timestamp in milliseconds since 1970: its own, or the broker's on a topic of
    /// `message.timestamp.type=LogAppendTime`.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }
}

/// The acknowledgement of one record, to be awaited. It borrows nothing, and gives the same answer as often as it is asked.
///
/// Dropping it means not to care: the record is sent all the same. A failure carries
/// [`Certainty`](crate::error::Certainty): whether the record may have been written all the same.
#[derive(Debug, Clone)]
#[must_use = "a record is acknowledged when its delivery is; drop it explicitly if nobody cares"]
pub struct Delivery {
    ticket: Ticket,
}

impl Delivery {
    pub(super) fn new(ticket: Ticket) -> Self {
        Self { ticket }
    }

    /// The answer, if it is there already.
    pub fn try_get(&self) -> Option<Result<RecordMetadata>> {
        let result = self.ticket.result()?;
        Some(result.map(|written| RecordMetadata::new(&self.ticket, written)))
    }

    /// As [`try_get`](Self::try_get), for those who don't care where it was written: it copies no name.
    pub fn try_outcome(&self) -> Option<Result<()>> {
        Some(self.ticket.result()?.map(drop))
    }

    /// The partition that the record goes to.
    pub fn partition(&self) -> i32 {
        self.ticket.partition()
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket.poll(cx).map_ok(|written| RecordMetadata::new(&self.ticket, written))
    }
}

/// What the batch calls with the record's ticket, once it has its outcome.
pub(super) fn callback(callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static) -> Callback {
    Box::new(move |ticket| {
        if let Some(result) = (Delivery { ticket }).try_get() {
            callback(result);
        }
    })
}
