//! Leader epochs: who is fenced, and how a reader finds where its log and the leader's part (KIP-320, KIP-595).

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use crate::wire::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};

/// Two brokers; records 0-2 of epoch 0, 3-4 of epoch 1, led by broker 2 now. Broker 1 has a replica.
async fn cluster() -> TestCluster {
    let cluster = TestCluster::builder().brokers(3).default_replication(2).topic("t", 1).in_memory();
    let cluster = cluster.start().await.expect("in memory nothing can fail");
    Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "a"), (1, "b"), (1, "c")])).await;
    cluster.move_leader("t", 0, NodeId(2));
    Peer::connect(&cluster, 2).await.produce("t", 0, batch(&[(1, "d"), (1, "e")])).await;
    cluster
}

impl Peer {
    async fn fetch_in_epoch(&mut self, epoch: i32, offset: i64, last_fetched: i32) -> PartitionData {
        let mut request = fetch("t", 0, offset, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched;
        self.fetch(&request).await
    }

    async fn list_in_epoch(&mut self, epoch: i32) -> (Option<ErrorCode>, i64, i32) {
        let wanted = ListOffsetsPartition::default().with_current_leader_epoch(epoch).with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted]);
        let answer = self.call(7, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
        let found = &answer.topics[0].partitions[0];
        (ErrorCode::from_wire(found.error_code), found.offset, found.leader_epoch)
    }

    /// Where `epoch` ended, for a client that believes in `current`.
    async fn end_of(&mut self, epoch: i32, current: i32) -> Result<(i32, i64), ErrorCode> {
        let wanted = OffsetForLeaderPartition::default().with_leader_epoch(epoch).with_current_leader_epoch(current);
        let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![wanted]);
        let answer = self.call(4, &OffsetForLeaderEpochRequest::default().with_topics(vec![topic])).await;
        let end = &answer.topics[0].partitions[0];
        ErrorCode::from_wire(end.error_code).map_or(Ok((end.leader_epoch, end.end_offset)), Err)
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_epoch_is_fenced_and_a_newer_one_unknown_whatever_is_asked() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 2).await;
    for (epoch, code) in
        [(0, Some(ErrorCode::FencedLeaderEpoch)), (1, None), (-1, None), (2, Some(ErrorCode::UnknownLeaderEpoch))]
    {
        assert_eq!(ErrorCode::from_wire(peer.fetch_in_epoch(epoch, 0, -1).await.error_code), code, "fetch, {epoch}");
        assert_eq!(peer.list_in_epoch(epoch).await.0, code, "list, {epoch}");
        assert_eq!(peer.end_of(0, epoch).await.err(), code, "end, {epoch}");
    }
    assert_eq!(peer.list_in_epoch(1).await, (None, 5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_fences_before_it_says_that_it_does_not_lead_and_a_stranger_does_not() {
    let cluster = cluster().await;
    let mut deposed = Peer::connect(&cluster, 1).await;
    assert_eq!(deposed.list_in_epoch(0).await.0, Some(ErrorCode::FencedLeaderEpoch));
    assert_eq!(deposed.list_in_epoch(1).await.0, Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(deposed.end_of(0, 1).await, Err(ErrorCode::NotLeaderOrFollower));
    let mut stranger = Peer::connect(&cluster, 3).await;
    assert_eq!(stranger.list_in_epoch(0).await.0, Some(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_found_by_the_epoch_in_which_it_was_read() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 2).await;
    assert_eq!(peer.end_of(1, 1).await, Ok((1, 5)));
    cluster.lose("t", 0, 3);
    assert_eq!(cluster.offsets("t", 0), Some((0, 3)));
    peer.produce("t", 0, batch(&[(1, "x"), (1, "y"), (1, "z")])).await;
    assert_eq!(peer.end_of(1, 2).await, Ok((0, 3)), "epoch 1 has left nothing");
    assert_eq!(peer.end_of(0, 2).await, Ok((0, 3)));
    assert_eq!(peer.end_of(2, 2).await, Ok((2, 6)));
    assert_eq!(peer.end_of(3, 2).await, Ok((-1, -1)), "that is still to come");
    // The same told by the Fetch itself.
    let diverged = peer.fetch_in_epoch(2, 5, 1).await;
    assert_eq!((diverged.error_code, diverged.records.unwrap().len()), (0, 0));
    assert_eq!((diverged.diverging_epoch.epoch, diverged.diverging_epoch.end_offset), (0, 3));
    let agreed = peer.fetch_in_epoch(2, 3, 0).await;
    assert_eq!((agreed.diverging_epoch.epoch, agreed.records.unwrap().is_empty()), (-1, false));
    for (offset, last_fetched) in [(3, 3), (-1, 0), (7, -1)] {
        let refused = peer.fetch_in_epoch(2, offset, last_fetched).await;
        assert_eq!(refused.error_code, ErrorCode::OffsetOutOfRange.to_wire(), "{offset} of epoch {last_fetched}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_elected_anew_has_everything_and_fences_who_knows_the_old_epoch() {
    let cluster = cluster().await;
    cluster.bump_epoch("t", 0);
    assert_eq!((cluster.leader("t", 0), cluster.offsets("t", 0)), (Some(NodeId(2)), Some((0, 5))));
    let mut peer = Peer::connect(&cluster, 2).await;
    assert_eq!(peer.list_in_epoch(1).await.0, Some(ErrorCode::FencedLeaderEpoch));
    assert_eq!(peer.list_in_epoch(2).await, (None, 5, 1));
}
