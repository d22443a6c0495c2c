//! What is in the queue: counts, coordinates, the newest; and one letter found by its place.

use super::{Filter, Letter, missing};
use crate::consumer::ConsumerRecord;
use crate::pipeline::context::Context;
use crate::pipeline::dead_letter::Stage;
use crate::pipeline::error::Result;
use crate::pipeline::scan::{self, Progress};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a look over the queue found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listing {
    /// Letters that the filter wants.
    pub records: u64,
    /// Records that nobody of the pipeline wrote.
    pub foreign: u64,
    /// By stage and reason.
    pub groups: Vec<Group>,
    /// The newest by their own timestamps, newest first.
    pub newest: Vec<Entry>,
}

/// The letters of one stage and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// Who set them aside.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub records: u64,
    /// How many originals those are: the sink's may come twice.
    pub distinct: u64,
    /// Where the originals stand.
    pub coordinates: Vec<Range>,
}

/// The originals of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Range {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The least offset.
    pub first: i64,
    /// The greatest.
    pub last: i64,
}

/// One letter in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its partition in the queue.
    pub partition: i32,
    /// Its offset in the queue.
    pub offset: i64,
    /// The record's timestamp, in milliseconds since 1970.
    pub ts: i64,
    /// Who set it aside.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// `topic[partition]@offset` of the original.
    pub original: String,
    /// The sentence.
    pub message: String,
}

/// Counts the letters that the filter wants, and names the `newest` of them.
///
/// # Errors
/// The brokers'; a sentence if there is no such topic, or nothing on it was set aside by the pipeline.
pub async fn list(
    context: &Context,
    dlq: &str,
    filter: &Filter,
    newest: usize,
    progress: &Progress,
) -> Result<Listing> {
    let mut found = Listing::default();
    let mut seen: HashMap<(Stage, String, String), HashSet<(i32, i64)>> = HashMap::new();
    let mut groups: BTreeMap<(String, String), Counted> = BTreeMap::new();
    let mut latest: BTreeMap<(i64, i32, i64), Entry> = BTreeMap::new();
    each(context, dlq, progress, |record| {
        let Some(letter) = Letter::of(record) else {
            found.foreign += 1;
            return;
        };
        if !filter.wants(&letter) {
            return;
        }
        found.records += 1;
        let (stage, reason) = (letter.stage.name().to_owned(), letter.reason.to_owned());
        let group = groups.entry((stage, reason.clone())).or_default();
        group.records += 1;
        let originals = seen.entry((letter.stage, reason, letter.topic.to_owned())).or_default();
        group.distinct += u64::from(originals.insert((letter.partition, letter.offset)));
        let place = (letter.topic.to_owned(), letter.partition);
        let (first, last) = group.places.entry(place).or_insert((letter.offset, letter.offset));
        (*first, *last) = ((*first).min(letter.offset), (*last).max(letter.offset));
        let at = (record.timestamp(), record.partition(), record.offset());
        if newest > 0 && (latest.len() < newest || latest.first_key_value().is_some_and(|(oldest, _)| *oldest < at)) {
            latest.insert(at, entry(&letter));
            if latest.len() > newest {
                latest.pop_first();
            }
        }
    })
    .await?;
    found.groups = groups.into_iter().map(|((stage, reason), counted)| counted.group(stage, reason)).collect();
    found.newest = latest.into_values().rev().collect();
    Ok(found)
}

/// What `read` makes of each letter; it gives `None` for those that are not meant.
///
/// # Errors
/// As [`list`].
pub async fn find<T>(
    context: &Context,
    dlq: &str,
    progress: &Progress,
    read: impl Fn(&Letter<'_>) -> Option<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    each(context, dlq, progress, |record| found.extend(Letter::of(record).and_then(|letter| read(&letter)))).await?;
    Ok(found)
}

/// Every record of the queue.
async fn each(context: &Context, dlq: &str, progress: &Progress, each: impl FnMut(&ConsumerRecord<'_>)) -> Result<()> {
    if scan::all(context, dlq, progress, each).await? { Ok(()) } else { Err(missing(dlq)) }
}

#[derive(Default)]
struct Counted {
    records: u64,
    distinct: u64,
    places: BTreeMap<(String, i32), (i64, i64)>,
}

impl Counted {
    fn group(self, stage: String, reason: String) -> Group {
        let range = |((topic, partition), (first, last))| Range { topic, partition, first, last };
        let coordinates = self.places.into_iter().map(range).collect();
        Group { stage, reason, records: self.records, distinct: self.distinct, coordinates }
    }
}

fn entry(letter: &Letter<'_>) -> Entry {
    let record = letter.record();
    Entry {
        partition: record.partition(),
        offset: record.offset(),
        ts: record.timestamp(),
        stage: letter.stage.name().to_owned(),
        reason: letter.reason.to_owned(),
        original: letter.place(),
        message: letter.message.clone().into_owned(),
    }
}
