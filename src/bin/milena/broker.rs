//! `milena broker`: the test broker on TCP, for any client. All of it is in memory and gone when it ends.

use crate::args::{Global, Result, stop_on_signal};
use crate::broker_security::SecurityArgs;
use crate::fault::FaultSpec;
use crate::limit;
use crate::say;
use milena::broker::{Emulation, TestCluster};
use milena::error::{Error, ErrorKind};
use milena::schema::TestRegistry;
use std::time::Duration;

/// Runs a Kafka cluster in this process until Ctrl-C. Nothing is kept on disk.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where broker 1 listens; broker i takes port + i - 1. With port 0 each takes a free one.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: String,
    /// How many brokers.
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// A topic to begin with, as NAME or NAME:PARTITIONS. Repeatable.
    #[arg(long = "topic", value_name = "NAME:PARTITIONS")]
    topics: Vec<String>,
    /// Don't create topics that clients ask for.
    #[arg(long)]
    no_auto_create: bool,
    /// Partitions of topics created without a number.
    #[arg(long, default_value_t = 1)]
    default_partitions: i32,
    /// How long a group's first rebalance waits for more members, in milliseconds (Kafka's default: 3000).
    #[arg(long, default_value_t = 0)]
    initial_rebalance_delay_ms: u64,
    /// The broker to pass for, in its versions and habits: 2.4, 2.8, 3.9, 4.3, redpanda, event-hubs.
    #[arg(long, value_name = "BROKER", default_value_t)]
    emulate: Emulation,
    /// Checks ACLs, as Kafka with a StandardAuthorizer; without --tls-client-auth and --sasl everybody is User:ANONYMOUS
    #[arg(long)]
    authorizer: bool,
    /// Who may do everything all the same. Repeatable
    #[arg(long = "super-user", value_name = "User:NAME", requires = "authorizer")]
    super_users: Vec<String>,
    /// What no ACL is about is free
    #[arg(long, requires = "authorizer")]
    allow_everyone_if_no_acl_found: bool,
    /// Breaks an API: API:WHAT[:TIMES][,node=N][,topic=T][,probability=P][,seed=S]. WHAT is an error such as not_leader,
    /// disconnect, silence, each of them behind apply_then_, or corrupt, delay=1s, delay_answer=1s, throttle=1s.
    /// Repeatable; those of one API are used up in their order.
    #[arg(long = "fault", value_name = "API:WHAT[:TIMES]")]
    faults: Vec<FaultSpec>,
    /// What the faults' random numbers follow from, where they say no seed; by default another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Runs a Schema Registry besides, empty and in memory as well: 127.0.0.1:8081 is where one is looked for.
    #[arg(long, value_name = "HOST:PORT")]
    schema_registry: Option<String>,
    #[command(flatten)]
    security: SecurityArgs,
}

/// Prints `BOOTSTRAP=host:port[,…]` once every broker accepts, and returns on Ctrl-C or SIGTERM. With SASL it prints then how
/// connections have authenticated themselves.
pub async fn run(args: Args, _global: &Global) -> Result<()> {
    let mut builder = TestCluster::builder()
        .brokers(args.brokers)
        .listen(&args.listen)
        .auto_create_topics(!args.no_auto_create)
        .default_partitions(args.default_partitions)
        .emulate(args.emulate)
        .initial_rebalance_delay(Duration::from_millis(args.initial_rebalance_delay_ms));
    for topic in &args.topics {
        let (name, partitions) = match topic.rsplit_once(':') {
            Some((name, partitions)) => (name, partitions.parse().map_err(|_| not_a_topic(topic))?),
            None => (topic.as_str(), args.default_partitions),
        };
        builder = builder.topic(name, partitions);
    }
    if args.authorizer {
        let super_users: Vec<_> = args.super_users.iter().map(String::as_str).collect();
        builder = builder.authorizer(&super_users).allow_everyone_if_no_acl_found(args.allow_everyone_if_no_acl_found);
    }
    builder = args.security.apply(builder)?;
    let stop = stop_on_signal(None);
    limit::waiting_for("Ctrl-C or SIGTERM");
    limit::ends_in_order(&stop);
    let registry = match &args.schema_registry {
        Some(address) => Some(TestRegistry::listen(address).await?),
        None => None,
    };
    let cluster = builder.start().await?;
    args.security.write_certificates(&cluster)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    for (nth, fault) in args.faults.iter().enumerate() {
        fault.inject(&cluster, seed.wrapping_add(nth as u64));
    }
    if args.faults.iter().any(FaultSpec::is_random) {
        say!("SEED={seed}");
    }
    if let Some(registry) = &registry {
        say!("SCHEMA_REGISTRY={}", registry.url());
    }
    say!("BOOTSTRAP={}", cluster.bootstrap());
    // An error is the end of the sender, which is as good a reason to stop.
    stop.stopped().await;
    let said = args.security.print_counts(&cluster);
    cluster.stop().await;
    said
}

fn not_a_topic(topic: &str) -> Error {
    Error::with_message(ErrorKind::Config, format!("`{topic}` is not NAME:PARTITIONS"))
}
