//! What the members of a group were handed, and when partitions were theirs, held against the log: anomalies by Jepsen's
//! names. For the test broker on virtual time and for a real cluster alike.

use crate::ledger::{RecordId, Wrong};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a log holds for its readers: by partition, in the order of the offsets.
pub type Log = BTreeMap<TopicPartition, Vec<(i64, RecordId)>>;

/// From an assignment of a partition to its end, with one member.
#[derive(Debug)]
struct Tenure {
    generation: i32,
    /// Offsets, as they were handed out.
    read: Vec<i64>,
    is_over: bool,
}

/// Everything that members of one group have seen. A member is named by its place in the group and its life there,
/// `place.life`: a static member takes over what its place had, in the same generation.
#[derive(Debug, Default)]
pub struct History {
    /// By partition and member.
    tenures: BTreeMap<(TopicPartition, String), Vec<Tenure>>,
    committed: HashMap<TopicPartition, i64>,
    wrong: Wrong,
}

impl History {
    /// `member` is told that a partition is its own.
    pub fn assigned(&mut self, member: &str, generation: i32, partitions: &[TopicPartition]) {
        for partition in partitions {
            let tenures = self.tenures.entry((partition.clone(), member.to_owned())).or_default();
            if tenures.last().is_some_and(|tenure| !tenure.is_over) {
                self.wrong.note("assigned twice", format!("{partition} to {member}"));
            }
            tenures.push(Tenure { generation, read: Vec::new(), is_over: false });
        }
    }

    /// `member` has said that they may go, or was told that they have gone, or ends.
    pub fn gone(&mut self, member: &str, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(tenure) = self.tenure(partition, member) {
                tenure.is_over = true;
            }
        }
    }

    /// `member` ends, or is ended.
    pub fn ended(&mut self, member: &str) {
        for ((_, name), tenures) in &mut self.tenures {
            if name == member {
                tenures.iter_mut().for_each(|tenure| tenure.is_over = true);
            }
        }
    }

    /// `member` is handed a record.
    pub fn read(&mut self, member: &str, partition: &TopicPartition, offset: i64) {
        match self.tenure(partition, member).filter(|tenure| !tenure.is_over) {
            Some(tenure) => tenure.read.push(offset),
            None => self.wrong.note("not owned", format!("{member} is handed {partition} at {offset}")),
        }
    }

    /// What the group has committed now.
    pub fn committed(&mut self, partition: &TopicPartition, offset: Option<&OffsetAndMetadata>) {
        let offset = offset.map_or(-1, |offset| offset.offset);
        let before = self.committed.insert(partition.clone(), offset).unwrap_or(-1);
        if offset < before {
            self.wrong.note("non-monotonic commit", format!("{partition}: {offset} after {before}"));
        }
    }

    fn tenure(&mut self, partition: &TopicPartition, member: &str) -> Option<&mut Tenure> {
        self.tenures.get_mut(&(partition.clone(), member.to_owned()))?.last_mut()
    }

    /// How many tenures there were, and records read.
    pub fn size(&self) -> (usize, usize) {
        let tenures = self.tenures.values().flatten();
        (tenures.clone().count(), tenures.map(|tenure| tenure.read.len()).sum())
    }

    /// Holds it against what the group was to see.
    ///
    /// # Errors
    /// What is wrong: `skipped` records, records read again (`non-monotonic read`) within one tenure, `aborted read`s, which are of nothing
    /// that the log shows, partitions with two owners in one generation (`shared`), and what was noted on the way.
    pub fn check(mut self, log: &Log) -> Result<(), Wrong> {
        let mut owners: HashMap<(TopicPartition, i32), String> = HashMap::new();
        for ((partition, member), tenures) in &self.tenures {
            let shown: BTreeSet<i64> = log.get(partition).into_iter().flatten().map(|(offset, _)| *offset).collect();
            for tenure in tenures {
                let key = (partition.clone(), tenure.generation);
                let place = |member: &str| member.split('.').next().unwrap_or_default().to_owned();
                if let Some(other) = owners.insert(key, member.clone())
                    && place(&other) != place(member)
                {
                    let case = format!("{partition} in generation {}: {member} and {other}", tenure.generation);
                    self.wrong.note("shared", case);
                }
                for offset in tenure.read.iter().filter(|offset| !shown.contains(offset)) {
                    self.wrong.note("aborted read", format!("{member} of {partition} at {offset}"));
                }
                for pair in tenure.read.windows(2) {
                    let (one, two) = (pair[0], pair[1]);
                    if two <= one {
                        self.wrong.note("non-monotonic read", format!("{member} of {partition}: {two} after {one}"));
                    } else if let Some(skipped) = shown.range(one + 1..two).next() {
                        let case = format!("{member} of {partition}: {skipped}, between {one} and {two}");
                        self.wrong.note("skipped", case);
                    }
                }
            }
        }
        self.wrong.or(())
    }
}

