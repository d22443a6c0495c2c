//! Links that are cut: nothing is lost on them but what a deposed leader has written.

use super::replication::{acknowledged_by, code, values};
use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::{GroupId, HeartbeatRequest, MetadataRequest};
use std::time::Duration;
use tokio::time::Instant;

/// Longer than the others wait for a broker.
const LONG: Duration = Duration::from_secs(10);

async fn cluster() -> TestCluster {
    TestCluster::builder().brokers(3).topic("t", 1).in_memory().start().await.unwrap()
}

/// Who leads `t`, and who is alive, as far as this broker knows.
async fn believed(peer: &mut Peer) -> (i32, Vec<i32>) {
    let topic = MetadataRequestTopic::default().with_name(Some(name("t")));
    let answer = peer.call(9, &MetadataRequest::default().with_topics(Some(vec![topic]))).await;
    let alive = answer.brokers.iter().map(|broker| broker.node_id.0).collect();
    (answer.topics[0].partitions[0].leader_id.0, alive)
}

#[tokio::test(start_paused = true)]
async fn what_goes_over_a_cut_link_to_clients_arrives_when_it_is_mended() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let start = Instant::now();
    cluster.cut(Link::Clients(NodeId(1)));
    let mend = async {
        tokio::time::sleep(LONG).await;
        assert_eq!(cluster.offsets("t", 0), Some((0, 0)), "it has not got there");
        cluster.heal();
    };
    let request = acknowledged_by(-1, "x");
    let (answer, (), other, ()) = tokio::join!(
        peer.call(9, &request),
        async {
            Peer::connect(&cluster, 1).await;
            assert_eq!(start.elapsed(), LONG);
        },
        async { believed(&mut Peer::connect(&cluster, 2).await).await },
        mend
    );
    assert_eq!((code(answer), start.elapsed()), (None, LONG));
    assert_eq!(other, (1, vec![1, 2, 3]), "the brokers have noticed nothing");
}

#[tokio::test(start_paused = true)]
async fn a_client_can_be_cut_off_from_all_brokers_and_the_others_are_not() {
    let cluster = cluster().await;
    cluster.cut(Link::Client("peer".into()));
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &acknowledged_by(1, "x")).await;
    assert!(tokio::time::timeout(LONG, peer.frame()).await.is_err());
    cluster.produce("t", ["y"]).await.unwrap();
    cluster.heal();
    assert!(peer.frame().await.is_some());
    assert_eq!(values(&cluster), ["y", "x"]);
}

/// A zombie leader, as of KIP-101's story.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_goes_on_alone_and_loses_what_it_took_alone() {
    let cluster = cluster().await;
    let mut old = Peer::connect(&cluster, 1).await;
    assert_eq!(code(old.call(9, &acknowledged_by(-1, "both")).await), None);
    cluster.cut(Link::Brokers(NodeId(1)));
    assert_eq!(code(old.call(9, &acknowledged_by(1, "lost")).await), None, "acks=1 asks nobody");
    old.send(9, &acknowledged_by(-1, "also lost")).await;
    tokio::time::sleep(LONG).await;

    let mut new = Peer::connect(&cluster, 2).await;
    assert_eq!(believed(&mut new).await, (2, vec![2, 3]));
    assert_eq!(code(new.call(9, &acknowledged_by(-1, "kept")).await), None);
    let mut zombie = Peer::connect(&cluster, 1).await;
    assert_eq!(believed(&mut zombie).await, (1, vec![1, 2, 3]), "it has not heard of it");
    assert_eq!(code(zombie.call(9, &acknowledged_by(1, "late")).await), None);
    let read = zombie.fetch(&fetch("t", 0, 1, 0)).await;
    assert_eq!((read.high_watermark, read.records.unwrap().len()), (1, 0), "of what nobody else has nobody reads");
    let answer = old.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!(code(answer), Some(ErrorCode::RequestTimedOut));

    cluster.heal();
    assert_eq!(values(&cluster), ["both", "kept"]);
    assert_eq!(code(zombie.call(9, &acknowledged_by(1, "x")).await), Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(believed(&mut zombie).await, (2, vec![1, 2, 3]));
    assert_eq!(cluster.in_sync("t", 0), [2, 3, 1].map(NodeId));
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_is_mended_in_time_costs_nothing_but_the_wait() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let start = Instant::now();
    cluster.cut(Link::Brokers(NodeId(3)));
    let heal = async {
        tokio::time::sleep(LONG / 2).await;
        cluster.heal();
    };
    let request = acknowledged_by(-1, "x");
    let (answer, ()) = tokio::join!(peer.call(9, &request), heal);
    assert_eq!((code(answer), start.elapsed()), (None, LONG / 2));
    assert_eq!((cluster.leader("t", 0), cluster.in_sync("t", 0).len()), (Some(NodeId(1)), 3));
}

