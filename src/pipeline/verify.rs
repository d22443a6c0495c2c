//! Verification: all of `T` computed again as a batch, on another path than the aggregator's, and compared.
//!
//! For each window, key and start: batch over `T` = row on `T.final` + the events on `T.late` that name the window + what
//! deduplication leaves out. No bound is needed for that. Windows that the input has not passed yet, or that miss deleted
//! records, are left out, and counted. What must stand once (a row, a partial row, a late event for one window) and stands
//! twice is a difference too.
//!
//! The pipeline may be running. So the order is: how far merge is (group `T.merge`, where there is one), the watermarks that
//! it had then, how far the aggregators are, and only then the events, those before that. Each window is judged by the job
//! that writes it.

use crate::{
    consumer::ConsumerRecord,
    ids::TopicPartition,
    pipeline::{
        config::{Topics, WindowSpec},
        context::Context,
        dead_letter::{self, LATE_WINDOWS, Stage},
        error::Result,
        event::{Event as Click, EventReader, Reason},
        merge,
        rows::{self, FinalRow, TopRow, WindowsRecord},
        scan::{self, Progress},
        sink::compare::Purchases,
        topics, window,
    },
};
use cells::{Cells, Keys};
use jobs::Jobs;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

mod cells;
mod jobs;

/// What is verified, by which rules.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The topics.
    pub topics: Topics,
    /// The windows, as the aggregator has them.
    pub windows: Vec<WindowSpec>,
    /// `max.future.ms`, in microseconds.
    pub max_future: i64,
    /// `max.jump.ms`, in microseconds; off by default.
    pub max_jump: Option<i64>,
    /// `--from-timestamp` of the aggregator, in microseconds since 1970.
    pub from: Option<i64>,
    /// Whether the aggregator leaves out events whose id came before; then the windows must be all of its.
    pub dedup: bool,
    /// Where screens look.
    pub progress: Arc<Progress>,
}

impl Options {
    /// These windows over this input, with the default guards.
    pub fn new(input: &str, windows: Vec<WindowSpec>) -> Self {
        let max_future = window::JobSpec::MAX_FUTURE;
        let (max_jump, from, dedup, progress) = (None, None, false, Arc::default());
        Self { topics: Topics::of(input), windows, max_future, max_jump, from, dedup, progress }
    }
}

/// What the comparison found, per window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compared {
    /// Windows compared, of those with an event.
    pub windows: usize,
    /// Rows compared.
    pub rows: usize,
    /// Windows that are not final yet.
    pub open: usize,
    /// Windows that are marked as incomplete, since records had been deleted before they were read.
    pub incomplete: usize,
    /// Sums over the compared rows: batch, stream, late, duplicate.
    pub cents: [i64; 4],
    /// Counts over the compared rows: batch, stream, late, duplicate.
    pub counts: [i64; 4],
    /// Up to ten differences, as sentences.
    pub differences: Vec<String>,
    /// How many there are.
    pub different: usize,
}

/// What a look over the whole input found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// By window.
    pub windows: BTreeMap<String, Compared>,
    /// Records in the input.
    pub records: u64,
    /// Records that are no events.
    pub dead: u64,
    /// Distinct purchases with a price: what the sink's table must hold.
    pub purchases: Purchases,
}

impl Report {
    /// Whether everything is equal.
    pub fn is_equal(&self) -> bool {
        self.windows.values().all(|window| window.different == 0)
    }
}

