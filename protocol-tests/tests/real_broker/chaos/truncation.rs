//! A log that loses its end: a replica that was down when records were written leads after the one that has them is gone
//! (an unclean election). Readers that were past its end must notice (KIP-320), and not go on as if nothing were missing.

use super::nodes::Nodes;
use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, create, fresh};
use milena::admin::{NewTopic, PartitionDescription};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, OffsetReset};
use milena::error::{Error, ErrorKind};
use milena::ids::{NodeId, TopicPartition};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Waits until the partition is as it should be.
async fn until(client: &Client, topic: &str, is_so: impl Fn(&PartitionDescription) -> bool) -> PartitionDescription {
    let start = Instant::now();
    loop {
        let described = client.admin().describe_topics([topic]).await.ok().and_then(|mut all| all.remove(topic)?.ok());
        match described.as_ref().and_then(|topic| topic.partitions.first()) {
            Some(partition) if is_so(partition) => return partition.clone(),
            _ => assert!(start.elapsed() < PATIENCE, "{described:?} after {PATIENCE:?}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn reader(client: &Client, topic: &str, reset: OffsetReset) -> Consumer {
    let mut consumer = client.consumer(ConsumerConfig::default().auto_offset_reset(reset)).expect("it is sound");
    consumer.assign([(topic, 0)]).await.expect("assigned");
    consumer.seek(&TopicPartition::new(topic, 0), 0).expect("it is assigned");
    assert_eq!(read_numbers(&mut consumer, 150).await, (0..150).collect::<Vec<_>>());
    consumer
}

/// The first error that is not about who leads, or cannot be reached.
async fn failure(consumer: &mut Consumer) -> Error {
    let start = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(200)).await {
            Ok(records) => assert!(records.is_empty(), "nothing is handed out that is not validated"),
            Err(error) => return error,
        }
        assert!(start.elapsed() < PATIENCE, "not noticed within {PATIENCE:?}");
    }
}

#[tokio::test]
#[ignore = "needs a Kafka of three nodes, and KFM_DIR: run by chaos.sh"]
async fn a_truncated_log_is_noticed_by_those_who_have_read_what_is_gone() {
    let mut nodes = Nodes::new();
    let client = connect().await;
    let new = NewTopic::new(fresh("truncation"), 1, 2);
    let new = new.config("unclean.leader.election.enable", "true").config("min.insync.replicas", "1");
    let topic = create(&client, new).await.expect("the topic is created");
    let name = TopicPartition::new(&*topic, 0);
    let partition = until(&client, &topic, |partition| partition.leader.is_some() && partition.isr.len() == 2).await;
    let leader = partition.leader.expect("it has one");
    let other = *partition.isr.iter().find(|replica| **replica != leader).expect("there are two");
    let index = |node: NodeId| u64::try_from(node.0 - 1).expect("ids begin with 1");

    write_numbers(&client, &topic, 0..100).await;
    nodes.kill(index(other));
    until(&client, &topic, |partition| partition.isr == [leader]).await;
    write_numbers(&client, &topic, 100..150).await;
    let mut strict = reader(&client, &topic, OffsetReset::None).await;
    let mut lenient = reader(&client, &topic, OffsetReset::Earliest).await;
    nodes.kill(index(leader));
    nodes.start(index(other));
    until(&client, &topic, |partition| partition.leader == Some(other)).await;

    let error = failure(&mut strict).await;
    assert_eq!(error.kind(), ErrorKind::LogTruncation, "{error}");
    assert_eq!(error.diverging_offset(), Some(100), "{error}");
    assert_eq!(error.topic_partition(), Some(&name));
    write_numbers(&client, &topic, 1000..1010).await;
    assert_eq!(read_numbers(&mut lenient, 10).await, (1000..1010).collect::<Vec<_>>(), "on from where the logs part");
    strict.seek(&name, 100).expect("it is assigned");
    assert_eq!(read_numbers(&mut strict, 10).await, (1000..1010).collect::<Vec<_>>());

    nodes.start(index(leader));
    until(&client, &topic, |partition| partition.isr.len() == 2).await;
    for consumer in [strict, lenient] {
        consumer.close(PATIENCE).await.expect("the consumer closes");
    }
    client.close().await;
}
