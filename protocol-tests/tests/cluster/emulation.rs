//! Whole clients against brokers of other versions and other makers, as far as the test broker passes for them: each does
//! its round, in the versions that both have, and what a broker has not got is told at once.
#![allow(clippy::disallowed_methods, reason = "tests read tokio's paused clock")]

use milena::admin::NewTopic;
use milena::broker::{ApiKey, Emulation, TestCluster};
use milena::client::Client;
use milena::consumer::{ConsumerConfig, GroupProtocol, IsolationLevel, OffsetReset};
use milena::error::{Certainty, Error, ErrorKind};
use milena::ids::{ConsumerGroupMetadata, NodeId, OffsetAndMetadata, TopicPartition};
use milena::producer::{Acks, Producer, ProducerConfig, ProducerRecord};
use milena::testing::next_records;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const TRANSACTIONAL: [Emulation; 5] =
    [Emulation::Kafka24, Emulation::Kafka28, Emulation::Kafka39, Emulation::Kafka43, Emulation::Redpanda];

async fn cluster(emulation: Emulation) -> (TestCluster, Client) {
    let cluster = TestCluster::builder().brokers(3).emulate(emulation).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    (cluster, client)
}

fn earliest(config: ConsumerConfig) -> ConsumerConfig {
    config.auto_offset_reset(OffsetReset::Earliest)
}

async fn send(producer: &Producer, values: std::ops::Range<u32>) {
    for value in values {
        let value = value.to_string();
        let sent = producer.send(ProducerRecord::new("clicks").value(&value)).await;
        sent.unwrap().await.unwrap();
    }
}

fn asked_in(cluster: &TestCluster, apis: &[ApiKey]) -> BTreeMap<ApiKey, Vec<i16>> {
    apis.iter().map(|api| (*api, cluster.versions_seen(*api))).collect()
}

