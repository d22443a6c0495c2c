//! What screens look at: the stages write, a view reads. Never a source of decisions.

use crate::pipeline::{
    counts::Counts,
    rows::{FinalRow, TopRow},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One input partition, as the aggregator sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionLine {
    /// The next record to read.
    pub position: i64,
    /// Records below are read again, to have the open windows back.
    pub live_from: i64,
    /// Where the aggregator ends, with `--until-end`.
    pub until: Option<i64>,
    /// Records behind the end, if known.
    pub lag: Option<i64>,
    /// Its watermark, in microseconds; `i64::MIN` for none.
    pub watermark: i64,
}

/// What is known of a window that is not final yet, over all partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenWindow {
    /// The window's name.
    pub window: String,
    /// Where it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// How many events so far.
    pub count: i64,
    /// The sum of their prices in cents, so far.
    pub sum_cents: i64,
}

/// The numbers of the moment. Totals only grow: a stage that begins anew counts on from where the last one was.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Numbers {
    /// What is being done, in a word or two.
    pub phase: &'static str,
    /// By input partition.
    pub partitions: BTreeMap<i32, PartitionLine>,
    /// What has been committed of the records of the partitions that are or were ours, since the group began.
    pub counts: Counts,
    /// Windows that sum and are not final, oldest first.
    pub open: Vec<OpenWindow>,
    /// The newest final rows without a key, oldest first, at most [`Board::KEPT`] of each window.
    pub finals: Vec<FinalRow>,
    /// How many there were, those no longer kept included.
    pub finals_seen: u64,
    /// The newest list of greatest counts, by window.
    pub tops: BTreeMap<String, TopRow>,
    /// Windows final.
    pub windows_final: u64,
    /// Rows that the sink wrote.
    pub sink_rows: u64,
    /// Where merge is in its topic, and where it ends with `--until-end`.
    pub merged: Option<(i64, Option<i64>)>,
}

/// The numbers under a lock that is held for the copying only.
#[derive(Debug, Default)]
pub struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    numbers: Numbers,
    /// By input partition.
    totals: BTreeMap<i32, Counts>,
    /// Windows that sum, by start and name: count and cents of each input partition. A partition's part stays after it
    /// has closed there, until the window is final.
    open: BTreeMap<(i64, String), BTreeMap<i32, (i64, i64)>>,
    /// Each sink's rows; the last is at work.
    sinks: Vec<Arc<AtomicU64>>,
}

impl Board {
    /// How many final rows are kept of each window.
    pub const KEPT: usize = 30;
    /// How many open windows are kept.
    const OPEN: usize = 64;

    /// A copy of all numbers.
    pub fn numbers(&self) -> Numbers {
        let state = self.lock();
        let mut numbers = state.numbers.clone();
        numbers.sink_rows = state.sinks.iter().map(|rows| rows.load(Ordering::Relaxed)).sum();
        numbers.open = state
            .open
            .iter()
            .map(|((start_ms, window), parts)| OpenWindow {
                window: window.clone(),
                start_ms: *start_ms,
                count: parts.values().map(|part| part.0).sum(),
                sum_cents: parts.values().map(|part| part.1).sum(),
            })
            .collect();
        numbers
    }

    pub(super) fn phase(&self, phase: &'static str) {
        self.lock().numbers.phase = phase;
    }

    /// Where one partition is, and what its windows that sum hold: name, start, count and cents.
    pub(super) fn partition<'a>(
        &self,
        partition: i32,
        line: PartitionLine,
        open: impl Iterator<Item = (&'a str, i64, i64, i64)>,
    ) {
        let mut state = self.lock();
        state.numbers.partitions.insert(partition, line);
        for (window, start, count, cents) in open {
            state.open.entry((start / 1_000, window.to_owned())).or_default().insert(partition, (count, cents));
        }
        while state.open.len() > Self::OPEN {
            state.open.pop_first();
        }
    }

    pub(super) fn gone(&self, partition: i32) {
        self.lock().numbers.partitions.remove(&partition);
    }

    /// What a partition's records have come to since its group began.
    pub(super) fn counts(&self, partition: i32, total: &Counts) {
        let mut state = self.lock();
        state.totals.insert(partition, total.clone());
        let mut sum = Counts::default();
        state.totals.values().for_each(|counts| sum.add(counts));
        state.numbers.counts = sum;
    }

    pub(super) fn finals(&self, rows: &[FinalRow], tops: &[TopRow], windows: u64) {
        let mut state = self.lock();
        for row in rows {
            state.open.remove(&(row.start_ms, row.window.clone()));
        }
        let numbers = &mut state.numbers;
        numbers.windows_final += windows;
        let before = numbers.finals.len();
        numbers.finals.extend(rows.iter().filter(|row| row.key.is_none()).cloned());
        numbers.finals_seen += (numbers.finals.len() - before) as u64;
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for row in &numbers.finals {
            *kept.entry(row.window.clone()).or_default() += 1;
        }
        numbers.finals.retain(|row| match kept.get_mut(&row.window) {
            Some(rows) if *rows > Self::KEPT => {
                *rows -= 1;
                false
            }
            _ => true,
        });
        numbers.tops.extend(tops.iter().map(|top| (top.window.clone(), top.clone())));
    }

    pub(super) fn merged(&self, position: i64, until: Option<i64>) {
        self.lock().numbers.merged = Some((position, until));
    }

    /// Counts the rows of this sink, too.
    pub fn watch_sink(&self, rows: Arc<AtomicU64>) {
        self.lock().sinks.push(rows);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_of_a_stage_counts_on() {
        let board = Board::default();
        let counts = |read| Counts { read, dead: [("bad_json".into(), 1)].into(), ..Counts::default() };
        board.counts(0, &counts(10));
        board.counts(1, &counts(1));
        board.watch_sink(Arc::new(AtomicU64::new(4)));
        board.counts(0, &counts(15));
        board.watch_sink(Arc::new(AtomicU64::new(3)));
        let numbers = board.numbers();
        assert_eq!((numbers.counts.read, numbers.counts.dead["bad_json"], numbers.sink_rows), (16, 2, 7));
    }

    #[test]
    fn an_open_window_keeps_what_a_partition_has_closed_until_it_is_final() {
        let board = Board::default();
        let line = PartitionLine::default();
        board.partition(0, line, [("gmv_10s", 10_000_000, 2, 200)].into_iter());
        board.partition(1, line, [("gmv_10s", 10_000_000, 1, 50)].into_iter());
        board.partition(0, line, std::iter::empty());
        let open = &board.numbers().open;
        assert_eq!(open.iter().map(|w| (w.start_ms, w.count, w.sum_cents)).collect::<Vec<_>>(), [(10_000, 3, 250)]);
        let (job, window) = ("j".to_owned(), "gmv_10s".to_owned());
        let row = FinalRow {
            job,
            window,
            start_ms: 10_000,
            end_ms: 20_000,
            key: None,
            count: 3,
            sum_cents: 250,
            incomplete: false,
        };
        board.finals(&[row], &[], 1);
        assert!(board.numbers().open.is_empty());
    }
}
