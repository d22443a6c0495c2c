//! Fetch sessions (KIP-227) as a client sees them.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::wire::messages::fetch_request::ForgottenTopic;
use crate::wire::messages::{DeleteRecordsRequest, DeleteTopicsRequest, FetchResponse};
use std::time::Duration;
use uuid::Uuid;

/// A reader of one topic, with what it knows of its session.
struct Reader {
    peer: Peer,
    version: i16,
    session: i32,
    epoch: i32,
    topic: &'static str,
    id: Uuid,
    max_bytes: i32,
    max_wait_ms: i32,
}

impl Reader {
    async fn new(cluster: &TestCluster, version: i16) -> Self {
        let (session, epoch, topic) = (0, 0, "t");
        let (id, max_bytes, max_wait_ms) = (cluster.topic_id(topic), 1 << 20, 0);
        Self { peer: Peer::connect(cluster, 1).await, version, session, epoch, topic, id, max_bytes, max_wait_ms }
    }

    fn request(&self, offsets: &[(i32, i64)]) -> FetchRequest {
        let mut request = fetch(self.topic, 0, 0, self.max_wait_ms).with_max_bytes(self.max_bytes);
        if self.version >= 13 {
            request.topics[0].topic = name("");
            request.topics[0].topic_id = self.id;
        }
        let one = request.topics[0].partitions[0].clone();
        let at = |(partition, offset): &(i32, i64)| one.clone().with_partition(*partition).with_fetch_offset(*offset);
        request.topics[0].partitions = offsets.iter().map(at).collect();
        request.topics.retain(|topic| !topic.partitions.is_empty());
        request.with_session_id(self.session).with_session_epoch(self.epoch)
    }

    async fn ask(&mut self, request: &FetchRequest) -> FetchResponse {
        let answer = self.peer.call(self.version, request).await;
        self.session = answer.session_id;
        self.epoch = if self.session == 0 { 0 } else { request.session_epoch + 1 };
        answer
    }

    /// Asks for what has changed, and gives the partitions that are in the answer.
    async fn read(&mut self, offsets: &[(i32, i64)]) -> Vec<i32> {
        let request = self.request(offsets);
        let answer = self.ask(&request).await;
        assert_eq!(answer.error_code, 0);
        partitions(&answer).map(|partition| partition.partition_index).collect()
    }

    /// What is said about partition 0.
    async fn code(&mut self) -> Option<ErrorCode> {
        let request = self.request(&[]);
        let answer = self.ask(&request).await;
        assert_eq!(answer.error_code, 0);
        partitions(&answer).next().and_then(|partition| ErrorCode::from_wire(partition.error_code))
    }
}

fn partitions(answer: &FetchResponse) -> impl Iterator<Item = &PartitionData> {
    answer.responses.iter().flat_map(|topic| &topic.partitions)
}

async fn cluster() -> TestCluster {
    TestCluster::builder().topic("t", 3).in_memory().start().await.expect("in memory nothing can fail")
}

