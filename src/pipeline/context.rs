//! What every stage is handed: a client, the properties of its producer and consumer, and the wish to stop.

use crate::{
    client::Client,
    consumer::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset},
    error::{Error, ErrorCode, ErrorKind},
    pipeline::{
        error::{PipelineError, Result},
        event::EventFormat,
        metrics::Metrics,
        stop::Stop,
    },
    producer::{Producer, ProducerConfig},
    properties::Properties,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Handed to each command; clones share the client.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where the topics are.
    pub client: Client,
    /// The producer's settings, as the user gave them.
    pub producer: ProducerConfig,
    /// The consumer's settings, as the user gave them; where they said nothing, the pipeline's.
    pub consumer: ConsumerConfig,
    /// When to stop in order.
    pub stop: Stop,
    /// What the stages count; clones of the context count together.
    pub metrics: Metrics,
    /// How events stand in records; JSON by default.
    pub events: EventFormat,
}

impl Context {
    /// How long a stage may take to say goodbye.
    pub const FAREWELL: Duration = Duration::from_secs(10);

    /// `session.timeout.ms` of a member where the user gave none: a dead one is noticed soon.
    pub const SESSION: Duration = Duration::from_secs(6);
    /// `heartbeat.interval.ms` of a member where the user gave none.
    pub const HEARTBEAT: Duration = Duration::from_secs(2);
    /// `metadata.max.age.ms` of a pipeline's client where the user gave none: new partitions are seen soon.
    pub const METADATA_MAX_AGE: Duration = Duration::from_secs(10);

    /// The pipeline's defaults, and nobody who stops it.
    pub fn new(client: Client) -> Self {
        let consumer = ConsumerConfig::default().session_timeout(Self::SESSION).heartbeat_interval(Self::HEARTBEAT);
        let (producer, stop, metrics) = (ProducerConfig::default(), Stop::new(), Metrics::new());
        Self { client, producer, consumer, stop, metrics, events: EventFormat::json() }
    }

    /// Adds the pipeline's defaults to what the user said. Whoever gives only a shorter session gets heartbeats to match.
    ///
    /// # Errors
    /// What [`Properties::insert`] refuses; a value that can't be is told when it is used.
    pub fn defaults(properties: &mut Properties) -> Result<()> {
        let given = |properties: &Properties, key: &str| {
            properties.iter().find(|(known, _)| *known == key).map(|(_, value)| value.to_owned())
        };
        let mut heartbeat = Self::HEARTBEAT.as_millis();
        if let Some(session) = given(properties, "session.timeout.ms").and_then(|text| text.parse::<u128>().ok()) {
            heartbeat = heartbeat.min(session / 3);
        }
        for (key, value) in [
            ("metadata.max.age.ms", Self::METADATA_MAX_AGE.as_millis()),
            ("session.timeout.ms", Self::SESSION.as_millis()),
            ("heartbeat.interval.ms", heartbeat),
        ] {
            if given(properties, key).is_none() {
                properties.insert(key, &value.to_string())?;
            }
        }
        Ok(())
    }

    /// The same with producers that can send requests of so many bytes, whatever the user gave as `max.request.size`: a
    /// record that can't be set aside could never be passed.
    #[must_use]
    pub fn with_largest_request(&self, bytes: usize) -> Self {
        Self { producer: self.producer.clone().max_request_size(bytes), ..self.clone() }
    }

    /// A producer.
    ///
    /// # Errors
    /// Settings that contradict.
    pub fn producer(&self) -> Result<Producer> {
        Ok(self.client.producer(self.producer.clone())?)
    }

    /// A member of a pipeline's group: cooperative, committing only by itself, reading what is committed. Of the user's settings all others stay.
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
            .partition_assignment_strategy(["cooperative-sticky"]);
        if let Some(instance) = instance {
            config = config.group_instance_id(instance);
        }
        Ok(self.client.consumer(config)?)
    }

    /// What a member says that its group has refused for good.
    pub(super) fn refused(error: Error, group: &str, instance: Option<&str>) -> PipelineError {
        match (error.code(), instance) {
            (Some(ErrorCode::FencedInstanceId), Some(name)) => PipelineError::Config(format!(
                "another process has joined group {group} with --instance {name} and taken its place ({error}); give each process \
                 a name of its own"
            )),
            _ => error.into(),
        }
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

/// A look-up in the midst of a member's loop: it must go round again soon, whoever doesn't answer.
pub(super) async fn soon<T>(look: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    const SOON: Duration = Duration::from_secs(5);
    let late = || Error::with_message(ErrorKind::Timeout, "the brokers did not answer soon; asked again later");
    tokio::time::timeout(SOON, look).await.unwrap_or_else(|_| Err(late()))
}

/// The wall clock, in microseconds since 1970. Only idle timeouts and pacing look at it, never a decision about a record.
#[allow(clippy::disallowed_methods, reason = "a shell's clock")]
pub fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_gave_stays() {
        let values = |text: &str| {
            let mut properties = Properties::parse(text).unwrap();
            Context::defaults(&mut properties).unwrap();
            let of = |key: &str| properties.iter().find(|(known, _)| *known == key).unwrap().1.to_owned();
            ["metadata.max.age.ms", "session.timeout.ms", "heartbeat.interval.ms"].map(of)
        };
        assert_eq!(values(""), ["10000", "6000", "2000"]);
        let all = "session.timeout.ms=45000\nheartbeat.interval.ms=3000\nmetadata.max.age.ms=300000";
        assert_eq!(values(all), ["300000", "45000", "3000"]);
        assert_eq!(values("session.timeout.ms=1500"), ["10000", "1500", "500"]);
        assert_eq!(values("session.timeout.ms=30000"), ["10000", "30000", "2000"]);
    }
}
