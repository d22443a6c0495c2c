//! The admin: topics and their configs, outcomes per item, and a controller that is elsewhere.

mod access;
mod brokers;
mod configs;
mod groups;
mod topics;
mod transactions;

use milena::admin::{Admin, ConfigSource, NewTopic};
use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{NodeId, OffsetAndMetadata, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;

async fn cluster() -> TestCluster {
    TestCluster::builder().brokers(3).topic("there", 2).in_memory().start().await.unwrap()
}

fn client(cluster: &TestCluster) -> Client {
    let config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(7);
    Client::new(config.default_api_timeout(Duration::from_secs(20))).unwrap()
}

/// A cluster with an authorizer, and the admins of somebody who may do everything and of somebody who may do nothing.
async fn guarded(builder: milena::broker::Builder) -> (TestCluster, Admin, Admin) {
    let cluster = builder.authorizer(&["User:root"]).in_memory().start().await.unwrap();
    let [root, nobody] = ["User:root", "User:nobody"].map(|who| admin_as(&cluster, who));
    (cluster, root, nobody)
}

fn admin_as(cluster: &TestCluster, who: &str) -> Admin {
    let config = cluster.client_config().connect(cluster.connector_as(who)).seed(7);
    Client::new(config.default_api_timeout(Duration::from_secs(20))).unwrap().admin()
}

/// So many records to each partition of `topic`.
async fn fill(cluster: &TestCluster, topic: &str, partitions: i32, each: usize) {
    let client = client(cluster);
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for partition in (0..partitions).flat_map(|partition| std::iter::repeat_n(partition, each)) {
        let record = ProducerRecord::new(topic).value("x").partition(partition);
        producer.send(record).await.unwrap().await.unwrap();
    }
    client.close().await;
}

fn is_denied<T: std::fmt::Debug>(outcome: milena::error::Result<T>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

fn code<T: std::fmt::Debug>(outcome: &milena::error::Result<T>) -> ErrorCode {
    let error = outcome.as_ref().unwrap_err();
    error.code().unwrap_or_else(|| panic!("no broker's code: {error}"))
}

#[tokio::test(start_paused = true)]
async fn topics_come_change_and_go() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let new = NewTopic::new("new", 3, 2).config("retention.ms", "86400000");
    admin.create_topics([new]).await.unwrap().remove("new").unwrap().unwrap();
    let listed = admin.list_topics().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|topic| (&*topic.name, topic.partitions)).collect();
    assert_eq!(listed, [("new", 3), ("there", 2)]);

    let described = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
    assert_eq!(described.partitions.len(), 3);
    assert!(described.partitions.iter().all(|p| p.replicas.len() == 2 && p.leader == p.replicas.first().copied()));
    assert!(!described.id.is_zero());

    let configs = admin.describe_configs("new").await.unwrap();
    let set: Vec<_> = configs.iter().filter(|config| config.source == ConfigSource::Topic).collect();
    assert_eq!(set.len(), 1);
    assert_eq!((&*set[0].name, set[0].value.as_deref()), ("retention.ms", Some("86400000")));

    admin.create_partitions([("new", 5)]).await.unwrap().remove("new").unwrap().unwrap();
    let described = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
    assert_eq!(described.partitions.len(), 5);

    admin.delete_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
    let gone = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::UnknownTopicOrPartition), "and asking did not create it");
    assert_eq!(cluster.topics(), ["there"]);
}

#[tokio::test(start_paused = true)]
async fn each_item_has_an_outcome_of_its_own() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let made = admin.create_topics([NewTopic::new("there", 1, 1), NewTopic::new("new", 1, 1)]).await.unwrap();
    assert_eq!(made["there"].as_ref().unwrap_err().code(), Some(ErrorCode::TopicAlreadyExists));
    assert!(made["new"].is_ok());
    let deleted = admin.delete_topics(["missing", "new"]).await.unwrap();
    assert_eq!(deleted["missing"].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(deleted["new"].is_ok());
    let error = admin.describe_configs("missing").await.unwrap_err();
    assert!(error.to_string().starts_with("missing: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_has_moved_is_looked_for() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    cluster.fault(ApiKey::CreateTopics).times(2).error(ErrorCode::NotController);
    admin.create_topics([NewTopic::new("new", 1, 1)]).await.unwrap().remove("new").unwrap().unwrap();
    cluster.fault(ApiKey::CreateTopics).error(ErrorCode::NotController);
    let error = admin.create_topics([NewTopic::new("never", 1, 1)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotController));
}

#[tokio::test(start_paused = true)]
async fn a_group_without_members_can_be_moved_and_deleted() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let at: TopicPartition = ("there", 1).into();
    let from = cluster.coordinator("g").unwrap_or(NodeId(1));
    cluster.fault(ApiKey::OffsetCommit).once().error(ErrorCode::CoordinatorLoadInProgress);
    admin.set_group_offsets("g", [(at.clone(), OffsetAndMetadata::new(7))]).await.unwrap();
    assert_eq!(cluster.committed("g", &at).unwrap().offset, 7);
    let to = (1..=3).map(NodeId).find(|node| *node != from).unwrap();
    cluster.move_coordinator("g", to);
    let offsets = admin.list_group_offsets("g").await.unwrap();
    assert_eq!((offsets[&at].committed.offset, offsets[&at].end_offset), (7, Some(0)));
    assert_eq!(offsets[&at].lag(), Some(0), "never negative");
    admin.delete_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap();
    assert!(admin.list_groups().await.unwrap().is_empty());
    let gone = admin.delete_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::GroupIdNotFound));
}
