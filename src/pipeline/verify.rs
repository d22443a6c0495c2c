//! Verification: all of `T` computed again as a batch, on another path than the aggregator's, and compared.
//!
//! For each window, key and start: batch over `T` = row on `T.final` + the events on `T.late` that name the window. No
//! bound is needed for that. Windows that the input has not passed yet are left out, and counted.

use crate::{
    consumer::{ConsumerRecord, Event},
    ids::TopicPartition,
    pipeline::{
        config::{Key, Topics, WindowSpec},
        context::Context,
        dead_letter::{LATE_WINDOWS, Stage},
        error::{PipelineError, Result},
        event::{self, Event as Click, Reason},
        rows::{self, FinalRow, TopRow, WindowsRecord},
        sink::compare::Purchases,
        topics, window,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

/// (start in milliseconds, key) -> (count, cents)
type Cells = BTreeMap<(i64, String), (i64, i64)>;

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
    /// Sums over the compared rows: batch, stream, late.
    pub cents: [i64; 3],
    /// Counts over the compared rows: batch, stream, late.
    pub counts: [i64; 3],
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

/// Computes `windows` over all of the input again and compares.
///
/// # Errors
/// The brokers', or no such topic. A difference is not an error here.
pub async fn run(context: &Context, names: &Topics, windows: &[WindowSpec], max_future: i64) -> Result<Report> {
    let mut report = Report::default();
    let mut batch: Vec<Cells> = vec![Cells::new(); windows.len()];
    scan(context, &names.input, |record| {
        report.records += 1;
        let Some(click) = click(record, max_future) else {
            report.dead += 1;
            return;
        };
        if let Some(cents) = click.price_cents {
            report.purchases.add(&click.event_id, cents);
        }
        for (spec, cells) in windows.iter().zip(&mut batch) {
            add(spec, &click, cells);
        }
    })
    .await?;

    let mut late: Vec<Cells> = vec![Cells::new(); windows.len()];
    let mut seen = HashSet::new();
    scan(context, &names.late, |record| {
        let get = |name: &str| header(record, name);
        if get("__connect.errors.stage") != Stage::Late.name() {
            return;
        }
        // A crash between effect and commit writes a late event again: its coordinates are the same.
        if !seen.insert((get("__connect.errors.partition"), get("__connect.errors.offset"))) {
            return;
        }
        let named = get(LATE_WINDOWS);
        let named: BTreeSet<&str> = named.split(',').collect();
        let Some(click) = click(record, max_future) else { return };
        for (spec, cells) in windows.iter().zip(&mut late) {
            if named.contains(spec.name.as_str()) {
                add(spec, &click, cells);
            }
        }
    })
    .await?;

    let partitions = topics::partitions(&context.client.admin(), &names.input).await?;
    let mut watermarks: BTreeMap<i32, i64> = BTreeMap::new();
    scan(context, &names.windows, |record| {
        if let Some(WindowsRecord::Watermark(mark)) = record.value().and_then(WindowsRecord::parse) {
            let greatest = watermarks.entry(mark.partition).or_insert(i64::MIN);
            *greatest = (*greatest).max(mark.watermark_ms);
        }
    })
    .await?;
    let reached = (0..partitions).map(|p| watermarks.get(&p).copied().unwrap_or(i64::MIN)).min().unwrap_or(i64::MIN);

    let mut finals: HashMap<String, Cells> = HashMap::new();
    let mut tops: BTreeMap<(String, i64), TopRow> = BTreeMap::new();
    scan(context, &names.finals, |record| {
        let Some(value) = record.value() else { return };
        if let Ok(row) = serde_json::from_slice::<FinalRow>(value) {
            let cell = (row.start_ms, row.key.unwrap_or_default());
            finals.entry(row.window).or_default().insert(cell, (row.count, row.sum_cents));
        } else if let Ok(top) = serde_json::from_slice::<TopRow>(value) {
            tops.insert((top.window.clone(), top.start_ms), top);
        }
    })
    .await?;

    for ((spec, batch), late) in windows.iter().zip(&batch).zip(&late) {
        let stream = finals.remove(&spec.name).unwrap_or_default();
        let mut compared = compare(spec, batch, &stream, late, reached);
        check_tops(spec, &stream, &tops, &mut compared);
        report.windows.insert(spec.name.clone(), compared);
    }
    Ok(report)
}

/// The ids of purchases that the sink's database refused, from `T.dlq`.
///
/// # Errors
/// The brokers'.
pub async fn refused(context: &Context, names: &Topics, max_future: i64) -> Result<HashSet<Box<str>>> {
    let mut ids = HashSet::new();
    scan(context, &names.dlq, |record| {
        let is_ours = header(record, "__connect.errors.stage") == Stage::Sink.name()
            && header(record, "__connect.errors.exception.class.name") == Reason::RowRefused.name();
        if let Some(click) = click(record, max_future).filter(|_| is_ours) {
            ids.insert(click.event_id.as_ref().into());
        }
    })
    .await?;
    Ok(ids)
}

fn compare(spec: &WindowSpec, batch: &Cells, stream: &Cells, late: &Cells, reached: i64) -> Compared {
    let mut compared = Compared::default();
    let (mut starts, mut open) = (BTreeSet::new(), BTreeSet::new());
    let all: BTreeSet<_> = batch.keys().chain(stream.keys()).collect();
    for cell in all {
        if cell.0.saturating_add(spec.size / 1_000) > reached {
            open.insert(cell.0);
            continue;
        }
        starts.insert(cell.0);
        compared.rows += 1;
        let [b, s, l] = [batch, stream, late].map(|cells| cells.get(cell).copied().unwrap_or_default());
        for (total, part) in compared.counts.iter_mut().zip([b.0, s.0, l.0]) {
            *total += part;
        }
        for (total, part) in compared.cents.iter_mut().zip([b.1, s.1, l.1]) {
            *total += part;
        }
        // A hopping window's late event may have been in time for some of the intervals that it is in.
        let hops = spec.advance < spec.size;
        let equal = b == (s.0 + l.0, s.1 + l.1) || (hops && s.0 <= b.0 && b.0 <= s.0 + l.0);
        if !equal {
            compared.differ(format!(
                "{} {} {:?}: batch {} ({} cents), stream {} ({} cents), late {} ({} cents)",
                spec.name, cell.0, cell.1, b.0, b.1, s.0, s.1, l.0, l.1
            ));
        }
    }
    (compared.windows, compared.open) = (starts.len(), open.len());
    compared
}

fn check_tops(spec: &WindowSpec, stream: &Cells, tops: &BTreeMap<(String, i64), TopRow>, compared: &mut Compared) {
    if spec.top == 0 || spec.key == Key::None {
        return;
    }
    let starts: BTreeSet<i64> = stream.keys().map(|(start, _)| *start).collect();
    for start in starts {
        let counts = stream.range((start, String::new())..).take_while(|((at, _), _)| *at == start);
        let expected = rows::top(counts.map(|((_, key), (count, _))| (key.clone(), *count)), spec.top);
        let found = tops.get(&(spec.name.clone(), start));
        if found.is_none_or(|found| found.top != expected) {
            compared
                .differ(format!("{} {start}: the list of greatest counts is {found:?}, not {expected:?}", spec.name));
        }
    }
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

fn click<'a>(record: &ConsumerRecord<'a>, max_future: i64) -> Option<Click<'a>> {
    let click = event::parse(record.value()).ok()?;
    window::guard_future(&click, record.timestamp(), max_future).ok()?;
    Some(click)
}

/// Every interval that holds the event, by the definition: k * advance <= t < k * advance + size.
fn add(spec: &WindowSpec, click: &Click<'_>, cells: &mut Cells) {
    if !spec.wants(click) {
        return;
    }
    let newest = click.timestamp - click.timestamp.rem_euclid(spec.advance);
    let mut start = newest;
    while click.timestamp < start + spec.size {
        let cell = cells.entry((start.div_euclid(1_000), spec.key_of(click).unwrap_or("").to_owned())).or_default();
        cell.0 += spec.count_of(click);
        cell.1 += spec.cents_of(click);
        start -= spec.advance;
    }
}

/// Reads a topic from its beginning to its end as of now; a topic that isn't there is empty, except `T`.
async fn scan(context: &Context, topic: &str, mut each: impl FnMut(&ConsumerRecord<'_>)) -> Result<()> {
    let Some(found) = topics::describe(&context.client.admin(), topic).await? else { return Ok(()) };
    let names: Vec<_> = found.partitions.iter().map(|p| TopicPartition::new(topic, p.partition)).collect();
    let mut consumer = context.reader()?;
    let begins = consumer.beginning_offsets(&names).await?;
    let ends = consumer.end_offsets(&names).await?;
    let mut left: HashMap<TopicPartition, i64> =
        ends.into_iter().filter(|(name, end)| begins.get(name) < Some(end)).collect();
    consumer.assign(left.keys().cloned().collect::<Vec<_>>()).await?;
    for (name, begin) in begins.iter().filter(|(name, _)| left.contains_key(*name)) {
        consumer.seek(name, *begin)?;
    }
    while !left.is_empty() {
        if context.stop.is_stopped() {
            return Err(PipelineError::Mismatch("stopped before the end: nothing is proven".to_owned()));
        }
        if let Some(Event::Records(records)) = consumer.next(Duration::from_millis(200)).await? {
            for record in &records {
                if left.get(record.topic_partition()).is_some_and(|end| record.offset() < *end) {
                    each(&record);
                }
            }
        }
        // By position, not by record: the log may end with markers.
        left.retain(|name, end| consumer.position(name).is_none_or(|position| position < *end));
    }
    consumer.close(Context::FAREWELL).await?;
    Ok(())
}
