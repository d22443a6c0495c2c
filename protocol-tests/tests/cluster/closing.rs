//! Closing a client: nothing of it is left, whatever it was about.

use crate::network::Network;
use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{Certainty, ErrorKind};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// It used to wait for answers that did not come, with the connections open.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_fails_as_closed_and_no_task_is_left() {
    let cluster = TestCluster::builder().brokers(3).topic("clicks", 3).in_memory().start().await.unwrap();
    let network = Network::new(cluster.connector());
    let config = ClientConfig::new([cluster.bootstrap()]).connect(network.clone()).virtual_time();
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send(ProducerRecord::new("clicks").value("1")).await.unwrap().await.unwrap();
    let mut consumer = client.consumer(ConsumerConfig::group("g").auto_offset_reset(OffsetReset::Earliest)).unwrap();
    consumer.subscribe(["clicks"]).await.unwrap();
    while consumer.poll(SECOND).await.unwrap().is_empty() {}

    network.fall_silent();
    let under_way = producer.send(ProducerRecord::new("clicks").value("2")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    drop(consumer);
    let began = Instant::now();
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
    let error = under_way.await.unwrap_err();
    assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Closed, Some(Certainty::PossiblySent)));
}
