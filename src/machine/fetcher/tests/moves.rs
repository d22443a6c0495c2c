//! Seeks, pauses, fairness between partitions, and memory.

use super::*;

#[test]
fn a_seek_while_a_fetch_is_under_way_drops_what_it_brings() {
    let mut log = Log::default();
    (0..3).for_each(|_| {
        log.records(5);
    });
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(5).len(), 5);
    let plan = rig.plan();
    rig.fetcher.seek(&tp(0), Position { offset: 12, leader_epoch: None }).unwrap();
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data);
    assert!(rig.poll(500).is_empty(), "neither what was under way nor what was buffered");
    assert_eq!(rig.fetcher.memory(), (0, 0), "and its room is free again");
    assert_eq!(rig.read_to_end(1), [12, 13, 14]);
}

#[test]
fn a_late_answer_to_a_reset_does_not_undo_a_seek() {
    let mut rig = Rig::new(config(), vec![Log::default()]);
    rig.fetcher.seek_to(&tp(0), OffsetReset::Latest).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 0).remove(0);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 0, "asked once");
    rig.fetcher.seek(&tp(0), Position { offset: 4, leader_epoch: None }).unwrap();
    rig.fetcher.reset_answer(rig.now, &lookup, Ok(Some(Position { offset: 9, leader_epoch: None })));
    assert_eq!(rig.position(0), 4);
}

#[test]
fn a_pause_keeps_what_has_arrived_without_keeping_the_answer_it_came_in() {
    let logs = (0..2).map(|_| {
        let mut log = Log::default();
        (0..4).for_each(|_| {
            log.records(10);
        });
        log
    });
    let mut rig = Rig::new(config(), logs.collect());
    let stored = rig.logs[&0].bytes();
    rig.fetch();
    rig.fetcher.pause(&tp(0)).unwrap();
    assert!(rig.poll(500).iter().all(|(partition, _)| *partition == 1));
    assert_eq!(rig.fetcher.memory(), (stored, 0), "only the paused partition's bytes are left");
    rig.fetcher.resume(&tp(0)).unwrap();
    rig.fetcher.resume(&tp(1)).unwrap(); // was not paused: nothing happens
    assert_eq!(rig.poll(500).len(), 40);
    assert_eq!(rig.fetches, 1, "nothing was fetched again");
    assert_eq!(rig.fetcher.memory(), (0, 0));
}

#[test]
fn paused_data_beyond_half_the_budget_is_fetched_again_and_none_is_lost() {
    let mut log = Log::default();
    (0..30).for_each(|_| {
        log.write(1, 500, -1, false);
    });
    let config = FetcherConfig { budget: 8000, max_partition_bytes: 3000, ..config() };
    let mut rig = Rig::new(config, vec![log]);
    let mut read = Vec::new();
    while read.len() < 30 {
        while rig.try_fetch().is_some_and(|answered| answered.data) {}
        rig.fetcher.pause(&tp(0)).unwrap();
        assert!(rig.fetcher.memory().0 <= 4000 + 600, "{:?}", rig.fetcher.memory());
        assert!(rig.poll(1).is_empty());
        rig.fetcher.resume(&tp(0)).unwrap();
        read.extend(rig.poll(2).into_iter().map(|(_, offset)| offset));
    }
    assert_eq!(read, (0..30).collect::<Vec<_>>());
    assert!(rig.served > rig.logs[&0].bytes(), "some came twice");
}

#[test]
fn with_all_partitions_paused_nothing_is_asked_for_and_nobody_spins() {
    let mut log = Log::default();
    log.records(1);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    (0..2).for_each(|partition| rig.fetcher.pause(&tp(partition)).unwrap());
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Wait(None)));
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
    rig.fetcher.resume(&tp(1)).unwrap();
    assert_eq!(rig.fetcher.poll_wake(), Some(NODE), "the fetch task hears of it");
    assert_eq!(rig.poll(500), [(1, 0)]);
}

/// librdkafka 2853, 1976.
#[test]
fn one_hot_partition_does_not_starve_others() {
    let mut hot = Log::default();
    (0..2000).for_each(|_| {
        hot.write(1, 1000, -1, false);
    });
    let mut logs = vec![hot];
    logs.extend((0..9).map(|_| {
        let mut log = Log::default();
        (0..20).for_each(|_| {
            log.write(1, 1000, -1, false);
        });
        log
    }));
    // Room for two partitions' worth in an answer: the hot one would fill it each time.
    let config = FetcherConfig { max_partition_bytes: 10_000, max_bytes: 20_000, budget: 80_000, ..config() };
    let mut rig = Rig::new(config, logs);
    let mut read = HashMap::<i32, usize>::new();
    for _ in 0..25 {
        rig.try_fetch();
        rig.poll(20).iter().for_each(|(partition, _)| *read.entry(*partition).or_default() += 1);
    }
    for cold in 1..10 {
        assert!(read.get(&cold).is_some_and(|records| *records >= 10), "partition {cold} starves: {read:?}");
    }
}

