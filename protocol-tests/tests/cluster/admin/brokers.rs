//! The admin of the cluster and its brokers: features, the quorum, disks, elections, reassignments.

use super::{client, code, fill, guarded, is_denied};
use milena::admin::{Election, FeatureUpdate};
use milena::broker::{ApiKey, Emulation, TestCluster};
use milena::error::{ErrorCode, ErrorKind, Result};
use milena::ids::{NodeId, TopicPartition};
use std::time::Duration;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn builder() -> milena::broker::Builder {
    TestCluster::builder().brokers(3).racks(["a", "b"]).topic("t", 3)
}

async fn cluster() -> TestCluster {
    builder().in_memory().start().await.unwrap()
}

/// There, or too old, in words.
fn unless_old<T>(emulation: Emulation, told: Result<T>) -> Option<T> {
    told.map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{emulation}: {error}");
        assert!(error.to_string().contains("the broker "), "{emulation}: {error}");
    })
    .ok()
}

#[tokio::test(start_paused = true)]
async fn every_release_tells_what_it_can_of_its_brokers() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = builder().emulate(emulation.name()).in_memory().start().await.unwrap();
        let admin = client(&cluster).admin();
        let told = admin.with_authorized_operations().describe_cluster().await.unwrap();
        assert_eq!(told.brokers.iter().map(|broker| broker.node.0).collect::<Vec<_>>(), [1, 2, 3], "{emulation}");
        let first = &told.brokers[0];
        assert_eq!((&*first.host, first.port, first.rack.as_deref()), ("broker-1", 9092, Some("a")), "{emulation}");
        assert!(told.cluster_id.is_some() && told.controller.is_some() && !first.fenced, "{emulation}");
        let says = emulation.versions(ApiKey::Metadata).unwrap().1 >= 8;
        assert_eq!(told.authorized_operations.is_some(), says, "{emulation}");
        assert!(admin.describe_cluster().await.unwrap().authorized_operations.is_none(), "{emulation}");
        let features = unless_old(emulation, admin.describe_features().await).unwrap_or_default();
        assert_eq!(features.finalized.contains_key("transaction.version"), emulation == Emulation::Kafka43);
        unless_old(emulation, admin.describe_quorum().await);
        if let Some(dirs) = unless_old(emulation, admin.describe_log_dirs([]).await) {
            assert_eq!(dirs.len(), 3, "{emulation}");
        }
        let reassignments = admin.list_partition_reassignments(None).await;
        assert!(unless_old(emulation, reassignments).unwrap_or_default().is_empty(), "{emulation}");
        if let Some(elected) = unless_old(emulation, admin.elect_leaders(Election::Preferred, None).await) {
            assert!(elected.is_empty(), "{emulation}: {elected:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn features_go_up_and_down_and_a_dry_run_moves_nothing() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let level = async || {
        // A client sees levels when it connects.
        let features = client(&cluster).admin().describe_features().await.unwrap();
        (features.finalized.get("transaction.version").copied(), features.supported["transaction.version"])
    };
    let (before, (_, most)) = level().await;
    assert_eq!(before, Some(most));
    let down = || FeatureUpdate::downgrade("transaction.version", 1);
    assert!(admin.dry_run().update_features([down()]).await.unwrap()["transaction.version"].is_ok());
    assert_eq!(level().await.0, Some(most));
    assert!(admin.update_features([down()]).await.unwrap()["transaction.version"].is_ok());
    assert_eq!(level().await.0, Some(1));
    let error = admin.update_features([FeatureUpdate::upgrade("transaction.version", 99)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidUpdateVersion), "{error}");
    let error = admin.update_features([FeatureUpdate::upgrade("no.such", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidUpdateVersion), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_quorum_and_the_disks_are_described() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    fill(&cluster, "t", 3, 1).await;
    let quorum = admin.describe_quorum().await.unwrap();
    assert_eq!((quorum.voters.len(), quorum.endpoints.len()), (3, 3));
    assert!(quorum.voters.iter().any(|voter| voter.node == quorum.leader && voter.last_caught_up.is_some()));
    let dirs = admin.describe_log_dirs([NodeId(2), NodeId(9)]).await.unwrap();
    assert_eq!(code(&dirs[&NodeId(9)]), ErrorCode::BrokerNotAvailable);
    let [dir] = &dirs[&NodeId(2)].as_ref().unwrap()[..] else { panic!("{dirs:?}") };
    assert!(dir.error.is_none() && dir.total_bytes > dir.usable_bytes && dir.usable_bytes.is_some());
    assert_eq!(dir.replicas.len(), 3);
    assert!(dir.replicas.values().all(|replica| replica.size > 0 && !replica.future));
}

#[tokio::test(start_paused = true)]
async fn leaders_are_elected_where_they_should_be() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let preferred = cluster.leader("t", 0).unwrap();
    let elected = admin.elect_leaders(Election::Preferred, Some(vec![at(0), at(9)])).await.unwrap();
    assert_eq!(code(&elected[&at(0)]), ErrorCode::ElectionNotNeeded);
    assert_eq!(code(&elected[&at(9)]), ErrorCode::UnknownTopicOrPartition);
    cluster.kill(preferred);
    let elected = admin.elect_leaders(Election::Preferred, Some(vec![at(0)])).await.unwrap();
    assert_eq!(code(&elected[&at(0)]), ErrorCode::PreferredLeaderNotAvailable);
    cluster.restart(preferred).await.unwrap();
    cluster.fault(ApiKey::ElectLeaders).once().error(ErrorCode::NotController);
    let elected = admin.elect_leaders(Election::Preferred, None).await.unwrap();
    assert_eq!(elected.keys().collect::<Vec<_>>(), [&at(0)], "the others need none");
    assert_eq!(cluster.leader("t", 0), Some(preferred));
    let elected = admin.elect_leaders(Election::Unclean, Some(vec![at(1)])).await.unwrap();
    assert_eq!(code(&elected[&at(1)]), ErrorCode::ElectionNotNeeded);
}

#[tokio::test(start_paused = true)]
async fn partitions_go_to_other_brokers_and_are_called_back() {
    let builder = TestCluster::builder().brokers(4).default_replication(2).topic("t", 2);
    let builder = builder.replication_lag(Duration::from_millis(20)).in_memory();
    let cluster = builder.start().await.unwrap();
    let admin = client(&cluster).admin();
    cluster.pause(NodeId(4)); // what goes there does not arrive
    let to = |nodes: &[i32]| Some(nodes.iter().copied().map(NodeId).collect::<Vec<_>>());
    let moves = [(at(0), to(&[4, 2])), (at(1), to(&[9, 2])), (at(7), to(&[1, 2]))];
    let told = admin.alter_partition_reassignments(moves).await.unwrap();
    assert!(told[&at(0)].is_ok());
    assert_eq!(code(&told[&at(1)]), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(&told[&at(7)]), ErrorCode::UnknownTopicOrPartition);
    let under_way = admin.list_partition_reassignments(Some(vec![at(0), at(1)])).await.unwrap();
    assert_eq!(under_way.len(), 1);
    assert_eq!((&under_way[&at(0)].adding, &under_way[&at(0)].removing), (&vec![NodeId(4)], &vec![NodeId(1)]));
    assert!(admin.alter_partition_reassignments([(at(0), None)]).await.unwrap()[&at(0)].is_ok());
    assert!(admin.list_partition_reassignments(None).await.unwrap().is_empty());
    let told = admin.alter_partition_reassignments([(at(0), None)]).await.unwrap();
    assert_eq!(code(&told[&at(0)]), ErrorCode::NoReassignmentInProgress);
    assert!(admin.dry_run().alter_partition_reassignments([(at(0), None)]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_so() {
    let (_cluster, root, nobody) = guarded(builder()).await;
    is_denied(nobody.describe_quorum().await);
    is_denied(nobody.describe_log_dirs([NodeId(1)]).await.unwrap().remove(&NodeId(1)).unwrap());
    is_denied(nobody.elect_leaders(Election::Preferred, Some(vec![at(0)])).await);
    is_denied(nobody.elect_leaders(Election::Preferred, None).await);
    is_denied(nobody.alter_partition_reassignments([(at(0), None)]).await);
    is_denied(nobody.list_partition_reassignments(None).await);
    is_denied(nobody.update_features([FeatureUpdate::downgrade("transaction.version", 1)]).await);
    let may = nobody.with_authorized_operations().describe_cluster().await.unwrap().authorized_operations.unwrap();
    assert!(may.is_empty(), "{may:?}");
    let may = root.with_authorized_operations().describe_cluster().await.unwrap().authorized_operations.unwrap();
    assert_eq!(may.len(), 7, "{may:?}");
}
