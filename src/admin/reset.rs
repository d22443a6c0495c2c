//! Moving a group to a place by what it means (the beginning, a time), with a look at it first.

use super::{Admin, IsolationLevel, OffsetAndTimestamp, OffsetSpec, Outcomes};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{OffsetAndMetadata, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The partitions in which a group is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetScope {
    /// All in which it has committed an offset.
    Committed,
    /// All of these topics, whether it has committed anything there or not.
    Topics(Vec<String>),
    /// These.
    Partitions(Vec<TopicPartition>),
}

/// Where a group is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    /// To the oldest record.
    Earliest,
    /// To the end.
    Latest,
    /// Where it is: makes a commit of its own where there is none, at the end, and renews the others.
    Current,
    /// To the first record with this timestamp (milliseconds since 1970) or a later one; to the end if there is none.
    Timestamp(i64),
    /// To this offset, or the nearest that the log has.
    Offset(i64),
    /// So many records on from what it has committed (or from the end, if it has committed nothing), back if negative; as far as
    /// the log reaches.
    Shift(i64),
}

/// How a group moves in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetMove {
    /// What it had committed.
    pub from: Option<i64>,
    /// The next record that it will read.
    pub to: i64,
    /// Where the log begins.
    pub log_start: i64,
    /// Where it ends.
    pub log_end: i64,
    /// The place that was asked for is outside of the log: `to` is the nearest end of it.
    pub clamped: bool,
}

/// What is known of a partition before it is decided.
struct Known {
    committed: Option<i64>,
    start: i64,
    end: i64,
}

impl Admin {
    /// Moves a group that has no members to another place of each partition, by committing it (OffsetFetch, ListOffsets,
    /// OffsetCommit). [`dry_run`](Self::dry_run) answers the same and commits nothing.
    ///
    /// # Errors
    /// Per partition: `UnknownTopicOrPartition`, `Denied`, or no leader in time. For all: `NonEmptyGroup` if it has members;
    /// `UnknownTopicOrPartition` for a topic that is not there; `Denied` on the group, or no coordinator in time.
    pub async fn reset_group_offsets(
        &self,
        group: &str,
        scope: ResetScope,
        to: ResetTo,
    ) -> Result<Outcomes<OffsetMove, TopicPartition>> {
        let deadline = self.deadline();
        self.require_no_members(group, deadline).await?;
        let committed = self.committed([(group.to_owned(), ())].into(), deadline).await?.remove(group);
        let committed = committed.unwrap_or_else(|| Ok(BTreeMap::new()))?;
        let partitions = self.in_scope(scope, &committed, deadline).await?;
        let starts = self.at(&partitions, OffsetSpec::Earliest, deadline).await?;
        let ends = self.at(&partitions, OffsetSpec::Latest, deadline).await?;
        let times = match to {
            ResetTo::Timestamp(time) => self.at(&partitions, OffsetSpec::Timestamp(time.max(0)), deadline).await?,
            _ => Outcomes::new(),
        };
        let mut moves = Outcomes::new();
        for partition in partitions {
            let moved = offset(&starts, &partition).and_then(|start| {
                let end = offset(&ends, &partition)?;
                let time = times.get(&partition).cloned().transpose()?.flatten();
                let committed = committed.get(&partition).map(|committed| committed.offset);
                Ok(planned(to, Known { committed, start, end }, time.map(|at| at.offset)))
            });
            moves.insert(partition, moved);
        }
        if self.dry_run {
            return Ok(moves);
        }
        let planned = moves.iter().filter_map(|(at, planned)| Some((at, planned.as_ref().ok()?.to)));
        // What stays where it is keeps what was written beside it.
        let stays = |at: &TopicPartition, to: i64| committed.get(at).filter(|known| known.offset == to).cloned();
        let offsets = planned.map(|(at, to)| (at.clone(), stays(at, to).unwrap_or_else(|| OffsetAndMetadata::new(to))));
        let offsets = offsets.collect();
        for (partition, outcome) in self.commit(group, offsets, deadline).await? {
            if let Err(error) = outcome {
                moves.insert(partition, Err(error));
            }
        }
        Ok(moves)
    }

