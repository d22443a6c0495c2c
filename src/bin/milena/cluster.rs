//! `milena cluster`: brokers, features, quorum; what else a cluster has is in files of its own.

use crate::args::{Failure, Global, Result};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Report, Table};
use crate::{cluster_configs, cluster_log_dirs, cluster_partitions, cluster_quotas, row, topics, when};
use milena::admin::{Admin, FeatureUpdate, QuorumReplica};
use serde_json::json;

/// Brokers, features, quorum, configs, log dirs, quotas, partitions
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The brokers, and which of them is the controller
    #[command(visible_aliases = ["describe", "metadata"])]
    Info,
    /// The features, with their levels (KIP-584)
    Features {
        /// Raises a feature to a level, or lowers it, as metadata.version=29. Repeatable
        #[arg(short, long, value_name = "NAME=LEVEL", value_parser = level)]
        set: Vec<(String, i16)>,
        /// Lowers it even if something is lost by it
        #[arg(long, requires = "set")]
        unsafe_downgrade: bool,
        /// The brokers check it, and nothing is changed
        #[arg(long, requires = "set")]
        dry_run: bool,
    },
    /// The quorum of controllers, and how far each has got (KRaft)
    Quorum,
    /// Configs of brokers, and of whatever else has some
    #[command(visible_alias = "config")]
    Configs(cluster_configs::Args),
    /// What the brokers have on their disks
    #[command(visible_alias = "logdirs")]
    LogDirs(cluster_log_dirs::Args),
    /// How much users and clients may ask for
    Quotas(cluster_quotas::Args),
    /// Which brokers have a partition's replicas, and who leads
    Partitions(cluster_partitions::Args),
}

fn level(text: &str) -> std::result::Result<(String, i16), String> {
    let wrong = || "must be NAME=LEVEL, such as metadata.version=29".to_owned();
    let (name, level) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), level.parse().map_err(|_| wrong())?))
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::Info => info(&admin, output).await,
        Command::Features { set, .. } if set.is_empty() => features(&admin, output).await,
        Command::Features { set, unsafe_downgrade, dry_run } => {
            update_features(&admin, set, unsafe_downgrade, dry_run, output).await
        }
        Command::Quorum => quorum(&admin, output).await,
        Command::Configs(args) => args.run(&admin, output).await,
        Command::LogDirs(args) => args.run(&admin, output).await,
        Command::Quotas(args) => args.run(&admin, output).await,
        Command::Partitions(args) => args.run(&admin, output).await,
    };
    client.close().await;
    done
}

async fn info(admin: &Admin, output: Output) -> Result<()> {
    let cluster = admin.describe_cluster().await?;
    let controller = cluster.controller.map(|node| node.0);
    let mut brokers = Table::new(["BROKER", "HOST", "PORT", "RACK", "CONTROLLER", "FENCED"]);
    for broker in &cluster.brokers {
        let leads = Some(broker.node) == cluster.controller;
        brokers.push(row![
            broker.node.0,
            broker.host.as_str(),
            broker.port,
            broker.rack.as_deref(),
            leads,
            broker.fenced
        ]);
    }
    if output.json {
        return output.objects([json!({
            "cluster_id": cluster.cluster_id,
            "controller": controller,
            "brokers": brokers.objects(),
        })]);
    }
    let mut table = Table::new(["CLUSTER-ID", "CONTROLLER", "BROKERS"]);
    table.push(row![cluster.cluster_id, controller, cluster.brokers.len()]);
    output.table(&table)?;
    output.table(&brokers)
}

async fn features(admin: &Admin, output: Output) -> Result<()> {
    waiting_for("a broker to list its features");
    let features = admin.describe_features().await?;
    let mut table = Table::new(["FEATURE", "LEVEL", "MIN-LEVEL", "MAX-LEVEL"]);
    let mut names: Vec<_> = features.supported.keys().chain(features.finalized.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let supported = features.supported.get(name);
        let (min, max) = (supported.map(|(min, _)| *min), supported.map(|(_, max)| *max));
        table.push(row![name.as_str(), features.finalized.get(name).copied(), min, max]);
    }
    output.table(&table)
}

async fn update_features(
    admin: &Admin,
    set: Vec<(String, i16)>,
    unsafe_downgrade: bool,
    dry_run: bool,
    output: Output,
) -> Result<()> {
    waiting_for("the controller to change features");
    let now = admin.describe_features().await?.finalized;
    let update = |(name, level): &(String, i16)| match now.get(name) {
        Some(now) if level < now && unsafe_downgrade => FeatureUpdate::unsafe_downgrade(name, *level),
        Some(now) if level < now => FeatureUpdate::downgrade(name, *level),
        _ => FeatureUpdate::upgrade(name, *level),
    };
    let asked = if dry_run { admin.dry_run() } else { admin.clone() };
    let mut outcomes = asked.update_features(set.iter().map(update)).await?;
    let mut report = Report::new(["FEATURE", "BEFORE", "LEVEL"]);
    for (name, level) in set {
        let outcome = outcomes.remove(&name).map_or_else(|| Err(topics::unanswered(&name)), |done| Ok(done?));
        let before = now.get(&name).copied();
        report.push(row![name, before, level], outcome);
    }
    report.print(output)?;
    if dry_run {
        eprintln!("dry run: nothing was changed");
    }
    Ok(())
}

async fn quorum(admin: &Admin, output: Output) -> Result<()> {
    waiting_for("the quorum's leader");
    let quorum = admin.describe_quorum().await?;
    let mut table = Table::new(["NODE", "ROLE", "LOG-END-OFFSET", "LAG", "LAST-FETCH", "LAST-CAUGHT-UP"]);
    let end = quorum.voters.iter().find(|voter| voter.node == quorum.leader).map(|leader| leader.log_end);
    let mut add = |replica: &QuorumReplica, role: &str| {
        let time = |ms: Option<i64>| ms.map(when::shown);
        table.push(row![
            replica.node.0,
            role,
            replica.log_end,
            end.map(|end| (end - replica.log_end).max(0)),
            time(replica.last_fetch),
            time(replica.last_caught_up),
        ]);
    };
    for voter in &quorum.voters {
        add(voter, if voter.node == quorum.leader { "leader" } else { "voter" });
    }
    quorum.observers.iter().for_each(|observer| add(observer, "observer"));
    if output.json {
        return output.objects([json!({
            "leader": quorum.leader.0,
            "leader_epoch": quorum.leader_epoch,
            "high_watermark": quorum.high_watermark,
            "replicas": table.objects(),
        })]);
    }
    let mut summary = Table::new(["LEADER", "LEADER-EPOCH", "HIGH-WATERMARK"]);
    summary.push(row![quorum.leader.0, quorum.leader_epoch, quorum.high_watermark]);
    output.table(&summary)?;
    if table.is_empty() {
        return Err(Failure::broker("the quorum's leader names no voter"));
    }
    output.table(&table)
}
