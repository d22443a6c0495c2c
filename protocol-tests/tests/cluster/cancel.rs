//! Cancel safety: every future of client and producer is polled n times and then dropped, n = 0, 1, 2, … to its end, at
//! once or when it has been woken and not polled again. Nothing is lost or written that was not taken, the next send works,
//! all memory comes back, and no task is left.
//!
//! To add a future, add a row to [`ROWS`]: it brings the stage to where the future has to wait, and puts what came of it
//! back on the stage.

use milena::broker::{ApiKey, StoredRecord, TestCluster};
use milena::client::Client;
use milena::error::{ErrorKind, Result};
use milena::producer::{Deliveries, Delivery, Producer, ProducerConfig, ProducerRecord, Purge};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// Two batches.
const MEMORY: usize = 32_768;

/// A row's future, and whether what it is about ended before it was dropped.
pub(crate) type Cutting<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

type Row = fn(&mut Stage, Cut) -> Cutting<'_>;

const ROWS: &[(&str, Row)] = &[
    ("Client::connect", |stage, cut| Box::pin(connect(stage, cut))),
    ("Client::connect while nobody answers", |stage, cut| {
        stage.cluster.fault(ApiKey::ApiVersions).times(2).disconnect();
        Box::pin(connect(stage, cut))
    }),
    ("Client::close", |stage, cut| Box::pin(close_client(stage, cut))),
    ("Producer::send that waits for metadata", |stage, cut| {
        stage.cluster.fault(ApiKey::Metadata).once().delay(SECOND);
        Box::pin(send(stage, cut))
    }),
    ("Producer::send that waits for memory", |stage, cut| {
        Box::pin(async move {
            stage.fill_memory().await;
            send(stage, cut).await
        })
    }),
    ("Producer::send that lets others run", |stage, cut| {
        Box::pin(async move {
            stage.use_up_turn().await;
            send(stage, cut).await
        })
    }),
    ("Producer::send to a partition that is new", |stage, cut| {
        Box::pin(async move {
            stage.send_one().await;
            stage.client.admin().create_partitions([("clicks", 2)]).await.expect("a partition is added");
            stage.partition = 1;
            send(stage, cut).await
        })
    }),
    ("Producer::send_with that waits for metadata", |stage, cut| Box::pin(send_with(stage, cut))),
    ("Producer::send_with that waits for memory", |stage, cut| {
        Box::pin(async move {
            stage.fill_memory().await;
            send_with(stage, cut).await
        })
    }),
    ("TopicProducer::send that waits for metadata", |stage, cut| Box::pin(send_by_topic(stage, cut))),
    ("TopicProducer::send that waits for memory", |stage, cut| {
        Box::pin(async move {
            stage.fill_memory().await;
            send_by_topic(stage, cut).await
        })
    }),
    ("Producer::send_many that waits for metadata", |stage, cut| {
        Box::pin(async move {
            stage.cluster.fault(ApiKey::Metadata).once().delay(SECOND);
            send_many(stage, cut).await
        })
    }),
    ("Producer::send_many that waits for memory", |stage, cut| {
        Box::pin(async move {
            stage.fill_memory().await;
            send_many(stage, cut).await
        })
    }),
    ("Deliveries::all", |stage, cut| {
        Box::pin(async move {
            let whole = Cut { polls: usize::MAX, woken: false };
            assert!(send_many(stage, whole).await);
            let deliveries = stage.many.take().expect("they were taken");
            cut.off(deliveries.all()).await.inspect(|written| assert!(written.is_ok(), "{written:?}")).is_some()
        })
    }),
    ("Producer::purge", |stage, cut| {
        Box::pin(async move {
            stage.send_one().await;
            stage.taken.pop().expect("one was sent").1.await.expect("it is written");
            stage.to_be_written.push(0);
            stage.send_some(5).await;
            stage.purged = std::mem::take(&mut stage.taken);
            let purged = cut.off(stage.producer.purge(Purge::Queued)).await;
            tokio::time::sleep(Duration::from_millis(1)).await; // it goes on, and takes what is sent until it is done
            purged.inspect(|records| assert_eq!(*records, 5)).is_some()
        })
    }),
    ("Delivery", |stage, cut| {
        Box::pin(async move {
            stage.send_one().await;
            let delivery = stage.taken.last().expect("one was sent").1.clone();
            cut.off(delivery).await.inspect(|written| assert!(written.is_ok(), "{written:?}")).is_some()
        })
    }),
    ("Producer::flush", |stage, cut| {
        Box::pin(async move {
            stage.cluster.fault(ApiKey::Produce).times(2).delay_answer(SECOND);
            stage.send_some(100).await;
            let flushed = cut.off(stage.producer.flush(60 * SECOND)).await;
            flushed.inspect(|left| assert_eq!(*left.as_ref().expect("it can't fail"), 0)).is_some()
        })
    }),
    ("Producer::close", |stage, cut| Box::pin(close(stage, cut))),
];

