//! What merge knows: partial rows of windows that are not final yet, and how far each input partition is.
//!
//! A value without clock, socket or task. A window is final when the smallest watermark over *all* input partitions has
//! passed its end; a partition that has not been heard of counts as minus infinity. How many partitions there are, the
//! caller says, from an answer newer than that passing.

use crate::pipeline::{
    config::WindowSpec,
    rows::{self, FinalRow, TopRow, WatermarkRow, WindowRow, WindowsRecord},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Add, AddAssign, Sub},
};

/// What became of a record of `T.windows`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It is counted, or was read again after a restart.
    Counted,
    /// A partial row of a window that is final already: to `T.late`.
    Late,
    /// Neither row nor watermark: to `T.dlq`.
    Malformed,
}

/// What is committed with the offset. Watermarks are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The layout's version, 1.
    pub v: u32,
    /// The first offset of the windows that are not final yet, or the position.
    pub replay_from: i64,
    /// Per job: watermarks by input partition, the first as it is and each other as the difference to the one before;
    /// `null` for minus infinity, `true` for the end.
    pub wm: BTreeMap<String, Vec<Mark>>,
    /// Per job: all windows up to this are final.
    pub done: BTreeMap<String, i64>,
    /// Per job: the windows that it has ever written, by name.
    #[serde(default)]
    pub names: BTreeMap<String, BTreeSet<String>>,
    /// What the records have come to since the group began.
    #[serde(default, rename = "n")]
    pub counts: Counts,
}

/// What became of the records of `T.windows`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub struct Counts {
    /// Counted.
    pub kept: u64,
    /// Partial rows of windows that were final already.
    pub late: u64,
    /// Neither row nor watermark.
    pub dead: u64,
    /// Windows that became final.
    pub windows: u64,
}

impl From<[u64; 4]> for Counts {
    fn from([kept, late, dead, windows]: [u64; 4]) -> Self {
        Self { kept, late, dead, windows }
    }
}

impl From<Counts> for [u64; 4] {
    fn from(counts: Counts) -> Self {
        [counts.kept, counts.late, counts.dead, counts.windows]
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { kept, late, dead, windows } = other;
        Self { kept: self.kept + kept, late: self.late + late, dead: self.dead + dead, windows: self.windows + windows }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        let minus = |all: u64, part: u64| all.saturating_sub(part);
        Self {
            kept: minus(self.kept, part.kept),
            late: minus(self.late, part.late),
            dead: minus(self.dead, part.dead),
            windows: minus(self.windows, part.windows),
        }
    }
}

/// One watermark, delta-coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::exhaustive_enums, reason = "part of a committed layout")]
pub enum Mark {
    /// The difference to the nearest finite one before it.
    Delta(i64),
    /// The input has ended.
    End(bool),
    /// Nothing heard yet.
    Unknown(()),
}

impl Metadata {
    /// The metadata as it is committed.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `offset.metadata.max.bytes` of a broker, by default.
    pub const LIMIT: usize = 4_096;

    /// Refuses an input whose watermarks may not fit into what a broker keeps with an offset, even of one job.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_size(partitions: i32) -> Result<(), String> {
        // A watermark's distance to the next one's in milliseconds, over decades, and a comma.
        const EACH: usize = 14;
        const REST: usize = 300;
        let bytes = usize::try_from(partitions).unwrap_or(usize::MAX).saturating_mul(EACH) + REST;
        if bytes <= Self::LIMIT {
            return Ok(());
        }
        Err(format!(
            "{partitions} input partitions are more than merge can keep the watermarks of: they may need {bytes} bytes of \
             metadata with its offset, and a broker takes 4096 (offset.metadata.max.bytes)"
        ))
    }

    /// From an offset's metadata; `None` if it isn't merge's.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|metadata| metadata.v == 1)
    }
}

