//! The admin over a real cluster: users, quotas, ACLs; and what it is told who may not.

use crate::admin_topics::{code, eventually};
use crate::{bootstrap, connect, connect_with, fresh, since};
use milena::admin::{
    AclBinding, AclFilter, AclOperation, AclResourceType, Admin, ConfigChange, ConfigQuery, ConfigResource, Election,
    FeatureUpdate, HangingTransaction, IsolationLevel, MemberToRemove, NewTopic, OffsetSpec, Outcomes, QuotaEntity,
    QuotaFilter, ResetScope, ResetTo, ScramMechanism, TransactionFilter, UserChange,
};
use milena::client::ClientConfig;
use milena::error::{ErrorCode, ErrorKind, Result};
use milena::ids::{NodeId, OffsetAndMetadata, ProducerIdAndEpoch, TopicPartition};
use milena::sasl::Plain;
use std::fmt::Debug;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn users_are_given_passwords_and_lose_them() {
    let client = connect().await;
    let (admin, user, missing) = (client.admin(), fresh("user"), fresh("missing"));
    let (small, large) = (ScramMechanism::Sha256, ScramMechanism::Sha512);
    let changes = [
        UserChange::upsert(&*user, small, "one"),
        UserChange::upsert(&*user, large, "two").iterations(8192),
        UserChange::delete(&*missing, small),
    ];
    let Some(told) = since([2, 7, 0], admin.alter_users(changes).await) else { return };
    told[&user].as_ref().expect("both are set");
    assert_eq!(code(&told[&missing]), ErrorCode::ResourceNotFound);
    let known = eventually("the user is known", async || {
        let told = admin.describe_users([&user]).await.expect("answered").remove(&user)?.ok()?;
        (told.len() == 2).then_some(told)
    })
    .await;
    assert_eq!((known[0].mechanism, known[1].iterations), (small, 8192));
    assert_eq!(code(&admin.describe_users([&missing]).await.expect("answered")[&missing]), ErrorCode::ResourceNotFound);
    assert!(admin.describe_users(Vec::<&str>::new()).await.expect("answered").contains_key(&user));
    let gone = [UserChange::delete(&*user, small), UserChange::delete(&*user, large)];
    admin.alter_users(gone).await.expect("answered")[&user].as_ref().expect("both are gone");
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn quotas_are_set_and_taken_away() {
    let client = connect().await;
    let (admin, user) = (client.admin(), fresh("user"));
    let entity = QuotaEntity::default().user(&*user);
    let both = entity.clone().client_id("app");
    let rate = |key: &str, value| vec![(key.to_owned(), value)];
    let wrong = QuotaEntity::default().user(fresh("other"));
    let changes = || {
        let set = [(entity.clone(), rate("producer_byte_rate", Some(1e6)))];
        set.into_iter().chain([(both.clone(), rate("request_percentage", Some(50.)))])
    };
    let Some(_) = since([2, 6, 0], admin.dry_run().alter_quotas(changes()).await) else { return };
    let told = admin.alter_quotas(changes().chain([(wrong.clone(), rate("speed", Some(1.)))])).await.expect("answered");
    assert!(told[&entity].is_ok() && told[&both].is_ok(), "{told:?}");
    assert_eq!(code(&told[&wrong]), ErrorCode::InvalidRequest);
    let found = eventually("they are known", async || {
        let found = admin.describe_quotas(QuotaFilter::default().user(&*user)).await.expect("answered");
        (found.len() == 2).then_some(found)
    })
    .await;
    assert_eq!(found[&entity]["producer_byte_rate"], 1e6);
    let exactly = admin.describe_quotas(QuotaFilter::default().user(&*user).strict()).await.expect("answered");
    assert_eq!(exactly.len(), 1);
    let gone = [(entity, rate("producer_byte_rate", None)), (both, rate("request_percentage", None))];
    admin.alter_quotas(gone).await.expect("answered").into_values().for_each(|told| told.expect("gone"));
    eventually("they are gone", async || {
        let found = admin.describe_quotas(QuotaFilter::default().user(&*user)).await.expect("answered");
        found.is_empty().then_some(())
    })
    .await;
    client.close().await;
}

/// On the listener with SASL, which `protocol-tests/kafka` puts two ports higher.
async fn admin_as(user: &str) -> Admin {
    let first = bootstrap().split(',').next().unwrap_or_default().to_owned();
    let (host, port) = first.rsplit_once(':').expect("host:port");
    let port: u16 = port.parse().expect("a port");
    let config = ClientConfig::new([format!("{host}:{}", port + 2)]).sasl(Plain::new(user, format!("{user}-secret")));
    connect_with(config).await.admin()
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, KFM_AUTHZ=1"]
async fn acls_are_made_found_and_deleted() {
    let (root, alice) = (admin_as("admin").await, admin_as("alice").await);
    let topic = fresh("acls");
    let allow = AclBinding::allow(AclResourceType::Topic, &*topic, "User:alice", AclOperation::Describe);
    let prefix = AclBinding::allow(AclResourceType::Topic, &*topic, "User:bob", AclOperation::All).prefixed();
    let wrong = AclBinding::allow(AclResourceType::Cluster, "mine", "User:alice", AclOperation::Alter);
    root.create_topics([NewTopic::new(&*topic, 1, 1)]).await.expect("answered")[&topic].as_ref().expect("made");
    let told = root.create_acls([allow.clone(), prefix.clone(), wrong.clone()]).await.expect("answered");
    assert!(told[&allow].is_ok() && told[&prefix].is_ok(), "{told:?}");
    assert_eq!(code(&told[&wrong]), ErrorCode::InvalidRequest);
    eventually("alice may", async || alice.describe_topics([&topic]).await.expect("answered").remove(&topic)?.ok())
        .await;
    let about = || AclFilter::default().resource_type(AclResourceType::Topic).matching(&*topic);
    let found = eventually("they are known", async || {
        let found = root.describe_acls(about()).await.expect("answered");
        (found.len() == 2).then_some(found)
    })
    .await;
    assert!(found.contains(&allow) && found.contains(&prefix));
    let one = AclFilter::from(prefix.clone());
    assert_eq!(root.describe_acls(one.clone()).await.expect("answered"), [prefix]);
    let nobody = AclFilter::default().principal(format!("User:{topic}"));
    let told = root.delete_acls([about(), nobody.clone()]).await.expect("answered");
    assert_eq!(told[&about()].as_ref().expect("deleted").len(), 2);
    assert!(told[&nobody].as_ref().expect("answered").is_empty());
    eventually("they are gone", async || root.describe_acls(about()).await.expect("answered").is_empty().then_some(()))
        .await;
    root.delete_topics([&topic]).await.expect("answered")[&topic].as_ref().expect("deleted");
}

fn denied<T: Debug>(what: &str, outcome: Result<T>) {
    let error = match outcome {
        Ok(done) => panic!("{what}: {done:?}"),
        Err(error) => error,
    };
    let is_too_old = crate::is_before([2, 8, 0]) && error.kind() == ErrorKind::UnsupportedVersion;
    assert!(error.kind() == ErrorKind::Denied || is_too_old, "{what}: {error}");
}

fn each_denied<T: Debug, K: Ord + Debug>(what: &str, outcomes: Result<Outcomes<T, K>>) {
    match outcomes {
        Ok(outcomes) => outcomes.into_values().for_each(|outcome| denied(what, outcome)),
        all => denied(what, all),
    }
}

/// Too old, or denied.
fn denied_since<T: Debug>(release: [u32; 3], what: &str, outcome: Result<T>) {
    match outcome {
        Err(error) if error.kind() == ErrorKind::UnsupportedVersion && crate::is_before(release) => {}
        outcome => denied(what, outcome),
    }
}

/// What is forbidden to her by name, whatever the cluster does without ACLs.
fn forbidden(topic: &str, group: &str, id: &str) -> Vec<AclBinding> {
    let deny = |kind, name: &str| AclBinding::deny(kind, name, "User:alice", AclOperation::All);
    vec![
        deny(AclResourceType::Topic, topic).prefixed(),
        deny(AclResourceType::Group, group),
        deny(AclResourceType::TransactionalId, id),
        deny(AclResourceType::Cluster, "kafka-cluster"),
    ]
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, KFM_AUTHZ=1"]
async fn who_may_not_is_told_so_by_every_call() {
    let (root, alice) = (admin_as("admin").await, admin_as("alice").await);
    let (topic, group, id) = (fresh("denied"), fresh("denied-group"), fresh("denied-id"));
    let at = TopicPartition::new(&*topic, 0);
    root.create_topics([NewTopic::new(&*topic, 1, 1)]).await.expect("answered")[&topic].as_ref().expect("made");
    let acls = forbidden(&topic, &group, &id);
    root.create_acls(acls.clone()).await.expect("answered").into_values().for_each(|made| made.expect("made"));
    eventually("alice may nothing", async || {
        let told = alice.with_authorized_operations().describe_cluster().await.expect("answered");
        let topic = alice.describe_topics([&topic]).await.expect("answered").remove(&topic)?;
        (told.authorized_operations.is_some_and(|may| may.is_empty()) && topic.is_err()).then_some(())
    })
    .await;

    each_denied("create_topics", alice.create_topics([NewTopic::new(format!("{topic}-2"), 1, 1)]).await);
    each_denied("describe_topics", alice.describe_topics([&topic]).await);
    each_denied("create_partitions", alice.create_partitions([(&topic, 2)]).await);
    each_denied("delete_topics", alice.delete_topics([&topic]).await);
    each_denied("delete_records", alice.delete_records([(at.clone(), -1)]).await);
    let places = [(at.clone(), OffsetSpec::Latest)];
    each_denied("list_offsets", alice.list_offsets(places, IsolationLevel::ReadUncommitted).await);
    let resource = || ConfigResource::Topic(topic.clone());
    let query = ConfigQuery::new([resource(), ConfigResource::ClusterDefault]);
    each_denied("describe_configs", alice.describe_config_resources(query).await);
    let changes = [(resource(), vec![ConfigChange::delete("retention.ms")])];
    each_denied("alter_configs", alice.alter_config_resources(changes).await);
    each_denied("describe_groups", alice.describe_groups([&group]).await);
    each_denied("committed_offsets", alice.committed_offsets([&group]).await);
    let offsets = [(at.clone(), OffsetAndMetadata::new(0))];
    each_denied("alter_group_offsets", alice.alter_group_offsets(&group, offsets).await);
    let reset = alice.dry_run().reset_group_offsets(&group, ResetScope::Committed, ResetTo::Earliest).await;
    each_denied("reset_group_offsets", reset);
    each_denied("delete_groups", alice.delete_groups([&group]).await);
    each_denied("delete_group_offsets", alice.delete_group_offsets(&group, [at.clone()]).await);
    let members = [MemberToRemove::Id("x".into())];
    each_denied("remove_members", alice.remove_members(&group, members, "").await);
    denied("describe_acls", alice.describe_acls(AclFilter::default()).await);
    each_denied("create_acls", alice.create_acls(acls.clone()).await);
    each_denied("delete_acls", alice.delete_acls([AclFilter::default().principal("User:nobody")]).await);
    each_denied("describe_users", alice.describe_users(["alice"]).await);
    each_denied("alter_users", alice.alter_users([UserChange::upsert("eve", ScramMechanism::Sha256, "x")]).await);
    denied("describe_quotas", alice.describe_quotas(QuotaFilter::default()).await);
    let quotas = [(QuotaEntity::default().user("eve"), vec![("producer_byte_rate".to_owned(), Some(1.))])];
    each_denied("alter_quotas", alice.alter_quotas(quotas).await);
    let node: NodeId = root.describe_cluster().await.expect("answered").brokers[0].node;
    match alice.describe_log_dirs([node]).await.expect("answered").remove(&node).expect("it was asked") {
        Ok(dirs) => assert!(crate::is_before([3, 0, 0]) && dirs.is_empty(), "{dirs:?}"),
        refused => denied("describe_log_dirs", refused),
    }
    denied_since([3, 3, 0], "describe_quorum", alice.describe_quorum().await);
    let update = [FeatureUpdate::upgrade("metadata.version", 99)];
    let updated = alice.update_features(update).await.and_then(|told| told.into_values().collect::<Result<Vec<()>>>());
    denied("update_features", updated);
    each_denied("elect_leaders", alice.elect_leaders(Election::Preferred, Some(vec![at.clone()])).await);
    let moves = [(at.clone(), Some(vec![node]))];
    each_denied("alter_partition_reassignments", alice.alter_partition_reassignments(moves).await);
    denied("list_partition_reassignments", alice.list_partition_reassignments(None).await);
    each_denied("fence_producers", alice.fence_producers([&id]).await);
    let producer = ProducerIdAndEpoch { id: 1, epoch: 0 };
    denied("abort_transaction", alice.abort_transaction(HangingTransaction::new(at.clone(), producer, 0)).await);
    each_denied("describe_producers", alice.describe_producers([at]).await);
    match alice.describe_transactions([&id]).await {
        Err(error) if crate::is_before([3, 0, 0]) => assert_eq!(error.kind(), ErrorKind::UnsupportedVersion),
        told => each_denied("describe_transactions", told),
    }
    if let Some(listed) = since([3, 0, 0], alice.list_transactions(TransactionFilter::default()).await) {
        assert!(listed.iter().all(|one| one.transactional_id != id));
    }
    denied_since([4, 1, 0], "list_config_resources", alice.list_config_resources().await);
    assert!(alice.list_groups().await.expect("answered").iter().all(|one| one.group_id != group));

    let filters = acls.into_iter().map(AclFilter::from);
    root.delete_acls(filters).await.expect("answered").into_values().for_each(|told| drop(told.expect("deleted")));
    root.delete_topics([&topic]).await.expect("answered")[&topic].as_ref().expect("deleted");
}
