//! Fifty members over five hundred partitions, and one more: it gets its share, soon, and nothing else moves.
#![allow(clippy::disallowed_methods, reason = "tests against a real broker wait on the real clock")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

use crate::groups::config;
use crate::{PATIENCE, connect, fresh, topic};
use milena::consumer::{ConsumerConfig, Event};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const MEMBERS: usize = 50;
const PARTITIONS: usize = 500;

/// Who reads which partition, by what the members were told.
#[derive(Debug, Default)]
struct Owners {
    /// Partition to member.
    now: BTreeMap<i32, usize>,
    /// Who gave which away.
    given: Vec<(usize, i32)>,
    /// Who got which, and when.
    taken: Vec<(usize, i32, Instant)>,
}

impl Owners {
    fn take(&mut self, member: usize, partition: i32) {
        let before = self.now.insert(partition, member);
        assert_eq!(before, None, "member {member} got {partition} while another had it");
        self.taken.push((member, partition, Instant::now()));
    }

    fn give(&mut self, member: usize, partition: i32) {
        assert_eq!(self.now.remove(&partition), Some(member), "it was its own");
        self.given.push((member, partition));
    }

    fn count(&self, member: usize) -> usize {
        self.now.values().filter(|owner| **owner == member).count()
    }

    /// All are someone's, as many for each, or one less.
    fn is_balanced(&self, members: usize) -> bool {
        let each = PARTITIONS / members..=PARTITIONS.div_ceil(members);
        self.now.len() == PARTITIONS && (0..members).all(|member| each.contains(&self.count(member)))
    }
}

/// A process of its own, as far as the broker can see.
async fn member(number: usize, topic: String, config: ConsumerConfig, owners: Arc<Mutex<Owners>>) {
    let client = connect().await;
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.subscribe([topic]).await.expect("subscribed");
    loop {
        let event = consumer.next(Duration::from_secs(60)).await.expect("nothing fails");
        let mut owners = owners.lock().expect("no member has failed");
        match event {
            Some(Event::Assigned(partitions)) => {
                partitions.iter().for_each(|partition| owners.take(number, partition.partition));
            }
            Some(Event::Revoking(revoking)) => {
                revoking.iter().for_each(|partition| owners.give(number, partition.partition));
                revoking.done();
            }
            Some(Event::Lost(partitions)) => panic!("member {number} lost {partitions:?}"),
            _ => {}
        }
    }
}

async fn until(members: &mut JoinSet<()>, owners: &Mutex<Owners>, count: usize) {
    let end = Instant::now() + PATIENCE;
    while !owners.lock().expect("no member has failed").is_balanced(count) {
        if let Some(failed) = members.try_join_next() {
            failed.expect("no member fails");
        }
        let held = owners.lock().expect("no member has failed").now.len();
        assert!(Instant::now() < end, "{held} of {PARTITIONS} are assigned to {count}, and not evenly");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The time from the newcomer's subscription to its last partition.
pub(crate) async fn join(assignor: &str, change: fn(ConsumerConfig) -> ConsumerConfig) -> Duration {
    let client = connect().await;
    let (topic, group) = (topic(&client, "large", PARTITIONS as i32, 1).await, fresh("large"));
    let owners = Arc::new(Mutex::new(Owners::default()));
    let mut members = JoinSet::new();
    let config = || change(config(&group, assignor));
    for number in 0..MEMBERS {
        members.spawn(member(number, topic.clone(), config(), owners.clone()));
    }
    until(&mut members, &owners, MEMBERS).await;
    sleep(Duration::from_secs(5)).await; // and at rest
    {
        let mut owners = owners.lock().expect("no member has failed");
        assert!(owners.is_balanced(MEMBERS));
        (owners.given, owners.taken) = Default::default();
    }
    let start = Instant::now();
    members.spawn(member(MEMBERS, topic.clone(), config(), owners.clone()));
    until(&mut members, &owners, MEMBERS + 1).await;
    sleep(Duration::from_secs(5)).await; // nothing comes after
    if let Some(failed) = members.try_join_next() {
        failed.expect("no member fails");
    }
    let owners = owners.lock().expect("no member has failed");
    assert!(owners.is_balanced(MEMBERS + 1));
    let share = owners.count(MEMBERS);
    assert!(owners.taken.iter().all(|(member, ..)| *member == MEMBERS), "others got some: {:?}", owners.taken);
    assert_eq!((owners.taken.len(), owners.given.len()), (share, share), "{:?}", owners.given);
    let surplus = PARTITIONS / MEMBERS - PARTITIONS / (MEMBERS + 1);
    for member in 0..MEMBERS {
        let gave = owners.given.iter().filter(|(who, _)| *who == member).count();
        assert!(gave <= surplus, "{member} gave {gave} away");
    }
    let took = owners.taken.iter().map(|(_, _, at)| *at - start).max().expect("its share");
    println!("{assignor}: {share} partitions moved, within {took:?}");
    took
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn one_more_member_takes_its_share_within_five_seconds_and_nothing_else_moves() {
    let took = join("cooperative-sticky", |config| config.heartbeat_interval(Duration::from_secs(3))).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