/// What became final, and what to commit with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finals {
    /// Key and value of each record for `T.final`, in order.
    pub records: Vec<(String, Vec<u8>)>,
    /// The rows among them.
    pub rows: Vec<FinalRow>,
    /// The lists of greatest counts among them.
    pub tops: Vec<TopRow>,
    /// How many windows those are.
    pub windows: u64,
    /// Per job: all windows up to this are final now.
    pub done: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Window {
    end_ms: i64,
    first_offset: i64,
    /// A partial row of it is incomplete.
    incomplete: bool,
    /// By key and input partition: a row that comes twice counts once.
    cells: BTreeMap<Option<String>, BTreeMap<i32, (i64, i64)>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Job {
    /// By input partition.
    watermarks: BTreeMap<i32, i64>,
    /// All windows up to this are final.
    done: Option<i64>,
    /// All windows that it has ever written, by name.
    names: BTreeSet<String>,
    /// By name and start.
    windows: BTreeMap<(String, i64), Window>,
}

/// The state of merge.
#[derive(Debug, Clone, Default)]
pub struct MergeState {
    jobs: BTreeMap<String, Job>,
    /// How many counts a window's list has, by name.
    tops: BTreeMap<String, usize>,
    /// Below this offset records are read again.
    replay_until: i64,
}

impl MergeState {
    /// Numbers that a partition may have: a watermark of another can't be of a topic whose watermarks fit into an offset's
    /// metadata.
    const PARTITIONS: std::ops::Range<i32> = 0..4_096;

    /// Nothing read yet.
    pub fn new(windows: &[WindowSpec]) -> Self {
        let tops = windows.iter().map(|window| (window.name.clone(), window.top)).collect();
        Self { tops, ..Self::default() }
    }

    /// As it was committed at `position`; read from `metadata.replay_from` on.
    pub fn restore(windows: &[WindowSpec], position: i64, metadata: &Metadata) -> Self {
        let mut state = Self { replay_until: position, ..Self::new(windows) };
        for (name, marks) in &metadata.wm {
            let job = state.jobs.entry(name.clone()).or_default();
            let mut last = 0;
            for (partition, mark) in (0..).zip(marks) {
                match mark {
                    Mark::Delta(delta) => {
                        last += delta;
                        job.watermarks.insert(partition, last);
                    }
                    Mark::End(_) => {
                        job.watermarks.insert(partition, rows::INFINITY);
                    }
                    Mark::Unknown(()) => {}
                }
            }
        }
        for (name, done) in &metadata.done {
            state.jobs.entry(name.clone()).or_default().done = Some(*done);
        }
        for (name, windows) in &metadata.names {
            state.jobs.entry(name.clone()).or_default().names.clone_from(windows);
        }
        state
    }

    /// Takes in one record.
    ///
    /// # Errors
    /// A sentence, if two jobs write a window of one name.
    pub fn apply(&mut self, offset: i64, value: Option<&[u8]>) -> Result<Applied, String> {
        let again = offset < self.replay_until;
        match value.and_then(WindowsRecord::parse) {
            Some(WindowsRecord::Watermark(WatermarkRow { job, partition, watermark_ms }))
                if Self::PARTITIONS.contains(&partition) =>
            {
                let mark = self.jobs.entry(job).or_default().watermarks.entry(partition).or_insert(i64::MIN);
                *mark = (*mark).max(watermark_ms);
                Ok(Applied::Counted)
            }
            Some(WindowsRecord::Row(row)) if Self::PARTITIONS.contains(&row.partition) => {
                let late = !self.row(offset, row)? && !again;
                Ok(if late { Applied::Late } else { Applied::Counted })
            }
            _ => Ok(if again { Applied::Counted } else { Applied::Malformed }),
        }
    }

    /// Whether a window would become final if the input still has this many partitions: worth asking how many there are.
    pub fn may_be_ready(&self, partitions: i32) -> bool {
        self.jobs.values().any(|job| {
            let reached = job.watermark(partitions);
            job.windows.values().any(|window| window.end_ms <= reached)
        })
    }

    /// What is final now, of an input with this many partitions. It leaves the state with [`committed`](Self::committed).
    pub fn ready(&self, partitions: i32) -> Finals {
        let mut finals = Finals::default();
        for (name, job) in &self.jobs {
            let reached = job.watermark(partitions);
            if reached == i64::MIN {
                continue;
            }
            finals.done.insert(name.clone(), reached);
            let mut closed: Vec<_> = job.windows.iter().filter(|(_, window)| window.end_ms <= reached).collect();
            closed.sort_by_key(|((window, start), content)| (content.end_ms, window.clone(), *start));
            for ((window, start_ms), content) in closed {
                finals.windows += 1;
                self.finish(name, window, *start_ms, content, &mut finals);
            }
        }
        finals
    }

    /// The finals are written and committed.
    pub fn committed(&mut self, finals: &Finals) {
        for (name, done) in &finals.done {
            let job = self.jobs.entry(name.clone()).or_default();
            job.done = Some(job.done.map_or(*done, |before| before.max(*done)));
            job.windows.retain(|_, window| window.end_ms > *done);
        }
    }

    /// What to commit at this position, once `finals` are written.
    pub fn metadata(&self, position: i64, finals: &Finals) -> Metadata {
        let mut metadata = Metadata { v: 1, replay_from: position, ..Metadata::default() };
        for (name, job) in &self.jobs {
            let done = finals.done.get(name).copied().max(job.done);
            let open = job.windows.values().filter(|window| Some(window.end_ms) > done);
            let first = open.map(|window| window.first_offset).min().unwrap_or(position);
            metadata.replay_from = metadata.replay_from.min(first);
            // Of one that has ended it is enough to know that.
            if done != Some(rows::INFINITY) {
                metadata.wm.insert(name.clone(), job.marks());
            }
            metadata.names.insert(name.clone(), job.names.clone());
            metadata.done.extend(done.map(|done| (name.clone(), done)));
        }
        metadata
    }

    /// The smallest watermark of all jobs over this many partitions, for screens.
    pub fn watermark(&self, partitions: i32) -> Option<i64> {
        let reached = self.jobs.values().map(|job| job.watermark(partitions)).min()?;
        (reached != i64::MIN).then_some(reached)
    }

    /// Whether the inputs of all jobs have ended.
    pub fn is_ended(&self, partitions: i32) -> bool {
        self.watermark(partitions) == Some(rows::INFINITY)
    }

    /// How many jobs have been heard of.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How many windows are not final yet.
    pub fn open_windows(&self) -> usize {
        self.jobs.values().map(|job| job.windows.len()).sum()
    }

    /// False if the row's window is final already.
    fn row(&mut self, offset: i64, row: WindowRow) -> Result<bool, String> {
        let other = self.jobs.iter().find(|(name, job)| **name != row.job && job.contests(&row));
        if let Some((other, _)) = other {
            return Err(format!(
                "the groups {other:?} and {:?} both write window {:?}: rows of T.final carry no group, so each window must \
                 come from one; use another topic, or another name for it in one of them",
                row.job, row.window
            ));
        }
        let job = self.jobs.entry(row.job).or_default();
        if !job.names.contains(&row.window) {
            job.names.insert(row.window.clone());
        }
        if job.done.is_some_and(|done| row.end_ms <= done) {
            return Ok(false);
        }
        let window = job.windows.entry((row.window, row.start_ms)).or_insert_with(|| Window {
            end_ms: row.end_ms,
            first_offset: offset,
            incomplete: false,
            cells: BTreeMap::new(),
        });
        window.incomplete |= row.incomplete;
        window.cells.entry(row.key).or_default().insert(row.partition, (row.count, row.sum_cents));
        Ok(true)
    }

    fn finish(&self, job: &str, window: &str, start_ms: i64, content: &Window, finals: &mut Finals) {
        let mut counts = Vec::new();
        for (key, parts) in &content.cells {
            let row = FinalRow {
                job: job.to_owned(),
                window: window.to_owned(),
                start_ms,
                end_ms: content.end_ms,
                key: key.clone(),
                count: parts.values().map(|part| part.0).sum(),
                sum_cents: parts.values().map(|part| part.1).sum(),
                incomplete: content.incomplete,
            };
            counts.extend(row.key.clone().map(|key| (key, row.count)));
            finals.records.push((row.record_key(), rows::to_json(&row)));
            finals.rows.push(row);
        }
        let n = self.tops.get(window).copied().unwrap_or(0);
        if n > 0 {
            let row = TopRow { window: window.to_owned(), start_ms, top: rows::top(counts, n) };
            finals.records.push((row.record_key(), rows::to_json(&row)));
            finals.tops.push(row);
        }
    }
}

impl Job {
    /// Whether it writes that window itself, or would have. A job that has stopped at an edge hands its later windows over
    /// (`--stop-at`): those that its own watermark has passed and that aren't final yet are no contest, except for the same
    /// one; what has been final for it stays its own.
    fn contests(&self, row: &WindowRow) -> bool {
        let (window, start_ms) = (row.window.as_str(), row.start_ms);
        if self.names.contains(window) && self.done.is_some_and(|done| row.end_ms <= done) {
            return true;
        }
        let passed = self.watermarks.values().min().copied().unwrap_or(i64::MIN);
        let all = self.windows.range((window.to_owned(), i64::MIN)..).take_while(|((name, _), _)| name == window);
        all.into_iter().any(|((_, start), open)| *start == start_ms || open.end_ms > passed)
    }

    /// The smallest over all partitions, `i64::MIN` while one is not heard of.
    fn watermark(&self, partitions: i32) -> i64 {
        (0..partitions)
            .map(|partition| self.watermarks.get(&partition).copied().unwrap_or(i64::MIN))
            .min()
            .unwrap_or(i64::MIN)
    }

    fn marks(&self) -> Vec<Mark> {
        let Some((&greatest, _)) = self.watermarks.last_key_value() else { return Vec::new() };
        let mut last = 0;
        let mark = |partition| match self.watermarks.get(&partition) {
            None | Some(&i64::MIN) => Mark::Unknown(()),
            Some(&rows::INFINITY) => Mark::End(true),
            Some(&watermark) => Mark::Delta(watermark - std::mem::replace(&mut last, watermark)),
        };
        (0..=greatest).map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::config::built_in_windows;

    fn row(window: &str, start_ms: i64, key: Option<&str>, partition: i32, count: i64) -> Vec<u8> {
        rows::to_json(&WindowRow {
            job: "j".to_owned(),
            window: window.to_owned(),
            start_ms,
            end_ms: start_ms + 60_000,
            key: key.map(str::to_owned),
            partition,
            count,
            sum_cents: count * 100,
            incomplete: false,
        })
    }

    fn mark(partition: i32, watermark_ms: i64) -> Vec<u8> {
        rows::to_json(&WatermarkRow { job: "j".to_owned(), partition, watermark_ms })
    }

    fn state() -> MergeState {
        MergeState::new(&built_in_windows())
    }

    #[test]
    fn a_window_is_final_when_the_last_partition_has_passed_its_end() {
        let mut merge = state();
        merge.apply(0, Some(&row("gmv_1m", 0, None, 0, 2))).unwrap();
        merge.apply(1, Some(&mark(0, 60_000))).unwrap();
        assert!(merge.may_be_ready(1) && merge.ready(2).rows.is_empty(), "partition 1 has not been heard of");
        merge.apply(2, Some(&row("gmv_1m", 0, None, 1, 3))).unwrap();
        merge.apply(3, Some(&mark(1, 59_999))).unwrap();
        assert!(merge.ready(2).rows.is_empty());
        merge.apply(4, Some(&mark(1, 60_000))).unwrap();
        let finals = merge.ready(2);
        assert_eq!((finals.rows[0].count, finals.rows[0].sum_cents), (5, 500));
        assert_eq!(finals.records[0].0, "gmv_1m|0|");
        let metadata = merge.metadata(5, &finals);
        assert_eq!(metadata.replay_from, 5);
        merge.committed(&finals);
        assert_eq!(merge.open_windows(), 0);
        assert_eq!(merge.apply(5, Some(&row("gmv_1m", 0, None, 1, 3))).unwrap(), Applied::Late);
        assert_eq!(merge.apply(6, Some(b"{")).unwrap(), Applied::Malformed);
    }

    #[test]
    fn a_row_that_comes_twice_counts_once_and_top_lists_follow_their_window() {
        let mut merge = state();
        for (offset, (key, partition, count)) in
            [("B", 0, 2), ("A", 0, 1), ("A", 1, 1), ("C", 1, 1), ("D", 1, 9), ("D", 1, 9)].into_iter().enumerate()
        {
            merge.apply(offset as i64, Some(&row("views_1m", 0, Some(key), partition, count))).unwrap();
        }
        merge.apply(9, Some(&mark(0, rows::INFINITY))).unwrap();
        merge.apply(10, Some(&mark(1, rows::INFINITY))).unwrap();
        let finals = merge.ready(2);
        let keys: Vec<_> = finals.records.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["views_1m|0|A", "views_1m|0|B", "views_1m|0|C", "views_1m|0|D", "views_1m|0|#top"]);
        let top: Vec<_> = finals.tops[0].top.iter().map(|entry| (entry.key.as_str(), entry.count)).collect();
        assert_eq!(top, [("D", 9), ("A", 2), ("B", 2)]);
        assert!(merge.is_ended(2) && !merge.is_ended(3));
    }

    #[test]
    fn two_jobs_with_one_window_name_are_refused() {
        let mut merge = state();
        merge.apply(0, Some(&row("gmv_1m", 0, None, 0, 2))).unwrap();
        let other = String::from_utf8(row("gmv_1m", 60_000, None, 0, 2)).unwrap().replace("\"j\"", "\"k\"");
        assert!(merge.apply(1, Some(other.as_bytes())).unwrap_err().contains("both write window \"gmv_1m\""));
    }

    /// `--stop-at`: the next job's rows can be there before the last windows of the one that stopped are final.
    #[test]
    fn a_job_that_has_stopped_hands_its_windows_over() {
        let other = |text: Vec<u8>| String::from_utf8(text).unwrap().replace("\"j\"", "\"k\"").into_bytes();
        let mut merge = state();
        merge.apply(0, Some(&row("gmv_1m", 0, None, 0, 2))).unwrap();
        merge.apply(1, Some(&mark(0, 60_000))).unwrap();
        merge.apply(2, Some(&other(row("gmv_1m", 60_000, None, 0, 3)))).unwrap();
        merge.apply(3, Some(&other(mark(0, 120_000)))).unwrap();
        let refused = merge.clone().apply(4, Some(&other(row("gmv_1m", 0, None, 0, 3)))).unwrap_err();
        assert!(refused.contains("both write window"), "the same window of two jobs: {refused}");
        let finals = merge.ready(1);
        let written: Vec<_> = finals.rows.iter().map(|row| (row.job.as_str(), row.start_ms, row.count)).collect();
        assert_eq!(written, [("j", 0, 2), ("k", 60_000, 3)]);
    }

    #[test]
    fn a_job_that_writes_anew_what_is_final_for_another_is_refused_even_after_a_restart() {
        let mut merge = state();
        merge.apply(0, Some(&row("gmv_1m", 0, None, 0, 2))).unwrap();
        merge.apply(1, Some(&mark(0, rows::INFINITY))).unwrap();
        let finals = merge.ready(1);
        let metadata = merge.metadata(2, &finals).to_json();
        merge.committed(&finals);
        let other = String::from_utf8(row("gmv_1m", 0, None, 0, 2)).unwrap().replace("\"j\"", "\"k\"");
        assert!(merge.apply(2, Some(other.as_bytes())).unwrap_err().contains("both write window \"gmv_1m\""));
        assert!(!metadata.contains("\"wm\":{\"j\""), "of a job that has ended the watermarks are not kept: {metadata}");
        let mut restored = MergeState::restore(&built_in_windows(), 2, &Metadata::parse(&metadata).unwrap());
        assert!(restored.apply(2, Some(other.as_bytes())).is_err());
    }

    #[test]
    fn a_partition_that_can_not_be_is_no_watermark_and_no_row() {
        let mut merge = state();
        for partition in [-1, 2_000_000_000] {
            assert_eq!(merge.apply(0, Some(&mark(partition, 60_000))), Ok(Applied::Malformed));
            assert_eq!(merge.apply(0, Some(&row("gmv_1m", 0, None, partition, 1))), Ok(Applied::Malformed));
        }
        // One beyond the input's holds up nobody.
        merge.apply(1, Some(&row("gmv_1m", 0, None, 0, 2))).unwrap();
        merge.apply(2, Some(&mark(7, 0))).unwrap();
        merge.apply(3, Some(&mark(0, 60_000))).unwrap();
        assert!(merge.may_be_ready(1) && merge.ready(1).rows.len() == 1);
    }

    /// Kills merge at every offset and compares what it writes with an undisturbed run.
    #[test]
    fn a_crash_anywhere_changes_no_final_row() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut log, mut at) = (Vec::new(), [0_i64; 3]);
            for _ in 0..100 {
                let partition = random.usize(..3);
                let key = ["A", "B"][random.usize(..2)];
                log.push(row("views_1m", at[partition] * 60_000, Some(key), partition as i32, random.i64(1..9)));
                if random.bool() {
                    at[partition] += 1;
                    log.push(mark(partition as i32, at[partition] * 60_000));
                }
            }
            log.extend((0..3).map(|partition| mark(partition, rows::INFINITY)));
            let run = |random: &mut fastrand::Rng, crashes: bool| {
                let (mut merge, mut position, mut written) = (state(), 0_usize, Vec::new());
                let mut committed: Option<(i64, String)> = None;
                while position < log.len() {
                    assert_ne!(merge.apply(position as i64, Some(&log[position])).unwrap(), Applied::Late);
                    position += 1;
                    let again = committed.as_ref().is_some_and(|(at, _)| (position as i64) < *at);
                    if again {
                        continue;
                    }
                    let finals = merge.ready(3);
                    // Sooner or later it commits without finals too: else a life shorter than the way to the next
                    // final window gets nowhere.
                    if !finals.records.is_empty() || random.u8(..4) == 0 {
                        let metadata = merge.metadata(position as i64, &finals).to_json();
                        written.extend(finals.records.clone());
                        merge.committed(&finals);
                        committed = Some((position as i64, metadata));
                    }
                    if crashes && random.u8(..10) == 0 {
                        let Some((at, metadata)) = &committed else { continue };
                        let metadata = Metadata::parse(metadata).unwrap();
                        position = usize::try_from(metadata.replay_from).unwrap();
                        merge = MergeState::restore(&built_in_windows(), *at, &metadata);
                        // A life that goes on to the end of the replay: else nothing gets on.
                        while (position as i64) < *at {
                            merge.apply(position as i64, Some(&log[position])).unwrap();
                            position += 1;
                        }
                    }
                }
                written
            };
            let calm = run(&mut random, false);
            assert_eq!(run(&mut random, true), calm, "seed {seed}");
        }
    }

    #[test]
    fn a_hundred_partitions_fit_into_an_offsets_metadata() {
        let mut merge = state();
        for partition in 0..100 {
            merge
                .apply(partition.into(), Some(&mark(partition, 1_705_329_000_000 + i64::from(partition) * 977)))
                .unwrap();
        }
        let text = merge.metadata(100, &Finals::default()).to_json();
        assert!(text.len() < 800, "{}", text.len());
        let restored = MergeState::restore(&built_in_windows(), 100, &Metadata::parse(&text).unwrap());
        assert_eq!(restored.watermark(100), merge.watermark(100));
    }
}
