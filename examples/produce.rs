//! Sends a thousand records and waits for every acknowledgement. Runs by itself: `cargo run --example produce --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), milena::error::Error> {
    let cluster = TestCluster::builder().topic("clicks", 3).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_millis(5)))?;

    let mut deliveries = Vec::new();
    for visitor in 0..1_000 {
        let (key, value) = (format!("visitor-{visitor}"), format!("{{\"page\":{}}}", visitor % 7));
        // Waits for room in `buffer.memory`, not for the broker.
        deliveries.push(producer.send(ProducerRecord::new("clicks").key(&key).value(&value)).await?);
    }
    let mut last = [None; 3];
    for delivery in deliveries {
        let written = delivery.await?; // acknowledged
        last[written.partition() as usize] = written.offset();
    }
    println!("the last offset of each partition: {last:?}");

    producer.close(Duration::from_secs(10)).await?;
    client.close().await;
    Ok(())
}
