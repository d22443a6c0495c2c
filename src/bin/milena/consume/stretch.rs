//! A range on a partition as it is: from which offset to which.

use super::ranges::{End, Range, Start};
use crate::args::Result;
use milena::consumer::{Consumer, OffsetSpec};
use milena::ids::TopicPartition;
use std::collections::{BTreeMap, HashMap};

/// What to read of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// `None`: where the consumer begins by itself.
    pub from: Option<i64>,
    /// Up to here; [`i64::MAX`] if only a time will end it, `None` if nothing will.
    pub to: Option<i64>,
}

/// What brokers say of one partition.
#[derive(Debug, Clone, Copy)]
struct Log {
    begin: i64,
    end: i64,
    /// The first records of the times of start and end, if there are such.
    start_time: Option<i64>,
    end_time: Option<i64>,
}

impl Stretch {
    /// Whether there is nothing to read, now or later.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self { from: Some(from), to: Some(to) } if from >= to)
    }

    /// `exit`: never beyond the end as it is now.
    fn new(range: Range, exit: bool, log: Log) -> Self {
        let from = range.start.and_then(|start| match start {
            Start::Stored => None,
            Start::Beginning => Some(log.begin),
            Start::End => Some(log.end),
            Start::Offset(offset) => Some(offset.max(log.begin)),
            Start::AfterBeginning(count) => Some(log.begin.saturating_add(count)),
            Start::BeforeEnd(count) => Some(log.end.saturating_sub(count).max(log.begin)),
            Start::Time(_) => Some(log.start_time.unwrap_or(log.end)),
        });
        let to = range.end.map(|end| match end {
            End::Now => log.end,
            End::Offset(offset) => offset.min(log.end),
            End::BeforeNow(count) => log.end.saturating_sub(count).max(log.begin),
            End::Time(_) => log.end_time.unwrap_or(log.end),
            End::Reaches(_) => log.end_time.unwrap_or(i64::MAX),
        });
        Self { from, to: if exit { Some(to.map_or(log.end, |to| to.min(log.end))) } else { to } }
    }
}

impl Log {
    /// What to say of a start that is not in it.
    fn lacks(&self, start: Option<Start>) -> Option<String> {
        match start {
            Some(Start::Offset(offset)) if offset < self.begin => {
                Some(format!("offset {offset} is before the log, which begins at {}", self.begin))
            }
            Some(Start::Offset(offset)) if offset > self.end => {
                let of_time = matches!(offset.to_string().len(), 10 | 13);
                let hint = if of_time { format!("; a time is @{offset}") } else { String::new() };
                Some(format!("offset {offset} is behind the log, which ends at {}{hint}", self.end))
            }
            _ => None,
        }
    }
}

/// Asks the leaders where the range is in each of these partitions.
pub async fn stretches(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    range: Range,
    exit: bool,
) -> Result<BTreeMap<TopicPartition, Stretch>> {
    let begins = consumer.beginning_offsets(partitions).await?;
    let ends = consumer.end_offsets(partitions).await?;
    let start_times = match range.start {
        Some(Start::Time(millis)) => first_of_time(consumer, partitions, millis).await?,
        _ => HashMap::new(),
    };
    let end_times = match range.end {
        Some(End::Time(millis) | End::Reaches(millis)) => first_of_time(consumer, partitions, millis).await?,
        _ => HashMap::new(),
    };
    let stretch = |name: &TopicPartition| {
        let log = Log {
            begin: begins.get(name).copied().unwrap_or(0),
            end: ends.get(name).copied().unwrap_or(0),
            start_time: start_times.get(name).copied(),
            end_time: end_times.get(name).copied(),
        };
        if let Some(why) = log.lacks(range.start) {
            eprintln!("milena: {name}: {why}");
        }
        (name.clone(), Stretch::new(range, exit, log))
    };
    Ok(partitions.iter().map(stretch).collect())
}

async fn first_of_time(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    millis: i64,
) -> Result<HashMap<TopicPartition, i64>> {
    let places = partitions.iter().map(|name| (name.clone(), OffsetSpec::Timestamp(millis)));
    let found = consumer.list_offsets(places.collect()).await?;
    Ok(found.into_iter().filter_map(|(name, at)| Some((name, at?.offset))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets 10 to 99; the first record of the start's time is 20, there is none of the end's.
    const LOG: Log = Log { begin: 10, end: 100, start_time: Some(20), end_time: None };

    fn stretch(texts: &str, exit: bool) -> (Option<i64>, Option<i64>) {
        let range = Range::parse(texts.split_whitespace(), 1_700_000_000_000).unwrap();
        let Stretch { from, to } = Stretch::new(range, exit, LOG);
        (from, to)
    }

    #[test]
    fn a_range_becomes_offsets_within_the_log() {
        for (texts, from, to) in [
            ("", None, None),
            ("stored", None, None),
            ("start", Some(10), None),
            ("end", Some(100), None),
            (":end", Some(10), Some(100)),
            ("50", Some(50), None),
            ("3", Some(10), None),
            ("+5", Some(15), None),
            ("-5", Some(95), None),
            ("-500", Some(10), None),
            ("50:60", Some(50), Some(60)),
            ("50:1000", Some(50), Some(100)),
            ("-50:-10", Some(50), Some(90)),
            (":-500", Some(10), Some(10)),
            ("@-1h:", Some(20), None),
            ("@-1h:end", Some(20), Some(100)),
            ("@-2h:-1h", Some(20), Some(100)),
            ("s@1", Some(20), None),
            ("e@1", None, Some(i64::MAX)),
        ] {
            assert_eq!(stretch(texts, false), (from, to), "{texts}");
        }
        for (texts, from, to) in [
            ("", None, Some(100)),
            ("start", Some(10), Some(100)),
            ("e@1", None, Some(100)),
            (":50", Some(10), Some(50)),
        ] {
            assert_eq!(stretch(texts, true), (from, to), "{texts} -e");
        }
    }

    #[test]
    fn what_holds_nothing_is_empty() {
        let is_empty = |from, to| Stretch { from, to }.is_empty();
        assert!(is_empty(Some(5), Some(5)) && is_empty(Some(6), Some(5)));
        assert!(!is_empty(Some(5), Some(6)) && !is_empty(None, Some(0)) && !is_empty(Some(5), None));
    }
}
