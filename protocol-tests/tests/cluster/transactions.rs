//! Transactions over the public API against the test broker, on virtual time, in both versions of the protocol: what a
//! read_committed reader sees, what the application is told, what is asked of the brokers.
#![allow(clippy::disallowed_methods, reason = "tests spawn and read tokio's paused clock")]

use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset};
use milena::error::{Certainty, Error, ErrorCode, ErrorKind};
use milena::ids::{ConsumerGroupMetadata, NodeId, OffsetAndMetadata, TopicPartition};
use milena::producer::{Delivery, ProducerConfig, ProducerRecord, Transaction, TransactionalProducer};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const ID: &str = "tx";
pub(crate) const VERSIONS: [i16; 2] = [1, 2];

pub(crate) async fn cluster(version: i16) -> (TestCluster, Client) {
    let builder = TestCluster::builder().brokers(3).topic("clicks", 4).topic("orders", 1);
    let cluster = builder.transaction_version(version).in_memory().start().await.unwrap();
    let client = client(&cluster);
    (cluster, client)
}

pub(crate) fn client(cluster: &TestCluster) -> Client {
    Client::new(ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(7)).unwrap()
}

pub(crate) fn config() -> ProducerConfig {
    ProducerConfig::default().max_block(30 * SECOND)
}

pub(crate) async fn producer(client: &Client) -> TransactionalProducer {
    client.transactional_producer(ID, config()).await.unwrap()
}

/// A record of each partition of "clicks", with values `first`, `first + 1`, …
pub(crate) async fn send(transaction: &Transaction<'_>, first: u32) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for partition in 0..4 {
        let value = (first + partition as u32).to_string();
        let record = ProducerRecord::new("clicks").value(&value).partition(partition);
        deliveries.push(transaction.send(record).await.unwrap());
    }
    deliveries
}

/// A transaction whose first records are written.
pub(crate) async fn written(producer: &mut TransactionalProducer, first: u32) -> Transaction<'_> {
    let transaction = producer.begin().await.unwrap();
    send(&transaction, first).await.into_iter().for_each(drop);
    assert_eq!(transaction.flush(SECOND).await.unwrap(), 0);
    transaction
}

/// A whole transaction.
pub(crate) async fn commit(producer: &mut TransactionalProducer, first: u32) {
    let transaction = producer.begin().await.unwrap();
    send(&transaction, first).await.into_iter().for_each(drop);
    transaction.commit().await.unwrap();
}

/// What a read_committed consumer finds in "clicks", sorted, once nothing is open.
pub(crate) async fn committed(cluster: &TestCluster) -> Vec<u32> {
    let config = ConsumerConfig::default()
        .auto_offset_reset(OffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted);
    let client = client(cluster);
    let mut consumer = client.consumer(config).unwrap();
    let partitions: Vec<_> = (0..4).map(|partition| TopicPartition::new("clicks", partition)).collect();
    consumer.assign(partitions.clone()).await.unwrap();
    let mut values = Vec::new();
    let at_end = |consumer: &Consumer| {
        let end = |partition: &TopicPartition| cluster.offsets("clicks", partition.partition).unwrap().1;
        partitions.iter().all(|partition| consumer.position(partition) == Some(end(partition)))
    };
    let reading = async {
        while !at_end(&consumer) {
            let records = consumer.poll(SECOND).await.unwrap();
            let value = |value: Option<&[u8]>| str::from_utf8(value.unwrap()).unwrap().parse::<u32>().unwrap();
            values.extend((&records).into_iter().map(|record| value(record.value())));
        }
    };
    timeout(300 * SECOND, reading).await.expect("a transaction was left open: the reader stands before it");
    values.sort_unstable();
    values
}

async fn leaves_nothing(client: Client, producer: TransactionalProducer) {
    assert_eq!(producer.free_memory(), 32 << 20);
    producer.close(5 * SECOND).await.unwrap();
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}

