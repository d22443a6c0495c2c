//! From records to a batch: what each record is to the sink, and what waits to be written.
//!
//! `R` is the record itself, kept beside its row so that a refused row can go to the dead letter queue as it came.

use crate::consumer::ConsumerRecord;
use crate::pipeline::event::{Event, EventReader, EventType, Reason, Rejected};
use crate::pipeline::rows::{FinalRow, TopRow};
use crate::pipeline::sink::{Batch, Claim, Move, Purchase, Rows, Staged, What, WindowResult};
use crate::pipeline::window::guard_future;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What one record is to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a record is a row, none, or broken")]
pub enum Verdict {
    /// A row to write.
    Row(Row),
    /// Nothing to write, for this reason.
    Skipped(&'static str),
    /// No event: to the dead letter queue.
    Dead(Rejected),
}

/// One row of either table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the two tables of the pipeline")]
pub enum Row {
    /// Of `purchase_orders`.
    Purchase(Purchase),
    /// Of `window_results`.
    Window(WindowResult),
}

/// What a record is to the sink: the aggregator's parser and future guard, whatever its event type; lateness does not
/// concern the sink. `offset` is the row's, which of a dead letter is its original's; `max_future` is in microseconds.
pub fn judge(what: What, record: &ConsumerRecord<'_>, reader: &EventReader, offset: i64, max_future: i64) -> Verdict {
    match what {
        What::Purchases => judge_event(offset, record.timestamp(), reader.event(record), max_future),
        What::Windows => judge_final(record.value()),
    }
}

fn judge_event(offset: i64, record_ms: i64, event: Result<Event<'_>, Rejected>, max_future: i64) -> Verdict {
    let guarded = event.and_then(|event| guard_future(&event, record_ms, max_future).map(|()| event));
    let event = match guarded {
        Ok(event) => event,
        Err(rejected) => return Verdict::Dead(rejected),
    };
    if event.event_type != EventType::Purchase {
        return Verdict::Skipped("not_a_purchase");
    }
    let Some(price_cents) = event.price_cents else { return Verdict::Skipped("no_price") };
    Verdict::Row(Row::Purchase(Purchase {
        kafka_offset: offset,
        event_id: event.event_id.into_owned(),
        user_id: event.user_id.into_owned(),
        product_id: event.product_id.into_owned(),
        price_cents,
        purchase_time: event.timestamp,
    }))
}

fn judge_final(value: Option<&[u8]>) -> Verdict {
    let Some(value) = value else {
        return Verdict::Dead(Rejected::new(Reason::Tombstone, "the record has no value"));
    };
    if let Ok(row) = serde_json::from_slice::<FinalRow>(value) {
        let FinalRow { window, start_ms, key, count, sum_cents, .. } = row;
        let key = key.unwrap_or_default();
        return Verdict::Row(Row::Window(WindowResult { window, start_ms, key, count, sum_cents }));
    }
    match serde_json::from_slice::<TopRow>(value) {
        Ok(_) => Verdict::Skipped("top_list"),
        Err(error) if error.is_data() => {
            Verdict::Dead(Rejected::new(Reason::BadField, format!("neither a final row nor a top list: {error}")))
        }
        Err(error) => Verdict::Dead(Rejected::new(Reason::NotJson, error.to_string())),
    }
}

/// How many records became what; only of batches whose commit was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All records.
    pub read: u64,
    /// Rows that are new, or replaced one.
    pub kept: u64,
    /// Rows that were there already.
    pub duplicate: u64,
    /// Records on the dead letter queue, refused rows among them.
    pub dead_lettered: u64,
    /// Records without a row, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds the other's.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.kept += other.kept;
        self.duplicate += other.duplicate;
        self.dead_lettered += other.dead_lettered;
        for (reason, n) in &other.skipped {
            *self.skipped.entry(reason).or_default() += n;
        }
    }
}

/// What was read and waits to be written, by partition.
#[derive(Debug)]
pub struct Pending<R> {
    what: What,
    partitions: BTreeMap<i32, Part<R>>,
}

#[derive(Debug)]
struct Part<R> {
    next: i64,
    read: u64,
    skipped: BTreeMap<&'static str, u64>,
    rows: Vec<(Row, R)>,
    dead: Vec<(Rejected, R)>,
}

impl<R> Default for Part<R> {
    fn default() -> Self {
        Self { next: i64::MIN, read: 0, skipped: BTreeMap::new(), rows: Vec::new(), dead: Vec::new() }
    }
}

impl<R> Pending<R> {
    /// Nothing yet.
    pub fn new(what: What) -> Self {
        Self { what, partitions: BTreeMap::new() }
    }

