//! Who asks for a topic, and until when: nobody ends another's wait, and what nobody wants any more is not asked for, or a broker
//! that creates topics would make a deleted one again.

use milena::broker::TestCluster;
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig};
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

async fn cluster(auto_create: bool) -> (TestCluster, Client) {
    let cluster = TestCluster::builder().auto_create_topics(auto_create).in_memory().start().await.unwrap();
    let client = Client::new(cluster.client_config().seed(7)).unwrap();
    (cluster, client)
}

/// The first to give up had the topic forgotten, and the others waited for nothing.
#[tokio::test(start_paused = true)]
async fn a_send_that_gives_up_on_a_missing_topic_does_not_end_the_wait_of_another() {
    let (cluster, client) = cluster(false).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let send = || async { producer.send(ProducerRecord::new("late").value("v")).await };
    let later = async {
        sleep(30 * SECOND).await;
        send().await
    };
    let made = async {
        sleep(65 * SECOND).await;
        cluster.create_topic("late", 1).unwrap();
    };
    let (first, second, ()) = tokio::join!(send(), later, made);
    assert_eq!(first.unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    second.unwrap().await.unwrap();
}

/// A topic was followed as long as its client lived, whoever had followed it.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_when_nobody_reads_it_any_more_does_not_come_back() {
    for how in ["close", "drop", "unsubscribe", "subscribe", "unassign", "assign"] {
        let (cluster, client) = cluster(true).await;
        cluster.create_topic("mine", 2).unwrap();
        cluster.create_topic("other", 1).unwrap();
        let config = ConsumerConfig::default().group_id("g").allow_auto_create_topics(true);
        let mut consumer: Consumer = client.consumer(config).unwrap();
        match how {
            "assign" | "unassign" => consumer.assign([TopicPartition::new("mine", 0)]).await.unwrap(),
            _ => consumer.subscribe(["mine"]).await.unwrap(),
        }
        consumer.poll(10 * SECOND).await.unwrap();
        assert!(!consumer.assignment().is_empty(), "{how}");
        let mut consumer = Some(consumer);
        match how {
            "close" => consumer.take().unwrap().close(10 * SECOND).await.unwrap(),
            "drop" => drop(consumer.take()),
            "subscribe" => consumer.as_mut().unwrap().subscribe(["other"]).await.unwrap(),
            "assign" => consumer.as_mut().unwrap().assign([TopicPartition::new("other", 0)]).await.unwrap(),
            _ => consumer.as_mut().unwrap().unsubscribe().await.unwrap(),
        }
        if let Some(consumer) = &mut consumer {
            consumer.poll(20 * SECOND).await.unwrap();
        }
        client.admin().delete_topics(["mine"]).await.unwrap().remove("mine").unwrap().unwrap();
        // Others have reasons to ask.
        let producer = client.producer(ProducerConfig::default()).unwrap();
        for i in 0..20 {
            let topic = format!("new-{i}");
            producer.send(ProducerRecord::new(&topic).value("v")).await.unwrap().await.unwrap();
            sleep(60 * SECOND).await;
        }
        assert!(!cluster.topics().contains(&"mine".to_owned()), "{how}");
    }
}
