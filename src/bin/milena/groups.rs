//! `milena groups`: list, describe. The columns are those of Kafka's own `kafka-consumer-groups.sh`.

use crate::args::{Global, Result, Role};
use milena::admin::{Admin, GroupDescription, MemberDescription};
use milena::client::Client;
use milena::ids::TopicPartition;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// Consumer groups and their lag
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The groups of all brokers
    List,
    /// Where a group stands in each partition, and who reads it
    Describe {
        /// Its id
        group: String,
    },
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let admin = client.admin();
    let done = match args.command {
        Command::List => list(&admin).await,
        Command::Describe { group } => describe(&admin, &group).await,
    };
    client.close().await;
    done
}

async fn list(admin: &Admin) -> Result<()> {
    let rows = admin.list_groups().await?.into_iter();
    let rows = rows.map(|group| vec![group.group_id, dash(group.state), dash(group.protocol_type)]);
    table(&["GROUP", "STATE", "TYPE"], rows.collect())
}

async fn describe(admin: &Admin, id: &str) -> Result<()> {
    let group = match admin.describe_groups([id]).await?.remove(id) {
        Some(described) => described?,
        None => return Ok(()),
    };
    let mut offsets = admin.list_group_offsets(id).await?;
    let owners: HashMap<_, _> = group
        .members
        .iter()
        .flat_map(|member| member.assignment.iter().map(move |partition| (partition.clone(), member)))
        .collect();
    // What is read but has no commit yet has an end all the same.
    let uncommitted: Vec<_> = owners.keys().filter(|partition| !offsets.contains_key(*partition)).cloned().collect();
    let ends = admin.end_offsets(uncommitted.clone()).await?;
    let mut rows = BTreeMap::new();
    for partition in uncommitted {
        let end = ends.get(&partition).copied();
        let row = row(&partition, None, end, None, owners.get(&partition).copied());
        rows.insert(partition, row);
    }
    while let Some((partition, offset)) = offsets.pop_first() {
        let committed = Some(offset.committed.offset);
        let row = row(&partition, committed, offset.end_offset, offset.lag(), owners.get(&partition).copied());
        rows.insert(partition, row);
    }
    let partitions = rows.len();
    table(
        &["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST"],
        rows.into_values().collect(),
    )?;
    summary(&group, partitions);
    Ok(())
}

fn row(
    partition: &TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    owner: Option<&MemberDescription>,
) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let (consumer, host) =
        owner.map_or((String::new(), String::new()), |owner| (owner.member_id.clone(), owner.host.clone()));
    vec![
        partition.topic.to_string(),
        partition.partition.to_string(),
        number(committed),
        number(end),
        number(lag),
        dash(consumer),
        dash(host),
    ]
}

/// What the rows don't show, on stderr, so that stdout stays a table.
fn summary(group: &GroupDescription, partitions: usize) {
    let idle = group.members.iter().filter(|member| member.assignment.is_empty()).count();
    if group.members.is_empty() {
        eprintln!("group {} has no members ({})", group.group_id, group.state);
    } else if idle > 0 && group.state == "Stable" {
        let members = group.members.len();
        eprintln!("{idle} of {members} members are idle: there are {partitions} partitions to read");
    } else if group.state != "Stable" {
        eprintln!("group {} is in state {}", group.group_id, group.state);
    }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A client by the global options.
pub fn client(global: &Global) -> Result<Client> {
    Ok(Client::new(global.properties(Role::Client)?.client()?)?)
}

/// Prints columns as wide as their widest cell. Whoever reads may stop early (`| head`).
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let mut widths: Vec<_> = head.iter().map(|cell| cell.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    };
    line(head.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
