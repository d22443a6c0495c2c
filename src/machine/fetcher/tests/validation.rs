//! Positions under a new leader (KIP-320).

use super::*;

const SIX: LeaderEpoch = LeaderEpoch(6);

/// Has read offsets 0 to 4 under epoch 5 of partition 0, and has 5 to 9 waiting; then `OTHER` leads under epoch 6.
fn moved(config: FetcherConfig) -> Rig {
    let mut log = Log::default();
    log.records(5);
    log.records(5);
    let mut rig = Rig::new(config, vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(5).len(), 5);
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6)]));
    assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
    rig
}

impl Rig {
    fn validation(&mut self) -> Validation {
        let mut validations = self.fetcher.validations(self.now);
        assert_eq!(validations.len(), 1, "{validations:?}");
        assert!(self.fetcher.validations(self.now).is_empty(), "asked once");
        validations.remove(0)
    }

    /// To the next question.
    fn say(&mut self, end: Option<(i32, i64)>) -> Answered {
        let validation = self.validation();
        self.fetcher.validated(self.now, &validation, Ok(end.map(|(epoch, end)| (LeaderEpoch(epoch), end))))
    }

    /// From where on the new leader is asked.
    fn fetches_from(&mut self) -> Option<i64> {
        match self.fetcher.step(self.now, OTHER) {
            Step::Fetch(plan) => {
                assert_eq!(plan.partitions[0].leader_epoch, Some(SIX), "current_leader_epoch is sent");
                Some(plan.partitions[0].offset)
            }
            _ => None,
        }
    }
}

#[test]
fn a_new_leader_epoch_is_validated_by_the_epoch_of_what_was_read_before_anything_else() {
    let mut rig = moved(config());
    let validation = rig.validation();
    assert_eq!((validation.leader, validation.leader_epoch), (OTHER, Some(SIX)));
    assert_eq!((validation.epoch, validation.offset), (LeaderEpoch(5), 10));
    assert_eq!(rig.fetches_from(), None);
    assert!(rig.poll(500).is_empty(), "nothing of the old leader's is handed out meanwhile");
    assert_eq!(rig.position(0), 5, "and what was handed out can be committed");
    assert!(rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(5), 10)))).data);
    assert_eq!(rig.fetches_from(), Some(10));
    assert_eq!(rig.poll(500).len(), 5, "what had arrived is good");
}

/// librdkafka 2.1.1: it was handed out, and came again after the validation.
#[test]
fn what_arrives_during_a_validation_is_dropped() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    rig.poll(500);
    rig.logs.get_mut(&0).unwrap().records(5);
    let plan = rig.plan();
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 6)]));
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data);
    assert!(rig.poll(500).is_empty());
    rig.say(Some((5, 5)));
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 5, "once");
}

#[test]
fn a_position_read_under_the_leaders_own_epoch_or_under_none_is_not_validated() {
    let mut rig = moved(config());
    rig.say(Some((5, 10)));
    assert!(rig.fetcher.validations(rig.now).is_empty(), "once per epoch");
    rig.fetcher.set_cluster(rig.now, cluster(3, &[(OTHER, 6)]));
    assert!(rig.fetcher.validations(rig.now).is_empty());
    rig.fetcher.seek(&tp(0), Position { offset: 3, leader_epoch: None }).unwrap();
    rig.fetcher.set_cluster(rig.now, cluster(4, &[(NODE, 7)]));
    assert!(rig.fetcher.validations(rig.now).is_empty(), "nobody knows under which epoch 2 was read");
    rig.fetcher.seek(&tp(0), Position { offset: 3, leader_epoch: Some(LeaderEpoch(7)) }).unwrap();
    rig.fetcher.set_cluster(rig.now, cluster(5, &[(OTHER, 7)]));
    assert!(rig.fetcher.validations(rig.now).is_empty());
}