fn asked(cluster: &TestCluster, api: ApiKey) -> u64 {
    cluster.requests(api).count
}

#[tokio::test(start_paused = true)]
async fn a_commit_makes_everything_visible_and_an_abort_nothing() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        let deliveries = send(&transaction, 10).await;
        transaction.commit().await.unwrap();
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        let transaction = producer.begin().await.unwrap();
        let deliveries = send(&transaction, 20).await;
        assert_eq!(transaction.flush(SECOND).await.unwrap(), 0);
        transaction.abort().await.unwrap();
        for delivery in deliveries {
            delivery.await.unwrap(); // written, but never visible
        }
        commit(&mut producer, 30).await;
        assert_eq!(committed(&cluster).await, [10, 11, 12, 13, 30, 31, 32, 33], "version {version}");
        leaves_nothing(client, producer).await;
    }
}

/// Version 1 adds what has to be added in as few requests as can be; version 2 adds nothing.
#[tokio::test(start_paused = true)]
async fn partitions_are_added_together_in_version_1_and_by_produce_in_version_2() {
    for (version, adds) in [(1, 1), (2, 0)] {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        send(&transaction, 0).await.into_iter().for_each(drop);
        send(&transaction, 4).await.into_iter().for_each(drop);
        transaction.commit().await.unwrap();
        assert_eq!(asked(&cluster, ApiKey::AddPartitionsToTxn), adds, "version {version}");
        assert_eq!(asked(&cluster, ApiKey::EndTxn), 1);
        assert_eq!(asked(&cluster, ApiKey::InitProducerId), 1);
        leaves_nothing(client, producer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_asks_nothing_of_the_coordinator() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        producer.begin().await.unwrap().commit().await.unwrap();
        producer.begin().await.unwrap().abort().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        transaction.send_offsets(HashMap::new(), ConsumerGroupMetadata::standalone("g")).await.unwrap();
        drop(transaction);
        assert_eq!(asked(&cluster, ApiKey::EndTxn) + asked(&cluster, ApiKey::AddOffsetsToTxn), 0);
        commit(&mut producer, 0).await;
        assert_eq!(committed(&cluster).await, [0, 1, 2, 3]);
        leaves_nothing(client, producer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_transaction_is_aborted_and_the_next_one_waits_for_that() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        let delivered = send(&transaction, 10).await;
        assert_eq!(transaction.flush(SECOND).await.unwrap(), 0);
        let unsent = send(&transaction, 20).await;
        cluster.fault(ApiKey::EndTxn).once().delay(3 * SECOND);
        drop(transaction);
        let start = Instant::now();
        let transaction = producer.begin().await.unwrap();
        assert!(start.elapsed() >= 3 * SECOND, "{:?}", start.elapsed());
        send(&transaction, 30).await.into_iter().for_each(drop);
        transaction.commit().await.unwrap();
        for delivery in delivered {
            delivery.await.unwrap();
        }
        for delivery in unsent {
            let error = delivery.await.unwrap_err();
            assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Aborted, Some(Certainty::NotSent)));
            assert!(error.is_abortable());
        }
        assert_eq!(committed(&cluster).await, [30, 31, 32, 33]);
        leaves_nothing(client, producer).await;
    }
}

/// The zombie: it sleeps while another takes over its id. What it has open is aborted, and it can't write any more.
#[tokio::test(start_paused = true)]
async fn who_takes_the_id_over_fences_the_zombie_and_aborts_what_it_left_open() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut zombie = producer(&client).await;
        let transaction = zombie.begin().await.unwrap();
        send(&transaction, 10).await.into_iter().for_each(drop);
        assert_eq!(transaction.flush(SECOND).await.unwrap(), 0);
        let other = self::client(&cluster);
        let mut heir = producer(&other).await;
        let heirs = heir.begin().await.unwrap();
        send(&heirs, 20).await.into_iter().for_each(drop);
        heirs.commit().await.unwrap();
        // More than was open: Produce is refused first.
        send(&transaction, 30).await.into_iter().for_each(drop);
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_fenced() && error.is_fatal() && !error.is_abortable(), "version {version}: {error}");
        assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent));
        let error = zombie.begin().await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
        let heirs = heir.begin().await.unwrap();
        send(&heirs, 40).await.into_iter().for_each(drop);
        heirs.commit().await.unwrap();
        assert_eq!(committed(&cluster).await, [20, 21, 22, 23, 40, 41, 42, 43]);
        drop(zombie);
        leaves_nothing(other, heir).await;
        client.close().await;
        assert_eq!(client.live_tasks(), 0);
    }
}

