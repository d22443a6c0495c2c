//! `milena topics`: list, create, describe, delete.

use crate::args::{Global, Result};
use crate::groups::{client, table};
use milena::admin::{Admin, ConfigSource, NewTopic, Outcomes};
use milena::error::ErrorCode;
use milena::ids::NodeId;

/// Topics and their configs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All topics
    List {
        /// Kafka's own too
        #[arg(long)]
        internal: bool,
    },
    /// Creates a topic
    Create {
        /// Its name
        name: String,
        /// How many partitions; by default the broker decides
        #[arg(long, default_value_t = -1, value_name = "N")]
        partitions: i32,
        /// How many replicas; by default the broker decides
        #[arg(long, default_value_t = -1, value_name = "R")]
        replication: i16,
        /// A config of the topic, such as retention.ms=86400000
        #[arg(short = 'c', long = "topic-config", value_name = "KEY=VALUE", value_parser = pair)]
        entries: Vec<(String, String)>,
        /// Succeeds if the topic exists already
        #[arg(long)]
        if_not_exists: bool,
    },
    /// A topic's partitions, and the configs that it does not take from the broker
    Describe {
        /// Its name
        name: String,
    },
    /// Deletes a topic and what is in it
    Delete {
        /// Its name
        name: String,
    },
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE, such as retention.ms=86400000")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let admin = client.admin();
    let done = match args.command {
        Command::List { internal } => list(&admin, internal).await,
        Command::Create { name, partitions, replication, entries, if_not_exists } => {
            let topic = NewTopic::new(&name, partitions, replication);
            let topic = entries.into_iter().fold(topic, |topic, (key, value)| topic.config(key, value));
            match one(admin.create_topics([topic]).await?, &name) {
                Err(error) if if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
                outcome => Ok(outcome.map(drop)?),
            }
        }
        Command::Describe { name } => describe(&admin, &name).await,
        Command::Delete { name } => Ok(one(admin.delete_topics([&name]).await?, &name)?),
    };
    client.close().await;
    done
}

/// The only outcome.
fn one<T>(mut outcomes: Outcomes<T>, name: &str) -> milena::error::Result<T> {
    outcomes.remove(name).unwrap_or_else(|| {
        let kind = milena::error::ErrorKind::Malformed;
        Err(milena::error::Error::with_message(kind, "not in the answer").topic(name))
    })
}

async fn list(admin: &Admin, internal: bool) -> Result<()> {
    let topics = admin.list_topics().await?;
    let rows = topics.into_iter().filter(|topic| internal || !topic.internal);
    let rows = rows.map(|topic| vec![topic.name, topic.partitions.to_string()]);
    table(&["TOPIC", "PARTITIONS"], rows.collect())
}

async fn describe(admin: &Admin, name: &str) -> Result<()> {
    let topic = one(admin.describe_topics([name]).await?, name)?;
    let ids = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows = topic.partitions.iter().map(|partition| {
        let leader = partition.leader.map_or("none".to_owned(), |leader| leader.to_string());
        vec![name.to_owned(), partition.partition.to_string(), leader, ids(&partition.replicas), ids(&partition.isr)]
    });
    table(&["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR"], rows.collect())?;
    let configs = admin.describe_configs(name).await?;
    let set = configs.into_iter().filter(|config| config.source == ConfigSource::Topic);
    let rows: Vec<_> = set.map(|config| vec![config.name, config.value.unwrap_or_default()]).collect();
    if rows.is_empty() { Ok(()) } else { table(&["CONFIG", "VALUE"], rows) }
}
