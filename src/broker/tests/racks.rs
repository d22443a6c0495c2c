//! Reading from the replica in one's own rack (KIP-392).

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::MetadataRequest;
use std::time::Duration;

/// Brokers 1 to 3 in the racks a, b, a. Broker 1 leads, with a record in the log.
async fn cluster() -> TestCluster {
    let builder = TestCluster::builder().brokers(3).racks(["a", "b"]).topic("t", 1);
    let cluster = builder.replication_lag(Duration::from_millis(20)).in_memory().start().await.unwrap();
    Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "x")])).await;
    cluster
}

fn from_rack(rack: &'static str, offset: i64) -> FetchRequest {
    fetch("t", 0, offset, 10_000).with_rack_id(rack.into())
}

#[tokio::test(start_paused = true)]
async fn the_leader_names_the_in_sync_replica_in_the_consumers_rack_at_once_and_sends_no_records() {
    let cluster = cluster().await;
    let mut leader = Peer::connect(&cluster, 1).await;
    let start = cluster.clock().now();
    let sent = leader.fetch(&from_rack("b", 1)).await;
    assert_eq!((sent.error_code, sent.preferred_read_replica.0, sent.records.unwrap().len()), (0, 2, 0));
    assert_eq!(start.elapsed(), Duration::ZERO, "it is not for this broker to wait");
    for rack in ["a", "c", ""] {
        let served = leader.fetch(&from_rack(rack, 0)).await;
        assert_eq!((served.preferred_read_replica.0, served.records.unwrap().is_empty()), (-1, false), "rack {rack}");
    }
    cluster.set_in_sync("t", 0, &[NodeId(3)]);
    assert_eq!(leader.fetch(&from_rack("b", 0)).await.preferred_read_replica.0, -1, "it lags");
    cluster.set_in_sync("t", 0, &[NodeId(2), NodeId(3)]);
    assert_eq!(leader.fetch(&from_rack("b", 0)).await.preferred_read_replica.0, 2);
    cluster.kill(NodeId(2));
    assert_eq!(leader.fetch(&from_rack("b", 0)).await.preferred_read_replica.0, -1, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_follower_serves_what_is_replicated_and_waits_for_more_and_names_nobody() {
    let cluster = cluster().await;
    let (mut leader, mut follower) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 2).await);
    let read = follower.fetch(&from_rack("a", 0)).await;
    assert_eq!((read.error_code, read.preferred_read_replica.0, read.high_watermark), (0, -1, 1));
    assert!(!read.records.unwrap().is_empty());
    let start = cluster.clock().now();
    let (wanted, written) = (from_rack("b", 1), produce("t", 0, batch(&[(1, "y")])).with_acks(1));
    let (read, _) = tokio::join!(follower.fetch(&wanted), leader.call(9, &written));
    assert_eq!((read.high_watermark, start.elapsed()), (2, Duration::from_millis(20)));
    assert_eq!(follower.fetch(&from_rack("b", 3)).await.error_code, ErrorCode::OffsetOutOfRange.to_wire());
    let by_old_client = follower.call(10, &fetch("t", 0, 0, 0)).await;
    assert_eq!(by_old_client.responses[0].partitions[0].error_code, ErrorCode::NotLeaderOrFollower.to_wire());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_fell_behind_ends_where_it_was_and_what_lies_further_is_out_of_range() {
    let cluster = cluster().await;
    let (mut leader, mut follower) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 2).await);
    cluster.set_in_sync("t", 0, &[NodeId(3)]);
    leader.produce("t", 0, batch(&[(1, "y")])).await;
    let read = follower.fetch(&from_rack("b", 0).with_max_wait_ms(0)).await;
    assert_eq!((read.error_code, read.high_watermark), (0, 1));
    assert_eq!(follower.fetch(&from_rack("b", 2)).await.error_code, ErrorCode::OffsetOutOfRange.to_wire());
    cluster.set_in_sync("t", 0, &[NodeId(2), NodeId(3)]);
    assert_eq!(follower.fetch(&from_rack("b", 0)).await.high_watermark, 2, "it has caught up");
}

#[tokio::test(start_paused = true)]
async fn brokers_say_where_they_are() {
    let cluster = cluster().await;
    let answer = Peer::connect(&cluster, 1).await.call(9, &MetadataRequest::default()).await;
    let racks: Vec<_> = answer.brokers.iter().map(|broker| broker.rack.as_deref()).collect();
    assert_eq!(racks, [Some("a"), Some("b"), Some("a")]);
}
