//! The admin's round over a real cluster: everything it can do, once.

use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, fresh};
use milena::admin::{ConfigSource, NewTopic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::ErrorCode;
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::time::Instant;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn topics_come_change_and_go() {
    let client = connect().await;
    let (admin, name) = (client.admin(), fresh("admin"));
    let new = NewTopic::new(&*name, 2, 1).config("retention.ms", "86400000");
    let created = admin.create_topics([new.clone()]).await.expect("the controller answers");
    created[&name].as_ref().expect("created");
    let again = admin.create_topics([new]).await.expect("the controller answers");
    assert_eq!(again[&name].as_ref().unwrap_err().code(), Some(ErrorCode::TopicAlreadyExists));

    // One broker may know of a topic before another does.
    let start = Instant::now();
    let partitions = async |count: usize| {
        loop {
            let described = admin.describe_topics([&name]).await.expect("a broker answers").remove(&name);
            match described.expect("one was asked for") {
                Ok(topic) if topic.partitions.len() == count => break topic,
                other => assert!(start.elapsed() < PATIENCE, "{other:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    partitions(2).await;
    assert!(admin.list_topics().await.expect("a broker answers").iter().any(|topic| topic.name == name));
    let added = admin.create_partitions([(&name, 4)]).await.expect("the controller answers");
    added[&name].as_ref().expect("added");
    assert!(partitions(4).await.partitions.iter().all(|partition| partition.replicas.len() == 1));

    let set = async || {
        let entries = admin.describe_configs(&name).await.expect("a broker answers").into_iter();
        let set = entries.filter(|entry| entry.source == ConfigSource::Topic);
        set.map(|entry| (entry.name, entry.value.expect("no secret"))).collect::<Vec<_>>()
    };
    let expect = async |expected: &[(&str, &str)]| {
        let expected: Vec<_> = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        while set().await != expected {
            assert!(start.elapsed() < PATIENCE, "not {expected:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    expect(&[("retention.ms", "86400000")]).await;
    let changes = [("retention.ms", None), ("max.message.bytes", Some("100000".to_owned()))];
    admin.alter_configs(&name, changes).await.expect("changed");
    expect(&[("max.message.bytes", "100000")]).await;
    let refused = admin.alter_configs(&name, [("max.message.bytes", Some("many".to_owned()))]).await;
    let code = refused.unwrap_err().code(); // the second is what ZooKeeper's controllers say
    assert!(matches!(code, Some(ErrorCode::InvalidConfig | ErrorCode::InvalidRequest)), "{code:?}");

    let deleted = admin.delete_topics([&name]).await.expect("the controller answers");
    deleted[&name].as_ref().expect("deleted");
    let start = Instant::now();
    while admin.list_topics().await.expect("a broker answers").iter().any(|topic| topic.name == name) {
        assert!(start.elapsed() < PATIENCE, "it is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_group_is_listed_described_moved_and_deleted() {
    let client = connect().await;
    let (admin, group) = (client.admin(), fresh("admin"));
    let topic = crate::topic(&client, "admin", 1, 1).await;
    let partition = TopicPartition::new(&*topic, 0);
    write_numbers(&client, &topic, 0..20).await;
    let config = ConsumerConfig::group(&group).auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config.clone()).expect("the configuration is sound");
    consumer.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut consumer, 20).await.len(), 20);

    let listed = admin.list_groups().await.expect("every broker answers");
    assert!(listed.iter().any(|listing| listing.group_id == group && listing.protocol_type == "consumer"));
    let described = admin.describe_groups([&group]).await.expect("the coordinator answers").remove(&group);
    let described = described.expect("one was asked for").expect("it is there");
    assert_eq!((&*described.state, described.members.len()), ("Stable", 1));
    assert_eq!(described.members[0].assignment, std::slice::from_ref(&partition));
    let moved = admin.set_group_offsets(&group, [(partition.clone(), OffsetAndMetadata::new(5))]).await;
    moved.expect_err("it has a member");
    let deleted = admin.delete_groups([&group]).await.expect("the coordinator answers");
    assert_eq!(deleted[&group].as_ref().unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));
    consumer.close(PATIENCE).await.expect("left");

    admin.set_group_offsets(&group, [(partition.clone(), OffsetAndMetadata::new(5))]).await.expect("nobody is there");
    let offsets = admin.list_group_offsets(&group).await.expect("the coordinator answers");
    assert_eq!((offsets[&partition].committed.offset, offsets[&partition].lag()), (5, Some(15)));
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.subscribe([&topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut consumer, 15).await, (5..20).collect::<Vec<_>>());
    consumer.close(PATIENCE).await.expect("left");

    let deleted = admin.delete_groups([&group]).await.expect("the coordinator answers");
    deleted[&group].as_ref().expect("deleted");
    assert!(admin.list_group_offsets(&group).await.expect("the coordinator answers").is_empty());
    let gone = async || admin.list_groups().await.is_ok_and(|groups| groups.iter().all(|one| one.group_id != group));
    assert!(gone().await, "it is no longer listed");
    client.close().await;
}
