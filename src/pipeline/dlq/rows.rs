//! The sink's letters once more through the sink: rows and how far the replay is in one database transaction.
//!
//! A row that is still refused stays a letter, and the position stays before it: the next replay, after the table was
//! mended, takes it up again. What is behind it is offered again too and is there already, since rows have a key.

use super::{Filter, Letter, Replayed, group, input_of, missing};
use crate::consumer::Records;
use crate::ids::TopicPartition;
use crate::pipeline::config::Topics;
use crate::pipeline::context::Context;
use crate::pipeline::dead_letter::Stage;
use crate::pipeline::error::{PipelineError, Result};
use crate::pipeline::event::EventReader;
use crate::pipeline::scan::{Progress, Scan};
use crate::pipeline::sink::batch::{Row, Verdict, judge};
use crate::pipeline::sink::{Batch, Claim, Move, Rows, Scope, Staged, Store, StoreError, What};
use crate::pipeline::topics;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A letter that still makes no row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// `topic[partition]@offset` of the original.
    pub original: String,
    /// Why, in the parser's or the database's words.
    pub why: String,
}

/// Whose positions a replay through the sink keeps in the database: not the sink's.
pub fn scope(dlq: &str, what: What) -> Scope {
    let suffix = if what == What::Windows { ".windows" } else { "" };
    Scope { group: format!("{}{suffix}", group(dlq)), topic: dlq.to_owned(), what }
}

/// Which table a letter of the sink belongs to; `None` if it is none of the sink's.
pub fn what_of(letter: &Letter<'_>, input: &str) -> Option<What> {
    let finals = Topics::of(input).finals;
    match letter.topic {
        _ if letter.stage != Stage::Sink => None,
        topic if topic == input => Some(What::Purchases),
        topic if topic == finals => Some(What::Windows),
        _ => None,
    }
}

/// Writes what the letters of `what` make into the store, which is opened for [`scope`]. Without a store it is a dry run:
/// nothing is written, and what earlier replays have done is not known. `max_future` is in microseconds.
///
/// An error of the database ends it: nothing is lost or doubled by starting again.
///
/// # Errors
/// The brokers' or the database's; a sentence if this is no dead letter queue.
pub async fn through_the_sink<S: Store>(
    context: &Context,
    dlq: &str,
    what: What,
    store: Option<&mut S>,
    filter: &Filter,
    max_future: i64,
    progress: &Progress,
) -> Result<(Replayed, Vec<Refusal>)> {
    let mut through = Through {
        what,
        input: input_of(dlq)?,
        filter,
        max_future,
        seen: HashSet::new(),
        counts: Replayed::default(),
        stay: Vec::new(),
    };
    if filter.stage.is_some_and(|stage| stage != Stage::Sink) {
        return Ok((through.counts, through.stay));
    }
    let mut target = match store {
        Some(store) => Some(Target::claim(context, dlq, store).await?),
        None => None,
    };
    let claimed = target.as_ref().map(|target| target.claims.clone()).unwrap_or_default();
    let from = |partition, begin| claimed.get(&partition).map_or(begin, |claim| claim.next_offset);
    let mut scan = Scan::open(context, dlq, from).await?.ok_or_else(|| missing(dlq))?;
    while let Some(records) = scan.next(context, progress).await? {
        let reader = tokio::select! {
            reader = context.events.reader(&records) => reader?,
            () = context.stop.stopped() => break,
        };
        let (mut rows, mut held) = through.judge(&scan, &records, &reader);
        let staged = match &mut target {
            Some(target) => target.write(what, &scan, &records, &mut rows, &mut held, &mut through.stay).await?,
            None => Staged { written: rows.len() as u64, ..Staged::default() },
        };
        through.counts.sent += staged.written;
        through.counts.repeated += staged.present;
    }
    scan.close().await?;
    through.counts.refused = through.stay.len() as u64;
    Ok((through.counts, through.stay))
}

/// A row and the letter that it is from.
struct Offered {
    row: Row,
    /// In the queue.
    place: (i32, i64),
    original: String,
}

/// The first letter of each partition that stays.
type Held = BTreeMap<i32, i64>;

struct Through<'a> {
    what: What,
    input: &'a str,
    filter: &'a Filter,
    max_future: i64,
    /// Originals met: the sink may have written a letter twice.
    seen: HashSet<(i32, i64)>,
    counts: Replayed,
    stay: Vec<Refusal>,
}

