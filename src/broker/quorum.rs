// DescribeQuorum: v0-2.
//! The controllers' quorum (KIP-595), as a cluster has it whose every broker is a controller too: the controller leads, all
//! are voters, and those that are up have all of the metadata log. There is none, of course: it is as long as topics were
//! made.
//!
//! - v1 tells when each voter was heard last (KIP-836), v2 the voters' addresses (KIP-853).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::State;
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use crate::wire::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};

const TOPIC: &str = "__cluster_metadata";

impl Api for DescribeQuorumRequest {
    async fn serve(self, on: Context) -> DescribeQuorumResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::Describe, Resource::Cluster) {
            return self.refuse(code);
        }
        let response = told(&self, on.version, |topic, index| match (topic, index) {
            (TOPIC, 0) => Ok(described(&state, &on)),
            _ => Err(ErrorCode::UnknownTopicOrPartition),
        });
        if on.version < 2 {
            return response;
        }
        let nodes = state.nodes.iter().map(|(id, node)| {
            let (host, port) = node.endpoint.host_and_port();
            let listener = Listener::default().with_name(StrBytes::from_static_str("CONTROLLER")).with_port(port);
            let listener = listener.with_host(host.to_string().into());
            Node::default().with_node_id(BrokerId(id.0)).with_listeners(vec![listener])
        });
        response.with_error_message(None).with_nodes(nodes.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeQuorumResponse {
        told(self, 0, |_, _| Err(code)).with_error_code(code.to_wire())
    }
}

fn told(
    request: &DescribeQuorumRequest,
    version: i16,
    describe: impl Fn(&str, i32) -> Result<PartitionData, ErrorCode>,
) -> DescribeQuorumResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let described = describe(&topic.topic_name, wanted.partition_index);
            let told = described.unwrap_or_else(|code| PartitionData::default().with_error_code(code.to_wire()));
            let told = told.with_partition_index(wanted.partition_index);
            if version >= 2 { told.with_error_message(None) } else { told }
        });
        TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default().with_topics(topics.collect())
}

fn described(state: &State, on: &Context) -> PartitionData {
    let end = state.metadata_end();
    let voters = state.nodes.keys().map(|id| {
        let up = state.is_alive(*id);
        let voter =
            ReplicaState::default().with_replica_id(BrokerId(id.0)).with_log_end_offset(if up { end } else { -1 });
        if on.version < 1 {
            return voter;
        }
        let heard = if up { on.unix_millis() } else { -1 };
        voter.with_last_fetch_timestamp(heard).with_last_caught_up_timestamp(heard)
    });
    PartitionData::default()
        .with_leader_id(BrokerId(state.controller().map_or(-1, |id| id.0)))
        .with_leader_epoch(1)
        .with_high_watermark(end)
        .with_current_voters(voters.collect())
}
