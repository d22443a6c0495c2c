//! The sink: rows and offsets in one database transaction.
//!
//! ```text
//! consumer --> batch (fold) --> stage: fence, offsets, rows --> refused rows to T.dlq, flushed --> commit
//!                 |                                                                                  |
//!                 +-- what parses as no event, to T.dlq, flushed                 Kafka's offset, for lag tools
//! ```
//!
//! What a [`Store`] promises: the position of each partition is kept *with* the rows and moves in the same transaction,
//! so whatever is killed at whatever instant, each record has changed the tables once or not at all. Kafka's committed
//! offset is never read. Each assignment claims its partitions: the claim counts `owner` up, and every write moves the
//! position only from where *this* owner left it (the fence), so a zombie that wakes up changes nothing.
//!
//! Not exactly once: the records on `T.dlq`, which may repeat after a crash or a database outage.

pub mod batch;
pub mod bisect;
pub mod breaker;
#[cfg(feature = "postgres")]
mod columns;
pub mod compare;
mod config;
pub mod embedded;
#[cfg(feature = "postgres")]
mod password;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod query;
mod run;
pub mod schema;
mod seen;
pub mod sqlstate;
#[cfg(feature = "postgres")]
mod sslmode;
mod waiting;
#[cfg(feature = "postgres")]
mod words;
mod writer;

pub use config::SinkConfig;
pub use run::run;

use crate::secret::Secret;
use std::{fmt, future::Future, sync::Arc};

/// A database that keeps rows and positions together.
///
/// One transaction is open at a time: [`stage`](Self::stage), then [`commit`](Self::commit) or
/// [`abandon`](Self::abandon). Dropping a future of these in the middle leaves the transaction to be rolled back by the
/// next call.
pub trait Store: Send {
    /// Takes the partitions over: counts their `owner` up, and begins at the log's start where there is no position yet.
    /// The claims come back in the order of `starts`, which holds partitions and their log start offsets.
    fn claim(&mut self, starts: &[(i32, i64)]) -> impl Future<Output = Result<Vec<Claim>, StoreError>> + Send;

    /// Opens a transaction and writes the batch into it: the fence and the positions first, in the order of partitions,
    /// then the rows. Rows that the database refuses are left out and named; the others stay.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where a position was not where this owner left it; nothing of the batch is written then.
    fn stage(&mut self, batch: &Arc<Batch>) -> impl Future<Output = Result<Staged, StoreError>> + Send;

    /// Makes what was staged durable.
    ///
    /// # Errors
    /// After [`Class::Transient`] nobody knows: ask [`is_written`](Self::is_written) before staging again.
    fn commit(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back what was staged and lets go of a connection that may be broken.
    fn abandon(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether this batch is in the tables: its commit was sent, and the answer was lost.
    fn is_written(&mut self, batch: &Arc<Batch>) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The positions of all partitions that have one.
    fn positions(&mut self) -> impl Future<Output = Result<Vec<(i32, i64)>, StoreError>> + Send;

    /// How many rows the table has.
    fn count(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Whose positions, and which rows: what all of a store's calls are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The consumer group.
    pub group: String,
    /// The topic that is read.
    pub topic: String,
    /// Which rows come from it.
    pub what: What,
}

/// Which rows a sink writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "the two tables of the pipeline")]
pub enum What {
    /// Purchases of `T` into `purchase_orders`.
    #[default]
    Purchases,
    /// Window results of `T.final` into `window_results`.
    Windows,
}

impl What {
    /// The table's name.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Purchases => "purchase_orders",
            Self::Windows => "window_results",
        }
    }
}

/// Where a sink's rows go, from `--to`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// `postgres://…` or `postgresql://…`: the URL, which may have a password in it.
    Postgres(Secret),
    /// `embedded:PATH`: a redb file.
    Embedded(std::path::PathBuf),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("embedded:").filter(|path| !path.is_empty()) {
            return Ok(Self::Embedded(path.into()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.into()));
        }
        Err("must be postgres://USER:PASSWORD@HOST/DATABASE or embedded:PATH".to_owned())
    }
}

