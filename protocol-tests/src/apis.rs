//! Every API that the schema crate has, by number: its own decoder, and our way to it.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message, Request};
use milena::error::Result;
use milena::wire::guard::{Direction, table};
use milena::wire::request::{decode_request, decode_response};
use std::sync::LazyLock;

/// One direction of one API.
#[derive(Debug)]
pub struct Codec {
    /// The API's number; -1 and -2 for what group members say to each other.
    pub key: i16,
    /// Request or response.
    pub direction: Direction,
    /// The versions that the schema crate has of this very message (what it says of the API may be more).
    pub versions: (i16, i16),
    /// The schema crate on a body.
    pub decode: fn(&Bytes, i16, Again) -> Decoded,
    /// milena on a whole frame without its length, header included; the value is thrown away.
    pub frame: Option<fn(i16, Bytes) -> Result<()>>,
}

/// Whether to encode what was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Only decode.
    No,
    /// Decode and encode.
    Encode,
}

/// What the schema crate made of a body.
#[derive(Debug)]
pub enum Decoded {
    /// Its words.
    Failed(String),
    /// Bytes left over, and the message encoded again.
    Done(usize, BytesMut),
}

/// The codec of a message, if the schema crate has this version of it.
pub fn codec(key: i16, direction: Direction, version: u8) -> Option<&'static Codec> {
    let at = CODECS.binary_search_by_key(&(key, direction), |codec| (codec.key, codec.direction)).ok()?;
    let codec = &CODECS[at];
    let (low, high) = codec.versions;
    (low..=high).contains(&i16::from(version)).then_some(codec)
}

/// All of them, by key, requests first.
pub static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    let mut codecs = vec![
        keyless::<ConsumerProtocolSubscription>(table::CONSUMER_PROTOCOL_SUBSCRIPTION),
        keyless::<ConsumerProtocolAssignment>(table::CONSUMER_PROTOCOL_ASSIGNMENT),
    ];
    macro_rules! add {
        ($($request:ident)*) => { $(codecs.extend(both::<$request>());)* };
    }
    add! {
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest
        TxnOffsetCommitRequest DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest
        AlterConfigsRequest AlterReplicaLogDirsRequest DescribeLogDirsRequest SaslAuthenticateRequest
        CreatePartitionsRequest CreateDelegationTokenRequest RenewDelegationTokenRequest
        ExpireDelegationTokenRequest DescribeDelegationTokenRequest DeleteGroupsRequest ElectLeadersRequest
        IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest ListPartitionReassignmentsRequest
        OffsetDeleteRequest DescribeClientQuotasRequest AlterClientQuotasRequest
        DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest VoteRequest BeginQuorumEpochRequest
        EndQuorumEpochRequest DescribeQuorumRequest AlterPartitionRequest UpdateFeaturesRequest EnvelopeRequest
        FetchSnapshotRequest DescribeClusterRequest DescribeProducersRequest BrokerRegistrationRequest
        BrokerHeartbeatRequest UnregisterBrokerRequest DescribeTransactionsRequest ListTransactionsRequest
        AllocateProducerIdsRequest ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest
        ControllerRegistrationRequest GetTelemetrySubscriptionsRequest PushTelemetryRequest
        AssignReplicasToDirsRequest ListConfigResourcesRequest DescribeTopicPartitionsRequest
        ShareGroupHeartbeatRequest ShareGroupDescribeRequest ShareFetchRequest ShareAcknowledgeRequest
        AddRaftVoterRequest RemoveRaftVoterRequest UpdateRaftVoterRequest InitializeShareGroupStateRequest
        ReadShareGroupStateRequest WriteShareGroupStateRequest DeleteShareGroupStateRequest
        ReadShareGroupStateSummaryRequest DescribeShareGroupOffsetsRequest AlterShareGroupOffsetsRequest
        DeleteShareGroupOffsetsRequest
    }
    codecs.sort_by_key(|codec| (codec.key, codec.direction));
    codecs
});

fn both<R: Request>() -> [Codec; 2] {
    [
        Codec {
            key: R::KEY,
            direction: Direction::Request,
            versions: range::<R>(),
            decode: decode::<R>,
            frame: Some(|_, frame| decode_request::<R>(frame).map(drop)),
        },
        Codec {
            key: R::KEY,
            direction: Direction::Response,
            versions: range::<R::Response>(),
            decode: decode::<R::Response>,
            frame: Some(|version, frame| decode_response::<R>(version, frame).map(drop)),
        },
    ]
}

fn keyless<T: Message + Decodable + Encodable>(key: i16) -> Codec {
    Codec { key, direction: Direction::Request, versions: range::<T>(), decode: decode::<T>, frame: None }
}

fn range<T: Message>() -> (i16, i16) {
    (T::VERSIONS.min, T::VERSIONS.max)
}

fn decode<T: Decodable + Encodable>(body: &Bytes, version: i16, again: Again) -> Decoded {
    let mut rest = body.clone();
    let value = match T::decode(&mut rest, version) {
        Ok(value) => value,
        Err(why) => return Decoded::Failed(format!("{why:#}")),
    };
    let mut out = BytesMut::new();
    if again == Again::Encode
        && let Err(why) = value.encode(&mut out, version)
    {
        return Decoded::Failed(format!("encode: {why:#}"));
    }
    Decoded::Done(rest.len(), out)
}
