// Metadata: v0-13. DescribeCluster: v0-2.
//! Brokers, topics and leaders.
//!
//! - v0 takes an empty list for all topics, v1 and above null; v4 lets the client say no to auto-creation.
//! - v10 gives topic ids, v12 takes them too and may leave the name of an unknown id null. v10 and v11 have a place for one in
//!   the request, but no broker takes it: `INVALID_REQUEST`, and nothing else in the answer.
//! - An auto-created topic is answered the way Apache does: `UNKNOWN_TOPIC_OR_PARTITION` first, and it is there the next
//!   time. [Others](super::Emulation) say something else first, or nothing.
//! - A topic that is named twice is answered once.
//! - v8 gives the operations allowed on topics, v8-10 and DescribeCluster those on the cluster, when asked.
//! - Topics that may not be described are left out of all topics, and refused where they are asked for: in the same way
//!   whether there are such topics or not, and never with both name and id.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::fetch_sessions::FetchSessions;
use super::state::{Partition, State, Topic};
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::wire::StrBytes;
use crate::wire::messages::describe_cluster_response::DescribeClusterBroker;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse, TopicName,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

impl Api for MetadataRequest {
    async fn serve(self, on: Context) -> MetadataResponse {
        let by_id = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_nil();
        if on.version < 12 && self.topics.iter().flatten().any(by_id) {
            return self.refuse(ErrorCode::InvalidRequest);
        }
        let mut state = on.state();
        let topics = match &self.topics {
            Some(topics) if !(topics.is_empty() && on.version == 0) => {
                let mut seen = HashSet::new();
                let once = topics.iter().filter(|topic| seen.insert(meant(topic)));
                once.map(|topic| asked_for(&mut state, &on, topic, &self)).collect()
            }
            _ => {
                let may = |topic: &&Topic| on.may(&state, Operation::Describe, Resource::Topic(&topic.name)).is_ok();
                state.topics.values().filter(may).filter_map(|topic| described(&state, &on, topic, &self)).collect()
            }
        };
        let response = response(&state, on.node, on.version).with_topics(topics);
        if self.include_cluster_authorized_operations {
            return response.with_cluster_authorized_operations(on.cluster_operations(&state));
        }
        response
    }

    fn names_topic(&self, wanted: &Topic, _sessions: &FetchSessions) -> bool {
        let named = |name: &Option<TopicName>, id| wanted.is(name.as_ref().map_or("", |name| name), id);
        self.topics.iter().flatten().any(|topic| named(&topic.name, topic.topic_id))
    }

    fn refuse(&self, code: ErrorCode) -> MetadataResponse {
        let failed = |topic: &MetadataRequestTopic| {
            let name = topic.name.clone().or_else(|| Some(TopicName::default()));
            MetadataResponseTopic::default()
                .with_name(name)
                .with_topic_id(topic.topic_id)
                .with_error_code(code.to_wire())
        };
        let topics = self.topics.iter().flatten().map(failed).collect();
        MetadataResponse::default().with_controller_id(BrokerId(-1)).with_topics(topics)
    }
}

impl State {
    /// Where these brokers can be reached (host, port and rack), each once, in the order of their ids.
    pub(super) fn addresses(
        &self,
        mut nodes: Vec<NodeId>,
    ) -> impl Iterator<Item = (BrokerId, (StrBytes, i32, Option<StrBytes>))> {
        nodes.sort();
        nodes.dedup();
        nodes.into_iter().filter_map(|id| Some((BrokerId(id.0), self.nodes.get(&id)?.advertised())))
    }
}

fn response(state: &State, asked: NodeId, version: i16) -> MetadataResponse {
    let brokers = state.addresses(state.alive_to(asked)).map(|(id, (host, port, rack))| {
        let broker = MetadataResponseBroker::default().with_node_id(id).with_host(host).with_port(port);
        broker.with_rack(rack.filter(|_| version >= 1))
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from(state.cluster_id())))
        .with_controller_id(BrokerId(state.controller().map_or(-1, |id| id.0)))
}

/// By what a topic is asked for. Who asks by id may leave the name empty instead of null, as the Java client does.
fn meant(topic: &MetadataRequestTopic) -> Result<&str, Uuid> {
    topic.name.as_ref().filter(|_| topic.topic_id.is_nil()).map(|name| &***name).ok_or(topic.topic_id)
}

