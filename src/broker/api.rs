//! Which APIs the test broker serves, in which versions, and how a request finds its family's file.

use super::Context;
use super::control::{Script, ScriptedRequest};
use super::fetch_sessions::FetchSessions;
use super::state::Topic;
use crate::error::{ErrorCode, Result};
use crate::wire::guard::{Direction, table::MESSAGES};
use crate::wire::messages as schema;
use crate::wire::request::{decode_request_prefix, encode_response, frame_response, take_request_header};
use bytes::Bytes;
use kafka_protocol::protocol::{Message, Request};
use std::collections::HashSet;
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

/// One request that the broker serves. Implemented in the file of its family.
pub(super) trait Api: Request + Send + 'static {
    /// Does what is asked. May park: a future that is dropped leaves nothing behind but what it has already done.
    fn serve(self, on: Context) -> impl Future<Output = Self::Response> + Send;

    /// The answer that says `code` about everything asked for: for a fault on command.
    fn refuse(&self, code: ErrorCode) -> Self::Response;

    /// The same where what is asked for is not all in the request.
    fn refuse_on(&self, _on: &Context, code: ErrorCode) -> Self::Response {
        self.refuse(code)
    }

    /// Whether it is about this topic, among others; a Fetch may leave that to its session.
    fn names_topic(&self, _topic: &Topic, _sessions: &FetchSessions) -> bool {
        false
    }

    /// Whether the client waits for an answer: not for Produce with acks=0.
    fn wants_answer(&self) -> bool {
        true
    }

    /// Whether an answer that can't be sent has to be told by closing the connection (acks=0).
    fn failed(_response: &Self::Response) -> bool {
        false
    }
}

/// What a request names more than once.
pub(super) fn repeated<T: Copy + Eq + Hash>(named: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    named.filter(|one| !seen.insert(*one)).collect()
}

/// How a request is handled: served or not, and answered with what came of it or with a code.
#[derive(Debug)]
pub(super) struct Handling {
    pub apply: bool,
    pub refusal: Option<ErrorCode>,
    pub script: Option<Script>,
    pub throttle: Duration,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// A whole frame to send.
    Frame(Bytes),
    /// One to send before the connection ends.
    Last(Bytes),
    /// Nothing to send.
    None,
    /// The connection ends here.
    Close,
}

impl Answer {
    /// With another frame in the place of the one to send.
    pub(super) fn map(self, with: impl FnOnce(Bytes) -> Bytes) -> Self {
        if let Self::Frame(frame) = self { Self::Frame(with(frame)) } else { self }
    }

    /// After which the connection ends.
    pub(super) fn last(self) -> Self {
        if let Self::Frame(frame) = self { Self::Last(frame) } else { Self::Close }
    }
}

/// The versions of `R` that can be read *and* answered: the schema crate has both, and the guard's table too.
fn versions<R: Request>() -> (i16, i16) {
    let (mut min, mut max) = (R::VERSIONS.min, R::VERSIONS.max);
    min = min.max(<R::Response as Message>::VERSIONS.min);
    max = max.min(<R::Response as Message>::VERSIONS.max);
    for row in MESSAGES.iter().filter(|row| row.key == R::KEY && row.direction == Direction::Request) {
        min = min.max(i16::from(row.low));
        max = max.min(i16::from(row.high));
    }
    (min, max)
}

/// Where an answer says how long the client is to wait before it asks again.
type ThrottleTime<R> = fn(&mut <R as Request>::Response) -> Option<&mut i32>;

async fn serve<R: Api>(
    on: Context,
    frame: Bytes,
    how: Handling,
    throttle_time_ms: ThrottleTime<R>,
) -> Result<(Answer, Duration)> {
    let (header, request, _) = decode_request_prefix::<R>(frame.clone())?;
    let wants_answer = request.wants_answer();
    if let Some(script) = &how.script
        && let Some(body) = scripted::<R>(&on, script, frame)?
    {
        let frame = frame_response::<R>(&body, header.api_version, header.correlation_id)?;
        return Ok((if wants_answer { Answer::Frame(frame) } else { Answer::None }, how.throttle));
    }
    let mut response = match how.refusal {
        Some(code) => {
            let mut refused = request.refuse_on(&on, code);
            if how.apply {
                // Its bytes have been counted: the wait stays.
                let mut served = request.serve(on).await;
                if let (Some(wait), Some(waits)) = (throttle_time_ms(&mut served), throttle_time_ms(&mut refused)) {
                    *waits = *wait;
                }
            }
            refused
        }
        None => request.serve(on).await,
    };
    let mut throttle = how.throttle;
    if let Some(millis) = throttle_time_ms(&mut response) {
        let by_quota = Duration::from_millis(u64::try_from(*millis).unwrap_or(0));
        throttle = throttle.max(by_quota);
        *millis = i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX);
    }
    let answer = match (wants_answer, R::failed(&response)) {
        (true, _) => Answer::Frame(encode_response::<R>(&response, header.api_version, header.correlation_id)?),
        (false, true) => Answer::Close,
        (false, false) => Answer::None,
    };
    Ok((answer, throttle))
}

/// What the script answers; `None` if it leaves that to us.
fn scripted<R: Api>(on: &Context, script: &Script, mut frame: Bytes) -> Result<Option<Vec<u8>>> {
    let header = take_request_header::<R>(&mut frame)?;
    let Some(api) = ApiKey::from_wire(header.api_key) else { return Ok(None) };
    let client_id = header.client_id.unwrap_or_default();
    Ok(script.answer(&ScriptedRequest { node: on.node, api, version: on.version, client_id, body: frame }))
}

