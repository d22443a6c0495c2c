//! The admin of configs: of every kind of resource, several in one call, each asked of the right broker.

use super::{client, code, guarded, is_denied};
use milena::admin::{ConfigChange, ConfigQuery, ConfigResource, ConfigSource, ConfigType};
use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use milena::ids::NodeId;

fn topic(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.into())
}

async fn cluster() -> TestCluster {
    TestCluster::builder().brokers(3).topic("t", 1).topic("u", 1).in_memory().start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_resource_is_asked_of_the_broker_that_it_is_about() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    cluster.reset_requests();
    let broker = ConfigResource::Broker;
    let all = [topic("t"), topic("missing"), broker(NodeId(1)), broker(NodeId(3)), broker(NodeId(9))];
    let query = ConfigQuery::new(all.into_iter().chain([ConfigResource::ClusterDefault]));
    let told = admin.describe_config_resources(query).await.unwrap();
    assert_eq!(told.len(), 6);
    let asked = cluster.requests(ApiKey::DescribeConfigs).count;
    assert!((2..=3).contains(&asked), "{asked}: two brokers, and one about the rest");
    assert!(!told[&topic("t")].as_ref().unwrap().is_empty());
    assert_eq!(code(&told[&topic("missing")]), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&told[&broker(NodeId(9))]), ErrorCode::BrokerNotAvailable);
    assert!(told[&ConfigResource::ClusterDefault].as_ref().unwrap().is_empty());
    let read_only = told[&broker(NodeId(3))].as_ref().unwrap().iter().filter(|config| config.read_only);
    assert!(read_only.count() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_told_with_where_else_it_could_come_from() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let set = |value: &str| vec![ConfigChange::set("message.max.bytes", value)];
    let changes = [
        (topic("t"), vec![ConfigChange::set("max.message.bytes", "1000")]),
        (ConfigResource::Broker(NodeId(2)), set("2000")),
        (ConfigResource::ClusterDefault, set("3000")),
    ];
    admin.alter_config_resources(changes).await.unwrap().into_values().for_each(Result::unwrap);
    let query = ConfigQuery::new([ConfigResource::Broker(NodeId(2)), topic("t")]);
    let query = query.names(["message.max.bytes", "max.message.bytes"]).synonyms().documentation();
    let told = admin.describe_config_resources(query).await.unwrap();
    let [broker] = &told[&ConfigResource::Broker(NodeId(2))].as_ref().unwrap()[..] else { panic!("{told:?}") };
    assert_eq!((broker.value.as_deref(), broker.source), (Some("2000"), ConfigSource::DynamicBroker));
    assert_eq!(broker.config_type, ConfigType::Int);
    let sources: Vec<_> = broker.synonyms.iter().map(|other| (other.value.as_deref(), other.source)).collect();
    assert_eq!(
        sources[..2],
        [(Some("2000"), ConfigSource::DynamicBroker), (Some("3000"), ConfigSource::DynamicClusterDefault)]
    );
    let [topic] = &told[&topic("t")].as_ref().unwrap()[..] else { panic!("{told:?}") };
    assert_eq!((topic.value.as_deref(), topic.synonyms[0].source), (Some("1000"), ConfigSource::Topic));
    let delete = (ConfigResource::ClusterDefault, vec![ConfigChange::delete("message.max.bytes")]);
    admin.alter_config_resources([delete]).await.unwrap().into_values().for_each(Result::unwrap);
    let told = admin.describe_config_resources(ConfigQuery::new([ConfigResource::ClusterDefault])).await.unwrap();
    assert!(told[&ConfigResource::ClusterDefault].as_ref().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lists_grow_and_shrink_and_a_dry_run_changes_nothing() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let policy = async || {
        let configs = admin.describe_configs("t").await.unwrap().into_iter();
        configs.filter(|config| config.name == "cleanup.policy").map(|config| config.value.unwrap()).collect::<String>()
    };
    let append = || (topic("t"), vec![ConfigChange::append("cleanup.policy", "compact")]);
    let wrong = (topic("u"), vec![ConfigChange::set("retention.ms", "soon")]);
    let dry = admin.dry_run().alter_config_resources([append(), wrong.clone()]).await.unwrap();
    assert!(dry[&topic("t")].is_ok());
    assert_eq!(code(&dry[&topic("u")]), ErrorCode::InvalidConfig);
    assert_eq!(policy().await, "delete");
    let changed = admin.alter_config_resources([append(), wrong]).await.unwrap();
    assert!(changed[&topic("t")].is_ok() && changed[&topic("u")].is_err());
    assert_eq!(policy().await, "delete,compact");
    let subtract = (topic("t"), vec![ConfigChange::subtract("cleanup.policy", "delete")]);
    admin.alter_config_resources([subtract]).await.unwrap().into_values().for_each(Result::unwrap);
    assert_eq!(policy().await, "compact");
    let missing = (topic("missing"), vec![ConfigChange::delete("retention.ms")]);
    let told = admin.alter_config_resources([missing.clone()]).await.unwrap();
    assert_eq!(code(&told[&topic("missing")]), ErrorCode::UnknownTopicOrPartition);
    assert!(admin.alter_config_resources([missing.clone(), missing]).await.is_err(), "which of the two is meant?");
}

#[tokio::test(start_paused = true)]
async fn groups_and_client_metrics_have_configs_too_and_are_listed_then() {
    let cluster = cluster().await;
    let admin = client(&cluster).admin();
    let (group, metrics) = (ConfigResource::Group("g".into()), ConfigResource::ClientMetrics("m".into()));
    let changes = [
        (group.clone(), vec![ConfigChange::set("consumer.session.timeout.ms", "50000")]),
        (metrics.clone(), vec![ConfigChange::set("interval.ms", "1000")]),
    ];
    admin.alter_config_resources(changes).await.unwrap().into_values().for_each(Result::unwrap);
    let told = admin.describe_config_resources(ConfigQuery::new([group.clone(), metrics.clone()])).await.unwrap();
    let set = |resource| {
        let configs = told[resource].as_ref().unwrap().iter();
        let set = configs.filter(|config| matches!(config.source, ConfigSource::Group | ConfigSource::ClientMetrics));
        set.map(|config| config.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!((set(&group), set(&metrics)), (vec!["consumer.session.timeout.ms".into()], vec!["interval.ms".into()]));
    let listed = admin.list_config_resources().await.unwrap();
    assert!(listed.contains(&group) && listed.contains(&metrics) && listed.contains(&topic("u")));
    assert!(listed.contains(&ConfigResource::Broker(NodeId(3))));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_so_resource_by_resource() {
    let (_cluster, root, nobody) = guarded(TestCluster::builder().brokers(2).topic("t", 1)).await;
    let all = || [topic("t"), ConfigResource::Broker(NodeId(2)), ConfigResource::Group("g".into())];
    let told = nobody.describe_config_resources(ConfigQuery::new(all())).await.unwrap();
    assert_eq!(told.len(), 3);
    told.into_values().for_each(is_denied);
    let changes = all().map(|resource| (resource, vec![ConfigChange::delete("retention.ms")]));
    nobody.alter_config_resources(changes).await.unwrap().into_values().for_each(is_denied);
    is_denied(nobody.describe_configs("t").await);
    is_denied(nobody.alter_configs("t", [("retention.ms", None)]).await);
    is_denied(nobody.list_config_resources().await);
    assert!(root.describe_configs("t").await.is_ok());
}