/// Holds the end of a chain against its beginning: every record that was acknowledged at the beginning is at the end, and
/// where the chain is exactly-once it is there once and in its order.
///
/// # Errors
/// `lost`, `duplicate` and `reordered`.
pub fn check_chain(acknowledged: &HashSet<RecordId>, first: &Log, last: &Log, exactly_once: bool) -> Result<(), Wrong> {
    let mut wrong = Wrong::default();
    let mut found: HashMap<RecordId, usize> = HashMap::new();
    for (_, id) in last.values().flatten() {
        *found.entry(*id).or_default() += 1;
    }
    for id in acknowledged.iter().filter(|id| !found.contains_key(id)) {
        wrong.note("lost", id.to_string());
    }
    if exactly_once {
        for (id, count) in found.iter().filter(|(_, count)| **count > 1) {
            wrong.note("duplicate", format!("{id}, {count} times"));
        }
        let place = |log: &Log| -> HashMap<RecordId, (i32, usize)> {
            let numbered = log.iter().flat_map(|(name, records)| {
                records.iter().enumerate().map(|(at, (_, id))| (*id, (name.partition, at)))
            });
            numbered.collect()
        };
        let from = place(first);
        for (name, records) in last {
            for pair in records.windows(2) {
                let (one, two) = (pair[0].1, pair[1].1);
                if from.get(&one) >= from.get(&two) && one != two {
                    wrong.note("reordered", format!("{two} behind {one} in {name}"));
                }
            }
        }
    }
    wrong.or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn log(offsets: &[i64]) -> Log {
        let id = |offset: i64| RecordId { sender: 0, number: offset as u32 };
        BTreeMap::from([(at(0), offsets.iter().map(|offset| (*offset, id(*offset))).collect())])
    }

    /// One member that reads these offsets.
    fn reader(offsets: &[i64]) -> History {
        let mut history = History::default();
        history.assigned("one", 1, &[at(0)]);
        offsets.iter().for_each(|offset| history.read("one", &at(0), *offset));
        history
    }

    fn complaint(history: History, offsets: &[i64]) -> String {
        history.check(&log(offsets)).expect_err("an anomaly").to_string()
    }

    #[test]
    fn a_tenure_reads_what_the_log_shows_in_its_order_and_without_a_gap() {
        reader(&[3, 5, 6]).check(&log(&[1, 3, 5, 6, 8])).expect("nothing is wrong");
        assert!(complaint(reader(&[1, 5]), &[1, 3, 5]).contains("skipped: 1"));
        assert!(complaint(reader(&[1, 1]), &[1]).contains("non-monotonic read: 1"));
        assert!(complaint(reader(&[1, 2]), &[1]).contains("aborted read: 1"));
    }

    #[test]
    fn nobody_reads_what_is_not_his() {
        let mut history = reader(&[1]);
        history.gone("one", &[at(0)]);
        history.read("one", &at(0), 2);
        assert!(complaint(history, &[1, 2]).contains("not owned: 1"));
        let mut history = reader(&[]);
        history.assigned("two", 1, &[at(0)]);
        assert!(complaint(history, &[]).contains("shared: 1"));
        let mut history = reader(&[1]);
        history.ended("one");
        history.assigned("one", 2, &[at(0)]);
        history.read("one", &at(0), 1);
        history.check(&log(&[1])).expect("another tenure may read again");
    }

    #[test]
    fn commits_do_not_go_back() {
        let mut history = History::default();
        for offset in [5, 7, 6] {
            history.committed(&at(0), Some(&OffsetAndMetadata::new(offset)));
        }
        assert!(complaint(history, &[]).contains("non-monotonic commit: 1"));
    }

    #[test]
    fn a_chain_loses_nothing_and_exactly_once_doubles_and_reorders_nothing() {
        let first = log(&[0, 1, 2]);
        let all: HashSet<RecordId> = first.values().flatten().map(|(_, id)| *id).collect();
        let last = |numbers: &[u32]| -> Log {
            let records = (0..).zip(numbers).map(|(offset, number)| (offset, RecordId { sender: 0, number: *number }));
            BTreeMap::from([(at(0), records.collect())])
        };
        let complaint = |numbers: &[u32], exactly_once| {
            check_chain(&all, &first, &last(numbers), exactly_once).map_err(|wrong| wrong.to_string())
        };
        assert!(complaint(&[0, 1, 2], true).is_ok());
        assert!(complaint(&[0, 2], false).expect_err("1 is not there").contains("lost: 1"));
        assert!(complaint(&[0, 1, 0, 1, 2], false).is_ok());
        assert!(complaint(&[0, 1, 1, 2], true).expect_err("1 is there twice").contains("duplicate: 1"));
        assert!(complaint(&[1, 0, 2], true).expect_err("0 is behind 1").contains("reordered: 1"));
    }
}