/// Computes the windows over all of the input again and compares.
///
/// # Errors
/// The brokers', who must let us look at the groups' offsets, or no such topic. A difference is not an error here.
pub async fn run(context: &Context, options: &Options) -> Result<Report> {
    let Options { topics: names, windows, progress, .. } = options;
    let partitions = topics::partitions(&context.client.admin(), &names.input).await?;
    let mut keys = Keys::default();
    let mut found = Stream::new(windows.len());
    let merged = merged(context, names).await?;
    scan::all(context, &names.windows, progress, |record| found.partial(windows, record, merged)).await?;
    found.jobs.look(context, &names.input).await?;
    // Before the input: deduplication is about what is not late.
    scan::events(context, &names.late, progress, |record, reader| found.late(options, &mut keys, record, reader))
        .await?;
    let mut report = Report::default();
    let mut batch = vec![Cells::default(); windows.len()];
    let mut newest: HashMap<i32, i64> = HashMap::new();
    let mut ids: HashSet<u128> = HashSet::new();
    scan::events(context, &names.input, progress, |record, reader| {
        report.records += 1;
        let Some(click) = click(record, reader, options.max_future) else {
            report.dead += 1;
            return;
        };
        if let Some(cents) = click.price_cents {
            report.purchases.add(&click.event_id, cents);
        }
        if options.is_before(&click) {
            return;
        }
        if let Some(jump) = options.max_jump {
            let newest = newest.entry(record.partition()).or_insert(click.timestamp);
            if click.timestamp > newest.saturating_add(jump) {
                report.dead += 1;
                return;
            }
            *newest = click.timestamp.max(*newest);
        }
        let place = (record.partition(), record.offset());
        let is_duplicate = options.dedup && !found.is_late_for_all(place) && !ids.insert(options.id(place.0, &click));
        for (index, spec) in windows.iter().enumerate() {
            let is_left_out = is_duplicate && !found.is_late(index, place);
            options.each_interval(spec, &click, |start, value| {
                if !found.jobs.has_judged(index, start, place) {
                    return;
                }
                let key = keys.id(spec.key_of(&click).unwrap_or(""));
                batch[index].add(start, key, value);
                if is_left_out {
                    found.duplicate[index].add(start, key, value);
                }
            });
        }
    })
    .await?;
    scan::all(context, &names.finals, progress, |record| found.finals(windows, &mut keys, record)).await?;

    for (index, spec) in windows.iter().enumerate() {
        let compared = found.compare(index, spec, &batch[index], &keys, partitions);
        report.windows.insert(spec.name.clone(), compared);
    }
    Ok(report)
}

/// Up to where merge has read `T.windows`: what was ready there is on `T.final`. All of it if no such group is known.
async fn merged(context: &Context, names: &Topics) -> Result<i64> {
    let group = merge::Options::new(&names.input, Vec::new()).group;
    let offsets = context.client.admin().list_group_offsets(&group).await?;
    let ours = offsets.into_iter().find(|(name, _)| *name.topic == *names.windows);
    Ok(ours.map_or(i64::MAX, |(_, offset)| offset.committed.offset))
}

impl Options {
    fn is_before(&self, click: &Click<'_>) -> bool {
        self.from.is_some_and(|from| click.timestamp < from)
    }

    /// Every interval that holds the event, by the definition: k * advance <= t < k * advance + size; its start in
    /// milliseconds, newest first, and what the event adds to its count and sum.
    fn each_interval(&self, spec: &WindowSpec, click: &Click<'_>, mut each: impl FnMut(i64, (i64, i64))) {
        if !spec.wants(click) {
            return;
        }
        let value = (spec.count_of(click), spec.cents_of(click));
        let mut start = click.timestamp - click.timestamp.rem_euclid(spec.advance);
        while click.timestamp < start + spec.size {
            if self.from.is_none_or(|from| start >= from) {
                each(start.div_euclid(1_000), value);
            }
            start -= spec.advance;
        }
    }

    /// Partition, id, and the end of the last window that holds the event, as a number that no other has: events are
    /// compared with those of the same window only.
    fn id(&self, partition: i32, click: &Click<'_>) -> u128 {
        let end = |spec: &WindowSpec| click.timestamp - click.timestamp.rem_euclid(spec.advance) + spec.size;
        let end = self.windows.iter().map(end).max().unwrap_or(0);
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, partition, end, &click.event_id).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        hash(0) << 64 | hash(1)
    }
}

/// What the stages have written.
struct Stream {
    /// By window: all late events that name it.
    late: Vec<Cells>,
    /// By window: each late event in the oldest interval that holds it only, the first of them to close.
    oldest: Vec<Cells>,
    /// By window: what deduplication leaves out.
    duplicate: Vec<Cells>,
    finals: Vec<Cells>,
    /// By window: the starts that are marked.
    incomplete: Vec<BTreeSet<i64>>,
    tops: BTreeMap<(String, i64), TopRow>,
    /// By window: where the late events stand in the input.
    seen: Vec<HashSet<(i32, i64)>>,
    /// By window: the partial rows.
    partial: Vec<HashSet<(i32, i64, Option<String>)>>,
    jobs: Jobs,
    /// The windows whose rows have keys.
    keyed: HashSet<String>,
    /// By window: what stands twice.
    twice: Vec<Vec<String>>,
}

