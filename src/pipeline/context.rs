//! What every stage is handed: a client, the properties of its producer and consumer, and the wish to stop.

use crate::{
    client::Client,
    consumer::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset},
    pipeline::{error::Result, stop::Stop},
    producer::{Producer, ProducerConfig},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Handed to each command; clones share the client.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where the topics are.
    pub client: Client,
    /// The producer's settings, as the user gave them.
    pub producer: ProducerConfig,
    /// The consumer's settings, as the user gave them.
    pub consumer: ConsumerConfig,
    /// When to stop in order.
    pub stop: Stop,
}

impl Context {
    /// How long a stage may take to say goodbye.
    pub const FAREWELL: Duration = Duration::from_secs(10);

    /// Kafka's defaults, and nobody who stops it.
    pub fn new(client: Client) -> Self {
        Self { client, producer: ProducerConfig::default(), consumer: ConsumerConfig::default(), stop: Stop::new() }
    }

    /// A producer.
    ///
    /// # Errors
    /// Settings that contradict.
    pub fn producer(&self) -> Result<Producer> {
        Ok(self.client.producer(self.producer.clone())?)
    }

    /// A member of a pipeline's group: cooperative, quick to notice a dead member, committing only by itself, reading what
    /// is committed. Of the user's settings all others stay.
    ///
    /// # Errors
    /// Settings that contradict.
    pub fn member(&self, group: &str, instance: Option<&str>) -> Result<Consumer> {
        let mut config = self
            .consumer
            .clone()
            .group_id(group)
            .enable_auto_commit(false)
            .auto_offset_reset(OffsetReset::None)
            .isolation_level(IsolationLevel::ReadCommitted)
            .partition_assignment_strategy(["cooperative-sticky"])
            .session_timeout(Duration::from_secs(6))
            .heartbeat_interval(Duration::from_secs(2));
        if let Some(instance) = instance {
            config = config.group_instance_id(instance);
        }
        Ok(self.client.consumer(config)?)
    }

    /// A consumer outside of any group, that reads what is committed.
    ///
    /// # Errors
    /// Settings that contradict.
    pub fn reader(&self) -> Result<Consumer> {
        let config = self.consumer.clone().isolation_level(IsolationLevel::ReadCommitted);
        Ok(self.client.consumer(config.auto_offset_reset(OffsetReset::Earliest))?)
    }
}

/// The wall clock, in microseconds since 1970. Only idle timeouts and pacing look at it, never a decision about a record.
#[allow(clippy::disallowed_methods, reason = "a shell's clock")]
pub fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
