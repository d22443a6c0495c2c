//! `milena txn`: transactions, and who writes to partitions (KIP-664).

use crate::args::{Failure, Global, Result, duration};
use crate::groups_change::{TopicPartitions, topic_partitions};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Report, Table};
use crate::{hints, offsets, row, when};
use milena::admin::{Admin, HangingTransaction, ProducerState, TransactionFilter};
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use milena::pipeline::context::wall_micros;
use std::collections::HashSet;
use std::time::Duration;

/// Transactions, and who writes to partitions
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The transactions that coordinators know
    #[command(visible_alias = "ls")]
    List {
        /// Only in these states, such as Ongoing
        #[arg(short, long, value_name = "STATE,…", value_delimiter = ',')]
        state: Vec<String>,
        /// Only of these producer ids
        #[arg(long, value_name = "ID,…", value_delimiter = ',')]
        producer_id: Vec<i64>,
        /// Only those that have been open for longer (Kafka 3.8)
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        longer_than: Option<Duration>,
    },
    /// Everything about transactions
    Describe {
        /// Their transactional.id
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Who has written to partitions, and which transactions are open there
    #[command(visible_alias = "describe-producers")]
    Producers {
        /// The topics, or partitions of one
        #[arg(required = true, value_name = "TOPIC[:P,…]", value_parser = topic_partitions)]
        topics: Vec<TopicPartitions>,
    },
    /// Transactions that are open in a partition and that no coordinator will end
    FindHanging {
        /// The topics, or partitions of one
        #[arg(required = true, value_name = "TOPIC[:P,…]", value_parser = topic_partitions)]
        topics: Vec<TopicPartitions>,
        /// Open for longer than brokers let a transaction be
        #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
        longer_than: Duration,
    },
    /// Aborts a hanging transaction in a partition, as find-hanging shows it
    Abort {
        /// TOPIC:PARTITION
        #[arg(value_name = "TOPIC:P", value_parser = topic_partitions)]
        partition: TopicPartitions,
        /// Whose
        #[arg(long, value_name = "ID", required_unless_present = "start_offset")]
        producer_id: Option<i64>,
        /// Or, the one that begins there
        #[arg(long, value_name = "OFFSET", conflicts_with = "producer_id")]
        start_offset: Option<i64>,
        /// Aborts it; without it, it is only shown
        #[arg(short, long)]
        yes: bool,
    },
    /// Aborts what is open under a transactional.id, and fences its producer
    #[command(visible_alias = "force-terminate")]
    Fence {
        /// Their transactional.id
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::List { state, producer_id, longer_than } => {
            let filter = TransactionFilter::default().states(state).producer_ids(producer_id);
            list(&admin, longer_than.into_iter().fold(filter, TransactionFilter::longer_than), output).await
        }
        Command::Describe { ids } => describe(&admin, &ids, output).await,
        Command::Producers { topics } => {
            let mut table = Table::new(PRODUCERS);
            for (name, producer) in producers(&admin, &topics).await? {
                table.push(cells(&name, &producer));
            }
            output.table(&table)
        }
        Command::FindHanging { topics, longer_than } => find_hanging(&admin, &topics, longer_than, output).await,
        Command::Abort { partition, producer_id, start_offset, yes } => {
            abort(&admin, partition, producer_id, start_offset, yes, output).await
        }
        Command::Fence { ids } => {
            waiting_for("the coordinators to fence producers");
            let mut report = Report::new(["TRANSACTIONAL-ID", "PRODUCER-ID", "EPOCH"]);
            for (id, outcome) in admin.fence_producers(&ids).await? {
                let new = outcome.as_ref().ok().map(|new| (new.id, new.epoch));
                let row = row![id, new.map(|(id, _)| id), new.map(|(_, epoch)| epoch)];
                report.push(row, outcome.map(drop).map_err(Failure::from));
            }
            report.print(output)
        }
    };
    client.close().await;
    done
}

async fn list(admin: &Admin, filter: TransactionFilter, output: Output) -> Result<()> {
    waiting_for("every broker to list its transactions");
    let mut table = Table::new(["TRANSACTIONAL-ID", "PRODUCER-ID", "STATE"]);
    for found in admin.list_transactions(filter).await? {
        table.push(row![found.transactional_id, found.producer_id, found.state]);
    }
    output.table(&table)
}

