//! Groups whose coordinator assigns (KIP-848): what `groups.rs` asks of classic ones, and what may go wrong on the way.
#![allow(clippy::disallowed_methods, reason = "tests spawn and read tokio's paused clock")]

use crate::groups::{SECOND, TOPIC, cluster, events, held, poll_all, produce};
use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, Event, GroupProtocol, OffsetReset, TopicPattern};
use milena::error::{Error, ErrorCode};
use milena::ids::{NodeId, OffsetAndMetadata};
use std::collections::HashMap;
use std::time::Duration;

fn config() -> ConsumerConfig {
    ConsumerConfig::group("g")
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        .group_protocol(GroupProtocol::Consumer)
}

/// `seed`: another one for each member, or they would be one.
fn client(cluster: &TestCluster, seed: u64) -> Client {
    Client::new(ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(seed))
        .unwrap()
}

async fn member(cluster: &TestCluster, seed: u64, config: ConsumerConfig) -> Consumer {
    let mut consumer = client(cluster, seed).consumer(config).unwrap();
    consumer.subscribe([TOPIC]).await.unwrap();
    consumer
}

async fn pair(cluster: &TestCluster, config: ConsumerConfig) -> (Consumer, Consumer) {
    let mut one = member(cluster, 1, config.clone()).await;
    let mut two = member(cluster, 2, config).await;
    poll_all(&mut [&mut one, &mut two], 20 * SECOND).await;
    assert_eq!(held(&one).len(), held(&two).len());
    assert!(held(&one).is_disjoint(&held(&two)));
    (one, two)
}

