//! The aggregator's state of one input partition: event-time windows that close by the partition's own watermark.
//!
//! A value without clock, socket or task. What it says is a pure function of the partition's records; the idle timeout
//! and the end of the input are the only other inputs, and both end up in the committed watermark.
//!
//! ```text
//!  record --> parse --> future guard --> lateness, per window size --> filter --> open window
//!                |            |                   |                                  |  end <= watermark
//!                v            v                   v                                  v
//!               DLQ          DLQ            T.late (once)             Emission: rows, watermark, metadata
//! ```
//!
//! There is no state store: the windows still open are read again from `replay_from` on. That is exact, because every
//! event of an open window has an offset of at least `replay_from`, and what is older than the committed watermark was
//! either emitted or late.

mod dedup;

use crate::pipeline::{
    config::WindowSpec,
    counts::Counts,
    event::{self, Event, EventType, Reason, Rejected},
    rows::{INFINITY, WatermarkRow, WindowRow},
    timestamp,
};
use dedup::Seen;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// How many windows one job may have: late windows are a set of 64 bits.
pub const MAX_WINDOWS: usize = 64;

/// Everything that decides about a job's numbers. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The group, `job` in rows.
    pub job: String,
    /// The windows, in configured order; at most [`MAX_WINDOWS`].
    pub windows: Vec<WindowSpec>,
    /// How far events may be out of order without being late.
    pub bound: i64,
    /// `max.future.ms`: how far an event may be ahead of its record's timestamp.
    pub max_future: i64,
    /// `max.jump.ms`: how far an event may be ahead of its partition's newest; off by default.
    pub max_jump: Option<i64>,
    /// Events before this are skipped, and windows that begin before it are not emitted.
    pub from: Option<i64>,
    /// The watermark goes no further than this.
    pub stop_at: Option<i64>,
    /// Leaves out events whose `event_id` came before in the same window, while it is open: the latest-ending one of all
    /// that hold the event.
    pub dedup: bool,
}

impl JobSpec {
    /// `max.future.ms` by default: ten minutes.
    pub const MAX_FUTURE: i64 = 600_000_000;

    /// A job of this name, with the guards' defaults and without begin, end or deduplication.
    pub fn new(job: impl Into<String>, windows: Vec<WindowSpec>, bound: i64) -> Self {
        Self {
            job: job.into(),
            windows,
            bound,
            max_future: Self::MAX_FUTURE,
            max_jump: None,
            from: None,
            stop_at: None,
            dedup: false,
        }
    }

    /// The hash of windows, bound, guards and dedup: an offset committed under another one can't be continued.
    pub fn hash(&self) -> String {
        let Self { bound, max_future, max_jump, dedup, .. } = self;
        let mut text = format!("bound={bound} future={max_future} jump={max_jump:?} dedup={dedup}");
        for window in &self.windows {
            text.push(' ');
            text.push_str(&window.identity());
        }
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
    }

    /// The longest window, in microseconds.
    pub fn longest(&self) -> i64 {
        self.windows.iter().map(|window| window.size).max().unwrap_or(0)
    }

    /// Where the last window ends that holds this instant.
    fn last_end(&self, timestamp: i64) -> i64 {
        let ends = self.windows.iter().map(|window| window.newest_start(timestamp).saturating_add(window.size));
        ends.max().unwrap_or(i64::MAX)
    }
}

/// What is committed with the offset, as JSON in its metadata. Times are in microseconds, `null` for none yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The layout's version, 1.
    pub v: u32,
    /// [`JobSpec::hash`].
    pub spec: String,
    /// The watermark: all windows up to it have been emitted.
    pub wm: Option<i64>,
    /// The newest event time seen.
    pub max_ts: Option<i64>,
    /// Where to read again from: the smallest first offset of the windows still open, or the position.
    pub replay_from: i64,
    /// `--from-timestamp` of the first start.
    pub from: Option<i64>,
    /// Windows that begin up to this one miss records that retention had deleted (`--accept-gap`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<i64>,
    /// Records that may be read again and stay dead letters, since the registry did not have their schema when they were read first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownSchema>,
    /// What this partition's records have come to since the group began.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub counts: Counts,
    /// When it was committed, in milliseconds of the wall clock: brokers forget offsets that nobody renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
}

