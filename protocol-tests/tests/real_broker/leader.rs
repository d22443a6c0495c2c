//! A partition's leader moves while records are written and read, and records are read from its replicas. Needs a cluster
//! of three nodes, each in a rack of its own, as `protocol-tests/kafka` makes it.

use crate::peer::Peer;
use crate::sample::{read_numbers, write_numbers};
use crate::wiretap::{Moment, Say, Wiretap};
use crate::{PATIENCE, bootstrap, client_config, connect, connect_with, ends, topic};
use milena::broker::ApiKey;
use milena::connect::{BoxStream, Connect, Connecting};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::net::tcp::Tcp;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn a_leader_move_loses_and_doubles_nothing() {
    const COUNT: i64 = 3_000;
    let client = connect().await;
    let topic = topic(&client, "leader", 1, 3).await;
    let partition = TopicPartition::new(&*topic, 0);
    let mut consumer =
        client.consumer(ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest)).expect("a consumer");
    consumer.assign([partition]).await.expect("assigned");

    let moves = tokio::spawn({
        let topic = topic.clone();
        async move { (Peer::move_leader(&topic, 0).await, Peer::move_leader(&topic, 0).await) }
    });
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let (mut written, mut read) = (0, 0);
    // Goes on until the leader has moved twice, and then some.
    while written < COUNT || !moves.is_finished() || read < written {
        if written < COUNT || !moves.is_finished() {
            let value = written.to_string();
            let delivery = producer.send(ProducerRecord::new(&topic).value(&value)).await.expect("there is room");
            delivery.await.expect("a move is no reason to fail");
            written += 1;
        }
        let wait = if written < COUNT { std::time::Duration::ZERO } else { std::time::Duration::from_millis(5) };
        for record in &consumer.poll(wait).await.expect("a move is no reason to fail") {
            assert_eq!(record.value(), Some(read.to_string().as_bytes()), "in order, once, at {}", record.offset());
            read += 1;
        }
    }
    let (first, second) = moves.await.expect("the leader moves");
    assert_ne!(first, second);
    producer.close(PATIENCE).await.expect("the producer closes");
    consumer.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}

/// KIP-951, Kafka 3.7: the answer to Produce says who leads now. No Metadata request gets through from before the leader
/// moves, so that the client can have it from nowhere else.
#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn a_leader_that_an_answer_names_is_followed_without_metadata() {
    let is_deaf = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let wiretap = Wiretap::new({
        let (is_deaf, asked) = (is_deaf.clone(), asked.clone());
        move |at, api| {
            if api != ApiKey::Metadata || !is_deaf.load(Ordering::SeqCst) {
                return Say::GoOn;
            }
            asked.fetch_add(u32::from(at == Moment::Sending), Ordering::SeqCst);
            Say::Cut
        }
    });
    let (admin, client) = (connect().await, wiretap.client().await);
    let topic = topic(&admin, "hint", 1, 3).await;
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let written = async |from: u64, until: &dyn Fn(u64) -> bool| {
        let mut n = from;
        while !until(n) {
            let value = n.to_string();
            let delivery = producer.send(ProducerRecord::new(&topic).value(&value)).await.expect("there is room");
            assert_eq!(delivery.await.expect("a move is no reason to fail").offset(), Some(n as i64));
            n += 1;
        }
        n
    };
    let first = written(0, &|n| n == 10).await;
    is_deaf.store(true, Ordering::SeqCst);
    let moves = tokio::spawn({
        let topic = topic.clone();
        async move { (Peer::move_leader(&topic, 0).await, Peer::move_leader(&topic, 0).await) }
    });
    let last = written(first, &|_| moves.is_finished()).await;
    let last = written(last, &|n| n == last + 10).await;
    let (one, two) = moves.await.expect("the leader moves");
    assert_ne!(one, two);
    assert!(asked.load(Ordering::SeqCst) > 0, "a leader that has moved is a reason to ask");
    producer.close(PATIENCE).await.expect("the producer closes");
    client.close().await;

    for peer in Peer::ALL {
        let read = peer.consume(&topic, last as usize).await;
        let in_order = read.iter().enumerate().all(|(n, record)| record.value == Some(n.to_string().into_bytes()));
        assert!(in_order, "{peer:?} reads each once and in order");
    }
    assert_eq!(ends(&admin, &topic, 1).await, [last as i64]);
    admin.close().await;
}