/// The highest that the client (whose caps these are) and the broker have.
fn highest(emulation: Emulation, api: ApiKey) -> Vec<i16> {
    let cap = match api {
        ApiKey::Produce => 12,
        ApiKey::Fetch => 17,
        _ => i16::MAX,
    };
    emulation.versions(api).map(|(_, max)| max.min(cap)).into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn records_go_in_and_come_out_in_the_versions_that_both_have() {
    let apis = [
        ApiKey::ApiVersions,
        ApiKey::Metadata,
        ApiKey::InitProducerId,
        ApiKey::Produce,
        ApiKey::ListOffsets,
        ApiKey::Fetch,
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::OffsetFetch,
        ApiKey::OffsetCommit,
        ApiKey::LeaveGroup,
    ];
    for emulation in Emulation::ALL.iter().copied() {
        let (cluster, client) = cluster(emulation).await;
        let producer = client.producer(ProducerConfig::default()).unwrap();
        send(&producer, 0..10).await; // and so creates the topic
        let plain = client.producer(ProducerConfig::default().idempotence(false).acks(Acks::Leader)).unwrap();
        send(&plain, 10..20).await;
        let mut consumer = client.consumer(earliest(ConsumerConfig::group("g"))).unwrap();
        consumer.subscribe(["clicks"]).await.unwrap();
        let read = next_records(&mut consumer, 20).await.unwrap();
        let values: Vec<_> = read.iter().map(|record| record.value.clone().unwrap()).collect();
        let expected: Vec<_> = (0..20).map(|value: u32| value.to_string()).collect();
        assert_eq!(values, expected, "{emulation}");
        tokio::time::sleep(4 * SECOND).await; // a heartbeat
        consumer.commit().await.unwrap();
        assert_eq!(cluster.committed("g", &("clicks", 0).into()).unwrap().offset, 20, "{emulation}");
        consumer.close(10 * SECOND).await.unwrap();
        let expected = apis.iter().map(|api| (*api, highest(emulation, *api))).collect();
        assert_eq!(asked_in(&cluster, &apis), expected, "{emulation}");
        client.close().await;
    }
}

/// What the test above computes, once by hand: if a table is wrong, it is not wrong in both.
#[tokio::test(start_paused = true)]
async fn versions_are_those_that_are_known_of_these_brokers() {
    for (name, metadata, produce, fetch, join) in [
        ("2.4", 9, 8, 11, 6),
        ("2.8", 11, 9, 12, 7),
        ("3.9", 12, 11, 17, 9),
        ("4.3", 13, 12, 17, 9),
        ("redpanda", 8, 7, 11, 6),
        ("event-hubs", 5, 7, 6, 9),
    ] {
        let (cluster, client) = cluster(name.parse().unwrap()).await;
        let producer = client.producer(ProducerConfig::default()).unwrap();
        send(&producer, 0..1).await;
        let mut consumer = client.consumer(earliest(ConsumerConfig::group("g"))).unwrap();
        consumer.subscribe(["clicks"]).await.unwrap();
        next_records(&mut consumer, 1).await.unwrap();
        let seen = [ApiKey::Metadata, ApiKey::Produce, ApiKey::Fetch, ApiKey::JoinGroup];
        let seen = seen.map(|api| cluster.versions_seen(api));
        assert_eq!(seen, [[metadata], [produce], [fetch], [join]].map(Vec::from), "{name}");
    }
}

/// A leader that moves is found again, with the hints of KIP-951 and without.
#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_or_dies_is_followed() {
    for emulation in Emulation::ALL.iter().copied() {
        let (cluster, client) = cluster(emulation).await;
        let producer = client.producer(ProducerConfig::default()).unwrap();
        send(&producer, 0..5).await;
        let mut consumer = client.consumer(earliest(ConsumerConfig::default())).unwrap();
        consumer.assign([("clicks", 0)]).await.unwrap();
        next_records(&mut consumer, 5).await.unwrap();
        let other = |cluster: &TestCluster| {
            let leader = cluster.leader("clicks", 0);
            (1..=3).map(NodeId).find(|node| Some(*node) != leader).unwrap()
        };
        cluster.move_leader("clicks", 0, other(&cluster));
        send(&producer, 5..10).await;
        next_records(&mut consumer, 5).await.unwrap();
        cluster.kill(cluster.leader("clicks", 0).unwrap());
        send(&producer, 10..15).await;
        let read = next_records(&mut consumer, 5).await.unwrap();
        assert_eq!(read.last().unwrap().offset, 14, "{emulation}");
    }
}

/// Kafka 2.4 wants a producer that it does not know any more to begin anew; the others take its next number.
#[tokio::test(start_paused = true)]
async fn a_producer_that_its_broker_has_forgotten_goes_on() {
    for emulation in Emulation::ALL.iter().copied() {
        let (cluster, client) = cluster(emulation).await;
        let producer = client.producer(ProducerConfig::default()).unwrap();
        send(&producer, 0..5).await;
        cluster.lose("clicks", 0, 0);
        let start = Instant::now();
        send(&producer, 5..10).await;
        assert!(start.elapsed() < 5 * SECOND, "{emulation}: {:?}", start.elapsed());
        let values: Vec<_> =
            cluster.records("clicks").unwrap().into_iter().map(|record| record.value.unwrap()).collect();
        assert_eq!(values, ["5", "6", "7", "8", "9"], "{emulation}");
    }
}

