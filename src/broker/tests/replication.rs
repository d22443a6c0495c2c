//! What followers have, what is lost with a leader, and brokers that are paused.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::{ApiVersionsRequest, ProduceResponse};
use std::time::Duration;
use tokio::time::Instant;

const LAG: Duration = Duration::from_millis(20);

async fn cluster() -> TestCluster {
    let configs = [("min.insync.replicas", "2")];
    let builder = TestCluster::builder().brokers(3).topic_with("t", 1, configs).replication_lag(LAG);
    builder.in_memory().start().await.unwrap()
}

/// As `produce`, with these acks.
pub(super) fn acknowledged_by(acks: i16, value: &str) -> ProduceRequest {
    produce("t", 0, batch(&[(1, value)])).with_acks(acks).with_timeout_ms(60_000)
}

pub(super) fn code(response: ProduceResponse) -> Option<ErrorCode> {
    ErrorCode::from_wire(response.responses[0].partition_responses[0].error_code)
}

pub(super) fn values(cluster: &TestCluster) -> Vec<String> {
    let values = cluster.records("t").unwrap().into_iter().filter_map(|record| record.value);
    values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn acks_all_waits_for_the_followers_and_survives_the_leader_and_acks_one_does_neither() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let start = Instant::now();
    assert_eq!(code(peer.call(9, &acknowledged_by(-1, "all")).await), None);
    assert_eq!(start.elapsed(), LAG);
    assert_eq!(code(peer.call(9, &acknowledged_by(1, "one")).await), None);
    assert_eq!(start.elapsed(), LAG, "the leader alone is enough");
    let read = peer.fetch(&fetch("t", 0, 1, 0)).await;
    assert_eq!((read.high_watermark, read.records.unwrap().len()), (1, 0), "nobody reads what may be lost");
    cluster.kill(NodeId(1));
    assert_eq!(values(&cluster), ["all"]);
    let mut peer = Peer::connect(&cluster, 2).await;
    assert_eq!(code(peer.call(9, &acknowledged_by(1, "later")).await), None);
    tokio::time::sleep(2 * LAG).await;
    cluster.move_leader("t", 0, NodeId(3));
    assert_eq!(values(&cluster), ["all", "later"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_deposed_while_it_waits_refuses_what_it_has_written() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &acknowledged_by(-1, "x")).await;
    tokio::time::sleep(LAG / 2).await;
    cluster.move_leader("t", 0, NodeId(2));
    let answer = peer.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!(code(answer), Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(cluster.offsets("t", 0), Some((0, 0)), "no follower had it");
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_refuse_before_the_append_and_after_it() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &acknowledged_by(-1, "after")).await;
    tokio::time::sleep(LAG / 2).await;
    cluster.set_in_sync("t", 0, &[]);
    assert_eq!(cluster.in_sync("t", 0), [NodeId(1)]);
    let answer = peer.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!(code(answer), Some(ErrorCode::NotEnoughReplicasAfterAppend));
    let answer = peer.call(9, &acknowledged_by(-1, "before")).await;
    assert_eq!(code(answer), Some(ErrorCode::NotEnoughReplicas));
    assert_eq!(values(&cluster), ["after"]);
}

/// Numbers that went with the lost batches are free again, those before are remembered.
#[tokio::test(start_paused = true)]
async fn a_new_leader_knows_of_a_producer_what_was_replicated() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = ProducerIdAndEpoch { id: 1000, epoch: 0 };
    let numbered = |sequence| produce("t", 0, sequenced(&[(1, "x")], producer, sequence)).with_timeout_ms(60_000);
    assert_eq!(code(peer.call(9, &numbered(0)).await), None);
    peer.call(9, &numbered(1).with_acks(1)).await;
    cluster.move_leader("t", 0, NodeId(2));
    let mut peer = Peer::connect(&cluster, 2).await;
    assert_eq!(code(peer.call(9, &numbered(2)).await), Some(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(code(peer.call(9, &numbered(0)).await), None, "a duplicate");
    assert_eq!(code(peer.call(9, &numbered(1)).await), None);
    assert_eq!(cluster.offsets("t", 0), Some((0, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_paused_broker_answers_when_it_goes_on_and_is_left_out_after_nine_seconds() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    cluster.pause(NodeId(1));
    let mut late = Peer::connect(&cluster, 1).await;
    late.send(0, &ApiVersionsRequest::default()).await;
    peer.send(9, &acknowledged_by(-1, "x")).await;
    tokio::time::sleep(Duration::from_millis(8999)).await;
    assert_eq!(cluster.leader("t", 0), Some(NodeId(1)));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!((cluster.leader("t", 0), cluster.in_sync("t", 0).len()), (Some(NodeId(2)), 2));
    cluster.resume(NodeId(1));
    let answer = peer.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!(code(answer), Some(ErrorCode::NotLeaderOrFollower), "it knows by now");
    assert!(late.receive::<ApiVersionsRequest>(0).await.is_some());
    assert_eq!(cluster.in_sync("t", 0).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_paused_follower_holds_acks_all_up_until_it_is_left_out() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    cluster.pause(NodeId(3));
    let start = Instant::now();
    assert_eq!(code(peer.call(9, &acknowledged_by(-1, "x")).await), None, "two are enough");
    assert_eq!(start.elapsed(), Duration::from_secs(9));
    cluster.resume(NodeId(3));
    cluster.pause(NodeId(2));
    let answer = peer.call(9, &acknowledged_by(-1, "y").with_timeout_ms(500)).await;
    assert_eq!(code(answer), Some(ErrorCode::RequestTimedOut));
    assert_eq!(values(&cluster), ["x", "y"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_can_apply_what_it_refuses_or_never_answers_and_answer_late_and_throttle() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let start = Instant::now();
    cluster.fault(ApiKey::Produce).once().apply_then_error(ErrorCode::RequestTimedOut);
    assert_eq!(code(peer.call(9, &acknowledged_by(1, "a")).await), Some(ErrorCode::RequestTimedOut));
    cluster.fault(ApiKey::Produce).once().delay_answer(Duration::from_secs(3));
    assert_eq!(code(peer.call(9, &acknowledged_by(1, "b")).await), None);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    cluster.fault(ApiKey::Produce).once().throttle(Duration::from_secs(2));
    assert_eq!(peer.call(9, &acknowledged_by(1, "c")).await.throttle_time_ms, 2000);
    assert_eq!(peer.call(9, &acknowledged_by(1, "d")).await.throttle_time_ms, 0);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    cluster.fault(ApiKey::Produce).once().apply_then_silence();
    peer.send(9, &acknowledged_by(1, "e")).await;
    let answer = tokio::time::timeout(Duration::from_secs(60), peer.receive::<ProduceRequest>(9)).await;
    assert!(answer.is_err());
    assert_eq!(values(&cluster), ["a", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_for_a_topic_befalls_requests_that_name_it() {
    let cluster = TestCluster::builder().topic("t", 1).topic("u", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    cluster.fault(ApiKey::Produce).for_topic("t").once().error(ErrorCode::KafkaStorageError);
    let to = |topic| produce(topic, 0, batch(&[(1, "x")]));
    assert_eq!(code(peer.call(9, &to("u")).await), None);
    assert_eq!(code(peer.call(9, &to("t")).await), Some(ErrorCode::KafkaStorageError));
    assert_eq!(code(peer.call(9, &to("t")).await), None, "it was used up");
}
