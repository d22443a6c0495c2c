//! Two members of a group share a topic; what was processed is committed before a partition is given away. Runs by
//! itself: `cargo run --example group --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, Event, OffsetReset};
use milena::error::Error;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let cluster = TestCluster::builder().topic("clicks", 4).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let (processed, mut seen) = mpsc::unbounded_channel();
    let members = ["ann", "ben"].map(|name| tokio::spawn(member(client.clone(), name, processed.clone())));

    let producer = client.producer(ProducerConfig::default())?;
    for i in 0..200 {
        let (key, value) = (format!("visitor-{i}"), i.to_string());
        drop(producer.send(ProducerRecord::new("clicks").key(&key).value(&value)).await?);
    }
    producer.close(Duration::from_secs(10)).await?;

    let mut count = std::collections::BTreeMap::<_, u32>::new();
    for _ in 0..200 {
        let Some(name) = seen.recv().await else { break };
        *count.entry(name).or_default() += 1;
    }
    println!("who processed how many: {count:?}");
    members.iter().for_each(|member| member.abort()); // dropping a consumer leaves the group too, best effort
    Ok(())
}

async fn member(
    client: Client,
    name: &'static str,
    processed: mpsc::UnboundedSender<&'static str>,
) -> Result<(), Error> {
    let mut consumer = client.consumer(
        ConsumerConfig::group("dashboards").auto_offset_reset(OffsetReset::Earliest).enable_auto_commit(false),
    )?;
    consumer.subscribe(["clicks"]).await?;
    loop {
        match consumer.next(Duration::from_secs(1)).await? {
            Some(Event::Records(records)) => {
                for _record in &records {
                    let _ = processed.send(name);
                }
                consumer.commit().await?;
            }
            Some(Event::Revoking(revoked)) => {
                // Heartbeats go on meanwhile. What is not committed here is read again by the next owner.
                consumer.commit().await?;
                revoked.done();
            }
            Some(Event::Assigned(partitions)) => println!("{name} has got {partitions:?}"),
            _ => {}
        }
    }
}
