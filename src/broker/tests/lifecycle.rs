//! A cluster's beginning and end, its brokers' deaths, and faults on command.
#![allow(clippy::disallowed_types, reason = "a test of ports needs sockets")]

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::MetadataRequest;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_stopped_cluster_leaves_no_task_and_no_connection() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 1).in_memory().start().await.unwrap();
    let mut peers = Vec::new();
    for node in [1, 2, 3, 1] {
        peers.push(Peer::connect(&cluster, node).await);
    }
    peers[0].send(12, &fetch("t", 0, 0, 60_000)).await; // parked
    cluster.fault(ApiKey::Metadata).silence();
    peers[1].send(9, &MetadataRequest::default()).await; // never answered
    tokio::task::yield_now().await;
    assert_eq!(cluster.connections(), 4);
    assert_eq!(cluster.shared.tasks.running(), 5, "four connections and the timekeeper");
    let connector = cluster.connector();
    cluster.stop().await; // returns when the last task is gone
    for peer in &mut peers {
        assert!(peer.receive::<MetadataRequest>(9).await.is_none());
    }
    let refused = connector.connect("broker-1", 9092).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_peer_closes_is_gone() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.call(9, &MetadataRequest::default()).await;
    drop(peer);
    while cluster.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_cluster_frees_its_ports() {
    let cluster = TestCluster::builder().brokers(2).listen("127.0.0.1:0").start().await.unwrap();
    let addresses: Vec<String> = cluster.bootstrap().split(',').map(str::to_owned).collect();
    assert_eq!(addresses.len(), 2);
    for address in &addresses {
        tokio::net::TcpStream::connect(address).await.expect("it accepts once it has started");
    }
    cluster.stop().await;
    for address in &addresses {
        tokio::net::TcpListener::bind(address).await.expect("the port is free");
    }
}

#[tokio::test]
async fn a_restarted_broker_has_its_address_again() {
    let cluster = TestCluster::builder().brokers(2).listen("127.0.0.1:0").start().await.unwrap();
    let bootstrap = cluster.bootstrap();
    let first = bootstrap.split(',').next().unwrap();
    cluster.kill(NodeId(1));
    cluster.restart(NodeId(1)).await.unwrap();
    tokio::net::TcpStream::connect(first).await.expect("it accepts again");
}

#[tokio::test(start_paused = true)]
async fn a_killed_broker_breaks_its_connections_and_others_lead_what_it_led() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 3).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.produce("t", 0, batch(&[(1, "x")])).await;
    let leaders = || [0, 1, 2].map(|partition| cluster.leader("t", partition).map(|node| node.0));
    assert_eq!(leaders(), [Some(1), Some(2), Some(3)]);
    cluster.kill(NodeId(1));
    assert!(peer.receive::<MetadataRequest>(9).await.is_none());
    assert!(cluster.connector().connect("broker-1", 9092).await.is_err());
    assert_eq!(leaders(), [Some(2), Some(2), Some(3)]);
    let mut other = Peer::connect(&cluster, 2).await;
    let metadata = other.call(9, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(metadata.brokers.len(), 2);
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.leader_epoch, partition.isr_nodes.len(), partition.offline_replicas.len()), (1, 2, 1));
    assert_eq!(other.fetch(&fetch("t", 0, 0, 0)).await.high_watermark, 1, "nothing written is lost");
    cluster.kill(NodeId(2));
    cluster.kill(NodeId(3));
    assert_eq!(leaders(), [None, None, None]);
    cluster.restart(NodeId(3)).await.unwrap();
    assert_eq!(leaders(), [Some(3), Some(3), Some(3)], "the last one in sync has the data");
}

#[tokio::test(start_paused = true)]
async fn faults_do_what_they_say_for_as_often_as_they_say() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    cluster.fault(ApiKey::Produce).times(2).error(ErrorCode::NotEnoughReplicas);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(peer.produce("t", 0, batch(&[(1, "x")])).await.error_code);
    }
    assert_eq!(codes, [19, 19, 0]);
    assert_eq!(cluster.offsets("t", 0), Some((0, 1)));

    let start = cluster.clock().now();
    cluster.fault(ApiKey::Produce).once().delay(Duration::from_secs(2));
    assert_eq!(peer.produce("t", 0, batch(&[(1, "x")])).await.base_offset, 1);
    assert_eq!(cluster.clock().now() - start, Duration::from_secs(2));

    cluster.fault(ApiKey::Produce).once().apply_then_disconnect();
    peer.send(9, &produce("t", 0, batch(&[(1, "x")]))).await;
    assert!(peer.receive::<ProduceRequest>(9).await.is_none());
    assert_eq!(cluster.offsets("t", 0), Some((0, 3)), "it was written all the same");

    cluster.fault(ApiKey::Produce).on_node(NodeId(1)).disconnect();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &produce("t", 0, batch(&[(1, "x")]))).await;
    assert!(peer.receive::<ProduceRequest>(9).await.is_none());
    assert_eq!(cluster.offsets("t", 0), Some((0, 3)));
    cluster.clear_faults();
    assert_eq!(Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "x")])).await.base_offset, 3);
}

#[tokio::test(start_paused = true)]
async fn the_request_log_counts_requests_and_bytes() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let batch = batch(&[(1, "x")]);
    peer.produce("t", 0, batch.clone()).await;
    peer.produce("t", 0, batch.clone()).await;
    let produced = cluster.requests(ApiKey::Produce);
    assert_eq!(produced.count, 2);
    assert!(produced.bytes_in as usize > 2 * batch.len() && produced.bytes_out > 0);
    assert_eq!(cluster.requests(ApiKey::Fetch), RequestCount::default());
    assert_eq!(cluster.records("t").unwrap().len(), 2);
    cluster.reset_requests();
    assert_eq!(cluster.requests(ApiKey::Produce).count, 0);
}

/// Each on a runtime of its own; a broker that one of them has restarted outlives that one's runtime.
#[test]
fn tests_without_a_runtime_in_common_share_a_cluster() {
    let cluster = TestCluster::builder().brokers(2).start_in_background().unwrap();
    let test = |broken: bool| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let topic = cluster.unique_topic("shared", 1).unwrap();
            if broken {
                cluster.kill(NodeId(1));
                cluster.restart(NodeId(1)).await.unwrap();
            }
            cluster.produce(&topic, ["x"]).await.unwrap();
            assert_eq!(cluster.records(&topic).unwrap().len(), 1);
        });
    };
    [true, false, false].into_iter().for_each(test);
    let shared = Arc::clone(&cluster.shared);
    drop(cluster);
    let start = std::time::Instant::now();
    while shared.tasks.running() > 0 {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "{} tasks are left", shared.tasks.running());
        std::thread::yield_now();
    }
}