/// INVALID_PRODUCER_EPOCH of a leader is the transaction's end, PRODUCER_FENCED of the coordinator the producer's.
#[tokio::test(start_paused = true)]
async fn an_invalid_epoch_ends_the_transaction_and_being_fenced_the_producer() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        cluster.fault(ApiKey::Produce).once().error(ErrorCode::InvalidProducerEpoch);
        let deliveries = send(&transaction, 10).await;
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_abortable() && !error.is_fenced() && !error.is_fatal(), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::InvalidProducerEpoch));
        deliveries.into_iter().for_each(drop);
        let transaction = producer.begin().await.unwrap();
        send(&transaction, 20).await.into_iter().for_each(drop);
        cluster.fault(ApiKey::EndTxn).once().error(ErrorCode::ProducerFenced);
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_fenced() && error.is_fatal(), "{error}");
        let error = producer.begin().await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
        drop(producer);
        client.close().await;
    }
}

/// KAFKA-17754, and Jepsen on Bufstream 0.1.0: an EndTxn that was given up and arrives late ends a *later* transaction. In
/// version 1 another epoch is taken before there is one; the outcome is known all the same.
#[tokio::test(start_paused = true)]
async fn an_end_without_an_answer_is_asked_again_and_a_new_epoch_taken_in_version_1() {
    let (cluster, client) = cluster(1).await;
    let mut producer = producer(&client).await;
    for (first, applied) in [(10, true), (20, false)] {
        cluster.reset_requests();
        let transaction = written(&mut producer, first).await;
        let fault = cluster.fault(ApiKey::EndTxn).once();
        if applied {
            fault.apply_then_disconnect();
        } else {
            fault.disconnect();
        }
        transaction.commit().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        send(&transaction, first + 5).await.into_iter().for_each(drop);
        transaction.abort().await.unwrap();
        assert_eq!(asked(&cluster, ApiKey::InitProducerId), 1, "another epoch");
    }
    assert_eq!(committed(&cluster).await, [10, 11, 12, 13, 20, 21, 22, 23]);
    leaves_nothing(client, producer).await;
}

/// The same, and the first EndTxn does arrive late: while the next transaction is open, which is to end otherwise.
#[tokio::test(start_paused = true)]
async fn an_end_that_arrives_late_does_not_end_the_next_transaction() {
    for version in VERSIONS {
        for commit in [true, false] {
            let (cluster, other) = cluster(version).await;
            other.close().await;
            let config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(7);
            let client = Client::new(config.request_timeout(SECOND)).unwrap();
            let mut producer = producer(&client).await;
            let end = async |transaction: Transaction<'_>, commit| match commit {
                true => transaction.commit().await.unwrap(),
                false => transaction.abort().await.unwrap(),
            };
            let transaction = written(&mut producer, 10).await;
            cluster.fault(ApiKey::EndTxn).once().delay(5 * SECOND); // which is longer than anyone waits for an answer
            end(transaction, commit).await;
            let transaction = written(&mut producer, 20).await;
            let before = asked(&cluster, ApiKey::EndTxn);
            sleep(10 * SECOND).await;
            assert_eq!(asked(&cluster, ApiKey::EndTxn), before + 1, "it has arrived");
            send(&transaction, 24).await.into_iter().for_each(drop);
            end(transaction, !commit).await;
            let seen: Vec<u32> = if commit { (10..14).collect() } else { (20..28).collect() };
            assert_eq!(committed(&cluster).await, seen, "version {version}, the first to be committed: {commit}");
            leaves_nothing(client, producer).await;
        }
    }
}

