//! What a sink is told.

use super::breaker::State;
use super::{Scope, What};
use crate::pipeline::config::Topics;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::watch;

/// What a sink is told.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    pub(super) topics: Topics,
    pub(super) what: What,
    pub(super) group: String,
    pub(super) instance: Option<String>,
    pub(super) batch: u64,
    pub(super) every: Duration,
    pub(super) until_end: bool,
    pub(super) max_future: i64,
    pub(super) most_dead: u8,
    pub(super) rows: Arc<AtomicU64>,
    pub(super) database: watch::Sender<State>,
}

impl SinkConfig {
    /// A sink of the rows that come from this input topic: purchases of `T`, or window results of `T.final`.
    pub fn new(input: &str, what: What) -> Self {
        let group = match what {
            What::Purchases => format!("{input}.sink"),
            What::Windows => format!("{input}.sink.windows"),
        };
        Self {
            topics: Topics::of(input),
            what,
            group,
            instance: None,
            batch: 5_000,
            every: Duration::from_millis(500),
            until_end: false,
            max_future: 600_000_000,
            most_dead: 50,
            rows: Arc::default(),
            database: watch::Sender::default(),
        }
    }

    /// The group; by default `T.sink`, or `T.sink.windows`. Positions in the database belong to it.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// A static member's name: a restart takes its partitions back at once.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Writes as soon as so many records are in hand, at least one; by default 5,000. Twice as many are kept in memory
    /// at most, and what the consumer prefetches.
    #[must_use]
    pub fn batch(mut self, records: u64) -> Self {
        self.batch = records.max(1);
        self
    }

    /// Writes what is in hand at least this often; by default every half second.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Ends when everything up to the high watermarks as of the start is written.
    #[must_use]
    pub fn until_end(mut self, until_end: bool) -> Self {
        self.until_end = until_end;
        self
    }

    /// `max.future.ms`, as the aggregator has it; by default 10 minutes.
    #[must_use]
    pub fn max_future(mut self, max_future: Duration) -> Self {
        self.max_future = i64::try_from(max_future.as_micros()).unwrap_or(i64::MAX);
        self
    }

    /// Stops when more than so many of a hundred records or rows are bad; by default 50.
    #[must_use]
    pub fn most_dead_percent(mut self, percent: u8) -> Self {
        self.most_dead = percent;
        self
    }

    /// Counts the rows written so far, for those who watch.
    pub fn rows(&self) -> Arc<AtomicU64> {
        self.rows.clone()
    }

    /// Whether the database answers: [`State::Closed`] before it is first asked, and as long as it does.
    pub fn database(&self) -> watch::Receiver<State> {
        self.database.subscribe()
    }

    /// What the store's calls are about.
    pub fn scope(&self) -> Scope {
        Scope { group: self.group.clone(), topic: self.topic().to_owned(), what: self.what }
    }

    /// The topic that is read.
    pub fn topic(&self) -> &str {
        match self.what {
            What::Purchases => &self.topics.input,
            What::Windows => &self.topics.finals,
        }
    }
}