macro_rules! throttle_time_ms {
    ($response:ident) => {
        Some(&mut $response.throttle_time_ms)
    };
    ($response:ident without_throttle_time) => {
        None
    };
}

macro_rules! apis {
    ($($name:ident, $request:ident $(, $without:ident)?;)*) => {
        /// The APIs that the test broker serves, in Kafka's names: for faults and for the request log.
        #[allow(missing_docs, reason = "the names are Kafka's, see its protocol guide")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ApiKey {
            $($name = <schema::$request as Request>::KEY as isize,)*
        }

        impl ApiKey {
            /// Every API served.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn to_wire(self) -> i16 {
                self as i16
            }

            /// From the number on the wire; `None` for an API that is not served.
            pub fn from_wire(key: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|api| api.to_wire() == key)
            }

            /// The lowest and the highest version served.
            pub fn versions(self) -> (i16, i16) {
                match self {
                    $(Self::$name => versions::<schema::$request>(),)*
                }
            }
        }

        /// Whether a request frame (without its length) names this topic.
        pub(super) fn names_topic(api: ApiKey, frame: &Bytes, topic: &Topic, sessions: &FetchSessions) -> bool {
            match api {
                $(ApiKey::$name => decode_request_prefix::<schema::$request>(frame.clone())
                    .is_ok_and(|(_, request, _)| request.names_topic(topic, sessions)),)*
            }
        }

        /// Reads a request frame (without its length), has it served, and frames the answer; with it, how long the connection
        /// is then to be left alone.
        pub(super) async fn dispatch(
            api: ApiKey,
            on: Context,
            frame: Bytes,
            how: Handling,
        ) -> Result<(Answer, Duration)> {
            match api {
                $(ApiKey::$name => {
                    serve::<schema::$request>(on, frame, how, |_answer| throttle_time_ms!(_answer $($without)?)).await
                })*
            }
        }
    };
}

apis! {
    Produce, ProduceRequest;
    Fetch, FetchRequest;
    ListOffsets, ListOffsetsRequest;
    Metadata, MetadataRequest;
    OffsetCommit, OffsetCommitRequest;
    OffsetFetch, OffsetFetchRequest;
    FindCoordinator, FindCoordinatorRequest;
    JoinGroup, JoinGroupRequest;
    Heartbeat, HeartbeatRequest;
    LeaveGroup, LeaveGroupRequest;
    SyncGroup, SyncGroupRequest;
    DescribeGroups, DescribeGroupsRequest;
    ListGroups, ListGroupsRequest;
    SaslHandshake, SaslHandshakeRequest, without_throttle_time;
    ApiVersions, ApiVersionsRequest;
    CreateTopics, CreateTopicsRequest;
    DeleteTopics, DeleteTopicsRequest;
    DeleteRecords, DeleteRecordsRequest;
    InitProducerId, InitProducerIdRequest;
    OffsetForLeaderEpoch, OffsetForLeaderEpochRequest;
    AddPartitionsToTxn, AddPartitionsToTxnRequest;
    AddOffsetsToTxn, AddOffsetsToTxnRequest;
    EndTxn, EndTxnRequest;
    WriteTxnMarkers, WriteTxnMarkersRequest, without_throttle_time;
    TxnOffsetCommit, TxnOffsetCommitRequest;
    DescribeAcls, DescribeAclsRequest;
    CreateAcls, CreateAclsRequest;
    DeleteAcls, DeleteAclsRequest;
    DescribeConfigs, DescribeConfigsRequest;
    AlterConfigs, AlterConfigsRequest;
    DescribeLogDirs, DescribeLogDirsRequest;
    SaslAuthenticate, SaslAuthenticateRequest, without_throttle_time;
    CreatePartitions, CreatePartitionsRequest;
    DeleteGroups, DeleteGroupsRequest;
    IncrementalAlterConfigs, IncrementalAlterConfigsRequest;
    ElectLeaders, ElectLeadersRequest;
    AlterPartitionReassignments, AlterPartitionReassignmentsRequest;
    ListPartitionReassignments, ListPartitionReassignmentsRequest;
    OffsetDelete, OffsetDeleteRequest;
    DescribeClientQuotas, DescribeClientQuotasRequest;
    AlterClientQuotas, AlterClientQuotasRequest;
    DescribeQuorum, DescribeQuorumRequest, without_throttle_time;
    DescribeUserScramCredentials, DescribeUserScramCredentialsRequest;
    AlterUserScramCredentials, AlterUserScramCredentialsRequest;
    UpdateFeatures, UpdateFeaturesRequest;
    DescribeCluster, DescribeClusterRequest;
    DescribeProducers, DescribeProducersRequest;
    DescribeTransactions, DescribeTransactionsRequest;
    ListTransactions, ListTransactionsRequest;
    ConsumerGroupHeartbeat, ConsumerGroupHeartbeatRequest;
    ConsumerGroupDescribe, ConsumerGroupDescribeRequest;
    ListConfigResources, ListConfigResourcesRequest;
    DescribeTopicPartitions, DescribeTopicPartitionsRequest;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api_versions::api_name;

    #[test]
    fn only_versions_that_can_be_read_and_answered_are_listed() {
        assert_eq!(ApiKey::OffsetCommit.versions(), (2, 9), "kafka-protocol 0.18 has v10 for the response only");
        assert_eq!(ApiKey::InitProducerId.versions(), (0, 5));
        for api in ApiKey::ALL {
            let (min, max) = api.versions();
            assert!(0 <= min && min <= max, "{api:?} {min}-{max}");
            assert_eq!(ApiKey::from_wire(api.to_wire()), Some(*api));
            assert_eq!(api_name(api.to_wire()), format!("{api:?}"), "in errors too");
        }
        assert_eq!(ApiKey::from_wire(4), None);
    }
}