/// As with a lost EndTxn: what was asked and not answered may have opened the transaction, and is to be ended there.
#[tokio::test(start_paused = true)]
async fn an_addition_without_an_answer_is_aborted_if_it_has_arrived_and_fences_nobody() {
    for (applied, api) in [
        (true, ApiKey::AddPartitionsToTxn),
        (false, ApiKey::AddPartitionsToTxn),
        (true, ApiKey::AddOffsetsToTxn),
        (false, ApiKey::AddOffsetsToTxn),
    ] {
        let (cluster, client) = cluster(1).await;
        let mut producer = producer(&client).await;
        // Nothing else is added, as the transaction is given up before the question is asked again.
        let transaction = producer.begin().await.unwrap();
        let fault = cluster.fault(api).once();
        if applied {
            fault.apply_then_disconnect();
        } else {
            fault.disconnect();
        }
        if api == ApiKey::AddPartitionsToTxn {
            send(&transaction, 10).await.into_iter().for_each(drop);
        } else {
            let sent = transaction.send_offsets(offsets(5), ConsumerGroupMetadata::standalone("g"));
            timeout(Duration::from_millis(1), sent).await.unwrap_err();
        }
        cluster.wait_until("it was asked", |cluster| asked(cluster, api) == 1).await;
        transaction.abort().await.unwrap();
        commit(&mut producer, 20).await;
        assert_eq!(committed(&cluster).await, [20, 21, 22, 23], "{api:?} applied: {applied}");
        assert_eq!(cluster.committed("g", &TopicPartition::new("clicks", 0)), None);
        leaves_nothing(client, producer).await;
    }
}

/// In version 2 each transaction has an epoch of its own: a late first EndTxn is fenced, and a second one is known.
#[tokio::test(start_paused = true)]
async fn an_end_without_an_answer_is_sent_again_in_version_2_and_the_outcome_is_known() {
    let (cluster, client) = cluster(2).await;
    let mut producer = producer(&client).await;
    for (first, applied) in [(10, true), (20, false)] {
        let transaction = producer.begin().await.unwrap();
        send(&transaction, first).await.into_iter().for_each(drop);
        let fault = cluster.fault(ApiKey::EndTxn).once();
        if applied {
            fault.apply_then_disconnect();
        } else {
            fault.disconnect();
        }
        transaction.commit().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        send(&transaction, first + 5).await.into_iter().for_each(drop);
        transaction.abort().await.unwrap();
    }
    assert_eq!(asked(&cluster, ApiKey::InitProducerId), 1);
    assert_eq!(committed(&cluster).await, [10, 11, 12, 13, 20, 21, 22, 23]);
    leaves_nothing(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_record_aborts_the_transaction_at_its_commit_and_the_producer_goes_on() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = written(&mut producer, 10).await;
        cluster.fault(ApiKey::Produce).once().error(ErrorCode::InvalidRecord);
        let deliveries = send(&transaction, 20).await;
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::InvalidRecord));
        assert!(error.is_abortable() && !error.is_fatal());
        assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent), "of the commit");
        let mut failed = 0;
        for delivery in deliveries {
            failed += u32::from(delivery.await.is_err());
        }
        assert!(failed >= 1);
        commit(&mut producer, 30).await;
        assert_eq!(committed(&cluster).await, [30, 31, 32, 33], "version {version}");
        leaves_nothing(client, producer).await;
    }
}

