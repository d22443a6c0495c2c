//! Records on their way: handed to the producer in their order, and waited for in it, so that each that is not written is
//! told with its place in the input.

use super::batch::{Batch, Defaults};
use super::framing::Framing;
use crate::args::{Failure, Result};
use crate::hints;
use crate::limit::waiting_for;
use crate::records::{
    format::{Fields, Format},
    meter::Meter,
};
use milena::client::Client;
use milena::error::{Certainty, Error, ErrorCode, ErrorKind};
use milena::pipeline::stop::Stop;
use milena::producer::{Delivery, Producer, ProducerRecord, Purge, RecordMetadata, Transaction};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many deliveries are waited for at most before the next record is sent.
const WINDOW: usize = 100_000;
/// Failures that are told one by one.
const TOLD: u64 = 10;
/// How long what is under way may still take once it is to stop.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What comes of this, if that is soon after it is to stop at the latest.
pub async fn patient<T>(stop: &Stop, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let too_late = async {
        stop.stopped().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        biased;
        done = work => done,
        () = too_late => {
            let error = Error::with_message(ErrorKind::Timeout, "interrupted before there was an answer");
            Err(error.certainty(Certainty::PossiblySent))
        }
    }
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    Producer(&'a Producer),
    Transaction(&'a Transaction<'a>),
}

impl To<'_> {
    async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, Error> {
        match self {
            Self::Producer(producer) => producer.send(record).await,
            Self::Transaction(transaction) => transaction.send(record).await,
        }
    }
}

/// Why reading has ended before the input did.
#[derive(Debug)]
enum Ended {
    /// What is wrong with the input, or with what was asked for.
    Input(String),
    /// The cluster takes no more.
    Broker(String),
    Interrupted,
}

/// The way of all records from the input to their acknowledgement.
pub struct Sending {
    input: &'static str,
    batches: mpsc::Receiver<Result<Batch, String>>,
    stop: Stop,
    defaults: Defaults,
    framing: Framing,
    /// How many records may still be sent.
    left: u64,
    meter: Meter,
    report: Option<Format>,
    /// What is being sent, and the next of its entries.
    batch: Option<(Batch, usize)>,
    window: VecDeque<(u64, Delivery)>,
    /// Where files begin: how many lines are before them.
    files: Vec<(u64, Option<Arc<str>>)>,
    bytes: u64,
    sent: u64,
    written: u64,
    /// Written, but in a transaction that is not committed.
    pending: u64,
    /// Has no acknowledgement.
    failed: u64,
    /// How many of those may be written all the same.
    uncertain: u64,
    /// A record is for the topic that was named for all; one has named its own.
    to_default: bool,
    to_others: bool,
    /// Why a topic is not known.
    unknown: Option<(String, Error)>,
    ended: Option<Ended>,
    out: Vec<u8>,
}

