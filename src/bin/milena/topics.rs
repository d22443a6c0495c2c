//! `milena topics`: list, create, delete; describing and changing have files of their own.

use crate::args::{Failure, Global, Result};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Report, Table};
use crate::{hints, row, topics_change, topics_describe};
use milena::admin::{Admin, NewTopic};
use milena::consumer::TopicPattern;
use milena::error::{Error, ErrorCode};
use milena::ids::NodeId;

/// Topics and their configs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All topics, or those that are named
    #[command(visible_alias = "ls")]
    List {
        /// Only these
        #[command(flatten)]
        which: Which,
        /// Kafka's own too
        #[arg(short, long)]
        internal: bool,
    },
    /// Creates topics
    Create(Create),
    /// A topic's partitions, and the configs that it does not take from the broker
    Describe(topics_describe::Describe),
    /// Deletes topics and what is in them
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Says what would be deleted, and deletes nothing
        #[arg(short, long)]
        dry_run: bool,
        /// Deletes what a regular expression matches; without it, it is only shown
        #[arg(short, long, alias = "no-confirm")]
        yes: bool,
    },
    /// Sets, deletes or extends configs of topics
    AlterConfig(topics_change::AlterConfig),
    /// Gives topics more partitions: keys that come after may be in others than those before
    AddPartitions(topics_change::AddPartitions),
    /// Deletes a topic's records before an offset or a time (rpk's trim-prefix, kafka-delete-records)
    #[command(visible_alias = "trim-prefix")]
    DeleteRecords(topics_change::DeleteRecords),
}

/// Topics by name, or by regular expressions.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Topics
    #[arg(value_name = "TOPIC")]
    names: Vec<String>,
    /// The names are regular expressions, and have to match the whole of a topic's name
    #[arg(short, long)]
    regex: bool,
}

impl Which {
    /// The names, or what they match of all topics but Kafka's own; none is a wrong command line.
    pub async fn names(&self, admin: &Admin) -> Result<Vec<String>> {
        if self.names.is_empty() {
            return Err(Failure::config("which topic? Name one, or more, or a regular expression with -r"));
        }
        if !self.regex {
            return Ok(self.names.clone());
        }
        let patterns = self.patterns()?;
        let topics = admin.list_topics().await?.into_iter().filter(|topic| !topic.internal);
        let names = topics.map(|topic| topic.name);
        let names: Vec<_> = names.filter(|name| patterns.iter().any(|pattern| pattern.matches(name))).collect();
        if names.is_empty() {
            return Err(Failure::broker(format!("no topic matches {}", self.names.join(" or "))));
        }
        Ok(names)
    }

    fn patterns(&self) -> Result<Vec<TopicPattern>> {
        Ok(self.names.iter().map(|name| TopicPattern::new(name)).collect::<milena::error::Result<_>>()?)
    }
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// How many partitions; by default the broker decides
    #[arg(short, long, default_value_t = -1, allow_negative_numbers = true, value_name = "N")]
    partitions: i32,
    /// How many replicas; by default the broker decides
    #[arg(
        short,
        long,
        aliases = ["replicas", "replication-factor"],
        default_value_t = -1,
        allow_negative_numbers = true,
        value_name = "R"
    )]
    replication: i16,
    /// A config of the topic, such as retention.ms=86400000
    #[arg(short = 'c', long = "topic-config", value_name = "KEY=VALUE", value_parser = topics_change::pair)]
    entries: Vec<(String, String)>,
    /// Which brokers get each partition, the preferred leader first: 1:2,2:3 is partition 0 on 1 and 2, partition 1 on 2 and 3
    #[arg(long, alias = "replica-assignment", value_name = "ID:ID,…", conflicts_with_all = ["partitions", "replication"], value_parser = assignment)]
    assignment: Option<Assignment>,
    /// Succeeds if the topic exists already
    #[arg(long)]
    if_not_exists: bool,
    /// The brokers check it, and nothing is created
    #[arg(short, long)]
    dry_run: bool,
}

/// The replicas of each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment(pub Vec<Vec<NodeId>>);