/// franz-go 1.21.4: a transaction in which every produce failed must abort, not hang until its timeout.
#[tokio::test(start_paused = true)]
async fn a_transaction_in_which_every_record_failed_ends_at_once() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        cluster.fault(ApiKey::Produce).error(ErrorCode::InvalidRecord);
        send(&transaction, 10).await.into_iter().for_each(drop);
        let start = Instant::now();
        assert!(transaction.commit().await.unwrap_err().is_abortable());
        assert!(start.elapsed() < SECOND);
        cluster.clear_faults();
        commit(&mut producer, 20).await;
        assert_eq!(committed(&cluster).await, [20, 21, 22, 23]);
        leaves_nothing(client, producer).await;
    }
}

/// librdkafka 1.8.2 (3575): an out-of-order sequence in mid transaction led to a new producer id, and what the transaction
/// had written before was silently dropped. It must end the transaction, and be said.
#[tokio::test(start_paused = true)]
async fn a_gap_in_mid_transaction_aborts_it_and_nothing_is_dropped_silently() {
    for (version, inits) in [(1, 2), (2, 1)] {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = written(&mut producer, 10).await;
        cluster.fault(ApiKey::Produce).once().error(ErrorCode::OutOfOrderSequenceNumber);
        send(&transaction, 20).await.into_iter().for_each(drop);
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OutOfOrderSequenceNumber));
        assert!(error.is_abortable());
        commit(&mut producer, 30).await;
        assert_eq!(asked(&cluster, ApiKey::InitProducerId), inits, "a new epoch, after the abort (KIP-360)");
        assert_eq!(committed(&cluster).await, [30, 31, 32, 33]);
        leaves_nothing(client, producer).await;
    }
}

pub(crate) fn offsets(offset: i64) -> HashMap<TopicPartition, OffsetAndMetadata> {
    let partitions = (0..2).map(|partition| TopicPartition::new("clicks", partition));
    partitions.map(|partition| (partition, OffsetAndMetadata::new(offset))).collect()
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    for (version, adds) in [(1, 3), (2, 0)] {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let at = |partition| cluster.committed("g", &TopicPartition::new("clicks", partition)).map(|at| at.offset);
        for (offset, commit, seen) in [(5, true, Some(5)), (9, false, Some(5)), (12, true, Some(12))] {
            let transaction = producer.begin().await.unwrap();
            send(&transaction, offset as u32).await.into_iter().for_each(drop);
            transaction.send_offsets(offsets(offset), ConsumerGroupMetadata::standalone("g")).await.unwrap();
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
            assert_eq!([at(0), at(1)], [seen, seen], "version {version}");
        }
        assert_eq!(asked(&cluster, ApiKey::AddOffsetsToTxn), adds);
        leaves_nothing(client, producer).await;
    }
}

/// Nothing but offsets is a transaction, too.
#[tokio::test(start_paused = true)]
async fn offsets_alone_are_committed() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        transaction.send_offsets(offsets(7), ConsumerGroupMetadata::standalone("g")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(cluster.committed("g", &TopicPartition::new("clicks", 1)).map(|at| at.offset), Some(7));
        let error =
            producer.begin().await.unwrap().send_offsets(offsets(8), ConsumerGroupMetadata::standalone("")).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
        leaves_nothing(client, producer).await;
    }
}

/// KIP-447: a member that was replaced can't commit what it consumed; its transaction is aborted, its producer goes on.
#[tokio::test(start_paused = true)]
async fn offsets_of_a_member_that_lost_its_partitions_abort_the_transaction() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let group = || {
            ConsumerConfig::group("g")
                .auto_offset_reset(OffsetReset::Earliest)
                .session_timeout(10 * SECOND)
                .heartbeat_interval(SECOND)
                .enable_auto_commit(false)
        };
        let mut old = self::client(&cluster).consumer(group()).unwrap();
        old.subscribe(["clicks"]).await.unwrap();
        while old.assignment().is_empty() {
            old.poll(SECOND).await.unwrap();
        }
        let metadata = old.group_metadata();
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        transaction.send_offsets(offsets(3), metadata.clone()).await.unwrap();
        transaction.commit().await.unwrap();
        old.close(5 * SECOND).await.unwrap();
        let transaction = producer.begin().await.unwrap();
        send(&transaction, 10).await.into_iter().for_each(drop);
        let error = transaction.send_offsets(offsets(9), metadata).await.unwrap_err();
        assert!(error.is_abortable() && !error.is_fatal(), "{error}");
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_abortable(), "{error}");
        assert_eq!(cluster.committed("g", &TopicPartition::new("clicks", 0)).map(|at| at.offset), Some(3));
        commit(&mut producer, 20).await;
        assert_eq!(committed(&cluster).await, [20, 21, 22, 23]);
        leaves_nothing(client, producer).await;
    }
}