/// A schema that the registry did not have, for all records that name it between two offsets, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "as it is committed")]
pub struct UnknownSchema {
    /// Its id or guid.
    #[serde(rename = "s")]
    pub schema: String,
    /// The first of the records.
    #[serde(rename = "f")]
    pub first: i64,
    /// The last.
    #[serde(rename = "l")]
    pub last: i64,
}

fn is_empty(counts: &Counts) -> bool {
    *counts == Counts::default()
}

/// Why a committed offset can't be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMetadata {
    /// The offset carries none, or not ours.
    Foreign,
    /// It was written by a job with other windows, bound or guards.
    OtherSpec,
}

impl fmt::Display for BadMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the group's offset was not committed by an aggregator; use another --group",
            Self::OtherSpec => {
                "the group's offset was committed with other windows, bound or guards; use another --group for them"
            }
        })
    }
}

impl Metadata {
    /// From an offset's metadata.
    ///
    /// # Errors
    /// If it isn't one of ours.
    pub fn parse(text: &str) -> Result<Self, BadMetadata> {
        match serde_json::from_str::<Self>(text) {
            Ok(metadata) if metadata.v == 1 => Ok(metadata),
            _ => Err(BadMetadata::Foreign),
        }
    }

    /// Whether the input was declared ended (`--until-end`).
    pub fn is_ended(&self) -> bool {
        self.wm == Some(INFINITY)
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judged<'a> {
    /// Read again after a restart; it has been judged before.
    Replayed,
    /// Older than `--from-timestamp`.
    BeforeFrom,
    /// No event: to the dead letter queue.
    Dead(Rejected),
    /// An event. It is late for the windows whose bit is set, in configured order, and counted by the others.
    Event {
        /// The event.
        event: Event<'a>,
        /// Bit i: the interval of window i had closed.
        late: u64,
        /// Its `event_id` came before, in a window still open: no window counts it.
        duplicate: bool,
    },
}

impl Judged<'_> {
    /// A purchase without a price: nothing wrong, but nothing to count money from.
    pub fn has_no_price(event: &Event<'_>) -> bool {
        event.event_type == EventType::Purchase && event.price_cents.is_none()
    }
}

/// What one transaction carries besides late and dead records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The rows of all windows closed since the last one, by end, window, start and key.
    pub rows: Vec<WindowRow>,
    /// How many windows those are.
    pub windows_closed: u64,
    /// The watermark record that follows them.
    pub watermark: WatermarkRow,
    /// The offset to commit: the real position, so that lag is honest.
    pub position: i64,
    /// What to commit with it.
    pub metadata: Metadata,
}

#[derive(Debug, Clone, Default)]
struct Cell {
    count: i64,
    sum: i64,
    /// Whether the row has a key; the empty text is one.
    keyed: bool,
}

#[derive(Debug, Clone)]
struct Open {
    /// Of the first event in it; all others have greater ones.
    first_offset: i64,
    cells: HashMap<Box<str>, Cell>,
}

/// A restart: silent until the position reaches where the last life had committed.
#[derive(Debug, Clone)]
struct Replay {
    until: i64,
    watermark: i64,
    max_ts: i64,
}

/// The windows of one input partition.
#[derive(Debug, Clone)]
pub struct PartitionWindows {
    spec: Arc<JobSpec>,
    partition: i32,
    /// The newest event time, `i64::MIN` before the first.
    max_ts: i64,
    /// What the watermark never goes below: idle time, the end, a committed watermark.
    floor: i64,
    /// Per configured window: the open ones by start, and those closed whose emission isn't committed yet.
    open: Vec<BTreeMap<i64, Open>>,
    replay: Option<Replay>,
    seen: Seen,
    cut: Cut,
}

/// Which windows miss records that were deleted before anyone had read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// All that are open until an event says how far the log has got.
    FromHere,
    /// Those that begin up to here.
    UpTo(i64),
}

