//! The cluster: its brokers, and what they can do together (features, KIP-584).

use super::ask::{Doing, Way};
use super::places::{AtAnybody, AtController};
use super::{AclOperation, Admin, Outcomes, each_once, outcome, text};
use crate::error::{ErrorKind, Result};
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::api_versions::api_versions_request;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::update_features_request::FeatureUpdateKey;
use crate::wire::messages::{
    ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
    UpdateFeaturesRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A cluster and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Option<String>,
    /// Who takes changes of topics. With KRaft some broker, which passes them on; `None` while there is no controller.
    pub controller: Option<NodeId>,
    /// By id.
    pub brokers: Vec<BrokerDescription>,
    /// What we may do with the cluster, if [`Admin::with_authorized_operations`] has asked.
    pub authorized_operations: Option<BTreeSet<AclOperation>>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub node: NodeId,
    /// Where it listens for clients such as us.
    pub host: String,
    /// On this port.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// It is registered, and not in service: it catches up, or is away (KIP-1073, told by brokers from 4.0).
    pub fenced: bool,
}

/// What brokers can do together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// The lowest and highest level of each feature that the broker that was asked has.
    pub supported: BTreeMap<String, (i16, i16)>,
    /// The level of each that the cluster is at; one that is not here is at 0.
    pub finalized: BTreeMap<String, i16>,
    /// How often that has changed; `None` if the broker does not know.
    pub epoch: Option<i64>,
}

/// A feature, and the level that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    feature: String,
    level: i16,
    upgrade_type: i8,
}

impl FeatureUpdate {
    /// Up to this level.
    pub fn upgrade(feature: impl Into<String>, level: i16) -> Self {
        Self { feature: feature.into(), level, upgrade_type: 1 }
    }

    /// Down to this level, if nothing is lost by that; 0 takes the feature away.
    pub fn downgrade(feature: impl Into<String>, level: i16) -> Self {
        Self { upgrade_type: 2, ..Self::upgrade(feature, level) }
    }

    /// Down to this level, whatever is lost by that.
    pub fn unsafe_downgrade(feature: impl Into<String>, level: i16) -> Self {
        Self { upgrade_type: 3, ..Self::upgrade(feature, level) }
    }
}

