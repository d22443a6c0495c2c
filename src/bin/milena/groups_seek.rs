//! `milena groups seek`: moves a group. First it shows how, and `--execute` does it.

use crate::args::{Failure, Result};
use crate::groups_change::{TopicPartitions, topic_partitions};
use crate::limit::waiting_for;
use crate::output::{Output, Report};
use crate::{hints, offsets, row, when};
use milena::admin::{Admin, OffsetMove, ResetScope, ResetTo};
use milena::error::{Error, ErrorCode, ErrorKind};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Seek {
    /// The group's id
    group: String,
    #[command(flatten)]
    to: To,
    /// Only these topics, or partitions of one; by default all that the group has committed. Repeatable
    #[arg(short, long = "topic", alias = "topics", value_name = "TOPIC[:P,…]", value_parser = topic_partitions)]
    topics: Vec<TopicPartitions>,
    /// Shows what would change; as it is without --execute
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Moves the group
    #[arg(short, long, visible_alias = "yes", short_alias = 'y')]
    execute: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// start, end, current (where it stands, but within the log), or a time: 2024-01-15T14:30:00Z, 2024-01-15, -30m
    #[arg(long, value_name = "start|end|TIME", allow_hyphen_values = true, value_parser = to)]
    to: Option<ResetTo>,
    /// The same offset in each partition
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// So many records on, or back if negative
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Where another group stands
    #[arg(long, value_name = "GROUP")]
    to_group: Option<String>,
    /// Lines of TOPIC PARTITION OFFSET, with blanks or commas between
    #[arg(long, alias = "from-file", value_name = "FILE")]
    to_file: Option<PathBuf>,
}

/// How a group moves in one partition.
struct Planned {
    from: Option<i64>,
    to: OffsetAndMetadata,
    /// Where it begins and ends.
    log: (i64, i64),
    /// The place that was named is not in it.
    clamped: bool,
}

impl Planned {
    /// What is written beside an offset goes with it, but not with another one.
    fn new(to: Option<&OffsetAndMetadata>, OffsetMove { from, log_start, log_end, .. }: OffsetMove) -> Self {
        let wanted = to.cloned().unwrap_or_else(|| OffsetAndMetadata::new(log_end));
        let nearest = wanted.offset.min(log_end).max(log_start);
        let clamped = nearest != wanted.offset;
        let to = if clamped { OffsetAndMetadata::new(nearest) } else { wanted };
        Self { from, to, log: (log_start, log_end), clamped }
    }
}

fn to(text: &str) -> std::result::Result<ResetTo, String> {
    Ok(match text {
        "start" | "beginning" | "earliest" => ResetTo::Earliest,
        "end" | "latest" => ResetTo::Latest,
        "current" => ResetTo::Current,
        time => ResetTo::Timestamp(when::when(time.strip_prefix('@').unwrap_or(time))?),
    })
}