/// Without another replica in sync nobody may lead, and what the only one has taken stays.
#[tokio::test(start_paused = true)]
async fn the_only_replica_in_sync_keeps_what_it_took_while_it_was_cut_off() {
    let cluster = cluster().await;
    cluster.set_in_sync("t", 0, &[]);
    cluster.cut(Link::Brokers(NodeId(1)));
    tokio::time::sleep(LONG).await;
    assert_eq!(cluster.leader("t", 0), None);
    let mut peer = Peer::connect(&cluster, 1).await;
    assert_eq!(code(peer.call(9, &acknowledged_by(-1, "x")).await), None);
    cluster.heal();
    assert_eq!((cluster.leader("t", 0), values(&cluster)), (Some(NodeId(1)), vec!["x".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_cut_off_coordinates_nothing() {
    let cluster = cluster().await;
    let node = cluster.coordinator("g").unwrap();
    cluster.cut(Link::Brokers(node));
    let mut peer = Peer::connect(&cluster, node.0).await;
    let asked = HeartbeatRequest::default().with_group_id(GroupId("g".to_owned().into()));
    let code = async |peer: &mut Peer| ErrorCode::from_wire(peer.call(4, &asked).await.error_code);
    assert_eq!(code(&mut peer).await, Some(ErrorCode::CoordinatorNotAvailable));
    tokio::time::sleep(LONG).await;
    let next = cluster.coordinator("g").unwrap();
    assert_ne!(next, node);
    assert_eq!(code(&mut Peer::connect(&cluster, next.0).await).await, Some(ErrorCode::UnknownMemberId));
}

/// It led, then another did, who is dead now: the first has not the newest log.
#[tokio::test(start_paused = true)]
async fn a_log_that_another_has_led_since_is_not_taken_back() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    cluster.cut(Link::Brokers(NodeId(1)));
    tokio::time::sleep(LONG).await;
    let mut peer = Peer::connect(&cluster, 2).await;
    assert_eq!(code(peer.call(9, &acknowledged_by(-1, "x")).await), None);
    cluster.kill(NodeId(2));
    cluster.heal();
    assert_eq!(cluster.leader("t", 0), None, "it was not in sync");
    cluster.restart(NodeId(2)).await.unwrap();
    assert_eq!((cluster.leader("t", 0), values(&cluster)), (Some(NodeId(2)), vec!["x".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn two_that_are_cut_off_at_once_learn_nothing_of_each_other() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 2).await;
    cluster.cut(Link::Brokers(NodeId(1)));
    cluster.cut(Link::Brokers(NodeId(2)));
    tokio::time::sleep(LONG).await;
    assert_eq!(cluster.leader("t", 0), Some(NodeId(3)));
    assert_eq!(believed(&mut peer).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_dead_can_neither_be_paused_nor_cut_off() {
    let cluster = cluster().await;
    cluster.kill(NodeId(2));
    cluster.pause(NodeId(2));
    cluster.cut(Link::Brokers(NodeId(2)));
    tokio::time::sleep(LONG).await; // comes to its end
    cluster.restart(NodeId(2)).await.unwrap();
    assert_eq!(cluster.in_sync("t", 0).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_made_while_brokers_are_away_has_a_leader_and_is_held() {
    let cluster = cluster().await;
    cluster.kill(NodeId(2));
    cluster.cut(Link::Brokers(NodeId(3)));
    cluster.create_topic("new", 3).unwrap();
    assert!((0..3).all(|partition| cluster.leader("new", partition).is_some()));
    let leader = cluster.leader("new", 0).unwrap();
    let mut peer = Peer::connect(&cluster, leader.0).await;
    let request = produce("new", 0, batch(&[(1, "x")])).with_timeout_ms(1000);
    assert_eq!(code(peer.call(9, &request).await), Some(ErrorCode::RequestTimedOut));
}

/// Every acknowledgement by all is true in the end, whatever befalls the brokers meanwhile.
#[tokio::test(start_paused = true)]
async fn what_all_have_acknowledged_is_never_lost() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let lag = Duration::from_millis(if seed % 2 == 0 { 0 } else { 50 });
        let cluster = TestCluster::builder().brokers(3).topic("t", 1).replication_lag(lag).in_memory();
        let cluster = cluster.start().await.unwrap();
        let mut acknowledged = Vec::new();
        for step in 0..60 {
            let node = NodeId(random.i32(1..=3));
            match random.u8(..20) {
                0 => cluster.kill(node),
                1 | 2 => cluster.restart(node).await.unwrap(),
                3 => cluster.pause(node),
                4 | 5 => cluster.resume(node),
                6 => cluster.cut(Link::Brokers(node)),
                7 => cluster.heal(),
                8 => tokio::time::sleep(LONG).await,
                9 => tokio::time::sleep(lag).await,
                _ => {
                    let value = format!("{seed}/{step}");
                    let up = cluster.shared.state().nodes[&node].alive;
                    if up {
                        let mut peer = Peer::connect(&cluster, node.0).await;
                        peer.send(9, &acknowledged_by(-1, &value).with_timeout_ms(200)).await;
                        let answer = tokio::time::timeout(LONG / 20, peer.receive::<ProduceRequest>(9)).await;
                        if let Ok(Some(answer)) = answer
                            && code(answer).is_none()
                        {
                            acknowledged.push(value);
                        }
                    }
                }
            }
        }
        cluster.heal();
        for node in [1, 2, 3].map(NodeId) {
            cluster.resume(node);
            cluster.restart(node).await.unwrap();
        }
        let stored = values(&cluster);
        let lost: Vec<_> = acknowledged.iter().filter(|value| !stored.contains(value)).collect();
        assert!(lost.is_empty(), "seed {seed} has lost {lost:?} of {}", acknowledged.len());
        assert!(cluster.leader("t", 0).is_some() && cluster.in_sync("t", 0).len() == 3, "seed {seed}");
    }
}