impl Stream {
    fn new(windows: usize) -> Self {
        let cells = || vec![Cells::default(); windows];
        Self {
            late: cells(),
            oldest: cells(),
            duplicate: cells(),
            finals: cells(),
            incomplete: vec![BTreeSet::new(); windows],
            tops: BTreeMap::new(),
            seen: vec![HashSet::new(); windows],
            partial: vec![HashSet::new(); windows],
            jobs: Jobs::new(windows),
            keyed: HashSet::new(),
            twice: vec![Vec::new(); windows],
        }
    }

    fn late(&mut self, options: &Options, keys: &mut Keys, record: &ConsumerRecord<'_>, reader: &EventReader) {
        let get = |name: &str| header(record, name);
        if get(dead_letter::STAGE) != Stage::Late.name() {
            return;
        }
        let Some(click) = click(record, reader, options.max_future).filter(|click| !options.is_before(click)) else {
            return;
        };
        let named = get(LATE_WINDOWS);
        let named: BTreeSet<&str> = named.split(',').collect();
        let place = get(dead_letter::PARTITION).parse().ok().zip(get(dead_letter::OFFSET).parse().ok());
        for (index, spec) in options.windows.iter().enumerate() {
            if !named.contains(spec.name.as_str()) {
                continue;
            }
            // By window: another group over the same input may have found the event late for its own.
            let Some(place) = place.filter(|place| self.seen[index].insert(*place)) else {
                let at = TopicPartition::new(record.topic(), record.partition());
                self.twice[index].push(format!("{at}@{}: this event was told to be late before", record.offset()));
                continue;
            };
            let mut oldest = None;
            options.each_interval(spec, &click, |start, value| {
                if !self.jobs.has_judged(index, start, place) {
                    return;
                }
                let key = keys.id(spec.key_of(&click).unwrap_or(""));
                self.late[index].add(start, key, value);
                oldest = Some((start, key, value));
            });
            if let Some((start, key, value)) = oldest {
                self.oldest[index].add(start, key, value);
            }
        }
    }

    fn is_late(&self, index: usize, place: (i32, i64)) -> bool {
        self.seen.get(index).is_some_and(|seen| seen.contains(&place))
    }

    fn is_late_for_all(&self, place: (i32, i64)) -> bool {
        self.seen.iter().all(|seen| seen.contains(&place))
    }

    /// Watermarks behind `merged` have made nothing final yet.
    fn partial(&mut self, windows: &[WindowSpec], record: &ConsumerRecord<'_>, merged: i64) {
        match record.value().and_then(WindowsRecord::parse) {
            Some(WindowsRecord::Watermark(mark)) if record.offset() < merged => self.jobs.watermark(mark),
            Some(WindowsRecord::Row(row)) => {
                let Some(index) = windows.iter().position(|spec| spec.name == row.window) else { return };
                self.jobs.row(index, &row);
                let twice = row.record_key();
                if !self.partial[index].insert((row.partition, row.start_ms, row.key)) {
                    self.twice[index].push(format!("{twice} stands on {} twice", record.topic()));
                }
            }
            Some(WindowsRecord::Watermark(_)) | None => {}
        }
    }

    fn finals(&mut self, windows: &[WindowSpec], keys: &mut Keys, record: &ConsumerRecord<'_>) {
        let Some(value) = record.value() else { return };
        if let Ok(row) = serde_json::from_slice::<FinalRow>(value) {
            let Some((index, spec)) = windows.iter().enumerate().find(|(_, spec)| spec.name == row.window) else {
                return;
            };
            let key = keys.id(row.key.as_deref().unwrap_or_default());
            if row.key.is_some() && !self.keyed.contains(&spec.name) {
                self.keyed.insert(spec.name.clone());
            }
            if row.incomplete {
                self.incomplete[index].insert(row.start_ms);
            }
            if self.finals[index].set(row.start_ms, key, (row.count, row.sum_cents)) {
                self.twice[index].push(format!("{} stands on {} twice", row.record_key(), record.topic()));
            }
        } else if let Ok(top) = serde_json::from_slice::<TopRow>(value) {
            self.tops.insert((top.window.clone(), top.start_ms), top);
        }
    }