impl PartitionWindows {
    /// A partition that nobody has read yet.
    pub fn new(spec: Arc<JobSpec>, partition: i32) -> Self {
        let open = spec.windows.iter().map(|_| BTreeMap::new()).collect();
        let (seen, cut) = (Seen::default(), Cut::Nothing);
        Self { spec, partition, max_ts: i64::MIN, floor: i64::MIN, open, replay: None, seen, cut }
    }

    /// A partition as its last owner committed it at `position`; read it from `metadata.replay_from` on.
    ///
    /// # Errors
    /// If another kind of job committed it.
    pub fn restore(
        spec: Arc<JobSpec>,
        partition: i32,
        position: i64,
        metadata: &Metadata,
    ) -> Result<Self, BadMetadata> {
        if metadata.spec != spec.hash() {
            return Err(BadMetadata::OtherSpec);
        }
        let mut state = Self::new(spec, partition);
        state.max_ts = metadata.max_ts.unwrap_or(i64::MIN);
        state.floor = metadata.wm.unwrap_or(i64::MIN);
        if metadata.replay_from < position {
            let (watermark, max_ts) = (state.floor, state.max_ts);
            state.replay = Some(Replay { until: position, watermark, max_ts });
        }
        state.cut = match metadata.cut {
            None => Cut::Nothing,
            Some(i64::MAX) => Cut::FromHere,
            Some(start) => Cut::UpTo(start),
        };
        Ok(state)
    }

    /// Records between what was committed and where the log begins are gone: windows that may miss some are marked.
    pub fn accept_gap(&mut self) {
        self.cut = Cut::FromHere;
    }

