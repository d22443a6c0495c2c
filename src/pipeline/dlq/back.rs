//! The aggregator's letters go back to `T`, each in one Kafka transaction with how far the replay is: kill -9 at any
//! instant neither loses nor doubles one.

use super::{Done, Filter, Letter, Refusal, Replayed, group, input_of, missing};
use crate::consumer::Records;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::ids::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};
use crate::pipeline::context::Context;
use crate::pipeline::dead_letter::Stage;
use crate::pipeline::error::{PipelineError, Result};
use crate::pipeline::scan::{Progress, Scan};
use crate::pipeline::topics;
use crate::producer::{ProducerRecord, TransactionalProducer};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The originals that were sent, by partition and offset.
type Sent = HashSet<(i32, i64)>;

/// Sends the aggregator's letters back to `T`, with their key, value, headers and timestamp, to the partition that they
/// came from. An original that has several letters, as two groups over one topic make them, is sent once.
///
/// A letter that `T` refuses, since it is too large, say, stays and is named; the next replay takes it up again.
///
/// A dry run sends and remembers nothing. Another replay of this queue that is under way is fenced. A wish to stop ends it
/// after the transaction in hand.
///
/// # Errors
/// The brokers'; a sentence if this is no dead letter queue. What was sent until then is remembered.
pub async fn back_to_input(
    context: &Context,
    dlq: &str,
    filter: &Filter,
    dry_run: bool,
    progress: &Progress,
) -> Result<(Replayed, Vec<Refusal>)> {
    let input = input_of(dlq)?;
    if filter.stage.is_some_and(|stage| stage != Stage::Aggregate) {
        return Ok((Replayed::default(), Vec::new())); // and nothing is behind us
    }
    let admin = context.client.admin();
    let partitions = topics::partitions(&admin, input).await?;
    // First of all: whoever replays this queue besides is fenced, and what he left open is aborted.
    let mut producer = match dry_run {
        true => None,
        false => Some(context.client.transactional_producer(group(dlq), context.producer.clone()).await?),
    };
    let mut done: BTreeMap<i32, Done> = BTreeMap::new();
    for (name, offset) in admin.list_group_offsets(&group(dlq)).await? {
        if *name.topic == *dlq {
            done.insert(name.partition, Done::parse(offset.committed.offset, &offset.committed.metadata));
        }
    }
    let mut sent = sent_before(context, dlq, input, &done, progress).await?;
    let from = |partition, begin| done.get(&partition).map_or(begin, Done::first);
    let mut scan = Scan::open(context, dlq, from).await?.ok_or_else(|| missing(dlq))?;
    let (mut replayed, mut stay) = (Replayed::default(), Vec::new());
    while let Some(records) = scan.next(context, progress).await? {
        let mut letters = choose(&scan, &records, &mut done, filter, input, &mut sent, &mut replayed);
        for name in records.partitions() {
            let Some(position) = scan.position(name.partition) else { continue };
            done.entry(name.partition).or_default().reach(position, filter);
        }
        while let Some(producer) = &mut producer {
            let committed = |name: &TopicPartition| {
                let done = done.get(&name.partition)?;
                Some(OffsetAndMetadata { metadata: done.metadata(), ..OffsetAndMetadata::new(done.next()) })
            };
            let names = records.partitions().into_iter();
            let offsets = names.filter_map(|name| committed(&name).map(|offset| (name, offset))).collect();
            let Some((at, error)) = send(producer, dlq, input, partitions, &letters, offsets).await? else { break };
            // That transaction is gone, and the letter is left where it is: once more without it.
            let letter = letters.remove(at);
            sent.remove(&(letter.partition, letter.offset));
            let record = letter.record();
            if !done.entry(record.partition()).or_default().leave(record.offset()) {
                return Err(refused(dlq, &letter, &error));
            }
            stay.push(Refusal { original: letter.place(), why: error.to_string() });
        }
        replayed.sent += letters.len() as u64;
    }
    scan.close().await?;
    if let Some(producer) = producer {
        producer.close(Context::FAREWELL).await?;
    }
    replayed.refused = stay.len() as u64;
    Ok((replayed, stay))
}

