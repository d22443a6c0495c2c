//! What senders were told about each record, against what lies in the log: nothing lost, doubled or reordered, and every
//! failure marked for what it is. The same audit for the test broker on virtual time and for a real cluster.

use milena::error::{Certainty, Error};
use milena::producer::RecordMetadata;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// A record's name: who sent it, and its number among that sender's, counted up. The first eight bytes of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The sender: one task with a handle of its own.
    pub sender: u32,
    /// Counted up in the order of its sends.
    pub number: u32,
}

impl RecordId {
    /// How it begins a value.
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.sender) << 32 | u64::from(self.number)).to_be_bytes()
    }

    /// The same as text, for readers who know nothing else; 16 characters.
    pub fn to_text(self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.to_bytes()))
    }

    /// From the beginning of a text; `None` if it does not begin with an id.
    pub fn from_text(text: &str) -> Option<Self> {
        let id = u64::from_str_radix(text.get(..16)?, 16).ok()?;
        Self::from_bytes(&id.to_be_bytes())
    }

    /// From the beginning of a value; `None` if that is too short.
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let id = u64::from_be_bytes(*value.first_chunk()?);
        Some(Self { sender: (id >> 32) as u32, number: id as u32 })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of sender {}", self.number, self.sender)
    }
}

/// What a sender was told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Acknowledged: the partition, and the offset if the broker said it.
    Written(i32, Option<i64>),
    /// Not taken, or failed: how certain it is that it was not written, and why it failed.
    Failed(Option<Certainty>, String),
}

impl From<Result<RecordMetadata, Error>> for Told {
    fn from(result: Result<RecordMetadata, Error>) -> Self {
        match result {
            Ok(written) => Self::Written(written.partition(), written.offset()),
            Err(error) => Self::Failed(error.delivery_certainty(), error.to_string()),
        }
    }
}

/// A record in the log.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Which one it is.
    pub id: RecordId,
}

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Idempotence: each record once at most, each sender's in their order in every partition.
    ExactlyOnce,
    /// One request in flight without idempotence: what is acknowledged is there, and first stands there in order. It may
    /// stand there again.
    AtLeastOnce,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Acknowledged, and found.
    pub acknowledged: usize,
    /// Of these, without an offset: a retry of what was written long before.
    pub without_offset: usize,
    /// Failed as `NotSent`, and not found.
    pub not_sent: usize,
    /// Failed as `PossiblySent`.
    pub possibly_sent: usize,
    /// Of these, found.
    pub possibly_sent_found: usize,
    /// Found again, where that may be.
    pub doubled: usize,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.without_offset += other.without_offset;
        self.not_sent += other.not_sent;
        self.possibly_sent += other.possibly_sent;
        self.possibly_sent_found += other.possibly_sent_found;
        self.doubled += other.doubled;
    }
}

/// Holds the promise against the log. `found` is in the order of the offsets within each partition.
///
/// # Errors
/// The ways in which it is broken.
pub fn audit(
    told: impl IntoIterator<Item = (RecordId, Told)>,
    found: &[Found],
    promise: Promise,
) -> Result<Tally, Wrong> {
    let mut places: HashMap<RecordId, Vec<(i32, i64)>> = HashMap::with_capacity(found.len());
    let mut wrong = Wrong::default();
    for record in found {
        places.entry(record.id).or_default().push((record.partition, record.offset));
    }
    let mut tally = Tally::default();
    let mut known = HashMap::new();
    for (id, told) in told {
        let at = places.get(&id).map_or(&[][..], Vec::as_slice);
        tally.doubled += at.len().saturating_sub(1);
        if promise == Promise::ExactlyOnce && at.len() > 1 {
            wrong.note("doubled", format!("{id}, told {told:?}, at {at:?}"));
        }
        match &told {
            Told::Written(partition, offset) => {
                tally.acknowledged += 1;
                tally.without_offset += usize::from(offset.is_none());
                let there = |(p, o): &(i32, i64)| p == partition && offset.is_none_or(|offset| offset == *o);
                match at {
                    [] => wrong.note("lost", format!("{id}, acknowledged in partition {partition} at {offset:?}")),
                    at if at.iter().any(there) => {}
                    at => wrong.note("elsewhere", format!("{id}, told {told:?}, is at {at:?}")),
                }
            }
            Told::Failed(None, why) => wrong.note("unmarked", format!("{id} failed without a certainty: {why}")),
            Told::Failed(Some(Certainty::NotSent), why) => {
                tally.not_sent += 1;
                if !at.is_empty() {
                    wrong.note("a lie", format!("{id} failed as NotSent ({why}) and is at {at:?}"));
                }
            }
            Told::Failed(Some(_), _) => {
                tally.possibly_sent += 1;
                tally.possibly_sent_found += usize::from(!at.is_empty());
            }
        }
        if known.insert(id, matches!(told, Told::Written(..))).is_some() {
            wrong.note("told twice", id.to_string());
        }
    }
    // The first place of each record, by partition and sender.
    let mut last: BTreeMap<(i32, u32), Found> = BTreeMap::new();
    let mut seen = HashSet::with_capacity(found.len());
    for record in found {
        let Some(acknowledged) = known.get(&record.id) else {
            wrong.note("unheard of", format!("{} at {} of partition {}", record.id, record.offset, record.partition));
            continue;
        };
        // What is late from a connection that was given up counts only if the promise covers it.
        let counts = promise == Promise::ExactlyOnce || *acknowledged;
        if !counts || !seen.insert((record.partition, record.id)) {
            continue;
        }
        if let Some(before) = last.insert((record.partition, record.id.sender), *record)
            && before.id.number >= record.id.number
        {
            let (place, before) = ((record.offset, record.partition), (before.id.number, before.offset));
            let ((offset, partition), (number, at)) = (place, before);
            wrong.note(
                "reordered",
                format!("{} at {offset} of partition {partition}, behind number {number} at {at}", record.id),
            );
        }
    }
    wrong.or(tally)
}