fn asked_for(
    state: &mut State,
    on: &Context,
    wanted: &MetadataRequestTopic,
    request: &MetadataRequest,
) -> MetadataResponseTopic {
    let unknown = |code: ErrorCode, name: Option<TopicName>| {
        MetadataResponseTopic::default()
            .with_topic_id(wanted.topic_id)
            .with_name(if on.version < 12 { name.or_else(|| Some(TopicName::default())) } else { name })
            .with_error_code(code.to_wire())
    };
    let by_id = !wanted.topic_id.is_nil();
    let name: Arc<str> = match meant(wanted) {
        Ok(name) => name.into(),
        Err(id) => match state.topic_name(TopicId(id.into_bytes())) {
            Some(name) => name,
            None => return unknown(ErrorCode::UnknownTopicId, None),
        },
    };
    if let Err(code) = on.may(state, Operation::Describe, Resource::Topic(&name)) {
        return unknown(code, Some(TopicName(name.to_string().into())).filter(|_| !by_id));
    }
    let wire_name = Some(TopicName(name.to_string().into()));
    if let Some(topic) = state.topics.get(&name) {
        let known = described(state, on, topic, request);
        return known.unwrap_or_else(|| unknown(ErrorCode::UnknownTopicOrPartition, wire_name));
    }
    // Before v4 the client can't say, and the broker's setting holds.
    if !state.settings.auto_create || (on.version >= 4 && !request.allow_auto_topic_creation) {
        return unknown(ErrorCode::UnknownTopicOrPartition, wire_name);
    }
    let may = on.may(state, Operation::Create, Resource::Cluster);
    if let Err(code) = may.or_else(|_| on.may(state, Operation::Create, Resource::Topic(&name))) {
        return unknown(code, wire_name);
    }
    let made = state.topic_spec(&name, -1, -1, BTreeMap::new()).and_then(|spec| state.create_topic(spec));
    let described = || described(state, on, state.topics.get(&name)?, request);
    match (made, on.shared.emulation.says_of_new_topic()) {
        (Err((code, _)), _) | (Ok(_), Some(code)) => unknown(code, wire_name),
        (Ok(_), None) => described().unwrap_or_else(|| unknown(ErrorCode::UnknownTopicOrPartition, wire_name)),
    }
}

/// Brokers as their numbers on the wire.
pub(super) fn ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

fn described(state: &State, on: &Context, topic: &Topic, request: &MetadataRequest) -> Option<MetadataResponseTopic> {
    let partitions = state.partitions_known_to(on.node, topic)?.iter().enumerate();
    let partitions = partitions.map(|(i, partition)| described_partition(state, on, i, partition));
    let described = MetadataResponseTopic::default()
        .with_name(Some(TopicName(topic.name.to_string().into())))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_partitions(partitions.collect());
    if request.include_topic_authorized_operations {
        let operations = on.operations(state, Resource::Topic(&topic.name));
        return Some(described.with_topic_authorized_operations(operations));
    }
    Some(described)
}

fn described_partition(state: &State, on: &Context, index: usize, partition: &Partition) -> MetadataResponsePartition {
    let (mut leader, mut in_sync, mut offline) = (partition.leader, partition.isr.clone(), state.offline(partition));
    if !on.shared.emulation.tells_who_is_away() {
        (leader, in_sync, offline) = (leader.or(partition.led_last), partition.replicas.clone(), Vec::new());
    }
    MetadataResponsePartition::default()
        .with_error_code(if leader.is_some() { 0 } else { ErrorCode::LeaderNotAvailable.to_wire() })
        .with_partition_index(index as i32)
        .with_leader_id(BrokerId(leader.map_or(-1, |node| node.0)))
        .with_leader_epoch(if on.version >= 7 { partition.leader_epoch } else { -1 })
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&in_sync))
        .with_offline_replicas(if on.version >= 5 { ids(&offline) } else { Vec::new() })
}

impl Api for DescribeClusterRequest {
    async fn serve(self, on: Context) -> DescribeClusterResponse {
        let state = on.state();
        if on.version >= 1 && self.endpoint_type != 1 {
            return self.refuse(ErrorCode::MismatchedEndpointType);
        }
        let brokers = state.alive().map(|(id, node)| {
            let (host, port, rack) = node.advertised();
            let broker = DescribeClusterBroker::default().with_broker_id(BrokerId(id.0)).with_host(host);
            broker.with_port(port).with_rack(rack)
        });
        let asked = self.include_cluster_authorized_operations;
        let operations = if asked { on.cluster_operations(&state) } else { i32::MIN };
        DescribeClusterResponse::default()
            .with_cluster_id(StrBytes::from(state.cluster_id()))
            .with_controller_id(BrokerId(state.controller().map_or(-1, |id| id.0)))
            .with_brokers(brokers.collect())
            .with_cluster_authorized_operations(operations)
    }

    fn refuse(&self, code: ErrorCode) -> DescribeClusterResponse {
        DescribeClusterResponse::default().with_error_code(code.to_wire())
    }
}