/// The coordinator aborts what takes longer than its timeout, and raises the epoch.
#[tokio::test(start_paused = true)]
async fn a_transaction_past_its_timeout_is_aborted_by_the_coordinator_and_can_not_be_committed() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let config = config().transaction_timeout(10 * SECOND);
        let mut producer = client.transactional_producer(ID, config.clone()).await.unwrap();
        let transaction = written(&mut producer, 10).await;
        sleep(15 * SECOND).await;
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_fatal() && error.is_fenced(), "{error}");
        drop(producer);
        let mut producer = client.transactional_producer(ID, config).await.unwrap();
        commit(&mut producer, 20).await;
        assert_eq!(committed(&cluster).await, [20, 21, 22, 23]);
        leaves_nothing(client, producer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_or_dies_is_followed() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        for (first, node) in [(10, 1), (20, 2), (30, 3)] {
            let transaction = written(&mut producer, first).await;
            cluster.move_transaction_coordinator(ID, NodeId(node));
            transaction.commit().await.unwrap();
        }
        cluster.kill(NodeId(3));
        cluster.move_transaction_coordinator(ID, NodeId(1));
        commit(&mut producer, 40).await;
        assert_eq!(committed(&cluster).await.len(), 16);
        leaves_nothing(client, producer).await;
    }
}

/// What a coordinator says while it loads, moves, or finishes the transaction before: all of it passes.
#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let apis = [
        ApiKey::InitProducerId,
        ApiKey::AddPartitionsToTxn,
        ApiKey::Produce,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
        ApiKey::FindCoordinator,
    ];
    for version in VERSIONS {
        for api in apis {
            let codes: &[ErrorCode] = match api {
                ApiKey::Produce => &[ErrorCode::NotEnoughReplicas, ErrorCode::ConcurrentTransactions],
                ApiKey::FindCoordinator => &[ErrorCode::CoordinatorNotAvailable],
                ApiKey::TxnOffsetCommit => &[
                    ErrorCode::CoordinatorLoadInProgress,
                    ErrorCode::NotCoordinator,
                    ErrorCode::UnknownTopicOrPartition,
                ],
                _ => &[
                    ErrorCode::ConcurrentTransactions,
                    ErrorCode::CoordinatorLoadInProgress,
                    ErrorCode::NotCoordinator,
                    ErrorCode::CoordinatorNotAvailable,
                ],
            };
            let (cluster, client) = cluster(version).await;
            for code in codes {
                cluster.fault(api).times(2).error(*code);
            }
            let mut producer = producer(&client).await;
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 10).await.into_iter().for_each(drop);
            transaction.send_offsets(offsets(5), ConsumerGroupMetadata::standalone("g")).await.unwrap();
            transaction.commit().await.unwrap_or_else(|error| panic!("{api:?} in version {version}: {error}"));
            assert_eq!(committed(&cluster).await, [10, 11, 12, 13]);
            leaves_nothing(client, producer).await;
        }
    }
}