/// Which promises were broken, how often, and the first cases of each.
#[derive(Debug, Default)]
pub struct Wrong {
    by_kind: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Wrong {
    pub(crate) fn note(&mut self, kind: &'static str, case: String) {
        let (count, cases) = self.by_kind.entry(kind).or_default();
        *count += 1;
        if cases.len() < 3 {
            cases.push(case);
        }
    }

    /// Itself, or this if nothing is wrong.
    pub(crate) fn or<T>(self, good: T) -> Result<T, Self> {
        if self.by_kind.is_empty() { Ok(good) } else { Err(self) }
    }

    /// How often this happened: "lost", "doubled", "reordered", "a lie" (a `NotSent` in the log), "elsewhere" than at the
    /// offset told, "unmarked" (no certainty), "unheard of" (in the log, from nobody), "told twice".
    pub fn count(&self, kind: &str) -> usize {
        self.by_kind.get(kind).map_or(0, |(count, _)| *count)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, cases)) in &self.by_kind {
            write!(f, "\n{kind}: {count}, as {}", cases.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> RecordId {
        RecordId { sender: 7, number }
    }

    fn log(numbers: &[u32]) -> Vec<Found> {
        (0..).zip(numbers).map(|(offset, number)| Found { partition: 0, offset, id: id(*number) }).collect()
    }

    /// Three records, acknowledged where they are to be.
    fn acknowledged() -> Vec<(RecordId, Told)> {
        (0..3).map(|n| (id(n), Told::Written(0, Some(i64::from(n))))).collect()
    }

    fn complaint(told: Vec<(RecordId, Told)>, log: &[Found], promise: Promise) -> &'static str {
        let wrong = audit(told, log, promise).expect_err("a broken promise");
        wrong.by_kind.keys().next().expect("of some kind")
    }

    #[test]
    fn an_id_survives_its_bytes() {
        let id = RecordId { sender: u32::MAX, number: 5 };
        assert_eq!(RecordId::from_bytes(&id.to_bytes()), Some(id));
        assert_eq!(RecordId::from_bytes(b"short"), None);
        assert_eq!(RecordId::from_text(&(id.to_text() + "more")), Some(id));
        assert_eq!(RecordId::from_text("no id at all, no"), None);
    }

    #[test]
    fn what_was_kept_is_counted() {
        let mut told = acknowledged();
        told.push((id(3), Told::Failed(Some(Certainty::PossiblySent), String::new())));
        told.push((id(4), Told::Failed(Some(Certainty::NotSent), String::new())));
        let tally = audit(told, &log(&[0, 1, 2, 3]), Promise::ExactlyOnce).expect("all is well");
        let expected = Tally { acknowledged: 3, not_sent: 1, possibly_sent: 1, possibly_sent_found: 1, ..tally };
        assert_eq!((tally, tally.doubled), (expected, 0));
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let exactly = Promise::ExactlyOnce;
        assert_eq!(complaint(acknowledged(), &log(&[0, 1]), exactly), "lost");
        assert_eq!(complaint(acknowledged(), &log(&[0, 1, 2, 1]), exactly), "doubled");
        assert_eq!(complaint(acknowledged(), &log(&[1, 0, 2]), exactly), "elsewhere");
        let twice = acknowledged().into_iter().chain(acknowledged()).collect();
        assert_eq!(complaint(twice, &log(&[0, 1, 2]), exactly), "told twice");
        assert_eq!(complaint(acknowledged(), &log(&[0, 1, 2, 9]), exactly), "unheard of");
        let told = |certainty| vec![(id(0), Told::Failed(certainty, String::new()))];
        assert_eq!(complaint(told(Some(Certainty::NotSent)), &log(&[0]), exactly), "a lie");
        assert_eq!(complaint(told(None), &log(&[]), exactly), "unmarked");
        let unplaced: Vec<_> = (0..2).map(|n| (id(n), Told::Written(0, None))).collect();
        assert_eq!(complaint(unplaced.clone(), &log(&[1, 0]), exactly), "reordered");
        assert_eq!(complaint(unplaced, &log(&[1, 0, 1]), Promise::AtLeastOnce), "reordered");
    }

    #[test]
    fn at_least_once_may_double_and_judges_only_what_was_acknowledged() {
        let mut told = acknowledged();
        told.push((id(3), Told::Failed(Some(Certainty::PossiblySent), String::new())));
        let tally = audit(told, &log(&[0, 1, 2, 0, 3, 1]), Promise::AtLeastOnce).expect("allowed");
        assert_eq!(tally.doubled, 2);
        let possibly: Vec<_> =
            (0..2).map(|n| (id(n), Told::Failed(Some(Certainty::PossiblySent), String::new()))).collect();
        assert!(audit(possibly.clone(), &log(&[1, 0]), Promise::AtLeastOnce).is_ok());
        assert!(audit(possibly, &log(&[1, 0]), Promise::ExactlyOnce).is_err());
    }
}
