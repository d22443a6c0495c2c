//! The writing half of a sink: dead letters flushed, then rows and positions committed, for as long as it takes.
//!
//! ```text
//! dead letters, flushed -> stage -> refused rows to T.dlq, flushed -> commit
//!        ^                  |  |                                      |
//!        |      transient   |  +-- fenced: without these partitions   +-- no answer: is it written?
//!        +-- the breaker <--+
//! ```
#![allow(clippy::disallowed_methods, reason = "a shell of the pipeline waits between attempts")]

use crate::consumer::OwnedRecord;
use crate::pipeline::dead_letter::{SetAside, Stage};
use crate::pipeline::error::PipelineError;
use crate::pipeline::event::{Reason, Rejected};
use crate::pipeline::metrics::{RowResult, StageMetrics};
use crate::pipeline::sink::batch::{Counts, Sealed, ShareLimit};
use crate::pipeline::sink::breaker::{Breaker, State};
use crate::pipeline::sink::{Batch, Claim, Class, Move, Staged, Store, StoreError};
use crate::producer::Producer;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What one batch came to.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) moves: Vec<Move>,
    pub(super) counts: Counts,
    /// How many records each partition had in it.
    pub(super) records: Vec<(i32, u64)>,
    /// Partitions that another owner has claimed; nothing of them was written.
    pub(super) fenced: Vec<i32>,
}

/// Owns the store and the producer of dead letters.
pub(super) struct Writer<S> {
    store: S,
    dead_letters: Producer,
    dlq: String,
    records: ShareLimit,
    rows: ShareLimit,
    database: Gate,
    brokers: Gate,
    metrics: StageMetrics,
}

impl<S: Store> Writer<S> {
    /// `database` tells whoever watches whether the database is asked.
    pub(super) fn new(
        store: S,
        dead_letters: Producer,
        dlq: String,
        percent: u8,
        database: watch::Sender<State>,
        metrics: StageMetrics,
    ) -> Self {
        let limit = ShareLimit::new(percent);
        let database = Gate::new("the database", database);
        let brokers = Gate::new("the dead letter topic", watch::Sender::default());
        Self { store, dead_letters, dlq, records: limit.clone(), rows: limit, database, brokers, metrics }
    }

    /// Claims the partitions, however long the database is away.
    pub(super) async fn claim(&mut self, starts: &[(i32, i64)]) -> Result<Vec<Claim>, PipelineError> {
        loop {
            match self.store.claim(starts).await {
                Ok(claims) => {
                    self.database.is_through();
                    return Ok(claims);
                }
                Err(error) => self.recover(error.into()).await?,
            }
        }
    }

    /// The positions of all partitions in the database, ours or not.
    pub(super) async fn positions(&mut self) -> Result<Vec<(i32, i64)>, PipelineError> {
        loop {
            match self.store.positions().await {
                Ok(positions) => {
                    self.database.is_through();
                    return Ok(positions);
                }
                Err(error) => self.recover(error.into()).await?,
            }
        }
    }

    /// Writes the batch, however long the database or the brokers are away.
    pub(super) async fn write(&mut self, mut sealed: Sealed<OwnedRecord>) -> Result<Written, PipelineError> {
        let mut batch = sealed.batch();
        let mut written = Written::default();
        let mut told = HashSet::new();
        let mut committing: Option<Staged> = None;
        while !sealed.is_empty() {
            let began = Instant::now();
            let staged = match self.attempt(&sealed, &batch, &mut told, &mut committing).await {
                Ok(staged) => staged,
                Err(Failed::Store(StoreError::Fenced(partitions))) => {
                    self.store.abandon().await;
                    tracing::warn!(
                        ?partitions,
                        "another sink has claimed these partitions: nothing of them is written"
                    );
                    committing = None; // it was of the batch with them, and is not written
                    batch = sealed.without(&partitions, batch);
                    written.fenced.extend(partitions);
                    continue;
                }
                Err(error) => {
                    self.recover(error).await?;
                    continue;
                }
            };
            self.database.is_through();
            self.brokers.is_through();
            self.records.add(sealed.read(), sealed.dead.len() as u64);
            self.rows.add(batch.rows.len() as u64, staged.refused.len() as u64);
            written.counts = sealed.counts(&staged);
            written.records = sealed.records_by_partition();
            self.count(&sealed, &staged, began.elapsed());
            written.moves.clone_from(&batch.moves);
            return Ok(written);
        }
        Ok(written)
    }

