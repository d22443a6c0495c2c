//! What goes wrong, what is told of it, and what is reset.

use super::*;

#[test]
fn no_answer_and_no_error_of_the_transport_ever_resets_a_position() {
    let mut rig = Rig::new(config(), vec![Log::default()]);
    rig.fetcher.seek(&tp(0), Position { offset: 77, leader_epoch: None }).unwrap();
    for kind in [ErrorKind::Connection, ErrorKind::Timeout, ErrorKind::Malformed, ErrorKind::Denied] {
        let plan = rig.plan();
        rig.fetcher.answer(rig.now, &plan, Err(Error::new(kind)));
        assert_eq!(rig.position(0), 77, "{kind:?}");
    }
    let codes = [ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownTopicOrPartition, ErrorCode::KafkaStorageError];
    for code in codes.into_iter().chain([ErrorCode::UnknownLeaderEpoch, ErrorCode::UnknownServerError]) {
        rig.fail(code, None);
        assert_eq!(rig.position(0), 77, "{code}");
        rig.now += Duration::from_secs(2);
    }
    rig.fetcher.seek_to(&tp(0), OffsetReset::Latest).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 0).remove(0);
    let answered = rig.fetcher.reset_answer(rig.now, &lookup, Err(Error::new(ErrorKind::Timeout)));
    assert!(answered.refresh && rig.fetcher.subscription().get(&tp(0)).unwrap().position().is_none());
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 0, "after the backoff");
    rig.now = rig.fetcher.next_lookup().unwrap();
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1);
}

#[test]
fn out_of_range_resets_by_the_policy_and_only_what_still_is_where_it_was() {
    for (reset, spec) in [
        (OffsetReset::Earliest, OffsetSpec::Earliest),
        (OffsetReset::Latest, OffsetSpec::Latest),
        (OffsetReset::ByDuration(Duration::from_secs(1)), OffsetSpec::Timestamp(9000)),
    ] {
        let mut rig = Rig::new(FetcherConfig { reset, ..config() }, vec![Log::default()]);
        rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
        let plan = rig.plan();
        let answer = rig.serve(&plan);
        rig.fetcher.seek(&tp(0), Position { offset: 0, leader_epoch: None }).unwrap();
        rig.fetcher.answer(rig.now, &plan, Ok(answer));
        assert_eq!(rig.position(0), 0, "moved since: the answer is stale");
        rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
        assert!(rig.fetch().supervise);
        let lookups = rig.fetcher.resets(rig.now, 10_000);
        assert_eq!((lookups.len(), lookups[0].spec, lookups[0].leader), (1, spec, NODE));
        rig.fetcher.reset_answer(rig.now, &lookups[0], Ok(Some(Position { offset: 0, leader_epoch: None })));
        assert_eq!(rig.position(0), 0);
    }
}

#[test]
fn a_reset_by_duration_without_a_record_that_young_goes_to_the_end() {
    let reset = OffsetReset::ByDuration(Duration::from_secs(1));
    let mut rig = Rig::new(FetcherConfig { reset, ..config() }, vec![Log::default()]);
    rig.fetcher.seek_to(&tp(0), reset).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 10_000).remove(0);
    assert_eq!(lookup.spec, OffsetSpec::Timestamp(9_000));
    rig.fetcher.reset_answer(rig.now, &lookup, Err(Error::new(ErrorKind::Timeout)));
    rig.now += Duration::from_secs(1);
    let lookup = rig.fetcher.resets(rig.now, 11_000).remove(0);
    assert_eq!(lookup.spec, OffsetSpec::Timestamp(10_000), "from when it is asked, not from when it was wanted");
    rig.fetcher.reset_answer(rig.now, &lookup, Ok(None));
    assert_eq!(rig.fetcher.resets(rig.now, 11_000)[0].spec, OffsetSpec::Latest);
}

