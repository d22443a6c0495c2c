//! The disks of brokers, and what is on them.

use super::places::AtEachBroker;
use super::{Admin, Outcomes, outcome, text};
use crate::error::{Error, Result};
use crate::ids::{NodeId, TopicPartition};
use crate::wire::messages::DescribeLogDirsRequest;
use crate::wire::messages::describe_log_dirs_response::DescribeLogDirsResult;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One folder of a broker (`log.dirs`).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogDir {
    /// Where it is.
    pub path: String,
    /// What is wrong with it: `KafkaStorageError` if its disk has failed.
    pub error: Option<Error>,
    /// The size of its disk; `None` if the broker does not say (before 3.3, KIP-827).
    pub total_bytes: Option<i64>,
    /// What is free of that.
    pub usable_bytes: Option<i64>,
    /// What is in it.
    pub replicas: BTreeMap<TopicPartition, LogDirReplica>,
}

/// A replica in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDirReplica {
    /// Its bytes.
    pub size: i64,
    /// How many records it is behind its high watermark, or, of one that is to be, behind the replica that it is to replace.
    pub offset_lag: i64,
    /// It is on its way into this folder from another.
    pub future: bool,
}

impl Admin {
    /// The folders of these brokers, and what is in them; of all brokers, if none is named. DescribeLogDirs (KIP-113).
    ///
    /// # Errors
    /// Per broker: `BrokerNotAvailable` for one that is not there, `Denied` (Describe on the cluster; brokers before 3.0 name
    /// no folders instead), or no answer in time.
    pub async fn describe_log_dirs(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Result<Outcomes<Vec<LogDir>, NodeId>> {
        let deadline = self.deadline();
        let mut nodes: BTreeMap<NodeId, ()> = nodes.into_iter().map(|node| (node, ())).collect();
        if nodes.is_empty() {
            nodes = self.brokers(deadline).await?;
        }
        let ask = self.ask(AtEachBroker, nodes).until(deadline);
        ask.send(
            |_, _| DescribeLogDirsRequest::default().with_topics(None),
            |answer, way| {
                let told = outcome(answer.error_code, None, None);
                let dirs = told.map(|()| answer.results.into_iter().map(log_dir).collect());
                Ok(way.node.map(|node| (node, dirs)).into_iter().collect())
            },
        )
        .await
    }
}

fn log_dir(dir: DescribeLogDirsResult) -> LogDir {
    let bytes = |bytes: i64| (bytes >= 0).then_some(bytes);
    let mut replicas = BTreeMap::new();
    for topic in &dir.topics {
        let name: Arc<str> = topic.name.as_str().into();
        replicas.extend(topic.partitions.iter().map(|one| {
            let replica =
                LogDirReplica { size: one.partition_size, offset_lag: one.offset_lag, future: one.is_future_key };
            (TopicPartition::new(name.clone(), one.partition_index), replica)
        }));
    }
    LogDir {
        path: text(&dir.log_dir),
        error: outcome(dir.error_code, None, None).err(),
        total_bytes: bytes(dir.total_bytes),
        usable_bytes: bytes(dir.usable_bytes),
        replicas,
    }
}
