//! A consumer as a `futures::Stream`, for those who live in combinators.

use super::{Consumer, Records};
use crate::error::Result;
use futures_util::stream::{Stream, unfold};
use std::time::Duration;

/// As good as for ever; a poll that waits says so by itself.
const LONG: Duration = Duration::from_secs(3_600);

impl Consumer {
    /// What [`poll`](Self::poll) brings, one after the other, without the empty ones. Sugar: asking for the next item says
    /// that the one before is processed, and revocations are acknowledged then.
    ///
    /// An error is an item, and others may follow on it, as with `poll`; after [`Closed`](crate::error::ErrorKind::Closed)
    /// the stream is at its end. Dropping the stream loses nothing: the consumer goes on where it was.
    pub fn stream(&mut self) -> impl Stream<Item = Result<Records>> + Send + Unpin + '_ {
        Box::pin(unfold(Some(self), |consumer| async move {
            let consumer = consumer?;
            loop {
                match consumer.poll(LONG).await {
                    Ok(records) if records.is_empty() => {}
                    Err(error) if error.is_closed() => return Some((Err(error), None)),
                    polled => return Some((polled, Some(consumer))),
                }
            }
        }))
    }
}
