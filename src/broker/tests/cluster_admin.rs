//! What admin clients ask of a whole cluster: elections, reassignments, disks, the quorum, topics part by part.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use crate::wire::messages::describe_log_dirs_response::DescribeLogDirsResult;
use crate::wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use crate::wire::messages::elect_leaders_request::TopicPartitions;
use crate::wire::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeLogDirsRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, MetadataRequest,
};
use std::time::Duration;

const LAG: Duration = Duration::from_millis(20);

async fn cluster(lag: Duration) -> TestCluster {
    let builder = TestCluster::builder().brokers(4).default_replication(2).topic("t", 2).replication_lag(lag);
    builder.in_memory().start().await.unwrap() // t-0 is on 1 and 2, t-1 on 2 and 3
}

fn ids(nodes: &[i32]) -> Vec<BrokerId> {
    nodes.iter().map(|id| BrokerId(*id)).collect()
}

impl Peer {
    /// Replicas, in-sync replicas, offline ones, leader and epoch of a partition.
    async fn partition(&mut self, partition: usize) -> (Vec<i32>, Vec<i32>, Vec<i32>, i32, i32) {
        let answer = self.call(9, &MetadataRequest::default().with_topics(None)).await;
        let found = &answer.topics[0].partitions[partition];
        let ids = |nodes: &[BrokerId]| nodes.iter().map(|id| id.0).collect::<Vec<_>>();
        let (replicas, isr, offline) = (&found.replica_nodes, &found.isr_nodes, &found.offline_replicas);
        (ids(replicas), ids(isr), ids(offline), found.leader_id.0, found.leader_epoch)
    }

    async fn reassign(&mut self, version: i16, partition: i32, to: Option<&[i32]>) -> Option<ErrorCode> {
        let partition = ReassignablePartition::default().with_partition_index(partition).with_replicas(to.map(ids));
        let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let request = request.with_allow_replication_factor_change(version < 1);
        let answer = self.call(version, &request).await;
        ErrorCode::from_wire(answer.responses[0].partitions[0].error_code)
    }

    /// Replicas, those to come and those to go, of the one partition that is being reassigned.
    async fn reassigning(&mut self) -> Option<(Vec<BrokerId>, Vec<BrokerId>, Vec<BrokerId>)> {
        let answer = self.call(0, &ListPartitionReassignmentsRequest::default().with_topics(None)).await;
        let one = answer.topics.first()?.partitions.first()?;
        Some((one.replicas.clone(), one.adding_replicas.clone(), one.removing_replicas.clone()))
    }