impl Sending {
    pub fn new(
        (input, batches): (&'static str, mpsc::Receiver<Result<Batch, String>>),
        stop: Stop,
        defaults: Defaults,
        framing: Framing,
        (left, meter, report): (u64, Meter, Option<Format>),
    ) -> Self {
        Self {
            input,
            batches,
            stop,
            defaults,
            framing,
            left,
            meter,
            report,
            batch: None,
            window: VecDeque::new(),
            files: Vec::new(),
            bytes: 0,
            sent: 0,
            written: 0,
            pending: 0,
            failed: 0,
            uncertain: 0,
            to_default: false,
            to_others: false,
            unknown: None,
            ended: None,
            out: Vec::new(),
        }
    }

    /// Whether there is a record to send: waits for input, and for acknowledgements meanwhile.
    pub async fn has_more(&mut self) -> bool {
        loop {
            if self.left == 0 || self.ended.is_some() {
                return false;
            }
            if self.batch.as_ref().is_some_and(|(batch, next)| *next < batch.entries.len()) {
                return true;
            }
            waiting_for(self.input);
            let window = &mut self.window;
            let acknowledged = async {
                match window.front_mut() {
                    Some((_, delivery)) => delivery.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.stopped() => self.ended = Some(Ended::Interrupted),
                batch = self.batches.recv() => match batch {
                    None => return false,
                    Some(Ok(batch)) => self.take(batch),
                    Some(Err(why)) => self.ended = Some(Ended::Input(why)),
                },
                outcome = acknowledged => self.acknowledged(outcome),
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        if self.files.last().is_none_or(|(_, file)| *file != batch.file) {
            let before = batch.entries.first().map_or(0, |entry| entry.number - 1);
            self.files.push((before, batch.file.clone()));
        }
        self.bytes += batch.size as u64;
        self.batch = Some((batch, 0));
        waiting_for("the brokers to take records");
    }

    /// Sends what there is, so many records at most, and none that comes after `until`.
    pub async fn some(&mut self, to: To<'_>, most: u64, until: Option<Instant>) {
        let (mut sent, stop) = (0, self.stop.clone());
        while sent < most {
            let late = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let has_more = tokio::select! {
                biased;
                () = late => false,
                has_more = self.has_more() => has_more,
            };
            if !has_more {
                return;
            }
            let Some((batch, mut next)) = self.batch.take() else { return };
            let before = self.sent;
            while sent < most
                && self.left > 0
                && self.ended.is_none()
                && let Some(entry) = batch.entries.get(next)
            {
                next += 1;
                sent += 1;
                self.left -= 1;
                self.sent += 1;
                let topic = match batch.topic(entry, &self.defaults) {
                    Ok(topic) => topic,
                    Err(why) => {
                        self.ended = Some(Ended::Input(format!("{}: {why}", self.place(entry.number))));
                        break;
                    }
                };
                self.to_others |= entry.topic.is_some();
                self.to_default |= entry.topic.is_none();
                let taken = tokio::select! {
                    biased;
                    taken = to.send(batch.record(entry, topic, &self.defaults)) => taken,
                    () = stop.stopped() => {
                        self.ended = Some(Ended::Interrupted);
                        self.sent -= 1; // it was not taken
                        break;
                    }
                };
                match taken {
                    Ok(delivery) => self.window.push_back((entry.number, delivery)),
                    Err(error) => {
                        if error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
                            self.unknown = Some((topic.to_owned(), error.clone()));
                        }
                        self.refused(entry.number, &error);
                    }
                }
                if self.window.len() >= WINDOW
                    && let Some((_, oldest)) = self.window.front_mut()
                {
                    tokio::select! {
                        biased;
                        outcome = oldest => self.acknowledged(outcome),
                        () = stop.stopped() => self.ended = Some(Ended::Interrupted),
                    }
                }
            }
            self.batch = Some((batch, next));
            self.meter.step(self.sent - before, self.bytes);
            self.pass();
        }
    }

    /// Takes the acknowledgements that are there.
    fn pass(&mut self) {
        while let Some((_, delivery)) = self.window.front() {
            let outcome = match self.report {
                Some(_) => delivery.try_get().map(|outcome| outcome.map(Some)),
                None => delivery.try_outcome().map(|outcome| outcome.map(|()| None)),
            };
            match outcome {
                None => break,
                Some(outcome) => self.judge(outcome),
            }
        }
        self.print();
    }

    /// Waits for all that was sent. What has no outcome soon after it is to stop is given up; of a transaction, for its abort
    /// to see to.
    pub async fn settle(&mut self, to: To<'_>) {
        let stop = self.stop.clone();
        waiting_for(format!("acknowledgements of {}", records(self.window.len() as u64)));
        let outcomes = async {
            self.outcomes().await;
            Ok(())
        };
        if patient(&stop, outcomes).await.is_err() {
            self.ended.get_or_insert(Ended::Interrupted);
            if let To::Producer(producer) = to {
                producer.purge(Purge::All).await;
                self.outcomes().await;
            }
        }
    }

    async fn outcomes(&mut self) {
        while let Some((_, oldest)) = self.window.front_mut() {
            let outcome = oldest.await;
            self.acknowledged(outcome);
            self.pass();
        }
    }

    fn acknowledged(&mut self, outcome: Result<RecordMetadata, Error>) {
        self.judge(outcome.map(Some));
        self.print();
    }

    /// The oldest record's outcome.
    fn judge(&mut self, outcome: Result<Option<RecordMetadata>, Error>) {
        let Some((number, _)) = self.window.pop_front() else { return };
        match outcome {
            Ok(metadata) => {
                self.pending += 1;
                if let (Some(format), Some(metadata)) = (&self.report, metadata) {
                    let fields = Fields {
                        topic: metadata.topic(),
                        partition: metadata.partition(),
                        offset: metadata.offset().unwrap_or(-1),
                        leader_epoch: -1,
                        timestamp: metadata.timestamp(),
                        key: None,
                        value: None,
                        headers: std::iter::empty(),
                        counter: self.written + self.pending,
                        null: b"",
                    };
                    format.write(&fields, &mut self.out);
                }
            }
            Err(error) => self.refused(number, &error),
        }
    }

    /// Writes what `--output-format` says. Who does not want to read it any more does not stop the records.
    fn print(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        if let Err(error) = written {
            self.report = None;
            if error.kind() != IoErrorKind::BrokenPipe {
                self.ended.get_or_insert(Ended::Input(format!("what was written can't be printed: {error}")));
            }
        }
    }

    fn refused(&mut self, number: u64, error: &Error) {
        self.failed += 1;
        self.uncertain += u64::from(is_uncertain(error));
        // Of a transaction that is aborted every other record fails too, for no reason of its own, and what is given up too.
        if self.failed <= TOLD && !matches!(error.kind(), ErrorKind::Aborted | ErrorKind::Purged) {
            eprintln!("milena: {}: {}", self.place(number), Failure::from(error.clone()));
        }
        let is_its_own = match error.kind() {
            ErrorKind::Broker(code) => !error.is_fatal() && !code.is_retriable(),
            ErrorKind::RecordTooLarge | ErrorKind::InvalidArgument | ErrorKind::BatchRejected => true,
            _ => false,
        };
        if !is_its_own {
            self.ended.get_or_insert_with(|| Ended::Broker("nothing more was sent".to_owned()));
        }
    }

    /// Where a record is in the input.
    fn place(&self, number: u64) -> String {
        let file = self.files.iter().rev().find(|(before, _)| *before < number);
        match file {
            Some((before, Some(file))) => format!("{file}, {}", self.framing.place(number - before)),
            _ => self.framing.place(number),
        }
    }

    /// What was acknowledged is written for good.
    pub fn committed(&mut self) {
        self.written += std::mem::take(&mut self.pending);
    }

    /// Whether a transaction can't be committed: a record of it is missing.
    pub fn is_doomed(&self) -> bool {
        self.failed > 0 || self.ended.is_some()
    }

    /// A transaction could not be committed, or nobody knows whether it was.
    pub fn uncommitted(&mut self, error: &Error) {
        let lost = self.pending;
        self.aborted(Some(error));
        self.uncertain = if is_uncertain(error) { lost } else { 0 };
    }

    /// A transaction was aborted, with what was acknowledged in it. Nothing of it is written, whatever became of its records.
    pub fn aborted(&mut self, why: Option<&Error>) {
        self.failed += std::mem::take(&mut self.pending) + self.window.drain(..).count() as u64;
        self.uncertain = 0;
        let ended = self.ended.take();
        let message = match (&ended, why) {
            (Some(Ended::Interrupted), None) => "interrupted, and the open transaction was aborted".to_owned(),
            (Some(Ended::Interrupted), Some(_)) => {
                "interrupted, and the open transaction is left to its timeout".to_owned()
            }
            (_, Some(error)) => format!("the transaction: {}", Failure::from(error.clone())),
            (_, None) => "the transaction was aborted".to_owned(),
        };
        self.ended = Some(match ended {
            Some(Ended::Input(why)) => Ended::Input(format!("{why}; {message}")),
            _ => Ended::Broker(message),
        });
    }

    /// If it ended since a topic is not known: by which name it may be.
    pub async fn name_the_nearest(&mut self, client: &Client) {
        if let Some((topic, error)) = self.unknown.take() {
            let hint = hints::topic(&client.admin(), &topic, error).await.to_string();
            self.ended = match self.ended.take() {
                Some(Ended::Broker(why)) => Some(Ended::Broker(format!("{why}; {hint}"))),
                ended => ended,
            };
        }
    }

    /// What has come of it; says how many were written if `quiet` isn't.
    pub fn finish(self, quiet: bool) -> Result<()> {
        drop(self.meter);
        let Self { written, failed, uncertain, ended, .. } = self;
        let to = match (self.defaults.topic, self.to_default, self.to_others) {
            (Some(topic), true, true) => format!("{topic} and topics of their own"),
            (Some(topic), _, false) => topic,
            _ => "topics of their own".to_owned(),
        };
        if !quiet || failed > 0 || matches!(ended, Some(Ended::Input(_) | Ended::Broker(_))) {
            eprintln!("milena: {} written to {to}", records(written));
        }
        let told = |count: u64, what: &str| (count > 0).then(|| format!("{} {what}", records(count)));
        let lost = [told(failed - uncertain, "not written"), told(uncertain, "may have been written")];
        let lost = lost.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let because = |why: String| if lost.is_empty() { why } else { format!("{lost}: {why}") };
        match ended {
            Some(Ended::Input(why)) => Err(Failure::config(because(why))),
            Some(Ended::Broker(why)) => Err(Failure::broker(because(why))),
            None | Some(Ended::Interrupted) if failed > 0 => Err(Failure::broker(lost)),
            None | Some(Ended::Interrupted) => Ok(()),
        }
    }
}

fn is_uncertain(error: &Error) -> bool {
    error.delivery_certainty() == Some(Certainty::PossiblySent)
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}
