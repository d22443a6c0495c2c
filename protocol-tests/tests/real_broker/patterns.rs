//! Topics by a pattern that the client matches, in classic groups.

use crate::{PATIENCE, client_config, connect, connect_with, fresh};
use milena::admin::{Admin, NewTopic};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, TopicPattern};
use milena::error::{ErrorCode, ErrorKind};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Listings are two seconds old at most.
async fn client() -> Client {
    connect_with(client_config().metadata_max_age(Duration::from_secs(2))).await
}

async fn create(admin: &Admin, topics: &[(&str, i32)]) {
    let topics = topics.iter().map(|(name, partitions)| NewTopic::new(*name, *partitions, 1));
    let created = admin.create_topics(topics).await.expect("the broker answers");
    created.into_iter().for_each(|(name, created)| drop(created.unwrap_or_else(|error| panic!("{name}: {error}"))));
}

/// Polls both until they hold these, each some of them.
async fn until_shared(members: &mut [Consumer; 2], expected: &[(&str, usize)]) {
    let expected: BTreeMap<&str, usize> = expected.iter().copied().collect();
    let start = Instant::now();
    loop {
        let mut held = BTreeMap::new();
        for member in &mut *members {
            member.poll(Duration::from_millis(50)).await.expect("nothing fails");
        }
        let assignments = members.each_ref().map(Consumer::assignment);
        for partition in assignments.iter().flatten() {
            *held.entry(&*partition.topic).or_insert(0) += 1;
        }
        if held == expected && assignments.iter().all(|assignment| !assignment.is_empty()) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{assignments:?} is not {expected:?} after {PATIENCE:?}");
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn topics_that_a_pattern_matches_come_and_go_in_a_classic_group() {
    let other = connect().await;
    let admin = other.admin();
    for assignor in ["range", "cooperative-sticky"] {
        let prefix = fresh("pattern");
        let [one, two, hidden] = ["a", "b", "test-a"].map(|name| format!("{prefix}-{name}"));
        let elsewhere = format!("x{one}");
        create(&admin, &[(&one, 3), (&hidden, 2), (&elsewhere, 2)]).await;
        let pattern = TopicPattern::new(&format!("{prefix}-.*")).expect("an expression");
        let pattern = pattern.exclude(&format!("{prefix}-test-.*")).expect("an expression");
        let config = ConsumerConfig::group(fresh("pattern"))
            .heartbeat_interval(Duration::from_millis(500))
            .partition_assignment_strategy([assignor]);
        let clients = [client().await, client().await];
        let mut members = clients.each_ref().map(|client| client.consumer(config.clone()).expect("it is sound"));
        for member in &mut members {
            member.subscribe_pattern(pattern.clone()).await.expect("subscribed");
        }
        until_shared(&mut members, &[(&one, 3)]).await;
        create(&admin, &[(&two, 3)]).await;
        until_shared(&mut members, &[(&one, 3), (&two, 3)]).await;
        let deleted = admin.delete_topics([&one]).await.expect("the broker answers");
        deleted.into_values().for_each(|deleted| deleted.expect("deleted"));
        until_shared(&mut members, &[(&two, 3)]).await;
        let there = admin.list_topics().await.expect("the broker answers");
        assert!(there.iter().all(|topic| topic.name != one), "nobody has made it anew by asking for it");
        for member in members {
            // The one before has left: this one may be in the middle of a rebalance, in which nothing can be committed, or not
            // have heard yet that the next generation has begun.
            match member.close(PATIENCE).await.map_err(|error| error.kind()) {
                Ok(()) | Err(ErrorKind::Broker(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration)) => {}
                Err(error) => panic!("the consumer does not close: {error:?}"),
            }
        }
        for client in clients {
            client.close().await;
        }
    }
    other.close().await;
}