#[test]
fn a_full_partition_holds_up_the_fetch_instead_of_being_left_out_of_it() {
    let mut logs = vec![Log::default(), Log::default()];
    (0..50).for_each(|_| {
        logs[0].write(1, 1000, -1, false);
    });
    let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 2000, ..config() }, logs);
    rig.fetch();
    rig.fetch();
    assert!(rig.waits(), "else the broker would park the Fetch for partition 1, and 0 with it");
    assert_eq!(rig.poll(1).len(), 1);
    assert_eq!(rig.fetcher.poll_wake(), Some(NODE));
    assert!(!rig.waits());
}

#[test]
fn what_is_prefetched_stays_within_the_budget_by_one_batch_at_most() {
    for (nodes, budget) in [(1, 50_000), (2, 50_000), (1, 3_000)] {
        let mut log = Log::default();
        (0..500).for_each(|_| {
            log.write(1, 1000, -1, false);
        });
        let mut rig = Rig::new(FetcherConfig { budget, max_partition_bytes: 20_000, ..config() }, vec![log; 10]);
        if nodes == 2 {
            rig.fetcher.change_assignment(rig.now, [], [(tp(10), Start::Later)]);
            let mut leaders = vec![(NODE, 5); 10];
            leaders.push((OTHER, 5));
            rig.fetcher.set_cluster(rig.now, cluster(2, &leaders));
            assert_eq!(rig.fetcher.start_nodes(rig.now), [OTHER]);
        }
        let mut most = 0;
        for round in 0..300 {
            let Step::Fetch(plan) = rig.fetcher.step(rig.now, NODE) else {
                rig.poll(1);
                continue;
            };
            let (used, reserved) = rig.fetcher.memory();
            most = most.max(used + reserved);
            assert!(used + reserved <= budget / nodes + 1_200, "{used} + {reserved} in round {round}");
            let answer = rig.serve(&plan);
            rig.fetcher.answer(rig.now, &plan, Ok(answer));
        }
        assert!(budget < 10_000 || most > budget / nodes / 2, "the budget is made use of: {most}");
    }
}

#[test]
fn a_kept_answer_counts_whole_until_its_last_part_is_handed_out() {
    let mut log = Log::default();
    log.records(10);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    let before = rig.fetcher.memory();
    assert_eq!(rig.poll(10).len(), 10);
    assert_eq!(rig.fetcher.memory(), before);
    assert_eq!(rig.poll(10).len(), 10);
    assert_eq!(rig.fetcher.memory(), (0, 0));
}

/// krafka 0.28 reads a log 49 times over the wire: what doesn't fit a poll is thrown away and fetched again.
#[test]
fn small_polls_hand_out_every_record_once_and_fetch_none_twice() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut logs = vec![Log::default(); 4];
        for log in &mut logs {
            (0..random.usize(20..60)).for_each(|_| {
                log.write(random.usize(1..40), 50, -1, false);
            });
        }
        let ends: Vec<_> = logs.iter().map(|log| log.next).collect();
        let stored: usize = logs.iter().map(Log::bytes).sum();
        let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 50_000, ..config() }, logs);
        let mut next = vec![0; 4];
        while next != ends {
            match random.u8(0..10) {
                0 => rig.fetcher.pause(&tp(random.i32(0..4))).unwrap(),
                1..=3 => (0..4).for_each(|partition| rig.fetcher.resume(&tp(partition)).unwrap()),
                4..=5 => drop(rig.try_fetch()),
                _ => {
                    for (partition, offset) in rig.poll(random.usize(1..30)) {
                        let next = &mut next[partition as usize];
                        assert_eq!(offset, *next, "seed {seed}: none lost, none twice, in order");
                        *next += 1;
                    }
                    (0..4).for_each(|p| assert_eq!(rig.position(p), next[p as usize], "seed {seed}"));
                }
            }
        }
        assert!(rig.served <= stored * 110 / 100, "seed {seed}: {} bytes read of {stored}", rig.served);
    }
}

/// What came behind the gap that a pause makes was taken for what follows: the records between were never read.
#[test]
fn a_pause_that_drops_something_drops_the_fetch_behind_it_too() {
    let log = |batches| {
        let mut log = Log::default();
        (0..batches).for_each(|_| {
            log.write(1, 1000, -1, false);
        });
        log
    };
    let config = FetcherConfig { budget: 10_000, max_partition_bytes: 4_500, ..config() };
    let mut rig = Rig::new(config, vec![log(4), log(3)]);
    rig.fetch();
    rig.fetcher.pause(&tp(0)).unwrap(); // takes nearly all that may be kept of paused ones
    rig.fetch();
    let plan = rig.plan();
    assert_eq!(plan.partitions[0].offset, 2);
    rig.fetcher.pause(&tp(1)).unwrap();
    rig.fetcher.resume(&tp(1)).unwrap();
    let answer = rig.serve(&plan);
    rig.fetcher.answer(rig.now, &plan, Ok(answer));
    let mut read = Vec::new();
    for _ in 0..5 {
        read.extend(rig.poll(500).into_iter().map(|(_, offset)| offset));
        rig.try_fetch();
    }
    assert_eq!(read, [0, 1, 2]);
}
