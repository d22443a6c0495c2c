//! What the test broker emulates is what this broker is: the same questions to both, in the same bytes.

use crate::{PATIENCE, bootstrap, fresh};
use bytes::Bytes;
use milena::broker::{ApiKey, Emulation, TestCluster};
use milena::connect::Connect;
use milena::error::ErrorCode;
use milena::ids::{ProducerIdAndEpoch, TopicId};
use milena::net::tcp::Tcp;
use milena::record::compression::{Compression, Compressor};
use milena::record::encode::RecordEncoder;
use milena::wire::messages::metadata_request::MetadataRequestTopic;
use milena::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena::wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest,
    ProduceRequest, TopicName, TransactionalId,
};
use milena::wire::request::{decode_response, encode_request};
use milena::wire::{Request, StrBytes};
use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A broker to ask, in plain text.
pub(crate) struct Broker {
    connect: Arc<dyn Connect>,
    address: (String, u16),
}

impl Broker {
    /// The first of `KAFKA_BOOTSTRAP`.
    pub(crate) fn of_bootstrap() -> Self {
        let bootstrap = bootstrap();
        let (host, port) = bootstrap.split(',').next().unwrap().rsplit_once(':').expect("host:port");
        Self { connect: Arc::new(Tcp), address: (host.into(), port.parse().unwrap()) }
    }

    /// The answer to one request (both without their lengths), over a connection of its own; `None` if that was closed.
    async fn answers(&self, frame: &[u8]) -> Option<Bytes> {
        let mut stream = self.connect.connect(&self.address.0, self.address.1).await.expect("the broker accepts");
        stream.write_all(frame).await.expect("the broker reads");
        let length = stream.read_u32().await.ok()?;
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer.into())
    }

    pub(crate) async fn ask<R: Request>(&self, version: i16, request: &R) -> Option<R::Response> {
        let frame = encode_request(request, version, 1, "emulation").expect("what the version can say");
        let answer = self.answers(&frame).await?;
        Some(decode_response::<R>(version, answer).expect("an answer in the version asked for"))
    }

    pub(crate) async fn listing(&self, version: i16) -> ApiVersionsResponse {
        let text = StrBytes::from_static_str;
        let request = match version {
            0..3 => ApiVersionsRequest::default(),
            _ => ApiVersionsRequest::default()
                .with_client_software_name(text("milena"))
                .with_client_software_version(text("1")),
        };
        self.ask(version, &request).await.expect("ApiVersions is answered")
    }

    /// What is said of a topic: the code, and whether brokers are named beside it.
    async fn says(&self, version: i16, topic: MetadataRequestTopic) -> (i16, bool) {
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        let response = self.ask(version, &request).await.expect("Metadata is answered");
        (response.topics[0].error_code, !response.brokers.is_empty())
    }
}

/// This broker, and ours in its stead. `KAFKA_VERSION` says which it is.
async fn both() -> (Emulation, Broker, Broker, TestCluster) {
    let emulation = tested_release().expect("KAFKA_VERSION=a.b.c is of a release that is emulated");
    let cluster = TestCluster::builder().emulate(emulation).in_memory().start().await.unwrap();
    let ours = Broker { connect: cluster.connector(), address: ("broker-1".into(), 9092) };
    (emulation, Broker::of_bootstrap(), ours, cluster)
}

/// What the test broker calls the release of `KAFKA_VERSION`, if it passes for it.
pub(crate) fn tested_release() -> Option<Emulation> {
    let version = env::var("KAFKA_VERSION").ok()?;
    version.rsplit_once('.').map_or(&*version, |(release, _)| release).parse().ok()
}

pub(crate) fn ranges(listing: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    listing.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}

