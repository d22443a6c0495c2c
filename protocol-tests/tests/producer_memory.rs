//! What a producer allocates: nothing per record, at most eight times per batch, the connection included. Its own binary,
//! as the allocator counts for the whole process; hence a scripted peer that allocates nothing itself once it is warm.

#![allow(clippy::print_stdout, reason = "a figure to watch")]

use milena::client::{Client, ClientConfig};
use milena::connect::{BoxStream, Connect, Connecting};
use milena::producer::{Delivery, Producer, ProducerConfig};
use milena::record::compression::Compression;
use milena::wire::messages::api_versions_response::ApiVersion;
use milena::wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena::wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProducerId, TopicName,
};
use milena::wire::request::{encode_response, peek_request};
use milena::wire::{Request, StrBytes};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PARTITIONS: i32 = 4;
const PRODUCE: i16 = 12;

/// Answers what a producer asks; Produce by hand, without looking at the records.
#[derive(Debug)]
struct Peer;

impl Connect for Peer {
    fn connect(&self, _host: &str, _port: u16) -> Connecting {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(serve(theirs));
        Box::pin(async move { Ok(Box::new(ours) as BoxStream) })
    }
}

async fn serve(mut stream: DuplexStream) {
    let (mut frame, mut answer) = (Vec::with_capacity(1 << 20), Vec::with_capacity(4096));
    while let Ok(length) = stream.read_i32().await {
        frame.resize(length as usize, 0);
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let (key, version, id) = peek_request(&frame).unwrap();
        match key {
            0 => produced(&frame, id, &mut answer),
            18 => answer = encode_response::<ApiVersionsRequest>(&versions(), version, id).unwrap().to_vec(),
            3 => answer = encode_response::<MetadataRequest>(&metadata(), version, id).unwrap().to_vec(),
            22 => {
                let response = InitProducerIdResponse::default().with_producer_id(ProducerId(7));
                answer = encode_response::<InitProducerIdRequest>(&response, version, id).unwrap().to_vec();
            }
            other => panic!("nobody should ask {other}"),
        }
        stream.write_all(&answer).await.unwrap();
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |key: i16, max: i16| ApiVersion::default().with_api_key(key).with_max_version(max);
    let apis = vec![api(0, PRODUCE), api(3, 12), api(ApiVersionsRequest::KEY, 3), api(InitProducerIdRequest::KEY, 4)];
    ApiVersionsResponse::default().with_api_keys(apis)
}

fn metadata() -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(1.into()).with_port(9092);
    let partition = |index| {
        MetadataResponsePartition::default().with_partition_index(index).with_leader_id(1.into()).with_leader_epoch(1)
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("clicks"))))
        .with_partitions((0..PARTITIONS).map(partition).collect());
    MetadataResponse::default()
        .with_brokers(vec![broker.with_host(StrBytes::from_static_str("peer"))])
        .with_topics(vec![topic])
}

/// Walks a Produce v12 of one topic and says that all of it is written.
fn produced(frame: &[u8], id: i32, answer: &mut Vec<u8>) {
    let client_id = i16::from_be_bytes([frame[8], frame[9]]) as usize;
    let mut at = 10 + client_id + 1 + 1 + 2 + 4; // tags, no transaction, acks, timeout
    assert_eq!(varint(frame, &mut at), 2, "one topic");
    let name = varint(frame, &mut at) - 1;
    at += name;
    let partitions = varint(frame, &mut at) - 1;
    answer.clear();
    answer.extend_from_slice(&[0; 4]);
    answer.extend_from_slice(&id.to_be_bytes());
    answer.extend_from_slice(&[0, 2, 7]);
    answer.extend_from_slice(b"clicks");
    answer.push(partitions as u8 + 1);
    for _ in 0..partitions {
        answer.extend_from_slice(&frame[at..at + 4]);
        at += 4;
        let length = varint(frame, &mut at) - 1;
        at += length + 1;
        answer.extend_from_slice(&[0; 2 + 8]); // no error, offset 0
        answer.extend_from_slice(&[0xff; 8]); // no log append time
        answer.extend_from_slice(&[0; 8]);
        answer.extend_from_slice(&[1, 0, 0]); // no record errors, no message, no tags
    }
    answer.extend_from_slice(&[0, 0, 0, 0, 0, 0]); // the topic's tags, not throttled, no tags
    let length = answer.len() as i32 - 4;
    answer[..4].copy_from_slice(&length.to_be_bytes());
}

