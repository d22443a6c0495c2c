//! Groups whose coordinator assigns (KIP-848) on a real broker, Apache Kafka from 4.0: what `groups.rs` asks of classic
//! ones, and what is different.
#![allow(clippy::disallowed_methods, reason = "tests against a real broker wait on the real clock")]

use crate::groups::{PARTITIONS, config, each_once, held, member, mixed, pair, poll, resumed, until, write};
use crate::large_group::join;
use crate::mixed_groups::{THREE, three};
use crate::peer::Peer;
use crate::{PATIENCE, connect, fresh, of_one_replica, topic};
use milena::consumer::{Consumer, TopicPattern};
use milena::error::{Error, ErrorCode};
use milena::ids::GenerationId;
use milena::producer::ProducerConfig;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn two_members_balance_and_one_takes_over() {
    pair("consumer").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_commit_with_metadata_is_where_the_next_member_resumes() {
    let (client, group) = (connect().await, fresh("resume"));
    resumed(&client, &group, "consumer").await.close(PATIENCE).await.expect("left");
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn ours_and_the_java_client_share_a_group_that_the_coordinator_balances() {
    for theirs_first in [false, true] {
        mixed(Peer::Java, "consumer", theirs_first).await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn ours_and_librdkafka_share_a_group_that_the_coordinator_balances() {
    for theirs_first in [false, true] {
        mixed(Peer::Librdkafka, "consumer", theirs_first).await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn three_clients_share_a_group_that_the_coordinator_balances() {
    three(THREE, "consumer").await;
}

/// The coordinator says how often members ask, 5 s by default. A move takes three asks: the newcomer's, that of the member
/// which has to give, and the newcomer's again.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn one_more_member_of_fifty_takes_its_share_and_nothing_else_moves() {
    let took = join("consumer", |config| config).await;
    assert!(took < Duration::from_secs(15), "{took:?}");
}

async fn failure(consumer: &mut Consumer) -> Error {
    let end = Instant::now() + PATIENCE;
    loop {
        match consumer.next(Duration::from_secs(1)).await {
            Err(error) => return error,
            Ok(_) => assert!(Instant::now() < end, "never refused"),
        }
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_static_member_restarts_without_a_rebalance_and_an_impostor_is_kept_out() {
    let (client, group) = (connect().await, fresh("static"));
    let topic = topic(&client, "static", PARTITIONS, 1).await;
    let named = |name: &str| config(&group, "consumer").group_instance_id(name);
    let (mut one, mut two) = (member(&client, &topic, named("one")).await, member(&client, &topic, named("two")).await);
    let mut read = vec![];
    let halves = |held: &[BTreeSet<i32>]| held[0].len() == 3 && held[1].len() == 3;
    until("both", &mut [&mut one, &mut two], &mut read, halves).await;
    assert!(
        one.next(Duration::from_secs(11)).await.expect("all is well").is_none(),
        "two more heartbeats, and settled"
    );
    let (before, epoch) = (held(&two), one.group_metadata().generation());
    two.close(PATIENCE).await.expect("closed");
    let mut two = member(&client, &topic, named("two")).await;
    until("back", &mut [&mut two], &mut read, |held| held[0] == before).await;
    let event = one.next(Duration::from_secs(11)).await.expect("all is well");
    assert!(event.is_none(), "{event:?}");
    assert_eq!(one.group_metadata().generation(), epoch);
    let mut impostor = member(&client, &topic, named("two")).await;
    let refused = failure(&mut impostor).await;
    assert_eq!(refused.code(), Some(ErrorCode::UnreleasedInstanceId), "{refused}");
    assert!(two.next(Duration::from_secs(6)).await.expect("the rightful one goes on").is_none());
    client.close().await;
}

/// The client knows none of these topics by name.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn topics_that_the_coordinator_matches_are_read_also_those_made_later() {
    let (client, group, prefix) = (connect().await, fresh("pattern"), fresh("match"));
    let pattern = |regex: &str| TopicPattern::new(regex).expect("an expression");
    let admin = client.admin();
    let create = async |name: &str| {
        let topic = of_one_replica(name.to_owned(), PARTITIONS).config("retention.ms", "-1");
        admin.create_topics([topic]).await.expect("the topic is created");
        write(&client, name, 0..60).await;
    };
    let reader = connect().await;
    create(&format!("{prefix}.a")).await;
    let mut consumer = reader.consumer(config(&group, "consumer")).expect("the configuration is sound");
    consumer.subscribe_pattern(pattern(&format!("{prefix}[.][ab]"))).await.expect("subscribed");
    let (mut first, mut second) = (vec![], vec![]);
    let end = Instant::now() + PATIENCE;
    while first.len() < 60 && Instant::now() < end {
        poll(&mut consumer, &mut first).await;
    }
    each_once(first, 60, "a");
    create(&format!("{prefix}.b")).await;
    create(&format!("{prefix}.bb")).await; // is matched in part only
    let end = Instant::now() + PATIENCE;
    while second.len() < 60 && Instant::now() < end {
        poll(&mut consumer, &mut second).await;
    }
    each_once(second, 60, "b");
    assert_eq!(consumer.assignment().len(), 12);
    consumer.close(PATIENCE).await.expect("left");
    let mut consumer = reader.consumer(config(&group, "consumer")).expect("the configuration is sound");
    // RE2 repeats a thousand times at most.
    consumer.subscribe_pattern(pattern("a{1001}")).await.expect("subscribed");
    let refused = failure(&mut consumer).await;
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRegularExpression), "{refused}");
    for client in [reader, client] {
        client.close().await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn an_assignor_that_the_broker_does_not_have_is_said_so() {
    let client = connect().await;
    let topic = topic(&client, "assignor", PARTITIONS, 1).await;
    let asks_for = |name: &str| config(&fresh("assignor"), "consumer").group_remote_assignor(name);
    let refused = failure(&mut member(&client, &topic, asks_for("fair")).await).await;
    assert_eq!(refused.code(), Some(ErrorCode::UnsupportedAssignor), "{refused}");
    let mut ranged = member(&client, &topic, asks_for("range")).await;
    until("range", &mut [&mut ranged], &mut vec![], |held| held[0].len() == 6).await;
    client.close().await;
}

/// KIP-447: the coordinator checks the member and its epoch.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_transaction_commits_the_offsets_of_its_member_and_of_no_other() {
    let (client, group) = (connect().await, fresh("transaction"));
    let topic = topic(&client, "transaction", PARTITIONS, 1).await;
    write(&client, &topic, 0..60).await;
    let mut consumer = member(&client, &topic, config(&group, "consumer").enable_auto_commit(false)).await;
    let mut read = vec![];
    while read.len() < 60 {
        poll(&mut consumer, &mut read).await;
    }
    let mut producer =
        client.transactional_producer(fresh("transactional"), ProducerConfig::default()).await.expect("a producer");
    let (positions, us) = (consumer.positions(), consumer.group_metadata());
    assert!(us.generation() > GenerationId(0) && !us.member_id().is_empty());
    let transaction = producer.begin().await.expect("begun");
    transaction.send_offsets(positions.clone(), us).await.expect("the coordinator knows the member");
    transaction.commit().await.expect("committed");
    let partitions: Vec<_> = positions.keys().cloned().collect();
    assert_eq!(consumer.committed(&partitions).await.expect("known"), positions);
    consumer.close(PATIENCE).await.expect("left");
    client.close().await;
}
