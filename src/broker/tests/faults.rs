//! Faults on command, as a peer sees them; their order and chance are tested beside them.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::{GroupId, HeartbeatRequest, HeartbeatResponse, MetadataRequest};
use kafka_protocol::protocol::{Decodable, Encodable};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_script_answers_in_the_clusters_place_or_leaves_it_to_it() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    cluster.fault(ApiKey::Heartbeat).respond(|request| {
        let asked = HeartbeatRequest::decode(&mut request.body.clone(), request.version).ok()?;
        assert_eq!((request.node, request.api, &*request.client_id), (NodeId(1), ApiKey::Heartbeat, "peer"));
        let mut body = Vec::new();
        let answer = HeartbeatResponse::default().with_error_code(asked.generation_id as i16);
        (asked.generation_id > 0).then(|| answer.encode(&mut body, request.version).map(|()| body).ok())?
    });
    let mut peer = Peer::connect(&cluster, 1).await;
    for version in [0, 4] {
        let asked = HeartbeatRequest::default().with_group_id(GroupId("g".to_owned().into()));
        assert_eq!(peer.call(version, &asked.clone().with_generation_id(77)).await.error_code, 77);
        let served = peer.call(version, &asked.with_generation_id(-1)).await;
        assert_eq!(ErrorCode::from_wire(served.error_code), Some(ErrorCode::UnknownMemberId));
    }
}

/// The same seed damages the same bytes, each answer in its own way, and never its length.
#[tokio::test(start_paused = true)]
async fn a_corrupt_answer_is_as_long_as_the_true_one_and_another_each_time() {
    let cluster = TestCluster::builder().topic("t", 3).in_memory().start().await.unwrap();
    let answers = async |seed| {
        let mut found = Vec::new();
        cluster.fault(ApiKey::Metadata).corrupt(seed);
        for _ in 0..20 {
            let mut peer = Peer::connect(&cluster, 1).await;
            peer.send(9, &MetadataRequest::default().with_topics(None)).await;
            found.push(peer.frame().await.expect("an answer"));
        }
        cluster.clear_faults();
        found
    };
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &MetadataRequest::default().with_topics(None)).await;
    let truth = peer.frame().await.unwrap();
    let found = answers(7).await;
    assert!(found.iter().all(|frame| frame.len() == truth.len() && *frame != truth));
    assert_eq!(found, answers(7).await);
    assert_ne!(found[0], found[1]);
}

#[tokio::test(start_paused = true)]
async fn any_answer_that_has_a_throttle_time_tells_it() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    for api in [ApiKey::Metadata, ApiKey::Heartbeat] {
        cluster.fault(api).throttle(Duration::from_millis(300));
    }
    let start = cluster.clock().now();
    // Metadata has one from v3 on.
    for (version, told) in [(1, 0), (9, 300)] {
        assert_eq!(peer.call(version, &MetadataRequest::default()).await.throttle_time_ms, told);
    }
    assert_eq!(peer.call(4, &HeartbeatRequest::default()).await.throttle_time_ms, 300);
    assert_eq!(cluster.clock().now() - start, Duration::from_millis(600), "the last one's is still to come");
}
