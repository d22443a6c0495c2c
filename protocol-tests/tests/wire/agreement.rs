//! Random valid messages of every API and version: the guard lets them pass, whole and only whole, and the schema
//! crate reads the same layout: to the last byte, and back to the same bytes.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use milena::wire::guard::{Direction, Reason, check};
use protocol_tests::apis::{Again, Decoded, codec};
use protocol_tests::random::{Random, rounds};
use protocol_tests::schema::{body, name, seed, versions};
use std::collections::BTreeMap;

#[test]
fn table_and_crate_read_every_message_alike() {
    let rounds = rounds(200);
    let (mut pairs, mut differ) = (0, BTreeMap::new());
    for (message, version) in versions() {
        let Some(codec) = codec(message.key, message.direction, version) else { continue };
        pairs += 1;
        let mut random = Random::new(seed(message, version));
        for round in 0..rounds {
            let (frame, _) = body(message, version, &mut random, round % 2 == 1);
            let why = match (codec.decode)(&Bytes::copy_from_slice(&frame), version.into(), Again::Encode) {
                Decoded::Failed(why) => why,
                Decoded::Done(0, again) if again == frame => continue,
                Decoded::Done(0, _) => "encodes to other bytes".into(),
                Decoded::Done(left, _) => format!("leaves {left} bytes"),
            };
            differ.insert(name(message, version), why);
        }
    }
    assert!(pairs > 580, "only {pairs} message versions are in both");
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn a_message_passes_whole_and_only_whole() {
    for (message, version) in versions() {
        let mut random = Random::new(seed(message, version));
        for round in 0..rounds(100) {
            let (mut frame, _) = body(message, version, &mut random, round % 2 == 1);
            let check = |frame: &[u8]| check(message.key, version.into(), message.direction, frame);
            assert_eq!(check(&frame), Ok(()), "{}", name(message, version));
            for cut in [0, frame.len() / 2, frame.len().saturating_sub(1)] {
                assert!(frame.is_empty() || check(&frame[..cut]).is_err(), "{} cut at {cut}", name(message, version));
            }
            frame.push(0);
            assert_eq!(check(&frame).map_err(|why| why.reason), Err(Reason::Trailing), "{}", name(message, version));
        }
    }
}

/// What of an API only one of the two has. It decides which versions we can speak, so a change should be seen.
#[test]
fn where_crate_and_table_know_different_versions_is_known() {
    let mut differ = vec![];
    for (message, version) in versions().filter(|(message, _)| message.key >= 0) {
        if codec(message.key, message.direction, version).is_none() {
            differ.push(name(message, version));
        }
    }
    let known = [
        "2 Request v11",
        "2 Response v11", // ListOffsets: the earliest offset not yet uploaded
        "8 Request v10",  // OffsetCommit by topic id: the crate has the response only
        "9 Request v10",  // OffsetFetch by topic id: the same
        "18 Request v5",
        "18 Response v5", // ApiVersions: which cluster and node are meant (KIP-1242)
        "22 Request v6",  // InitProducerId for two-phase commit: the crate has the response only
        "27 Request v2",
        "27 Response v2", // WriteTxnMarkers, between brokers
        "28 Request v6",
        "28 Response v6", // TxnOffsetCommit by topic id (KIP-1319)
        "35 Request v5",
        "35 Response v5", // DescribeLogDirs: is cordoned
        "42 Request v3",
        "42 Response v3", // DeleteGroups: why not
        "63 Request v2",
        "63 Response v2", // BrokerHeartbeat
        "78 Request v2",
        "78 Response v2", // ShareFetch
        "79 Request v2",
        "79 Response v2", // ShareAcknowledge
        "80 Request v1",
        "80 Response v1", // AddRaftVoter
        "85 Request v1",
        "85 Response v1", // WriteShareGroupState
        "87 Request v1",
        "87 Response v1", // ReadShareGroupStateSummary
        "88 Request v0",
        "88 Request v1",
        "88 Response v0",
        "88 Response v1", // StreamsGroupHeartbeat
        "89 Request v0",
        "89 Request v1",
        "89 Response v0",
        "89 Response v1", // StreamsGroupDescribe
        "90 Request v1",
        "90 Response v1", // DescribeShareGroupOffsets
        "93 Request v0",
        "93 Response v0", // StreamsGroupTopologyDescriptionUpdate
        "94 Request v0",
        "94 Response v0", // UnregisterController
    ];
    assert_eq!(differ, known);
}

#[test]
fn headers_are_the_crates() {
    for api in ApiKey::iter() {
        for (message, version) in versions().filter(|(message, _)| message.key == api as i16) {
            if codec(message.key, message.direction, version).is_none() {
                continue;
            }
            let flexible = i16::from(version >= message.flexible);
            let (ours, theirs) = match message.direction {
                Direction::Request => (1 + flexible, api.request_header_version(version.into())),
                Direction::Response if message.key == 18 => (0, api.response_header_version(version.into())),
                Direction::Response => (flexible, api.response_header_version(version.into())),
            };
            assert_eq!(ours, theirs, "{}", name(message, version));
        }
    }
}
