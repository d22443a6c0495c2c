//! Consume, transform, produce, exactly once: what is made of the records and where the group stands become visible together.
//! The first worker dies in mid transaction; the second takes over, and every bill is there once. Runs by itself:
//! `cargo run --example transaction --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, Event, IsolationLevel, OffsetReset};
use milena::error::Error;
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::BTreeMap;
use std::time::Duration;

const ORDERS: u32 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let cluster = TestCluster::builder().topic("orders", 4).topic("bills", 2).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for order in 0..ORDERS {
        let order = order.to_string();
        drop(producer.send(ProducerRecord::new("orders").key(&order).value(&order)).await?);
    }
    producer.close(Duration::from_secs(10)).await?;

    work(&client, ORDERS / 2).await?;
    work(&client, u32::MAX).await?;

    let mut copies = BTreeMap::<String, u32>::new();
    let mut bills = client.consumer(committed_only(ConsumerConfig::default()))?;
    bills.assign([0, 1].map(|partition| TopicPartition::new("bills", partition))).await?;
    while copies.len() < ORDERS as usize {
        for bill in &bills.poll(Duration::from_secs(1)).await? {
            let bill = String::from_utf8_lossy(bill.value().unwrap_or_default()).into_owned();
            *copies.entry(bill).or_default() += 1;
        }
    }
    println!("{} bills, {} of them more than once", copies.len(), copies.values().filter(|count| **count > 1).count());
    client.close().await;
    Ok(())
}

/// Makes a bill of each order until there are no more. Dies with a transaction open when it has seen `lifetime` orders.
async fn work(client: &Client, lifetime: u32) -> Result<(), Error> {
    let group = ConsumerConfig::group("billing").enable_auto_commit(false).max_poll_records(100);
    let mut consumer = client.consumer(committed_only(group))?;
    consumer.subscribe(["orders"]).await?;
    // Whoever had this id is fenced, and what he left open is aborted.
    let mut producer = client.transactional_producer("billing", ProducerConfig::default()).await?;
    let mut seen = 0;
    loop {
        let orders = match consumer.next(Duration::from_secs(1)).await? {
            Some(Event::Records(orders)) => orders,
            Some(_) => continue, // what is given away between two transactions is committed
            None => break,       // for a second nothing has come
        };
        let transaction = producer.begin().await?;
        for order in &orders {
            let bill = format!("bill of order {}", String::from_utf8_lossy(order.value().unwrap_or_default()));
            drop(
                transaction
                    .send(ProducerRecord::new("bills").key(order.key().unwrap_or_default()).value(&bill))
                    .await?,
            );
            seen += 1;
        }
        transaction.send_offsets(consumer.positions(), consumer.group_metadata()).await?;
        if seen >= lifetime {
            println!("a worker dies after {seen} orders, the last {} without a commit", (&orders).into_iter().count());
            return Ok(());
        }
        match transaction.commit().await {
            Ok(()) => {}
            // It has been aborted, offsets included: back to where the group is.
            Err(error) if error.is_abortable() => rewind(&mut consumer).await?,
            // Fenced, or not known whether it was committed: only a new worker can tell.
            Err(error) => return Err(error),
        }
    }
    println!("a worker has seen {seen} orders");
    consumer.close(Duration::from_secs(10)).await?;
    producer.close(Duration::from_secs(10)).await
}

async fn rewind(consumer: &mut Consumer) -> Result<(), Error> {
    let partitions = consumer.assignment();
    let committed = consumer.committed(&partitions).await?;
    for partition in &partitions {
        match committed.get(partition) {
            Some(at) => consumer.seek(partition, at.offset)?,
            None => consumer.seek_to_beginning(std::slice::from_ref(partition))?,
        }
    }
    Ok(())
}

fn committed_only(config: ConsumerConfig) -> ConsumerConfig {
    config.auto_offset_reset(OffsetReset::Earliest).isolation_level(IsolationLevel::ReadCommitted)
}