/// The letters among these that are to be sent now.
fn choose<'r>(
    scan: &Scan,
    records: &'r Records,
    done: &mut BTreeMap<i32, Done>,
    filter: &Filter,
    input: &str,
    sent: &mut Sent,
    replayed: &mut Replayed,
) -> Vec<Letter<'r>> {
    let mut letters = Vec::new();
    for record in records {
        if !scan.is_wanted(&record) {
            continue;
        }
        let letter = match Letter::of(&record) {
            Some(letter) if letter.stage == Stage::Sink => continue, // the other half's
            Some(letter) if letter.stage == Stage::Aggregate && letter.topic == input => letter,
            Some(letter) => {
                replayed.skip(letter.stage.name());
                continue;
            }
            None => {
                replayed.skip("no_dead_letter");
                continue;
            }
        };
        if done.get(&record.partition()).is_some_and(|done| done.has(record.offset(), letter.reason)) {
            continue;
        }
        if !filter.wants(&letter) {
            replayed.skip("not_selected");
            continue;
        }
        if let Some(done) = done.get_mut(&record.partition()) {
            done.take(record.offset());
        }
        replayed.read += 1;
        if sent.insert((letter.partition, letter.offset)) {
            letters.push(letter);
        } else {
            replayed.repeated += 1;
        }
    }
    letters
}

/// The transaction; or which letter is refused for its own sake, and why, and nothing was sent.
async fn send(
    producer: &mut TransactionalProducer,
    dlq: &str,
    input: &str,
    partitions: i32,
    letters: &[Letter<'_>],
    offsets: HashMap<TopicPartition, OffsetAndMetadata>,
) -> Result<Option<(usize, Error)>> {
    let transaction = producer.begin().await?;
    let mut deliveries = Vec::with_capacity(letters.len());
    let mut failed = None;
    for (at, letter) in letters.iter().enumerate() {
        match transaction.send(original(letter, input, partitions)).await {
            Ok(delivery) => deliveries.push((at, delivery)),
            Err(error) => {
                failed = Some((at, error));
                break;
            }
        }
    }
    for (at, delivery) in deliveries {
        let Err(error) = delivery.await else { continue };
        // Others go down with the one that is to blame.
        if is_its_own(&error) || failed.is_none() {
            failed = Some((at, error));
            if failed.as_ref().is_some_and(|(_, error)| is_its_own(error)) {
                break;
            }
        }
    }
    if let Some((at, error)) = failed {
        if !is_its_own(&error) {
            return Err(letters.get(at).map_or_else(|| error.clone().into(), |letter| refused(dlq, letter, &error)));
        }
        transaction.abort().await?;
        return Ok(Some((at, error)));
    }
    transaction.send_offsets(offsets, ConsumerGroupMetadata::standalone(group(dlq))).await?;
    transaction.commit().await?;
    Ok(None)
}

/// Whether it is this record that can't be in `T`, whatever else is sent.
fn is_its_own(error: &Error) -> bool {
    use ErrorCode::{InvalidRecord, InvalidTimestamp, MessageTooLarge, RecordListTooLarge};
    error.kind() == ErrorKind::RecordTooLarge
        || matches!(error.code(), Some(InvalidRecord | InvalidTimestamp | MessageTooLarge | RecordListTooLarge))
            && error.kind() != ErrorKind::BatchRejected
}

/// The record as it was, for the partition where it was.
fn original<'a>(letter: &Letter<'a>, input: &'a str, partitions: i32) -> ProducerRecord<'a> {
    let from = letter.record();
    let mut record = ProducerRecord::new(input);
    if let Some(key) = from.key() {
        record = record.key(key);
    }
    if let Some(value) = from.value() {
        record = record.value(value);
    }
    if from.timestamp() >= 0 {
        record = record.timestamp(from.timestamp());
    }
    if (0..partitions).contains(&letter.partition) {
        record = record.partition(letter.partition);
    }
    letter.headers().fold(record, ProducerRecord::raw_header)
}

fn refused(dlq: &str, letter: &Letter<'_>, error: &Error) -> PipelineError {
    let record = letter.record();
    PipelineError::Log(format!(
        "{dlq}[{}]@{}, which was {}, could not be sent back: {error}; what was sent before it is remembered",
        record.partition(),
        record.offset(),
        letter.place()
    ))
}

/// What earlier replays have sent.
async fn sent_before(
    context: &Context,
    dlq: &str,
    input: &str,
    done: &BTreeMap<i32, Done>,
    progress: &Progress,
) -> Result<Sent> {
    let mut sent = Sent::new();
    let before = |partition| done.get(&partition).map_or(0, Done::furthest);
    let mut scan = Scan::open(context, dlq, |_, begin| begin).await?.ok_or_else(|| missing(dlq))?;
    scan.until(before);
    while let Some(records) = scan.next(context, progress).await? {
        for record in &records {
            let letter = Letter::of(&record).filter(|letter| letter.stage == Stage::Aggregate && letter.topic == input);
            let Some(letter) = letter else { continue };
            if done.get(&record.partition()).is_some_and(|done| done.has(record.offset(), letter.reason)) {
                sent.insert((letter.partition, letter.offset));
            }
        }
    }
    scan.close().await?;
    Ok(sent)
}