fn varint(frame: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = frame[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

/// Allocations while `records` records of 100 bytes are sent and acknowledged.
async fn allocations(producer: &Producer, records: usize) -> usize {
    let topic = producer.topic("clicks");
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(records);
    let region = Region::new(ALLOCATOR);
    for _ in 0..records {
        deliveries.push(topic.send(topic.record().value(&[b'x'; 100])).await.unwrap());
    }
    assert_eq!(producer.flush(Duration::from_secs(60)).await.unwrap(), 0);
    let change = region.change();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    change.allocations + change.reallocations
}

/// As [`allocations`], by four tasks with a handle each.
async fn allocations_of_four(producer: &Producer, records: usize) -> usize {
    let four: Vec<_> = (0..4).map(|_| (producer.topic("clicks"), Vec::with_capacity(records / 4))).collect();
    let region = Region::new(ALLOCATOR);
    let tasks: Vec<_> = four
        .into_iter()
        .map(|(topic, mut deliveries): (_, Vec<Delivery>)| {
            tokio::spawn(async move {
                for _ in 0..records / 4 {
                    deliveries.push(topic.send(topic.record().value(&[b'x'; 100])).await.unwrap());
                }
                deliveries
            })
        })
        .collect();
    let mut sent = Vec::with_capacity(4);
    for task in tasks {
        sent.push(task.await.unwrap());
    }
    assert_eq!(producer.flush(Duration::from_secs(60)).await.unwrap(), 0);
    let change = region.change();
    for delivery in sent.into_iter().flatten() {
        delivery.await.unwrap();
    }
    change.allocations + change.reallocations
}

/// As [`allocations`], with `send_many` of a thousand at a time.
async fn allocations_of_many(producer: &Producer, records: usize) -> usize {
    let topic = producer.topic("clicks");
    let mut sent = Vec::with_capacity(records / 1000);
    let region = Region::new(ALLOCATOR);
    for _ in 0..records / 1000 {
        sent.push(topic.send_many((0..1000).map(|_| topic.record().value(&[b'x'; 100]))).await);
    }
    assert_eq!(producer.flush(Duration::from_secs(60)).await.unwrap(), 0);
    let change = region.change();
    for deliveries in sent {
        deliveries.all().await.unwrap();
    }
    change.allocations + change.reallocations
}

/// On virtual time: how soon a batch has lingered, and so how many there are, is not to depend on the machine.
#[tokio::test(start_paused = true)]
async fn nothing_per_record_and_at_most_eight_times_per_batch() {
    for compression in [Compression::None, Compression::Lz4] {
        let client = Client::new(ClientConfig::new(["peer"]).connect(Peer).virtual_time().seed(7)).unwrap();
        let producer = client.producer(ProducerConfig::default().compression(compression)).unwrap();
        let records = 200_000;
        let batches = records * 107 / (16_384 - 61) + 1;
        allocations(&producer, records).await; // buffers, tables, queues
        let count = allocations(&producer, records).await;
        println!("{compression:?}: {count} allocations, {batches} batches, {records} records");
        assert!(count <= 8 * batches, "{compression:?}: {count} allocations for {batches} batches");
        assert!(count * 10 < records, "{compression:?}: {count} for {records} records");
        allocations_of_four(&producer, records).await;
        let four = allocations_of_four(&producer, records).await;
        println!("{compression:?}: {four} allocations of four tasks");
        assert!(four <= 8 * batches + 100, "{compression:?}: {four}, the tasks apart");
        allocations_of_many(&producer, records).await;
        let many = allocations_of_many(&producer, records).await;
        println!("{compression:?}: {many} allocations with send_many");
        assert!(many <= 8 * batches + 10 * records / 1000, "{compression:?}: {many}, a few a call apart");
    }
}