#[test]
fn a_committed_position_of_an_older_epoch_is_validated_before_it_is_used() {
    for (epoch, validates) in [(Some(4), true), (Some(5), false), (None, false)] {
        let mut rig = Rig::new(config(), vec![Log::default()]);
        rig.fetcher.change_assignment(rig.now, [tp(0)], []);
        let at = crate::ids::OffsetAndMetadata {
            leader_epoch: epoch.map(LeaderEpoch),
            ..crate::ids::OffsetAndMetadata::new(3)
        };
        rig.fetcher.change_assignment(rig.now, [], [(tp(0), Start::At(at))]);
        assert_eq!(rig.fetcher.validations(rig.now).len(), usize::from(validates), "{epoch:?}");
        assert_eq!(matches!(rig.fetcher.step(rig.now, NODE), Step::Fetch(_)), !validates, "{epoch:?}");
    }
}

#[test]
fn a_truncated_log_resets_to_the_end_of_what_is_left_if_there_is_a_policy() {
    for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let mut rig = moved(FetcherConfig { reset, ..config() });
        rig.say(Some((5, 3)));
        let validation = rig.validation();
        assert_eq!(
            (validation.offset, validation.epoch),
            (5, LeaderEpoch(5)),
            "what had arrived is gone: the position itself"
        );
        rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(4), 3))));
        assert_eq!(rig.fetches_from(), Some(3), "not where the policy says");
        let position = rig.fetcher.subscription().get(&tp(0)).unwrap().position().unwrap();
        assert_eq!(position, Position { offset: 3, leader_epoch: Some(LeaderEpoch(4)) });
        assert_eq!(rig.fetcher.memory().0, 0);
    }
}

#[test]
fn what_had_arrived_and_is_gone_from_the_log_is_not_handed_out_and_the_position_stays() {
    let mut rig = moved(config());
    rig.say(Some((5, 7)));
    rig.say(Some((5, 7)));
    assert!(rig.poll(500).is_empty());
    assert_eq!((rig.position(0), rig.fetches_from()), (5, Some(5)));
}

#[test]
fn a_truncated_log_without_a_policy_is_an_error_that_says_where_and_ends_with_a_seek() {
    let mut rig = moved(FetcherConfig { reset: OffsetReset::None, ..config() });
    rig.say(Some((5, 3)));
    assert!(rig.say(Some((4, 3))).data);
    let error = rig.error();
    assert_eq!(
        (error.kind(), error.diverging_offset(), error.topic_partition()),
        (ErrorKind::LogTruncation, Some(3), Some(&tp(0)))
    );
    assert_eq!(rig.fetches_from(), None);
    assert!(rig.fetcher.validations(rig.now).is_empty());
    rig.fetcher.seek(&tp(0), Position { offset: 3, leader_epoch: None }).unwrap();
    assert_eq!(rig.fetches_from(), Some(3));
}

#[test]
fn an_epoch_that_the_leader_does_not_know_goes_by_the_policy() {
    let mut rig = moved(config());
    rig.say(None);
    rig.say(None);
    assert_eq!(rig.fetcher.resets(rig.now, 0)[0].spec, OffsetSpec::Earliest);
    let mut rig = moved(FetcherConfig { reset: OffsetReset::None, ..config() });
    rig.say(None);
    rig.say(None);
    let error = rig.error();
    assert_eq!((error.kind(), error.diverging_offset()), (ErrorKind::LogTruncation, None));
}

#[test]
fn a_late_answer_about_a_position_that_has_moved_does_not_count() {
    let mut rig = moved(config());
    let validation = rig.validation();
    rig.fetcher.seek(&tp(0), Position { offset: 8, leader_epoch: None }).unwrap();
    rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(5), 3))));
    assert_eq!((rig.position(0), rig.fetches_from()), (8, Some(8)));
    // Nor one of a leader that is none any more.
    let mut rig = moved(config());
    let validation = rig.validation();
    rig.fetcher.set_cluster(rig.now, cluster(3, &[(NODE, 7)]));
    rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(5), 3))));
    assert_eq!((rig.validation().leader, rig.position(0)), (NODE, 5));
}