#[test]
fn without_a_policy_the_application_is_told_once_a_second_until_it_seeks() {
    let mut rig = Rig::new(FetcherConfig { reset: OffsetReset::None, ..config() }, vec![Log::default()]);
    rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
    assert!(rig.fetch().data);
    for _ in 0..3 {
        let error = rig.error();
        assert_eq!((error.kind(), error.topic_partition()), (ErrorKind::NoOffset, Some(&tp(0))));
        let Polled::Nothing(Some(at)) = rig.fetcher.poll(rig.now, 500) else { panic!("told once") };
        rig.now = at;
    }
    assert!(rig.waits() && rig.fetcher.resets(rig.now, 0).is_empty());
    rig.fetcher.seek(&tp(0), Position { offset: 0, leader_epoch: None }).unwrap();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
    rig.fetch();
}

#[test]
fn what_has_arrived_is_handed_out_before_a_position_behind_it_is_reset() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    rig.fail(ErrorCode::OffsetOutOfRange, None);
    assert_eq!(rig.poll(500).len(), 5);
    assert_eq!(rig.position(0), 5, "not reset");
    rig.now += Duration::from_secs(1);
    rig.fail(ErrorCode::OffsetOutOfRange, None);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1);
}

#[test]
fn a_leader_that_has_moved_is_followed_without_a_wait() {
    let mut log = Log::default();
    log.records(1);
    // By the old leader's word (KIP-951) ...
    let mut rig = Rig::new(config(), vec![log.clone()]);
    let answered = rig.fail(ErrorCode::NotLeaderOrFollower, Some((OTHER, LeaderEpoch(6))));
    assert!(answered.supervise && answered.refresh);
    assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
    assert!(
        matches!(rig.fetcher.step(rig.now, OTHER), Step::Fetch(plan) if plan.partitions[0].leader_epoch == Some(LeaderEpoch(6)))
    );
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone));
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 5)]));
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone), "older metadata doesn't move it back");
    // ... and by metadata, while the old leader's answer is still under way.
    let mut rig = Rig::new(config(), vec![log]);
    let plan = rig.plan();
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6)]));
    assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
    assert!(matches!(rig.fetcher.step(rig.now, OTHER), Step::Fetch(_)));
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data, "asked for elsewhere already");
}

/// KIP-951.
#[test]
fn a_new_leader_that_is_not_known_yet_is_followed_if_the_old_one_says_where_it_listens() {
    for endpoints in [vec![], vec![(NodeId(9), "new".to_owned(), 1)]] {
        let mut log = Log::default();
        log.records(1);
        let mut rig = Rig::new(config(), vec![log]);
        let plan = rig.plan();
        let (mut response, length) = rig.serve(&plan);
        response.partitions[0].error = Some(ErrorCode::NotLeaderOrFollower);
        response.partitions[0].current_leader = Some((NodeId(9), LeaderEpoch(6)));
        response.endpoints = endpoints.clone();
        assert!(rig.fetcher.answer(rig.now, &plan, Ok((response, length))).refresh);
        let expected = if endpoints.is_empty() { vec![] } else { vec![NodeId(9)] };
        assert_eq!(rig.fetcher.start_nodes(rig.now), expected);
    }
}

#[test]
fn a_partition_that_fails_is_asked_for_with_backoff_and_the_others_go_on() {
    let mut log = Log::default();
    log.records(1);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    let plan = rig.plan();
    let (mut response, length) = rig.serve(&plan);
    response.partitions[0].error = Some(ErrorCode::TopicAuthorizationFailed);
    rig.fetcher.answer(rig.now, &plan, Ok((response, length)));
    assert_eq!(rig.error().kind(), ErrorKind::Denied);
    assert_eq!(rig.poll(500), [(1, 0)]);
    let plan = rig.plan();
    assert_eq!(plan.partitions.len(), 1, "not the one that failed");
    let answer = rig.serve(&plan);
    rig.fetcher.answer(rig.now, &plan, Ok(answer));
    rig.now += Duration::from_millis(100);
    assert_eq!(rig.plan().partitions.len(), 2);
}