/// A partition that is ours until somebody else claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub next_offset: i64,
    /// How often the partition has been claimed: ours as long as it stays this.
    pub owner: i64,
}

/// One partition's position moves from `old` to `new`, if it still is `old` and the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: i32,
    /// Where this owner left it.
    pub old: i64,
    /// The next record to read when the batch is written.
    pub new: i64,
    /// This owner.
    pub owner: i64,
}

/// What one transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The positions, in the order of partitions.
    pub moves: Vec<Move>,
    /// The rows, in the order of their records.
    pub rows: Rows,
}

/// Rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the two tables of the pipeline")]
pub enum Rows {
    /// Of `purchase_orders`.
    Purchases(Vec<Purchase>),
    /// Of `window_results`, each (window, start, key) once.
    Windows(Vec<WindowResult>),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Purchases(rows) => rows.len(),
            Self::Windows(rows) => rows.len(),
        }
    }

    /// Whether there are none: a batch may only move positions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A row of `purchase_orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The record's offset.
    pub kafka_offset: i64,
    /// Unique: a second row of the same id is left out.
    pub event_id: String,
    /// As the event has it; the table says whether it must be a number.
    pub user_id: String,
    /// Which product.
    pub product_id: String,
    /// The price in cents.
    pub price_cents: i64,
    /// Event time in microseconds since 1970.
    pub purchase_time: i64,
}

/// A row of `window_results`; a later one of the same (window, start, key) replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowResult {
    /// The window's name.
    pub window: String,
    /// Where it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// The key, empty for none.
    pub key: String,
    /// How many events.
    pub count: i64,
    /// The sum of their prices in cents.
    pub sum_cents: i64,
}

/// What became of a staged batch's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staged {
    /// Rows that are new, or replaced one.
    pub written: u64,
    /// Rows that were there already, or twice in the batch.
    pub present: u64,
    /// Rows that the database refuses.
    pub refused: Vec<Refused>,
}

/// A row that the database refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the batch's rows.
    pub row: usize,
    /// The database's words.
    pub message: String,
}

/// What to do about a database's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is nothing else to do about an error")]
pub enum Class {
    /// One row's fault: find it, leave it out.
    Row,
    /// The database is away, full or busy: roll back, reconnect, try again for as long as it takes.
    Transient,
    /// Nothing helps but a person: stop.
    Configuration,
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// These partitions are no longer this owner's, or were never claimed.
    Fenced(Vec<i32>),
    /// The database's error, with what to do about it.
    Database {
        /// What to do.
        class: Class,
        /// A sentence.
        message: String,
    },
}

impl StoreError {
    /// Trying again helps.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Database { class: Class::Transient, message: message.into() }
    }

    /// A person must do something; the sentence says what.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::Database { class: Class::Configuration, message: message.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(partitions) => write!(f, "another sink has claimed partitions {partitions:?}"),
            Self::Database { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for StoreError {}

/// Cents as a decimal number with two places: money is never a float.
pub(super) fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_written_exactly() {
        let texts = [0, 5, 100, 1_999, -5, i64::MAX, i64::MIN].map(decimal);
        let expected = ["0.00", "0.05", "1.00", "19.99", "-0.05", "92233720368547758.07", "-92233720368547758.08"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_target_is_a_url_or_a_file() {
        assert_eq!("embedded:/tmp/x.redb".parse(), Ok(Target::Embedded("/tmp/x.redb".into())));
        assert_eq!("postgres://u@h/d".parse(), Ok(Target::Postgres("postgres://u@h/d".into())));
        let target: Target = "postgresql://u:hidden@h/d".parse().unwrap();
        assert!(!format!("{target:?}").contains("hidden"), "{target:?}");
        for wrong in ["embedded:", "mysql://h/d", "/tmp/x.redb", ""] {
            assert!(wrong.parse::<Target>().unwrap_err().contains("embedded:PATH"), "{wrong}");
        }
    }
}