impl Through<'_> {
    fn judge(&mut self, scan: &Scan, records: &Records, reader: &EventReader) -> (Vec<Offered>, Held) {
        let (mut rows, mut held) = (Vec::new(), Held::new());
        for record in records {
            let Some(letter) = Letter::of(&record).filter(|_| scan.is_wanted(&record)) else { continue };
            if what_of(&letter, self.input) != Some(self.what) {
                continue;
            }
            let place = (record.partition(), record.offset());
            if !self.filter.wants(&letter) {
                self.counts.skip("not_selected");
                held.entry(place.0).or_insert(place.1);
                continue;
            }
            if !self.seen.insert((letter.partition, letter.offset)) {
                self.counts.read += 1;
                self.counts.repeated += 1;
                continue;
            }
            match judge(self.what, &record, reader, letter.offset, self.max_future) {
                Verdict::Row(row) => {
                    self.counts.read += 1;
                    rows.push(Offered { row, place, original: letter.place() });
                }
                Verdict::Skipped(why) => self.counts.skip(why),
                Verdict::Dead(why) => {
                    self.counts.read += 1;
                    self.stay.push(Refusal { original: letter.place(), why: why.to_string() });
                    held.entry(place.0).or_insert(place.1);
                }
            }
        }
        (rows, held)
    }
}

/// The store and what is claimed of it.
struct Target<'a, S> {
    store: &'a mut S,
    claims: BTreeMap<i32, Claim>,
    /// Partitions whose position moves no further in this run.
    stopped: HashSet<i32>,
}

impl<'a, S: Store> Target<'a, S> {
    async fn claim(context: &Context, dlq: &str, store: &'a mut S) -> Result<Self> {
        let partitions = topics::partitions(&context.client.admin(), dlq).await?;
        let names: Vec<_> = (0..partitions).map(|partition| TopicPartition::new(dlq, partition)).collect();
        let lookup = context.reader()?;
        let begins = lookup.beginning_offsets(&names).await?;
        lookup.close(Context::FAREWELL).await?;
        let starts: Vec<_> = names.iter().filter_map(|name| Some((name.partition, *begins.get(name)?))).collect();
        let claims = store.claim(&starts).await.map_err(|error| failed(&error))?;
        let claims = claims.into_iter().map(|claim| (claim.partition, claim)).collect();
        Ok(Self { store, claims, stopped: HashSet::new() })
    }

    /// One transaction: the rows that the database takes, and the positions, which stop before the first that stays.
    async fn write(
        &mut self,
        what: What,
        scan: &Scan,
        records: &Records,
        rows: &mut Vec<Offered>,
        held: &mut Held,
        stay: &mut Vec<Refusal>,
    ) -> Result<Staged> {
        loop {
            let moves: Vec<Move> = records
                .partitions()
                .iter()
                .filter(|name| !self.stopped.contains(&name.partition))
                .filter_map(|name| {
                    let claim = self.claims.get(&name.partition)?;
                    let position = scan.position(name.partition)?;
                    let new = held.get(&name.partition).map_or(position, |held| position.min(*held));
                    Some(Move { partition: name.partition, old: claim.next_offset, new, owner: claim.owner })
                })
                .collect();
            let batch = Arc::new(Batch { moves, rows: table(what, rows) });
            let staged = self.store.stage(&batch).await.map_err(|error| failed(&error))?;
            if staged.refused.is_empty() {
                self.store.commit().await.map_err(|error| failed(&error))?;
                for step in &batch.moves {
                    if let Some(claim) = self.claims.get_mut(&step.partition) {
                        claim.next_offset = step.new;
                    }
                }
                self.stopped.extend(held.keys());
                return Ok(staged);
            }
            // The positions that were staged are beyond the refused: once more without these.
            self.store.abandon().await;
            for refused in staged.refused.iter().rev() {
                if refused.row >= rows.len() {
                    continue;
                }
                let Offered { place: (partition, offset), original, .. } = rows.remove(refused.row);
                let first = held.entry(partition).or_insert(offset);
                *first = offset.min(*first);
                stay.push(Refusal { original, why: refused.message.clone() });
            }
        }
    }
}

fn table(what: What, rows: &[Offered]) -> Rows {
    match what {
        What::Purchases => Rows::Purchases(
            rows.iter()
                .filter_map(|offered| match &offered.row {
                    Row::Purchase(row) => Some(row.clone()),
                    Row::Window(_) => None,
                })
                .collect(),
        ),
        What::Windows => Rows::Windows(
            rows.iter()
                .filter_map(|offered| match &offered.row {
                    Row::Window(row) => Some(row.clone()),
                    Row::Purchase(_) => None,
                })
                .collect(),
        ),
    }
}

fn failed(error: &StoreError) -> PipelineError {
    let again = "nothing is lost or doubled: start the replay again";
    match error {
        StoreError::Fenced(_) => PipelineError::Database(format!("another replay of this queue is under way; {again}")),
        error => PipelineError::Database(format!("{error}; {again}")),
    }
}
