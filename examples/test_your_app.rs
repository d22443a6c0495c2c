//! A service and its test: the broker fails in the middle, in virtual time, and the service must not care. Runs by
//! itself: `cargo run --example test_your_app --features test-broker`; in your own crate, `main` is a
//! `#[tokio::test(start_paused = true)]`.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use milena::broker::{ApiKey, Link, TestCluster};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, OffsetReset};
use milena::error::{Error, ErrorCode};
use milena::producer::{Producer, ProducerConfig, ProducerRecord};
use milena::testing::next_record;
use std::time::Duration;

/// The service: it takes orders in and ships them, each once, in their order.
struct Shop {
    orders: Producer,
    warehouse: Consumer,
}

impl Shop {
    async fn open(client: &Client) -> Result<Self, Error> {
        let warehouse = ConsumerConfig::group("warehouse").auto_offset_reset(OffsetReset::Earliest);
        let mut warehouse = client.consumer(warehouse)?;
        warehouse.subscribe(["orders"]).await?;
        Ok(Self { orders: client.producer(ProducerConfig::default())?, warehouse })
    }

    async fn take(&self, order: &str) -> Result<(), Error> {
        self.orders.send(ProducerRecord::new("orders").value(order)).await?.await.map(drop)
    }

    async fn ship(&mut self) -> Result<String, Error> {
        let order = next_record(&mut self.warehouse).await?;
        self.warehouse.commit().await?;
        Ok(String::from_utf8_lossy(order.value.as_deref().unwrap_or_default()).into_owned())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tokio::time::pause(); // minutes of retries take no time
    let cluster = TestCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    let mut shop = Shop::open(&cluster.client().await?).await?;
    let started = cluster.clock().unix_millis();

    // It is written, but the answer is lost: who sends it again must not double it.
    cluster.fault(ApiKey::Produce).once().apply_then_disconnect();
    shop.take("a book").await?;
    assert_eq!(shop.ship().await?, "a book");

    // The leader dies, and the next one has too few followers for a while.
    let leader = cluster.leader("orders", 0).expect("somebody leads");
    cluster.kill(leader);
    cluster.fault(ApiKey::Produce).times(3).error(ErrorCode::NotEnoughReplicas);
    shop.take("a lamp").await?;
    assert_eq!(shop.ship().await?, "a lamp");
    cluster.restart(leader).await?;

    // The group's coordinator is out of the others' reach for a minute.
    let coordinator = cluster.coordinator("warehouse").expect("somebody coordinates");
    cluster.cut(Link::Brokers(coordinator));
    shop.take("a chair").await?;
    cluster.clock().advance(Duration::from_secs(60)).await;
    cluster.heal();
    assert_eq!(shop.ship().await?, "a chair");

    assert_eq!(cluster.records("orders")?.len(), 3, "each order once");
    println!(
        "three orders, each shipped once, in {} s that took no time",
        (cluster.clock().unix_millis() - started) / 1000
    );
    Ok(())
}