    async fn require_no_members(&self, group: &str, deadline: Instant) -> Result<()> {
        match self.describe([(group.to_owned(), ())].into(), deadline).await?.remove(group) {
            Some(Ok(described)) if !described.members.is_empty() => {
                let members = described.members.len();
                let message = format!("group {group} has {members} members, which would not notice: stop them first");
                Err(Error::broker(ErrorCode::NonEmptyGroup).message(message))
            }
            // A group that only commits, or is not there yet, can be moved.
            Some(Err(error)) if error.code() != Some(ErrorCode::GroupIdNotFound) => Err(error),
            _ => Ok(()),
        }
    }

    async fn in_scope(
        &self,
        scope: ResetScope,
        committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        deadline: Instant,
    ) -> Result<BTreeSet<TopicPartition>> {
        let topics = match scope {
            ResetScope::Committed => return Ok(committed.keys().cloned().collect()),
            ResetScope::Partitions(partitions) => return Ok(partitions.into_iter().collect()),
            ResetScope::Topics(topics) => topics,
        };
        let mut partitions = BTreeSet::new();
        for (name, topic) in self.topics_as_they_are(topics.into_iter(), deadline).await? {
            let name: Arc<str> = name.into();
            partitions.extend(topic?.partitions.iter().map(|one| TopicPartition::new(name.clone(), one.partition)));
        }
        Ok(partitions)
    }

    async fn at(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        spec: OffsetSpec,
        deadline: Instant,
    ) -> Result<Outcomes<Option<OffsetAndTimestamp>, TopicPartition>> {
        let places = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
        self.places(places, IsolationLevel::ReadUncommitted, deadline).await?.into_outcomes()
    }
}

fn offset(places: &Outcomes<Option<OffsetAndTimestamp>, TopicPartition>, at: &TopicPartition) -> Result<i64> {
    let nowhere = || Error::broker(ErrorCode::OffsetNotAvailable).partition(at.clone());
    places.get(at).cloned().transpose()?.flatten().map(|place| place.offset).ok_or_else(nowhere)
}

fn planned(to: ResetTo, known: Known, at_time: Option<i64>) -> OffsetMove {
    let Known { committed, start, end } = known;
    let wanted = match to {
        ResetTo::Earliest => start,
        ResetTo::Latest => end,
        ResetTo::Current => committed.unwrap_or(end),
        ResetTo::Timestamp(_) => at_time.unwrap_or(end),
        ResetTo::Offset(offset) => offset,
        ResetTo::Shift(records) => committed.unwrap_or(end).saturating_add(records),
    };
    let to = wanted.min(end).max(start);
    OffsetMove { from: committed, to, log_start: start, log_end: end, clamped: to != wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_ends_within_the_log() {
        let known = |committed| Known { committed, start: 10, end: 20 };
        for (to, committed, at_time, expected) in [
            (ResetTo::Earliest, Some(15), None, (10, false)),
            (ResetTo::Latest, Some(15), None, (20, false)),
            (ResetTo::Current, Some(15), None, (15, false)),
            (ResetTo::Current, None, None, (20, false)),
            (ResetTo::Current, Some(5), None, (10, true)),
            (ResetTo::Timestamp(7), None, Some(12), (12, false)),
            (ResetTo::Timestamp(7), None, None, (20, false)),
            (ResetTo::Offset(11), None, None, (11, false)),
            (ResetTo::Offset(99), None, None, (20, true)),
            (ResetTo::Shift(-3), Some(15), None, (12, false)),
            (ResetTo::Shift(-3), None, None, (17, false)),
            (ResetTo::Shift(i64::MIN), Some(15), None, (10, true)),
            (ResetTo::Shift(i64::MAX), Some(15), None, (20, true)),
        ] {
            let planned = planned(to, known(committed), at_time);
            assert_eq!((planned.to, planned.clamped), expected, "{to:?} from {committed:?}");
            assert_eq!((planned.from, planned.log_start, planned.log_end), (committed, 10, 20));
        }
    }
}
