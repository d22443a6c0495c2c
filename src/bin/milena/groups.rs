//! `milena groups`: list; describing and changing have files of their own.

use crate::args::{Global, Result};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Table};
use crate::{groups_change, groups_describe, groups_seek, hints, row};
use milena::admin::{Admin, GroupFilter};

/// Consumer groups and their lag
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The groups of all brokers
    #[command(visible_alias = "ls")]
    List {
        /// Only groups in these states, such as Stable or Empty
        #[arg(short, long, value_name = "STATE,…", value_delimiter = ',', value_parser = state)]
        state: Vec<String>,
        /// Only groups of these types: classic, consumer
        #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',', value_parser = kind)]
        kind: Vec<String>,
    },
    /// Where groups stand in each partition, and who reads it
    Describe(groups_describe::Describe),
    /// Moves a group without members to other offsets; first it only shows how
    #[command(visible_alias = "reset-offsets")]
    Seek(groups_seek::Seek),
    /// Deletes groups without members, and their offsets
    #[command(visible_alias = "rm")]
    Delete(groups_change::Delete),
    /// Deletes what a group has committed for topics that it does not read
    #[command(visible_alias = "offset-delete")]
    DeleteOffsets(groups_change::DeleteOffsets),
    /// Makes members leave: what they read goes to the others
    RemoveMembers(groups_change::RemoveMembers),
}

impl Args {
    /// Whether it goes on until somebody ends it.
    pub fn is_endless(&self) -> bool {
        matches!(&self.command, Command::Describe(describe) if describe.watch.is_some())
    }
}

/// Kafka's names: of classic groups, then of those of KIP-848 and of later kinds.
const STATES: [&str; 8] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling", "NotReady"];
const TYPES: [&str; 4] = ["classic", "consumer", "share", "streams"];

fn state(text: &str) -> std::result::Result<String, String> {
    one_of(&STATES, text)
}

fn kind(text: &str) -> std::result::Result<String, String> {
    one_of(&TYPES, text)
}

/// Brokers answer a name that they don't know with no groups at all.
fn one_of(all: &[&str], text: &str) -> std::result::Result<String, String> {
    if let Some(name) = all.iter().find(|name| name.eq_ignore_ascii_case(text)) {
        return Ok((*name).to_owned());
    }
    Err(match hints::nearest(text, all.iter().map(|name| (*name).to_owned())) {
        Some(near) => format!("there is no such; is it {near}?"),
        None => format!("there are {}", all.join(", ")),
    })
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::List { state, kind } => list(&admin, state, kind, output).await,
        Command::Describe(describe) => describe.run(&admin, output).await,
        Command::Seek(seek) => seek.run(&admin, output).await,
        Command::Delete(delete) => delete.run(&admin, output).await,
        Command::DeleteOffsets(delete) => delete.run(&admin, output).await,
        Command::RemoveMembers(remove) => remove.run(&admin, output).await,
    };
    client.close().await;
    done
}

async fn list(admin: &Admin, states: Vec<String>, types: Vec<String>, output: Output) -> Result<()> {
    waiting_for("every broker to list its groups");
    let mut filter = GroupFilter::default();
    if !states.is_empty() {
        filter = filter.states(states);
    }
    if !types.is_empty() {
        filter = filter.types(types);
    }
    let mut table = Table::new(["GROUP", "STATE", "TYPE", "GROUP-TYPE"]);
    for group in admin.list_groups_by(filter).await? {
        table.push(row![group.group_id, group.state, group.protocol_type, group.group_type]);
    }
    output.table(&table)
}