#[test]
fn a_validation_that_fails_is_asked_again_later_and_loses_nothing() {
    let errors = [ErrorKind::Timeout, ErrorKind::Connection].into_iter().map(Error::new);
    let codes = [ErrorCode::UnknownLeaderEpoch, ErrorCode::FencedLeaderEpoch, ErrorCode::NotLeaderOrFollower];
    let mut rig = moved(config());
    for error in errors.chain(codes.into_iter().map(Error::broker)) {
        let validation = rig.validation();
        let answered = rig.fetcher.validated(rig.now, &validation, Err(error));
        assert!(answered.refresh && !answered.data);
        assert!(rig.fetcher.validations(rig.now).is_empty(), "after the backoff");
        rig.now = rig.fetcher.next_lookup().unwrap();
    }
    rig.say(Some((5, 10)));
    assert_eq!(rig.poll(500).len(), 5);
    // What does not pass is told.
    let mut rig = moved(config());
    let validation = rig.validation();
    rig.fetcher.validated(rig.now, &validation, Err(Error::broker(ErrorCode::TopicAuthorizationFailed)));
    assert_eq!(rig.error().kind(), ErrorKind::Denied);
}

#[test]
fn with_a_broker_that_cannot_say_reading_goes_on() {
    let mut rig = moved(config());
    let validation = rig.validation();
    rig.fetcher.validated(rig.now, &validation, Err(Error::new(ErrorKind::UnsupportedVersion)));
    assert_eq!(rig.fetches_from(), Some(10));
    assert_eq!(rig.poll(500).len(), 5);
}

#[test]
fn a_fenced_epoch_asks_for_metadata_and_an_unknown_one_for_patience() {
    let mut log = Log::default();
    log.records(1);
    let mut rig = Rig::new(config(), vec![log]);
    assert!(rig.fail(ErrorCode::FencedLeaderEpoch, None).refresh);
    assert!(rig.waits());
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 6)]));
    assert!(!rig.waits(), "with the news it goes on at once");
    assert!(!rig.fail(ErrorCode::UnknownLeaderEpoch, None).refresh, "the broker is behind, not we");
    assert!(rig.waits());
    rig.now += Duration::from_secs(1);
    assert_eq!(rig.read_to_end(1), [0]);
}

#[test]
fn what_is_left_after_a_pause_or_an_unreadable_batch_is_validated_too_and_never_stuck() {
    // Paused with more than is kept, and the position is of no known epoch: there is nothing to ask.
    let mut log = Log::default();
    log.write(1, 4000, -1, false);
    let mut rig = Rig::new(FetcherConfig { budget: 14_000, max_partition_bytes: 5000, ..config() }, vec![log; 2]);
    while rig.fetcher.subscription().get(&tp(1)).unwrap().buffer.is_empty() {
        rig.fetch();
    }
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6), (OTHER, 6)]));
    (0..2).for_each(|partition| rig.fetcher.pause(&tp(partition)).unwrap());
    assert_eq!(rig.fetcher.subscription().get(&tp(1)).unwrap().next_fetch, 0, "nothing is left of it");
    (0..2).for_each(|partition| rig.fetcher.resume(&tp(partition)).unwrap());
    for validation in rig.fetcher.validations(rig.now) {
        assert_eq!(validation.name, tp(0));
        rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(5), validation.offset))));
    }
    while !rig.poll(500).is_empty() {}
    assert!(matches!(rig.fetcher.step(rig.now, OTHER), Step::Fetch(plan) if plan.partitions.len() == 2));

    // Unreadable after the validation: the epoch is an old one, and good.
    let mut rig = moved(config());
    rig.say(Some((5, 10)));
    assert_eq!(rig.poll(500).len(), 5);
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 5, Error::new(ErrorKind::Malformed));
    rig.now += REMIND;
    assert_eq!(rig.fetches_from(), Some(5));

    // And during it: the question is asked again.
    let mut rig = moved(config());
    let validation = rig.validation();
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 0, Error::new(ErrorKind::Malformed));
    rig.fetcher.validated(rig.now, &validation, Ok(Some((LeaderEpoch(5), 10))));
    assert_eq!(rig.fetches_from(), None);
    rig.now += REMIND;
    rig.say(Some((5, 10)));
    assert_eq!(rig.fetches_from(), Some(0));
}