#[test]
fn an_unreadable_batch_takes_the_position_back_unless_it_was_moved() {
    let mut log = Log::default();
    (0..2).for_each(|_| {
        log.records(5);
    });
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 10);
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 5, Error::new(ErrorKind::Malformed));
    assert_eq!(rig.position(0), 5, "a commit now is not past it");
    assert_eq!(rig.error().kind(), ErrorKind::Malformed);
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 3, Error::new(ErrorKind::Malformed));
    assert_eq!(rig.position(0), 5, "of an older generation");
    rig.fetcher.seek(&tp(0), Position { offset: 10, leader_epoch: None }).unwrap();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
}

/// Of an application that works on a poll for longer than until the batch is fetched again.
#[test]
fn that_a_batch_is_unreadable_is_told_though_it_was_fetched_again_before_the_next_poll() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 5);
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 0, Error::new(ErrorKind::Malformed));
    rig.now += Duration::from_secs(2);
    rig.fetch();
    assert_eq!(rig.error().kind(), ErrorKind::Malformed);
    assert_eq!(rig.poll(500).len(), 5, "and then what may be readable now");
}

#[test]
fn the_end_of_a_partition_is_told_once_and_again_after_more() {
    let mut log = Log::default();
    log.records(2);
    let mut rig = Rig::new(FetcherConfig { partition_end: true, ..config() }, vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 2, "records first");
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::PartitionEnd(name, 2) if name == tp(0)));
    rig.fetch();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(_)));
    rig.logs.get_mut(&0).unwrap().records(1);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 1);
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::PartitionEnd(_, 3)));
}

#[test]
fn caught_up_is_what_answers_in_a_row_say_and_nothing_else() {
    let mut log = Log::default();
    log.records(2);
    let mut rig = Rig::new(config(), vec![log]);
    let start = rig.now;
    let caught_up = |rig: &Rig| rig.fetcher.subscription().get(&tp(0)).unwrap().caught_up();
    let seconds = |n| Duration::from_secs(n);
    rig.fetch();
    assert_eq!(caught_up(&rig), None, "records wait");
    assert_eq!(rig.poll(500).len(), 2);
    for second in [1, 4] {
        rig.now = start + seconds(second);
        rig.fetch();
    }
    assert_eq!(caught_up(&rig), Some((start + seconds(1), start + seconds(4))));
    rig.now = start + seconds(9);
    assert_eq!(caught_up(&rig), Some((start + seconds(1), start + seconds(4))), "no answer says nothing");

    let plan = rig.plan();
    rig.fetcher.answer(rig.now, &plan, Err(Error::new(ErrorKind::Connection)));
    assert_eq!(caught_up(&rig), None);
    rig.fetch();
    assert_eq!(caught_up(&rig), Some((rig.now, rig.now)), "counted anew");
    rig.fail(ErrorCode::NotLeaderOrFollower, None);
    assert_eq!(caught_up(&rig), None);
    rig.now += seconds(9);
    rig.fetch();
    assert!(caught_up(&rig).is_some());
    rig.fetcher.pause(&tp(0)).unwrap();
    assert_eq!(caught_up(&rig), None);
    rig.fetcher.resume(&tp(0)).unwrap();
    rig.fetch();
    assert!(caught_up(&rig).is_some());
    rig.fetcher.seek(&tp(0), Position { offset: 1, leader_epoch: None }).unwrap();
    assert_eq!(caught_up(&rig), None);
}

#[test]
fn a_partition_taken_away_leaves_nothing_behind() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    let plan = rig.plan();
    rig.fetcher.change_assignment(rig.now, [tp(0), tp(1)], []);
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data);
    assert_eq!((rig.poll(500).len(), rig.fetcher.memory()), (0, (0, 0)));
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone));
    rig.fetcher.change_assignment(rig.now, [], [(tp(0), Start::Reset)]);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1, "it begins anew when it comes back");
}
