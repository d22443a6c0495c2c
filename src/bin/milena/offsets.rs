//! `milena offsets`: where topics begin and end, or where a time is in them (kafka-get-offsets, kcat -Q).

use crate::args::{Failure, Global, Result};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Table};
use crate::topics::Which;
use crate::{hints, row, when};
use milena::admin::{Admin, IsolationLevel, OffsetSpec};
use milena::ids::TopicPartition;
use std::collections::BTreeMap;

/// Offsets of topics
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Where partitions begin and end, or where a time is
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        which: Which,
        /// start, end, a time as @2024-01-15T14:30:00Z or @-1h, max-timestamp, earliest-local, latest-tiered; by default start
        /// and end. Repeatable
        #[arg(short, long, value_name = "PLACE", value_parser = place)]
        at: Vec<(String, OffsetSpec)>,
        /// Only these partitions, a comma list
        #[arg(short, long, value_name = "P,…", value_delimiter = ',')]
        partitions: Vec<i32>,
        /// The end is where open transactions begin
        #[arg(long)]
        read_committed: bool,
    },
}

/// `(column, place)`
fn place(text: &str) -> std::result::Result<(String, OffsetSpec), String> {
    let spec = match text {
        "start" | "beginning" | "earliest" => OffsetSpec::Earliest,
        "end" | "latest" => OffsetSpec::Latest,
        "max-timestamp" => OffsetSpec::MaxTimestamp,
        "earliest-local" => OffsetSpec::EarliestLocal,
        "latest-tiered" => OffsetSpec::LatestTiered,
        _ => match text.strip_prefix('@') {
            Some(time) => OffsetSpec::Timestamp(when::when(time)?),
            None => {
                return Err("is start, end, @ and a time, max-timestamp, earliest-local or latest-tiered".to_owned());
            }
        },
    };
    Ok((text.to_owned(), spec))
}

/// An offset for each partition that has one.
pub type Places = BTreeMap<TopicPartition, i64>;

/// Where this is in the partitions; a time after the last record is nowhere.
pub async fn places(admin: &Admin, names: &[TopicPartition], spec: OffsetSpec) -> Result<Places> {
    let mut places = Places::new();
    if names.is_empty() {
        return Ok(places);
    }
    let wanted = names.iter().map(|name| (name.clone(), spec));
    for (name, found) in admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await? {
        if let Some(found) = found? {
            places.insert(name, found.offset);
        }
    }
    Ok(places)
}

/// All partitions of a topic, or those of them that are named.
pub async fn partitions(admin: &Admin, topic: &str, only: &[i32]) -> Result<Vec<TopicPartition>> {
    waiting_for(format!("the partitions of topic {topic}"));
    let described = match admin.describe_topics([topic]).await?.remove(topic) {
        Some(Ok(described)) => described,
        Some(Err(error)) => return Err(hints::topic(admin, topic, error).await),
        None => return Err(crate::topics::unanswered(topic)),
    };
    let all: Vec<_> = described.partitions.iter().map(|partition| partition.partition).collect();
    if let Some(other) = only.iter().find(|partition| !all.contains(partition)) {
        let count = all.len();
        return Err(Failure::broker(format!("topic {topic} has no partition {other}: it has {count}, from 0 on")));
    }
    let meant = |partition: &i32| only.is_empty() || only.contains(partition);
    Ok(all.into_iter().filter(meant).map(|partition| TopicPartition::new(topic, partition)).collect())
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let Command::List { which, mut at, partitions, read_committed } = args.command;
    if at.is_empty() {
        at = [("start", OffsetSpec::Earliest), ("end", OffsetSpec::Latest)]
            .map(|(text, at)| (text.to_owned(), at))
            .into();
    }
    let isolation = if read_committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
    let done = list(&client.admin(), &which, &at, &partitions, isolation, args.output).await;
    client.close().await;
    done
}

async fn list(
    admin: &Admin,
    which: &Which,
    at: &[(String, OffsetSpec)],
    only: &[i32],
    isolation: IsolationLevel,
    output: Output,
) -> Result<()> {
    let (mut names, mut failures) = (Vec::new(), Vec::new());
    for topic in which.names(admin).await? {
        match partitions(admin, &topic, only).await {
            Ok(found) => names.extend(found),
            Err(failure) => failures.push(failure),
        }
    }
    if names.is_empty() {
        return Failure::all(failures);
    }
    let mut rows = BTreeMap::new();
    waiting_for("the leaders to look offsets up");
    for (nth, (_, spec)) in at.iter().enumerate() {
        let wanted = names.iter().map(|name| (name.clone(), *spec));
        for (name, found) in admin.list_offsets(wanted, isolation).await? {
            match found {
                Ok(found) => drop(rows.insert((name, nth), found)),
                Err(error) => failures.push(Failure::from(error)),
            }
        }
    }
    let mut table = Table::new(["TOPIC", "PARTITION", "AT", "OFFSET", "TIMESTAMP", "LEADER-EPOCH"]);
    for ((name, nth), found) in rows {
        let time = found.as_ref().map(|found| found.timestamp).filter(|time| *time >= 0);
        let epoch = found.as_ref().and_then(|found| found.leader_epoch).map(|epoch| epoch.0);
        let offset = found.map(|found| found.offset);
        let place = at.get(nth).map(|(text, _)| text.as_str());
        table.push(row![&*name.topic, name.partition, place, offset, time, epoch]);
    }
    output.table(&table)?;
    Failure::all(failures)
}
