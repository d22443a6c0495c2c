//! OffsetForLeaderEpoch: where a leader's log leaves the epochs that positions were read under (KIP-320).

use super::Shared;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId};
use crate::machine::fetcher::Validation;
use crate::net::brokers::Purpose;
use crate::wire::StrBytes;
use crate::wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use crate::wire::messages::{BrokerId, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The first version that a client needs no rights over the cluster for.
const FIRST_FOR_CLIENTS: i16 = 3;

/// The largest epoch up to the one asked about that the leader has, and the offset behind it; `None`: it has none.
type EpochEnd = Result<Option<(LeaderEpoch, i64)>>;

/// Asks the leader of all of these, once, and applies what it says.
pub(super) async fn validate(shared: Arc<Shared>, leader: NodeId, validations: Vec<Validation>) {
    let answers = match ask(&shared, leader, &validations).await {
        Ok(answers) => answers,
        Err(error) => validations.iter().map(|_| Err(error.clone())).collect(),
    };
    for (validation, answer) in validations.iter().zip(answers) {
        let answered = shared.change(|fetcher, now| fetcher.validated(now, validation, answer));
        shared.follow(answered, shared.client.cluster().generation);
    }
}

async fn ask(shared: &Shared, leader: NodeId, validations: &[Validation]) -> Result<Vec<EpochEnd>> {
    let client = &shared.client;
    let deadline = client.api_deadline();
    let connection = client.connection(leader, Purpose::General, deadline).await?;
    let versions = connection.versions();
    let version = versions.pick_in::<OffsetForLeaderEpochRequest>(FIRST_FOR_CLIENTS..=i16::MAX);
    let version = version.map_err(|error| connection.place(error))?;
    let response = connection.call(&request(validations), version, client.call_timeout(deadline)).await?;
    let place = |error: Error| connection.place(error.api("OffsetForLeaderEpoch"));
    Ok(answers(&response, validations).into_iter().map(|answer| answer.map_err(place)).collect())
}

fn request(validations: &[Validation]) -> OffsetForLeaderEpochRequest {
    let mut by_topic: BTreeMap<&str, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for Validation { name, leader_epoch, epoch, .. } in validations {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(name.partition)
            .with_current_leader_epoch(LeaderEpoch::to_wire(*leader_epoch))
            .with_leader_epoch(epoch.0);
        by_topic.entry(&name.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, Vec<OffsetForLeaderPartition>)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        OffsetForLeaderTopic::default().with_topic(name).with_partitions(partitions)
    };
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(by_topic.into_iter().map(topic).collect())
}

/// In the order of the questions.
fn answers(response: &OffsetForLeaderEpochResponse, validations: &[Validation]) -> Vec<EpochEnd> {
    let partitions: HashMap<(&str, i32), _> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.topic.0.as_str(), p.partition), p)))
        .collect();
    let answer = |validation: &Validation| {
        let Some(partition) = partitions.get(&(&*validation.name.topic, validation.name.partition)) else {
            return Err(Error::with_message(ErrorKind::Malformed, "the answer says nothing of the partition"));
        };
        if let Some(code) = ErrorCode::from_wire(partition.error_code) {
            return Err(Error::broker(code));
        }
        Ok(LeaderEpoch::from_wire(partition.leader_epoch)
            .map(|epoch| (epoch, partition.end_offset))
            .filter(|end| end.1 >= 0))
    };
    validations.iter().map(answer).collect()
}
