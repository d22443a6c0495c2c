//! What an application commits, and what it marks as processed.

use crate::consumer::Consumer;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{OffsetAndMetadata, TopicPartition};
use crate::machine::group::ConsumerCoordinator;
use std::collections::HashMap;

impl Consumer {
    /// Commits the positions: that everything handed out so far is processed (without `enable.auto.offset.store`, what was
    /// [marked](Self::mark_processed)). Waits for the coordinator's answer, and
    /// behind commits before it. During a rebalance it waits for that, too, and commits what is still ours.
    ///
    /// # Errors
    /// `Broker(RebalanceInProgress)`: a partition was given up meanwhile; its records will be read again by its new
    /// reader; go on polling. `Timeout` after `default.api.timeout.ms`, `Denied`, `Config` without a group. What could be
    /// committed is. Dropping the future loses only the answer.
    pub async fn commit(&self) -> Result<()> {
        let group = self.group()?;
        let (positions, deadline) = (self.shared.processed(), self.shared.client.api_deadline());
        if positions.is_empty() {
            return Ok(());
        }
        let commit = group.commit_of(positions, deadline);
        group.ask(move |machine, now, reply| machine.commit(now, commit.awaited(reply))).await
    }

    /// Commits these offsets, each the *next* record to read: [`Records::next_offsets`](crate::consumer::Records::next_offsets), or
    /// of one record [`behind`](crate::consumer::ConsumerRecord::behind).
    ///
    /// # Errors
    /// As [`commit`](Self::commit); nothing is committed if one of the partitions is not assigned to this member.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        let group = self.group()?;
        let offsets: HashMap<_, _> = offsets.into_iter().collect();
        offsets.iter().try_for_each(|(partition, offset)| check_offset(partition, offset))?;
        if offsets.is_empty() {
            return Ok(());
        }
        let deadline = self.shared.client.api_deadline();
        let commit = group.commit_of(offsets, deadline).whole();
        group.ask(move |machine, now, reply| machine.commit(now, commit.awaited(reply))).await
    }

    /// As [`commit`](Self::commit), without waiting. Commits stay in the order of their calls; one that fails is logged.
    /// Nothing happens without a group.
    pub fn commit_async(&self) {
        let Ok(group) = self.group() else { return };
        let (positions, deadline) = (self.shared.processed(), self.shared.client.api_deadline());
        if !positions.is_empty() {
            let commit = group.commit_of(positions, deadline);
            group.command(move |machine, now| machine.commit(now, commit));
        }
    }

    /// Marks as processed what is before these offsets: that is what `commit` and auto-commit then commit with
    /// `enable.auto.offset.store=false`; with the default, marks change nothing. Takes what
    /// [`commit_offsets`](Self::commit_offsets) takes, asks nobody, and doesn't wait.
    ///
    /// Of the marks of a partition the last counts, also when it goes back: who works on the records of a partition in any
    /// other order marks what all of them are through with. Auto-commit commits marks every `auto.commit.interval.ms`, those
    /// of a partition that is revoked when its [`Revoking`](crate::consumer::Revoking) is done, and all on close. A partition that is gone takes its
    /// mark along; when it comes back, it has none.
    ///
    /// # Errors
    /// `State` if a partition is not assigned (any more): its new reader begins where it was committed. `InvalidArgument` for a
    /// negative offset. The others are marked all the same.
    pub fn mark_processed(&self, offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>) -> Result<()> {
        let offsets: Vec<_> = offsets.into_iter().collect();
        self.shared.change(|fetcher, _| {
            let mut outcome = Ok(());
            for (partition, offset) in offsets {
                let marked =
                    check_offset(&partition, &offset).and_then(|()| fetcher.mark_processed(&partition, offset));
                outcome = outcome.and(marked);
            }
            outcome
        })
    }

    /// What the group has committed of these partitions; one without a commit is not in the answer. Offsets that an
    /// open transaction is about to move are waited for.
    ///
    /// # Errors
    /// `Timeout` after `default.api.timeout.ms`, `Denied`, `Config` without a group.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, OffsetAndMetadata>> {
        let (partitions, deadline) = (partitions.to_vec(), self.shared.client.api_deadline());
        let ask = move |machine: &mut ConsumerCoordinator, now, reply| {
            machine.fetch_offsets(now, partitions, deadline, reply);
        };
        let committed = self.group()?.ask(ask).await?;
        committed.into_iter().map(|(partition, offset)| Ok((partition, offset?))).collect()
    }
}

fn check_offset(partition: &TopicPartition, offset: &OffsetAndMetadata) -> Result<()> {
    if offset.offset < 0 {
        let error = Error::with_message(ErrorKind::InvalidArgument, "an offset is not negative");
        return Err(error.partition(partition.clone()));
    }
    Ok(())
}