async fn failure(consumer: &mut Consumer) -> Error {
    loop {
        match consumer.next(60 * SECOND).await {
            Err(error) => return error,
            Ok(None) => panic!("not refused"),
            Ok(Some(_)) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_members_share_the_partitions_and_one_takes_over_from_the_other() {
    let cluster = cluster(6).await;
    produce(&cluster, 6, 0..600).await;
    let config = config().enable_auto_commit(true);
    let mut one = member(&cluster, 1, config.clone()).await;
    let mut read = poll_all(&mut [&mut one], 5 * SECOND).await;
    assert_eq!(held(&one).len(), 6);
    let mut two = member(&cluster, 2, config).await;
    read.extend(poll_all(&mut [&mut one, &mut two], 20 * SECOND).await);
    assert_eq!((held(&one).len(), held(&two).len()), (3, 3));
    produce(&cluster, 6, 600..1200).await;
    read.extend(poll_all(&mut [&mut one, &mut two], 5 * SECOND).await);
    two.close(5 * SECOND).await.unwrap();
    produce(&cluster, 6, 1200..1800).await;
    read.extend(poll_all(&mut [&mut one], 12 * SECOND).await);
    assert_eq!(held(&one).len(), 6, "it left on close: nobody waits for its session");
    one.close(5 * SECOND).await.unwrap();
    read.sort_unstable();
    assert_eq!(read, (0..1800).collect::<Vec<_>>(), "each record once, over three rebalances");
}

/// The coordinator gives out partitions that the member's metadata, which is fresh for minutes, has not seen.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_assigned_and_not_known_yet_is_read_at_once() {
    let cluster = cluster(2).await;
    let mut one = member(&cluster, 1, config()).await;
    poll_all(&mut [&mut one], 10 * SECOND).await;
    client(&cluster, 2).admin().create_partitions([(TOPIC, 3)]).await.unwrap()[TOPIC].clone().unwrap();
    cluster.fault(ApiKey::Metadata).times(2).delay(SECOND); // and asking takes its time
    poll_all(&mut [&mut one], 10 * SECOND).await;
    assert_eq!(held(&one).len(), 3);
    produce(&cluster, 3, 0..3).await;
    assert_eq!(poll_all(&mut [&mut one], 5 * SECOND).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_waits_for_the_application_which_can_commit_meanwhile() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..20).await;
    let mut one = member(&cluster, 1, config()).await;
    assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await.len(), 20);
    let mut two = member(&cluster, 2, config()).await;
    let revoking = loop {
        match one.next(20 * SECOND).await.unwrap() {
            Some(Event::Revoking(revoking)) => break revoking,
            Some(_) => {}
            None => panic!("no revocation"),
        }
    };
    cluster.reset_requests();
    assert_eq!(poll_all(&mut [&mut two], 60 * SECOND).await, Vec::<u32>::new(), "not before it is done");
    let beats = cluster.requests(ApiKey::ConsumerGroupHeartbeat).count;
    assert!(beats >= 23, "both members' heartbeats go on: {beats}");
    one.commit().await.unwrap();
    revoking.done();
    poll_all(&mut [&mut one, &mut two], 12 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
    produce(&cluster, 2, 20..22).await;
    let mut read = poll_all(&mut [&mut one, &mut two], 3 * SECOND).await;
    read.sort_unstable();
    assert_eq!(read, [20, 21], "what was committed in the revocation is not read again");
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_restarts_takes_its_partitions_back_and_an_impostor_is_kept_out() {
    let cluster = cluster(4).await;
    let named = |name: &str| config().group_instance_id(name);
    let mut one = member(&cluster, 1, named("one")).await;
    let mut two = member(&cluster, 2, named("two")).await;
    poll_all(&mut [&mut one, &mut two], 20 * SECOND).await;
    let (before, epoch) = (held(&two), one.group_metadata().generation());
    assert_eq!(before.len(), 2);
    two.close(SECOND).await.unwrap();
    assert_eq!(events(&mut one, 12 * SECOND).await, Vec::<String>::new());
    let mut two = member(&cluster, 3, named("two")).await;
    poll_all(&mut [&mut two], SECOND).await;
    assert_eq!(held(&two), before);
    assert_eq!(events(&mut one, 12 * SECOND).await, Vec::<String>::new());
    assert_eq!(one.group_metadata().generation(), epoch);
    let refused = failure(&mut member(&cluster, 4, named("two")).await).await;
    assert_eq!(refused.code(), Some(ErrorCode::UnreleasedInstanceId), "{refused}");
    assert_eq!(events(&mut two, 12 * SECOND).await, Vec::<String>::new(), "the rightful one goes on");
}

/// KAFKA-19222, and what else may happen to a heartbeat on its way.
#[tokio::test(start_paused = true)]
async fn heartbeats_and_answers_that_get_lost_cost_nobody_the_membership() {
    let cluster = cluster(6).await;
    let (mut one, mut two) = pair(&cluster, config()).await;
    for seed in 0..10 {
        cluster.fault(ApiKey::ConsumerGroupHeartbeat).probability(0.3, seed).apply_then_disconnect();
        cluster.fault(ApiKey::ConsumerGroupHeartbeat).probability(0.3, seed + 100).disconnect();
        let mut three = member(&cluster, seed + 10, config()).await;
        for _ in 0..30 {
            for consumer in [&mut one, &mut two, &mut three] {
                let told = events(consumer, SECOND / 3).await;
                assert!(!told.iter().any(|event| event.starts_with("lost")), "{told:?}");
            }
        }
        cluster.clear_faults();
        three.close(5 * SECOND).await.unwrap();
    }
    poll_all(&mut [&mut one, &mut two], 20 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_member_loses_all_and_is_back_as_itself() {
    let cluster = cluster(4).await;
    let (mut one, mut two) = pair(&cluster, config()).await;
    let id = |consumer: &Consumer| consumer.group_metadata().member_id().to_owned();
    let before = [id(&one), id(&two)];
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let node = cluster.coordinator("g").unwrap();
        cluster.fault(ApiKey::ConsumerGroupHeartbeat).on_node(node).times(2).error(code);
        let mut told = events(&mut one, 6 * SECOND).await;
        told.extend(events(&mut two, SECOND).await);
        assert!(told.contains(&"lost 2".to_owned()), "{code}: one of them, or both: {told:?}");
        poll_all(&mut [&mut one, &mut two], 30 * SECOND).await;
        assert_eq!((held(&one).len(), held(&two).len()), (2, 2), "{code}");
        assert_eq!([id(&one), id(&two)], before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_application_loses_its_partitions_and_is_back_with_its_next_poll() {
    let cluster = cluster(2).await;
    let (mut one, mut two) = pair(&cluster, config().max_poll_interval(30 * SECOND)).await;
    poll_all(&mut [&mut two], 45 * SECOND).await;
    assert_eq!(held(&two).len(), 2, "its heartbeats alone don't keep a member in the group");
    let late = HashMap::from([((TOPIC, 0).into(), OffsetAndMetadata::new(0))]);
    assert!(one.commit_offsets(late).await.is_err());
    assert_eq!(events(&mut one, SECOND / 10).await[0], "lost 1");
    poll_all(&mut [&mut one, &mut two], 20 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_may_move_and_may_die() {
    let cluster = cluster(4).await;
    produce(&cluster, 4, 0..40).await;
    let (mut one, mut two) = pair(&cluster, config()).await;
    let node = cluster.coordinator("g").unwrap();
    let next = NodeId(node.0 % 3 + 1);
    cluster.move_coordinator("g", next);
    let told = events(&mut one, 12 * SECOND).await;
    assert_eq!((told, events(&mut two, 12 * SECOND).await), (vec![], vec![]));
    one.commit().await.unwrap();
    cluster.kill(next);
    poll_all(&mut [&mut one, &mut two], 30 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (2, 2));
    one.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn topics_that_the_coordinator_matches_are_read_also_those_made_later() {
    let cluster = cluster(2).await;
    cluster.create_topic("match.a", 3).unwrap();
    let mut consumer = client(&cluster, 1).consumer(config()).unwrap();
    consumer.subscribe_pattern(TopicPattern::new("match[.].").unwrap()).await.unwrap();
    poll_all(&mut [&mut consumer], 15 * SECOND).await;
    assert_eq!(consumer.assignment().len(), 3);
    cluster.create_topic("match.b", 2).unwrap();
    cluster.create_topic("match.bb", 2).unwrap();
    poll_all(&mut [&mut consumer], 30 * SECOND).await;
    assert_eq!(consumer.assignment().len(), 5, "match.bb is matched in part only");
    // An expression that only the broker refuses.
    cluster.fault(ApiKey::ConsumerGroupHeartbeat).error(ErrorCode::InvalidRegularExpression);
    consumer.subscribe_pattern(TopicPattern::new("else").unwrap()).await.unwrap();
    assert_eq!(failure(&mut consumer).await.code(), Some(ErrorCode::InvalidRegularExpression));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_leaves_within_a_second() {
    let cluster = cluster(2).await;
    let (one, mut two) = pair(&cluster, config()).await;
    drop(one);
    tokio::time::sleep(SECOND).await;
    assert_eq!(cluster.group("g").map(|group| group.2), Some(1));
    poll_all(&mut [&mut two], 12 * SECOND).await;
    assert_eq!(held(&two).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_consumer_groups_is_told_of_in_words() {
    let cluster = cluster(2).await;
    cluster.fault(ApiKey::ConsumerGroupHeartbeat).error(ErrorCode::UnsupportedVersion);
    let error = failure(&mut member(&cluster, 1, config()).await).await;
    assert!(error.to_string().contains("group.protocol=classic"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn close_is_bounded_with_no_coordinator_to_be_found() {
    let cluster = cluster(2).await;
    let (one, two) = pair(&cluster, config()).await;
    for node in 1..=3 {
        cluster.kill(NodeId(node));
    }
    let began = tokio::time::Instant::now();
    for consumer in [one, two] {
        assert!(consumer.close(2 * SECOND).await.is_err() || began.elapsed() < 3 * SECOND);
    }
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
}