/// The reader of Redpanda gets the list of aborted transactions from its end.
#[tokio::test(start_paused = true)]
async fn transactions_are_of_version_1_before_kafka_4_and_whole_everywhere() {
    for emulation in TRANSACTIONAL {
        let (cluster, client) = cluster(emulation).await;
        let mut producer = client.transactional_producer("tx", ProducerConfig::default()).await.unwrap();
        let mut value = 0;
        for commits in [true, false, false, true, false, true] {
            let transaction = producer.begin().await.unwrap();
            for _ in 0..3 {
                let text = value.to_string();
                drop(transaction.send(ProducerRecord::new("clicks").value(&text)).await.unwrap());
                value += 1;
            }
            let offset = OffsetAndMetadata::new(i64::from(value));
            let offsets = [(TopicPartition::new("clicks", 0), offset)].into();
            transaction.send_offsets(offsets, ConsumerGroupMetadata::standalone("g")).await.unwrap();
            if commits { transaction.commit().await.unwrap() } else { transaction.abort().await.unwrap() }
        }
        let config = earliest(ConsumerConfig::default()).isolation_level(IsolationLevel::ReadCommitted);
        let mut consumer = client.consumer(config).unwrap();
        consumer.assign([("clicks", 0)]).await.unwrap();
        let read = next_records(&mut consumer, 9).await.unwrap();
        let values: Vec<_> = read.iter().map(|record| record.value.clone().unwrap()).collect();
        let committed = [0, 1, 2, 9, 10, 11, 15, 16, 17].map(|value: u32| value.to_string());
        assert_eq!(values, committed, "{emulation}");
        assert_eq!(cluster.committed("g", &("clicks", 0).into()).unwrap().offset, 18, "{emulation}");
        let second = emulation == Emulation::Kafka43;
        assert_eq!(cluster.versions_seen(ApiKey::AddPartitionsToTxn).is_empty(), second, "{emulation}");
        let ends = if second { [5] } else { [emulation.versions(ApiKey::EndTxn).unwrap().1.min(4)] };
        assert_eq!(cluster.versions_seen(ApiKey::EndTxn), ends, "{emulation}");
        producer.close(10 * SECOND).await.unwrap();
    }
}

/// KIP-447 is Kafka 2.5's: before, a member's name can't go with its offsets, and without it a zombie's would count.
#[tokio::test(start_paused = true)]
async fn a_members_offsets_go_with_a_transaction_where_the_broker_can_check_them() {
    for emulation in TRANSACTIONAL {
        let (cluster, client) = cluster(emulation).await;
        cluster.create_topic("clicks", 1).unwrap();
        cluster.produce("clicks", ["a"]).await.unwrap();
        let mut consumer = client.consumer(earliest(ConsumerConfig::group("g")).enable_auto_commit(false)).unwrap();
        consumer.subscribe(["clicks"]).await.unwrap();
        next_records(&mut consumer, 1).await.unwrap();
        let mut producer = client.transactional_producer("tx", ProducerConfig::default()).await.unwrap();
        let transaction = producer.begin().await.unwrap();
        let sent = transaction.send_offsets(consumer.positions(), consumer.group_metadata()).await;
        let committed = |cluster: &TestCluster| cluster.committed("g", &("clicks", 0).into()).map(|at| at.offset);
        if emulation == Emulation::Kafka24 {
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::UnsupportedVersion);
            transaction.abort().await.unwrap();
            assert_eq!(committed(&cluster), None);
            let transaction = producer.begin().await.unwrap(); // and the producer goes on
            let group = ConsumerGroupMetadata::standalone("g");
            transaction.send_offsets(consumer.positions(), group).await.unwrap();
            transaction.commit().await.unwrap();
        } else {
            sent.unwrap();
            transaction.commit().await.unwrap();
        }
        assert_eq!(committed(&cluster), Some(1), "{emulation}");
    }
}

