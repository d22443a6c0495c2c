//! The admin of topics: made as they are to be, looked at by name and by id, grown, emptied, deleted.

use super::{client, code, fill, guarded, is_denied};
use milena::admin::{IsolationLevel, NewPartitions, NewTopic, OffsetSpec};
use milena::broker::{ApiKey, Emulation, TestCluster};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{NodeId, TopicId, TopicPartition};

fn nodes<const N: usize>(nodes: [i32; N]) -> Vec<NodeId> {
    nodes.map(NodeId).into()
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

async fn cluster() -> TestCluster {
    TestCluster::builder().brokers(3).topic("there", 2).in_memory().start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn replicas_are_where_they_were_wanted() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let new = NewTopic::with_assignment("new", [nodes([3, 1]), nodes([2, 3])]).config("retention.ms", "7");
    let wrong = NewTopic::with_assignment("wrong", [nodes([3, 9])]);
    let dry = admin.dry_run().create_topics([new.clone(), wrong.clone()]).await.unwrap();
    let would = dry["new"].as_ref().unwrap();
    assert_eq!((would.partitions, would.replication), (Some(2), Some(2)));
    assert!(would.configs.iter().any(|config| config.name == "retention.ms" && config.value.as_deref() == Some("7")));
    assert_eq!(code(&dry["wrong"]), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(cluster.topics(), ["there"], "a dry run makes nothing");
    let mut made = admin.create_topics([new.clone(), wrong]).await.unwrap();
    let id = made.remove("new").unwrap().unwrap().id;
    assert!(made["wrong"].is_err());
    let error = admin.create_topics([new.clone(), new]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

    let by_id = admin.describe_topics_by_id([id, TopicId([7; 16])]).await.unwrap();
    assert_eq!(code(&by_id[&TopicId([7; 16])]), ErrorCode::UnknownTopicId);
    let topic = by_id[&id].as_ref().unwrap();
    assert_eq!((&*topic.name, topic.id), ("new", id));
    assert_eq!(topic.partitions[0].replicas, nodes([3, 1]));
    assert_eq!((topic.partitions[1].leader, topic.partitions[1].offline.len()), (Some(NodeId(2)), 0));
    assert!(topic.partitions[1].leader_epoch.is_some() && topic.authorized_operations.is_none());

    let more = || NewPartitions::new("new", 3).assignment([nodes([1, 2])]);
    assert!(admin.dry_run().create_partitions([more()]).await.unwrap()["new"].is_ok());
    let twice = NewPartitions::new("there", 3).assignment([nodes([1]), nodes([2])]);
    let grown = admin.create_partitions([more(), twice, ("missing", 3).into()]).await.unwrap();
    assert!(grown["new"].is_ok());
    assert_eq!(code(&grown["there"]), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(&grown["missing"]), ErrorCode::UnknownTopicOrPartition);
    let topic = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
    assert_eq!(topic.partitions[2].replicas, nodes([1, 2]));
    cluster.kill(NodeId(2));
    let topic = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
    assert_eq!(topic.partitions[2].offline, nodes([2]));
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_deleted_by_its_id_and_no_other_of_its_name() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let first = cluster_id_of(&admin, "there").await;
    admin.delete_topics(["there"]).await.unwrap().remove("there").unwrap().unwrap();
    admin.create_topics([NewTopic::new("there", 1, 1)]).await.unwrap().remove("there").unwrap().unwrap();
    let second = cluster_id_of(&admin, "there").await;
    let deleted = admin.delete_topics_by_id([first]).await.unwrap();
    assert_eq!(code(&deleted[&first]), ErrorCode::UnknownTopicId);
    assert_eq!(cluster.topics(), ["there"]);
    let deleted = admin.delete_topics_by_id([first, second]).await.unwrap();
    assert!(deleted[&first].is_err() && deleted[&second].is_ok());
    assert!(cluster.topics().is_empty());
}

async fn cluster_id_of(admin: &milena::admin::Admin, topic: &str) -> TopicId {
    admin.describe_topics([topic]).await.unwrap().remove(topic).unwrap().unwrap().id
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_at_the_leaders_wherever_they_move() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    fill(&cluster, "there", 2, 5).await;
    cluster.fault(ApiKey::DeleteRecords).times(2).error(ErrorCode::NotLeaderOrFollower);
    let before = [(at("there", 0), 1), (at("there", 1), -1), (at("there", 7), 1), (at("missing", 0), 1)];
    let begins = admin.delete_records(before).await.unwrap();
    assert_eq!(*begins[&at("there", 0)].as_ref().unwrap(), 1);
    assert_eq!(*begins[&at("there", 1)].as_ref().unwrap(), 5, "all of them");
    assert_eq!(code(&begins[&at("there", 7)]), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&begins[&at("missing", 0)]), ErrorCode::UnknownTopicOrPartition);
    let begins = admin.delete_records([(at("there", 0), 99)]).await.unwrap();
    assert_eq!(code(&begins[&at("there", 0)]), ErrorCode::OffsetOutOfRange);
    assert!(admin.dry_run().delete_records([(at("there", 0), -1)]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn places_are_looked_up_at_the_leaders() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let begin = cluster.clock().unix_millis();
    fill(&cluster, "there", 2, 5).await;
    cluster.reset_requests();
    let places = [(at("there", 0), OffsetSpec::Timestamp(begin)), (at("there", 1), OffsetSpec::Timestamp(begin * 2))];
    let found = admin.list_offsets(places, IsolationLevel::ReadUncommitted).await.unwrap();
    assert_eq!(found[&at("there", 0)].as_ref().unwrap().unwrap().offset, 0);
    assert_eq!(*found[&at("there", 1)].as_ref().unwrap(), None, "there is no such record");
    assert_eq!(cluster.requests(ApiKey::ListOffsets).count, 2, "one for each leader");
    let leader = cluster.leader("there", 0).unwrap();
    let places = [(at("there", 0), OffsetSpec::MaxTimestamp), (at("missing", 0), OffsetSpec::Latest)];
    cluster.kill(leader);
    let found = admin.list_offsets(places, IsolationLevel::ReadCommitted).await.unwrap();
    assert!(found[&at("there", 0)].as_ref().unwrap().is_some(), "somebody else leads it now");
    assert_eq!(code(&found[&at("missing", 0)]), ErrorCode::UnknownTopicOrPartition);
    let negative = admin.list_offsets([(at("there", 0), OffsetSpec::Timestamp(-9))], IsolationLevel::ReadUncommitted);
    assert_eq!(negative.await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let old = TestCluster::builder().topic("there", 1).emulate("2.8").in_memory().start().await.unwrap();
    let place = [(at("there", 0), OffsetSpec::MaxTimestamp)];
    let error = client(&old).admin().list_offsets(place, IsolationLevel::ReadUncommitted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
    assert!(error.to_string().contains("ListOffsets"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_a_broker_is_too_old_for_spoils_no_other() {
    for (emulation, knows) in [("2.8", [true, false, false, false]), ("3.9", [true; 4])] {
        let builder = TestCluster::builder().topic("there", 4).emulate(emulation);
        let cluster = builder.in_memory().start().await.unwrap();
        fill(&cluster, "there", 4, 3).await;
        cluster.reset_requests();
        let specs = [OffsetSpec::Latest, OffsetSpec::MaxTimestamp, OffsetSpec::EarliestLocal, OffsetSpec::LatestTiered];
        let places = (0..).zip(specs).map(|(partition, spec)| (at("there", partition), spec));
        let found = client(&cluster).admin().list_offsets(places, IsolationLevel::ReadUncommitted).await.unwrap();
        assert_eq!(found[&at("there", 0)].as_ref().unwrap().unwrap().offset, 3, "{emulation}");
        for (partition, known) in (0..).zip(knows) {
            match &found[&at("there", partition)] {
                Ok(_) => assert!(known, "{emulation}: {partition}"),
                Err(error) => {
                    assert_eq!((error.kind(), known), (ErrorKind::UnsupportedVersion, false), "{emulation}: {error}");
                    let first = ["", "v7", "v8", "v9"][partition as usize];
                    let text = error.to_string();
                    assert!(text.contains("ListOffsets to node") && text.contains(first), "{text}");
                }
            }
        }
        assert_eq!(cluster.requests(ApiKey::ListOffsets).count, 1, "{emulation}: asked once, of what it knows");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_so_topic_by_topic() {
    let (cluster, root, nobody) = guarded(TestCluster::builder().brokers(3).topic("there", 1)).await;
    assert!(nobody.list_topics().await.unwrap().is_empty(), "what may not be seen is not listed");
    let id = cluster_id_of(&root, "there").await;
    nobody.describe_topics(["there"]).await.unwrap().into_values().for_each(is_denied);
    nobody.create_topics([NewTopic::new("new", 1, 1)]).await.unwrap().into_values().for_each(is_denied);
    nobody.delete_topics(["there"]).await.unwrap().into_values().for_each(is_denied);
    nobody.create_partitions([("there", 3)]).await.unwrap().into_values().for_each(is_denied);
    for outcome in nobody.delete_topics_by_id([id]).await.unwrap().into_values() {
        // By its id nobody is told that there is such a topic.
        assert!(matches!(code(&outcome), ErrorCode::UnknownTopicId | ErrorCode::TopicAuthorizationFailed));
    }
    for outcome in nobody.describe_topics_by_id([id]).await.unwrap().into_values() {
        assert!(matches!(code(&outcome), ErrorCode::UnknownTopicId | ErrorCode::TopicAuthorizationFailed));
    }
    nobody.delete_records([(at("there", 0), 0)]).await.unwrap().into_values().for_each(is_denied);
    let places = [(at("there", 0), OffsetSpec::Latest)];
    let found = nobody.list_offsets(places, IsolationLevel::ReadUncommitted).await.unwrap();
    found.into_values().for_each(is_denied);
    is_denied(nobody.end_offsets([at("there", 0)]).await);
    assert_eq!(cluster.topics(), ["there"]);
    let asked = root.with_authorized_operations().describe_topics(["there"]).await.unwrap();
    assert_eq!(asked["there"].as_ref().unwrap().authorized_operations.as_ref().unwrap().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn every_release_does_the_round_of_topics() {
    for emulation in Emulation::ALL.iter().copied() {
        let builder = TestCluster::builder().brokers(3).emulate(emulation.name()).in_memory();
        let cluster = builder.start().await.unwrap();
        let admin = client(&cluster).admin();
        let new = NewTopic::with_assignment("new", [nodes([1, 2])]);
        admin.create_topics([new]).await.unwrap().remove("new").unwrap().unwrap();
        admin.create_partitions([("new", 2)]).await.unwrap().remove("new").unwrap().unwrap();
        cluster.produce("new", ["x"; 4]).await.unwrap();
        let deleted = admin.delete_records([(at("new", 0), -1), (at("new", 1), -1)]).await;
        match deleted {
            Ok(deleted) => assert!(deleted.values().all(Result::is_ok), "{emulation}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{emulation}: {error}"),
        }
        let topic = admin.describe_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
        match admin.delete_topics_by_id([topic.id]).await {
            Ok(deleted) => assert!(deleted[&topic.id].is_ok(), "{emulation}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{emulation}: {error}");
                admin.delete_topics(["new"]).await.unwrap().remove("new").unwrap().unwrap();
            }
        }
        assert!(cluster.topics().is_empty(), "{emulation}");
    }
}