    async fn attempt(
        &mut self,
        sealed: &Sealed<OwnedRecord>,
        batch: &Arc<Batch>,
        told: &mut HashSet<(i32, i64)>,
        committing: &mut Option<Staged>,
    ) -> Result<Staged, Failed> {
        if let Some(staged) = committing.clone() {
            // The commit was sent and its answer lost. No is not the last word: the server may be at it still.
            if self.store.is_written(batch).await? {
                return Ok(staged);
            }
        }
        if self.records.is_exceeded_by(sealed.read(), sealed.dead.len() as u64) {
            return Err(too_many("records are no events", sealed.dead.first().map(|dead| dead.why.to_string())));
        }
        let dead: Vec<_> = sealed.dead.iter().map(|dead| (&dead.record, dead.why.clone())).collect();
        self.tell(dead, told).await?;
        let staged = match (self.store.stage(batch).await, &committing) {
            (Err(StoreError::Fenced(partitions)), Some(before)) => {
                // By another owner, or by that commit: it has got through since.
                self.store.abandon().await;
                if self.store.is_written(batch).await? {
                    return Ok(before.clone());
                }
                return Err(StoreError::Fenced(partitions).into());
            }
            (staged, _) => staged?,
        };
        if self.rows.is_exceeded_by(batch.rows.len() as u64, staged.refused.len() as u64) {
            self.store.abandon().await;
            let first = staged.refused.first().map(|refused| refused.message.clone());
            return Err(too_many("rows are refused by the database", first));
        }
        let refused = staged.refused.iter().filter_map(|refused| {
            Some((sealed.record(refused.row)?, Rejected::new(Reason::RowRefused, refused.message.clone())))
        });
        self.tell(refused.collect(), told).await?;
        *committing = Some(staged.clone());
        self.store.commit().await?;
        Ok(staged)
    }

    /// Writes dead letters that were not told yet, and waits until the brokers have them.
    async fn tell(
        &mut self,
        dead: Vec<(&OwnedRecord, Rejected)>,
        told: &mut HashSet<(i32, i64)>,
    ) -> Result<(), Failed> {
        let mut deliveries = Vec::new();
        for (record, why) in dead {
            let place = (record.topic_partition.partition, record.offset);
            if told.contains(&place) {
                continue;
            }
            let aside = SetAside::dead_owned(record, Stage::Sink, &why);
            deliveries.push((place, self.dead_letters.send(aside.record(&self.dlq)).await?));
        }
        for (place, delivery) in deliveries {
            delivery.await?;
            told.insert(place);
        }
        Ok(())
    }

    /// A batch is in the tables.
    fn count(&self, sealed: &Sealed<OwnedRecord>, staged: &Staged, took: Duration) {
        let metrics = &self.metrics;
        metrics.txn(took);
        let refused = staged.refused.len() as u64;
        for (result, n) in
            [(RowResult::Written, staged.written), (RowResult::Present, staged.present), (RowResult::Refused, refused)]
        {
            metrics.sink_rows(result, n);
        }
        for dead in &sealed.dead {
            metrics.dead(dead.why.reason.name(), 1);
        }
        if refused > 0 {
            metrics.dead(Reason::RowRefused.name(), refused);
        }
        for (reason, n) in sealed.counts(staged).skipped {
            metrics.skipped(reason, n);
        }
    }

    /// Waits if trying again helps; ends the sink if not.
    async fn recover(&mut self, error: Failed) -> Result<(), PipelineError> {
        self.store.abandon().await;
        match error {
            Failed::Store(StoreError::Database { class: Class::Transient, message }) => {
                self.database.wait(&message).await;
            }
            Failed::Kafka(error) if error.is_retriable() => self.brokers.wait(&error.to_string()).await,
            Failed::Store(error) => return Err(PipelineError::Database(error.to_string())),
            Failed::Kafka(error) => return Err(error.into()),
            Failed::Stop(error) => return Err(error),
        }
        Ok(())
    }
}

/// Why an attempt did not get through.
enum Failed {
    Store(StoreError),
    Kafka(crate::error::Error),
    Stop(PipelineError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<crate::error::Error> for Failed {
    fn from(error: crate::error::Error) -> Self {
        Self::Kafka(error)
    }
}

fn too_many(what: &str, first: Option<String>) -> Failed {
    let first = first.unwrap_or_default();
    Failed::Stop(PipelineError::Database(format!(
        "most {what}, the first because: {first}. That is a changed schema, not a bad record; nothing of this batch was \
         written. Mend the producer or the table and start again"
    )))
}

/// A breaker with a clock, whose changes are told: one line in the log for each outage.
struct Gate {
    what: &'static str,
    breaker: Breaker,
    state: watch::Sender<State>,
}

impl Gate {
    fn new(what: &'static str, state: watch::Sender<State>) -> Self {
        Self { what, breaker: Breaker::default(), state }
    }

    /// After a failure: until the next attempt may be made.
    async fn wait(&mut self, why: &str) {
        let was = self.breaker.state();
        self.breaker.failed(Instant::now().into_std(), fastrand::f64());
        if (was, self.breaker.state()) == (State::Closed, State::Open) {
            tracing::warn!(why, "{} fails: it is asked every few seconds until it answers", self.what);
        } else {
            tracing::debug!(why, "{} fails", self.what);
        }
        self.tell();
        while !self.breaker.attempt(Instant::now().into_std()) {
            let Some(next) = self.breaker.next_attempt() else { break };
            tokio::time::sleep_until(next.into()).await;
        }
        self.tell();
    }

    fn is_through(&mut self) {
        if self.breaker.state() != State::Closed {
            tracing::warn!("{} answers again", self.what);
        }
        self.breaker.succeeded();
        self.tell();
    }

    fn tell(&self) {
        let state = self.breaker.state();
        self.state.send_if_modified(|told| std::mem::replace(told, state) != state);
    }
}