#[tokio::test(start_paused = true)]
async fn an_incremental_answer_has_what_has_changed_and_nothing_else() {
    let cluster = cluster().await;
    for version in [7, 12, 13, 17] {
        let mut writer = Peer::connect(&cluster, 1).await;
        let mut reader = Reader::new(&cluster, version).await;
        let end = cluster.offsets("t", 1).unwrap().1;
        assert_eq!(reader.read(&[(0, 0), (1, end), (2, 0)]).await, [0, 1, 2], "a full one");
        assert!(reader.session > 0);
        assert_eq!(reader.read(&[]).await, [] as [i32; 0]);
        writer.produce("t", 1, batch(&[(1, "x")])).await;
        assert_eq!(reader.read(&[]).await, [1], "v{version}: records");
        assert_eq!(reader.read(&[]).await, [1], "the offset has not been moved: the same records once more");
        assert_eq!(reader.read(&[(1, end + 1)]).await, [] as [i32; 0]);
        assert_eq!(reader.epoch, 5);
        let one = DeleteRecordsPartition::default().with_partition_index(1).with_offset(end + 1);
        let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![one]);
        writer.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
        assert_eq!(reader.read(&[]).await, [1], "the log begins elsewhere");
        assert_eq!(reader.read(&[]).await, [] as [i32; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_partition_is_not_served_and_a_session_without_any_is_closed() {
    let cluster = cluster().await;
    for version in [12, 13] {
        let mut writer = Peer::connect(&cluster, 1).await;
        let mut reader = Reader::new(&cluster, version).await;
        reader.read(&[(0, 0), (1, 0)]).await;
        writer.produce("t", 0, batch(&[(1, "x")])).await;
        let forget = |reader: &Reader, partitions: Vec<i32>| {
            let topic = ForgottenTopic::default().with_partitions(partitions);
            let topic = if version < 13 { topic.with_topic(name("t")) } else { topic.with_topic_id(reader.id) };
            reader.request(&[]).with_forgotten_topics_data(vec![topic])
        };
        let answer = reader.ask(&forget(&reader, vec![0])).await;
        assert_eq!((answer.error_code, partitions(&answer).count()), (0, 0));
        assert_eq!(cluster.fetch_sessions(NodeId(1)).partitions, 1);
        let answer = reader.ask(&forget(&reader, vec![1])).await;
        assert_eq!((answer.error_code, answer.session_id), (0, 0));
        assert_eq!(cluster.fetch_sessions(NodeId(1)).open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_epoch_an_unknown_session_and_a_mix_of_names_and_ids_are_refused_as_a_whole() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 12).await;
    reader.read(&[(0, 0)]).await;
    let (id, version) = (reader.session, reader.version);
    for (session, epoch, version, code) in [
        (id, 2, version, ErrorCode::InvalidFetchSessionEpoch),
        (id + 1, 1, version, ErrorCode::FetchSessionIdNotFound),
        (0, 1, version, ErrorCode::FetchSessionIdNotFound),
        (id, 1, 13, ErrorCode::FetchSessionTopicIdError),
    ] {
        let request = reader.request(&[]).with_session_id(session).with_session_epoch(epoch);
        let answer = reader.peer.call(version, &request).await;
        assert_eq!((answer.error_code, answer.session_id), (code.to_wire(), 0), "{session} {epoch} v{version}");
        assert!(answer.responses.is_empty());
    }
    assert_eq!(reader.read(&[]).await, [] as [i32; 0], "the session itself goes on");
}

#[tokio::test(start_paused = true)]
async fn a_full_request_ends_the_session_that_it_names_and_minus_one_opens_none() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 13).await;
    reader.read(&[(0, 0)]).await;
    reader.epoch = 0;
    let before = reader.session;
    assert_eq!(reader.read(&[(0, 0), (1, 0)]).await, [0, 1]);
    assert_ne!(reader.session, before);
    assert_eq!(cluster.fetch_sessions(NodeId(1)), FetchSessionCount { open: 1, partitions: 2, opened: 2, evicted: 0 });
    reader.epoch = -1;
    assert_eq!(reader.read(&[(2, 0)]).await, [2]);
    assert_eq!((reader.session, cluster.fetch_sessions(NodeId(1)).open), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn sessions_outlive_connections_and_end_with_the_broker() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 13).await;
    reader.read(&[(0, 0)]).await;
    reader.peer = Peer::connect(&cluster, 1).await;
    assert_eq!(reader.read(&[]).await, [] as [i32; 0]);
    cluster.kill(NodeId(1));
    assert_eq!(cluster.fetch_sessions(NodeId(1)).open, 0);
    cluster.restart(NodeId(1)).await.unwrap();
    let mut other = Reader::new(&cluster, 13).await;
    other.read(&[(0, 0)]).await;
    reader.peer = Peer::connect(&cluster, 1).await;
    let request = reader.request(&[]);
    assert_eq!(reader.ask(&request).await.error_code, ErrorCode::FetchSessionIdNotFound.to_wire());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_or_made_anew_is_told_apart_from_one_that_never_was() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 13).await;
    reader.read(&[(0, 0)]).await;
    let mut stranger = Reader { id: Uuid::from_bytes([9; 16]), ..Reader::new(&cluster, 13).await };
    let request = stranger.request(&[(0, 0)]);
    let answer = stranger.ask(&request).await;
    assert_eq!(partitions(&answer).next().unwrap().error_code, ErrorCode::UnknownTopicId.to_wire());
    assert_eq!(stranger.code().await, Some(ErrorCode::UnknownTopicId), "an error is told every time");
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![name("t")]);
    reader.peer.call(5, &delete).await;
    assert_eq!(reader.code().await, Some(ErrorCode::UnknownTopicOrPartition));
    cluster.create_topic("t", 1).unwrap();
    assert_eq!(reader.code().await, Some(ErrorCode::InconsistentTopicId));
    let mut late = Reader { id: reader.id, ..Reader::new(&cluster, 13).await };
    let request = late.request(&[(0, 0)]);
    let answer = late.ask(&request).await;
    assert_eq!(partitions(&answer).next().unwrap().error_code, ErrorCode::UnknownTopicId.to_wire(), "not in a session");
}

