//! Rules of production that other clients have broken, over whole clients in virtual time; `RULES.md` lists which rule is
//! held where.

use milena::broker::{ApiKey, TestCluster};
use milena::client::Client;
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{Certainty, ErrorCode, ErrorKind};
use milena::ids::{NodeId, TopicPartition};
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

async fn cluster(brokers: usize) -> (TestCluster, Client) {
    let cluster = TestCluster::builder().brokers(brokers).topic("clicks", 1).in_memory().start().await.unwrap();
    let client = Client::new(cluster.client_config().seed(7)).unwrap();
    (cluster, client)
}

async fn send(producer: &Producer) -> Delivery {
    producer.send(ProducerRecord::new("clicks").value("a value of some length")).await.unwrap()
}

/// How long each of forty records takes, one after the other, once the first has been written.
async fn latencies(producer: &Producer) -> Vec<Duration> {
    send(producer).await.await.unwrap();
    let mut latencies = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        send(producer).await.await.unwrap();
        latencies.push(start.elapsed());
        sleep(37 * MILLI).await;
    }
    latencies
}

/// krafka 0.28: a long poll on the connection held every send up by 360 ms.
#[tokio::test(start_paused = true)]
async fn an_idle_consumers_long_poll_on_the_same_client_adds_nothing_to_a_send() {
    let (cluster, client) = cluster(1).await;
    cluster.create_topic("idle", 1).unwrap();
    let producer = client.producer(ProducerConfig::default().linger(Duration::ZERO)).unwrap();
    let alone = latencies(&producer).await;
    let mut consumer = client.consumer(ConsumerConfig::default().auto_offset_reset(OffsetReset::Latest)).unwrap();
    consumer.assign([TopicPartition::new("idle", 0)]).await.unwrap();
    let polling = async {
        loop {
            consumer.poll(SECOND).await.unwrap();
        }
    };
    let beside = tokio::select! {
        () = polling => unreachable!("it polls for ever"),
        latencies = latencies(&producer) => latencies,
    };
    assert_eq!(beside, alone);
    assert!(cluster.requests(ApiKey::Fetch).count > 0, "it waited in a long poll, which takes 500 ms");
}

/// franz-go 1.20: the linger was restarted or fired too early, and batches were cut far more often than they had to.
#[tokio::test(start_paused = true)]
async fn a_batch_holds_what_comes_within_the_linger_of_its_first_record() {
    let (cluster, client) = cluster(1).await;
    let producer = client.producer(ProducerConfig::default().linger(20 * MILLI)).unwrap();
    send(&producer).await.await.unwrap();
    cluster.reset_requests();
    let mut deliveries = Vec::new();
    for _ in 0..1_000 {
        deliveries.push(send(&producer).await);
        sleep(MILLI).await;
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let batches = cluster.requests(ApiKey::Produce).count;
    assert!((45..=50).contains(&batches), "{batches} batches of 1,000 records, 20 or 21 within each linger");
}

#[tokio::test(start_paused = true)]
async fn the_delivery_timeout_counts_from_send_and_covers_the_wait_for_metadata() {
    let (cluster, client) = cluster(1).await;
    cluster.fault(ApiKey::Metadata).once().delay(20 * SECOND);
    cluster.fault(ApiKey::Produce).silence();
    let producer = client.producer(ProducerConfig::default().delivery_timeout(50 * SECOND)).unwrap();
    let start = Instant::now();
    let delivery = send(&producer).await;
    assert_eq!(start.elapsed().as_secs(), 20);
    let error = delivery.await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::Timeout, 50));
    assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent));
}

/// KIP-219: a broker that throttles answers first and then mutes the connection. What is muted is not late.
#[tokio::test(start_paused = true)]
async fn a_throttled_connection_is_left_alone_and_no_request_times_out_over_it() {
    let cluster = TestCluster::builder().topic("clicks", 1).in_memory().start().await.unwrap();
    let client = Client::new(cluster.client_config().request_timeout(2 * SECOND)).unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    send(&producer).await.await.unwrap();
    let connections = cluster.connections();
    cluster.fault(ApiKey::Produce).once().throttle(10 * SECOND);
    send(&producer).await.await.unwrap();
    let start = Instant::now();
    cluster.reset_requests();
    let waiting = send(&producer).await;
    sleep(9 * SECOND).await;
    assert_eq!(cluster.requests(ApiKey::Produce).count, 0);
    waiting.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!((cluster.requests(ApiKey::Produce).count, cluster.connections()), (1, connections));
}

/// franz-go 1.21.3: records were failed while a topic had no leader for a moment.
#[tokio::test(start_paused = true)]
async fn records_are_kept_while_nobody_leads_their_partition() {
    let (cluster, client) = cluster(2).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    send(&producer).await.await.unwrap();
    cluster.kill(NodeId(1));
    cluster.kill(NodeId(2));
    let kept = send(&producer).await;
    sleep(60 * SECOND).await;
    assert!(kept.try_get().is_none());
    cluster.restart(NodeId(1)).await.unwrap();
    cluster.restart(NodeId(2)).await.unwrap();
    assert_eq!(kept.await.unwrap().offset(), Some(1));
}

/// A batch that was under way on a connection that is given up may be written any time later: a number of its own, and
/// nothing else, tells the broker that it has it already.
#[tokio::test(start_paused = true)]
async fn what_may_have_been_written_is_not_written_under_another_number() {
    let cluster = TestCluster::builder().topic("clicks", 1).in_memory().start().await.unwrap();
    let config = cluster.client_config().seed(7).request_timeout(SECOND);
    let client = Client::new(config.retry_backoff(20 * MILLI, 20 * MILLI)).unwrap();
    let config = ProducerConfig::default().linger(Duration::ZERO).delivery_timeout(2 * SECOND);
    let producer = client.producer(config).unwrap();
    send(&producer).await.await.unwrap();
    // Two on the first connection, where the broker is slow with one and has the other behind it.
    cluster.fault(ApiKey::Produce).once().delay(2_500 * MILLI);
    cluster.fault(ApiKey::Produce).error(ErrorCode::NotEnoughReplicas);
    let first = send(&producer).await;
    sleep(900 * MILLI).await;
    let second = send(&producer).await;
    // On the next connection the first is refused until it fails. Without it the second is out of order, and what is
    // made of that arrives when the first connection's requests are done.
    assert!(first.await.is_err());
    cluster.clear_faults();
    drop(cluster.fault(ApiKey::Produce).once());
    drop(cluster.fault(ApiKey::Produce).once().delay(700 * MILLI));
    let second = second.await;
    sleep(SECOND).await;
    let written = cluster.records("clicks").unwrap().len();
    assert!(written <= 3, "{written} records of three that were sent: {second:?}");
}
