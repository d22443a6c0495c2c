//! The quorum that keeps the cluster's metadata (KRaft, KIP-595).

use super::ask::Way;
use super::partitions::name;
use super::places::AtAnybody;
use super::{Admin, outcome, text};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::wire::messages::describe_quorum_request::{PartitionData, TopicData};
use crate::wire::messages::describe_quorum_response::ReplicaState;
use crate::wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The log of the cluster's metadata.
const METADATA: &str = "__cluster_metadata";

/// The quorum as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumDescription {
    /// The controller that is active.
    pub leader: NodeId,
    /// How often that has changed.
    pub leader_epoch: i32,
    /// What the majority has.
    pub high_watermark: i64,
    /// Those who decide.
    pub voters: Vec<QuorumReplica>,
    /// Those who follow: brokers, and controllers that don't vote.
    pub observers: Vec<QuorumReplica>,
    /// Where voters listen (KIP-853, told by brokers from 3.9).
    pub endpoints: BTreeMap<NodeId, Vec<QuorumEndpoint>>,
}

/// A replica of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumReplica {
    /// Whose it is.
    pub node: NodeId,
    /// The id of the folder that it is in (KIP-853); `None` if the broker does not say.
    pub directory: Option<Uuid>,
    /// How far it has got.
    pub log_end: i64,
    /// When it last fetched, in milliseconds since 1970; `None` if that is not known, or it is the leader (KIP-836).
    pub last_fetch: Option<i64>,
    /// When it last had all that the leader had, in milliseconds since 1970.
    pub last_caught_up: Option<i64>,
}

/// Where a voter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumEndpoint {
    /// The listener's name.
    pub listener: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Admin {
    /// The quorum of controllers. DescribeQuorum (KIP-595, KRaft brokers from 3.3).
    ///
    /// # Errors
    /// `UnsupportedVersion` (with ZooKeeper there is none), `Denied` (Describe on the cluster), or no broker answers in time.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription> {
        let request = |_: Way<'_, ()>| {
            let topic = TopicData::default().with_topic_name(name(METADATA));
            let topic = topic.with_partitions(vec![PartitionData::default().with_partition_index(0)]);
            DescribeQuorumRequest::default().with_topics(vec![topic])
        };
        self.ask_one(AtAnybody).send_one(request, described).await
    }
}

fn described(answer: DescribeQuorumResponse, _: Way<'_, ()>) -> Result<QuorumDescription> {
    outcome(answer.error_code, answer.error_message, None)?;
    let partition = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let nothing = || Error::with_message(ErrorKind::Malformed, "nothing of the metadata in the answer");
    let partition = partition.ok_or_else(nothing)?;
    outcome(partition.error_code, partition.error_message, None)?;
    let endpoints = answer.nodes.iter().map(|node| {
        let listeners = node.listeners.iter().map(|one| QuorumEndpoint {
            listener: text(&one.name),
            host: text(&one.host),
            port: one.port,
        });
        (NodeId(node.node_id.0), listeners.collect())
    });
    Ok(QuorumDescription {
        leader: NodeId(partition.leader_id.0),
        leader_epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: partition.current_voters.iter().map(replica).collect(),
        observers: partition.observers.iter().map(replica).collect(),
        endpoints: endpoints.collect(),
    })
}

fn replica(replica: &ReplicaState) -> QuorumReplica {
    let time = |millis: i64| (millis >= 0).then_some(millis);
    QuorumReplica {
        node: NodeId(replica.replica_id.0),
        directory: Some(replica.replica_directory_id).filter(|id| !id.is_nil()),
        log_end: replica.log_end_offset,
        last_fetch: time(replica.last_fetch_timestamp),
        last_caught_up: time(replica.last_caught_up_timestamp),
    }
}