/// `1:2,2:3`
pub fn assignment(text: &str) -> std::result::Result<Assignment, String> {
    let node = |id: &str| id.trim().parse().map(NodeId).map_err(|_| format!("{id:?} is no broker's id, as in 1:2,2:3"));
    let partitions = text.split(',').map(|replicas| replicas.split(':').map(node).collect());
    partitions.collect::<std::result::Result<_, _>>().map(Assignment)
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::List { which, internal } => list(&admin, &which, internal, output).await,
        Command::Create(create) => create.run(&admin, output).await,
        Command::Describe(describe) => describe.run(&admin, output).await,
        Command::Delete { which, dry_run, yes } => delete(&admin, &which, dry_run, yes, output).await,
        Command::AlterConfig(alter) => alter.run(&admin, output).await,
        Command::AddPartitions(add) => add.run(&admin, output).await,
        Command::DeleteRecords(delete) => delete.run(&admin, output).await,
    };
    client.close().await;
    done
}

async fn list(admin: &Admin, which: &Which, internal: bool, output: Output) -> Result<()> {
    let patterns = if which.regex { which.patterns()? } else { vec![] };
    let is_meant = |name: &str| {
        which.names.is_empty()
            || which.names.iter().any(|other| other == name)
            || patterns.iter().any(|pattern| pattern.matches(name))
    };
    let mut topics = admin.list_topics().await?;
    for name in which.names.iter().filter(|_| !which.regex) {
        if !topics.iter().any(|topic| topic.name == *name) {
            return Err(hints::missing("topic", "topics", name, topics.into_iter().map(|topic| topic.name)));
        }
    }
    topics.retain(|topic| (internal || !topic.internal || !which.names.is_empty()) && is_meant(&topic.name));
    let described = admin.describe_topics(topics.iter().map(|topic| &topic.name)).await?;
    let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICAS"]);
    for topic in topics {
        let partitions = described.get(&topic.name).and_then(|topic| topic.as_ref().ok());
        let replicas = partitions.and_then(|topic| topic.partitions.first()).map(|first| first.replicas.len());
        table.push(row![topic.name, topic.partitions, replicas]);
    }
    output.table(&table)
}

impl Create {
    async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        waiting_for("the controller to create topics");
        let topic = |name: &String| {
            let topic = match &self.assignment {
                Some(assignment) => NewTopic::with_assignment(name, assignment.0.clone()),
                None => NewTopic::new(name, self.partitions, self.replication),
            };
            self.entries.iter().fold(topic, |topic, (key, value)| topic.config(key, value))
        };
        let topics = self.names.iter().map(topic);
        let asked = if self.dry_run { admin.dry_run() } else { admin.clone() };
        let mut outcomes = asked.create_topics(topics).await?;
        let mut report = Report::new(["TOPIC"]);
        for name in self.names {
            let outcome = match outcomes.remove(&name) {
                Some(Err(error)) if self.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
                Some(outcome) => outcome.map(drop).map_err(Failure::from),
                None => Err(unanswered(&name)),
            };
            report.push(row![name], outcome);
        }
        report.print(output)?;
        if self.dry_run {
            eprintln!("dry run: nothing was created");
        }
        Ok(())
    }
}

async fn delete(admin: &Admin, which: &Which, dry_run: bool, yes: bool, output: Output) -> Result<()> {
    let names = which.names(admin).await?;
    if dry_run || (which.regex && !yes) {
        let found = admin.describe_topics(&names).await?;
        let mut table = Table::new(["TOPIC", "PARTITIONS"]);
        for (name, topic) in found {
            match topic {
                Ok(topic) => table.push(row![name, topic.partitions.len()]),
                Err(error) => return Err(hints::topic(admin, &name, error).await),
            }
        }
        output.table(&table)?;
        if dry_run {
            eprintln!("dry run: nothing was deleted");
            return Ok(());
        }
        return Err(Failure::config("nothing was deleted: to delete these topics and what is in them, add --yes"));
    }
    waiting_for("the controller to delete topics");
    let mut outcomes = admin.delete_topics(&names).await?;
    let mut report = Report::new(["TOPIC"]);
    for name in names {
        let outcome = match outcomes.remove(&name) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(hints::topic(admin, &name, error).await),
            None => Err(unanswered(&name)),
        };
        report.push(row![name], outcome);
    }
    report.print(output)
}

/// A broker that leaves out what it was asked about.
pub fn unanswered(name: &str) -> Failure {
    let kind = milena::error::ErrorKind::Malformed;
    Error::with_message(kind, "not in the answer").topic(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_kafkas() {
        assert_eq!(
            assignment("1:2,2:3,3").unwrap().0,
            [vec![NodeId(1), NodeId(2)], vec![NodeId(2), NodeId(3)], vec![NodeId(3)]]
        );
        assert!(assignment("1:x").unwrap_err().contains("1:2,2:3"));
    }
}
