//! The test broker's promise on memory, measured on the heap: whatever a connection sends, what is held for it stays within
//! `memory_limit` of its length. A binary of its own, because it counts with the global allocator, and the tests take turns.

use milena::broker::ApiKey;
use milena::wire::guard::{Direction, table};
use milena::wire::messages::create_topics_request::CreatableTopic;
use milena::wire::messages::metadata_request::MetadataRequestTopic;
use milena::wire::messages::{CreateTopicsRequest, MetadataRequest, TopicName};
use milena::wire::request::encode_request;
use peak_alloc::PeakAlloc;
use protocol_tests::operations::connection::{memory_limit, play};
use protocol_tests::random::{Random, rounds};
use protocol_tests::schema::{body, header, seed};
use std::sync::{Mutex, MutexGuard};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn random_and_damaged_requests_of_every_api_stay_within_the_limit() {
    let _turn = turn();
    let mut answered = 0;
    for message in table::MESSAGES.iter().filter(|message| message.direction == Direction::Request) {
        let Some(api) = ApiKey::from_wire(message.key) else { continue };
        let (low, high) = api.versions();
        for version in low..=high {
            let version = version as u8;
            let mut random = Random::new(seed(message, version));
            let mut stream = Vec::new();
            for round in 0..rounds(12) {
                let (body, _) = body(message, version, &mut random, round % 2 == 1);
                let mut frame = [header(message, version), body].concat();
                if round % 3 == 2 {
                    let at = 8 + random.below(frame.len() as u64 - 8) as usize;
                    frame[at] = random.below(256) as u8;
                }
                stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                stream.extend_from_slice(&frame);
            }
            answered += within_the_limit(&stream).0;
        }
    }
    assert!(answered > 1_000, "only {answered} requests were answered");
}

/// All partitions that there may be, and an answer that names them all.
#[test]
fn as_many_partitions_as_can_be_had_for_a_few_bytes_stay_within_the_limit() {
    let _turn = turn();
    let topic = |nth| {
        let topic = CreatableTopic::default().with_name(TopicName(format!("large-{nth}").into()));
        topic.with_num_partitions(10_000).with_replication_factor(2)
    };
    let create = CreateTopicsRequest::default().with_topics((0..9).map(topic).collect());
    let create = encode_request(&create, 7, 1, "me").expect("what v7 can say");
    let list = encode_request(&MetadataRequest::default().with_topics(None), 12, 2, "me").expect("what v12 can say");
    let (answered, used) = within_the_limit(&[&create[..], &create, &list, &list].concat());
    assert_eq!(answered, 4);
    assert!(used > 32 << 20, "{used} bytes: the limit could be a smaller one");
}

/// A topic's name costs a few bytes, its partitions a megabyte in an answer.
#[test]
fn a_topic_that_is_asked_for_a_thousand_times_is_answered_once() {
    let _turn = turn();
    let topic = CreatableTopic::default().with_name(TopicName("large".into()));
    let topic = topic.with_num_partitions(10_000).with_replication_factor(2);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]);
    let create = encode_request(&create, 7, 1, "me").expect("what v7 can say");
    let named = MetadataRequestTopic::default().with_name(Some(TopicName("large".into())));
    let list = MetadataRequest::default().with_topics(Some(vec![named; 1_000]));
    let list = encode_request(&list, 12, 2, "me").expect("what v12 can say");
    assert_eq!(within_the_limit(&[&create[..], &list].concat()).0, 2);
}

/// How many of its frames were answered, and the most that was held meanwhile.
fn within_the_limit(stream: &[u8]) -> (usize, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let answered = play(stream);
    let used = HEAP.peak_usage() - before;
    assert!(used <= memory_limit(stream.len()), "{used} bytes for {}: {stream:?}", stream.len());
    (answered, used)
}

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