impl Admin {
    /// The cluster and its brokers. DescribeCluster (KIP-700), or Metadata of brokers before 2.8.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let deadline = self.deadline();
        let authorized = self.authorized_operations;
        let request = |way: Way<'_, ()>| {
            DescribeClusterRequest::default()
                .with_include_cluster_authorized_operations(authorized)
                .with_include_fenced_brokers(way.version >= 2)
        };
        match self.ask_one(AtAnybody).until(deadline).send_one(request, described).await {
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => self.cluster_by_metadata(deadline).await,
            done => done,
        }
    }

    async fn cluster_by_metadata(&self, deadline: Instant) -> Result<ClusterDescription> {
        let authorized = self.authorized_operations;
        let request = |way: Way<'_, ()>| {
            let request = MetadataRequest::default().with_topics(Some(vec![]));
            request.with_include_cluster_authorized_operations(authorized && (8..=10).contains(&way.version))
        };
        let read = |answer: MetadataResponse, _: Way<'_, ()>| {
            let brokers = answer.brokers.into_iter().map(|broker| BrokerDescription {
                node: NodeId(broker.node_id.0),
                host: text(&broker.host),
                port: u16::try_from(broker.port).unwrap_or_default(),
                rack: broker.rack.as_ref().map(text),
                fenced: false,
            });
            Ok(cluster(
                answer.cluster_id,
                answer.controller_id.0,
                brokers.collect(),
                answer.cluster_authorized_operations,
            ))
        };
        self.ask_one(AtAnybody).until(deadline).send_one(request, read).await
    }

    /// The features of the cluster, as one broker tells of them. ApiVersions (KIP-584, brokers from 2.7; those with ZooKeeper
    /// have none).
    ///
    /// # Errors
    /// `UnsupportedVersion`, or no broker answers in time.
    pub async fn describe_features(&self) -> Result<Features> {
        let request = |way: Way<'_, ()>| api_versions_request(way.version);
        let read = |answer: ApiVersionsResponse, _: Way<'_, ()>| {
            outcome(answer.error_code, None, None)?;
            let supported = answer.supported_features.iter();
            let epoch = Some(answer.finalized_features_epoch).filter(|epoch| *epoch >= 0);
            let finalized = answer.finalized_features.iter().filter(|_| epoch.is_some());
            Ok(Features {
                supported: supported.map(|one| (text(&one.name), (one.min_version, one.max_version))).collect(),
                finalized: finalized.map(|one| (text(&one.name), one.max_version_level)).collect(),
                epoch,
            })
        };
        self.ask_one(AtAnybody).versions(3..=i16::MAX).send_one(request, read).await
    }

    /// Brings features to other levels, all or none. In a [dry run](Self::dry_run) it is only checked. UpdateFeatures, to the
    /// controller (KIP-584, brokers from 2.7; the dry run from 3.3).
    ///
    /// # Errors
    /// Per feature: `InvalidUpdateVersion`, `FeatureUpdateFailed`; newer brokers say so of all together. For all:
    /// `InvalidArgument` for a feature that is named twice, `Denied` (Alter on the cluster), `UnsupportedVersion`, or no
    /// controller in time.
    pub async fn update_features(&self, updates: impl IntoIterator<Item = FeatureUpdate>) -> Result<Outcomes<()>> {
        let updates = each_once(updates.into_iter().map(|update| (update.feature.clone(), update)))?;
        // v0 has no dry run, and would do it.
        let least = if self.dry_run { 1 } else { 0 };
        let ask = self.ask(AtController, updates).doing(Doing::Checkable).versions(least..=i16::MAX);
        ask.send(
            |updates, way| {
                let updates = updates.iter().map(|(feature, update)| {
                    let key = FeatureUpdateKey::default().with_feature(str_bytes(feature));
                    let key = key.with_max_version_level(update.level);
                    match way.version {
                        0 => key.with_allow_downgrade(update.upgrade_type > 1),
                        _ => key.with_upgrade_type(update.upgrade_type),
                    }
                });
                UpdateFeaturesRequest::default()
                    .with_feature_updates(updates.collect())
                    .with_timeout_ms(way.timeout_ms)
                    .with_validate_only(self.dry_run)
            },
            |answer, way| {
                outcome(answer.error_code, answer.error_message, None)?;
                if way.version >= 2 {
                    return Ok(way.keys.iter().map(|feature| (feature.clone(), Ok(()))).collect());
                }
                let results = answer.results.into_iter();
                Ok(results.map(|one| (text(&one.feature), outcome(one.error_code, one.error_message, None))).collect())
            },
        )
        .await
    }
}

fn described(answer: DescribeClusterResponse, _: Way<'_, ()>) -> Result<ClusterDescription> {
    outcome(answer.error_code, answer.error_message, None)?;
    let brokers = answer.brokers.into_iter().map(|broker| BrokerDescription {
        node: NodeId(broker.broker_id.0),
        host: text(&broker.host),
        port: u16::try_from(broker.port).unwrap_or_default(),
        rack: broker.rack.as_ref().map(text),
        fenced: broker.is_fenced,
    });
    let operations = answer.cluster_authorized_operations;
    Ok(cluster(Some(answer.cluster_id), answer.controller_id.0, brokers.collect(), operations))
}

fn cluster(
    cluster_id: Option<StrBytes>,
    controller: i32,
    mut brokers: Vec<BrokerDescription>,
    operations: i32,
) -> ClusterDescription {
    brokers.sort_by_key(|broker| broker.node);
    ClusterDescription {
        cluster_id: cluster_id.as_ref().map(text),
        controller: (controller >= 0).then_some(NodeId(controller)),
        brokers,
        authorized_operations: AclOperation::from_bits(operations),
    }
}
