//! The admin of who may do what and how much: ACLs, users of SCRAM, quotas.

use super::{admin_as, client, code, guarded, is_denied};
use milena::admin::{
    AclBinding, AclFilter, AclOperation, AclPermission, AclResourceType, QuotaEntity, QuotaFilter, ScramMechanism,
    UserChange,
};
use milena::broker::{ApiKey, TestCluster};
use milena::client::Client;
use milena::error::{ErrorCode, ErrorKind};
use milena::sasl::Scram;
use std::collections::BTreeMap;

fn builder() -> milena::broker::Builder {
    TestCluster::builder().brokers(2).topic("t", 1)
}

#[tokio::test(start_paused = true)]
async fn an_acl_lets_somebody_in_until_it_is_deleted() {
    let (cluster, root, nobody) = guarded(builder()).await;
    let alice = || admin_as(&cluster, "User:alice");
    let read = AclBinding::allow(AclResourceType::Topic, "t", "User:alice", AclOperation::Describe);
    let prefix = AclBinding::allow(AclResourceType::Group, "g", "User:alice", AclOperation::All).prefixed();
    let deny = AclBinding::deny(AclResourceType::Topic, "t", "User:bob", AclOperation::All).host("10.0.0.1");
    let wrong = AclBinding::allow(AclResourceType::Cluster, "mine", "User:alice", AclOperation::Alter);
    is_denied(alice().describe_topics(["t"]).await.unwrap().remove("t").unwrap());
    cluster.reset_requests();
    let all = [read.clone(), prefix.clone(), deny.clone(), wrong.clone()];
    let made = root.create_acls(all).await.unwrap();
    assert_eq!(cluster.requests(ApiKey::CreateAcls).count, 1);
    assert_eq!((made.len(), code(&made[&wrong])), (4, ErrorCode::InvalidRequest));
    assert!(made[&read].is_ok() && made[&prefix].is_ok() && made[&deny].is_ok());
    assert!(root.create_acls([read.clone()]).await.unwrap()[&read].is_ok(), "it stays");
    assert!(alice().describe_topics(["t"]).await.unwrap()["t"].is_ok());

    let described = async |filter: AclFilter| root.describe_acls(filter).await.unwrap();
    assert_eq!(described(AclFilter::default()).await.len(), 3);
    assert_eq!(described(AclFilter::from(read.clone())).await, std::slice::from_ref(&read));
    let topic = AclFilter::default().resource_type(AclResourceType::Topic);
    assert_eq!(described(topic.clone().permission(AclPermission::Deny)).await, std::slice::from_ref(&deny));
    let groups = AclFilter::default().resource_type(AclResourceType::Group);
    assert_eq!(described(groups.clone().matching("gustav")).await, std::slice::from_ref(&prefix));
    assert!(described(groups.name("gustav")).await.is_empty());
    assert!(described(topic.clone().principal("User:carol")).await.is_empty());

    let (first, none) = (topic.clone().principal("User:alice"), AclFilter::default().principal("User:carol"));
    let deleted = root.delete_acls([first.clone(), none.clone()]).await.unwrap();
    assert_eq!(deleted[&first].as_ref().unwrap().keys().collect::<Vec<_>>(), [&read]);
    assert!(deleted[&none].as_ref().unwrap().is_empty(), "there is nothing to delete, and that is no error");
    is_denied(alice().describe_topics(["t"]).await.unwrap().remove("t").unwrap());

    is_denied(nobody.describe_acls(AclFilter::default()).await);
    nobody.create_acls([read.clone()]).await.unwrap().into_values().for_each(is_denied);
    nobody.delete_acls([topic]).await.unwrap().into_values().for_each(is_denied);
    assert_eq!(described(AclFilter::default()).await.len(), 2);
    assert!(root.dry_run().delete_acls([AclFilter::default()]).await.is_err());
    assert_eq!(read.to_string(), "Allow User:alice from *: Describe on Topic Literal t");
}

#[tokio::test(start_paused = true)]
async fn without_an_authorizer_there_are_no_acls() {
    let cluster = builder().in_memory().start().await.unwrap();
    let admin = client(&cluster).admin();
    let acl = AclBinding::allow(AclResourceType::Topic, "t", "User:alice", AclOperation::Read);
    let error = admin.describe_acls(AclFilter::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SecurityDisabled));
    assert_eq!(code(&admin.create_acls([acl.clone()]).await.unwrap()[&acl]), ErrorCode::SecurityDisabled);
    let filter = AclFilter::from(acl);
    assert_eq!(code(&admin.delete_acls([filter.clone()]).await.unwrap()[&filter]), ErrorCode::SecurityDisabled);
}

