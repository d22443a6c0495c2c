//! Configs of topics, brokers, groups and client metrics, and feature levels, over the wire.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::incremental_alter_configs_request as incremental;
use crate::wire::messages::update_features_request::FeatureUpdateKey;
use crate::wire::messages::{
    AlterConfigsRequest, ApiVersionsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    UpdateFeaturesRequest,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn text(text: &str) -> crate::wire::StrBytes {
    text.to_owned().into()
}

fn whole(resource: (i8, &str), configs: &[(&str, &str)]) -> AlterConfigsResource {
    let configs = configs
        .iter()
        .map(|(name, value)| AlterableConfig::default().with_name(text(name)).with_value(Some(text(value))));
    AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(text(resource.1))
        .with_configs(configs.collect())
}

impl Peer {
    async fn replace_configs(&mut self, resources: Vec<AlterConfigsResource>) -> Vec<Option<ErrorCode>> {
        let answer = self.call(2, &AlterConfigsRequest::default().with_resources(resources)).await;
        answer.responses.iter().map(|one| ErrorCode::from_wire(one.error_code)).collect()
    }

    async fn change_config(
        &mut self,
        resource: (i8, &str),
        name: &str,
        operation: i8,
        value: &str,
    ) -> Option<ErrorCode> {
        let config = incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(Some(text(value)).filter(|_| operation != DELETE));
        let resource = incremental::AlterConfigsResource::default()
            .with_resource_type(resource.0)
            .with_resource_name(text(resource.1))
            .with_configs(vec![config]);
        let answer = self.call(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await;
        ErrorCode::from_wire(answer.responses[0].error_code)
    }

    /// A config's value and where it comes from; without one, the code.
    async fn config(&mut self, resource: (i8, &str), name: &str) -> Result<(String, i8), Option<ErrorCode>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(resource.0)
            .with_resource_name(text(resource.1))
            .with_configuration_keys(Some(vec![text(name)]));
        let result =
            self.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).await.results.remove(0);
        let config = result.configs.first().ok_or(ErrorCode::from_wire(result.error_code))?;
        Ok((config.value.as_ref().expect("none is secret").to_string(), config.config_source))
    }
}

fn value(value: &str, source: i8) -> Result<(String, i8), Option<ErrorCode>> {
    Ok((value.to_owned(), source))
}

async fn cluster() -> (TestCluster, Peer) {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.expect("in memory nothing can fail");
    let peer = Peer::connect(&cluster, 1).await;
    (cluster, peer)
}

#[tokio::test(start_paused = true)]
async fn the_old_api_replaces_everything_and_the_new_one_changes_what_it_names() {
    let (_cluster, mut peer) = cluster().await;
    let t = (TOPIC, "t");
    assert_eq!(peer.replace_configs(vec![whole(t, &[("retention.ms", "5"), ("segment.ms", "6")])]).await, [None]);
    assert_eq!(peer.change_config(t, "retention.ms", SET, "7").await, None);
    assert_eq!(
        (peer.config(t, "retention.ms").await, peer.config(t, "segment.ms").await),
        (value("7", 1), value("6", 1))
    );
    assert_eq!(peer.replace_configs(vec![whole(t, &[("segment.ms", "8")])]).await, [None]);
    assert_eq!(peer.config(t, "retention.ms").await, value("604800000", 5), "taken back by not being named");
    assert_eq!(peer.change_config(t, "cleanup.policy", APPEND, "compact,delete").await, None);
    assert_eq!(peer.config(t, "cleanup.policy").await, value("delete,compact", 1));
    assert_eq!(peer.change_config(t, "cleanup.policy", SUBTRACT, "delete").await, None);
    assert_eq!(peer.config(t, "cleanup.policy").await, value("compact", 1));
    assert_eq!(peer.change_config(t, "cleanup.policy", DELETE, "").await, None);
    assert_eq!(peer.config(t, "cleanup.policy").await, value("delete", 5));

    use ErrorCode::{InvalidConfig, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition};
    let twice = [whole(t, &[]), whole(t, &[]), whole((TOPIC, "none"), &[]), whole(t, &[("no.such", "1")])];
    let [first, second, none, unknown] = twice;
    assert_eq!(peer.replace_configs(vec![first, second]).await, [Some(InvalidRequest); 2]);
    let outcomes = peer.replace_configs(vec![none, unknown]).await;
    assert_eq!(outcomes, [Some(UnknownTopicOrPartition), Some(InvalidConfig)]);
    let same = whole(t, &[("segment.ms", "1"), ("segment.ms", "2")]);
    assert_eq!(peer.replace_configs(vec![same]).await, [Some(InvalidRequest)]);
    assert_eq!(peer.replace_configs(vec![whole((TOPIC, "bad name"), &[])]).await, [Some(InvalidTopicException)]);
    assert_eq!(peer.replace_configs(vec![whole((8, "1"), &[])]).await, [Some(InvalidRequest)], "loggers");
    let only = AlterConfigsRequest::default().with_validate_only(true).with_resources(vec![whole(t, &[])]);
    peer.call(1, &only).await;
    assert_eq!(peer.config(t, "segment.ms").await, value("8", 1));
}

