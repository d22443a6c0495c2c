//! What goes wrong, drawn from a seed: brokers die and stand still, leaders move, replicas fall out of sync, answers are
//! lost, late or refusals.

use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use milena::ids::NodeId;
use protocol_tests::random::Random;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(super) const TOPIC: &str = "clicks";
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// What a leader refuses before it writes.
const REFUSALS: [ErrorCode; 5] = [
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::KafkaStorageError,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::CorruptMessage,
];

/// What it says of records that are in its log.
const AFTER_APPEND: [ErrorCode; 3] =
    [ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::RequestTimedOut, ErrorCode::NotLeaderOrFollower];

/// What can be undone later.
enum Broken {
    Killed(NodeId),
    Paused(NodeId),
    OutOfSync(i32),
    /// Something goes wrong with every so many requests.
    Faults,
}

/// Breaks `cluster` again and again until `until` says that it is enough, and then mends all of it.
pub(super) async fn happen(cluster: &TestCluster, partitions: i32, mut random: Random, until: impl Fn() -> bool) {
    let mut broken: Vec<(Instant, Broken)> = Vec::new();
    let at_once = random.below(4); // a producer's first batches are the ones that a broker knows nothing of
    for count in 0.. {
        if until() {
            break;
        }
        if count >= at_once {
            sleep(millis(random.below(1_500))).await;
        }
        if let Some((lasts, what)) = something(cluster, partitions, &mut random) {
            broken.push((Instant::now() + lasts, what));
        }
        let now = Instant::now();
        for (_, what) in broken.extract_if(.., |(until, _)| *until <= now) {
            mend(cluster, what).await;
        }
    }
    for (_, what) in broken {
        mend(cluster, what).await;
    }
    // Where the last one in sync was down when it was to be mended, it leads alone now that it is back.
    (0..partitions).for_each(|partition| cluster.set_in_sync(TOPIC, partition, &NODES));
    cluster.clear_faults();
    sleep(Duration::from_secs(1)).await; // replicas catch up
}

async fn mend(cluster: &TestCluster, what: Broken) {
    match what {
        Broken::Killed(node) => cluster.restart(node).await.expect("a broker in memory starts"),
        Broken::Paused(node) => cluster.resume(node),
        Broken::OutOfSync(partition) => cluster.set_in_sync(TOPIC, partition, &NODES),
        Broken::Faults => cluster.clear_faults(),
    }
}

fn something(cluster: &TestCluster, partitions: i32, random: &mut Random) -> Option<(Duration, Broken)> {
    let node = random.pick(&NODES);
    let partition = random.below(partitions as u64) as i32;
    let times = 1 + random.below(4) as usize;
    let produce = || cluster.fault(ApiKey::Produce);
    match random.below(20) {
        0 | 1 => {
            cluster.kill(node);
            return Some((millis(random.below(8_000)), Broken::Killed(node)));
        }
        2 | 3 => {
            cluster.pause(node);
            let lasts = random.pick(&[200, 2_000, 20_000]);
            return Some((millis(lasts), Broken::Paused(node)));
        }
        4..=6 => {
            let replicas = cluster.in_sync(TOPIC, partition);
            if cluster.leader(TOPIC, partition).is_some() {
                cluster.move_leader(TOPIC, partition, random.pick(&replicas));
            }
        }
        7 | 8 => {
            let replicas = cluster.in_sync(TOPIC, partition);
            let left = random.below(replicas.len() as u64) as usize;
            cluster.set_in_sync(TOPIC, partition, &replicas[..left]);
            return Some((millis(random.below(4_000)), Broken::OutOfSync(partition)));
        }
        9 => produce().times(times).disconnect(),
        10 => produce().times(times).apply_then_disconnect(),
        11 => produce().on_node(node).once().silence(),
        12 => produce().on_node(node).once().apply_then_silence(),
        13 => produce().times(times).error(random.pick(&REFUSALS)),
        14 => produce().times(times).apply_then_error(random.pick(&AFTER_APPEND)),
        15 => drop(produce().times(times).delay(millis(random.below(3_000)))),
        16 => drop(produce().times(times).delay_answer(millis(random.below(3_000)))),
        17 => drop(produce().times(times).throttle(millis(random.below(500)))),
        18 => produce().once().error(ErrorCode::InvalidRecord),
        _ => {
            let seed = random.below(u64::MAX);
            produce().probability(0.2, seed).apply_then_disconnect();
            produce().probability(0.2, seed + 1).error(random.pick(&REFUSALS));
            produce().probability(0.2, seed + 2).apply_then_error(random.pick(&AFTER_APPEND));
            cluster.fault(ApiKey::Metadata).probability(0.3, seed + 3).disconnect();
            cluster
                .fault(ApiKey::InitProducerId)
                .probability(0.5, seed + 4)
                .error(ErrorCode::CoordinatorLoadInProgress);
            return Some((millis(random.below(3_000)), Broken::Faults));
        }
    }
    None
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
