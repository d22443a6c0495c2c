//! Elections of leaders.

use super::ask::{Doing, Way};
use super::partitions::{by_partition, by_topic};
use super::places::AtController;
use super::{Admin, Outcomes, outcome};
use crate::error::Result;
use crate::ids::TopicPartition;
use crate::wire::messages::elect_leaders_request::TopicPartitions;
use crate::wire::messages::elect_leaders_response::PartitionResult;
use crate::wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

/// Who is to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Election {
    /// The first of the replicas, if it is in sync.
    Preferred,
    /// Where nobody that is in sync is there: whoever is there. What it had not got is lost (KIP-460, brokers from 2.4).
    Unclean,
}

impl Admin {
    /// Has leaders elected: of these partitions, or of all that need it, which are then the only ones in the answer.
    /// ElectLeaders (KIP-183), to the controller.
    ///
    /// # Errors
    /// Per partition: `ElectionNotNeeded`, `PreferredLeaderNotAvailable`, `EligibleLeadersNotAvailable`,
    /// `UnknownTopicOrPartition`. For all: `Denied` (Alter on the cluster), `UnsupportedVersion`, or no controller in time.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<Outcomes<(), TopicPartition>> {
        let (kind, least) = match election {
            Election::Preferred => (0, 0),
            Election::Unclean => (1, 1), // v0 knows no kinds
        };
        let request = ElectLeadersRequest::default().with_election_type(kind);
        let Some(partitions) = partitions else {
            let ask = self.ask_one(AtController).doing(Doing::Change).versions(least..=i16::MAX);
            let all = |way: Way<'_, ()>| request.clone().with_topic_partitions(None).with_timeout_ms(way.timeout_ms);
            let read = |answer: ElectLeadersResponse, _: Way<'_, ()>| Ok(elected(answer)?.into_iter().collect());
            return ask.send_one(all, read).await;
        };
        let partitions = partitions.into_iter().map(|partition| (partition, ())).collect();
        let ask = self.ask(AtController, partitions).doing(Doing::Change).versions(least..=i16::MAX);
        ask.send(
            |partitions, way| {
                let topics = by_topic(partitions.iter().map(|(partition, ())| (*partition, ())), |number, ()| number);
                let topics = topics.map(|(topic, partitions)| {
                    TopicPartitions::default().with_topic(topic).with_partitions(partitions)
                });
                request.clone().with_topic_partitions(Some(topics.collect())).with_timeout_ms(way.timeout_ms)
            },
            |answer, _| elected(answer),
        )
        .await
    }
}

fn elected(answer: ElectLeadersResponse) -> Result<Vec<(TopicPartition, Result<()>)>> {
    outcome(answer.error_code, None, None)?;
    let topics = answer.replica_election_results.into_iter().map(|topic| (topic.topic, topic.partition_result));
    let told = |at: &TopicPartition, one: PartitionResult| {
        outcome(one.error_code, one.error_message, None).map_err(|error| error.partition(at.clone()))
    };
    Ok(by_partition(topics, told, |one| one.partition_id))
}
