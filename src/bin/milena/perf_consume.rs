//! `milena perf consume`: reads a topic from its beginning, batch by batch, and says what that cost this process.

use crate::args::{Failure, Global, Result, Role, duration, stop_on_signal};
use crate::limit::{self, waiting_for};
use crate::perf::{peak_rss_mib, usage};
use crate::{hints, say};
use milena::client::Client;
use milena::consumer::{ConsumerConfig, Event, IsolationLevel, OffsetReset, Records};
use milena::ids::TopicPartition;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Reads a topic from its beginning
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic
    #[arg(short, long, default_value = "user-behavior-events")]
    topic: String,
    /// Ends after so many
    #[arg(long, value_name = "N")]
    records: u64,
    /// Reads as a member of this group, whatever it assigns, instead of all partitions; commits nothing
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Which records: read_uncommitted or read_committed
    #[arg(long, value_name = "I")]
    isolation: Option<Isolation>,
    /// Ends where nothing new comes for so long: there are not as many
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration)]
    patience: Duration,
    /// One JSON line instead of a sentence
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    waiting_for(limit::brokers(global)?);
    let (client, mut config) = consumer_of(global)?;
    config = config.auto_offset_reset(OffsetReset::Earliest);
    if let Some(isolation) = args.isolation {
        config = config.isolation_level(match isolation {
            Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
        });
    }
    let mut consumer;
    if let Some(group) = &args.group {
        consumer = client.consumer(config.group_id(group.as_str()).enable_auto_commit(false))?;
        consumer.subscribe([args.topic.as_str()]).await?;
    } else {
        let partitions = partitions_of(&client, &args.topic).await?;
        consumer = client.consumer(config)?;
        consumer.assign(partitions.clone()).await?;
        consumer.seek_to_beginning(&partitions)?; // also if a group.id among the properties has commits
    }
    // On a task of its own: the main thread is no worker, and each wake-up of it would be a switch of threads.
    let started = Instant::now();
    let (wanted, patience) = (args.records, args.patience);
    let stop = stop_on_signal(None);
    limit::ends_in_order(&stop);
    waiting_for(format!("records of {}", args.topic));
    let reading = tokio::spawn(async move {
        let mut read = Read::default();
        let mut begun = HashSet::new();
        let mut elapsed = started.elapsed();
        while read.records < wanted {
            let event = tokio::select! {
                biased;
                () = stop.stopped() => None,
                event = consumer.next(patience) => event?,
            };
            match event {
                Some(Event::Records(mut records)) => read.take(&mut records, wanted)?,
                Some(Event::Assigned(mut partitions)) => {
                    partitions.retain(|partition| begun.insert(partition.clone()));
                    consumer.seek_to_beginning(&partitions)?; // not where the group has got to
                }
                Some(_) => {}
                None => break,
            }
            elapsed = started.elapsed(); // without the wait for what does not come
        }
        consumer.close(Duration::from_secs(5)).await?;
        Ok::<_, Failure>((read, elapsed))
    });
    let (read, elapsed) = reading.await.map_err(|error| Failure::broker(error.to_string()))??;
    let cpu = usage();
    let (_, wire) = client.traffic();
    client.close().await;
    report(&args, &read, elapsed, cpu, wire)?;
    if read.records < wanted {
        return Err(Failure::broker(format!("only {} of {wanted} records of {} came", read.records, args.topic)));
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Read {
    records: u64,
    bytes: u64,
    stored: u64,
}

impl Read {
    /// Looks at every record: its key and value are read, as far as their lengths.
    fn take(&mut self, records: &mut Records, wanted: u64) -> Result<()> {
        self.stored += records.size_in_bytes() as u64;
        while let Some(batch) = records.next_batch()? {
            for record in batch {
                let record = record?;
                if self.records < wanted {
                    self.records += 1;
                    self.bytes += (record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len)) as u64;
                }
            }
        }
        Ok(())
    }
}

fn report(args: &Args, read: &Read, elapsed: Duration, cpu: Duration, wire: u64) -> Result<()> {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let per_second = read.records as f64 / seconds;
    let mb_per_second = read.bytes as f64 / seconds / 1_048_576.0;
    let nanos = cpu.as_nanos() as f64 / read.records.max(1) as f64;
    let ratio = wire as f64 / read.stored.max(1) as f64;
    if args.json {
        let line = serde_json::json!({
            "records": read.records, "bytes": read.bytes, "seconds": seconds, "records_per_s": per_second,
            "mb_per_s": mb_per_second, "cpu_ns_per_record": nanos, "peak_rss_mib": peak_rss_mib(), "wire_bytes_read": wire,
            "stored_bytes": read.stored, "wire_per_stored": ratio,
        });
        say!("{line}");
    } else {
        say!(
            "{} records received in {seconds:.2} s: {per_second:.0} records/sec ({mb_per_second:.2} MiB/sec), \
             {nanos:.0} ns CPU/record, {wire} bytes read ({ratio:.3} of those stored)",
            read.records
        );
    }
    Ok(())
}

/// A client and a consumer's settings by the global options.
pub fn consumer_of(global: &Global) -> Result<(Client, ConsumerConfig)> {
    let properties = global.properties(Role::Consumer)?;
    Ok((Client::new(properties.client()?)?, properties.consumer()?))
}

/// All partitions of a topic.
pub async fn partitions_of(client: &Client, topic: &str) -> Result<Vec<TopicPartition>> {
    let admin = client.admin();
    let described = match admin.describe_topics([topic]).await?.remove(topic) {
        Some(Ok(described)) => described,
        Some(Err(error)) => return Err(hints::topic(&admin, topic, error).await),
        None => return Err(Failure::broker(format!("{topic}: the broker says nothing of it"))),
    };
    Ok((0..described.partitions.len()).map(|at| TopicPartition::new(topic, at as i32)).collect())
}