/// What can be read off the errors: `(what was refused, with what, abortable?, fatal?)`.
#[tokio::test(start_paused = true)]
async fn errors_say_whether_the_transaction_or_the_producer_is_lost() {
    use ErrorCode::*;
    let table = [
        (ApiKey::AddPartitionsToTxn, TopicAuthorizationFailed, true, false),
        (ApiKey::AddPartitionsToTxn, TransactionalIdAuthorizationFailed, false, true),
        (ApiKey::AddPartitionsToTxn, InvalidTxnState, false, true),
        (ApiKey::AddPartitionsToTxn, TransactionAbortable, true, false),
        (ApiKey::AddOffsetsToTxn, GroupAuthorizationFailed, true, false),
        (ApiKey::AddOffsetsToTxn, ProducerFenced, false, true),
        (ApiKey::TxnOffsetCommit, FencedInstanceId, true, false),
        (ApiKey::TxnOffsetCommit, IllegalGeneration, true, false),
        (ApiKey::TxnOffsetCommit, TransactionalIdAuthorizationFailed, false, true),
        (ApiKey::TxnOffsetCommit, InvalidProducerEpoch, false, true),
        (ApiKey::Produce, TransactionAbortable, true, false),
        (ApiKey::Produce, InvalidTxnState, true, false),
        (ApiKey::Produce, ProducerFenced, false, true),
        (ApiKey::Produce, TopicAuthorizationFailed, true, false),
        (ApiKey::Produce, ClusterAuthorizationFailed, false, true),
        (ApiKey::EndTxn, TransactionAbortable, true, false),
        (ApiKey::EndTxn, InvalidTxnState, false, true),
        (ApiKey::EndTxn, UnknownServerError, false, true),
    ];
    for (api, code, abortable, fatal) in table {
        let (cluster, client) = cluster(1).await;
        let mut producer = producer(&client).await;
        let transaction = producer.begin().await.unwrap();
        cluster.fault(api).once().error(code);
        send(&transaction, 10).await.into_iter().for_each(drop);
        let _ = transaction.send_offsets(offsets(5), ConsumerGroupMetadata::standalone("g")).await;
        let error: Error = transaction.commit().await.unwrap_err();
        assert_eq!((error.is_abortable(), error.is_fatal()), (abortable, fatal), "{code} to {api:?}: {error}");
        let unknown = (api, code) == (ApiKey::EndTxn, UnknownServerError); // which is not success
        let certainty = if unknown { Certainty::PossiblySent } else { Certainty::NotSent };
        assert_eq!(error.delivery_certainty(), Some(certainty), "{code} to {api:?}: {error}");
        match producer.begin().await {
            Ok(transaction) => {
                assert!(abortable, "{code} to {api:?}");
                send(&transaction, 20).await.into_iter().for_each(drop);
                transaction.commit().await.unwrap();
                assert_eq!(committed(&cluster).await, [20, 21, 22, 23], "{code} to {api:?}");
            }
            Err(error) => assert!(fatal && error.is_fatal(), "{code} to {api:?}: {error}"),
        }
        drop(producer);
        client.close().await;
        assert_eq!(client.live_tasks(), 0, "{code} to {api:?}");
    }
}