#[tokio::test(start_paused = true)]
async fn a_brokers_largest_batch_can_be_changed_while_it_runs_and_its_other_configs_can_not() {
    let (_cluster, mut peer) = cluster().await;
    let (own, all) = ((BROKER, "1"), (BROKER, ""));
    let refused = Some(ErrorCode::InvalidRequest);
    assert_eq!(peer.change_config(own, "num.partitions", SET, "2").await, refused);
    assert_eq!(peer.change_config(own, "message.max.bytes", SET, "x").await, refused);
    assert_eq!(peer.change_config((BROKER, "2"), "message.max.bytes", SET, "1").await, refused, "another broker");
    assert_eq!(peer.config((BROKER, "2"), "message.max.bytes").await, Err(refused));
    let large = batch(&[(1, &*"x".repeat(500))]);
    assert_eq!(peer.produce("t", 0, large.clone()).await.error_code, 0);
    assert_eq!(peer.change_config(all, "message.max.bytes", SET, "400").await, None);
    assert_eq!(peer.config(own, "message.max.bytes").await, value("400", 3));
    assert_eq!(peer.config((TOPIC, "t"), "max.message.bytes").await, value("400", 3));
    assert_eq!(peer.produce("t", 0, large.clone()).await.error_code, ErrorCode::MessageTooLarge.to_wire());
    assert_eq!(peer.change_config(own, "message.max.bytes", SET, "900").await, None);
    assert_eq!(peer.config(own, "message.max.bytes").await, value("900", 2));
    assert_eq!(peer.produce("t", 0, large).await.error_code, 0);
    assert_eq!(peer.change_config(own, "some.plugin", SET, "x").await, None, "Kafka takes what it does not know");
}

#[tokio::test(start_paused = true)]
async fn groups_and_client_metrics_have_configs_of_their_own() {
    let (cluster, mut peer) = cluster().await;
    let (group, metrics) = ((GROUP, "g"), (METRICS, "m"));
    assert_eq!(peer.config(group, "consumer.session.timeout.ms").await, value("45000", 5));
    assert_eq!(peer.change_config(group, "consumer.session.timeout.ms", SET, "50000").await, None);
    assert_eq!(peer.config(group, "consumer.session.timeout.ms").await, value("50000", 8));
    let session = |group: &str| cluster.shared.state().consumer_group_settings(group).session_timeout.as_secs();
    assert_eq!((session("g"), session("h")), (50, 45), "it holds for this group");
    let refused = Some(ErrorCode::InvalidConfig);
    assert_eq!(peer.change_config(group, "consumer.session.timeout.ms", SET, "1").await, refused);
    assert_eq!(peer.change_config(group, "no.such", SET, "1").await, refused);
    assert_eq!(peer.change_config(metrics, "interval.ms", SET, "1000").await, None);
    assert_eq!(peer.config(metrics, "interval.ms").await, value("1000", 7));
    assert_eq!(peer.change_config(metrics, "match", SET, "client_id=a.*,client_software_name=x").await, None);
    assert_eq!(peer.change_config(metrics, "match", SET, "colour=blue").await, refused);
    let refused = Some(ErrorCode::InvalidRequest);
    assert_eq!(peer.change_config(metrics, "interval.ms", SET, "1").await, refused);
    assert_eq!(peer.change_config((METRICS, ""), "interval.ms", SET, "1000").await, refused);
    assert_eq!(peer.config((GROUP, ""), "consumer.session.timeout.ms").await, Err(refused));
}

#[tokio::test(start_paused = true)]
async fn a_feature_goes_down_only_where_that_is_said_and_clients_see_it_when_they_connect() {
    let (_cluster, mut peer) = cluster().await;
    macro_rules! update {
        ($feature:expr, $level:expr, $kind:expr) => {{
            let update = FeatureUpdateKey::default().with_feature(text($feature)).with_max_version_level($level);
            let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update.with_upgrade_type($kind)]);
            ErrorCode::from_wire(peer.call(2, &request).await.error_code)
        }};
    }
    macro_rules! level {
        () => {{
            let request = ApiVersionsRequest::default().with_client_software_name(text("peer"));
            let answer = peer.call(4, &request.with_client_software_version(text("1"))).await;
            let mut named = answer.finalized_features.iter().filter(|one| &*one.name == "transaction.version");
            let level = named.next().map(|feature| feature.max_version_level);
            (level, answer.finalized_features_epoch)
        }};
    }
    let refused = Some(ErrorCode::InvalidUpdateVersion);
    assert_eq!(update!("transaction.version", 1, 1), refused, "that is down");
    assert_eq!(update!("transaction.version", 3, 1), refused);
    assert_eq!(update!("no.such", 1, 1), refused);
    assert_eq!(level!(), (Some(2), 0));
    assert_eq!(update!("transaction.version", 1, 2), None);
    assert_eq!(level!(), (Some(1), 1));
    assert_eq!(update!("transaction.version", 2, 2), refused, "that is up");
    assert_eq!(update!("transaction.version", 0, 3), None);
    assert_eq!(level!(), (None, 2));
    assert_eq!(update!("transaction.version", 2, 1), None);
    assert_eq!(level!(), (Some(2), 3));
}
