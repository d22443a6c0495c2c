//! A service and its test: the broker fails in the middle, in virtual time, and the service must not care. Runs by
//! itself: `cargo run --example test_your_app --features test-broker`; in your own crate, `main` is a `#[test]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::error::{Error, ErrorCode};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;

/// The service: writes an order down and says where.
async fn take_order(client: &Client, order: &str) -> Result<Option<i64>, Error> {
    let producer = client.producer(ProducerConfig::default())?;
    let written = producer.send(ProducerRecord::new("orders").value(order)).await?.await?;
    producer.close(Duration::from_secs(10)).await?;
    Ok(written.offset())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tokio::time::pause(); // a minute of retries takes no time
    let cluster = TestCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    let config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time();
    let client = Client::connect(config).await?;

    cluster.fault(ApiKey::Produce).times(3).error(ErrorCode::NotEnoughReplicas);
    assert_eq!(take_order(&client, "a book").await?, Some(0));
    println!("written once, although the broker refused it three times");
    Ok(())
}
