//! Who is at work now, and what each last said of itself: gauges are made of this when somebody asks.

use crate::pipeline::{counts::Counts, metrics::Role};
use prometheus::IntCounter;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// A stage from its start to its end.
#[derive(Debug)]
pub(super) struct StageState {
    pub(super) role: Role,
    pub(super) group: Arc<str>,
    pub(super) joined: AtomicBool,
    beat: Mutex<Option<Instant>>,
    /// 0 not known, 1 away, 2 up.
    db: AtomicU8,
}

impl StageState {
    pub(super) fn new(role: Role, group: &str) -> Self {
        let (joined, beat, db) = (AtomicBool::new(false), Mutex::new(None), AtomicU8::new(0));
        Self { role, group: group.into(), joined, beat, db }
    }

    pub(super) fn alive(&self, now: Instant) {
        *lock(&self.beat) = Some(now);
    }

    /// True if that is news.
    pub(super) fn db_up(&self, up: bool) -> bool {
        let now = 1 + u8::from(up);
        self.db.swap(now, Ordering::Relaxed) != now
    }

    fn health(&self, now: Instant, partitions: usize) -> StageHealth {
        StageHealth {
            role: self.role,
            group: self.group.to_string(),
            quiet: lock(&self.beat).map(|beat| now.saturating_duration_since(beat)),
            joined: self.joined.load(Ordering::Relaxed),
            partitions,
            db_up: match self.db.load(Ordering::Relaxed) {
                0 => None,
                state => Some(state == 2),
            },
        }
    }
}

/// How a stage is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageHealth {
    /// Which.
    pub role: Role,
    /// Its group.
    pub group: String,
    /// For how long its loop hasn't come round; `None` before the first time.
    pub quiet: Option<Duration>,
    /// Whether its group has answered.
    pub joined: bool,
    /// How many partitions it owns.
    pub partitions: usize,
    /// Whether its database answered last, if it has one and asked it.
    pub db_up: Option<bool>,
}

/// Where a partition's series are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) stage: Role,
    pub(super) group: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

/// What was last seen of a partition: -1 and `i64::MIN` for what isn't known.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) lag: AtomicI64,
    pub(super) last_ms: AtomicI64,
    pub(super) watermark: AtomicI64,
    pub(super) open_windows: AtomicI64,
}

impl Default for Seen {
    fn default() -> Self {
        let unknown = || AtomicI64::new(-1);
        let (lag, last_ms, open_windows) = (unknown(), unknown(), unknown());
        Self { lag, last_ms, watermark: AtomicI64::new(i64::MIN), open_windows }
    }
}

/// A partition's gauges at one moment; what isn't known is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Gauges {
    /// Records between the position and the end.
    pub lag: Option<i64>,
    /// Age of the last record read while there is a lag, else 0.
    pub lag_seconds: Option<f64>,
    /// How far the watermark is behind the wall clock, in seconds.
    pub watermark_delay: Option<f64>,
    /// Windows that are open.
    pub open_windows: Option<i64>,
}

impl Seen {
    pub(super) fn gauges(&self, now_micros: i64) -> Gauges {
        let known = |number: &AtomicI64| Some(number.load(Ordering::Relaxed)).filter(|number| *number >= 0);
        let since = |then_micros: i64| now_micros.saturating_sub(then_micros) as f64 / 1e6;
        let lag = known(&self.lag);
        let lag_seconds = match lag {
            Some(0) => Some(0.0),
            Some(_) => known(&self.last_ms).map(|last| since(last.saturating_mul(1_000)).max(0.0)),
            None => None,
        };
        let watermark =
            Some(self.watermark.load(Ordering::Relaxed)).filter(|mark| *mark != i64::MIN && *mark != i64::MAX);
        Gauges { lag, lag_seconds, watermark_delay: watermark.map(since), open_windows: known(&self.open_windows) }
    }
}

/// Counters of one stage and topic, by partition.
type Counters = BTreeMap<i32, IntCounter>;

#[derive(Debug, Default)]
pub(super) struct Live {
    stages: Mutex<Vec<Arc<StageState>>>,
    partitions: Mutex<BTreeMap<Place, Arc<Seen>>>,
    counters: Mutex<BTreeMap<(Role, Arc<str>), Counters>>,
    /// What partitions had come to when they were last heard of, also of stages that have ended since.
    totals: Mutex<BTreeMap<Place, Counts>>,
}

impl Live {
    pub(super) fn began(&self, stage: &Arc<StageState>) {
        lock(&self.stages).push(stage.clone());
    }

    pub(super) fn ended(&self, stage: &Arc<StageState>) {
        lock(&self.stages).retain(|other| !Arc::ptr_eq(other, stage));
    }

    pub(super) fn health(&self, now: Instant) -> Vec<StageHealth> {
        let partitions = lock(&self.partitions);
        let of = |stage: &StageState| {
            partitions.keys().filter(|place| place.stage == stage.role && place.group == stage.group).count()
        };
        lock(&self.stages).iter().map(|stage| stage.health(now, of(stage))).collect()
    }

    pub(super) fn took(&self, place: Place, seen: Arc<Seen>) {
        lock(&self.partitions).insert(place, seen);
    }

    /// The next owner in this process may have taken it before the last one let go.
    pub(super) fn left(&self, place: &Place, seen: &Arc<Seen>) {
        let mut partitions = lock(&self.partitions);
        if partitions.get(place).is_some_and(|now| Arc::ptr_eq(now, seen)) {
            partitions.remove(place);
        }
    }

    pub(super) fn partitions(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Seen>>> {
        lock(&self.partitions)
    }

    pub(super) fn counter(&self, stage: Role, topic: &str, partition: i32, counter: IntCounter) {
        lock(&self.counters).entry((stage, topic.into())).or_default().insert(partition, counter);
    }

    /// What the place had come to before.
    pub(super) fn total(&self, place: &Place, total: Counts) -> Option<Counts> {
        lock(&self.totals).insert(place.clone(), total)
    }

    pub(super) fn forget(&self, place: &Place) {
        lock(&self.totals).remove(place);
    }

    /// For each stage and topic: the busiest partition's records over the average of all; 1 is even.
    pub(super) fn skew(&self) -> Vec<(Role, Arc<str>, f64)> {
        let ratio = |counters: &Counters| {
            let total: u64 = counters.values().map(IntCounter::get).sum();
            let most = counters.values().map(IntCounter::get).max()?;
            (total > 0).then(|| most as f64 * counters.len() as f64 / total as f64)
        };
        let counters = lock(&self.counters);
        counters.iter().filter_map(|((stage, topic), of)| Some((*stage, topic.clone(), ratio(of)?))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