    /// Judges one record whose value is JSON, as [`event`](Self::event) does.
    pub fn record<'a>(&mut self, offset: i64, record_ms: i64, value: Option<&'a [u8]>) -> Judged<'a> {
        self.event(offset, record_ms, event::parse(value))
    }

    /// Judges what was found in one record, in the order of the log; `record_ms` is the record's own timestamp.
    pub fn event<'a>(&mut self, offset: i64, record_ms: i64, event: Result<Event<'a>, Rejected>) -> Judged<'a> {
        self.reached(offset);
        let event = match event.and_then(|event| self.guard(event, record_ms)) {
            Ok(event) => event,
            Err(_) if self.replay.is_some() => return Judged::Replayed,
            Err(rejected) => return Judged::Dead(rejected),
        };
        if self.cut == Cut::FromHere {
            // What is gone came before this event, so it was at most the bound newer.
            self.cut = Cut::UpTo(event.timestamp.max(self.max_ts).saturating_add(self.spec.bound));
        }
        if let Some(replay) = &self.replay {
            let (watermark, max_ts) = (replay.watermark, replay.max_ts);
            if event.timestamp <= max_ts && self.spec.from.is_none_or(|from| event.timestamp >= from) {
                self.count(offset, &event, watermark);
            }
            return Judged::Replayed;
        }
        if self.spec.from.is_some_and(|from| event.timestamp < from) {
            return Judged::BeforeFrom;
        }
        let (late, duplicate) = self.count(offset, &event, self.watermark());
        self.max_ts = self.max_ts.max(event.timestamp);
        Judged::Event { event, late, duplicate }
    }

    /// The consumer's position, which passes markers and gaps that no record shows: ends a replay.
    pub fn reached(&mut self, position: i64) {
        if self.replay.as_ref().is_some_and(|replay| position >= replay.until) {
            self.replay = None;
        }
    }

    /// The partition had nothing new for `idle` microseconds before `wall`: event time goes on without it.
    pub fn idle(&mut self, wall: i64, idle: i64) {
        self.floor = self.floor.max(wall.saturating_sub(idle).saturating_sub(self.spec.bound));
    }

    /// The input has ended: everything closes.
    pub fn end(&mut self) {
        self.floor = INFINITY;
    }

    /// Everything that closed since the last committed emission, and what to commit with it at this position.
    pub fn emission(&self, position: i64) -> Emission {
        let watermark = self.watermark();
        let mut closed: Vec<(i64, usize, i64, &Open)> = Vec::new();
        let mut replay_from = position;
        for (index, (spec, open)) in self.spec.windows.iter().zip(&self.open).enumerate() {
            for (&start, window) in open {
                if start + spec.size <= watermark {
                    // One that only remembers ids has nothing to say.
                    if !window.cells.is_empty() {
                        closed.push((start + spec.size, index, start, window));
                    }
                } else {
                    replay_from = replay_from.min(window.first_offset);
                }
            }
        }
        closed.sort_unstable_by_key(|&(end, index, start, _)| (end, index, start));
        let rows =
            closed.iter().flat_map(|&(end, index, start, window)| self.rows(end, index, start, window)).collect();
        let known = |time: i64| (time != i64::MIN).then_some(time);
        Emission {
            rows,
            windows_closed: closed.len() as u64,
            watermark: WatermarkRow {
                job: self.spec.job.clone(),
                partition: self.partition,
                watermark_ms: to_millis(watermark),
            },
            position,
            metadata: Metadata {
                v: 1,
                spec: self.spec.hash(),
                wm: known(watermark),
                max_ts: known(self.max_ts),
                replay_from,
                from: self.spec.from,
                cut: match self.cut {
                    Cut::Nothing => None,
                    Cut::FromHere => Some(i64::MAX),
                    Cut::UpTo(start) => {
                        Some(start).filter(|start| *start > watermark.saturating_sub(self.spec.longest()))
                    }
                },
                unknown: Vec::new(),
                counts: Counts::default(),
                at: None,
            },
        }
    }

    /// The emission is committed: its windows leave the state.
    pub fn committed(&mut self, emission: &Emission) {
        let Some(watermark) = emission.metadata.wm else { return };
        self.seen.forget(watermark);
        for (spec, open) in self.spec.windows.iter().zip(&mut self.open) {
            while open.first_key_value().is_some_and(|(start, _)| start + spec.size <= watermark) {
                open.pop_first();
            }
        }
    }

    /// All windows that end at or before this are closed; `i64::MIN` before the first event.
    pub fn watermark(&self) -> i64 {
        let bounded = if self.max_ts == i64::MIN { i64::MIN } else { self.max_ts.saturating_sub(self.spec.bound) };
        self.floor.max(bounded).min(self.spec.stop_at.unwrap_or(i64::MAX))
    }

    /// Whether a window waits for its emission.
    pub fn has_closed(&self) -> bool {
        let watermark = self.watermark();
        let oldest = |(spec, open): (&WindowSpec, &BTreeMap<i64, Open>)| {
            open.first_key_value().is_some_and(|(start, _)| start + spec.size <= watermark)
        };
        self.replay.is_none() && self.spec.windows.iter().zip(&self.open).any(oldest)
    }

    /// Whether the watermark has reached `--stop-at`.
    pub fn is_stopped(&self) -> bool {
        self.replay.is_none() && self.spec.stop_at.is_some_and(|stop| self.watermark() >= stop)
    }

    /// Whether records are still being read again.
    pub fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// How many windows are open.
    pub fn open_windows(&self) -> usize {
        self.open.iter().map(BTreeMap::len).sum()
    }

    /// The windows that sum over all keys and are open: name, start, count and cents so far.
    pub fn open_sums(&self) -> impl Iterator<Item = (&str, i64, i64, i64)> {
        self.spec.windows.iter().zip(&self.open).filter(|(spec, _)| spec.sums()).flat_map(|(spec, open)| {
            open.iter().filter_map(|(&start, window)| {
                window.cells.get("").map(|cell| (spec.name.as_str(), start, cell.count, cell.sum))
            })
        })
    }

    /// The newest event time, if there was an event.
    pub fn max_timestamp(&self) -> Option<i64> {
        (self.max_ts != i64::MIN).then_some(self.max_ts)
    }

    fn guard<'a>(&self, event: Event<'a>, record_ms: i64) -> Result<Event<'a>, Rejected> {
        guard_future(&event, record_ms, self.spec.max_future)?;
        match self.spec.max_jump {
            Some(jump) if self.max_ts != i64::MIN && event.timestamp > self.max_ts.saturating_add(jump) => {
                let text = format!(
                    "{} is more than max.jump.ms after the partition's newest event, {}",
                    timestamp::format(event.timestamp),
                    timestamp::format(self.max_ts)
                );
                Err(Rejected::new(Reason::TimestampJump, text))
            }
            _ => Ok(event),
        }
    }

    /// Lateness for every window before any filter, then duplicates, then the filters. The set of windows that it is late
    /// for, and whether it is a duplicate.
    fn count(&mut self, offset: i64, event: &Event<'_>, watermark: i64) -> (u64, bool) {
        let mut late = 0;
        let dedup = self.spec.dedup;
        let duplicate = dedup && {
            let end = self.spec.last_end(event.timestamp);
            end > watermark && !self.seen.insert(end, &event.event_id)
        };
        for (index, (spec, open)) in self.spec.windows.iter().zip(&mut self.open).enumerate() {
            for start in spec.starts(event.timestamp) {
                if start + spec.size <= watermark {
                    late |= 1 << index;
                    continue;
                }
                let wanted = !duplicate && spec.wants(event) && self.spec.from.is_none_or(|from| start >= from);
                // An event that is remembered belongs to what has to be read again, wanted or not.
                if !wanted && !dedup {
                    continue;
                }
                let window = open.entry(start).or_insert_with(|| Open { first_offset: offset, cells: HashMap::new() });
                if !wanted {
                    continue;
                }
                let key = spec.key_of(event);
                let cell = match window.cells.get_mut(key.unwrap_or("")) {
                    Some(cell) => cell,
                    None => {
                        let cell = Cell { keyed: key.is_some(), ..Cell::default() };
                        window.cells.entry(key.unwrap_or("").into()).or_insert(cell)
                    }
                };
                cell.count += spec.count_of(event);
                // 92 thousand million millions of money in one window: saturating beats a crash loop.
                cell.sum = cell.sum.saturating_add(spec.cents_of(event));
            }
        }
        (late, duplicate)
    }

    fn rows(&self, end: i64, index: usize, start: i64, window: &Open) -> Vec<WindowRow> {
        let spec = &self.spec.windows[index];
        let mut cells: Vec<(&str, &Cell)> = window.cells.iter().map(|(key, cell)| (&**key, cell)).collect();
        cells.sort_unstable_by_key(|&(key, _)| key);
        let incomplete = match self.cut {
            Cut::Nothing => false,
            Cut::FromHere => true,
            Cut::UpTo(last) => start <= last,
        };
        let row = |(key, cell): (&str, &Cell)| WindowRow {
            job: self.spec.job.clone(),
            window: spec.name.clone(),
            start_ms: to_millis(start),
            end_ms: to_millis(end),
            key: cell.keyed.then(|| key.to_owned()),
            partition: self.partition,
            count: cell.count,
            sum_cents: cell.sum,
            incomplete,
        };
        cells.into_iter().map(row).collect()
    }
}

/// Refuses an event more than `max_future` microseconds ahead of its *record*: never judged by the wall clock, so that a
/// replay decides as the first run did.
///
/// # Errors
/// Reason `future_timestamp`.
pub fn guard_future(event: &Event<'_>, record_ms: i64, max_future: i64) -> Result<(), Rejected> {
    if record_ms >= 0 && event.timestamp > record_ms.saturating_mul(1_000).saturating_add(max_future) {
        let text = format!(
            "{} is more than max.future.ms ahead of its record's timestamp, {}",
            timestamp::format(event.timestamp),
            timestamp::format(record_ms.saturating_mul(1_000))
        );
        return Err(Rejected::new(Reason::FutureTimestamp, text));
    }
    Ok(())
}

/// Whole milliseconds, downwards; "never" and "for ever" keep their meaning.
fn to_millis(micros: i64) -> i64 {
    if micros == i64::MAX || micros == i64::MIN { micros } else { micros.div_euclid(1_000) }
}

#[cfg(test)]
mod tests;
