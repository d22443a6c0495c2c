//! An answer of any API that the client decodes, at any version: the first two bytes choose, the rest is the frame.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena::wire::{
    Request, fetch,
    messages::{
        ApiVersionsRequest, ConsumerGroupHeartbeatRequest, CreateTopicsRequest, DeleteTopicsRequest,
        DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest,
        JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, SyncGroupRequest,
    },
    request::decode_response,
};

/// Decodes a frame at a version, taken into the range that the message has.
type Decode = fn(u8, Bytes);

fn decode<R: Request>(version: u8, frame: Bytes) {
    let range = R::VERSIONS;
    let _ = decode_response::<R>(range.min + i16::from(version) % (range.max - range.min + 1), frame);
}

const APIS: [Decode; 19] = [
    decode::<ApiVersionsRequest>,
    decode::<MetadataRequest>,
    decode::<ProduceRequest>,
    decode::<ListOffsetsRequest>,
    decode::<FindCoordinatorRequest>,
    decode::<JoinGroupRequest>,
    decode::<SyncGroupRequest>,
    decode::<HeartbeatRequest>,
    decode::<LeaveGroupRequest>,
    decode::<OffsetCommitRequest>,
    decode::<OffsetFetchRequest>,
    decode::<InitProducerIdRequest>,
    decode::<CreateTopicsRequest>,
    decode::<DeleteTopicsRequest>,
    decode::<DescribeConfigsRequest>,
    decode::<DescribeGroupsRequest>,
    decode::<ListGroupsRequest>,
    decode::<ConsumerGroupHeartbeatRequest>,
    |version, frame| drop(fetch::decode(4 + i16::from(version) % 14, &frame)),
];

fuzz_target!(|data: &[u8]| {
    let [api, version, frame @ ..] = data else { return };
    APIS[usize::from(*api) % APIS.len()](*version, Bytes::copy_from_slice(frame));
});
