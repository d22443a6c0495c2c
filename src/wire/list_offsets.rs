//! ListOffsets, as consumers and the admin ask it of leaders.

use super::StrBytes;
use super::api_versions::BrokerVersions;
use super::fetch::IsolationLevel;
use super::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use super::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, TopicPartition};
use std::collections::{BTreeMap, HashMap};

/// The place in a log that a ListOffsets request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetSpec {
    /// The oldest record.
    Earliest,
    /// The end: the high watermark, or the last stable offset for read-committed.
    Latest,
    /// The first record with this timestamp or a later one.
    Timestamp(i64),
    /// The record with the largest timestamp (from Kafka 3.0).
    MaxTimestamp,
    /// The oldest record on the leader's own disk; what is older is in tiered storage (KIP-405, from Kafka 3.4).
    EarliestLocal,
    /// The newest record in tiered storage; none if nothing is there (KIP-1005, from Kafka 3.9).
    LatestTiered,
}

impl OffsetSpec {
    /// As requests say it.
    pub fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::Timestamp(timestamp) => timestamp,
        }
    }

    /// The first version of ListOffsets that knows it.
    pub fn first_version(self) -> i16 {
        match self {
            Self::Earliest | Self::Latest | Self::Timestamp(_) => 1,
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
        }
    }
}

/// Where a time is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The offset of the first record with that time or a later one.
    pub offset: i64,
    /// That record's timestamp, in milliseconds since 1970; -1 where only a place was asked for.
    pub timestamp: i64,
    /// The epoch of the leader that stored it, if the broker says.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// What to ask about one partition.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Which one.
    pub name: TopicPartition,
    /// Its leader's epoch, if we know one that the broker should know too.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Where in it.
    pub spec: OffsetSpec,
}

/// A version that knows all of these places: an older one would take a place for a time.
pub fn list_offsets_version(versions: &BrokerVersions, lookups: &[Lookup]) -> Result<i16> {
    let least = lookups.iter().map(|lookup| lookup.spec.first_version()).max().unwrap_or(1);
    versions.pick_in::<ListOffsetsRequest>(least..=i16::MAX)
}

/// The request about all of these.
pub fn list_offsets_request(version: i16, isolation: IsolationLevel, lookups: &[Lookup]) -> ListOffsetsRequest {
    let mut by_topic: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for Lookup { name, leader_epoch, spec } in lookups {
        let mut partition = ListOffsetsPartition::default().with_partition_index(name.partition);
        partition.timestamp = spec.to_wire();
        partition.current_leader_epoch = if version >= 4 { LeaderEpoch::to_wire(*leader_epoch) } else { -1 };
        by_topic.entry(&name.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, Vec<ListOffsetsPartition>)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    };
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(if version >= 2 { isolation.to_wire() } else { 0 })
        .with_topics(by_topic.into_iter().map(topic).collect())
}

/// What the answer says, in the order of the questions. `None`: there is no such record.
pub fn listed_offsets(response: &ListOffsetsResponse, lookups: &[Lookup]) -> Vec<Result<Option<OffsetAndTimestamp>>> {
    let partitions: HashMap<(&str, i32), _> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.name.0.as_str(), p.partition_index), p)))
        .collect();
    let answer = |lookup: &Lookup| {
        let Some(partition) = partitions.get(&(&*lookup.name.topic, lookup.name.partition)) else {
            return Err(Error::with_message(ErrorKind::Malformed, "the answer says nothing of the partition"));
        };
        if let Some(code) = ErrorCode::from_wire(partition.error_code) {
            return Err(Error::broker(code));
        }
        Ok((partition.offset >= 0).then_some(OffsetAndTimestamp {
            offset: partition.offset,
            timestamp: partition.timestamp,
            leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
        }))
    };
    lookups.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::ApiVersionsResponse;
    use crate::wire::messages::api_versions_response::ApiVersion;

    #[test]
    fn a_place_that_the_broker_does_not_know_yet_is_an_error_and_no_guess() {
        for (spec, timestamp, first) in [
            (OffsetSpec::Timestamp(5), 5, 1),
            (OffsetSpec::Latest, -1, 1),
            (OffsetSpec::Earliest, -2, 1),
            (OffsetSpec::MaxTimestamp, -3, 7),
            (OffsetSpec::EarliestLocal, -4, 8),
            (OffsetSpec::LatestTiered, -5, 9),
        ] {
            let lookup = Lookup { name: TopicPartition::new("t", 0), leader_epoch: None, spec };
            for max in 1..=9 {
                let api = ApiVersion::default().with_api_key(2).with_min_version(1).with_max_version(max);
                let versions = BrokerVersions::new(&ApiVersionsResponse::default().with_api_keys(vec![api]));
                match list_offsets_version(&versions, std::slice::from_ref(&lookup)) {
                    Ok(version) => assert_eq!((version, max >= first), (max, true), "{spec:?}"),
                    Err(error) => assert_eq!((error.kind(), max < first), (ErrorKind::UnsupportedVersion, true)),
                }
            }
            let request = list_offsets_request(first, IsolationLevel::ReadUncommitted, &[lookup]);
            assert_eq!(request.topics[0].partitions[0].timestamp, timestamp, "{spec:?}");
        }
    }
}
