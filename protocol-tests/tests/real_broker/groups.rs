//! Groups on a real broker: two members of ours, and ours with the Java client's and librdkafka's in one group.
#![allow(clippy::disallowed_methods, reason = "tests against a real broker wait on the real clock")]

use crate::peer::{Member, Peer};
use crate::{PATIENCE, connect, fresh, topic};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, Event, GroupProtocol, OffsetReset};
use milena::ids::OffsetAndMetadata;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const PARTITIONS: i32 = 6;

/// `consumer` is the protocol by which the coordinator assigns, the others are assignors of a classic group.
pub(crate) fn config(group: &str, assignor: &str) -> ConsumerConfig {
    let config = ConsumerConfig::group(group).auto_offset_reset(OffsetReset::Earliest);
    if assignor == "consumer" {
        return config.group_protocol(GroupProtocol::Consumer);
    }
    let config = config.session_timeout(Duration::from_secs(6)).heartbeat_interval(Duration::from_millis(500));
    match assignor {
        "default" => config,
        assignor => config.partition_assignment_strategy([assignor]),
    }
}

pub(crate) async fn member(client: &Client, topic: &str, config: ConsumerConfig) -> Consumer {
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.subscribe([topic]).await.expect("subscribed");
    consumer
}

pub(crate) async fn write(client: &Client, topic: &str, numbers: Range<i32>) {
    let producer = client.producer(ProducerConfig::default()).expect("the configuration is sound");
    for n in numbers {
        let value = n.to_string();
        let record = ProducerRecord::new(topic).partition(n % PARTITIONS).value(&value);
        drop(producer.send(record).await.expect("there is room"));
    }
    producer.close(PATIENCE).await.expect("the broker takes them all");
}

pub(crate) async fn poll(consumer: &mut Consumer, read: &mut Vec<String>) {
    let records = consumer.poll(Duration::from_millis(100)).await.expect("records can be read");
    for record in &records {
        read.push(String::from_utf8(record.value().expect("a value").to_vec()).expect("text"));
    }
}

pub(crate) fn held(consumer: &Consumer) -> BTreeSet<i32> {
    consumer.assignment().iter().map(|partition| partition.partition).collect()
}