#[test]
fn an_unreadable_batch_of_no_known_epoch_is_not_asked_about_for_ever() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6)]));
    assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
    rig.validation();
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 0, Error::new(ErrorKind::Malformed));
    rig.now += REMIND;
    assert!(rig.fetcher.validations(rig.now).is_empty(), "nobody knows under which epoch offset -1 was read");
    assert_eq!(rig.fetches_from(), Some(0));
}

/// Its share of the budget was held until the new leader had answered.
#[test]
fn a_partition_that_waits_for_a_validation_holds_up_no_other_of_its_old_leader() {
    for by_hint in [false, true] {
        let mut log = Log::default();
        (0..40).for_each(|_| assert!(log.write(1, 4000, -1, false) >= 0));
        let config = FetcherConfig { budget: 60_000, max_partition_bytes: 10_000, ..config() };
        let mut rig = Rig::new(config, vec![log.clone(), log]);
        rig.fetch();
        let (used, _) = rig.fetcher.memory();
        assert!(!rig.fetcher.subscription().get(&tp(0)).unwrap().buffer.is_empty());
        match by_hint {
            false => rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6), (NODE, 5)])),
            true => {
                let plan = rig.plan();
                let (mut response, length) = rig.serve(&plan);
                let moved = response.partitions.iter_mut().find(|moved| moved.partition == 0).unwrap();
                (moved.error, moved.current_leader) = (Some(ErrorCode::NotLeaderOrFollower), Some((OTHER, SIX)));
                moved.records = Bytes::new();
                rig.fetcher.answer(rig.now, &plan, Ok((response, length)));
            }
        }
        assert_eq!(rig.validation().name, tp(0));
        let parked = rig.fetcher.subscription().get(&tp(0)).unwrap().bytes_buffered();
        assert!(parked > 0 && parked <= 30_000, "kept, in half the budget");
        while !rig.poll(500).is_empty() {}
        assert_eq!(rig.fetcher.memory().0, parked, "of {used}: the answer itself is free");
        rig.now += Duration::from_secs(1);
        let plan = rig.plan();
        assert_eq!(plan.partitions.iter().map(|planned| planned.name.partition).collect::<Vec<_>>(), [1]);
    }
}

/// librdkafka 2.10 (4778, 4964).
#[test]
fn a_topic_made_anew_begins_by_the_policy_and_not_at_the_old_ones_offset() {
    let with_id = |generation, id, epoch| {
        let mut picture = Cluster::clone(&cluster(generation, &[(NODE, epoch)]));
        let topic = TopicMetadata { id: TopicId([id; 16]), ..TopicMetadata::clone(&picture.topics["t"]) };
        picture.topics.insert("t".into(), Arc::new(topic));
        Arc::new(picture)
    };
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetcher.set_cluster(rig.now, with_id(2, 1, 5));
    rig.fetch();
    assert!(rig.fetcher.memory().0 > 0);
    rig.fetcher.set_cluster(rig.now, with_id(3, 2, 0));
    assert_eq!(rig.fetcher.memory().0, 0, "what had arrived is the old topic's");
    assert_eq!(rig.fetcher.resets(rig.now, 0)[0].spec, OffsetSpec::Earliest);
    assert!(rig.fetcher.validations(rig.now).is_empty());
}
