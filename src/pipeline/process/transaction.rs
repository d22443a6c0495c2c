//! One emission as one Kafka transaction, and what its failure means.

use super::{Emission, Process};
use crate::{
    consumer::ConsumerGroupMetadata,
    error::{Certainty, Error, ErrorCode, ErrorKind, Result},
    ids::TopicPartition,
    producer::{ProducerRecord, Transaction, TransactionalProducer},
};
use std::collections::HashMap;

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Committed.
    Committed,
    /// Nothing of it is visible, and nothing will be: the same can be tried again.
    Aborted(Error),
    /// Nobody knows, or another owner is at work: begin anew, once the group has said that the partition is still ours.
    Lost {
        /// Another producer of this `transactional.id` has begun.
        fenced: bool,
        /// Why.
        error: Error,
    },
    /// Nothing helps but a person.
    Failed(Error),
}

/// Writes what the process has set aside and the emission, with the offset, in the name of this member.
pub(super) async fn commit<P: Process>(
    producer: &mut TransactionalProducer,
    name: &TopicPartition,
    process: &P,
    emission: &Emission,
    member: ConsumerGroupMetadata,
) -> Outcome {
    let transaction = match producer.begin().await {
        Ok(transaction) => transaction,
        Err(error) => return without_transaction(error),
    };
    let filled = fill(&transaction, name, process, emission, member).await;
    match filled {
        Ok(()) => match transaction.commit().await {
            Ok(()) => Outcome::Committed,
            Err(error) if error.is_abortable() && !may_be_committed(&error) => Outcome::Aborted(error),
            Err(error) => without_transaction(error),
        },
        Err(error) => match transaction.abort().await {
            Ok(()) => Outcome::Aborted(error),
            Err(abort) if is_takeover(&abort) => Outcome::Lost { fenced: true, error: abort },
            // What is open will be aborted by the next InitProducerId, or for its age.
            Err(_) => without_transaction(error),
        },
    }
}

async fn fill<P: Process>(
    transaction: &Transaction<'_>,
    name: &TopicPartition,
    process: &P,
    emission: &Emission,
    member: ConsumerGroupMetadata,
) -> Result<()> {
    let rows = emission.records.iter().map(|(key, value)| ProducerRecord::new(&emission.topic).key(key).value(value));
    let sent = transaction.send_many(&emission.topic, rows).await;
    if sent.refused() > 0 {
        // One that was not taken would be missing without a word.
        sent.all().await?;
    }
    for (topic, records) in process.aside() {
        for record in records {
            drop(transaction.send(record.record(topic)).await?);
        }
    }
    transaction.send_offsets(HashMap::from([(name.clone(), emission.offset.clone())]), member).await
}

fn without_transaction(error: Error) -> Outcome {
    if is_takeover(&error) {
        return Outcome::Lost { fenced: true, error };
    }
    let for_ever =
        matches!(error.kind(), ErrorKind::Denied | ErrorKind::Tls | ErrorKind::UnsupportedVersion | ErrorKind::Config);
    if for_ever { Outcome::Failed(error) } else { Outcome::Lost { fenced: false, error } }
}

fn may_be_committed(error: &Error) -> bool {
    error.delivery_certainty() == Some(Certainty::PossiblySent)
}

/// A coordinator says INVALID_PRODUCER_EPOCH to whom another has replaced, and to whom was too slow.
fn is_takeover(error: &Error) -> bool {
    error.is_fenced() || error.code() == Some(ErrorCode::InvalidProducerEpoch)
}

/// Whether the group is moving on and the transaction was refused for that: the same can be tried under the next
/// generation, if there is one with us.
pub(super) fn is_of_the_group(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::RebalanceInProgress
                | ErrorCode::StaleMemberEpoch
                | ErrorCode::FencedMemberEpoch
        )
    )
}
