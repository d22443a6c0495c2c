//! Where items belong: with the controller, with a group's or transaction's coordinator, with a partition's leader, with the
//! broker that they are about, or with anybody.

use super::Admin;
use super::ask::Source;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{CoordinatorKey, NodeId, TopicPartition};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Node(NodeId),
    Anybody,
}

impl Target {
    pub(super) fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Anybody => None,
        }
    }
}

/// For each item who is to be asked, or why nobody can be.
pub(super) type Found<K> = Vec<(K, Result<Target>)>;

/// Finds who is to be asked about items.
pub(super) trait Place<K>: Send + Sync {
    /// `again`: what was found before was wrong, or too early. Fails if nobody could be asked.
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<K>,
        again: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<K>>>;

    /// Codes that mean here that it is asked too early or of the wrong broker, beside those that always do.
    fn passes(&self, _code: ErrorCode, _from: Source) -> bool {
        false
    }
}

/// The controller. With ZooKeeper nobody else makes changes; with KRaft every broker says that it is the one, and passes them on.
pub(super) struct AtController;

/// Whoever answers.
pub(super) struct AtAnybody;

/// Each broker is asked about itself.
pub(super) struct AtEachBroker;

/// The leader of each partition.
pub(super) struct AtLeaders;

/// The coordinators of groups, or of transactional ids, all found by one FindCoordinator (KIP-699) where brokers have that.
pub(super) enum AtCoordinators {
    OfGroups,
    OfTransactions,
}

/// The coordinator of one group, whatever is asked of it.
pub(super) struct AtCoordinatorOf<'g>(pub &'g str);

impl<K: Send + 'static> Place<K> for AtController {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<K>,
        again: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<K>>> {
        Box::pin(async move {
            let target = admin.controller(again, deadline).await?;
            Ok(items.into_iter().map(|item| (item, Ok(target))).collect())
        })
    }
}

impl<K: Send + 'static> Place<K> for AtAnybody {
    fn find<'a>(&'a self, _: &'a Admin, items: Vec<K>, _: bool, _: Instant) -> BoxFuture<'a, Result<Found<K>>> {
        Box::pin(async move { Ok(items.into_iter().map(|item| (item, Ok(Target::Anybody))).collect()) })
    }
}

impl Place<NodeId> for AtEachBroker {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<NodeId>,
        _: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<NodeId>>> {
        Box::pin(async move {
            admin.meet(items.iter().copied().collect(), deadline).await;
            Ok(items.into_iter().map(|node| (node, admin.broker(node))).collect())
        })
    }
}

impl Place<TopicPartition> for AtLeaders {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<TopicPartition>,
        again: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<TopicPartition>>> {
        Box::pin(async move {
            if again {
                // Leaders that nobody knows the address of yet. Whether it works is seen when they are asked.
                let _ = admin.client.refreshed(admin.client.cluster().generation, deadline).await;
            }
            let topics: BTreeSet<_> = items.iter().map(|item| item.topic.clone()).collect();
            let topics = admin.topics_as_they_are(topics.into_iter().map(|topic| topic.to_string()), deadline).await?;
            let leader = |item: &TopicPartition| {
                let unknown = || Error::broker(ErrorCode::UnknownTopicOrPartition);
                let topic = match topics.get(&*item.topic) {
                    Some(Ok(topic)) => topic,
                    Some(Err(error)) => return Err(error.clone()),
                    None => return Err(unknown()),
                };
                let partition = topic.partitions.iter().find(|other| other.partition == item.partition);
                let leader = partition.ok_or_else(unknown)?.leader;
                leader.map(Target::Node).ok_or_else(|| Error::broker(ErrorCode::LeaderNotAvailable))
            };
            let find = |item: TopicPartition| {
                let leader = leader(&item).map_err(|error| error.api("Metadata").partition(item.clone()));
                (item, leader)
            };
            Ok(items.into_iter().map(find).collect())
        })
    }

    /// A new leader may not have heard yet that there is such a topic.
    fn passes(&self, code: ErrorCode, from: Source) -> bool {
        from == Source::Answer && code == ErrorCode::UnknownTopicOrPartition
    }
}

impl Place<String> for AtCoordinators {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<String>,
        _: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<String>>> {
        Box::pin(async move {
            let key_type = match self {
                Self::OfGroups => 0,
                Self::OfTransactions => 1,
            };
            let found = admin.client.find_coordinators(key_type, &items, deadline).await?;
            Ok(items.into_iter().zip(found).map(|(item, node)| (item, node.map(Target::Node))).collect())
        })
    }
}

impl<K: Send + 'static> Place<K> for AtCoordinatorOf<'_> {
    fn find<'a>(
        &'a self,
        admin: &'a Admin,
        items: Vec<K>,
        _: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found<K>>> {
        Box::pin(async move {
            let target =
                Target::Node(admin.client.find_coordinator(&CoordinatorKey::Group(self.0.into()), deadline).await?);
            Ok(items.into_iter().map(|item| (item, Ok(target))).collect())
        })
    }
}

impl Admin {
    async fn controller(&self, again: bool, deadline: Instant) -> Result<Target> {
        let mut cluster = self.client.cluster();
        if again || cluster.controller.is_none() {
            cluster = self.client.refreshed(cluster.generation, deadline).await?;
        }
        let nobody = || Error::broker(ErrorCode::NotController).message("the cluster has no controller now");
        cluster.controller.map(Target::Node).ok_or_else(nobody)
    }

    /// Looks for brokers that are not known yet. Whether they are found is seen when they are asked.
    pub(super) async fn meet(&self, nodes: BTreeSet<NodeId>, deadline: Instant) {
        let cluster = self.client.cluster();
        if !nodes.iter().all(|node| cluster.nodes.contains_key(node)) {
            let _ = self.client.refreshed(cluster.generation, deadline).await;
        }
    }

    /// A broker of the cluster as it is known.
    pub(super) fn broker(&self, node: NodeId) -> Result<Target> {
        if self.client.cluster().nodes.contains_key(&node) {
            return Ok(Target::Node(node));
        }
        let message = format!("the cluster has no broker {node} now");
        Err(Error::broker(ErrorCode::BrokerNotAvailable).message(message))
    }

    /// All brokers, as they are now.
    pub(super) async fn brokers(&self, deadline: Instant) -> Result<BTreeMap<NodeId, ()>> {
        let cluster = self.client.refreshed(self.client.cluster().generation, deadline).await?;
        Ok(cluster.nodes.keys().map(|node| (*node, ())).collect())
    }
}
