//! The admin over a real cluster: topics as they are to be, by id, emptied, and configs of every kind of resource.

use crate::{PATIENCE, connect, fresh, since};
use milena::admin::{
    Admin, ConfigChange, ConfigQuery, ConfigResource, ConfigSource, IsolationLevel, NewPartitions, NewTopic, OffsetSpec,
};
use milena::error::{ErrorCode, ErrorKind, Result};
use milena::ids::{NodeId, TopicId, TopicPartition};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// What an item was refused with.
pub(crate) fn code<T: Debug>(outcome: &Result<T>) -> ErrorCode {
    let error = outcome.as_ref().expect_err("it is refused");
    error.code().unwrap_or_else(|| panic!("no broker's code: {error}"))
}

/// One broker may know of something before another does.
pub(crate) async fn eventually<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn brokers(admin: &Admin) -> Vec<NodeId> {
    let cluster = admin.describe_cluster().await.expect("a broker answers");
    cluster.brokers.iter().map(|broker| broker.node).collect()
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_topic_is_made_checked_grown_emptied_and_deleted_by_its_id() {
    let client = connect().await;
    let (admin, name) = (client.admin(), fresh("admin-topics"));
    let node = brokers(&admin).await[0];
    let new = || NewTopic::with_assignment(&name, [vec![node], vec![node]]).config("min.insync.replicas", "1");
    // That a broker is there is not asked with ZooKeeper.
    let twice = || NewTopic::with_assignment(format!("{name}-x"), [vec![node, node]]);
    let dry = admin.dry_run().create_topics([new(), twice()]).await.expect("the controller answers");
    let would = dry[&name].as_ref().expect("it could be");
    assert_eq!((would.partitions, would.replication), (Some(2), Some(1)));
    assert_eq!(code(&dry[&format!("{name}-x")]), ErrorCode::InvalidReplicaAssignment);
    let made = admin.create_topics([new()]).await.expect("the controller answers");
    let made = made[&name].as_ref().expect("it is made");
    assert!(made.configs.iter().any(|config| config.source == ConfigSource::Topic));
    let at = |partition| TopicPartition::new(&*name, partition);
    let described = eventually("the topic is known", async || {
        admin.describe_topics([&name]).await.expect("a broker answers").remove(&name)?.ok()
    })
    .await;
    assert_eq!(described.partitions[1].replicas, [node]);
    let more = || NewPartitions::new(&name, 3).assignment([vec![node]]);
    admin.dry_run().create_partitions([more()]).await.expect("answered")[&name].as_ref().expect("it could grow");
    admin.create_partitions([more()]).await.expect("answered")[&name].as_ref().expect("it grows");

    crate::sample::write_numbers(&client, &name, 0..30).await;
    let places = || (0..2).map(|partition| (at(partition), OffsetSpec::Latest)).chain([(at(99), OffsetSpec::Latest)]);
    let ends = admin.list_offsets(places(), IsolationLevel::ReadUncommitted).await.expect("answered");
    assert_eq!(code(&ends[&at(99)]), ErrorCode::UnknownTopicOrPartition);
    let end = ends[&at(0)].as_ref().expect("it has an end").expect("always").offset;
    let begins = admin.delete_records([(at(0), -1), (at(1), 1_000_000)]).await.expect("answered");
    assert_eq!(*begins[&at(0)].as_ref().expect("deleted"), end);
    assert_eq!(code(&begins[&at(1)]), ErrorCode::OffsetOutOfRange);
    let largest = [(at(1), OffsetSpec::MaxTimestamp)];
    since([3, 0, 0], admin.list_offsets(largest, IsolationLevel::ReadUncommitted).await);
    // What the broker is too old for spoils nothing for the others: one leader has both partitions.
    let mixed = [(at(0), OffsetSpec::Latest), (at(1), OffsetSpec::MaxTimestamp)];
    let mut mixed = admin.list_offsets(mixed, IsolationLevel::ReadUncommitted).await.expect("answered");
    assert_eq!(mixed[&at(0)].as_ref().expect("it has an end").expect("always").offset, end);
    since([3, 0, 0], mixed.remove(&at(1)).expect("it was asked for"));

    let id = described.id;
    if since([3, 1, 0], admin.describe_topics_by_id([id]).await).is_some() {
        let told = admin.describe_topics_by_id([id, TopicId([7; 16])]).await.expect("answered");
        assert_eq!(told[&id].as_ref().expect("it is there").name, name);
        assert_eq!(code(&told[&TopicId([7; 16])]), ErrorCode::UnknownTopicId);
    }
    let stranger = TopicId([7; 16]);
    match since([2, 8, 0], admin.delete_topics_by_id([id, stranger]).await) {
        Some(told) => {
            told[&id].as_ref().expect("deleted");
            assert_eq!(code(&told[&stranger]), ErrorCode::UnknownTopicId);
        }
        None => drop(admin.delete_topics([&name]).await.expect("answered")),
    }
    let told = admin.delete_topics([&format!("{name}-x")]).await.expect("answered");
    assert_eq!(code(told.values().next().expect("one")), ErrorCode::UnknownTopicOrPartition);
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn configs_of_topics_brokers_loggers_and_groups_are_described_and_changed() {
    let client = connect().await;
    let admin = client.admin();
    let name = crate::topic(&client, "admin-configs", 1, 1).await;
    let node = brokers(&admin).await[0];
    let (topic, broker) = (ConfigResource::Topic(name), ConfigResource::Broker(node));
    let missing = ConfigResource::Topic(fresh("missing"));
    let nobody = ConfigResource::Broker(NodeId(4711));
    let query = ConfigQuery::new([topic.clone(), broker.clone(), missing.clone(), nobody.clone()]);
    let query = query.synonyms().documentation();
    let told = eventually("whoever is asked knows the topic", async || {
        let told = admin.describe_config_resources(query.clone()).await.expect("answered");
        told[&topic].is_ok().then_some(told)
    })
    .await;
    let retention = told[&topic].as_ref().expect("it is there").iter().find(|config| config.name == "retention.ms");
    let retention = retention.expect("every topic has it");
    assert!(retention.documentation.is_some() || crate::is_before([2, 6, 0]), "{retention:?}");
    assert!(!retention.synonyms.is_empty(), "{retention:?}");
    assert!(told[&broker].as_ref().expect("it is there").iter().any(|config| config.name == "log.dirs"));
    assert_eq!(code(&told[&missing]), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&told[&nobody]), ErrorCode::BrokerNotAvailable);

    if crate::is_before([2, 5, 0]) {
        // It can't append to what the topic has by default.
        let set = (topic.clone(), vec![ConfigChange::set("cleanup.policy", "delete")]);
        admin.alter_config_resources([set]).await.expect("answered")[&topic].as_ref().expect("set");
    }
    let append = || (topic.clone(), vec![ConfigChange::append("cleanup.policy", "compact")]);
    admin.dry_run().alter_config_resources([append()]).await.expect("answered")[&topic].as_ref().expect("checked");
    let threads = || vec![ConfigChange::set("log.cleaner.threads", "1")];
    let changes = [append(), (broker.clone(), threads()), (ConfigResource::ClusterDefault, threads())];
    for (resource, told) in admin.alter_config_resources(changes).await.expect("answered") {
        told.unwrap_or_else(|error| panic!("{resource}: {error}"));
    }
    let value = async |resource: &ConfigResource, name: &str| {
        let query = ConfigQuery::new([resource.clone()]).names([name]);
        let mut told = admin.describe_config_resources(query).await.expect("answered");
        let found = told.remove(resource)?.ok()?.into_iter().next()?;
        Some((found.value?, found.source))
    };
    eventually("the list has grown", async || {
        value(&topic, "cleanup.policy").await.filter(|(value, _)| value == "delete,compact")
    })
    .await;
    eventually("the broker has it", async || {
        value(&broker, "log.cleaner.threads").await.filter(|(_, source)| *source == ConfigSource::DynamicBroker)
    })
    .await;
    let changes = [
        (topic.clone(), vec![ConfigChange::subtract("cleanup.policy", "delete")]),
        (broker.clone(), vec![ConfigChange::delete("log.cleaner.threads")]),
        (ConfigResource::ClusterDefault, vec![ConfigChange::delete("log.cleaner.threads")]),
    ];
    admin
        .alter_config_resources(changes)
        .await
        .expect("answered")
        .into_values()
        .for_each(|told| told.expect("changed"));
    eventually("the list has shrunk", async || {
        value(&topic, "cleanup.policy").await.filter(|(value, _)| value == "compact")
    })
    .await;

    let loggers = ConfigResource::BrokerLogger(node);
    let told = admin.describe_config_resources(ConfigQuery::new([loggers.clone()])).await.expect("answered");
    let levels = told[&loggers].as_ref().expect("they are there");
    assert!(levels.iter().all(|level| level.source == ConfigSource::BrokerLogger), "{levels:?}");
    let level = || (loggers.clone(), vec![ConfigChange::set("kafka.server.KafkaApis", "INFO")]);
    let told = admin.alter_config_resources([level()]).await.expect("answered");
    if let Err(error) = &told[&loggers] {
        assert!(matches!(error.kind(), ErrorKind::Broker(_)), "{error}"); // a logger that there is not
    }

    let (group, metrics) = (ConfigResource::Group(fresh("g")), ConfigResource::ClientMetrics(fresh("m")));
    let of_group = (group.clone(), vec![ConfigChange::set("consumer.session.timeout.ms", "50000")]);
    let of_metrics = (metrics.clone(), vec![ConfigChange::set("interval.ms", "1000")]);
    if crate::is_before([4, 0, 0]) {
        // Of a kind that it does not know yet, a broker refuses the whole request.
        assert!(admin.alter_config_resources([of_group]).await.is_ok_and(|told| told[&group].is_err()));
    } else {
        let told = admin.alter_config_resources([of_group, of_metrics]).await.expect("answered");
        told.into_values().for_each(|told| told.expect("set"));
        eventually("the group has it", async || {
            value(&group, "consumer.session.timeout.ms").await.filter(|(_, source)| *source == ConfigSource::Group)
        })
        .await;
    }
    if since([4, 1, 0], admin.list_config_resources().await).is_some() {
        eventually("all of them are listed", async || {
            let listed = admin.list_config_resources().await.expect("answered");
            [&group, &metrics, &topic].iter().all(|one| listed.contains(one)).then_some(())
        })
        .await;
    }
    client.close().await;
}
