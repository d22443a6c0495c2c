//! Topics by a pattern that the client matches: in classic groups, and with an exclude list in those of KIP-848.

use crate::groups::{SECOND, config, events, poll_all};
use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, GroupProtocol, TopicPattern};
use milena::error::ErrorCode;
use std::collections::BTreeMap;

/// Listings are ten seconds old at most.
fn client(cluster: &TestCluster, seed: u64) -> Client {
    let config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(seed);
    Client::new(config.metadata_max_age(10 * SECOND)).unwrap()
}

async fn cluster(topics: &[(&str, i32)]) -> TestCluster {
    let cluster = TestCluster::builder().brokers(3).in_memory().start().await.unwrap();
    topics.iter().for_each(|(name, partitions)| cluster.create_topic(name, *partitions).unwrap());
    cluster
}

fn clicks() -> TopicPattern {
    TopicPattern::new("clicks-.*").unwrap().exclude("clicks-test-.*").unwrap()
}

async fn member(cluster: &TestCluster, seed: u64, config: ConsumerConfig, pattern: TopicPattern) -> Consumer {
    let mut consumer = client(cluster, seed).consumer(config).unwrap();
    consumer.subscribe_pattern(pattern).await.unwrap();
    consumer
}

/// How many partitions of which topics.
fn held(consumers: &[&Consumer]) -> String {
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for partition in consumers.iter().flat_map(|consumer| consumer.assignment()) {
        *held.entry(partition.topic.to_string()).or_default() += 1;
    }
    held.iter().map(|(topic, count)| format!("{topic}:{count} ")).collect()
}

fn coordinator_assigns() -> ConsumerConfig {
    ConsumerConfig::group("g").enable_auto_commit(false).group_protocol(GroupProtocol::Consumer)
}

#[tokio::test(start_paused = true)]
async fn topics_come_and_go_with_the_metadata_and_those_excluded_never_come() {
    for config in [config(), config().partition_assignment_strategy(["range"]), coordinator_assigns()] {
        let cluster = cluster(&[("clicks-a", 3), ("clicks-test-a", 2), ("my-clicks-a", 2), ("clicks", 1)]).await;
        let mut one = member(&cluster, 1, config.clone(), clicks()).await;
        let mut two = member(&cluster, 2, config, clicks()).await;
        poll_all(&mut [&mut one, &mut two], 20 * SECOND).await;
        assert_eq!(held(&[&one, &two]), "clicks-a:3 ");
        assert!(!one.assignment().is_empty() && !two.assignment().is_empty());
        let told = (events(&mut one, 25 * SECOND).await, events(&mut two, 25 * SECOND).await);
        assert_eq!(told, (vec![], vec![]), "a listing without news is no rebalance");
        cluster.create_topic("clicks-b", 3).unwrap();
        cluster.create_topic("clicks-test-b", 3).unwrap();
        poll_all(&mut [&mut one, &mut two], 30 * SECOND).await;
        assert_eq!(held(&[&one, &two]), "clicks-a:3 clicks-b:3 ");
        assert!((2..=4).contains(&one.assignment().len()), "the new one is shared, too");
        let admin = client(&cluster, 3).admin();
        admin.delete_topics(["clicks-a"]).await.unwrap()["clicks-a"].clone().unwrap();
        poll_all(&mut [&mut one, &mut two], 90 * SECOND).await;
        assert_eq!(held(&[&one, &two]), "clicks-b:3 ");
        let there = admin.list_topics().await.unwrap();
        assert!(there.iter().all(|topic| topic.name != "clicks-a"), "nobody has made it anew by asking for it");
    }
}

#[tokio::test(start_paused = true)]
async fn the_group_is_joined_when_the_topics_are_known_and_no_broken_listing_empties_it() {
    let cluster = cluster(&[("clicks-a", 3)]).await;
    cluster.fault(ApiKey::Metadata).times(4).error(ErrorCode::UnknownServerError);
    let mut one = member(&cluster, 1, config(), clicks()).await;
    assert_eq!(events(&mut one, 10 * SECOND).await, ["assigned 3"], "one join, with all there is");
    cluster.fault(ApiKey::Metadata).times(4).disconnect();
    assert_eq!(events(&mut one, 30 * SECOND).await, Vec::<String>::new());
    assert_eq!(held(&[&one]), "clicks-a:3 ");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_matches_nothing_yet_waits_in_the_group_and_gives_way_to_names() {
    let cluster = cluster(&[("views", 2)]).await;
    let mut one = member(&cluster, 1, config(), clicks()).await;
    poll_all(&mut [&mut one], 5 * SECOND).await;
    assert_eq!(cluster.group("g").map(|group| group.2), Some(1));
    cluster.create_topic("clicks-a", 2).unwrap();
    poll_all(&mut [&mut one], 15 * SECOND).await;
    assert_eq!(held(&[&one]), "clicks-a:2 ");
    one.subscribe(["views"]).await.unwrap();
    cluster.create_topic("clicks-b", 2).unwrap();
    poll_all(&mut [&mut one], 25 * SECOND).await;
    assert_eq!(held(&[&one]), "views:2 ", "the pattern is of no interest any more");
    one.subscribe_pattern(clicks()).await.unwrap();
    poll_all(&mut [&mut one], 15 * SECOND).await;
    assert_eq!(held(&[&one]), "clicks-a:2 clicks-b:2 ");
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_is_no_poll_of_an_application_that_is_silent() {
    let cluster = cluster(&[("clicks-a", 2)]).await;
    let mut one = member(&cluster, 1, config().max_poll_interval(30 * SECOND), clicks()).await;
    poll_all(&mut [&mut one], 5 * SECOND).await;
    for topic in ["clicks-b", "clicks-c", "clicks-d"] {
        tokio::time::sleep(20 * SECOND).await;
        cluster.create_topic(topic, 1).unwrap();
    }
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(cluster.group("g").map(|group| group.2), Some(0));
    poll_all(&mut [&mut one], 15 * SECOND).await;
    assert_eq!(held(&[&one]), "clicks-a:2 clicks-b:1 clicks-c:1 clicks-d:1 ");
}