impl Seek {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        waiting_for(format!("the coordinator of group {}", self.group));
        let to = match &self.to {
            To { to: Some(to), .. } => *to,
            To { to_offset: Some(offset), .. } => ResetTo::Offset(*offset),
            To { shift_by: Some(by), .. } => ResetTo::Shift(*by),
            _ => {
                let targets = self.targets(admin).await?;
                return self.exactly(admin, targets, output).await;
            }
        };
        let asked = if self.execute { admin.clone() } else { admin.dry_run() };
        let moves = match asked.reset_group_offsets(&self.group, self.scope(admin).await?, to).await {
            Ok(moves) => moves,
            Err(error) => return Err(self.refused(admin, error).await),
        };
        if moves.is_empty() {
            return Err(self.nothing(admin).await);
        }
        let moves = moves.into_iter().map(|(name, outcome)| {
            let planned = outcome.map(|OffsetMove { from, to, log_start, log_end, clamped, .. }| Planned {
                from,
                to: OffsetAndMetadata::new(to),
                log: (log_start, log_end),
                clamped,
            });
            (name, planned)
        });
        self.report(admin, moves.collect(), output).await
    }

    /// What moves, or has moved, and where the place that was named is not in the log.
    async fn report(
        &self,
        admin: &Admin,
        moves: BTreeMap<TopicPartition, std::result::Result<Planned, Error>>,
        output: Output,
    ) -> Result<()> {
        let mut report =
            Report::new(["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET", "LOG-START-OFFSET", "LOG-END-OFFSET"]);
        for (name, outcome) in moves {
            let (topic, partition) = (&*name.topic, name.partition);
            match outcome {
                Ok(Planned { from, to, log: (start, end), clamped }) => {
                    if clamped {
                        eprintln!("{name}: the log is from {start} to {end}: {} is the nearest", to.offset);
                    }
                    report.push(row![topic, partition, from, to.offset, start, end], Ok(()));
                }
                Err(error) => {
                    let none = None::<i64>;
                    let failure = self.refused(admin, error).await;
                    report.push(row![topic, partition, none, none, none, none], Err(failure));
                }
            }
        }
        report.print(output)?;
        if !self.execute {
            eprintln!("dry run: group {} was not moved; --execute moves it", self.group);
        }
        Ok(())
    }

    async fn scope(&self, admin: &Admin) -> Result<ResetScope> {
        if self.topics.is_empty() {
            return Ok(ResetScope::Committed);
        }
        let mut names = Vec::new();
        for TopicPartitions { topic, partitions } in &self.topics {
            names.extend(offsets::partitions(admin, topic, partitions).await?);
        }
        Ok(ResetScope::Partitions(names))
    }

    /// What another group, or a file, says.
    async fn targets(&self, admin: &Admin) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let mut targets = match &self.to {
            To { to_group: Some(other), .. } => {
                let committed = admin.committed_offsets([other]).await?.remove(other);
                let committed = committed.unwrap_or_else(|| Ok(BTreeMap::new()))?;
                if committed.is_empty() {
                    return Err(hints::no_group(admin, other).await);
                }
                committed
            }
            To { to_file: Some(path), .. } => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
                lines(&text).map_err(|why| Failure::config(format!("{}: {why}", path.display())))?
            }
            _ => return Err(Failure::config("say where to: --to, --to-offset, --shift-by, --to-group or --to-file")),
        };
        let is_meant =
            |name: &TopicPartition| self.topics.is_empty() || self.topics.iter().any(|topic| topic.holds(name));
        targets.retain(|name, _| is_meant(name));
        if targets.is_empty() {
            let topics = self.topics.iter().map(|topic| topic.topic.as_str()).collect::<Vec<_>>().join(", ");
            return Err(match &self.to {
                To { to_group: Some(other), .. } => {
                    Failure::broker(format!("group {other} has committed nothing of {topics}"))
                }
                To { to_file: Some(path), .. } if self.topics.is_empty() => {
                    Failure::config(format!("{} names no offset", path.display()))
                }
                To { to_file, .. } => {
                    let path = to_file.as_deref().unwrap_or(Path::new(""));
                    Failure::config(format!("{} names no offset of {topics}", path.display()))
                }
            });
        }
        Ok(targets)
    }

    /// To these places, as far as they are in the log.
    async fn exactly(
        &self,
        admin: &Admin,
        targets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        output: Output,
    ) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for name in targets.keys() {
            topics.entry(&*name.topic).or_default().push(name.partition);
        }
        for (topic, numbers) in topics {
            offsets::partitions(admin, topic, &numbers).await?; // a name that was mistyped is told
        }
        waiting_for(format!("the coordinator of group {}", self.group));
        // It has the same questions as every other move: members, and where the logs begin and end.
        let scope = ResetScope::Partitions(targets.keys().cloned().collect());
        let now = match admin.dry_run().reset_group_offsets(&self.group, scope, ResetTo::Current).await {
            Ok(now) => now,
            Err(error) => return Err(self.refused(admin, error).await),
        };
        let mut moves: BTreeMap<_, _> = now
            .into_iter()
            .map(|(name, now)| {
                let planned = now.map(|now| Planned::new(targets.get(&name), now));
                (name, planned)
            })
            .collect();
        if self.execute {
            let wanted =
                moves.iter().filter_map(|(name, planned)| Some((name.clone(), planned.as_ref().ok()?.to.clone())));
            for (name, outcome) in admin.alter_group_offsets(&self.group, wanted).await? {
                if let Err(error) = outcome {
                    moves.insert(name, Err(error));
                }
            }
        }
        self.report(admin, moves, output).await
    }

    async fn nothing(&self, admin: &Admin) -> Failure {
        let groups = admin.list_groups().await.unwrap_or_default();
        if groups.iter().any(|group| group.group_id == self.group) {
            return Failure::config(format!("group {} has committed nothing: say which topics, with -t", self.group));
        }
        hints::no_group(admin, &self.group).await
    }

    async fn refused(&self, admin: &Admin, error: Error) -> Failure {
        match error.code() {
            Some(ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId) => Failure::broker(format!(
                "group {} has members, which would not notice: stop them first (`milena groups describe {} --members`)",
                self.group, self.group
            ))
            .named("NON_EMPTY_GROUP"),
            Some(ErrorCode::GroupIdNotFound) => hints::no_group(admin, &self.group).await,
            _ if error.kind() == ErrorKind::InvalidArgument => Failure::config(error.to_string()),
            _ => error.into(),
        }
    }
}

fn lines(text: &str) -> std::result::Result<BTreeMap<TopicPartition, OffsetAndMetadata>, String> {
    let mut targets = BTreeMap::new();
    for (nth, line) in text.lines().enumerate() {
        let words: Vec<_> =
            line.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => {}
            [topic, partition, offset] => {
                let wrong = |_| format!("line {}: {line:?} is not TOPIC PARTITION OFFSET", nth + 1);
                let name = TopicPartition::new(topic, partition.parse().map_err(wrong)?);
                let offset: i64 = offset.parse().map_err(wrong)?;
                if name.partition < 0 || offset < 0 {
                    return Err(format!("line {}: {line:?}: partitions and offsets begin at 0", nth + 1));
                }
                targets.insert(name, OffsetAndMetadata::new(offset));
            }
            _ => return Err(format!("line {}: {line:?} is not TOPIC PARTITION OFFSET", nth + 1)),
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_topic_partition_and_offset_in_a_line() {
        let targets = lines("clicks 0 17\n\nclicks,1,3\n").unwrap();
        let of = |partition| targets.get(&TopicPartition::new("clicks", partition)).unwrap().offset;
        assert_eq!((of(0), of(1)), (17, 3));
        assert!(lines("clicks 0\n").unwrap_err().contains("line 1"));
        assert!(lines("\nclicks 0 x\n").unwrap_err().contains("line 2"));
        assert!(lines("clicks 0 -1\n").unwrap_err().contains("begin at 0"));
        assert!(lines("clicks -1 0\n").unwrap_err().contains("begin at 0"));
    }
}
