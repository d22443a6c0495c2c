//! Reads a topic from a point in time on, without a group. Runs by itself: `cargo run --example consume --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::ConsumerConfig;
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::{collections::HashMap, time::Duration};

#[tokio::main]
async fn main() -> Result<(), milena::error::Error> {
    let cluster = TestCluster::builder().topic("clicks", 1).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for minute in 0..10 {
        let value = format!("minute {minute}");
        let record = ProducerRecord::new("clicks").value(&value).timestamp(minute * 60_000);
        drop(producer.send(record).await?); // whoever does not care drops the delivery
    }
    producer.flush(Duration::from_secs(10)).await?;

    let clicks = TopicPartition::new("clicks", 0);
    let mut consumer = client.consumer(ConsumerConfig::default())?;
    consumer.assign([clicks.clone()]).await?;
    let found = consumer.offsets_for_times(HashMap::from([(clicks.clone(), 7 * 60_000)])).await?;
    if let Some(first) = &found[&clicks] {
        consumer.seek(&clicks, first.offset)?;
    }
    let mut seen = 0;
    while seen < 3 {
        let records = consumer.poll(Duration::from_secs(1)).await?;
        for record in &records {
            println!("{} at {}", String::from_utf8_lossy(record.value().unwrap_or_default()), record.offset());
            seen += 1;
        }
    }
    consumer.close(Duration::from_secs(1)).await
}
