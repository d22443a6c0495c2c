//! What the cache does with sessions, without a broker: epochs, eviction.

use super::*;

fn wanted(partition: i32) -> Wanted {
    let partition = FetchPartition::default().with_partition(partition);
    Wanted { id: TopicId::ZERO, name: Some("t".into()), partition }
}

fn claim(session: i32, epoch: i32) -> Claim {
    Claim { session, epoch, by_id: false }
}

/// A cache and its clock.
struct Broker {
    sessions: FetchSessions,
    now: Instant,
}

impl Broker {
    #[allow(clippy::disallowed_methods, reason = "somewhere time has to begin")]
    fn new(slots: usize) -> Self {
        Self { sessions: FetchSessions::new(slots, 1), now: Instant::now() }
    }

    fn open(&mut self, size: i32) -> i32 {
        let data = PartitionData::default();
        self.sessions.open(self.now, false, (0..size).map(|partition| (wanted(partition), &data)))
    }

    fn go_on(&mut self, session: i32, epoch: i32) -> Result<usize, ErrorCode> {
        let plan = self.sessions.begin(self.now, claim(session, epoch), vec![], &[], |_| None);
        plan.map(|plan| plan.partitions.len())
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn the_epoch_goes_from_the_largest_number_to_one() {
    let mut broker = Broker::new(1);
    let id = broker.open(1);
    broker.sessions.sessions.get_mut(&id).unwrap().epoch = i32::MAX;
    assert_eq!(broker.go_on(id, i32::MAX), Ok(1));
    assert_eq!(broker.go_on(id, 1), Ok(1));
    assert_eq!(broker.go_on(id, 1), Err(ErrorCode::InvalidFetchSessionEpoch));
}

#[test]
fn a_partition_that_is_named_twice_is_served_once_as_it_was_named_last() {
    let mut broker = Broker::new(1);
    let named = [0, 1, 0].map(wanted);
    let mut twice = named.to_vec();
    twice[2].partition.fetch_offset = 7;
    let plan = broker.sessions.begin(broker.now, claim(0, 0), twice.clone(), &[], |_| None).unwrap();
    assert_eq!((plan.kind, plan.partitions), (Kind::Full, vec![twice[2].clone(), twice[1].clone()]));
}

#[test]
fn a_full_cache_opens_no_session_while_all_are_young_and_in_use() {
    let mut broker = Broker::new(2);
    let ids = [broker.open(1), broker.open(1)];
    assert!(ids[0] != ids[1] && ids.iter().all(|id| *id > 0));
    broker.wait(120);
    assert_eq!(broker.open(100), 0);
    assert_eq!((broker.go_on(ids[0], 1), broker.go_on(ids[1], 1)), (Ok(1), Ok(1)));
}

#[test]
fn a_session_not_used_for_two_minutes_makes_room_and_the_stalest_goes_first() {
    let mut broker = Broker::new(2);
    let first = broker.open(1);
    broker.wait(1);
    let second = broker.open(1);
    broker.wait(120);
    assert!(broker.open(1) > 0);
    assert_eq!(broker.go_on(first, 1), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(broker.go_on(second, 1), Ok(1));
    assert_eq!((broker.sessions.opened, broker.sessions.evicted), (3, 1));
}

#[test]
fn the_smallest_old_session_makes_room_for_a_larger_one_only() {
    let mut broker = Broker::new(2);
    let (small, large) = (broker.open(2), broker.open(3));
    broker.wait(100);
    assert_eq!((broker.go_on(small, 1), broker.go_on(large, 1)), (Ok(2), Ok(3)));
    broker.wait(21);
    assert_eq!(broker.open(9), 0, "they were not old when they were used last");
    assert_eq!((broker.go_on(small, 2), broker.go_on(large, 2)), (Ok(2), Ok(3)));
    assert_eq!(broker.open(2), 0, "as large is not larger");
    assert!(broker.open(3) > 0);
    assert_eq!(broker.go_on(small, 3), Err(ErrorCode::FetchSessionIdNotFound));
    assert!(broker.open(4) > 0);
    assert_eq!(broker.go_on(large, 3), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(broker.open(100), 0, "what is left is young");
}
