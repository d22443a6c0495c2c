//! Partitions whose records wait for a schema, while the others go on.

use crate::consumer::Records;
use crate::error::Result;
use crate::pipeline::event::EventReader;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// What came of one wait.
pub(super) type Read = (i32, Result<EventReader>);

/// By partition, records in their order; what reads the first of them is waited for.
#[derive(Default)]
pub(super) struct Waiting {
    parts: BTreeMap<i32, Part>,
    readers: FuturesUnordered<BoxFuture<'static, (i32, u64, Result<EventReader>)>>,
    /// Tells a partition's waits from those of one that was given up.
    waits: u64,
}

struct Part {
    wait: u64,
    records: VecDeque<Records>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.parts.keys()).finish()
    }
}

impl Waiting {
    pub(super) fn holds(&self, partition: i32) -> bool {
        self.parts.contains_key(&partition)
    }

    /// The partition's records, and what reads the first of them.
    pub(super) fn wait(
        &mut self,
        partition: i32,
        records: VecDeque<Records>,
        reader: BoxFuture<'static, Result<EventReader>>,
    ) {
        self.waits += 1;
        let wait = self.waits;
        self.parts.insert(partition, Part { wait, records });
        self.readers.push(Box::pin(async move { (partition, wait, reader.await) }));
    }

    /// Behind those that wait.
    pub(super) fn push(&mut self, partition: i32, records: Records) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.records.push_back(records);
        }
    }

    /// The next wait that is over; never, while there is none. A drop loses nothing.
    pub(super) async fn next(&mut self) -> Read {
        loop {
            match self.readers.next().await {
                Some((partition, wait, reader)) if self.parts.get(&partition).is_some_and(|part| part.wait == wait) => {
                    return (partition, reader);
                }
                Some(_) => {} // it was given up
                None => std::future::pending().await,
            }
        }
    }

    /// Nothing of this partition waits any more: its records.
    pub(super) fn take(&mut self, partition: i32) -> VecDeque<Records> {
        self.parts.remove(&partition).map(|part| part.records).unwrap_or_default()
    }
}
