//! Records without a key and a broker that is slower than the others (KIP-794), over whole clients in virtual time. Each of
//! three brokers leads a partition; a handle sends a record a millisecond, a batch is full after nine.

use super::producer::{client, close, cluster, log, value};
use milena::broker::{ApiKey, TestCluster};
use milena::ids::NodeId;
use milena::producer::{Delivery, Producer, ProducerConfig};
use std::time::Duration;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const SLOW: NodeId = NodeId(2);

fn config() -> ProducerConfig {
    // A batch ends when it is full and not before: where linger ends some, a handle stays for more than one.
    ProducerConfig::default().batch_size(1000).linger(60 * SECOND)
}

/// Sends for so many milliseconds. How many went to the slow broker's partition, to the one after it, and to the next.
async fn shares(cluster: &TestCluster, producer: &Producer, millis: u32, all: &mut Vec<Delivery>) -> [usize; 3] {
    let leaders: Vec<NodeId> = (0..3).map(|partition| cluster.leader("clicks", partition).unwrap()).collect();
    let slow = leaders.iter().position(|leader| *leader == SLOW).expect("each broker leads one");
    let topic = producer.topic("clicks");
    let mut shares = [0; 3];
    for _ in 0..millis {
        let delivery = topic.send(topic.record().value(&value(all.len() as u32))).await.unwrap();
        shares[(delivery.partition() as usize + 3 - slow) % 3] += 1;
        all.push(delivery);
        sleep(MILLI).await;
    }
    shares
}

/// Everything is written once.
async fn check(cluster: &TestCluster, all: Vec<Delivery>) {
    let expected = 0..all.len() as u32;
    for delivery in all {
        delivery.await.unwrap();
    }
    let mut written: Vec<u32> = (0..3).flat_map(|partition| log(cluster, partition)).collect();
    written.sort_unstable();
    assert!(written.into_iter().eq(expected));
}

fn even(shares: [usize; 3]) -> bool {
    let all: usize = shares.iter().sum();
    shares.iter().all(|share| (all / 4..all * 5 / 12).contains(share))
}

/// The slow one takes five batches a second where an even share is nearly forty.
#[tokio::test(start_paused = true)]
async fn a_slow_brokers_partition_gets_fewer_records_without_a_key_while_it_is_slow_unless_told_not_to() {
    for adaptive in [true, false] {
        let (cluster, client) = cluster(3, 3).await;
        let producer = client.producer(config().partitioner_adaptive(adaptive)).unwrap();
        let mut all = Vec::new();
        let before = shares(&cluster, &producer, 6000, &mut all).await;
        assert!(even(before), "{before:?}");
        cluster.fault(ApiKey::Produce).on_node(SLOW).delay(200 * MILLI);
        shares(&cluster, &producer, 1000, &mut all).await;
        let meanwhile = shares(&cluster, &producer, 6000, &mut all).await;
        match adaptive {
            true => assert!(meanwhile[0] * 2 < meanwhile[1].min(meanwhile[2]), "{meanwhile:?}"),
            false => assert!(even(meanwhile), "{meanwhile:?}"),
        }
        cluster.clear_faults();
        assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0);
        let after = shares(&cluster, &producer, 6000, &mut all).await;
        assert!(even(after), "{after:?}");
        check(&cluster, all).await;
        close(client, producer).await;
    }
}

/// As long as it would not be fenced, and nobody waits for it as a follower. Without a time-out it gets less, or as much as ever.
#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_gets_no_records_without_a_key_until_it_takes_some() {
    for (adaptive, timed) in [(true, true), (false, true), (true, false), (false, false)] {
        let cluster = TestCluster::builder().brokers(3).default_replication(1).topic("clicks", 3).in_memory();
        let cluster = cluster.start().await.unwrap();
        let client = client(&cluster);
        let timeout = if timed { 100 * MILLI } else { Duration::ZERO };
        let config = config().partitioner_adaptive(adaptive).partitioner_availability_timeout(timeout);
        let producer = client.producer(config).unwrap();
        let mut all = Vec::new();
        shares(&cluster, &producer, 1000, &mut all).await;
        cluster.pause(SLOW);
        shares(&cluster, &producer, 1000, &mut all).await;
        let meanwhile = shares(&cluster, &producer, 6000, &mut all).await;
        match (adaptive, timed) {
            (_, true) => assert!(meanwhile[0] == 0 && meanwhile[1].abs_diff(meanwhile[2]) < 1000, "{meanwhile:?}"),
            (true, false) => assert!((1..500).contains(&meanwhile[0]), "{meanwhile:?}"),
            (false, false) => assert!(even(meanwhile), "{meanwhile:?}"),
        }
        cluster.resume(SLOW);
        assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0);
        let after = shares(&cluster, &producer, 6000, &mut all).await;
        assert!(even(after), "{after:?}");
        check(&cluster, all).await;
        close(client, producer).await;
    }
}