    /// Takes a record in. `record` is called only where it must be kept.
    pub fn push(&mut self, partition: i32, offset: i64, verdict: Verdict, record: impl FnOnce() -> R) {
        let part = self.partitions.entry(partition).or_default();
        part.read += 1;
        part.next = part.next.max(offset + 1);
        match verdict {
            Verdict::Row(row) => part.rows.push((row, record())),
            Verdict::Skipped(reason) => *part.skipped.entry(reason).or_default() += 1,
            Verdict::Dead(rejected) => part.dead.push((rejected, record())),
        }
    }

    /// The consumer's position, which also passes markers and gaps that no record stands for.
    pub fn advance(&mut self, partition: i32, position: i64) {
        let part = self.partitions.entry(partition).or_default();
        part.next = part.next.max(position);
    }

    /// Forgets what is somebody else's now.
    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Records in hand.
    pub fn records(&self) -> u64 {
        self.partitions.values().map(|part| part.read).sum()
    }

    /// Whether there is nothing to write, not even a position.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Takes everything out as one batch. What is not claimed, or does not move, is dropped.
    pub fn seal(&mut self, claims: &HashMap<i32, Claim>) -> Sealed<R> {
        let mut sealed = Sealed::new(self.what);
        for (partition, part) in std::mem::take(&mut self.partitions) {
            let Some(claim) = claims.get(&partition).filter(|claim| part.next > claim.next_offset) else { continue };
            sealed.moves.push(Move { partition, old: claim.next_offset, new: part.next, owner: claim.owner });
            sealed.parts.push((partition, part.read, part.skipped));
            sealed.dead.extend(part.dead.into_iter().map(|(why, record)| Dead { partition, why, record }));
            for (row, record) in part.rows {
                sealed.rows.push(row);
                sealed.records.push((partition, record));
            }
        }
        sealed
    }
}

/// A record for the dead letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead<R> {
    /// Its partition.
    pub partition: i32,
    /// Why.
    pub why: Rejected,
    /// The record.
    pub record: R,
}

/// A batch on its way into the database.
#[derive(Debug)]
pub struct Sealed<R> {
    moves: Vec<Move>,
    parts: Vec<(i32, u64, BTreeMap<&'static str, u64>)>,
    rows: RowsOf,
    records: Vec<(i32, R)>,
    /// The records that are no events.
    pub dead: Vec<Dead<R>>,
}

#[derive(Debug)]
struct RowsOf(Rows);

impl RowsOf {
    fn push(&mut self, row: Row) {
        match (&mut self.0, row) {
            (Rows::Purchases(rows), Row::Purchase(row)) => rows.push(row),
            (Rows::Windows(rows), Row::Window(row)) => rows.push(row),
            _ => debug_assert!(false, "judge makes rows of the table that it was asked for"),
        }
    }
}

impl<R> Sealed<R> {
    fn new(what: What) -> Self {
        let rows = match what {
            What::Purchases => Rows::Purchases(Vec::new()),
            What::Windows => Rows::Windows(Vec::new()),
        };
        Self { moves: Vec::new(), parts: Vec::new(), rows: RowsOf(rows), records: Vec::new(), dead: Vec::new() }
    }

    /// What goes to the store.
    pub fn batch(&mut self) -> Arc<Batch> {
        let empty = match &self.rows.0 {
            Rows::Purchases(_) => Rows::Purchases(Vec::new()),
            Rows::Windows(_) => Rows::Windows(Vec::new()),
        };
        Arc::new(Batch { moves: self.moves.clone(), rows: std::mem::replace(&mut self.rows.0, empty) })
    }

    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// All records.
    pub fn read(&self) -> u64 {
        self.parts.iter().map(|(_, read, _)| read).sum()
    }

    /// The same by partition.
    pub fn records_by_partition(&self) -> Vec<(i32, u64)> {
        self.parts.iter().map(|(partition, read, _)| (*partition, *read)).collect()
    }

    /// The record of a row of the batch.
    pub fn record(&self, row: usize) -> Option<&R> {
        self.records.get(row).map(|(_, record)| record)
    }

    /// The partition of a row of the batch.
    pub fn partition(&self, row: usize) -> Option<i32> {
        self.records.get(row).map(|(partition, _)| *partition)
    }

    /// Leaves out the partitions that were claimed by another, and gives the rest back to be staged again.
    pub fn without(&mut self, fenced: &[i32], batch: Arc<Batch>) -> Arc<Batch> {
        let Batch { rows, .. } = Arc::unwrap_or_clone(batch);
        let keep: Vec<bool> = self.records.iter().map(|(partition, _)| !fenced.contains(partition)).collect();
        let rows = match rows {
            Rows::Purchases(rows) => Rows::Purchases(kept(rows, &keep)),
            Rows::Windows(rows) => Rows::Windows(kept(rows, &keep)),
        };
        self.moves.retain(|step| !fenced.contains(&step.partition));
        self.parts.retain(|(partition, ..)| !fenced.contains(partition));
        self.records.retain(|(partition, _)| !fenced.contains(partition));
        self.dead.retain(|dead| !fenced.contains(&dead.partition));
        Arc::new(Batch { moves: self.moves.clone(), rows })
    }