/// As seen of a Kafka 4.3.1: what a client can't tell apart by the code, it may by the shape.
#[tokio::test(start_paused = true)]
async fn partitions_that_there_are_not_come_last_and_only_they_have_a_list_of_aborted_transactions() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 17).await;
    let request = reader.request(&[(9, 0), (0, 0), (1, 99)]);
    let answer = reader.ask(&request).await;
    let told: Vec<_> = partitions(&answer)
        .map(|told| (told.partition_index, told.error_code, told.aborted_transactions.is_some()))
        .collect();
    let (unknown, out) = (ErrorCode::UnknownTopicOrPartition.to_wire(), ErrorCode::OffsetOutOfRange.to_wire());
    assert_eq!(told, [(0, 0, false), (1, out, false), (9, unknown, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_answer_does_not_starve_the_last_partition() {
    let cluster = cluster().await;
    let mut writer = Peer::connect(&cluster, 1).await;
    let one = batch(&[(1, &"x".repeat(1000))]);
    for partition in [0, 0, 0, 1, 1, 1, 2, 2, 2] {
        writer.produce("t", partition, one.clone()).await;
    }
    let mut reader = Reader { max_bytes: 10, ..Reader::new(&cluster, 13).await };
    assert_eq!(reader.read(&[(0, 0), (1, 0), (2, 0)]).await, [0, 1, 2]);
    let mut offsets = [1, 0, 0];
    let mut order = Vec::new();
    for _ in 0..6 {
        let at: Vec<_> = offsets.iter().enumerate().map(|(i, offset)| (i as i32, *offset)).collect();
        let request = reader.request(&at);
        let answer = reader.ask(&request).await;
        let served: Vec<_> = partitions(&answer).filter(|got| !got.records.as_ref().unwrap().is_empty()).collect();
        assert_eq!(served.len(), 1);
        order.push(served[0].partition_index);
        offsets[served[0].partition_index as usize] += 1;
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_every_time_and_once_more_when_it_is_gone() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    let mut reader = Reader::new(&cluster, 10).await;
    assert_eq!(reader.read(&[(0, 0)]).await, [0]);
    cluster.move_leader("t", 0, NodeId(2));
    assert_eq!(reader.code().await, Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(reader.code().await, Some(ErrorCode::NotLeaderOrFollower));
    cluster.move_leader("t", 0, NodeId(1));
    assert_eq!(reader.read(&[]).await, [0]);
    assert_eq!(reader.read(&[]).await, [] as [i32; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_the_append_as_a_full_request_does() {
    let cluster = cluster().await;
    let mut writer = Peer::connect(&cluster, 1).await;
    let mut reader = Reader::new(&cluster, 17).await;
    reader.read(&[(0, 0), (1, 0), (2, 0)]).await;
    reader.max_wait_ms = 500;
    let start = cluster.clock().now();
    assert_eq!(reader.read(&[]).await, [] as [i32; 0]);
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    let (read, _) = tokio::join!(reader.read(&[]), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        writer.produce("t", 2, batch(&[(1, "x")])).await
    });
    assert_eq!((read, start.elapsed()), (vec![2], Duration::from_millis(600)));
}

#[tokio::test(start_paused = true)]
async fn a_session_used_on_two_connections_at_once_is_refused_to_the_first() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 17).await;
    reader.read(&[(0, 0)]).await;
    reader.max_wait_ms = 1000;
    let request = reader.request(&[]);
    let mut other = Peer::connect(&cluster, 1).await;
    let next = request.clone().with_session_epoch(request.session_epoch + 1).with_max_wait_ms(0);
    let (first, second) = tokio::join!(reader.peer.call(17, &request), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        other.call(17, &next).await
    });
    assert_eq!(second.error_code, 0);
    let refused = ErrorCode::InvalidFetchSessionEpoch.to_wire();
    assert_eq!((first.error_code, first.session_id), (refused, request.session_id));
}

#[tokio::test(start_paused = true)]
async fn a_fault_befalls_what_a_session_reads_though_the_request_does_not_name_it() {
    let cluster = cluster().await;
    let mut reader = Reader::new(&cluster, 17).await;
    reader.read(&[(0, 0), (1, 0)]).await;
    cluster.fault(ApiKey::Fetch).for_topic("t").once().error(ErrorCode::KafkaStorageError);
    assert_eq!(reader.code().await, Some(ErrorCode::KafkaStorageError));
    assert_eq!(reader.read(&[]).await, [0, 1], "it was used up, and both are told of once more");
    cluster.fault(ApiKey::Fetch).once().error(ErrorCode::FetchSessionIdNotFound);
    let request = reader.request(&[]);
    let answer = reader.ask(&request).await;
    assert_eq!(answer.error_code, ErrorCode::FetchSessionIdNotFound.to_wire());
}

#[tokio::test(start_paused = true)]
async fn without_a_slot_every_fetch_is_a_full_one() {
    let builder = TestCluster::builder().topic("t", 1).fetch_session_slots(0);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut reader = Reader::new(&cluster, 17).await;
    assert_eq!(reader.read(&[(0, 0)]).await, [0]);
    assert_eq!((reader.session, cluster.fetch_sessions(NodeId(1)).opened), (0, 0));
}
