//! Reading from a replica that the leader prefers for us (KIP-392).

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

impl Rig {
    fn asked(&mut self, node: NodeId) -> FetchPlan {
        match self.fetcher.step(self.now, node) {
            Step::Fetch(plan) => plan,
            step => panic!("{step:?}"),
        }
    }

    /// `node` answers a Fetch with this for partition 0.
    fn replies(&mut self, node: NodeId, change: impl FnOnce(&mut FetchedPartition)) -> Answered {
        let plan = self.asked(node);
        let (mut response, length) = self.serve(&plan);
        change(&mut response.partitions[0]);
        self.fetcher.answer(self.now, &plan, Ok((response, length)))
    }

    fn leader_prefers(&mut self, replica: NodeId) -> Answered {
        self.replies(NODE, |partition| {
            partition.records = Bytes::new();
            partition.preferred_replica = Some(replica);
        })
    }
}

/// Partition 0 is led by `NODE` and read from `OTHER`.
fn following() -> Rig {
    let mut log = Log::default();
    (0..4).for_each(|_| {
        log.records(5);
    });
    let mut rig = Rig::new(config(), vec![log]);
    assert!(rig.leader_prefers(OTHER).supervise);
    assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone), "nothing is read from the leader");
    rig
}

#[test]
fn records_are_read_from_the_preferred_replica_at_once_and_until_its_lease_ends() {
    let mut rig = following();
    assert!(rig.replies(OTHER, |_| {}).data);
    assert_eq!(rig.poll(500).len(), 20);
    let lease_end = rig.fetcher.next_lookup().unwrap();
    assert_eq!(lease_end - rig.now, 5 * MINUTE);
    let under_way = rig.asked(OTHER);
    rig.now = lease_end;
    assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Wait(_)), "the replica's answer first");
    rig.logs.get_mut(&0).unwrap().records(5);
    let answer = rig.serve(&under_way);
    assert!(rig.fetcher.answer(rig.now, &under_way, Ok(answer)).data, "and not in vain");
    assert_eq!(rig.fetcher.poll_wake(), Some(NODE));
    assert_eq!(rig.asked(NODE).partitions[0].offset, 25);
    assert!(matches!(rig.fetcher.step(rig.now, OTHER), Step::Gone));
}

#[test]
fn out_of_range_at_a_replica_goes_to_the_leader_and_resets_nothing() {
    let mut rig = following();
    rig.fetcher.seek(&tp(0), Position { offset: 15, leader_epoch: None }).unwrap();
    let answered = rig.replies(OTHER, |partition| {
        partition.records = Bytes::new();
        partition.error = Some(ErrorCode::OffsetOutOfRange);
    });
    assert!(answered.supervise);
    assert_eq!(rig.position(0), 15);
    assert!(rig.fetcher.resets(rig.now, 0).is_empty());
    assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
    assert_eq!(rig.asked(NODE).partitions[0].offset, 15, "at once");
}

#[test]
fn a_replica_that_fails_or_is_gone_is_left_for_the_leader() {
    for code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::KafkaStorageError,
        ErrorCode::UnknownServerError,
    ] {
        let mut rig = following();
        let answered = rig.replies(OTHER, |partition| {
            partition.records = Bytes::new();
            partition.error = Some(code);
        });
        assert!(answered.supervise && !answered.data, "{code} is not the application's");
        assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE], "{code}");
        rig.asked(NODE);
    }
    // No answer.
    let mut rig = following();
    let plan = rig.asked(OTHER);
    assert!(rig.fetcher.answer(rig.now, &plan, Err(Error::new(ErrorKind::Connection))).supervise);
    assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
    rig.asked(NODE);
    // Offline, or not of the cluster any more, by the metadata.
    for gone in [true, false] {
        let mut rig = following();
        let mut picture = Cluster::clone(&cluster(2, &[(NODE, 5)]));
        if gone {
            picture.nodes.remove(&OTHER);
        } else {
            let mut topic = TopicMetadata::clone(&picture.topics["t"]);
            topic.partitions[0].offline = vec![OTHER];
            picture.topics.insert("t".into(), Arc::new(topic));
        }
        rig.fetcher.set_cluster(rig.now, Arc::new(picture));
        assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
        rig.asked(NODE);
    }
}

#[test]
fn a_new_leader_is_asked_before_a_replica_that_the_old_one_preferred() {
    let mut rig = following();
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 6)]));
    assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
    rig.asked(NODE);
}

#[test]
fn resets_and_validations_are_always_the_leaders() {
    let mut rig = following();
    rig.fetcher.seek_to(&tp(0), OffsetReset::Latest).unwrap();
    assert_eq!(rig.fetcher.resets(rig.now, 0)[0].leader, NODE);
    let mut rig = following();
    rig.replies(OTHER, |_| {});
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 6)]));
    assert_eq!(rig.fetcher.validations(rig.now)[0].leader, NODE);
}

#[test]
fn a_leader_that_sends_us_to_a_replica_that_sends_us_back_is_not_asked_at_full_speed() {
    let mut rig = following();
    let started = rig.now;
    for _ in 0..20 {
        for node in [OTHER, NODE] {
            rig.fetcher.start_nodes(rig.now);
            while let Step::Wait(until) = rig.fetcher.step(rig.now, node) {
                rig.now = until.expect("a time to wait for");
            }
            // The step above has made a plan of it: give that up, and ask again.
            rig.fetcher.subscription.partitions.get_mut(&tp(0)).unwrap().in_flight = None;
            match node == NODE {
                true => rig.leader_prefers(OTHER),
                false => rig.replies(OTHER, |partition| {
                    partition.records = Bytes::new();
                    partition.error = Some(ErrorCode::OffsetOutOfRange);
                }),
            };
        }
    }
    assert!(rig.now - started > Duration::from_secs(20), "{:?}", rig.now - started);
}

#[test]
fn a_replica_that_nobody_knows_or_that_is_the_leader_itself_is_not_followed() {
    for replica in [NodeId(77), NODE] {
        let mut log = Log::default();
        log.records(5);
        let mut rig = Rig::new(config(), vec![log]);
        assert!(rig.leader_prefers(replica).refresh);
        assert!(rig.waits());
        rig.now += Duration::from_secs(1);
        assert_eq!(rig.read_to_end(1).len(), 5);
    }
}

#[test]
fn a_replica_that_is_behind_when_its_lease_has_ended_resets_nothing() {
    let mut rig = following();
    assert!(rig.replies(OTHER, |_| {}).data);
    assert_eq!(rig.poll(500).len(), 20);
    let under_way = rig.asked(OTHER);
    rig.now = rig.fetcher.next_lookup().unwrap();
    assert_eq!(rig.fetcher.start_nodes(rig.now), [NODE]);
    let (mut response, length) = rig.serve(&under_way);
    response.partitions[0].error = Some(ErrorCode::OffsetOutOfRange);
    rig.fetcher.answer(rig.now, &under_way, Ok((response, length)));
    assert!(rig.fetcher.resets(rig.now, 0).is_empty());
    assert_eq!(rig.position(0), 20);
}