    /// What this batch adds to the counts once it is committed.
    pub fn counts(&self, staged: &Staged) -> Counts {
        let mut counts = Counts {
            read: self.read(),
            kept: staged.written,
            duplicate: staged.present,
            dead_lettered: (self.dead.len() + staged.refused.len()) as u64,
            skipped: BTreeMap::new(),
        };
        for (reason, n) in self.parts.iter().flat_map(|(_, _, skipped)| skipped) {
            *counts.skipped.entry(reason).or_default() += n;
        }
        counts
    }
}

fn kept<T>(rows: Vec<T>, keep: &[bool]) -> Vec<T> {
    rows.into_iter().zip(keep).filter(|(_, keep)| **keep).map(|(row, _)| row).collect()
}

/// The indexes of the last row of each (window, start, key), in order: one statement can't touch a row twice.
pub fn last_of_each_key(rows: &[WindowResult]) -> Vec<usize> {
    let mut last: HashMap<(&str, i64, &str), usize> = HashMap::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        last.insert((&row.window, row.start_ms, &row.key), index);
    }
    let mut indexes: Vec<_> = last.into_values().collect();
    indexes.sort_unstable();
    indexes
}

/// Stops a sink whose input has changed its shape: a changed schema is no poison pill.
///
/// Judged over at least [`LEAST`](Self::LEAST) at a time, so that one bad record in a quiet minute is not "all of them".
#[derive(Debug, Clone)]
pub struct ShareLimit {
    percent: u64,
    seen: u64,
    bad: u64,
}

impl ShareLimit {
    /// How many are judged together at least.
    pub const LEAST: u64 = 100;

    /// At most so many of a hundred may be bad.
    pub fn new(percent: u8) -> Self {
        Self { percent: u64::from(percent), seen: 0, bad: 0 }
    }

    /// Whether a batch with so many, and so many bad ones, would be past the limit.
    pub fn is_exceeded_by(&self, seen: u64, bad: u64) -> bool {
        let (seen, bad) = (self.seen + seen, self.bad + bad);
        seen >= Self::LEAST && bad * 100 > seen * self.percent
    }

