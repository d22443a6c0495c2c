//! A peer that speaks to the cluster request by request, in any version: what the families' tests are told with.
#![allow(clippy::disallowed_methods, reason = "tests wait on virtual time")]

mod acls;
mod admin;
mod cluster_admin;
mod compaction;
mod configs;
mod consumer_groups;
mod emulation;
mod epochs;
mod faults;
mod fetch_sessions;
mod groups;
mod hostile;
mod lifecycle;
mod network;
mod quotas;
mod racks;
mod records;
mod replication;
mod sasl;
mod scram;
#[cfg(feature = "tls")]
mod tls;
mod transactions;
mod versions;

use crate::broker::*;
use crate::connect::BoxStream;
use crate::ids::ProducerIdAndEpoch;
use crate::record::compression::{Compression, Compressor};
use crate::record::encode::RecordEncoder;
use crate::wire::frame::{MAX_FRAME, take_frame};
use crate::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::messages::fetch_response::PartitionData;
use crate::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::messages::produce_response::PartitionProduceResponse;
use crate::wire::messages::{FetchRequest, ProduceRequest, TopicName};
use crate::wire::request::{correlation_id, decode_response, encode_request};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

/// One connection.
struct Peer {
    stream: BoxStream,
    buffer: BytesMut,
    sent: i32,
}

impl Peer {
    async fn connect(cluster: &TestCluster, node: i32) -> Self {
        Self::open(cluster.connector(), node).await
    }

    /// The same as somebody, to broker 1.
    async fn connect_as(cluster: &TestCluster, principal: &str) -> Self {
        Self::open(cluster.connector_as(principal), 1).await
    }

    async fn open(connector: Arc<dyn Connect>, node: i32) -> Self {
        let stream = connector.connect(&format!("broker-{node}"), 9092).await.expect("the broker is up");
        Self { stream, buffer: BytesMut::new(), sent: 0 }
    }

    async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.sent += 1;
        let frame = encode_request(request, version, self.sent, "peer").expect("a request that this version can say");
        self.stream.write_all(&frame).await.expect("the broker reads");
    }

    /// `None`: the broker has closed the connection.
    async fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let frame = self.frame().await?;
        assert_eq!(correlation_id(&frame).expect("a header"), self.sent);
        Some(decode_response::<R>(version, frame).expect("an answer in the version asked for"))
    }

    /// The next answer as it comes, without its length.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer, MAX_FRAME).expect("a frame") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await.expect("an answer, not the end of the connection")
    }

    async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let mut response = self.call(9, &produce(topic, partition, batch)).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    async fn fetch(&mut self, request: &FetchRequest) -> PartitionData {
        let mut response = self.call(12, request).await;
        response.responses.remove(0).partitions.remove(0)
    }
}

impl TestCluster {
    fn topic_id(&self, topic: &str) -> Uuid {
        Uuid::from_bytes(self.shared.state().topics[topic].id.0)
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(topic.to_owned().into())
}

fn produce(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

fn fetch(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A batch of records with these timestamps and values.
fn batch(records: &[(i64, &str)]) -> Bytes {
    sequenced(records, ProducerIdAndEpoch::NONE, -1)
}

fn sequenced(records: &[(i64, &str)], producer: ProducerIdAndEpoch, sequence: i32) -> Bytes {
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
    for (timestamp, value) in records {
        encoder.append(*timestamp, None, Some(value.as_bytes()), &[]);
    }
    let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
    body.to_batch(producer, sequence, false)
}
