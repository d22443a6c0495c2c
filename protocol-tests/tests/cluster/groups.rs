//! Consumer groups: two members that balance and fail over, static members, cooperative rebalances, silence, commits.
#![allow(clippy::disallowed_methods, reason = "tests spawn and read tokio's paused clock")]

use crate::network::Network;
use milena::broker::{ApiKey, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::connect::Connect;
use milena::consumer::{Consumer, ConsumerConfig, Event, OffsetReset};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{NodeId, OffsetAndMetadata, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const TOPIC: &str = "clicks";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn cluster(partitions: i32) -> TestCluster {
    TestCluster::builder().brokers(3).topic(TOPIC, partitions).in_memory().start().await.unwrap()
}

fn client_over(cluster: &TestCluster, connect: impl Connect) -> Client {
    Client::new(ClientConfig::new([cluster.bootstrap()]).connect(connect).virtual_time().seed(7)).unwrap()
}

pub(crate) fn client(cluster: &TestCluster) -> Client {
    client_over(cluster, cluster.connector())
}

pub(crate) fn config() -> ConsumerConfig {
    ConsumerConfig::group("g")
        .auto_offset_reset(OffsetReset::Earliest)
        .enable_auto_commit(false)
        .session_timeout(10 * SECOND)
        .heartbeat_interval(SECOND)
        .partition_assignment_strategy(["cooperative-sticky"])
}

pub(crate) async fn member(cluster: &TestCluster, config: ConsumerConfig) -> Consumer {
    let mut consumer = client(cluster).consumer(config).unwrap();
    consumer.subscribe([TOPIC]).await.unwrap();
    consumer
}

/// `count` records, dealt over the partitions; the value is the number.
pub(crate) async fn produce(cluster: &TestCluster, partitions: i32, numbers: std::ops::Range<u32>) {
    let producer = client(cluster).producer(ProducerConfig::default()).unwrap();
    for number in numbers {
        let value = number.to_be_bytes();
        let partition = i32::try_from(number).unwrap() % partitions;
        drop(producer.send(ProducerRecord::new(TOPIC).partition(partition).value(&value)).await.unwrap());
    }
    assert_eq!(producer.flush(10 * SECOND).await.unwrap(), 0);
}

/// Polls all of them in turn, for so long.
pub(crate) async fn poll_all(consumers: &mut [&mut Consumer], wait: Duration) -> Vec<u32> {
    let end = Instant::now() + wait;
    let mut read = vec![];
    while Instant::now() < end {
        for consumer in consumers.iter_mut() {
            let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
            read.extend(
                (&records).into_iter().map(|record| u32::from_be_bytes(record.value().unwrap().try_into().unwrap())),
            );
        }
    }
    read
}

pub(crate) fn held(consumer: &Consumer) -> BTreeSet<i32> {
    consumer.assignment().iter().map(|partition| partition.partition).collect()
}

/// Everything that `next` tells for so long, records left out.
pub(crate) async fn events(consumer: &mut Consumer, wait: Duration) -> Vec<String> {
    let end = Instant::now() + wait;
    let mut told = vec![];
    while Instant::now() < end {
        match consumer.next(end - Instant::now()).await.unwrap() {
            Some(Event::Assigned(partitions)) => told.push(format!("assigned {}", partitions.len())),
            Some(Event::Revoking(revoking)) => told.push(format!("revoking {}", revoking.len())),
            Some(Event::Lost(partitions)) => told.push(format!("lost {}", partitions.len())),
            _ => {}
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn two_members_share_the_partitions_and_one_takes_over_from_the_other() {
    for strategy in [&["range", "cooperative-sticky"][..], &["cooperative-sticky"], &["roundrobin"]] {
        let cluster = cluster(6).await;
        produce(&cluster, 6, 0..600).await;
        let config = config().enable_auto_commit(true).partition_assignment_strategy(strategy.iter().copied());
        let mut one = member(&cluster, config.clone()).await;
        let mut read = poll_all(&mut [&mut one], 5 * SECOND).await;
        assert_eq!(held(&one).len(), 6);
        let mut two = member(&cluster, config).await;
        read.extend(poll_all(&mut [&mut one, &mut two], 10 * SECOND).await);
        assert_eq!((held(&one).len(), held(&two).len()), (3, 3), "{strategy:?}");
        assert!(held(&one).is_disjoint(&held(&two)));
        produce(&cluster, 6, 600..1200).await;
        read.extend(poll_all(&mut [&mut one, &mut two], 5 * SECOND).await);
        two.close(5 * SECOND).await.unwrap();
        produce(&cluster, 6, 1200..1800).await;
        read.extend(poll_all(&mut [&mut one], 8 * SECOND).await);
        assert_eq!(held(&one).len(), 6, "it left on close: nobody waits for its session");
        one.close(5 * SECOND).await.unwrap();
        read.sort_unstable();
        assert_eq!(read, (0..1800).collect::<Vec<_>>(), "{strategy:?}: each record once, over three rebalances");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_is_where_the_next_one_starts() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let at: TopicPartition = (TOPIC, 0).into();
    let mut first = member(&cluster, config()).await;
    assert_eq!(poll_all(&mut [&mut first], SECOND).await.len(), 10);
    let offset = OffsetAndMetadata { metadata: "window 7".into(), ..OffsetAndMetadata::new(4) };
    first.commit_offsets(HashMap::from([(at.clone(), offset.clone())])).await.unwrap();
    assert_eq!(first.committed(std::slice::from_ref(&at)).await.unwrap()[&at], offset);
    first.close(SECOND).await.unwrap();

    let mut second = member(&cluster, config()).await;
    assert_eq!(poll_all(&mut [&mut second], SECOND).await, [4, 5, 6, 7, 8, 9]);
    second.commit().await.unwrap();
    assert_eq!(cluster.committed("g", &at).unwrap().offset, 10);

    let mut by_hand = client(&cluster).consumer(config().group_id("other")).unwrap();
    by_hand.assign([(TOPIC, 0)]).await.unwrap();
    assert_eq!(poll_all(&mut [&mut by_hand], SECOND).await.len(), 10, "no commit: auto.offset.reset");
    by_hand.commit_offsets(HashMap::from([(at.clone(), OffsetAndMetadata::new(7))])).await.unwrap();
    by_hand.unsubscribe().await.unwrap();
    by_hand.assign([(TOPIC, 0)]).await.unwrap();
    assert_eq!(
        poll_all(&mut [&mut by_hand], SECOND).await,
        [7, 8, 9],
        "assigned by hand, the group's commit counts too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_restarts_takes_its_partitions_back_and_the_others_notice_nothing() {
    let cluster = cluster(4).await;
    let named = |name: &str| config().group_instance_id(name);
    let mut one = member(&cluster, named("one")).await;
    let mut two = member(&cluster, named("two")).await;
    poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
    let before = held(&two);
    assert_eq!(before.len(), 2);
    let generation = one.group_metadata().generation();
    two.close(SECOND).await.unwrap();
    assert_eq!(events(&mut one, 5 * SECOND).await, Vec::<String>::new());
    let mut two = member(&cluster, named("two")).await;
    poll_all(&mut [&mut two], SECOND).await;
    assert_eq!(held(&two), before);
    assert_eq!(events(&mut one, 5 * SECOND).await, Vec::<String>::new());
    assert_eq!(one.group_metadata().generation(), generation);

    let mut impostor = member(&cluster, named("two")).await;
    poll_all(&mut [&mut impostor], SECOND).await;
    let fenced = loop {
        match two.next(5 * SECOND).await {
            Err(error) => break error,
            Ok(None) => panic!("not fenced"),
            Ok(Some(_)) => {}
        }
    };
    assert_eq!(fenced.code(), Some(ErrorCode::FencedInstanceId));
    assert!(two.poll(SECOND).await.is_err(), "and stays so");
}

/// A move takes two rebalances, and of each the members learn by a heartbeat. All send theirs at the same time after the
/// first: the second began a whole interval later, and a newcomer read nothing for up to two.
#[tokio::test(start_paused = true)]
async fn a_cooperative_newcomer_has_its_share_after_little_more_than_a_heartbeat_interval() {
    for phase in 0..7 {
        let cluster = cluster(12).await;
        let config = || config().heartbeat_interval(3 * SECOND);
        let mut members = JoinSet::new();
        for _ in 0..3 {
            let mut member = member(&cluster, config()).await;
            members.spawn(async move { while member.next(60 * SECOND).await.is_ok() {} });
        }
        sleep(20 * SECOND + phase * SECOND / 2).await;
        let start = Instant::now();
        let mut newcomer = member(&cluster, config()).await;
        while held(&newcomer).len() < 3 {
            newcomer.next(60 * SECOND).await.unwrap().expect("it gets its share");
        }
        assert!(start.elapsed() < 4 * SECOND, "{:?} in phase {phase}", start.elapsed());
        assert!(members.try_join_next().is_none(), "the others read on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cooperative_member_goes_on_reading_what_it_keeps() {
    let cluster = cluster(4).await;
    let mut one = member(&cluster, config()).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    let all = held(&one);
    let mut two = member(&cluster, config()).await;
    let joining = tokio::spawn(async move {
        poll_all(&mut [&mut two], 10 * SECOND).await;
        two
    });
    let mut kept = all.clone();
    let (mut read, mut sent) = (0, 0);
    let end = Instant::now() + 8 * SECOND;
    while Instant::now() < end {
        produce(&cluster, 4, sent..sent + 4).await;
        sent += 4;
        read += poll_all(&mut [&mut one], Duration::from_millis(200)).await.len();
        assert!(!held(&one).is_empty(), "a cooperative member never gives up everything");
        kept.retain(|partition| held(&one).contains(partition));
    }
    let two = joining.await.unwrap();
    assert_eq!((kept.len(), held(&two).len()), (2, 2), "two moved, and two were held all the time");
    assert!(read >= sent as usize / 2, "{read} of {sent}");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_waits_for_the_application_which_can_commit_meanwhile() {
    for strategy in ["range", "cooperative-sticky"] {
        let cluster = cluster(2).await;
        produce(&cluster, 2, 0..20).await;
        let config = config().partition_assignment_strategy([strategy]);
        let mut one = member(&cluster, config.clone()).await;
        assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await.len(), 20);
        let mut two = member(&cluster, config).await;
        let revoking = loop {
            match one.next(20 * SECOND).await.unwrap() {
                Some(Event::Revoking(revoking)) => break revoking,
                Some(_) => {}
                None => panic!("{strategy}: no revocation"),
            }
        };
        cluster.reset_requests();
        assert_eq!(
            poll_all(&mut [&mut two], 60 * SECOND).await,
            Vec::<u32>::new(),
            "{strategy}: not before it is done"
        );
        assert!(
            cluster.requests(ApiKey::Heartbeat).count >= 59,
            "heartbeats go on: {:?}",
            cluster.requests(ApiKey::Heartbeat)
        );
        one.commit().await.unwrap();
        let revoked = revoking.partitions().to_vec();
        revoking.done();
        assert!(revoked.iter().all(|partition| !one.assignment().contains(partition)));
        poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
        assert_eq!((held(&one).len(), held(&two).len()), (1, 1), "{strategy}");
        produce(&cluster, 2, 20..22).await;
        let mut read = poll_all(&mut [&mut one, &mut two], 3 * SECOND).await;
        read.sort_unstable();
        assert_eq!(read, [20, 21], "{strategy}: what was committed in the revocation is not read again");
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_finish_a_revocation_is_overruled() {
    let cluster = cluster(2).await;
    let config = config().max_poll_interval(30 * SECOND);
    let mut one = member(&cluster, config.clone()).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    let mut two = member(&cluster, config).await;
    let revoking = loop {
        if let Some(Event::Revoking(revoking)) = one.next(20 * SECOND).await.unwrap() {
            break revoking;
        }
    };
    let mut told = vec![];
    for _ in 0..40 {
        told.extend(events(&mut one, SECOND).await);
        poll_all(&mut [&mut two], SECOND / 10).await;
    }
    assert!(told.contains(&"lost 1".to_owned()), "{told:?}");
    let held_by_one = held(&one);
    drop(revoking);
    assert_eq!(held(&one), held_by_one, "too late to change anything");
    assert_eq!(held(&two).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_application_loses_its_partitions_and_is_back_with_its_next_poll() {
    let cluster = cluster(2).await;
    let config = config().max_poll_interval(20 * SECOND);
    let mut one = member(&cluster, config.clone()).await;
    let mut two = member(&cluster, config).await;
    poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
    poll_all(&mut [&mut two], 30 * SECOND).await;
    assert_eq!(held(&two).len(), 2, "its heartbeats alone don't keep a member in the group");
    let late = HashMap::from([((TOPIC, 0).into(), OffsetAndMetadata::new(0))]);
    assert!(one.commit_offsets(late).await.is_err());
    assert_eq!(events(&mut one, SECOND / 10).await, ["lost 1"]);
    poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn waiting_inside_of_a_poll_is_not_silence() {
    let cluster = cluster(2).await;
    let mut one = member(&cluster, config().max_poll_interval(10 * SECOND)).await;
    assert_eq!(events(&mut one, 120 * SECOND).await, ["assigned 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_is_expired_and_its_late_commit_changes_nothing() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..10).await;
    let network = Network::new(cluster.connector());
    let mut one = client_over(&cluster, network.clone()).consumer(config()).unwrap();
    one.subscribe([TOPIC]).await.unwrap();
    poll_all(&mut [&mut one], 3 * SECOND).await;
    let mut two = member(&cluster, config()).await;
    poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
    network.fall_silent();
    let began = Instant::now();
    while held(&two).len() < 2 {
        poll_all(&mut [&mut two], SECOND / 5).await;
        assert!(began.elapsed() < 20 * SECOND, "never expired");
    }
    assert!(began.elapsed() >= 8 * SECOND, "it has a session to sit out: {:?}", began.elapsed());
    two.commit().await.unwrap();
    let committed = |partition| cluster.committed("g", &(TOPIC, partition).into()).map(|offset| offset.offset);
    assert_eq!((committed(0), committed(1)), (Some(5), Some(5)));
    // It comes back from its nap, and commits what it thinks is its own.
    network.mend();
    let mine = one.assignment()[0].clone();
    let late = one.commit_offsets(HashMap::from([(mine, OffsetAndMetadata::new(1))]));
    if let Ok(outcome) = timeout(55 * SECOND, late).await {
        assert!(outcome.is_err(), "it is not its own any more");
    }
    assert_eq!((committed(0), committed(1)), (Some(5), Some(5)));
}

/// What was read before it was lost is not known to the one that has it now, though that is the same member again.
#[tokio::test(start_paused = true)]
async fn what_was_read_under_a_lost_assignment_is_not_committed_under_the_next() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let network = Network::new(cluster.connector());
    let mut one = client_over(&cluster, network.clone()).consumer(config()).unwrap();
    one.subscribe([TOPIC]).await.unwrap();
    poll_all(&mut [&mut one], 3 * SECOND).await;
    network.fall_silent();
    let mut two = member(&cluster, config()).await;
    poll_all(&mut [&mut two], 20 * SECOND).await;
    two.commit_offsets([((TOPIC, 0).into(), OffsetAndMetadata::new(5))]).await.unwrap();
    two.close(5 * SECOND).await.unwrap();
    network.mend();
    sleep(20 * SECOND).await; // it joins anew, and the application has not been told
    let committed = || cluster.committed("g", &(TOPIC, 0).into()).map(|offset| offset.offset);
    assert!(one.commit_offsets([((TOPIC, 0).into(), OffsetAndMetadata::new(1))]).await.is_err());
    assert!(one.commit().await.is_err());
    assert_eq!(committed(), Some(5));
    assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await, [5, 6, 7, 8, 9], "it goes on where the group is");
    one.commit().await.unwrap();
    assert_eq!(committed(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_leaves_within_a_second() {
    let cluster = cluster(2).await;
    let mut one = member(&cluster, config()).await;
    let mut two = member(&cluster, config()).await;
    poll_all(&mut [&mut one, &mut two], 5 * SECOND).await;
    drop(one);
    poll_all(&mut [&mut two], 3 * SECOND).await;
    assert_eq!(held(&two).len(), 2);
    let client = client(&cluster);
    let mut three = client.consumer(config()).unwrap();
    three.subscribe([TOPIC]).await.unwrap();
    poll_all(&mut [&mut three], SECOND).await;
    drop(three);
    sleep(2 * SECOND).await;
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_parked_join_does_not_hold_up_heartbeats_nor_close() {
    let cluster = cluster(2).await;
    let mut one = member(&cluster, config()).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    // Eager: it holds on to its partitions, so that the other's JoinGroup is parked.
    let two = member(&cluster, config()).await;
    sleep(30 * SECOND).await;
    let began = Instant::now();
    two.close(5 * SECOND).await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_may_move_and_may_be_slow_to_load() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..10).await;
    let mut one = member(&cluster, config()).await;
    assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await.len(), 10);
    let from = cluster.coordinator("g").unwrap();
    let to = (1..=3).map(NodeId).find(|node| *node != from).unwrap();
    cluster.move_coordinator("g", to);
    cluster.fault(ApiKey::OffsetCommit).once().error(ErrorCode::CoordinatorLoadInProgress);
    one.commit().await.unwrap();
    assert_eq!(cluster.committed("g", &(TOPIC, 0).into()).unwrap().offset, 5);
    assert_eq!(events(&mut one, 30 * SECOND).await, Vec::<String>::new(), "the membership survives");
    assert_eq!(held(&one).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_dies_costs_nothing_but_a_lookup() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..10).await;
    let mut one = member(&cluster, config().group_instance_id("one")).await;
    let mut two = member(&cluster, config()).await;
    let read = poll_all(&mut [&mut one, &mut two], 5 * SECOND).await.len();
    let dead = cluster.coordinator("g").unwrap();
    cluster.kill(dead);
    produce(&cluster, 2, 10..20).await;
    let more = poll_all(&mut [&mut one, &mut two], 20 * SECOND).await.len();
    assert_eq!(read + more, 20, "each record once");
    assert_ne!(cluster.coordinator("g"), Some(dead));
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    let committed = |partition| cluster.committed("g", &(TOPIC, partition).into()).map(|offset| offset.offset);
    assert_eq!((committed(0), committed(1)), (Some(10), Some(10)));
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn close_is_bounded_with_no_coordinator_to_be_found() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, config().enable_auto_commit(true)).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    cluster.fault(ApiKey::OffsetCommit).error(ErrorCode::CoordinatorNotAvailable);
    cluster.fault(ApiKey::FindCoordinator).error(ErrorCode::CoordinatorNotAvailable);
    let began = Instant::now();
    let error = one.close(4 * SECOND).await.unwrap_err();
    assert!(error.is_timeout() && began.elapsed() <= 5 * SECOND, "{error} after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_leader_notices_new_partitions() {
    let cluster = cluster(2).await;
    let config = config();
    let client_config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time();
    let client = Client::new(client_config.metadata_max_age(10 * SECOND)).unwrap();
    let mut one = client.consumer(config).unwrap();
    one.subscribe([TOPIC]).await.unwrap();
    poll_all(&mut [&mut one], 3 * SECOND).await;
    client.admin().create_partitions([(TOPIC, 5)]).await.unwrap()[TOPIC].clone().unwrap();
    poll_all(&mut [&mut one], 15 * SECOND).await;
    assert_eq!(held(&one).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn auto_commit_commits_what_earlier_polls_returned_and_nothing_else() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, config().enable_auto_commit(true).auto_commit_interval(5 * SECOND)).await;
    let committed = || cluster.committed("g", &(TOPIC, 0).into()).map(|offset| offset.offset);
    let mut read = 0;
    while read < 10 {
        read += one.poll(SECOND).await.unwrap().count();
    }
    sleep(20 * SECOND).await; // still at work on what the poll returned
    assert_eq!(committed(), None);
    produce(&cluster, 1, 10..12).await;
    assert_eq!(one.poll(SECOND).await.unwrap().count(), 2);
    sleep(SECOND).await;
    assert_eq!(committed(), Some(10), "the two of this poll are not processed yet");
    one.close(SECOND).await.unwrap();
    assert_eq!(committed(), Some(12), "close is the end of processing");
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_out_is_committed_while_a_long_poll_waits() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, config().enable_auto_commit(true).auto_commit_interval(5 * SECOND)).await;
    assert_eq!(poll_all(&mut [&mut one], 6 * SECOND).await.len(), 10);
    produce(&cluster, 1, 10..12).await;
    assert_eq!(one.poll(SECOND).await.unwrap().count(), 2);
    let committed = || cluster.committed("g", &(TOPIC, 0).into()).map(|offset| offset.offset);
    let look = async {
        sleep(10 * SECOND).await;
        committed()
    };
    let (records, looked) = tokio::join!(one.poll(60 * SECOND), look);
    assert_eq!((records.unwrap().count(), looked), (0, Some(12)));
}

#[tokio::test(start_paused = true)]
async fn an_auto_commit_that_failed_is_made_again_though_nothing_new_is_read() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, config().enable_auto_commit(true).auto_commit_interval(5 * SECOND)).await;
    // Not tried again by the coordinator's client, as nobody waits for it.
    cluster.fault(ApiKey::OffsetCommit).once().error(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(poll_all(&mut [&mut one], 20 * SECOND).await.len(), 10);
    assert_eq!(cluster.committed("g", &(TOPIC, 0).into()).map(|offset| offset.offset), Some(10));
}

#[tokio::test(start_paused = true)]
async fn offsets_that_a_coordinator_refuses_to_say_are_asked_for_again_and_that_is_told() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..10).await;
    let mut one = member(&cluster, config()).await;
    cluster.fault(ApiKey::OffsetFetch).times(2).error(ErrorCode::GroupAuthorizationFailed);
    let (mut told, mut read) = (vec![], 0);
    let began = Instant::now();
    while read < 10 {
        assert!(began.elapsed() < 20 * SECOND, "{read} read, {told:?} told");
        match one.poll(SECOND).await {
            Ok(records) => read += records.count(),
            Err(error) => told.push(error.code()),
        }
    }
    assert_eq!(told, [Some(ErrorCode::GroupAuthorizationFailed); 2]);
}

#[tokio::test(start_paused = true)]
async fn commits_do_not_overtake_each_other_however_slow_the_coordinator_is() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, config()).await;
    poll_all(&mut [&mut one], 2 * SECOND).await;
    cluster.fault(ApiKey::OffsetCommit).once().delay(3 * SECOND).error(ErrorCode::CoordinatorLoadInProgress);
    for offset in 1..=5 {
        one.seek(&(TOPIC, 0).into(), offset).unwrap();
        one.commit_async();
    }
    sleep(10 * SECOND).await;
    assert_eq!(cluster.committed("g", &(TOPIC, 0).into()).unwrap().offset, 5);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_with_a_reason() {
    let cluster = cluster(1).await;
    let mut lone = client(&cluster).consumer(ConsumerConfig::default()).unwrap();
    assert_eq!(lone.subscribe([TOPIC]).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(lone.commit().await.unwrap_err().kind(), ErrorKind::Config);
    let unknown = config().partition_assignment_strategy(["best"]);
    assert_eq!(client(&cluster).consumer(unknown).unwrap_err().kind(), ErrorKind::Config);
    let mut by_hand = client(&cluster).consumer(config()).unwrap();
    by_hand.assign([(TOPIC, 0)]).await.unwrap();
    assert_eq!(by_hand.subscribe([TOPIC]).await.unwrap_err().kind(), ErrorKind::State);
    let mut subscribed = member(&cluster, config()).await;
    assert_eq!(subscribed.assign([(TOPIC, 0)]).await.unwrap_err().kind(), ErrorKind::State);
    poll_all(&mut [&mut subscribed], SECOND).await;
    let stray = HashMap::from([(("elsewhere", 0).into(), OffsetAndMetadata::new(1))]);
    assert!(subscribed.commit_offsets(stray).await.is_err(), "not ours to commit");
}

#[tokio::test(start_paused = true)]
async fn the_admin_sees_members_offsets_and_lag() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..20).await;
    let mut one = member(&cluster, config().group_instance_id("one")).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    one.commit().await.unwrap();
    produce(&cluster, 2, 20..26).await;
    let admin = client(&cluster).admin();
    let listed = admin.list_groups().await.unwrap();
    assert_eq!(listed.iter().map(|group| &*group.group_id).collect::<Vec<_>>(), ["g"]);
    let group = admin.describe_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap();
    assert_eq!((&*group.state, &*group.assignor, group.members.len()), ("Stable", "cooperative-sticky", 1));
    assert_eq!(group.members[0].instance_id.as_deref(), Some("one"));
    assert_eq!(group.members[0].assignment.len(), 2);
    let offsets = admin.list_group_offsets("g").await.unwrap();
    let lags: BTreeMap<_, _> = offsets.iter().map(|(at, offset)| (at.partition, offset.lag())).collect();
    assert_eq!(lags, BTreeMap::from([(0, Some(3)), (1, Some(3))]));
    let refused = admin.delete_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::NonEmptyGroup));
}

/// Whose LeaveGroup was dropped unsent, four times of five: the partitions lay idle for a session.
#[tokio::test(start_paused = true)]
async fn who_unsubscribes_and_is_closed_or_dropped_at_once_has_left_the_group() {
    for seed in 0..10 {
        let cluster = cluster(1).await;
        let mut one = client(&cluster).consumer(config()).unwrap();
        one.subscribe([TOPIC]).await.unwrap();
        poll_all(&mut [&mut one], 5 * SECOND).await;
        assert_eq!(held(&one).len(), 1);
        one.unsubscribe().await.unwrap();
        match seed % 2 {
            0 => one.close(SECOND).await.unwrap(),
            _ => drop(one),
        }
        sleep(SECOND).await;
        assert_eq!(cluster.group("g").map(|group| group.2), Some(0), "members");
    }
}

/// It was held to be committed already, and an idle consumer never committed it.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_committed_before_a_partition_came_back_is_committed_then() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let config = config().enable_auto_commit(true).auto_commit_interval(SECOND);
    let mut one = member(&cluster, config).await;
    cluster.fault(ApiKey::OffsetCommit).error(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(poll_all(&mut [&mut one], 5 * SECOND).await.len(), 10);
    one.unsubscribe().await.unwrap();
    cluster.clear_faults();
    assert_eq!(cluster.committed("g", &(TOPIC, 0).into()), None);
    one.subscribe([TOPIC]).await.unwrap();
    assert_eq!(poll_all(&mut [&mut one], 5 * SECOND).await.len(), 10);
    assert_eq!(cluster.committed("g", &(TOPIC, 0).into()).map(|at| at.offset), Some(10));
}