    /// A batch that was written.
    pub fn add(&mut self, seen: u64, bad: u64) {
        self.seen += seen;
        self.bad += bad;
        if self.seen >= Self::LEAST {
            (self.seen, self.bad) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event;

    const FUTURE: i64 = 600_000_000;

    fn purchase(id: &str, price: &str) -> String {
        format!(
            r#"{{"event_id":"{id}","user_id":1,"event_type":"purchase","product_id":"p","timestamp":"2024-01-15T14:30:00Z","price":{price}}}"#
        )
    }

    fn verdict(value: &str) -> Verdict {
        judge_event(7, 1_705_329_000_000, event::parse(Some(value.as_bytes())), FUTURE)
    }

    fn claims(list: &[(i32, i64)]) -> HashMap<i32, Claim> {
        list.iter().map(|&(partition, next_offset)| (partition, Claim { partition, next_offset, owner: 4 })).collect()
    }

    #[test]
    fn purchases_with_a_price_are_rows_and_the_others_say_why_not() {
        let Verdict::Row(Row::Purchase(row)) = verdict(&purchase("a", "19.99")) else { panic!("a row") };
        assert_eq!((row.kafka_offset, row.price_cents, row.purchase_time), (7, 1_999, 1_705_329_000_000_000));
        assert_eq!(verdict(&purchase("a", "null")), Verdict::Skipped("no_price"));
        let view = purchase("a", "\"abc\"").replace("\"purchase\"", "\"view\"");
        assert_eq!(verdict(&view), Verdict::Skipped("not_a_purchase"), "price is checked on purchases only");
        for (value, reason) in [
            (purchase("a", "1.999"), Reason::BadPrice),
            (purchase("a", "1").replace("2024-", "2099-"), Reason::FutureTimestamp),
            (purchase("a", "1").replace("\"purchase\"", "\"view\"").replace("2024-", "2099-"), Reason::FutureTimestamp),
            ("{".to_owned(), Reason::NotJson),
        ] {
            let Verdict::Dead(rejected) = verdict(&value) else { panic!("{value}") };
            assert_eq!(rejected.reason, reason, "{value}");
        }
        let Verdict::Dead(rejected) = judge_event(0, 0, event::parse(None), FUTURE) else { panic!("a tombstone") };
        assert_eq!(rejected.reason, Reason::Tombstone);
    }

    #[test]
    fn final_rows_are_rows_and_top_lists_are_not() {
        let judge = |value: &str| judge_final(Some(value.as_bytes()));
        let row =
            r#"{"job":"j","window":"gmv_1m","start_ms":60000,"end_ms":120000,"key":null,"count":2,"sum_cents":5}"#;
        let Verdict::Row(Row::Window(row)) = judge(row) else { panic!("a row") };
        assert_eq!((row.key.as_str(), row.count, row.sum_cents), ("", 2, 5));
        let top = r#"{"window":"views_1m","start_ms":0,"top":[{"key":"a","count":1}]}"#;
        assert_eq!(judge(top), Verdict::Skipped("top_list"));
        assert!(matches!(judge("[1]"), Verdict::Dead(Rejected { reason: Reason::BadField, .. })));
        assert!(matches!(judge("x"), Verdict::Dead(Rejected { reason: Reason::NotJson, .. })));
    }

    #[test]
    fn a_batch_moves_each_partition_from_its_claim_to_its_position_in_order() {
        let mut pending = Pending::new(What::Purchases);
        pending.push(2, 10, verdict(&purchase("a", "1")), || "2@10");
        pending.push(0, 5, verdict(&purchase("b", "null")), || panic!("a skipped record is not kept"));
        pending.push(0, 6, verdict("?"), || "0@6");
        pending.advance(0, 9);
        pending.advance(1, 3);
        pending.push(7, 0, verdict(&purchase("c", "1")), || "not claimed");
        assert_eq!(pending.records(), 4);
        let mut sealed = pending.seal(&claims(&[(2, 8), (0, 5), (1, 3)]));
        assert!(pending.is_empty());
        let batch = sealed.batch();
        let moves: Vec<_> = batch.moves.iter().map(|step| (step.partition, step.old, step.new, step.owner)).collect();
        assert_eq!(moves, [(0, 5, 9, 4), (2, 8, 11, 4)], "past the markers; partition 1 did not move");
        assert_eq!((batch.rows.len(), sealed.record(0)), (1, Some(&"2@10")));
        assert_eq!(sealed.dead.iter().map(|dead| dead.record).collect::<Vec<_>>(), ["0@6"]);
        let counts = sealed.counts(&Staged { written: 0, present: 1, refused: Vec::new() });
        assert_eq!((counts.read, counts.duplicate, counts.dead_lettered), (3, 1, 1));
        assert_eq!(counts.skipped["no_price"], 1);
    }

    #[test]
    fn a_fenced_partition_leaves_the_batch_and_the_others_stay() {
        let mut pending = Pending::new(What::Purchases);
        for (partition, id) in [(0, "a"), (1, "b"), (0, "c")] {
            pending.push(partition, 1, verdict(&purchase(id, "1")), || id);
        }
        pending.push(1, 2, verdict("?"), || "dead");
        let mut sealed = pending.seal(&claims(&[(0, 0), (1, 0)]));
        let batch = sealed.batch();
        let rest = sealed.without(&[1], batch);
        let Rows::Purchases(rows) = &rest.rows else { panic!("purchases") };
        assert_eq!(rows.iter().map(|row| row.event_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((sealed.record(1), sealed.read(), sealed.dead.len(), rest.moves.len()), (Some(&"c"), 2, 0, 1));
        let nothing = sealed.without(&[0], rest);
        assert!(sealed.is_empty() && nothing.rows.is_empty());
    }

    #[test]
    fn of_rows_with_one_key_the_last_counts() {
        let row = |start_ms, key: &str, count| WindowResult {
            window: "w".to_owned(),
            start_ms,
            key: key.to_owned(),
            count,
            sum_cents: 0,
        };
        let rows = [row(0, "a", 1), row(0, "b", 1), row(0, "a", 2), row(60, "a", 1)];
        assert_eq!(last_of_each_key(&rows), [1, 2, 3]);
    }

    #[test]
    fn one_bad_record_is_poison_and_most_of_a_hundred_are_a_changed_schema() {
        let mut limit = ShareLimit::new(50);
        assert!(!limit.is_exceeded_by(1, 1), "one bad record in a quiet minute");
        limit.add(60, 40);
        assert!(!limit.is_exceeded_by(30, 30));
        assert!(limit.is_exceeded_by(40, 20));
        limit.add(40, 10);
        assert!(!limit.is_exceeded_by(99, 99), "judged anew after each hundred");
        assert!(limit.is_exceeded_by(5_000, 2_501) && !limit.is_exceeded_by(5_000, 2_500));
    }
}
