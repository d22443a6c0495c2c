//! The admin of transactions: listed, described, fenced, and the end of one that hangs.

use super::{client, code, guarded, is_denied};
use milena::admin::{HangingTransaction, TransactionFilter};
use milena::broker::{ApiKey, TestCluster};
use milena::client::Client;
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{ProducerIdAndEpoch, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord, TransactionalProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

fn builder() -> milena::broker::Builder {
    TestCluster::builder().brokers(3).topic("t", 1)
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

async fn producer(client: &Client, id: &str) -> TransactionalProducer {
    client.transactional_producer(id, ProducerConfig::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_and_described_by_their_coordinators() {
    let cluster = builder().in_memory().start().await.unwrap();
    let client = client(&cluster);
    let admin = client.admin();
    let mut ids: Vec<String> = (0..6).map(|number| format!("tx{number}")).collect();
    for id in &ids {
        producer(&client, id).await.begin().await.unwrap().commit().await.unwrap();
    }
    let mut open = producer(&client, "open").await;
    let transaction = open.begin().await.unwrap();
    transaction.send(ProducerRecord::new("t").value("x")).await.unwrap().await.unwrap();
    cluster.clock().advance(Duration::from_secs(20)).await;

    let listed = async |filter: TransactionFilter| {
        let listed = admin.list_transactions(filter).await.unwrap();
        listed.into_iter().map(|one| one.transactional_id).collect::<Vec<_>>()
    };
    assert_eq!(listed(TransactionFilter::default()).await.len(), 7);
    assert_eq!(listed(TransactionFilter::default().states(["Ongoing"])).await, ["open"]);
    assert_eq!(listed(TransactionFilter::default().pattern("tx[01]")).await, ids[..2]);
    let longer = TransactionFilter::default().states(["Ongoing"]).longer_than(Duration::from_secs(10));
    assert_eq!(listed(longer).await, ["open"]);
    let much = TransactionFilter::default().states(["Ongoing"]).longer_than(Duration::from_secs(3600));
    assert!(listed(much).await.is_empty());
    let error = admin.list_transactions(TransactionFilter::default().states(["ongoing"])).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.to_string().contains("ongoing"), "{error}");
    let error = admin.list_transactions(TransactionFilter::default().pattern("(")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidRegularExpression));

    ids.extend(["open".to_owned(), "missing".to_owned()]);
    cluster.reset_requests();
    cluster.fault(ApiKey::DescribeTransactions).once().error(ErrorCode::NotCoordinator);
    let told = admin.describe_transactions(&ids).await.unwrap();
    assert!(cluster.requests(ApiKey::DescribeTransactions).count <= 4, "one for each coordinator, and one again");
    assert_eq!(code(&told["missing"]), ErrorCode::TransactionalIdNotFound);
    let one = told["open"].as_ref().unwrap();
    assert_eq!((&*one.state, &one.partitions[..]), ("Ongoing", &[at(0)][..]));
    assert!(one.started.is_some() && one.timeout == Duration::from_secs(60));
    let done = told["tx0"].as_ref().unwrap();
    assert!(done.started.is_none() && done.partitions.is_empty());
    let known = admin.list_transactions(TransactionFilter::default().producer_ids([one.producer.id])).await.unwrap();
    assert_eq!(known.len(), 1);
    transaction.abort().await.unwrap();
    let old = builder().emulate("2.8").in_memory().start().await.unwrap();
    let error = super::client(&old).admin().list_transactions(TransactionFilter::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::UnsupportedVersion && error.to_string().contains("ListTransactions"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_hangs_is_found_and_ended() {
    let cluster = builder().in_memory().start().await.unwrap();
    let client = client(&cluster);
    let admin = client.admin();
    let mut open = producer(&client, "open").await;
    let transaction = open.begin().await.unwrap();
    transaction.send(ProducerRecord::new("t").value("x")).await.unwrap().await.unwrap();
    cluster.forget_transaction("open");
    let producers = async || admin.describe_producers([at(0)]).await.unwrap().remove(&at(0)).unwrap().unwrap();
    let [known] = producers().await[..] else { panic!("one has written") };
    assert_eq!((known.transaction_start, known.last_sequence), (Some(0), 0));
    let stale = ProducerIdAndEpoch { epoch: known.producer.epoch - 1, ..known.producer };
    let told = admin.abort_transaction(HangingTransaction::new(at(0), stale, 0)).await;
    assert_eq!(code(&told), ErrorCode::InvalidProducerEpoch);
    cluster.fault(ApiKey::WriteTxnMarkers).once().error(ErrorCode::NotLeaderOrFollower);
    admin.abort_transaction(HangingTransaction::of(at(0), &known)).await.unwrap();
    assert_eq!(producers().await[0].transaction_start, None);
    assert!(cluster.committed_records("t").unwrap().is_empty());
    let missing = TopicPartition::new("missing", 0);
    let told = admin.abort_transaction(HangingTransaction::of(missing.clone(), &known)).await;
    assert_eq!(code(&told), ErrorCode::UnknownTopicOrPartition);
    let told = admin.describe_producers([missing.clone(), at(0)]).await.unwrap();
    assert_eq!(code(&told[&missing]), ErrorCode::UnknownTopicOrPartition);
    assert!(told[&at(0)].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_can_not_go_on() {
    let cluster = builder().in_memory().start().await.unwrap();
    let client = client(&cluster);
    let mut open = producer(&client, "open").await;
    let transaction = open.begin().await.unwrap();
    transaction.send(ProducerRecord::new("t").value("x")).await.unwrap().await.unwrap();
    let fenced = client.admin().fence_producers(["open", "another"]).await.unwrap();
    assert!(fenced["another"].is_ok(), "an id that nobody has had is fenced as well");
    assert!(fenced["open"].as_ref().unwrap().epoch > 0);
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fenced() || error.code() == Some(ErrorCode::InvalidProducerEpoch), "{error}");
    assert!(cluster.committed_records("t").unwrap().is_empty());
    producer(&client, "open").await.begin().await.unwrap().commit().await.unwrap();
}

/// A coordinator of several brokers needs time for its log, and has as much as the transaction: with a millisecond Kafka says
/// COORDINATOR_NOT_AVAILABLE again and again.
#[tokio::test(start_paused = true)]
async fn a_coordinator_has_a_requests_time_to_fence_a_producer() {
    let cluster = builder().in_memory().start().await.unwrap();
    let timeout = Arc::new(AtomicI32::new(0));
    let seen = timeout.clone();
    cluster.fault(ApiKey::InitProducerId).respond(move |request| {
        let (id, rest) = request.body.split_at(5); // a compact string
        assert_eq!(id, b"\x05open");
        seen.store(i32::from_be_bytes(*rest.first_chunk().unwrap()), Ordering::Relaxed);
        None
    });
    client(&cluster).admin().fence_producers(["open"]).await.unwrap();
    assert_eq!(timeout.load(Ordering::Relaxed), 30_000, "request.timeout.ms");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_so() {
    let (cluster, root, nobody) = guarded(builder()).await;
    assert!(root.fence_producers(["tx"]).await.unwrap()["tx"].is_ok());
    assert!(nobody.list_transactions(TransactionFilter::default()).await.unwrap().is_empty());
    nobody.describe_transactions(["tx", "other"]).await.unwrap().into_values().for_each(is_denied);
    nobody.fence_producers(["tx"]).await.unwrap().into_values().for_each(is_denied);
    nobody.describe_producers([at(0)]).await.unwrap().into_values().for_each(is_denied);
    let producer = ProducerIdAndEpoch { id: 7, epoch: 0 };
    is_denied(nobody.abort_transaction(HangingTransaction::new(at(0), producer, 0)).await);
    assert_eq!(cluster.offsets("t", 0), Some((0, 0)));
}
