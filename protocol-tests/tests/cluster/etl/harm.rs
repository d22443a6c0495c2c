//! What goes wrong with the cluster.

use super::{GROUPS, REQUEST_TIMEOUT, TOPICS, chain};
use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use milena::ids::NodeId;
use protocol_tests::etl::{MEMBERS, PARTITIONS};
use protocol_tests::random::Random;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NODES: u64 = 3;

/// One thing after the other, for so long. Then all is mended.
///
/// With `late_commits` a commit may be carried out when its client has long given it up, and has sent another one: when it,
/// or what is before it on its connection, is late. Offsets go back then, which no client can prevent; transactions are
/// safe from it.
pub(super) async fn happens(cluster: &TestCluster, random: &mut Random, lasts: Duration, late_commits: bool) {
    let start = Instant::now();
    while start.elapsed() < lasts {
        one(cluster, random, late_commits).await;
        sleep(Duration::from_millis(random.below(1_500))).await;
    }
    cluster.clear_faults();
    for node in 1..=NODES as i32 {
        cluster.resume(NodeId(node));
        cluster.restart(NodeId(node)).await.expect("a broker in memory starts");
    }
}

async fn one(cluster: &TestCluster, random: &mut Random, late_commits: bool) {
    let node = NodeId(random.below(NODES) as i32 + 1);
    match random.below(12) {
        0 => {
            cluster.kill(node);
            sleep(Duration::from_millis(random.below(5_000))).await;
            cluster.restart(node).await.expect("a broker in memory starts");
        }
        1 if late_commits || !GROUPS.iter().any(|group| cluster.coordinator(group) == Some(node)) => {
            cluster.pause(node);
            sleep(Duration::from_millis(random.pick(&[300, 3_000, 10_000]))).await;
            cluster.resume(node);
        }
        2 | 3 => {
            let (topic, partition) = (random.pick(&TOPICS), random.below(PARTITIONS as u64) as i32);
            if cluster.in_sync(topic, partition).contains(&node) {
                cluster.move_leader(topic, partition, node);
            }
        }
        4 | 5 => cluster.move_coordinator(random.pick(&GROUPS), node),
        6 => {
            let (stage, slot) = (random.below(2) as usize, random.below(MEMBERS as u64) as usize);
            cluster.move_transaction_coordinator(&chain().transactional_id(stage, slot), node);
        }
        _ => fault(cluster, random, node, late_commits),
    }
}

fn fault(cluster: &TestCluster, random: &mut Random, node: NodeId, late_commits: bool) {
    let (api, codes) = random.pick(&APIS);
    let mut fault = cluster.fault(api).times(random.below(3) as usize + 1);
    if random.one_in(3) {
        fault = fault.on_node(node);
    }
    let late = if late_commits { 4_000 } else { REQUEST_TIMEOUT.as_millis() as u64 / 3 };
    if random.one_in(3) {
        fault = fault.delay(Duration::from_millis(random.below(late)));
    }
    match random.below(8) {
        0 => fault.disconnect(),
        1 | 2 => fault.apply_then_disconnect(),
        3 => fault.silence(),
        4 => drop(fault.delay_answer(Duration::from_millis(random.below(late)))),
        _ => fault.error(random.pick(codes)),
    }
}

/// What may fail, and with which codes.
const APIS: [(ApiKey, &[ErrorCode]); 14] = {
    use ErrorCode::*;
    [
        (ApiKey::Fetch, &[NotLeaderOrFollower, UnknownTopicOrPartition, KafkaStorageError, UnknownServerError]),
        (ApiKey::Fetch, &[FencedLeaderEpoch, UnknownLeaderEpoch, OffsetNotAvailable, UnknownTopicId]),
        (ApiKey::ListOffsets, &[NotLeaderOrFollower, LeaderNotAvailable, OffsetNotAvailable]),
        (ApiKey::Metadata, &[LeaderNotAvailable]),
        (ApiKey::FindCoordinator, &[CoordinatorNotAvailable, CoordinatorLoadInProgress]),
        (ApiKey::JoinGroup, &[CoordinatorLoadInProgress, NotCoordinator, CoordinatorNotAvailable, UnknownMemberId]),
        (ApiKey::SyncGroup, &[NotCoordinator, RebalanceInProgress, UnknownMemberId, IllegalGeneration]),
        (ApiKey::Heartbeat, &[NotCoordinator, RebalanceInProgress, UnknownMemberId, IllegalGeneration]),
        (
            ApiKey::ConsumerGroupHeartbeat,
            &[NotCoordinator, CoordinatorLoadInProgress, UnknownMemberId, FencedMemberEpoch],
        ),
        (ApiKey::OffsetForLeaderEpoch, &[NotLeaderOrFollower, UnknownLeaderEpoch]),
        (ApiKey::OffsetCommit, &[CoordinatorLoadInProgress, NotCoordinator, RebalanceInProgress, RequestTimedOut]),
        (ApiKey::OffsetFetch, &[CoordinatorLoadInProgress, NotCoordinator, UnstableOffsetCommit]),
        (ApiKey::Produce, &[NotLeaderOrFollower, NotEnoughReplicas]),
        (ApiKey::EndTxn, &[ConcurrentTransactions, NotCoordinator, CoordinatorLoadInProgress]),
    ]
};
