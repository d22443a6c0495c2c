//! The admin over a real cluster: brokers, features, the quorum, disks, elections, reassignments, transactions.

use crate::admin_topics::{brokers, code, eventually};
use crate::{connect, fresh, since};
use milena::admin::{Election, FeatureUpdate, HangingTransaction, TransactionFilter};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{NodeId, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord};

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn brokers_features_the_quorum_and_disks_are_described() {
    let client = connect().await;
    let admin = client.admin();
    let topic = crate::topic(&client, "admin-cluster", 1, 1).await;
    crate::sample::write_numbers(&client, &topic, 0..5).await;
    let told = admin.with_authorized_operations().describe_cluster().await.expect("a broker answers");
    assert!(told.cluster_id.is_some() && told.controller.is_some(), "{told:?}");
    assert!(told.brokers.iter().all(|broker| broker.port > 0 && !broker.host.is_empty() && !broker.fenced));
    assert!(!told.authorized_operations.expect("asked for").is_empty());
    let dirs =
        admin.describe_log_dirs([NodeId(4711)].into_iter().chain(brokers(&admin).await)).await.expect("answered");
    assert_eq!(code(&dirs[&NodeId(4711)]), ErrorCode::BrokerNotAvailable);
    let dirs: Vec<_> = dirs.into_values().filter_map(Result::ok).flatten().collect();
    assert!(dirs.iter().all(|dir| dir.error.is_none() && dir.path.starts_with('/')), "{dirs:?}");
    let replica = dirs.iter().find_map(|dir| dir.replicas.get(&TopicPartition::new(&*topic, 0)));
    assert!(replica.is_some_and(|replica| replica.size > 0 && !replica.future));
    assert_eq!(dirs.iter().all(|dir| dir.total_bytes.is_some()), !crate::is_before([3, 3, 0]));

    let features = admin.describe_features().await;
    if let Some(features) = since([2, 4, 0], features).filter(|_| !crate::is_before([3, 3, 0])) {
        let (level, most) = (features.finalized["metadata.version"], features.supported["metadata.version"].1);
        assert!((1..=most).contains(&level), "{features:?}");
        let quorum = admin.describe_quorum().await.expect("a broker answers");
        assert!(quorum.voters.iter().any(|voter| voter.node == quorum.leader && voter.log_end > 0), "{quorum:?}");
        let up = || FeatureUpdate::upgrade("metadata.version", most + 1);
        let told = admin.dry_run().update_features([up()]).await;
        let refused = told.and_then(|told| told.into_values().collect::<milena::error::Result<Vec<()>>>()).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Broker(_)), "{refused}");
        let same = admin.dry_run().update_features([FeatureUpdate::upgrade("metadata.version", level)]).await;
        drop(same); // no two releases agree on whether that is an update
    } else {
        let error = admin.describe_quorum().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
    }
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn leaders_are_elected_and_partitions_reassigned() {
    let client = connect().await;
    let admin = client.admin();
    let topic = crate::topic(&client, "admin-elections", 1, 1).await;
    let at = |partition| TopicPartition::new(&*topic, partition);
    eventually("it has a leader", async || {
        let told = admin.describe_topics([&topic]).await.expect("answered").remove(&topic)?.ok()?;
        told.partitions.first()?.leader
    })
    .await;
    for election in [Election::Preferred, Election::Unclean] {
        let told = admin.elect_leaders(election, Some(vec![at(0), at(99)])).await.expect("answered");
        assert_eq!(code(&told[&at(0)]), ErrorCode::ElectionNotNeeded, "{election:?}");
        assert_eq!(code(&told[&at(99)]), ErrorCode::UnknownTopicOrPartition, "{election:?}");
    }
    admin.elect_leaders(Election::Preferred, None).await.expect("answered");
    let to = brokers(&admin).await.last().map(|node| vec![*node]);
    let moves = [(at(0), to.clone()), (at(99), to.clone()), (at(98), None)];
    let told = admin.alter_partition_reassignments(moves).await.expect("answered");
    told[&at(0)].as_ref().expect("it goes");
    assert_eq!(code(&told[&at(99)]), ErrorCode::UnknownTopicOrPartition);
    assert!(told[&at(98)].is_err());
    eventually("it has arrived", async || {
        let under_way = admin.list_partition_reassignments(Some(vec![at(0)])).await.expect("answered");
        under_way.is_empty().then_some(())
    })
    .await;
    let told = admin.alter_partition_reassignments([(at(0), None)]).await.expect("answered");
    assert_eq!(code(&told[&at(0)]), ErrorCode::NoReassignmentInProgress);
    let told = admin.alter_partition_reassignments([(at(0), Some(vec![NodeId(4711)]))]).await.expect("answered");
    assert_eq!(code(&told[&at(0)]), ErrorCode::InvalidReplicaAssignment);
    eventually("where it was to go", async || {
        let told = admin.describe_topics([&topic]).await.expect("answered").remove(&topic)?.ok()?;
        (Some(&told.partitions[0].replicas) == to.as_ref()).then_some(())
    })
    .await;
    admin.list_partition_reassignments(None).await.expect("answered");
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn transactions_are_listed_described_and_fenced() {
    let client = connect().await;
    let admin = client.admin();
    let topic = crate::topic(&client, "admin-transactions", 1, 1).await;
    let at = TopicPartition::new(&*topic, 0);
    let (id, missing) = (fresh("tx"), fresh("missing"));
    let mut producer = client.transactional_producer(&*id, ProducerConfig::default()).await.expect("it begins");
    let transaction = producer.begin().await.expect("begun");
    transaction.send(ProducerRecord::new(&topic).value("x")).await.expect("room").await.expect("written");
    if let Some(told) = since([3, 0, 0], admin.describe_transactions([&id, &missing]).await) {
        assert_eq!(code(&told[&missing]), ErrorCode::TransactionalIdNotFound);
        let told = told[&id].as_ref().expect("it is there");
        assert_eq!((&*told.state, &told.partitions[..]), ("Ongoing", std::slice::from_ref(&at)));
        assert!(told.started.is_some());
        let ongoing = || TransactionFilter::default().states(["Ongoing"]);
        let listed = admin.list_transactions(ongoing()).await.expect("every broker answers");
        assert!(listed.iter().any(|one| one.transactional_id == id), "{listed:?}");
        let listed = admin.list_transactions(ongoing().producer_ids([told.producer.id])).await.expect("answered");
        assert_eq!(listed.len(), 1);
        let longer = ongoing().longer_than(std::time::Duration::from_secs(3600));
        let longer = since([3, 8, 0], admin.list_transactions(longer).await).unwrap_or_default();
        assert!(longer.iter().all(|one| one.transactional_id != id));
        let like =
            since([4, 1, 0], admin.list_transactions(TransactionFilter::default().pattern(format!("{id}.*"))).await);
        assert!(like.is_none_or(|like| like.len() == 1));
        let error = admin.list_transactions(TransactionFilter::default().states(["asleep"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    let nowhere = TopicPartition::new(&*topic, 99);
    let told = admin.describe_producers([at.clone(), nowhere.clone()]).await.expect("each has its answer");
    assert_eq!(code(&told[&nowhere]), ErrorCode::UnknownTopicOrPartition);
    if crate::is_before([2, 8, 0]) {
        assert_eq!(told[&at].as_ref().unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    } else {
        let [known] = told[&at].as_ref().expect("its leader answers")[..] else { panic!("one has written: {told:?}") };
        assert_eq!((known.transaction_start, known.last_sequence), (Some(0), 0));
        let told = admin.abort_transaction(HangingTransaction::of(nowhere, &known)).await;
        assert_eq!(code(&told), ErrorCode::UnknownTopicOrPartition);
        // It does not hang; but the marker is one all the same.
        admin.abort_transaction(HangingTransaction::of(at.clone(), &known)).await.expect("written");
        let told = admin.describe_producers([at.clone()]).await.expect("answered");
        assert_eq!(told[&at].as_ref().expect("answered")[0].transaction_start, None);
    }
    let fenced = admin.fence_producers([&id]).await.expect("the coordinator answers");
    assert!(fenced[&id].as_ref().expect("fenced").epoch > 0);
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fenced() || error.code() == Some(ErrorCode::InvalidProducerEpoch), "{error}");
    drop(producer);
    client.close().await;
}
