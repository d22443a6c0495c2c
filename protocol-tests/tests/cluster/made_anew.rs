//! Topics that are deleted and made anew under a producer, in virtual time.

use milena::admin::NewTopic;
use milena::broker::{Emulation, TestCluster};
use milena::client::Client;
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::NodeId;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn cluster(emulation: Emulation, partitions: i32) -> (TestCluster, Client) {
    let builder = TestCluster::builder().brokers(3).emulate(emulation).auto_create_topics(false).in_memory();
    let cluster = builder.topic("clicks", partitions).start().await.unwrap();
    let client = cluster.client().await.unwrap();
    (cluster, client)
}

async fn delete(client: &Client) {
    let outcomes = client.admin().delete_topics(["clicks"]).await.unwrap();
    assert!(outcomes.into_iter().all(|(_, outcome)| outcome.is_ok()));
}

/// Keys were hashed over the old count for ever: two thirds of them waited until they expired.
#[tokio::test(start_paused = true)]
async fn keys_go_to_the_partitions_that_a_topic_made_anew_has() {
    let (cluster, client) = cluster(Emulation::Kafka43, 6).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let send = async |range: std::ops::Range<u32>| {
        let mut deliveries = Vec::new();
        for i in range {
            let key = i.to_string();
            deliveries.push(producer.send(ProducerRecord::new("clicks").key(&key).value("v")).await.unwrap());
        }
        for delivery in deliveries {
            timeout(5 * SECOND, delivery).await.expect("within seconds").unwrap();
        }
    };
    send(0..100).await;
    delete(&client).await;
    client.admin().create_topics([NewTopic::new("clicks", 2, 3)]).await.unwrap();
    // Is refused, and asks.
    producer.send(ProducerRecord::new("clicks").partition(0).value("v")).await.unwrap().await.unwrap();
    send(0..100).await;
    assert_eq!(cluster.records("clicks").unwrap().len(), 101);
    let nowhere = producer.send(ProducerRecord::new("clicks").partition(5).value("v")).await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// Kafka before 2.8: the epochs of the new one are below the old one's, and its leader was never believed.
#[tokio::test(start_paused = true)]
async fn without_topic_ids_a_topic_made_anew_is_written_to_where_it_is_led() {
    for (pause, idempotence) in [(5, false), (40, false), (5, true), (40, true)] {
        let (cluster, client) = cluster(Emulation::Kafka24, 1).await;
        let producer = client.producer(ProducerConfig::default().idempotence(idempotence)).unwrap();
        let send = async |value| producer.send(ProducerRecord::new("clicks").value(value)).await.unwrap();
        for leader in [2, 3, 2] {
            cluster.move_leader("clicks", 0, NodeId(leader));
            send("old").await.await.unwrap();
        }
        delete(&client).await;
        let waits = send("waits").await;
        sleep(pause * SECOND).await;
        cluster.create_topic("clicks", 1).unwrap();
        if cluster.leader("clicks", 0) == Some(NodeId(2)) {
            cluster.move_leader("clicks", 0, NodeId(1));
        }
        let waited = timeout(20 * SECOND, waits).await.expect("the new leader is followed");
        if idempotence {
            // By the old leader it may have been written for all we know, and this release takes no number but the first.
            assert_eq!(waited.unwrap_err().code(), Some(ErrorCode::UnknownProducerId));
        } else {
            waited.unwrap();
        }
        timeout(SECOND, send("new").await).await.expect("and is known by now").unwrap();
    }
}
