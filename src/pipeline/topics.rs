//! The topics of the pipeline: each command creates the missing ones that it writes.
#![allow(clippy::disallowed_methods, reason = "a shell waits until a new topic is known")]

use crate::{
    admin::{Admin, ConfigSource, NewTopic, TopicDescription},
    error::ErrorCode,
    pipeline::{
        config::Topics,
        error::{PipelineError, Result},
    },
};
use std::time::Duration;

/// A topic as it is, or `None` if there is none.
///
/// # Errors
/// The brokers', other than that.
pub async fn describe(admin: &Admin, topic: &str) -> Result<Option<TopicDescription>> {
    match admin.describe_topics([topic]).await?.remove(topic) {
        Some(Ok(found)) => Ok(Some(found)),
        Some(Err(error)) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(Err(error)) => Err(error.into()),
        None => Ok(None),
    }
}

/// How many partitions the topic has.
///
/// # Errors
/// A sentence if there is no such topic.
pub async fn partitions(admin: &Admin, topic: &str) -> Result<i32> {
    let found = describe(admin, topic).await?.ok_or_else(|| missing(topic))?;
    Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX))
}

/// Rows and watermarks are read in one order, so their topics have one partition.
///
/// # Errors
/// A sentence if this one has more.
pub async fn require_one_partition(admin: &Admin, topic: &str) -> Result<()> {
    match partitions(admin, topic).await? {
        1 => Ok(()),
        more => Err(PipelineError::Config(format!(
            "{topic} has {more} partitions and must have one: rows and watermarks are read in one order"
        ))),
    }
}

/// Creates `T` if it is missing. `old`: its events are older than a day, and a default topic would delete them within
/// seconds.
///
/// # Errors
/// The brokers'.
pub async fn ensure_input(admin: &Admin, topics: &Topics, partitions: i32, old: bool) -> Result<()> {
    let mut topic = NewTopic::new(&topics.input, partitions, -1);
    if old {
        topic = topic.config("retention.ms", "-1");
    }
    ensure(admin, topic).await
}

/// Creates `T.windows` (one partition), `T.late` and `T.dlq` (as `T`) if they are missing.
///
/// # Errors
/// The brokers', or a sentence if there is no `T`.
pub async fn ensure_aggregates(admin: &Admin, topics: &Topics) -> Result<()> {
    ensure(admin, NewTopic::new(&topics.windows, 1, replication(admin, &topics.input).await?)).await?;
    ensure_aside(admin, topics, &topics.late).await?;
    ensure_aside(admin, topics, &topics.dlq).await
}

/// Creates `T.final` (one partition), `T.late` and `T.dlq` if they are missing.
///
/// # Errors
/// The brokers', or a sentence if there is no `T`.
pub async fn ensure_finals(admin: &Admin, topics: &Topics) -> Result<()> {
    ensure(admin, NewTopic::new(&topics.finals, 1, replication(admin, &topics.input).await?)).await?;
    ensure_aside(admin, topics, &topics.late).await?;
    ensure_aside(admin, topics, &topics.dlq).await
}

/// Creates `T.late` or `T.dlq` if it is missing: with `T`'s partitions, replication and retention, and with room for every
/// record that `T` takes and what is added to it.
///
/// # Errors
/// The brokers', or a sentence if there is no `T`.
pub async fn ensure_aside(admin: &Admin, topics: &Topics, name: &str) -> Result<()> {
    if describe(admin, name).await?.is_some() {
        return Ok(());
    }
    let count = partitions(admin, &topics.input).await?;
    let mut topic = NewTopic::new(name, count, replication(admin, &topics.input).await?);
    for config in admin.describe_configs(&topics.input).await? {
        let is_own = config.source == ConfigSource::Topic;
        let Some(value) = config.value else { continue };
        // Only what the broker has shown: others don't know every name.
        topic = match config.name.as_str() {
            "retention.ms" => topic.config(config.name, value),
            "max.message.bytes" => topic.config(config.name, with_room(&value).to_string()),
            // Each record keeps its timestamp, however far from the wall clock `T` has let it be.
            "message.timestamp.type" if value != "CreateTime" => topic.config(config.name, "CreateTime"),
            "message.timestamp.after.max.ms"
            | "message.timestamp.before.max.ms"
            | "message.timestamp.difference.max.ms"
                if is_own =>
            {
                topic.config(config.name, value)
            }
            _ => topic,
        };
    }
    ensure(admin, topic).await
}

/// The largest request that a producer of `T.late` and `T.dlq` must be able to send, in bytes: any record of `T`, and what is
/// added to it.
///
/// # Errors
/// The brokers'.
pub async fn largest_aside(admin: &Admin, input: &str) -> Result<usize> {
    let configs = admin.describe_configs(input).await?;
    let limit = configs.into_iter().find(|config| config.name == "max.message.bytes").and_then(|config| config.value);
    Ok(with_room(limit.as_deref().unwrap_or_default()) as usize)
}

/// `max.message.bytes` with room for the headers of a record that was set aside. Less than Kafka's default is not taken for
/// the whole truth: records may be there from before.
fn with_room(limit: &str) -> i32 {
    const DEFAULT: i32 = 1_048_588;
    const HEADERS: i32 = 65_536;
    limit.parse().unwrap_or(DEFAULT).max(DEFAULT).saturating_add(HEADERS)
}

async fn replication(admin: &Admin, topic: &str) -> Result<i16> {
    let found = describe(admin, topic).await?.ok_or_else(|| missing(topic))?;
    let replicas = found.partitions.first().map_or(1, |partition| partition.replicas.len());
    Ok(i16::try_from(replicas).unwrap_or(-1))
}

async fn ensure(admin: &Admin, topic: NewTopic) -> Result<()> {
    let name = topic.name().to_owned();
    if describe(admin, &name).await?.is_some() {
        return Ok(());
    }
    match admin.create_topics([topic]).await?.remove(&name) {
        Some(Err(error)) if error.code() != Some(ErrorCode::TopicAlreadyExists) => return Err(error.into()),
        _ => {}
    }
    // The controller knows it; the broker that is asked next hears of it a moment later.
    for _ in 0..100 {
        if describe(admin, &name).await?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(PipelineError::Log(format!("the topic {name} was made, and no broker knows it after five seconds")))
}

pub(super) fn missing(topic: &str) -> PipelineError {
    let is_aggregates = [".windows", ".late", ".dlq"].iter().any(|suffix| topic.ends_with(suffix));
    let hint = if is_aggregates { "milena aggregate" } else { "milena clickstream" };
    PipelineError::Log(format!("there is no topic {topic}; `{hint}` creates and fills it"))
}