#[tokio::test(start_paused = true)]
async fn a_user_logs_in_by_the_password_that_it_was_given_until_it_is_taken_away() {
    let mechanisms = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
    let builder = builder().sasl(&mechanisms).authorizer(&["User:root"]).in_memory();
    let cluster = builder.start().await.unwrap();
    let (root, nobody) = (admin_as(&cluster, "User:root"), admin_as(&cluster, "User:nobody"));
    let (small, large) = (ScramMechanism::Sha256, ScramMechanism::Sha512);
    let changes = [
        UserChange::upsert("alice", small, "one"),
        UserChange::upsert("alice", large, "two").iterations(8192),
        UserChange::delete("carol", small),
        UserChange::upsert("", small, "x"),
    ];
    let told = root.alter_users(changes).await.unwrap();
    assert!(told["alice"].is_ok());
    assert_eq!(code(&told["carol"]), ErrorCode::ResourceNotFound);
    assert_eq!(code(&told[""]), ErrorCode::UnacceptableCredential);
    let error = root.alter_users([UserChange::upsert("bob", small, "x").iterations(4095)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

    let all = root.describe_users(Vec::<&str>::new()).await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["alice"]);
    let told = root.describe_users(["alice", "carol"]).await.unwrap();
    let known: Vec<_> = told["alice"]
        .as_ref()
        .unwrap()
        .iter()
        .map(|credential| (credential.mechanism, credential.iterations))
        .collect();
    assert_eq!(known, [(small, 4096), (large, 8192)]);
    assert_eq!(code(&told["carol"]), ErrorCode::ResourceNotFound);

    let log_in = async |scram: Scram| Client::connect(cluster.client_config().sasl(scram)).await.map(drop);
    log_in(Scram::sha256("alice", "one")).await.unwrap();
    log_in(Scram::sha512("alice", "two")).await.unwrap();
    is_denied(log_in(Scram::sha512("alice", "one")).await);
    root.alter_users([UserChange::delete("alice", large)]).await.unwrap().remove("alice").unwrap().unwrap();
    is_denied(log_in(Scram::sha512("alice", "two")).await);
    log_in(Scram::sha256("alice", "one")).await.unwrap();

    is_denied(nobody.describe_users(["alice"]).await);
    let changes = [UserChange::upsert("eve", small, "x"), UserChange::delete("alice", small)];
    nobody.alter_users(changes).await.unwrap().into_values().for_each(is_denied);
    assert!(!format!("{:?}", UserChange::upsert("bob", small, "open sesame")).contains("sesame"));
}

#[tokio::test(start_paused = true)]
async fn quotas_are_set_looked_up_and_taken_away() {
    let (_cluster, root, nobody) = guarded(builder()).await;
    let alice = QuotaEntity::default().user("alice");
    let both = alice.clone().client_id("app");
    let everybody = QuotaEntity::default().default_user();
    let rate = |rate: f64| vec![("producer_byte_rate".to_owned(), Some(rate))];
    let wrong = QuotaEntity::default().ip("10.0.0.1");
    let changes = || {
        [
            (alice.clone(), rate(1e6)),
            (both.clone(), rate(5e5)),
            (everybody.clone(), rate(1e7)),
            (wrong.clone(), rate(1.)),
        ]
    };
    let dry = root.dry_run().alter_quotas(changes()).await.unwrap();
    assert_eq!((dry.len(), code(&dry[&wrong])), (4, ErrorCode::InvalidRequest));
    assert!(root.describe_quotas(QuotaFilter::default()).await.unwrap().is_empty());
    let set = root.alter_quotas(changes()).await.unwrap();
    assert!(set[&alice].is_ok() && set[&both].is_ok() && set[&everybody].is_ok());
    assert_eq!(code(&set[&wrong]), ErrorCode::InvalidRequest);

    let found = async |filter: QuotaFilter| root.describe_quotas(filter).await.unwrap();
    assert_eq!(found(QuotaFilter::default()).await.len(), 3);
    let exactly = found(QuotaFilter::default().user("alice").strict()).await;
    assert_eq!(exactly, BTreeMap::from([(alice.clone(), BTreeMap::from([("producer_byte_rate".to_owned(), 1e6)]))]));
    assert_eq!(found(QuotaFilter::default().user("alice")).await.len(), 2);
    assert_eq!(found(QuotaFilter::default().default_user()).await.len(), 1);
    assert_eq!(found(QuotaFilter::default().any_user().any_client_id()).await.keys().collect::<Vec<_>>(), [&both]);
    assert!(found(QuotaFilter::default().user("carol")).await.is_empty());
    let taken = (alice.clone(), vec![("producer_byte_rate".to_owned(), None)]);
    root.alter_quotas([taken]).await.unwrap().into_values().for_each(Result::unwrap);
    assert_eq!(found(QuotaFilter::default()).await.len(), 2);
    assert_eq!(both.to_string(), "client-id app, user alice");

    is_denied(nobody.describe_quotas(QuotaFilter::default()).await);
    nobody.alter_quotas([(alice, rate(1.))]).await.unwrap().into_values().for_each(is_denied);
}
