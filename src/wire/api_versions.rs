//! Which versions of each API we speak, which a broker speaks, and the one to use: `min(ours.max, broker.max)`, which
//! must not be below either minimum. Negotiated per connection, since brokers differ during a rolling upgrade.
//!
//! An API that the broker advertises in a low version is not thereby usable in it: Kafka 4.x advertises Produce v0-2
//! for the sake of librdkafka and does not implement them (KAFKA-18659). We only ever pick the highest.

use crate::error::{Certainty, Error, ErrorKind, Result};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Message, Request, StrBytes};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Caps below what the schema crate has: versions that mean something that we don't do.
const CAPS: &[(ApiKey, i16)] = &[
    // v13 names topics by id only, and a topic id may be unknown to the broker that we ask next.
    (ApiKey::Produce, 12),
    // v18 adds the high watermark for followers.
    (ApiKey::Fetch, 17),
    // v3 is share and streams groups' describing; the regex of v1 we send.
    (ApiKey::ConsumerGroupHeartbeat, 1),
];

/// The versions of `R` that we implement: those that the schema crate has of request *and* response (for three APIs
/// it has a response version without the request), below our cap.
pub fn ours<R: Request>() -> (i16, i16) {
    let (request, response) = (R::VERSIONS, <R::Response as Message>::VERSIONS);
    let cap = CAPS.iter().find(|(api, _)| *api as i16 == R::KEY).map_or(i16::MAX, |(_, cap)| *cap);
    (request.min.max(response.min), request.max.min(response.max).min(cap))
}

/// The request for what a broker has; who asks is told from v3 on (KIP-511).
pub fn api_versions_request(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    if version < 3 {
        return request;
    }
    request
        .with_client_software_name(StrBytes::from_static_str("milena"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")))
}

/// What one broker said of itself on one connection.
#[derive(Debug, Clone, Default)]
pub struct BrokerVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
    finalized_features: BTreeMap<String, i16>,
    listed: bool,
}

impl BrokerVersions {
    /// From an ApiVersions answer.
    pub fn new(response: &ApiVersionsResponse) -> Self {
        let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        // -1: the broker does not know the finalized features.
        let features = if response.finalized_features_epoch >= 0 { &response.finalized_features[..] } else { &[] };
        let finalized_features =
            features.iter().map(|feature| (feature.name.to_string(), feature.max_version_level)).collect();
        Self { ranges, finalized_features, listed: !response.api_keys.is_empty() }
    }

    /// The version to use for `R`.
    pub fn pick<R: Request>(&self) -> Result<i16> {
        let ours = ours::<R>();
        let Some(&theirs) = self.ranges.get(&R::KEY) else {
            return Err(unsupported::<R>("the broker does not have this API".into()));
        };
        let version = ours.1.min(theirs.1);
        if version < ours.0.max(theirs.0) {
            let message = format!("the broker has v{}-{}, we have v{}-{}", theirs.0, theirs.1, ours.0, ours.1);
            return Err(unsupported::<R>(message));
        }
        Ok(version)
    }

    /// The version to use for `R`, which must be in `range`: it needs what came with the first, and can't do what came
    /// behind the last.
    pub fn pick_in<R: Request>(&self, range: RangeInclusive<i16>) -> Result<i16> {
        let version = self.pick::<R>()?.min(*range.end());
        let least = (*range.start()).max(self.ranges.get(&R::KEY).map_or(0, |theirs| theirs.0));
        if version < least {
            return Err(unsupported::<R>(format!("the broker has up to v{version}, this call needs v{least}")));
        }
        Ok(version)
    }

    /// The highest version of an API that the broker advertises.
    pub fn max(&self, api: ApiKey) -> Option<i16> {
        self.ranges.get(&(api as i16)).map(|range| range.1)
    }

    /// The finalized level of a feature (`transaction.version`), 0 if the broker has none.
    pub fn feature(&self, name: &str) -> i16 {
        self.finalized_features.get(name).copied().unwrap_or(0)
    }

    /// Whether the broker listed any API at all.
    pub fn is_listed(&self) -> bool {
        self.listed
    }
}

/// Kafka's name of an API, for messages.
pub fn api_name(key: i16) -> &'static str {
    const NAMES: &[&str] = &[
        "Produce",
        "Fetch",
        "ListOffsets",
        "Metadata",
        "LeaderAndIsr",
        "StopReplica",
        "UpdateMetadata",
        "ControlledShutdown",
        "OffsetCommit",
        "OffsetFetch",
        "FindCoordinator",
        "JoinGroup",
        "Heartbeat",
        "LeaveGroup",
        "SyncGroup",
        "DescribeGroups",
        "ListGroups",
        "SaslHandshake",
        "ApiVersions",
        "CreateTopics",
        "DeleteTopics",
        "DeleteRecords",
        "InitProducerId",
        "OffsetForLeaderEpoch",
        "AddPartitionsToTxn",
        "AddOffsetsToTxn",
        "EndTxn",
        "WriteTxnMarkers",
        "TxnOffsetCommit",
        "DescribeAcls",
        "CreateAcls",
        "DeleteAcls",
        "DescribeConfigs",
        "AlterConfigs",
        "AlterReplicaLogDirs",
        "DescribeLogDirs",
        "SaslAuthenticate",
        "CreatePartitions",
        "CreateDelegationToken",
        "RenewDelegationToken",
        "ExpireDelegationToken",
        "DescribeDelegationToken",
        "DeleteGroups",
        "ElectLeaders",
        "IncrementalAlterConfigs",
        "AlterPartitionReassignments",
        "ListPartitionReassignments",
        "OffsetDelete",
        "DescribeClientQuotas",
        "AlterClientQuotas",
        "DescribeUserScramCredentials",
        "AlterUserScramCredentials",
    ];
    match key {
        55 => "DescribeQuorum",
        57 => "UpdateFeatures",
        60 => "DescribeCluster",
        61 => "DescribeProducers",
        65 => "DescribeTransactions",
        66 => "ListTransactions",
        68 => "ConsumerGroupHeartbeat",
        69 => "ConsumerGroupDescribe",
        74 => "ListConfigResources",
        75 => "DescribeTopicPartitions",
        key => usize::try_from(key).ok().and_then(|key| NAMES.get(key)).copied().unwrap_or("an API"),
    }
}

