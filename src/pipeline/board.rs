//! What screens look at: the stages write, a view reads. Never a source of decisions.

use crate::pipeline::{
    receipt::Counts,
    rows::{FinalRow, TopRow},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

/// One input partition, as the aggregator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionLine {
    /// The next record to read.
    pub position: i64,
    /// Records behind the end, if known.
    pub lag: Option<i64>,
    /// Its watermark, in microseconds; `i64::MIN` for none.
    pub watermark: i64,
}

/// The numbers of the moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Numbers {
    /// By input partition.
    pub partitions: BTreeMap<i32, PartitionLine>,
    /// What the aggregator counted.
    pub counts: Counts,
    /// The newest final rows, oldest first, at most [`Board::KEPT`].
    pub finals: Vec<FinalRow>,
    /// How many there were, those no longer kept included.
    pub finals_seen: u64,
    /// The newest list of greatest counts.
    pub top: Option<TopRow>,
    /// Windows final.
    pub windows_final: u64,
    /// Rows that the sink wrote.
    pub sink_rows: Arc<AtomicU64>,
}

/// The numbers under a lock that is held for the copying only.
#[derive(Debug, Default)]
pub struct Board(Mutex<Numbers>);

impl Board {
    /// How many final rows are kept.
    pub const KEPT: usize = 12;

    /// A copy of all numbers.
    pub fn numbers(&self) -> Numbers {
        self.lock().clone()
    }

    pub(super) fn partition(&self, partition: i32, position: i64, lag: Option<i64>, watermark: i64) {
        self.lock().partitions.insert(partition, PartitionLine { position, lag, watermark });
    }

    pub(super) fn gone(&self, partition: i32) {
        self.lock().partitions.remove(&partition);
    }

    pub(super) fn counts(&self, counts: &Counts) {
        self.lock().counts = counts.clone();
    }

    pub(super) fn finals(&self, rows: &[FinalRow], tops: &[TopRow], windows: u64) {
        let mut numbers = self.lock();
        numbers.windows_final += windows;
        let before = numbers.finals.len();
        numbers.finals.extend(rows.iter().filter(|row| row.key.is_none()).cloned());
        numbers.finals_seen += (numbers.finals.len() - before) as u64;
        let surplus = numbers.finals.len().saturating_sub(Self::KEPT);
        numbers.finals.drain(..surplus);
        if let Some(top) = tops.last() {
            numbers.top = Some(top.clone());
        }
    }

    pub(super) fn watch_sink(&self, rows: Arc<AtomicU64>) {
        self.lock().sink_rows = rows;
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
