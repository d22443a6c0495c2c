//! Connections to the test broker over which anything comes: a stream of frames, each answered or the end of its connection,
//! and afterwards the broker serves others as before.
//!
//! What must hold: every answer has its request's correlation id, passes the guard and is read as an answer; nothing panics
//! (not in a connection's task either, where a fuzzer's panic hook or [`play`]'s own sees it); others are served.

use crate::apis::codec;
use bytes::{BufMut, Bytes, BytesMut};
use milena::broker::{ApiKey, TestCluster};
use milena::connect::{BoxStream, Connect};
use milena::ids::ProducerIdAndEpoch;
use milena::record::compression::{Compression, Compressor};
use milena::record::encode::RecordEncoder;
use milena::wire::frame::{MAX_FRAME, take_frame};
use milena::wire::guard::{Direction, check_frame};
use milena::wire::messages::create_topics_request::CreatableTopic;
use milena::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use milena::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena::wire::messages::{CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, TopicName};
use milena::wire::request::{correlation_id, decode_response, encode_request, peek_request};
use milena::wire::{Request, StrBytes};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// No more frames than this are taken from one input.
const FRAMES: usize = 64;
/// What parks longer is left behind on its connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a broker and its clients may hold at any time for a stream of so many bytes: a multiple of them (what it is told to
/// keep, and what it reads that into), and as much as all partitions take that there may be, with an answer that names them all.
pub const fn memory_limit(bytes: usize) -> usize {
    2_000 * bytes + (192 << 20)
}

/// The frames of a stream as a fuzzer bends it: what a length says beyond the end is cut off.
pub fn frames(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        frames.push(frame);
        stream = rest;
    }
    frames.truncate(FRAMES);
    frames
}

/// Sends the frames of `stream`, each when the one before is answered, and then asks as others do. Gives how many were
/// answered.
///
/// # Panics
/// When something does not hold.
pub fn play(stream: &[u8]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let cluster = TestCluster::builder().brokers(2).topic("t", 2).default_partitions(2).in_memory();
        let cluster = cluster.start().await.expect("a cluster in memory");
        Peer::connect(&cluster).await.produce("t", 0).await;
        let (mut peer, mut parked, mut answered) = (Peer::connect(&cluster).await, Vec::new(), 0);
        for frame in frames(stream) {
            match peer.exchange(frame).await {
                Some(true) => answered += 1,
                Some(false) => parked.push(std::mem::replace(&mut peer, Peer::connect(&cluster).await)),
                None => peer = Peer::connect(&cluster).await,
            }
        }
        drop((peer, parked));
        // Whoever joined is expected back, and transactions end.
        sleep(Duration::from_secs(3_600)).await;
        Peer::connect(&cluster).await.lives_on().await;
        cluster.stop().await;
        answered
    })
}

/// One connection.
struct Peer {
    stream: BoxStream,
    buffer: BytesMut,
}

impl Peer {
    async fn connect(cluster: &TestCluster) -> Self {
        let stream = cluster.connector().connect("broker-1", 9092).await.expect("the broker is up");
        Self { stream, buffer: BytesMut::new() }
    }

    /// A frame, or the end.
    async fn receive(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer, MAX_FRAME).expect("a frame") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Whether it was answered; `None`: the broker has closed the connection.
    async fn exchange(&mut self, frame: &[u8]) -> Option<bool> {
        let mut out = BytesMut::with_capacity(frame.len() + 4);
        out.put_u32(frame.len() as u32);
        out.extend_from_slice(frame);
        self.stream.write_all(&out).await.ok()?;
        match timeout(PATIENCE, self.receive()).await {
            Ok(Some(answer)) => {
                let (key, version, id) = peek_request(frame).expect("what is answered has a header");
                assert_eq!(correlation_id(&answer).expect("a header"), id);
                check_answer(key, version, answer);
                Some(true)
            }
            Ok(None) => None,
            Err(_) => Some(false),
        }
    }

    async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let frame = encode_request(request, version, 1, "ordinary").expect("what the version can say");
        self.stream.write_all(&frame).await.expect("the broker reads");
        let answer = self.receive().await.expect("an answer, not the end of the connection");
        decode_response::<R>(version, answer).expect("an answer in the version asked for")
    }

    async fn produce(&mut self, topic: &str, partition: i32) -> i64 {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 10);
        encoder.append(1, Some(b"k"), Some(b"v"), &[]);
        let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
        let batch = body.to_batch(ProducerIdAndEpoch::NONE, -1, false);
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic]);
        let answer = self.call(9, &request).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "{partition:?}");
        partition.base_offset
    }

    async fn fetch(&mut self, topic: &str) -> usize {
        let wanted = FetchPartition::default().with_current_leader_epoch(-1).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![topic]);
        let answer = self.call(12, &request).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{partition:?}");
        partition.records.as_ref().map_or(0, Bytes::len)
    }

    /// What others ask for is answered as ever.
    async fn lives_on(&mut self) {
        let topic = CreatableTopic::default().with_name(name("anothers")).with_num_partitions(1);
        let topic = topic.with_replication_factor(2);
        let created =
            self.call(5, &CreateTopicsRequest::default().with_timeout_ms(1_000).with_topics(vec![topic])).await;
        assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0]);
        let metadata = self.call(9, &MetadataRequest::default().with_topics(None)).await;
        let found = metadata.topics.iter().find(|topic| topic.name == Some(name("anothers"))).expect("just made");
        if found.partitions[0].leader_id.0 == 1 {
            assert_eq!(self.produce("anothers", 0).await, 0);
            assert!(self.fetch("anothers").await > 0);
        }
    }
}

/// An answer is one: whole, and in the version asked for.
fn check_answer(key: i16, version: i16, answer: Bytes) {
    let (_, max) = ApiKey::from_wire(key).expect("what is answered is served").versions();
    // A client that is too new gets the oldest layout (KIP-511).
    let version = if key == ApiKey::ApiVersions.to_wire() && (version < 0 || version > max) { 0 } else { version };
    let verdict = check_frame(key, version, Direction::Response, &answer);
    assert_eq!(verdict, Ok(()), "API {key} v{version}: {answer:?}");
    let codec = u8::try_from(version).ok().and_then(|version| codec(key, Direction::Response, version));
    let decode = codec.and_then(|codec| codec.frame).expect("every API served has a codec");
    decode(version, answer).expect("what passes the guard is read");
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