/// Whether an API only asks: when its answer is lost nothing may have been done all the same.
pub fn is_question(key: i16) -> bool {
    let name = api_name(key);
    let is_named_so = ["Describe", "List", "Sasl"].iter().any(|prefix| name.starts_with(prefix));
    is_named_so
        || matches!(
            name,
            "Fetch"
                | "Metadata"
                | "OffsetFetch"
                | "FindCoordinator"
                | "ApiVersions"
                | "OffsetForLeaderEpoch"
                | "ConsumerGroupDescribe"
        )
}

fn unsupported<R: Request>(message: String) -> Error {
    // Nobody has been asked: without this a transaction would take it for a request that may still arrive.
    Error::with_message(ErrorKind::UnsupportedVersion, message).api(api_name(R::KEY)).certainty(Certainty::NotSent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{FetchRequest, OffsetCommitRequest, api_versions_response::ApiVersion};

    fn broker(api_key: i16, min: i16, max: i16) -> BrokerVersions {
        let api = ApiVersion::default().with_api_key(api_key).with_min_version(min).with_max_version(max);
        BrokerVersions::new(&ApiVersionsResponse::default().with_api_keys(vec![api]))
    }

    #[test]
    fn what_only_asks_is_told_from_what_changes_something() {
        let of = |name: &str| (0..80).find(|key| api_name(*key) == name).unwrap();
        let questions = ["Fetch", "Metadata", "ListOffsets", "DescribeGroups", "SaslAuthenticate", "FindCoordinator"];
        let changes = ["Produce", "OffsetCommit", "EndTxn", "JoinGroup", "Heartbeat", "CreateTopics", "ElectLeaders"];
        assert!(questions.iter().all(|name| is_question(of(name))));
        assert!(!changes.iter().any(|name| is_question(of(name))));
        assert!(!is_question(999), "nobody knows");
    }

    #[test]
    fn the_highest_common_version_is_picked_and_none_below_a_minimum() {
        assert_eq!(broker(1, 0, 11).pick::<FetchRequest>().unwrap(), 11);
        assert_eq!(broker(1, 0, 99).pick::<FetchRequest>().unwrap(), 17);
        assert_eq!(broker(1, 0, 3).pick::<FetchRequest>().unwrap_err().kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(broker(1, 30, 40).pick::<FetchRequest>().unwrap_err().kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(broker(0, 0, 9).pick::<FetchRequest>().unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    }

    /// kafka-protocol 0.18 says OffsetCommit v10 exists, but has it for the response only.
    #[test]
    fn a_version_that_exists_as_response_only_is_not_ours() {
        assert_eq!(ours::<OffsetCommitRequest>().1, 9);
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!((api_name(0), api_name(18), api_name(51)), ("Produce", "ApiVersions", "AlterUserScramCredentials"));
        assert_eq!((api_name(44), api_name(-3)), ("IncrementalAlterConfigs", "an API"));
    }
}
