//! Requests bent in random ways: whatever the bytes, the broker answers or closes the connection, and never panics. (A
//! panic in a connection's task would go unseen: here requests are served on the test's own.)

use super::*;
use std::time::Duration;

/// Bends a request frame behind its header in one way.
fn bent(frame: &Bytes, random: &mut fastrand::Rng) -> Bytes {
    let mut bytes = frame.to_vec();
    let at = random.usize(8..bytes.len().max(9)).min(bytes.len());
    let put = |bytes: &mut Vec<u8>, what: &[u8]| {
        let end = bytes.len().min(at + what.len());
        bytes[at..end].copy_from_slice(&what[..end - at]);
    };
    match random.u8(0..8) {
        0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.u8(0..8)),
        1 => put(&mut bytes, &[random.u8(..)]),
        2 => put(&mut bytes, &i32::MAX.to_be_bytes()),
        3 => put(&mut bytes, &i64::MAX.to_be_bytes()),
        4 => put(&mut bytes, &(-random.i64(1..3)).to_be_bytes()),
        5 => put(&mut bytes, &i64::MIN.to_be_bytes()),
        6 => bytes.truncate(at),
        _ => {
            let tail = bytes[at..].to_vec();
            bytes.extend_from_slice(&tail);
        }
    }
    bytes.into()
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "the seed of a failure has to be seen")]
async fn no_request_makes_the_broker_panic() {
    let seed =
        std::env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MILENA_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (_, frames) = versions::sweep_everything().await;
    let caller = Caller::new("/127.0.0.1", Session::open(ANONYMOUS.into()));
    let mut answered = 0;
    for frame in &frames {
        let cluster = TestCluster::builder().topic("t", 2).in_memory().start().await.unwrap();
        Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "a"), (2, "b")])).await;
        for _ in 0..60 {
            let mut bytes = bent(frame, &mut random);
            if random.bool() {
                bytes = bent(&bytes, &mut random);
            }
            // A bent JoinGroup or Fetch may wait for weeks.
            let answer = connection::answer(&cluster.shared, NodeId(1), bytes, &caller);
            let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
            answered += usize::from(matches!(answer, Ok(Ok(_))));
        }
        // What it has been told makes no difference to others.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!Peer::connect(&cluster, 1).await.stream_is_closed().await);
    }
    assert!(answered > frames.len() * 10, "most of what is bent must still be requests: {answered}");
}

/// A topic in a frame takes thirty bytes, and its partitions megabytes.
#[tokio::test(start_paused = true)]
async fn the_partitions_of_many_topics_together_are_bounded() {
    use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
    use crate::wire::messages::create_topics_request::CreatableTopic;
    use crate::wire::messages::{CreatePartitionsRequest, CreateTopicsRequest};
    let cluster = TestCluster::builder().topic("t", 2).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let topic = |nth| {
        let topic = CreatableTopic::default().with_name(name(&format!("large-{nth}"))).with_num_partitions(10_000);
        topic.with_replication_factor(1)
    };
    let request = CreateTopicsRequest::default().with_topics((0..50).map(topic).collect());
    let made = peer.call(7, &request).await.topics;
    assert_eq!(made.iter().filter(|topic| topic.error_code == 0).count(), 9);
    let refused = crate::error::ErrorCode::PolicyViolation.to_wire();
    assert!(made.iter().all(|topic| [0, refused].contains(&topic.error_code)));
    for (count, code) in [(10_001, refused), (10_000, 0)] {
        let topic = CreatePartitionsTopic::default().with_name(name("t")).with_count(count).with_assignments(None);
        let grown = peer.call(3, &CreatePartitionsRequest::default().with_topics(vec![topic])).await;
        assert_eq!(grown.results[0].error_code, code, "{count}: {:?}", grown.results[0]);
    }
}

impl Peer {
    async fn stream_is_closed(&mut self) -> bool {
        use crate::wire::messages::ApiVersionsRequest;
        self.send(0, &ApiVersionsRequest::default()).await;
        self.receive::<ApiVersionsRequest>(0).await.is_none()
    }
}