/// Polls until it is so.
pub(crate) async fn until(
    what: &str,
    ours: &mut [&mut Consumer],
    read: &mut Vec<String>,
    so: impl Fn(&[BTreeSet<i32>]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    loop {
        for consumer in ours.iter_mut() {
            poll(consumer, read).await;
        }
        let held: Vec<_> = ours.iter().map(|consumer| held(consumer)).collect();
        if so(&held) {
            return;
        }
        assert!(Instant::now() < end, "{what}: never; {held:?}");
    }
}

pub(crate) fn each_once(mut read: Vec<String>, count: i32, what: &str) {
    read.sort_unstable();
    let mut all: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    all.sort_unstable();
    let twice = read.len() as i64 - i64::from(count);
    assert!(read == all, "{what}: {twice} more than written");
}

/// Whoever leads, the others accept its assignment, and it is balanced.
pub(crate) async fn mixed(peer: Peer, assignor: &str, theirs_first: bool) {
    let what = format!("{peer:?}, {assignor}, theirs first: {theirs_first}");
    let (client, group) = (connect().await, fresh("mixed"));
    let topic = topic(&client, "mixed", PARTITIONS, 1).await;
    write(&client, &topic, 0..600).await;
    let mut read = vec![];
    let (mut ours, theirs): (Consumer, Member);
    let halves = |theirs: &Member, held: &[BTreeSet<i32>]| {
        let theirs = theirs.assigned();
        theirs.len() == 3 && held[0].len() == 3 && theirs.is_disjoint(&held[0])
    };
    if theirs_first {
        theirs = peer.join(&topic, &group, assignor);
        let end = Instant::now() + PATIENCE;
        while theirs.assigned().len() < 6 {
            assert!(Instant::now() < end, "{what}: the peer gets nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ours = member(&client, &topic, config(&group, assignor)).await;
    } else {
        ours = member(&client, &topic, config(&group, assignor)).await;
        until(&what, &mut [&mut ours], &mut read, |held| held[0].len() == 6).await;
        theirs = peer.join(&topic, &group, assignor);
    }
    until(&what, &mut [&mut ours], &mut read, |held| halves(&theirs, held)).await;
    write(&client, &topic, 600..1200).await;
    let end = Instant::now() + PATIENCE;
    while read.len() + theirs.values().len() < 1200 {
        poll(&mut ours, &mut read).await;
        assert!(Instant::now() < end, "{what}: {} of ours and {} of theirs", read.len(), theirs.values().len());
    }
    let mut count = 1200;
    if theirs_first {
        // They leave, and we take over.
        read.extend(theirs.leave().await.into_iter().map(|value| String::from_utf8(value).expect("text")));
        write(&client, &topic, 1200..1800).await;
        until(&what, &mut [&mut ours], &mut read, |held| held[0].len() == 6).await;
        count = 1800;
        let end = Instant::now() + PATIENCE;
        while read.len() < 1800 && Instant::now() < end {
            poll(&mut ours, &mut read).await;
        }
        ours.close(PATIENCE).await.expect("left");
    } else {
        // We leave, and they take over.
        ours.close(PATIENCE).await.expect("left");
        let end = Instant::now() + PATIENCE;
        while theirs.assigned().len() < 6 {
            assert!(Instant::now() < end, "{what}: they don't take over");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        read.extend(theirs.leave().await.into_iter().map(|value| String::from_utf8(value).expect("text")));
    }
    each_once(read, count, &what);
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn ours_and_the_java_client_share_a_group_whoever_leads() {
    for assignor in ["default", "range", "roundrobin", "sticky", "cooperative-sticky"] {
        mixed(Peer::Java, assignor, false).await;
        mixed(Peer::Java, assignor, true).await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn ours_and_librdkafka_share_a_group_whoever_leads() {
    for assignor in ["default", "range", "roundrobin", "cooperative-sticky"] {
        mixed(Peer::Librdkafka, assignor, false).await;
        mixed(Peer::Librdkafka, assignor, true).await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn two_members_balance_and_one_takes_over() {
    for assignor in ["default", "cooperative-sticky"] {
        pair(assignor).await;
    }
}

pub(crate) async fn pair(assignor: &str) {
    let (client, group) = (connect().await, fresh("pair"));
    let topic = topic(&client, "pair", PARTITIONS, 1).await;
    write(&client, &topic, 0..600).await;
    let mut read = vec![];
    let mut one = member(&client, &topic, config(&group, assignor)).await;
    until(assignor, &mut [&mut one], &mut read, |held| held[0].len() == 6).await;
    let mut two = member(&client, &topic, config(&group, assignor)).await;
    let halves = |held: &[BTreeSet<i32>]| held[0].len() == 3 && held[1].len() == 3 && held[0].is_disjoint(&held[1]);
    until(assignor, &mut [&mut one, &mut two], &mut read, halves).await;
    write(&client, &topic, 600..1200).await;
    one.close(PATIENCE).await.expect("left");
    until(assignor, &mut [&mut two], &mut read, |held| held[0].len() == 6).await;
    let end = Instant::now() + PATIENCE;
    while read.len() < 1200 && Instant::now() < end {
        poll(&mut two, &mut read).await;
    }
    let offsets = client.admin().list_group_offsets(&group).await.expect("the group is known");
    assert_eq!(offsets.len(), 6);
    two.close(PATIENCE).await.expect("left");
    let offsets = client.admin().list_group_offsets(&group).await.expect("the group is known");
    assert!(offsets.values().all(|offset| offset.lag() == Some(0)), "close commits: {offsets:?}");
    each_once(read, 1200, assignor);
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_static_member_restarts_without_a_rebalance_and_an_impostor_fences_it() {
    let (client, group) = (connect().await, fresh("static"));
    let topic = topic(&client, "static", PARTITIONS, 1).await;
    let named = |name: &str| config(&group, "cooperative-sticky").group_instance_id(name);
    let (mut one, mut two) = (member(&client, &topic, named("one")).await, member(&client, &topic, named("two")).await);
    let mut read = vec![];
    let halves = |held: &[BTreeSet<i32>]| held[0].len() == 3 && held[1].len() == 3;
    until("both", &mut [&mut one, &mut two], &mut read, halves).await;
    // The rebalance that gave the second its half gave the first nothing, which it may not have been told yet.
    let end = Instant::now() + PATIENCE;
    while one.group_metadata().generation() != two.group_metadata().generation() {
        assert!(Instant::now() < end, "they stay in different generations");
        poll(&mut one, &mut read).await;
    }
    let (before, generation) = (held(&two), one.group_metadata().generation());
    two.close(PATIENCE).await.expect("closed");
    let mut two = member(&client, &topic, named("two")).await;
    until("back", &mut [&mut two], &mut read, |held| held[0] == before).await;
    let event = one.next(Duration::from_secs(2)).await.expect("all is well");
    assert!(event.is_none(), "{event:?}");
    assert_eq!(one.group_metadata().generation(), generation);
    let mut impostor = member(&client, &topic, named("two")).await;
    until("fences", &mut [&mut impostor], &mut read, |held| held[0] == before).await;
    let end = Instant::now() + PATIENCE;
    let fenced = loop {
        match two.next(Duration::from_secs(1)).await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < end, "never fenced"),
        }
    };
    assert_eq!(fenced.code(), Some(milena::error::ErrorCode::FencedInstanceId));
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_commit_with_metadata_is_where_the_next_member_resumes() {
    let (client, group) = (connect().await, fresh("resume"));
    let two = resumed(&client, &group, "range").await;
    let description = client.admin().describe_groups([&group]).await.expect("known").remove(&group).expect("there");
    let description = description.expect("described");
    assert_eq!((&*description.state, description.members.len()), ("Stable", 1));
    two.close(PATIENCE).await.expect("left");
    client.close().await;
}

/// The next member, which has read on from there.
pub(crate) async fn resumed(client: &Client, group: &str, assignor: &str) -> Consumer {
    let topic = topic(client, "resume", PARTITIONS, 1).await;
    write(client, &topic, 0..60).await;
    let mut one = member(client, &topic, config(group, assignor).enable_auto_commit(false)).await;
    let mut read = vec![];
    while read.len() < 60 {
        poll(&mut one, &mut read).await;
    }
    let at = |partition: i32| milena::ids::TopicPartition::new(&*topic, partition);
    let offset = OffsetAndMetadata { metadata: "{\"window\":7}".into(), ..OffsetAndMetadata::new(4) };
    let offsets = (0..PARTITIONS).map(|partition| (at(partition), offset.clone()));
    one.commit_offsets(offsets).await.expect("committed");
    assert_eq!(one.committed(&[at(3)]).await.expect("known")[&at(3)], offset);
    one.close(PATIENCE).await.expect("left");
    let mut two = member(client, &topic, config(group, assignor)).await;
    let mut rest = vec![];
    until("resumed", &mut [&mut two], &mut rest, |_| true).await;
    let end = Instant::now() + PATIENCE;
    while rest.len() < 36 && Instant::now() < end {
        poll(&mut two, &mut rest).await;
    }
    assert_eq!(rest.len(), 36);
    while let Ok(Some(event)) = two.next(Duration::from_millis(100)).await {
        assert!(!matches!(event, Event::Records(_)), "nothing twice");
    }
    two
}
