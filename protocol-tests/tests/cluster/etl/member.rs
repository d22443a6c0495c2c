//! One place in a group, and who fills it, one member after the other: each lives for a while and ends in one of the ways
//! in which processes end.

use super::{Etl, SECOND};
use crate::network::Network;
use milena::client::Client;
use milena::ids::TopicPartition;
use protocol_tests::etl::{self, Journal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

pub(super) struct Place {
    pub(super) etl: Arc<Etl>,
    pub(super) member: etl::Member,
}

/// What one of them tells.
struct Life<'a> {
    name: &'a str,
    place: (&'a Etl, usize),
}

impl Journal for Life<'_> {
    fn assigned(&self, generation: i32, partitions: &[TopicPartition]) {
        self.place.0.history(self.place.1).assigned(self.name, generation, partitions);
    }

    fn gone(&self, partitions: &[TopicPartition]) {
        self.place.0.history(self.place.1).gone(self.name, partitions);
    }

    fn read(&self, partition: &TopicPartition, offset: i64) {
        self.place.0.history(self.place.1).read(self.name, partition, offset);
    }

    fn is_calm(&self) -> bool {
        self.place.0.calm.load(Ordering::Relaxed)
    }
}

impl Place {
    pub(super) async fn live(mut self) {
        let (etl, stage) = (self.etl.clone(), self.member.stage);
        for life in 0.. {
            if etl.done.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("{}-{}.{life}", self.member.chain.groups[stage], self.member.slot);
            let network = Network::new(etl.cluster.connector());
            let client = etl.client(&network, self.member.random.below(u64::MAX));
            self.one_life(&Life { name: &name, place: (&etl, stage) }, &client, &network).await;
            etl.history(stage).ended(&name);
            etl.lives.fetch_add(1, Ordering::Relaxed);
            timeout(10 * SECOND, client.close()).await.unwrap_or_else(|_| panic!("{name}: close does not end"));
            assert_eq!(client.live_tasks(), 0, "{name}: tasks are left");
            let rests = if etl.calm.load(Ordering::Relaxed) { 100 } else { 3_000 };
            sleep(Duration::from_millis(1 + self.member.random.below(rests))).await;
        }
    }

    async fn one_life(&mut self, life: &Life<'_>, client: &Client, network: &Network) {
        let lasts = Duration::from_millis(self.member.random.pick(&[3_000, 10_000, 20_000, 60_000]));
        let until = Instant::now() + lasts;
        let etl = self.etl.clone();
        let is_over = || (Instant::now() >= until && !life.is_calm()) || etl.done.load(Ordering::Relaxed);
        let Ok((consumer, worked)) = self.member.work(client, life, is_over).await else { return };
        match self.member.random.below(4) {
            _ if worked.is_err() => drop(consumer),
            0 => network.cut(),
            1 => network.fall_silent(),
            2 => drop(consumer),
            _ => {
                let closed = timeout(6 * SECOND, consumer.close(5 * SECOND)).await;
                drop(closed.unwrap_or_else(|_| panic!("{}: close takes longer than it may", life.name)));
            }
        }
    }
}
