//! `milena cluster partitions`: where replicas are, and who leads.

use crate::args::{Failure, Result};
use crate::groups_change::{TopicPartitions, topic_partitions};
use crate::limit::waiting_for;
use crate::output::{Output, Report, Table};
use crate::topics::unanswered;
use crate::{hints, offsets, row};
use milena::admin::{Admin, Election};
use milena::error::ErrorCode;
use milena::ids::{NodeId, TopicPartition};
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The moves that are under way
    #[command(visible_aliases = ["move-status", "ls"])]
    List {
        /// Only of these
        #[arg(value_name = "TOPIC[:P,…]", value_parser = topic_partitions)]
        topics: Vec<TopicPartitions>,
    },
    /// Moves replicas to other brokers; first it only shows how
    #[command(visible_alias = "move")]
    Reassign {
        /// TOPIC:PARTITION=BROKER,…, the preferred leader first
        #[arg(required = true, value_name = "TOPIC:P=ID,…", value_parser = target)]
        to: Vec<(TopicPartition, Vec<NodeId>)>,
        /// Moves them
        #[arg(short, long, visible_alias = "yes", short_alias = 'y')]
        execute: bool,
    },
    /// Ends moves that are under way, and goes back
    #[command(visible_alias = "move-cancel")]
    Cancel {
        /// What is moved; by default all that is
        #[arg(value_name = "TOPIC[:P,…]", value_parser = topic_partitions)]
        topics: Vec<TopicPartitions>,
    },
    /// Makes the preferred replica the leader again
    Elect {
        /// The partitions, or all of a topic
        #[arg(value_name = "TOPIC[:P,…]", value_parser = topic_partitions, required_unless_present = "all")]
        topics: Vec<TopicPartitions>,
        /// Of all topics
        #[arg(long, conflicts_with = "topics")]
        all: bool,
        /// A replica that is not in sync may lead, where no other is left: records are lost
        #[arg(long)]
        unclean: bool,
    },
}

fn target(text: &str) -> std::result::Result<(TopicPartition, Vec<NodeId>), String> {
    let wrong = || format!("{text:?} is not TOPIC:PARTITION=BROKER,…, as in clicks:0=1,2");
    let (name, nodes) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (topic, partition) = name.rsplit_once(':').ok_or_else(wrong)?;
    let name = TopicPartition::new(topic, partition.parse().map_err(|_| wrong())?);
    let nodes = nodes.split(',').map(|node| node.parse().map(NodeId).map_err(|_| wrong()));
    Ok((name, nodes.collect::<std::result::Result<_, _>>()?))
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

async fn named(admin: &Admin, topics: &[TopicPartitions]) -> Result<Option<Vec<TopicPartition>>> {
    if topics.is_empty() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for TopicPartitions { topic, partitions } in topics {
        names.extend(offsets::partitions(admin, topic, partitions).await?);
    }
    Ok(Some(names))
}

impl Args {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        match self.command {
            Command::List { topics } => {
                let of = named(admin, &topics).await?;
                waiting_for("the controller to list moves");
                let mut table = Table::new(["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING"]);
                for (name, moving) in admin.list_partition_reassignments(of).await? {
                    let (adding, removing) = (ids(&moving.adding), ids(&moving.removing));
                    table.push(row![&*name.topic, name.partition, ids(&moving.replicas), adding, removing]);
                }
                output.table(&table)
            }
            Command::Reassign { to, execute } => reassign(admin, to, execute, output).await,
            Command::Cancel { topics } => {
                let of = named(admin, &topics).await?;
                waiting_for("the controller to cancel moves");
                let moving = admin.list_partition_reassignments(of).await?;
                if moving.is_empty() {
                    return Err(Failure::broker("nothing is being moved"));
                }
                let wanted = moving.into_keys().map(|name| (name, None));
                let mut report = Report::new(["TOPIC", "PARTITION"]);
                for (name, outcome) in admin.alter_partition_reassignments(wanted).await? {
                    report.push(row![&*name.topic, name.partition], outcome.map_err(Failure::from));
                }
                report.print(output)
            }
            Command::Elect { topics, unclean, .. } => {
                let of = named(admin, &topics).await?;
                waiting_for("the controller to hold elections");
                let election = if unclean { Election::Unclean } else { Election::Preferred };
                let mut report = Report::new(["TOPIC", "PARTITION"]);
                for (name, outcome) in admin.elect_leaders(election, of).await? {
                    let outcome = match outcome {
                        // It leads already: what was asked for is so.
                        Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded) => Ok(()),
                        outcome => outcome.map_err(Failure::from),
                    };
                    report.push(row![&*name.topic, name.partition], outcome);
                }
                report.print(output)
            }
        }
    }
}

async fn reassign(admin: &Admin, to: Vec<(TopicPartition, Vec<NodeId>)>, execute: bool, output: Output) -> Result<()> {
    let mut now = BTreeMap::new();
    let mut topics: Vec<_> = to.iter().map(|(name, _)| name.topic.to_string()).collect();
    topics.sort_unstable();
    topics.dedup();
    for (topic, described) in admin.describe_topics(&topics).await? {
        let described = match described {
            Ok(described) => described,
            Err(error) => return Err(hints::topic(admin, &topic, error).await),
        };
        for partition in described.partitions {
            now.insert(TopicPartition::new(topic.as_str(), partition.partition), ids(&partition.replicas));
        }
    }
    if let Some((name, _)) = to.iter().find(|(name, _)| !now.contains_key(name)) {
        return Err(Failure::broker(format!("there is no partition {name}")));
    }
    if !execute {
        let brokers: Vec<_> = admin.describe_cluster().await?.brokers.into_iter().map(|broker| broker.node).collect();
        let mut report = Report::new(["TOPIC", "PARTITION", "REPLICAS", "NEW-REPLICAS"]);
        for (name, nodes) in &to {
            let outcome =
                match nodes.iter().find(|node| !brokers.contains(node)) {
                    Some(other) => Err(Failure::broker(format!("{name}: there is no broker {other}"))
                        .named("INVALID_REPLICA_ASSIGNMENT")),
                    None => Ok(()),
                };
            report.push(row![&*name.topic, name.partition, now.get(name).cloned(), ids(nodes)], outcome);
        }
        report.print(output)?;
        eprintln!("dry run: nothing was moved; --execute moves it");
        return Ok(());
    }
    waiting_for("the controller to begin moves");
    let wanted = to.iter().map(|(name, nodes)| (name.clone(), Some(nodes.clone())));
    let mut outcomes = admin.alter_partition_reassignments(wanted).await?;
    let mut report = Report::new(["TOPIC", "PARTITION", "REPLICAS", "NEW-REPLICAS"]);
    for (name, nodes) in to {
        let outcome = match outcomes.remove(&name) {
            Some(outcome) => outcome.map_err(Failure::from),
            None => Err(unanswered(&name.to_string())),
        };
        report.push(row![&*name.topic, name.partition, now.get(&name).cloned(), ids(&nodes)], outcome);
    }
    report.print(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_partition_and_its_brokers() {
        let (name, nodes) = target("a=b:0=1,2").unwrap();
        assert_eq!((name, nodes), (TopicPartition::new("a=b", 0), vec![NodeId(1), NodeId(2)]));
        for wrong in ["clicks", "clicks:0", "clicks=1", "clicks:x=1", "clicks:0=a"] {
            assert!(target(wrong).unwrap_err().contains("clicks:0=1,2"), "{wrong}");
        }
    }
}