async fn describe(admin: &Admin, ids: &[String], output: Output) -> Result<()> {
    waiting_for("the transactions' coordinators");
    let mut table = Table::new([
        "TRANSACTIONAL-ID",
        "COORDINATOR",
        "PRODUCER-ID",
        "EPOCH",
        "STATE",
        "TIMEOUT-MS",
        "STARTED",
        "PARTITIONS",
    ]);
    let mut failures = Vec::new();
    for (id, found) in admin.describe_transactions(ids).await? {
        match found {
            Ok(found) => {
                let timeout = u64::try_from(found.timeout.as_millis()).unwrap_or(u64::MAX);
                table.push(row![
                    id,
                    found.coordinator.0,
                    found.producer.id,
                    found.producer.epoch,
                    found.state,
                    timeout,
                    found.started.map(when::shown),
                    found.partitions.iter().map(ToString::to_string).collect::<Vec<_>>(),
                ]);
            }
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {
                let all = admin.list_transactions(TransactionFilter::default()).await.unwrap_or_default();
                let names = all.into_iter().map(|found| found.transactional_id);
                failures.push(hints::missing("transactional.id", "txn", &id, names));
            }
            Err(error) => failures.push(Failure::from(error).about(&format!("transactional.id {id}"))),
        }
    }
    output.table(&table)?;
    Failure::all(failures)
}

const PRODUCERS: [&str; 8] = [
    "TOPIC",
    "PARTITION",
    "PRODUCER-ID",
    "EPOCH",
    "COORDINATOR-EPOCH",
    "LAST-SEQUENCE",
    "LAST-TIMESTAMP",
    "TXN-START-OFFSET",
];

fn cells(name: &TopicPartition, state: &ProducerState) -> [serde_json::Value; 8] {
    row![
        &*name.topic,
        name.partition,
        state.producer.id,
        state.producer.epoch,
        state.coordinator_epoch,
        state.last_sequence,
        state.last_timestamp.map(when::shown),
        state.transaction_start,
    ]
}

async fn producers(admin: &Admin, topics: &[TopicPartitions]) -> Result<Vec<(TopicPartition, ProducerState)>> {
    let mut names = Vec::new();
    for TopicPartitions { topic, partitions } in topics {
        names.extend(offsets::partitions(admin, topic, partitions).await?);
    }
    waiting_for("the leaders to list producers");
    let mut all = Vec::new();
    for (name, found) in admin.describe_producers(names).await? {
        all.extend(found?.into_iter().map(|producer| (name.clone(), producer)));
    }
    Ok(all)
}

/// Open in a partition, old, and nothing that its coordinator knows of.
async fn find_hanging(admin: &Admin, topics: &[TopicPartitions], longer: Duration, output: Output) -> Result<()> {
    let longest = i64::try_from(longer.as_millis()).unwrap_or(i64::MAX);
    let now = wall_micros() / 1_000;
    let mut open = producers(admin, topics).await?;
    open.retain(|(_, state)| {
        let old = state.last_timestamp.is_none_or(|last| now.saturating_sub(last) > longest);
        state.transaction_start.is_some() && old
    });
    let mut table = Table::new(PRODUCERS);
    if !open.is_empty() {
        waiting_for("the coordinators of open transactions");
        let ids: HashSet<_> = open.iter().map(|(_, state)| state.producer.id).collect();
        let known = admin.list_transactions(TransactionFilter::default().producer_ids(ids)).await?;
        let names: Vec<_> = known.iter().map(|found| &found.transactional_id).collect();
        let mut held = HashSet::new();
        for (_, found) in admin.describe_transactions(names).await? {
            let Ok(found) = found else { continue }; // gone meanwhile
            let id = found.producer.id;
            held.extend(found.partitions.into_iter().map(|partition| (id, partition)));
        }
        for (name, state) in open.iter().filter(|(name, state)| !held.contains(&(state.producer.id, name.clone()))) {
            table.push(cells(name, state));
        }
    }
    output.table(&table)
}

async fn abort(
    admin: &Admin,
    partition: TopicPartitions,
    producer_id: Option<i64>,
    start_offset: Option<i64>,
    yes: bool,
    output: Output,
) -> Result<()> {
    if partition.partitions.len() != 1 {
        return Err(Failure::config("one partition, as TOPIC:PARTITION"));
    }
    let open = producers(admin, &[partition]).await?.into_iter().filter(|(_, state)| state.transaction_start.is_some());
    let mut meant = open.filter(|(_, state)| {
        producer_id.map_or_else(|| state.transaction_start == start_offset, |id| state.producer.id == id)
    });
    let Some((name, state)) = meant.next() else {
        return Err(Failure::broker("no such transaction is open there; `milena txn producers` shows what is"));
    };
    if !yes {
        let mut table = Table::new(PRODUCERS);
        table.push(cells(&name, &state));
        output.table(&table)?;
        return Err(Failure::config("nothing was aborted: to abort this transaction, add --yes"));
    }
    waiting_for(format!("the leader of {name} to abort the transaction"));
    let mut report = Report::new(PRODUCERS);
    let done = admin.abort_transaction(HangingTransaction::of(name.clone(), &state)).await;
    report.push(cells(&name, &state), done.map_err(Failure::from));
    report.print(output)
}