/// KIP-320: every move is a new leader epoch, and the position is validated under it before reading goes on.
#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn a_position_is_validated_by_each_new_leader() {
    let client = connect().await;
    let topic = topic(&client, "validation", 1, 3).await;
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let tap = Wiretap::new(move |moment, api| {
        if (moment, api) == (Moment::Answered, ApiKey::OffsetForLeaderEpoch) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Say::GoOn
    });
    let reader = tap.client().await;
    let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::None);
    let mut consumer = reader.consumer(config).expect("the configuration is sound");
    consumer.assign([TopicPartition::new(&*topic, 0)]).await.expect("assigned");
    consumer.seek(&TopicPartition::new(&*topic, 0), 0).expect("it is assigned");
    for round in 0..3 {
        write_numbers(&client, &topic, round * 10..round * 10 + 10).await;
        let expected: Vec<_> = (round * 10..round * 10 + 10).collect();
        assert_eq!(read_numbers(&mut consumer, 10).await, expected);
        // With ZooKeeper there may be an epoch for the new order of the replicas, and one for the leader; and a broker that does
        // not know yet that it leads says so, and is asked again.
        let times = asked.swap(0, Ordering::Relaxed);
        assert!(if round == 0 { times == 0 } else { (1..=5).contains(&times) }, "{times} times in round {round}");
        Peer::move_leader(&topic, 0).await;
    }
    consumer.close(PATIENCE).await.expect("the consumer closes");
    reader.close().await;
    client.close().await;
}

/// KIP-392.
#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn records_are_read_from_the_replica_in_our_rack() {
    let client = connect().await;
    let topic = topic(&client, "racks", 1, 3).await;
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    for _ in 0..2_000 {
        drop(producer.send(ProducerRecord::new(&topic).value(&[7; 1_000])).await.expect("there is room"));
    }
    producer.close(PATIENCE).await.expect("the producer closes");
    let ports: Vec<u16> = bootstrap().split(',').map(|at| at.rsplit(':').next().unwrap().parse().unwrap()).collect();
    for (number, port) in ports.iter().enumerate() {
        let counting = Counting::default();
        let reader = connect_with(client_config().connect(counting.clone())).await;
        let config = ConsumerConfig::default()
            .auto_offset_reset(OffsetReset::Earliest)
            .client_rack(format!("rack{}", number + 1));
        let mut consumer = reader.consumer(config).expect("the configuration is sound");
        consumer.assign([TopicPartition::new(&*topic, 0)]).await.expect("assigned");
        let mut count = 0;
        while count < 2_000 {
            count += consumer.poll(PATIENCE).await.expect("nothing fails").len();
        }
        consumer.close(PATIENCE).await.expect("the consumer closes");
        reader.close().await;
        let bytes = counting.0.lock().expect("nobody panics").clone();
        let (near, all) = (bytes.get(port).copied().unwrap_or(0), bytes.values().sum::<u64>());
        assert!(near > 2_000_000 && all - near < 50_000, "rack{}: {near} of {all} bytes, {bytes:?}", number + 1);
    }
    client.close().await;
}

/// Bytes read, by the port that they came from.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<Mutex<BTreeMap<u16, u64>>>);

impl Connect for Counting {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (stream, bytes) = (Tcp.connect(host, port), self.0.clone());
        Box::pin(async move { Ok(Box::new(Counted { stream: stream.await?, port, bytes }) as BoxStream) })
    }
}

struct Counted {
    stream: BoxStream,
    port: u16,
    bytes: Arc<Mutex<BTreeMap<u16, u64>>>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        *self.bytes.lock().expect("nobody panics").entry(self.port).or_default() +=
            (into.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
