//! What the test broker emulates is what this broker is: the same questions to both, in the same bytes.

use crate::{bootstrap, fresh};
use bytes::Bytes;
use milena::broker::{ApiKey, Emulation, TestCluster};
use milena::connect::Connect;
use milena::ids::TopicId;
use milena::net::tcp::Tcp;
use milena::wire::messages::metadata_request::MetadataRequestTopic;
use milena::wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, TopicName};
use milena::wire::request::{decode_response, encode_request};
use milena::wire::{Request, StrBytes};
use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A broker to ask.
struct Broker {
    connect: Arc<dyn Connect>,
    address: (String, u16),
}

impl Broker {
    /// The answer to one request (both without their lengths), over a connection of its own; `None` if that was closed.
    async fn answers(&self, frame: &[u8]) -> Option<Bytes> {
        let mut stream = self.connect.connect(&self.address.0, self.address.1).await.expect("the broker accepts");
        stream.write_all(frame).await.expect("the broker reads");
        let length = stream.read_u32().await.ok()?;
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer.into())
    }

    async fn ask<R: Request>(&self, version: i16, request: &R) -> Option<R::Response> {
        let frame = encode_request(request, version, 1, "emulation").expect("what the version can say");
        let answer = self.answers(&frame).await?;
        Some(decode_response::<R>(version, answer).expect("an answer in the version asked for"))
    }

    async fn listing(&self, version: i16) -> ApiVersionsResponse {
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
    let version = env::var("KAFKA_VERSION").expect("KAFKA_VERSION=a.b.c says which Kafka that is");
    let release = version.rsplit_once('.').map_or(&*version, |(release, _)| release);
    let emulation: Emulation = release.parse().expect("a release that is emulated");
    let cluster = TestCluster::builder().emulate(emulation).in_memory().start().await.unwrap();
    let ours = Broker { connect: cluster.connector(), address: ("broker-1".into(), 9092) };
    let bootstrap = bootstrap();
    let (host, port) = bootstrap.split(',').next().unwrap().rsplit_once(':').expect("host:port");
    let theirs = Broker { connect: Arc::new(Tcp), address: (host.into(), port.parse().unwrap()) };
    (emulation, theirs, ours, cluster)
}

fn ranges(listing: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
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
            assert!(!their_ranges.contains_key(&api.to_wire()), "{emulation} has {api:?}");
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
