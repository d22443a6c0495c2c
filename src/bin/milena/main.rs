//! The `milena` binary: one file per subcommand, see `ARCHITECTURE.md`. `args.rs` holds what all of them share.
//!
//! A subcommand's file exposes `#[derive(clap::Args)] pub struct Args` and `pub async fn run(args, &Global) -> Result<()>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program speaks on them")]
#![allow(clippy::disallowed_methods, reason = "a program owns its runtime, tasks and clock")]
#![allow(unreachable_pub, reason = "nobody links a binary")]

mod acls;
mod aggregate;
mod args;
mod broker;
mod broker_security;
mod clickstream;
mod cluster;
mod cluster_configs;
mod cluster_log_dirs;
mod cluster_partitions;
mod cluster_quotas;
mod completions;
mod config;
mod consume;
mod demo;
mod dlq;
mod dlq_text;
mod events;
mod fault;
mod groups;
mod groups_change;
mod groups_describe;
mod groups_seek;
mod habits;
mod hints;
mod limit;
mod merge;
mod offsets;
mod output;
mod perf;
mod perf_consume;
mod perf_produce;
mod produce;
mod progress;
mod query;
mod records;
mod screen;
mod sink;
mod target;
mod topics;
mod topics_change;
mod topics_describe;
mod txn;
mod users;
mod verify;
mod view;
mod when;

use args::{Global, Result};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// A Kafka client, test broker and clickstream pipeline without a line of C.
#[derive(Parser)]
#[command(name = "milena", version, propagate_version = true, args_override_self = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // A line here hides the whole text above a command's `Args`: those that say more there have none.
    /// Who may do what: list, create and delete ACLs
    #[command(visible_alias = "acl")]
    Acls(acls::Args),
    /// Counts and sums a topic's events in windows
    Aggregate(aggregate::Args),
    /// Runs a Kafka cluster in this process: the test broker, for any client
    Broker(broker::Args),
    /// Writes a stream of events, or the lines of a file
    Clickstream(clickstream::Args),
    /// Brokers, features, quorum, configs, log dirs, quotas, partitions
    Cluster(cluster::Args),
    Completions(completions::Args),
    /// Shows the effective configuration and where each value comes from
    Config(config::Args),
    Consume(consume::Args),
    /// The whole pipeline in one process, on an embedded broker
    Demo(demo::Args),
    /// Dead letters: list, show, replay
    Dlq(dlq::Args),
    /// Consumer groups: list, describe with lag, seek, delete
    #[command(visible_alias = "group")]
    Groups(groups::Args),
    /// Makes one final row per window and key of all partitions' rows
    Merge(merge::Args),
    /// Where topics begin and end, or where a time is in them
    #[command(visible_alias = "offset")]
    Offsets(offsets::Args),
    /// Measures producing and consuming
    Perf(perf::Args),
    Produce(produce::Args),
    /// What an embedded sink's file holds, as JSON lines
    Query(query::Args),
    /// Writes purchases or window results into a database, each once
    Sink(sink::Args),
    /// Topics: list, create, describe, delete, and their configs
    #[command(visible_alias = "topic")]
    Topics(topics::Args),
    /// Transactions, and who writes to partitions
    Txn(txn::Args),
    /// SCRAM users: list, create, delete
    #[command(visible_alias = "user")]
    Users(users::Args),
    /// Computes everything again as a batch, and compares
    Verify(verify::Args),
    // One variant, one arm below and one `mod` line above per subcommand, in alphabetical order.
}

impl Command {
    /// Verbs that ask a few questions and end don't wait for ever.
    fn default_timeout(&self) -> Option<Duration> {
        match self {
            Self::Groups(args) if !args.is_endless() => Some(limit::DEFAULT),
            Self::Acls(_) | Self::Cluster(_) | Self::Offsets(_) | Self::Topics(_) | Self::Txn(_) | Self::Users(_) => {
                Some(limit::DEFAULT)
            }
            _ => None,
        }
    }
}

/// In Rust, and faster than musl's: the README has the figures.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::hoist_properties(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let error = habits::explained(error);
            let _ = error.print();
            // clap's own code for a wrong command line is 2, which is a broker's trouble here.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    args::start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("milena: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.global.timeout.or(cli.command.default_timeout()) {
            Some(limit) => limit::within(limit, run(cli)).await,
            None => run(cli).await,
        }
    });
    // A task that hangs in a resolver's blocking call must not keep a finished command alive.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                eprintln!("milena: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Acls(args) => acls::run(args, global).await,
        Command::Aggregate(args) => aggregate::run(args, global).await,
        Command::Broker(args) => broker::run(args, global).await,
        Command::Clickstream(args) => clickstream::run(args, global).await,
        Command::Cluster(args) => cluster::run(args, global).await,
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Config(args) => config::run(args, global).await,
        Command::Consume(args) => consume::run(args, global).await,
        Command::Demo(args) => demo::run(args, global).await,
        Command::Dlq(args) => dlq::run(args, global).await,
        Command::Groups(args) => groups::run(args, global).await,
        Command::Merge(args) => merge::run(args, global).await,
        Command::Offsets(args) => offsets::run(args, global).await,
        Command::Perf(args) => perf::run(args, global).await,
        Command::Produce(args) => produce::run(args, global).await,
        Command::Query(args) => query::run(args, global).await,
        Command::Sink(args) => sink::run(args, global).await,
        Command::Topics(args) => topics::run(args, global).await,
        Command::Txn(args) => txn::run(args, global).await,
        Command::Users(args) => users::run(args, global).await,
        Command::Verify(args) => verify::run(args, global).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_options_of_a_command_have_one_name() {
        Cli::command().debug_assert();
    }

    /// A line at the variant would replace it, and `--help` would speak of what is not there.
    #[test]
    fn help_has_the_text_that_its_options_point_to() {
        let mut program = Cli::command();
        program.build();
        for (name, words) in [
            ("consume", &["%h{%k=%v }", "@T1:T2"][..]),
            ("produce", &["%K{4}", "exit code is 2"]),
            ("completions", &["source <(milena completions bash)"]),
        ] {
            let command = program.find_subcommand_mut(name).expect(name);
            let help = command.render_long_help().to_string();
            for word in words {
                assert!(help.contains(word), "{name} --help says nothing of {word}");
            }
            assert!(!command.render_help().to_string().contains("see above"), "{name} -h has nothing above");
        }
    }
}
