//! Three clients in one group: ours, the Java client and librdkafka, whoever of them leads. Pairs are in `groups.rs`.
#![allow(clippy::disallowed_methods, reason = "tests against a real broker wait on the real clock")]

use crate::groups::{PARTITIONS, config, each_once, held, member, poll, write};
use crate::peer::{Member, Peer};
use crate::{PATIENCE, connect, fresh, topic};
use milena::client::Client;
use milena::consumer::Consumer;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    Ours,
    Theirs(Peer),
}

pub(crate) const THREE: [Who; 3] = [Who::Ours, Who::Theirs(Peer::Java), Who::Theirs(Peer::Librdkafka)];

/// librdkafka has no assignor of this name.
const STICKY: [Who; 3] = [Who::Ours, Who::Theirs(Peer::Java), Who::Theirs(Peer::Java)];

/// The members of one group, and what ours and those that have left have read.
struct Group {
    client: Client,
    id: String,
    topic: String,
    assignor: &'static str,
    ours: Vec<Consumer>,
    theirs: Vec<Member>,
    read: Vec<String>,
}

impl Group {
    async fn join(&mut self, who: Who) {
        match who {
            Who::Ours => self.ours.push(member(&self.client, &self.topic, config(&self.id, self.assignor)).await),
            Who::Theirs(peer) => self.theirs.push(peer.join(&self.topic, &self.id, self.assignor)),
        }
    }

    /// The one of its kind that came first.
    async fn leave(&mut self, who: Who) {
        match who {
            Who::Ours => self.ours.remove(0).close(PATIENCE).await.expect("left"),
            Who::Theirs(_) => {
                let values = self.theirs.remove(0).leave().await;
                self.read.extend(values.into_iter().map(|value| String::from_utf8(value).expect("text")));
            }
        }
    }

    /// As many for each, every partition with one.
    fn is_balanced(&self) -> bool {
        let held: Vec<_> = self.ours.iter().map(held).chain(self.theirs.iter().map(Member::assigned)).collect();
        let all: BTreeSet<_> = held.iter().flatten().copied().collect();
        let each = PARTITIONS as usize / held.len();
        all.len() == PARTITIONS as usize && held.iter().all(|held| held.len() == each)
    }

    fn count(&self) -> usize {
        self.read.len() + self.theirs.iter().map(|member| member.values().len()).sum::<usize>()
    }

    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(self) {
            for consumer in &mut self.ours {
                poll(consumer, &mut self.read).await;
            }
            if self.ours.is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
            let held: Vec<_> = self.ours.iter().map(held).chain(self.theirs.iter().map(Member::assigned)).collect();
            assert!(Instant::now() < end, "{}, {what}: never; {} read, {held:?}", self.assignor, self.count());
        }
    }
}

/// The first leads the group, or begins it: the others accept what it assigns. Then it leaves, and another one leads.
pub(crate) async fn three(members: [Who; 3], assignor: &'static str) {
    for first in 0..members.len() {
        let (client, id) = (connect().await, fresh("three"));
        let topic = topic(&client, "three", PARTITIONS, 1).await;
        write(&client, &topic, 0..600).await;
        let mut group = Group { client, id, topic, assignor, ours: vec![], theirs: vec![], read: vec![] };
        let mut order = members;
        order.rotate_left(first);
        for who in order {
            group.join(who).await;
            group.until(&format!("{who:?} of {order:?}"), Group::is_balanced).await;
        }
        write(&group.client, &group.topic, 600..1200).await;
        group.until(&format!("all of {order:?}"), |group| group.count() >= 1200).await;
        group.leave(order[0]).await;
        group.until(&format!("without the first of {order:?}"), Group::is_balanced).await;
        write(&group.client, &group.topic, 1200..1800).await;
        group.until(&format!("all without the first of {order:?}"), |group| group.count() >= 1800).await;
        for who in &order[1..] {
            group.leave(*who).await;
        }
        each_once(group.read, 1800, &format!("{assignor}, {order:?}"));
        group.client.close().await;
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn three_clients_share_a_group_by_range() {
    three(THREE, "range").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn three_clients_share_a_group_by_roundrobin() {
    three(THREE, "roundrobin").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn three_members_of_two_clients_share_a_group_by_sticky() {
    three(STICKY, "sticky").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn three_clients_share_a_group_by_cooperative_sticky() {
    three(THREE, "cooperative-sticky").await;
}
