// ElectLeaders: v0-2.
//! Leaders elected on demand: the preferred ones (v0), or, from v1 on, any replica of a partition that nobody leads, at the
//! price of what it has not got (KIP-460).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::{Partition, Refusal, State, plain};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use crate::wire::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Partition {
    /// One that was not in sync leads: what it has not got is lost.
    pub(super) fn elect_unclean(&mut self, leader: NodeId, alive: &[NodeId]) {
        let has = self.end_at(leader);
        self.isr = vec![leader];
        self.lead_by(Some(leader));
        self.truncate(has);
        self.catch_up(|node| alive.contains(&node));
    }

    fn elect(&mut self, unclean: bool, alive: &[NodeId]) -> Result<(), ErrorCode> {
        let preferred = self.replicas.first().copied();
        if self.leader.is_some() && (unclean || self.leader == preferred) {
            return Err(ErrorCode::ElectionNotNeeded);
        }
        let up = |node: &NodeId| alive.contains(node);
        let clean = |node: &NodeId| up(node) && self.isr.contains(node);
        if !unclean {
            let preferred = preferred.filter(clean).ok_or(ErrorCode::PreferredLeaderNotAvailable)?;
            self.lead_by(Some(preferred));
        } else if let Some(clean) = self.replicas.iter().copied().find(clean) {
            self.lead_by(Some(clean));
        } else {
            let any = self.replicas.iter().copied().find(up).ok_or(ErrorCode::EligibleLeadersNotAvailable)?;
            self.elect_unclean(any, alive);
        }
        Ok(())
    }
}

fn elect(state: &mut State, topic: &str, index: i32, unclean: bool) -> Result<(), Refusal> {
    let alive: Vec<_> = state.alive().map(|(id, _)| id).collect();
    let unknown = || (ErrorCode::UnknownTopicOrPartition, format!("No such partition as {topic}-{index}"));
    let partition = state.partition_mut(topic, index).ok_or_else(unknown)?;
    partition.elect(unclean, &alive).map_err(plain)?;
    state.find_held();
    Ok(())
}

impl Api for ElectLeadersRequest {
    async fn serve(self, on: Context) -> ElectLeadersResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::Alter, Resource::Cluster) {
            return self.refuse_on(&on, code);
        }
        let unclean = match self.election_type {
            _ if on.version < 1 => false,
            PREFERRED => false,
            UNCLEAN => true,
            _ => return self.refuse(ErrorCode::InvalidRequest).with_error_code(ErrorCode::InvalidRequest.to_wire()),
        };
        let response = elected(&self, |topic, index| elect(&mut state, topic, index, unclean));
        if self.topic_partitions.is_some() {
            return response;
        }
        // Of all partitions there are, those with the right leader are not told.
        let all: Vec<_> =
            state.topics.values().map(|topic| (topic.name.clone(), topic.partitions.len() as i32)).collect();
        let topics = all.into_iter().map(|(topic, count)| {
            let results = (0..count).map(|index| result(index, elect(&mut state, &topic, index, unclean)));
            let told = results.filter(|result| result.error_code != ErrorCode::ElectionNotNeeded.to_wire());
            let named = ReplicaElectionResult::default().with_topic(TopicName(topic.to_string().into()));
            named.with_partition_result(told.collect())
        });
        response.with_replica_election_results(topics.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ElectLeadersResponse {
        elected(self, |_, _| Err(plain(code)))
    }

    /// v0 can say it of partitions alone.
    fn refuse_on(&self, on: &Context, code: ErrorCode) -> ElectLeadersResponse {
        self.refuse(code).with_error_code(if on.version < 1 { 0 } else { code.to_wire() })
    }
}

fn result(index: i32, outcome: Result<(), Refusal>) -> PartitionResult {
    let result = PartitionResult::default().with_partition_id(index);
    match outcome {
        Ok(()) => result.with_error_message(None),
        Err((code, why)) => result.with_error_code(code.to_wire()).with_error_message(Some(StrBytes::from(why))),
    }
}

fn elected(
    request: &ElectLeadersRequest,
    mut elect: impl FnMut(&str, i32) -> Result<(), Refusal>,
) -> ElectLeadersResponse {
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        let results = topic.partitions.iter().map(|index| result(*index, elect(&topic.topic, *index)));
        ReplicaElectionResult::default().with_topic(topic.topic.clone()).with_partition_result(results.collect())
    });
    ElectLeadersResponse::default().with_replica_election_results(topics.collect())
}