/// That it is not there, as an error of its kind, and without a second's wait.
async fn is_missing<T: std::fmt::Debug>(what: &str, outcome: impl Future<Output = Result<T, Error>>) {
    let start = Instant::now();
    let error = outcome.await.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{what}: {error}");
    assert!(start.elapsed() < SECOND, "{what}: after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_has_not_got_is_told_at_once() {
    for emulation in Emulation::ALL.iter().copied().filter(|emulation| *emulation != Emulation::Kafka43) {
        let (cluster, client) = cluster(emulation).await;
        cluster.create_topic("clicks", 1).unwrap();
        let config = ConsumerConfig::group("g").group_protocol(GroupProtocol::Consumer);
        let mut consumer = client.consumer(config).unwrap();
        is_missing("KIP-848", async {
            consumer.subscribe(["clicks"]).await?;
            consumer.next(30 * SECOND).await
        })
        .await;
    }
}

/// No transaction will ever fare better there: an error that asks for another one would be tried again for ever.
#[tokio::test(start_paused = true)]
async fn a_broker_without_transactions_is_the_end_of_a_transactional_producer() {
    let (_cluster, client) = cluster(Emulation::EventHubs).await;
    let mut producer = client.transactional_producer("tx", ProducerConfig::default()).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    let delivery = transaction.send(ProducerRecord::new("clicks").value("x")).await.unwrap();
    let lost = delivery.await.unwrap_err();
    assert_eq!((lost.kind(), lost.delivery_certainty()), (ErrorKind::UnsupportedVersion, Some(Certainty::NotSent)));
    let error = transaction.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::UnsupportedVersion, true), "{error}");
}

/// A broker before Kafka 2.5 gives out no new epoch to who says who he is (KIP-360). Without one the next transaction could
/// be ended by the EndTxn that was not answered; with a take-over instead a newer producer would be fenced.
#[tokio::test(start_paused = true)]
async fn before_kafka_2_5_an_end_that_is_not_answered_is_the_producers_last() {
    for (emulation, goes_on) in [(Emulation::Kafka24, false), (Emulation::Kafka28, true)] {
        let (cluster, client) = cluster(emulation).await;
        let mut producer = client.transactional_producer("tx", ProducerConfig::default()).await.unwrap();
        let transaction = producer.begin().await.unwrap();
        drop(transaction.send(ProducerRecord::new("clicks").value("x")).await.unwrap());
        cluster.fault(ApiKey::EndTxn).once().apply_then_disconnect();
        transaction.commit().await.unwrap();
        match producer.begin().await {
            Ok(transaction) => {
                assert!(goes_on, "{emulation}");
                transaction.abort().await.unwrap();
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.is_fatal()),
                    (ErrorKind::UnsupportedVersion, true),
                    "{emulation}: {error}"
                );
                assert!(!goes_on, "{emulation}: {error}");
            }
        }
        let mut heir = client.transactional_producer("tx", ProducerConfig::default()).await.unwrap();
        heir.begin().await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_admin_does_its_round() {
    for emulation in Emulation::ALL.iter().copied() {
        let (cluster, client) = cluster(emulation).await;
        let admin = client.admin();
        let topic = NewTopic::new("new", 2, 2).config("retention.ms", "86400000");
        admin.create_topics([topic]).await.unwrap().remove("new").unwrap().unwrap();
        let described = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
        let has_ids = emulation.versions(ApiKey::Metadata).unwrap().1 >= 10;
        assert_eq!((described.partitions.len(), !described.id.is_zero()), (2, has_ids), "{emulation}");
        let configs = admin.describe_configs("new").await.unwrap();
        assert!(configs.iter().any(|config| config.name == "retention.ms"), "{emulation}");
        admin.create_partitions([("new", 3)]).await.unwrap().remove("new").unwrap().unwrap();
        cluster.produce("new", ["a"]).await.unwrap();
        let partitions: Vec<_> = (0..3).map(|partition| TopicPartition::new("new", partition)).collect();
        let ends = admin.end_offsets(partitions.clone()).await.unwrap();
        assert_eq!(ends.values().sum::<i64>(), 1, "{emulation}");
        admin.set_group_offsets("g", [(partitions[0].clone(), OffsetAndMetadata::new(1))]).await.unwrap();
        assert_eq!(admin.list_group_offsets("g").await.unwrap()[&partitions[0]].committed.offset, 1, "{emulation}");
        assert_eq!(admin.list_groups().await.unwrap().len(), 1, "{emulation}");
        let groups = admin.describe_groups(["g"]).await.unwrap();
        assert!(groups["g"].is_ok(), "{emulation}");
        admin.delete_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap();
        admin.delete_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
        assert!(cluster.topics().is_empty(), "{emulation}");
    }
}