/// Ours lists no API and no version that this broker has not got, and of those that both have the highest.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port KAFKA_VERSION=a.b.c"]
async fn what_we_emulate_is_what_this_broker_advertises() {
    let (emulation, theirs, ours, _cluster) = both().await;
    let newest = emulation.versions(ApiKey::ApiVersions).unwrap().1;
    for version in 0..=newest {
        let (their, our) = (theirs.listing(version).await, ours.listing(version).await);
        let (their_ranges, our_ranges) = (ranges(&their), ranges(&our));
        for (key, (min, max)) in &our_ranges {
            let range = their_ranges.get(key).unwrap_or_else(|| panic!("{emulation} has not got API {key}"));
            assert!(range.0 <= *min && *max <= range.1, "{emulation}, API {key}: {range:?}, emulated {min}-{max}");
            let api = ApiKey::from_wire(*key).unwrap();
            assert_eq!(*max, range.1.min(api.versions().1), "{emulation}, {api:?}: {range:?}");
        }
        let preview = [ApiKey::ConsumerGroupHeartbeat, ApiKey::ConsumerGroupDescribe]; // the script turns it on
        let missing = ApiKey::ALL.iter().filter(|api| !our_ranges.contains_key(&api.to_wire()));
        for api in missing.filter(|api| emulation != Emulation::Kafka39 || !preview.contains(api)) {
            let (min, max) = api.versions(); // a newer one than this broker's may be all that ours has
            let both = their_ranges.get(&api.to_wire()).filter(|theirs| theirs.0.max(min) <= theirs.1.min(max));
            assert_eq!(both, None, "{emulation} has {api:?}");
        }
        let level = |listing: &ApiVersionsResponse| {
            let mut features = listing.finalized_features.iter();
            features.find(|feature| &*feature.name == "transaction.version").map(|feature| feature.max_version_level)
        };
        assert_eq!(level(&their), level(&our), "{emulation}");
    }
    // ApiVersions v99, without a client id and with no tags in its head.
    let too_new = [0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0];
    assert_eq!(theirs.answers(&too_new).await, ours.answers(&too_new).await, "{emulation}");
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port KAFKA_VERSION=a.b.c"]
async fn what_we_emulate_of_metadata_is_what_this_broker_says() {
    let (emulation, theirs, ours, _cluster) = both().await;
    let new = || MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(fresh("new")))));
    assert_eq!(theirs.says(5, new()).await, ours.says(5, new()).await, "{emulation}: on first sight");
    let newest = emulation.versions(ApiKey::Metadata).unwrap().1;
    for version in 10..=newest {
        let nobody = || MetadataRequestTopic::default().with_name(None).with_topic_id(TopicId([9; 16]).into());
        let (their, our) = (theirs.says(version, nobody()).await, ours.says(version, nobody()).await);
        assert_eq!(their, our, "{emulation}: by id in v{version}");
    }
}

/// A producer id, once there is a coordinator to give it.
async fn init(broker: &Broker, transactional_id: Option<TransactionalId>) -> ProducerIdAndEpoch {
    let start = Instant::now();
    loop {
        if let Some(id) = &transactional_id {
            let find = FindCoordinatorRequest::default().with_key(id.0.clone()).with_key_type(1);
            broker.ask(1, &find).await.expect("FindCoordinator is answered");
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.clone())
            .with_transaction_timeout_ms(10_000);
        let answer = broker.ask(1, &request).await.expect("InitProducerId is answered");
        if answer.error_code == 0 {
            return ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch };
        }
        assert!(start.elapsed() < PATIENCE, "InitProducerId: {}", answer.error_code);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What batches of one record with these sequence numbers are answered in a new topic: code, offset, where the log begins.
async fn written(
    broker: &Broker,
    version: i16,
    id: Option<TransactionalId>,
    sequences: &[i32],
) -> Vec<(i16, i64, i64)> {
    let topic = TopicName(StrBytes::from_string(fresh("written")));
    let start = Instant::now();
    while broker.says(5, MetadataRequestTopic::default().with_name(Some(topic.clone()))).await.0 != 0 {
        assert!(start.elapsed() < PATIENCE, "{topic:?} is not there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let producer = init(broker, id.clone()).await;
    let mut answers = Vec::new();
    for sequence in sequences {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 10);
        encoder.append(1_700_000_000_000, None, Some(b"x"), &[]);
        let body = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap().0;
        let data = PartitionProduceData::default().with_records(Some(body.to_batch(producer, *sequence, id.is_some())));
        let data = TopicProduceData::default().with_name(topic.clone()).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(id.clone())
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![data]);
        loop {
            let response = broker.ask(version, &request).await.expect("Produce is answered");
            let answer = &response.responses[0].partition_responses[0];
            // Some milliseconds long the leader does not know yet that it is one.
            if answer.error_code != ErrorCode::NotLeaderOrFollower.to_wire() {
                answers.push((answer.error_code, answer.base_offset, answer.log_start_offset));
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{topic:?} has no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    answers
}

/// On one node, which then leads everything: a first batch that is not number 0, a repeated one, a gap, and a transaction's
/// batch for a partition that was not added to it.
#[tokio::test]
#[ignore = "needs a Kafka of one node: KAFKA_BOOTSTRAP=host:port KAFKA_VERSION=a.b.c"]
async fn what_we_emulate_of_producers_is_what_this_broker_says() {
    let (emulation, theirs, ours, _cluster) = both().await;
    let newest = emulation.versions(ApiKey::Produce).unwrap().1.min(12);
    for version in 3..=newest {
        for sequences in [&[5][..], &[0, 0], &[0, 5]] {
            let (their, our) =
                (written(&theirs, version, None, sequences).await, written(&ours, version, None, sequences).await);
            assert_eq!(their, our, "{emulation}, Produce v{version}: sequences {sequences:?}");
        }
        let id = || Some(TransactionalId(StrBytes::from_string(fresh("id"))));
        let (their, our) = (written(&theirs, version, id(), &[0]).await, written(&ours, version, id(), &[0]).await);
        assert_eq!(their, our, "{emulation}, Produce v{version}: not added");
    }
}