    fn compare(&mut self, index: usize, spec: &WindowSpec, batch: &Cells, keys: &Keys, partitions: i32) -> Compared {
        let (stream, late, oldest) = (&self.finals[index], &self.late[index], &self.oldest[index]);
        let mut compared = Compared::default();
        for twice in self.twice[index].drain(..) {
            compared.differ(twice);
        }
        let starts: BTreeSet<i64> = batch.starts().chain(stream.starts()).collect();
        for start in starts {
            if start.saturating_add(spec.size / 1_000) > self.jobs.reached(index, start, partitions) {
                compared.open += 1;
                continue;
            }
            if self.incomplete[index].contains(&start) {
                compared.incomplete += 1;
                continue;
            }
            compared.windows += 1;
            let all: BTreeSet<u32> = batch.keys(start).chain(stream.keys(start)).collect();
            for key in all {
                compared.rows += 1;
                let of = |cells: &Cells| cells.get(start, key);
                let (b, s, l, d) = (of(batch), of(stream), of(late), of(&self.duplicate[index]));
                for (total, part) in compared.counts.iter_mut().zip([b.0, s.0, l.0, d.0]) {
                    *total += part;
                }
                for (total, part) in compared.cents.iter_mut().zip([b.1, s.1, l.1, d.1]) {
                    *total = total.saturating_add(part);
                }
                // A hopping window's late event was late for the oldest of its intervals, and perhaps for others: which
                // ones only the watermark of that instant knew.
                let (surely, hops) = (of(oldest).0, spec.advance < spec.size);
                let is_between = s.0 + surely + d.0 <= b.0 && b.0 <= s.0 + l.0 + d.0;
                if b != (s.0 + l.0 + d.0, s.1 + l.1 + d.1) && !(hops && surely < l.0 && is_between) {
                    compared.differ(format!(
                        "{} {start} {:?}: batch {} ({} cents), stream {} ({} cents), late {} ({} cents), duplicate {} ({} \
                         cents)",
                        spec.name,
                        keys.name(key),
                        b.0,
                        b.1,
                        s.0,
                        s.1,
                        l.0,
                        l.1,
                        d.0,
                        d.1
                    ));
                }
            }
            self.check_top(spec, start, &self.finals[index], keys, &mut compared);
        }
        compared
    }

    fn check_top(&self, spec: &WindowSpec, start: i64, stream: &Cells, keys: &Keys, compared: &mut Compared) {
        let mut counts = stream.keys(start).map(|key| (keys.name(key).to_owned(), stream.get(start, key).0)).peekable();
        if spec.top == 0 || !self.keyed.contains(&spec.name) || counts.peek().is_none() {
            return;
        }
        let expected = rows::top(counts, spec.top);
        let found = self.tops.get(&(spec.name.clone(), start));
        if found.is_none_or(|found| found.top != expected) {
            compared
                .differ(format!("{} {start}: the list of greatest counts is {found:?}, not {expected:?}", spec.name));
        }
    }
}

/// The ids of purchases that the sink's database refused, from `T.dlq`.
///
/// # Errors
/// The brokers'.
pub async fn refused(context: &Context, options: &Options) -> Result<HashSet<Box<str>>> {
    let mut ids = HashSet::new();
    scan::events(context, &options.topics.dlq, &options.progress, |record, reader| {
        let is_ours = header(record, dead_letter::STAGE) == Stage::Sink.name()
            && header(record, dead_letter::REASON) == Reason::RowRefused.name();
        if let Some(click) = click(record, reader, options.max_future).filter(|_| is_ours) {
            ids.insert(click.event_id.as_ref().into());
        }
    })
    .await?;
    Ok(ids)
}

impl Compared {
    fn differ(&mut self, text: String) {
        self.different += 1;
        if self.differences.len() < 10 {
            self.differences.push(text);
        }
    }
}

/// The last of a record's headers with this name: records that were set aside twice carry the older ones too.
fn header(record: &ConsumerRecord<'_>, name: &str) -> String {
    let found = record.headers().filter(|header| header.name == name.as_bytes()).last();
    found.and_then(|header| header.value).map_or(String::new(), |value| String::from_utf8_lossy(value).into())
}

fn click<'a>(record: &ConsumerRecord<'a>, reader: &EventReader, max_future: i64) -> Option<Click<'a>> {
    let click = reader.event(record).ok()?;
    window::guard_future(&click, record.timestamp(), max_future).ok()?;
    Some(click)
}