    async fn elect(&mut self, kind: i8, partition: i32) -> Option<ErrorCode> {
        let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![partition]);
        let request = ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(Some(vec![topic]));
        let answer = self.call(2, &request).await;
        ErrorCode::from_wire(answer.replica_election_results[0].partition_result[0].error_code)
    }

    async fn log_dir(&mut self) -> DescribeLogDirsResult {
        let mut answer = self.call(4, &DescribeLogDirsRequest::default().with_topics(None)).await;
        answer.results.remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_reassignment_is_done_at_once_where_nothing_holds_it_up() {
    let cluster = cluster(Duration::ZERO).await;
    let mut peer = Peer::connect(&cluster, 4).await;
    assert_eq!(peer.reassign(0, 0, Some(&[3, 4])).await, None);
    assert_eq!(peer.partition(0).await, (vec![3, 4], vec![3, 4], vec![], 3, 1));
    assert_eq!(peer.reassigning().await, None);
    assert_eq!(peer.reassign(0, 0, Some(&[4, 3])).await, None);
    assert_eq!(peer.partition(0).await, (vec![4, 3], vec![3, 4], vec![], 3, 1), "another order moves no leader");
    assert_eq!(peer.reassign(0, 0, Some(&[4])).await, None);
    assert_eq!(peer.partition(0).await, (vec![4], vec![4], vec![], 4, 2));
    let refused = [Some(&[][..]), Some(&[1, 1]), Some(&[9]), None];
    let codes = [ErrorCode::InvalidReplicaAssignment; 3].into_iter().chain([ErrorCode::NoReassignmentInProgress]);
    for (to, code) in refused.into_iter().zip(codes) {
        assert_eq!(peer.reassign(0, 0, to).await, Some(code), "{to:?}");
    }
    assert_eq!(peer.reassign(0, 9, None).await, Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(peer.reassign(1, 0, Some(&[1, 2])).await, Some(ErrorCode::InvalidReplicationFactor), "KIP-860");
    assert_eq!(peer.reassign(1, 0, Some(&[1])).await, None);
    assert_eq!(peer.partition(0).await.0, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_reassignment_waits_for_the_log_and_for_brokers_that_stand_still_and_can_be_taken_back() {
    let cluster = cluster(LAG).await;
    let mut peer = Peer::connect(&cluster, 2).await;
    let start = cluster.clock().now();
    assert_eq!(peer.reassign(0, 0, Some(&[4, 2])).await, None);
    assert_eq!(peer.reassigning().await, Some((ids(&[4, 2, 1]), ids(&[4]), ids(&[1]))));
    assert_eq!(peer.partition(0).await, (vec![4, 2, 1], vec![1, 2], vec![], 1, 0));
    cluster.wait_until("it is done", |cluster| cluster.leader("t", 0) == Some(NodeId(4))).await;
    assert!((LAG..2 * LAG).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(peer.partition(0).await, (vec![4, 2], vec![2, 4], vec![], 4, 1));

    cluster.pause(NodeId(3));
    assert_eq!(peer.reassign(0, 0, Some(&[3, 2])).await, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(peer.reassigning().await, Some((ids(&[3, 2, 4]), ids(&[3]), ids(&[4]))));
    assert_eq!(peer.reassign(0, 0, None).await, None);
    assert_eq!((peer.reassigning().await, peer.partition(0).await.0), (None, vec![2, 4]));
    assert_eq!(peer.reassign(0, 0, Some(&[3, 2])).await, None);
    cluster.resume(NodeId(3));
    tokio::time::sleep(2 * LAG).await;
    assert_eq!((peer.reassigning().await, peer.partition(0).await.0), (None, vec![3, 2]));

    cluster.kill(NodeId(1));
    assert_eq!(peer.reassign(0, 0, Some(&[1])).await, None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(peer.partition(0).await, (vec![1, 3, 2], vec![2, 3], vec![1], 3, peer.partition(0).await.4));
    cluster.restart(NodeId(1)).await.unwrap();
    tokio::time::sleep(LAG).await;
    assert_eq!((peer.partition(0).await.0, cluster.leader("t", 0)), (vec![1], Some(NodeId(1))));
}

#[tokio::test(start_paused = true)]
async fn the_preferred_leader_is_elected_if_it_is_in_sync() {
    let cluster = cluster(Duration::ZERO).await;
    let mut peer = Peer::connect(&cluster, 4).await;
    assert_eq!(peer.elect(0, 0).await, Some(ErrorCode::ElectionNotNeeded));
    assert_eq!(peer.elect(0, 9).await, Some(ErrorCode::UnknownTopicOrPartition));
    cluster.kill(NodeId(1));
    assert_eq!(peer.elect(0, 0).await, Some(ErrorCode::PreferredLeaderNotAvailable));
    assert_eq!(peer.partition(0).await, (vec![1, 2], vec![2], vec![1], 2, 1));
    cluster.restart(NodeId(1)).await.unwrap();
    assert_eq!(cluster.leader("t", 0), Some(NodeId(2)));
    let answer = peer.call(0, &ElectLeadersRequest::default().with_topic_partitions(None)).await;
    let told = &answer.replica_election_results[0].partition_result;
    assert_eq!(told.iter().map(|one| (one.partition_id, one.error_code)).collect::<Vec<_>>(), [(0, 0)]);
    assert_eq!(cluster.leader("t", 0), Some(NodeId(1)));
    let answer = peer.call(2, &ElectLeadersRequest::default().with_election_type(7).with_topic_partitions(None)).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.to_wire());
}

/// Who comes back and was not in sync waits for the one that was: it may have more. An unclean election does without.
#[tokio::test(start_paused = true)]
async fn without_an_in_sync_replica_nobody_leads_until_somebody_says_so() {
    let cluster = cluster(LAG).await;
    let (mut first, mut peer) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 4).await);
    let ask = |value| produce("t", 0, batch(&[(1, value)])).with_acks(1);
    first.call(9, &ask("replicated")).await;
    tokio::time::sleep(2 * LAG).await;
    cluster.set_in_sync("t", 0, &[NodeId(1)]);
    first.call(9, &ask("only at the leader")).await;
    tokio::time::sleep(2 * LAG).await;
    cluster.kill(NodeId(1));
    assert_eq!(peer.partition(0).await, (vec![1, 2], vec![1], vec![1], -1, 1));
    cluster.kill(NodeId(2));
    assert_eq!(peer.elect(1, 0).await, Some(ErrorCode::EligibleLeadersNotAvailable));
    cluster.restart(NodeId(2)).await.unwrap();
    assert_eq!(cluster.leader("t", 0), None, "it was not in sync");
    assert_eq!(peer.elect(0, 0).await, Some(ErrorCode::PreferredLeaderNotAvailable));
    assert_eq!(peer.elect(1, 0).await, None);
    assert_eq!(peer.partition(0).await, (vec![1, 2], vec![2], vec![1], 2, 2));
    assert_eq!(cluster.offsets("t", 0), Some((0, 1)), "what it had not got is lost");
    assert_eq!(peer.elect(1, 0).await, Some(ErrorCode::ElectionNotNeeded));
    cluster.restart(NodeId(1)).await.unwrap();
    assert_eq!(peer.partition(0).await.1, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_can_allow_unclean_elections() {
    for unclean in ["false", "true"] {
        let configs = [("unclean.leader.election.enable", unclean)];
        let builder = TestCluster::builder().brokers(2).topic_with("t", 1, configs).in_memory();
        let cluster = builder.start().await.unwrap();
        let mut peer = Peer::connect(&cluster, 1).await;
        cluster.set_in_sync("t", 0, &[]);
        peer.produce("t", 0, batch(&[(1, "x")])).await;
        cluster.kill(NodeId(1));
        let expected = (unclean == "true").then_some(NodeId(2));
        assert_eq!((cluster.leader("t", 0), cluster.offsets("t", 0).unwrap().1 == 0), (expected, expected.is_some()));
        cluster.restart(NodeId(1)).await.unwrap();
        assert_eq!(cluster.leader("t", 0), expected.or(Some(NodeId(1))));
        assert_eq!(cluster.in_sync("t", 0).len(), 2, "whoever leads, the other follows");
    }
}

#[tokio::test(start_paused = true)]
async fn a_brokers_disk_holds_what_its_replicas_have() {
    let cluster = cluster(LAG).await;
    let mut peers = Vec::new();
    for node in [1, 2, 4] {
        peers.push(Peer::connect(&cluster, node).await);
    }
    let bytes = batch(&[(1, "x")]);
    let size = bytes.len() as i64;
    peers[0].produce("t", 0, bytes.clone()).await;
    cluster.set_in_sync("t", 0, &[NodeId(1)]);
    peers[0].produce("t", 0, bytes).await;
    let [leader, follower, stranger] = &mut peers[..] else { unreachable!() };
    let dir = leader.log_dir().await;
    let one = &dir.topics[0].partitions[0];
    assert_eq!((one.partition_index, one.partition_size, one.offset_lag), (0, 2 * size, 0));
    assert_eq!((dir.topics.len(), dir.topics[0].partitions.len()), (1, 1));
    assert_eq!(dir.total_bytes - dir.usable_bytes, 2 * size);
    let dir = follower.log_dir().await;
    let told: Vec<_> = dir.topics[0].partitions.iter().map(|one| (one.partition_size, one.offset_lag)).collect();
    assert_eq!((told, &*dir.log_dir), (vec![(size, 1), (0, 0)], "/broker-2"));
    assert!(stranger.log_dir().await.topics.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_controller_leads_a_quorum_of_all_brokers() {
    use crate::wire::messages::describe_quorum_request::{PartitionData, TopicData};
    let cluster = cluster(Duration::ZERO).await;
    cluster.kill(NodeId(1));
    let mut peer = Peer::connect(&cluster, 4).await;
    let topic = TopicData::default().with_topic_name(name("__cluster_metadata"));
    let topic = topic.with_partitions(vec![PartitionData::default()]);
    let answer = peer.call(2, &DescribeQuorumRequest::default().with_topics(vec![topic])).await;
    let told = &answer.topics[0].partitions[0];
    assert_eq!((told.leader_id.0, told.current_voters.len(), told.observers.len()), (2, 4, 0));
    assert_eq!(told.current_voters.iter().map(|one| one.log_end_offset).collect::<Vec<_>>(), [-1, 1, 1, 1]);
    assert_eq!((answer.nodes.len(), &*answer.nodes[3].listeners[0].host), (4, "broker-4"));
}

#[tokio::test(start_paused = true)]
async fn topics_are_described_up_to_a_limit_and_on_from_a_cursor() {
    let builder = TestCluster::builder().topic("a", 2).topic("b", 3).topic("c", 1).in_memory();
    let cluster = builder.start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let mut told = Vec::new();
    let mut cursor = None;
    loop {
        let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(2).with_cursor(cursor);
        let answer = peer.call(0, &request).await;
        for topic in &answer.topics {
            let name = topic.name.as_ref().unwrap().to_string();
            assert_eq!(topic.topic_id, cluster.topic_id(&name));
            told.push((name, topic.partitions.iter().map(|one| one.partition_index).collect::<Vec<_>>()));
        }
        let Some(next) = answer.next_cursor else { break };
        cursor = Some(Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index));
    }
    let expected = [("a", vec![0, 1]), ("b", vec![0, 1]), ("b", vec![2]), ("c", vec![0])];
    assert_eq!(told, expected.map(|(topic, partitions)| (topic.to_owned(), partitions)));

    let named = |topics: &[&'static str]| {
        let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic)));
        DescribeTopicPartitionsRequest::default().with_topics(topics.collect()).with_response_partition_limit(10)
    };
    let answer = peer.call(0, &named(&["x", "a", ".."])).await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| ErrorCode::from_wire(topic.error_code)).collect();
    assert_eq!(codes, [Some(ErrorCode::InvalidTopicException), None, Some(ErrorCode::UnknownTopicOrPartition)]);
    let lost = Cursor::default().with_topic_name(name("b"));
    let answer = peer.call(0, &named(&["a"]).with_cursor(Some(lost))).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidRequest.to_wire());
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_and_grown_with_the_replicas_that_are_given() {
    use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
    use crate::wire::messages::delete_topics_request::DeleteTopicState;
    let cluster = TestCluster::builder().brokers(3).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    cluster.kill(NodeId(3));
    let invalid = Some(ErrorCode::InvalidReplicaAssignment);
    let cases: [(&[&[i32]], _); 6] = [
        (&[&[1, 1]], invalid),
        (&[&[9]], invalid),
        (&[&[]], invalid),
        (&[&[1, 2], &[1]], invalid),
        (&[&[3]], invalid), // nobody to lead it
        (&[&[2, 1], &[3, 1]], None),
    ];
    for (replicas, code) in cases {
        let assignments = (0..).zip(replicas).map(|(index, replicas)| {
            CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(ids(replicas))
        });
        let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(-1).with_replication_factor(-1);
        let topic = topic.with_assignments(assignments.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let checked = peer.call(7, &request.clone().with_validate_only(true)).await;
        assert_eq!(ErrorCode::from_wire(checked.topics[0].error_code), code, "{replicas:?}");
        assert!(cluster.topics().is_empty(), "only checked");
        assert_eq!(ErrorCode::from_wire(peer.call(7, &request).await.topics[0].error_code), code, "{replicas:?}");
    }
    assert_eq!(peer.partition(1).await, (vec![3, 1], vec![1], vec![3], 1, 0));

    let cases: [(i32, &[&[i32]], _); 6] = [
        (2, &[], Some(ErrorCode::InvalidPartitions)),
        (1, &[], Some(ErrorCode::InvalidPartitions)),
        (4, &[&[1, 2]], invalid),
        (3, &[&[1]], invalid),
        (3, &[&[1, 9]], invalid),
        (3, &[&[1, 2]], None),
    ];
    for (count, replicas, code) in cases {
        let each = replicas.iter().map(|nodes| CreatePartitionsAssignment::default().with_broker_ids(ids(nodes)));
        let topic = CreatePartitionsTopic::default().with_name(name("t")).with_count(count);
        let topic = topic.with_assignments(Some(each.collect()).filter(|each: &Vec<_>| !each.is_empty()));
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
        let checked = peer.call(3, &request.clone().with_validate_only(true)).await;
        assert_eq!(ErrorCode::from_wire(checked.results[0].error_code), code, "{count} {replicas:?}");
        assert_eq!(ErrorCode::from_wire(peer.call(3, &request).await.results[0].error_code), code);
    }
    assert_eq!(peer.partition(2).await.0, [1, 2]);

    let both = DeleteTopicState::default().with_name(Some(name("t"))).with_topic_id(cluster.topic_id("t"));
    let by_id = both.clone().with_name(None);
    for (topic, code) in [(both, Some(ErrorCode::InvalidRequest)), (by_id, None)] {
        let answer = peer.call(6, &DeleteTopicsRequest::default().with_topics(vec![topic])).await;
        assert_eq!(ErrorCode::from_wire(answer.responses[0].error_code), code);
    }
    assert!(cluster.topics().is_empty());
}
