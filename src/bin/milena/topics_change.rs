//! What changes topics that are there: `alter-config`, `add-partitions`, `delete-records`.

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::{Output, Report};
use crate::topics::{Assignment, assignment, unanswered};
use crate::{hints, offsets, row, when};
use milena::admin::{Admin, ConfigChange, ConfigResource, NewPartitions, OffsetSpec};
use milena::ids::TopicPartition;

/// Changes of configs, whatever they are of.
#[derive(Debug, clap::Args)]
pub struct Changes {
    /// Sets a config. Repeatable, as the others
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Takes a config back to its default
    #[arg(short, long, value_name = "KEY")]
    delete: Vec<String>,
    /// Adds to a config that is a list, such as cleanup.policy
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    append: Vec<(String, String)>,
    /// Takes away from a config that is a list
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    subtract: Vec<(String, String)>,
    /// The brokers check it, and nothing is changed
    #[arg(long, alias = "dry")]
    dry_run: bool,
}

/// `KEY=VALUE`
pub fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE, such as retention.ms=86400000")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Changes {
    fn list(&self) -> Result<Vec<ConfigChange>> {
        let mut changes: Vec<_> = self.set.iter().map(|(key, value)| ConfigChange::set(key, value)).collect();
        changes.extend(self.delete.iter().map(ConfigChange::delete));
        changes.extend(self.append.iter().map(|(key, value)| ConfigChange::append(key, value)));
        changes.extend(self.subtract.iter().map(|(key, value)| ConfigChange::subtract(key, value)));
        if changes.is_empty() {
            return Err(Failure::config(
                "nothing to change: --set KEY=VALUE, --delete KEY, --append or --subtract KEY=VALUE",
            ));
        }
        Ok(changes)
    }

    /// Changes these resources, and says what became of each.
    pub async fn apply(
        &self,
        admin: &Admin,
        kind: &'static str,
        resources: Vec<(String, ConfigResource)>,
        output: Output,
    ) -> Result<()> {
        let changes = self.list()?;
        waiting_for("the brokers to change configs");
        let asked = if self.dry_run { admin.dry_run() } else { admin.clone() };
        let all = resources.iter().map(|(_, resource)| (resource.clone(), changes.clone()));
        let mut outcomes = asked.alter_config_resources(all).await?;
        let mut report = Report::new([kind]);
        for (name, resource) in resources {
            let outcome = match outcomes.remove(&resource) {
                Some(Err(error)) if matches!(resource, ConfigResource::Topic(_)) => {
                    Err(hints::topic(admin, &name, error).await)
                }
                Some(outcome) => outcome.map_err(Failure::from),
                None => Err(unanswered(&name)),
            };
            report.push(row![name], outcome);
        }
        report.print(output)?;
        if self.dry_run {
            eprintln!("dry run: nothing was changed");
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub struct AlterConfig {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    #[command(flatten)]
    changes: Changes,
}

impl AlterConfig {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        let resources = self.names.into_iter().map(|name| (name.clone(), ConfigResource::Topic(name)));
        self.changes.apply(admin, "TOPIC", resources.collect(), output).await
    }
}

#[derive(Debug, clap::Args)]
pub struct AddPartitions {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// How many more
    #[arg(short, long, value_name = "N", required_unless_present = "total", conflicts_with = "total", value_parser = clap::value_parser!(i32).range(1..))]
    num: Option<i32>,
    /// How many there will be
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    total: Option<i32>,
    /// Which brokers get each of the new ones, the preferred leader first: 1:2,2:3
    #[arg(long, value_name = "ID:ID,…", value_parser = assignment)]
    assignment: Option<Assignment>,
    /// The brokers check it, and nothing is changed
    #[arg(long)]
    dry_run: bool,
}

impl AddPartitions {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        let described = admin.describe_topics(&self.names).await?;
        let mut totals = Vec::new();
        for (name, topic) in described {
            let topic = match topic {
                Ok(topic) => topic,
                Err(error) => return Err(hints::topic(admin, &name, error).await),
            };
            let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let total = self.total.unwrap_or_else(|| now.saturating_add(self.num.unwrap_or(0)));
            totals.push((name, now, total));
        }
        waiting_for("the controller to add partitions");
        let asked = if self.dry_run { admin.dry_run() } else { admin.clone() };
        let wanted = totals.iter().map(|(name, _, total)| {
            let wanted = NewPartitions::new(name, *total);
            match &self.assignment {
                Some(assignment) => wanted.assignment(assignment.0.clone()),
                None => wanted,
            }
        });
        let mut outcomes = asked.create_partitions(wanted).await?;
        let mut report = Report::new(["TOPIC", "BEFORE", "PARTITIONS"]);
        for (name, before, total) in totals {
            let outcome = outcomes.remove(&name).map_or_else(|| Err(unanswered(&name)), |done| Ok(done?));
            report.push(row![name, before, total], outcome);
        }
        report.print(output)?;
        if self.dry_run {
            eprintln!("dry run: nothing was changed");
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub struct DeleteRecords {
    /// The topic
    topic: String,
    /// What comes before is deleted: an offset, end (everything), or a time, as @2024-01-15T14:30:00Z, @-7d
    #[arg(short, long, value_name = "N|end|@TIME", value_parser = before)]
    offset: Before,
    /// Only in these partitions, a comma list
    #[arg(short, long, value_name = "P,…", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Says what would be deleted, and deletes nothing
    #[arg(long)]
    dry_run: bool,
    /// Deletes it; without it, it is only shown
    #[arg(short, long, alias = "no-confirm")]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Offset(i64),
    End,
    Time(i64),
}

fn before(text: &str) -> std::result::Result<Before, String> {
    match text.strip_prefix('@') {
        Some(time) => when::when(time).map(Before::Time),
        None if text == "end" => Ok(Before::End),
        None => match text.parse() {
            Ok(offset @ 0..) => Ok(Before::Offset(offset)),
            _ => Err("is an offset, end, or @ and a time".to_owned()),
        },
    }
}

impl DeleteRecords {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        let names = offsets::partitions(admin, &self.topic, &self.partitions).await?;
        waiting_for(format!("the offsets of topic {}", self.topic));
        let starts = offsets::places(admin, &names, OffsetSpec::Earliest).await?;
        let ends = offsets::places(admin, &names, OffsetSpec::Latest).await?;
        let timed = match self.offset {
            Before::Time(ms) => offsets::places(admin, &names, OffsetSpec::Timestamp(ms)).await?,
            Before::Offset(_) | Before::End => offsets::Places::new(),
        };
        let target = |name: &TopicPartition| match self.offset {
            Before::Offset(offset) => Some(offset),
            Before::End => ends.get(name).copied(),
            // All records are older: all go.
            Before::Time(_) => timed.get(name).or_else(|| ends.get(name)).copied(),
        };
        if self.dry_run || !self.yes {
            let mut report =
                Report::new(["TOPIC", "PARTITION", "LOG-START-OFFSET", "NEW-START-OFFSET", "HIGH-WATERMARK"]);
            for name in &names {
                let (start, end, to) = (starts.get(name).copied(), ends.get(name).copied(), target(name));
                let outcome = match (to, end) {
                    (Some(to), Some(end)) if to > end => {
                        let why = format!("{name}: there is nothing before offset {to}: the log ends at {end}");
                        Err(Failure::broker(why).named("OFFSET_OUT_OF_RANGE"))
                    }
                    _ => Ok(()),
                };
                report.push(row![&*name.topic, name.partition, start, to.max(start), end], outcome);
            }
            report.print(output)?;
            if self.dry_run {
                eprintln!("dry run: nothing was deleted");
                return Ok(());
            }
            return Err(Failure::config("nothing was deleted: to delete these records, add --yes"));
        }
        // A partition that begins later than that already has nothing to delete.
        let wanted = names.iter().filter_map(|name| Some((name.clone(), target(name)?)));
        let wanted: Vec<_> = wanted.filter(|(name, to)| starts.get(name).is_none_or(|start| start < to)).collect();
        waiting_for(format!("the leaders of topic {} to delete records", self.topic));
        let mut outcomes = admin.delete_records(wanted.clone()).await?;
        let mut report = Report::new(["TOPIC", "PARTITION", "NEW-START-OFFSET"]);
        for name in names {
            let (start, outcome) = match outcomes.remove(&name) {
                Some(Ok(start)) => (Some(start), Ok(())),
                Some(Err(error)) => (None, Err(error.into())),
                None if wanted.iter().any(|(other, _)| *other == name) => (None, Err(unanswered(&name.to_string()))),
                None => (starts.get(&name).copied(), Ok(())),
            };
            report.push(row![&*name.topic, name.partition, start], outcome);
        }
        report.print(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_before_an_offset_the_end_or_a_time() {
        assert_eq!((before("7"), before("end")), (Ok(Before::Offset(7)), Ok(Before::End)));
        assert_eq!(before("@1705276800"), Ok(Before::Time(1_705_276_800_000)));
        assert!(before("-1").is_err() && before("start").is_err() && before("@soon").is_err());
    }
}
