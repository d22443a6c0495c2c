//! `milena groups seek`: moves a group. First it shows how, and `--execute` does it.

use crate::args::{Failure, Result};
use crate::groups_change::{TopicPartitions, topic_partitions};
use crate::limit::waiting_for;
use crate::output::{Output, Report, Table};
use crate::{hints, offsets, row, when};
use milena::admin::{Admin, OffsetMove, ResetScope, ResetTo};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<u32>,
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
            To { to_offset: Some(offset), .. } => ResetTo::Offset(i64::from(*offset)),
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
        let mut report =
            Report::new(["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET", "LOG-START-OFFSET", "LOG-END-OFFSET"]);
        for (name, outcome) in moves {
            let (topic, partition) = (&*name.topic, name.partition);
            match outcome {
                Ok(OffsetMove { from, to, log_start, log_end, .. }) => {
                    report.push(row![topic, partition, from, to, log_start, log_end], Ok(()));
                }
                Err(error) => {
                    let none = None::<i64>;
                    let failure = self.refused(admin, error).await;
                    report.push(row![topic, partition, none, none, none, none], Err(failure));
                }
            }
        }
        report.print(output)?;
        self.say();
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
        Ok(targets)
    }

    async fn exactly(
        &self,
        admin: &Admin,
        targets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        output: Output,
    ) -> Result<()> {
        let before = admin.committed_offsets([&self.group]).await?.remove(&self.group);
        let before = before.unwrap_or_else(|| Ok(BTreeMap::new()))?;
        let from = |name: &TopicPartition| before.get(name).map(|committed| committed.offset);
        if !self.execute {
            let mut table = Table::new(["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET"]);
            for (name, to) in &targets {
                table.push(row![&*name.topic, name.partition, from(name), to.offset]);
            }
            output.table(&table)?;
            self.say();
            return Ok(());
        }
        let mut outcomes = admin.alter_group_offsets(&self.group, targets.clone()).await?;
        let mut report = Report::new(["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET"]);
        for (name, to) in targets {
            let outcome = match outcomes.remove(&name) {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(self.refused(admin, error).await),
                None => Err(crate::topics::unanswered(&name.to_string())),
            };
            report.push(row![&*name.topic, name.partition, from(&name), to.offset], outcome);
        }
        report.print(output)
    }

    fn say(&self) {
        if !self.execute {
            eprintln!("dry run: group {} was not moved; --execute moves it", self.group);
        }
    }

    async fn nothing(&self, admin: &Admin) -> Failure {
        let groups = admin.list_groups().await.unwrap_or_default();
        if groups.iter().any(|group| group.group_id == self.group) {
            return Failure::config(format!("group {} has committed nothing: say which topics, with -t", self.group));
        }
        hints::no_group(admin, &self.group).await
    }

    async fn refused(&self, admin: &Admin, error: milena::error::Error) -> Failure {
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
                targets.insert(name, OffsetAndMetadata::new(offset.parse().map_err(wrong)?));
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
    }
}