/// KIP-890: a producer does not change versions in mid transaction, and takes a new epoch when it does.
#[tokio::test(start_paused = true)]
async fn an_upgrade_of_the_cluster_is_followed_between_transactions() {
    let (cluster, client) = cluster(1).await;
    let mut producer = producer(&client).await;
    let transaction = written(&mut producer, 10).await;
    cluster.set_transaction_version(2);
    // Connections made from here on see it; the transaction goes on in its version.
    for node in 1..=3 {
        cluster.kill(NodeId(node));
        cluster.restart(NodeId(node)).await.unwrap();
    }
    send(&transaction, 14).await.into_iter().for_each(drop);
    transaction.commit().await.unwrap();
    let before = asked(&cluster, ApiKey::AddPartitionsToTxn);
    commit(&mut producer, 20).await;
    assert_eq!(asked(&cluster, ApiKey::AddPartitionsToTxn), before, "version 2 adds nothing");
    assert_eq!(asked(&cluster, ApiKey::InitProducerId), 2);
    assert_eq!(committed(&cluster).await.len(), 12);
    leaves_nothing(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn many_transactional_producers_share_a_client() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut tasks = Vec::new();
        for i in 0..12 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                let mut producer = client.transactional_producer(format!("tx-{i}"), config()).await.unwrap();
                for round in 0..5 {
                    let transaction = producer.begin().await.unwrap();
                    send(&transaction, 1000 * i + 10 * round).await.into_iter().for_each(drop);
                    if round % 2 == 0 {
                        transaction.commit().await.unwrap();
                    } else {
                        transaction.abort().await.unwrap();
                    }
                }
                producer.close(SECOND).await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(committed(&cluster).await.len(), 12 * 3 * 4);
        client.close().await;
        assert_eq!(client.live_tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_dropped_in_mid_transaction_aborts_it_within_its_farewell() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = written(&mut producer, 10).await;
        drop(transaction);
        drop(producer);
        sleep(SECOND).await;
        assert_eq!(asked(&cluster, ApiKey::EndTxn), 1);
        assert_eq!(committed(&cluster).await, [] as [u32; 0]);
        client.close().await;
        assert_eq!(client.live_tasks(), 0);
    }
}

/// Who drops a commit and then the producer has no answer, but all of the transaction or nothing: what was not sent yet goes
/// down with the producer, and the transaction with that.
#[tokio::test(start_paused = true)]
async fn a_commit_that_loses_records_with_its_producer_is_an_abort() {
    for version in VERSIONS {
        for closes in [false, true] {
            let (cluster, client) = cluster(version).await;
            let mut producer = producer(&client).await;
            let transaction = written(&mut producer, 10).await;
            // The last record waits for a leader that does not know it yet.
            cluster.fault(ApiKey::Produce).error(ErrorCode::NotEnoughReplicas);
            let late = ProducerRecord::new("clicks").value("20").partition(0);
            let late = transaction.send(late).await.unwrap();
            timeout(Duration::from_millis(50), transaction.commit()).await.unwrap_err();
            if closes {
                assert!(producer.close(Duration::from_millis(20)).await.unwrap_err().is_timeout());
            } else {
                drop(producer);
            }
            late.await.unwrap_err();
            sleep(2 * SECOND).await;
            assert_eq!(committed(&cluster).await, [] as [u32; 0], "version {version}, closes: {closes}");
            client.close().await;
            assert_eq!(client.live_tasks(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_silent_makes_each_wait_end_in_time() {
    for version in VERSIONS {
        let (cluster, client) = cluster(version).await;
        let mut producer = producer(&client).await;
        let transaction = written(&mut producer, 10).await;
        cluster.fault(ApiKey::EndTxn).silence();
        let start = Instant::now();
        let error = transaction.commit().await.unwrap_err();
        assert_eq!((error.is_timeout(), error.delivery_certainty()), (true, Some(Certainty::PossiblySent)), "{error}");
        assert!(start.elapsed() <= 31 * SECOND);
        cluster.clear_faults();
        commit(&mut producer, 20).await;
        let all = committed(&cluster).await;
        assert!(all.ends_with(&[20, 21, 22, 23]) && matches!(all.len(), 4 | 8), "all of the first or nothing: {all:?}");
        leaves_nothing(client, producer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_rule_transactions_out_are_refused() {
    let (_cluster, client) = cluster(2).await;
    let refused =
        [config().idempotence(false), config().acks(milena::producer::Acks::Leader), config().max_in_flight(6)];
    for config in refused {
        let error = client.transactional_producer(ID, config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert_eq!(client.transactional_producer("", config()).await.unwrap_err().kind(), ErrorKind::Config);
    let mut with_id = config();
    assert!(with_id.set("transactional.id", "tx").unwrap());
    assert_eq!(client.producer(with_id).unwrap_err().kind(), ErrorKind::Config);
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}