#[test]
fn whatever_is_dropped_after_any_poll_loses_nothing_and_leaves_nothing() {
    for (name, row) in ROWS {
        cut_everywhere(name, |cut| {
            on_paused_time(async {
                let mut stage = Stage::new().await;
                let ended = row(&mut stage, cut).await;
                stage.check().await;
                ended
            })
        });
    }
}

/// Cuts after 0, 1, 2, … polls until the future comes to its end.
pub(crate) fn cut_everywhere(name: &str, play: impl Fn(Cut) -> bool) {
    for woken in [false, true] {
        let ended = (0..200).find(|polls| {
            let cut = Cut { polls: *polls, woken };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(cut)));
            outcome.unwrap_or_else(|_| panic!("{name}, {cut:?}"))
        });
        assert!(ended.unwrap_or_else(|| panic!("{name} does not end")) > 1, "{name} does not wait: nothing was cut");
    }
}

/// On a runtime of its own.
pub(crate) fn on_paused_time<T>(story: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { timeout(600 * SECOND, story).await.expect("it is stuck") })
}

/// Where a future is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) polls: usize,
    /// Not at once, but when it has been woken and would have been polled again.
    pub(crate) woken: bool,
}

impl Cut {
    /// Polls `future` so many times, and drops it; what it gave, if it ended before.
    pub(crate) async fn off<F: Future>(self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut polls = 0;
        poll_fn(|cx| {
            if polls == self.polls {
                return Poll::Ready(None);
            }
            polls += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == self.polls && !self.woken => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// A cluster, a client that knows nothing yet, and what was sent.
struct Stage {
    cluster: TestCluster,
    client: Client,
    producer: Producer,
    partition: i32,
    sent: u32,
    taken: Vec<(u32, Delivery)>,
    /// Written, or not from some one on.
    perhaps: Vec<u32>,
    /// Of the last `send_many` that came to its end.
    many: Option<Deliveries>,
    /// Written, or purged.
    purged: Vec<(u32, Delivery)>,
    /// By `send_with`: called back as often as sends were taken.
    called: Arc<AtomicU32>,
    calls: u32,
    to_be_written: Vec<u32>,
}

impl Stage {
    async fn new() -> Self {
        let cluster = TestCluster::builder().topic("clicks", 1).in_memory().start().await.expect("a cluster");
        let client = Client::new(cluster.client_config().seed(1)).expect("a client");
        let producer = producer(&client);
        Self {
            cluster,
            client,
            producer,
            partition: 0,
            sent: 0,
            taken: Vec::new(),
            perhaps: Vec::new(),
            many: None,
            purged: Vec::new(),
            called: Arc::default(),
            calls: 0,
            to_be_written: Vec::new(),
        }
    }

    fn next(&mut self, size: usize) -> (u32, Vec<u8>) {
        let number = self.sent;
        self.sent += 1;
        let mut value = number.to_be_bytes().to_vec();
        value.resize(size, 0);
        (number, value)
    }

    async fn send_one(&mut self) {
        let (number, value) = self.next(100);
        let record = ProducerRecord::new("clicks").value(&value).partition(self.partition);
        self.taken.push((number, self.producer.send(record).await.expect("it is taken")));
    }

    async fn send_some(&mut self, count: u32) {
        for _ in 0..count {
            self.send_one().await;
        }
    }

    /// Until the accumulator has no batch left to give.
    async fn fill_memory(&mut self) {
        self.send_one().await;
        self.cluster.fault(ApiKey::Produce).times(3).delay(SECOND);
        loop {
            let (number, value) = self.next(15_000);
            match self.producer.try_send(ProducerRecord::new("clicks").value(&value).partition(0)) {
                Ok(delivery) => self.taken.push((number, delivery)),
                Err(_) => return,
            }
        }
    }

    /// Until the next send has to let others run first.
    async fn use_up_turn(&mut self) {
        self.send_one().await;
        for _ in 0..1_100 {
            let (number, value) = self.next(4);
            let record = ProducerRecord::new("clicks").value(&value).partition(0);
            self.taken.push((number, self.producer.try_send(record).expect("there is room")));
        }
    }

    /// After whatever was cut.
    async fn check(mut self) {
        self.cluster.clear_faults();
        self.send_one().await;
        let mut expected = std::mem::take(&mut self.to_be_written);
        for (number, delivery) in self.taken.drain(..) {
            delivery.await.expect("what was taken is written");
            expected.push(number);
        }
        for (number, delivery) in self.purged.drain(..) {
            match delivery.await {
                Ok(_) => expected.push(number),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Purged),
            }
        }
        assert_eq!(self.producer.flush(60 * SECOND).await.expect("it can't fail"), 0);
        let records = self.cluster.records("clicks").expect("they can be read");
        let value = |record: &StoredRecord| Some(u32::from_be_bytes(*record.value.as_ref()?.first_chunk()?));
        let mut written: Vec<u32> = records.iter().filter_map(value).collect();
        expected.extend(self.perhaps.iter().take_while(|number| written.contains(number)));
        written.sort_unstable();
        expected.sort_unstable();
        assert_eq!(written, expected, "what was taken is written once, and nothing else");
        assert_eq!(self.called.load(Ordering::Relaxed), self.calls, "each callback is called once");
        assert_eq!(self.producer.free_memory(), MEMORY);
        self.producer.close(SECOND).await.expect("nothing is under way");
        drop(self.producer);
        self.client.close().await;
        assert_eq!(self.client.live_tasks(), 0);
        drop(self.client);
        self.cluster.stop().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
    }
}

fn producer(client: &Client) -> Producer {
    client.producer(ProducerConfig::default().buffer_memory(MEMORY)).expect("the settings are sound")
}

async fn connect(stage: &mut Stage, cut: Cut) -> bool {
    let config = stage.cluster.client_config().seed(2);
    let Some(connected) = cut.off(Client::connect(config)).await else { return false };
    connected.expect("the cluster is up").close().await;
    true
}

async fn close_client(stage: &mut Stage, cut: Cut) -> bool {
    stage.send_one().await;
    stage.taken.last().expect("one was sent").1.clone().await.expect("it is written");
    let ended = cut.off(stage.client.close()).await.is_some();
    stage.client.close().await;
    assert_eq!(stage.client.live_tasks(), 0, "to close it again makes up for it");
    stage.client = Client::new(stage.cluster.client_config().seed(2)).expect("a client");
    stage.producer = producer(&stage.client);
    ended
}

/// Of more bytes than a full memory has left.
async fn send(stage: &mut Stage, cut: Cut) -> bool {
    let (number, value) = stage.next(15_000);
    let record = ProducerRecord::new("clicks").value(&value).partition(stage.partition);
    let Some(taken) = cut.off(stage.producer.send(record)).await else { return false };
    stage.taken.push((number, taken.expect("it is taken")));
    true
}

async fn send_with(stage: &mut Stage, cut: Cut) -> bool {
    let (number, value) = stage.next(15_000);
    let called = stage.called.clone();
    let count = move |written: Result<_>| {
        called.fetch_add(u32::from(written.is_ok()), Ordering::Relaxed);
    };
    let record = ProducerRecord::new("clicks").value(&value).partition(0);
    let Some(taken) = cut.off(stage.producer.send_with(record, count)).await else { return false };
    taken.expect("it is taken");
    stage.calls += 1;
    stage.to_be_written.push(number);
    true
}

/// More than a full memory has left, and than all of it.
async fn send_many(stage: &mut Stage, cut: Cut) -> bool {
    let (numbers, values): (Vec<_>, Vec<_>) = (0..4).map(|_| stage.next(15_000)).unzip();
    let records = values.iter().map(|value| ProducerRecord::new("clicks").value(value).partition(0));
    let Some(deliveries) = cut.off(stage.producer.send_many("clicks", records)).await else {
        stage.perhaps = numbers;
        return false;
    };
    assert_eq!(deliveries.refused(), 0);
    stage.taken.extend(numbers.into_iter().zip(deliveries.iter()));
    stage.many = Some(deliveries);
    true
}

async fn send_by_topic(stage: &mut Stage, cut: Cut) -> bool {
    let (number, value) = stage.next(15_000);
    let topic = stage.producer.topic("clicks");
    let record = topic.record().value(&value).partition(0);
    let Some(taken) = cut.off(topic.send(record)).await else { return false };
    stage.taken.push((number, taken.expect("it is taken")));
    true
}

/// What was taken is written whatever becomes of the close.
async fn close(stage: &mut Stage, cut: Cut) -> bool {
    stage.cluster.fault(ApiKey::Produce).times(2).delay_answer(SECOND);
    stage.send_some(100).await;
    let closed = cut.off(stage.producer.close(60 * SECOND)).await;
    let ended = closed.inspect(|closed| assert!(closed.is_ok(), "{closed:?}")).is_some();
    stage.producer.close(60 * SECOND).await.expect("to close it again is no error");
    stage.producer = producer(&stage.client);
    ended
}
