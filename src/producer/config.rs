//! What a producer is made with.

use crate::error::{Error, ErrorKind, Result};
use crate::machine::accumulator::AccumulatorConfig;
use crate::machine::partitioner::Partitioning;
use crate::machine::sender::SenderConfig;
use crate::machine::transaction::TransactionConfig;
use crate::net::clock::bounded;
use crate::record::compression::Compression;
use crate::settings;
use std::sync::Arc;
use std::time::Duration;

/// Whose acknowledgement makes a record written: `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody's: a record counts as written when it was handed to the socket, and its offset is never known.
    None,
    /// The leader's. What it has and its followers have not is lost with it.
    Leader,
    /// The leader's, once all replicas in sync have the record (`min.insync.replicas`).
    #[default]
    All,
}

impl Acks {
    fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Settings of a [`Producer`](super::Producer), by Kafka's names and with Kafka 4.3's defaults. `request.timeout.ms` and
/// `retry.backoff.ms` are the client's.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    acks: Acks,
    batch_size: usize,
    buffer_memory: usize,
    compression: Compression,
    levels: [Option<i32>; 5],
    delivery_timeout: Option<Duration>,
    idempotence: Option<bool>,
    linger: Option<Duration>,
    max_block: Duration,
    max_in_flight: usize,
    max_request_size: usize,
    partitioning: Partitioning,
    ignore_keys: bool,
    adaptive: bool,
    availability_timeout: Duration,
    retries: u32,
    transactional_id: Option<Arc<str>>,
    transaction_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            batch_size: 16_384,
            buffer_memory: 32 << 20,
            compression: Compression::None,
            levels: [None; 5],
            delivery_timeout: None,
            idempotence: None,
            linger: None,
            max_block: Duration::from_secs(60),
            max_in_flight: 5,
            max_request_size: 1 << 20,
            partitioning: Partitioning::default(),
            ignore_keys: false,
            adaptive: true,
            availability_timeout: Duration::ZERO,
            retries: i32::MAX as u32,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

impl ProducerConfig {
    /// Every property that [`ProducerConfig::set`] takes.
    pub const KEYS: &[&str] = &[
        "acks",
        "request.required.acks",
        "batch.size",
        "buffer.memory",
        "queue.buffering.max.kbytes",
        "compression.type",
        "compression.codec",
        "compression.level",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.zstd.level",
        "delivery.timeout.ms",
        "message.timeout.ms",
        "enable.idempotence",
        "linger.ms",
        "queue.buffering.max.ms",
        "max.block.ms",
        "max.in.flight.requests.per.connection",
        "max.in.flight",
        "max.request.size",
        "message.max.bytes",
        "partitioner",
        "partitioner.adaptive.partitioning.enable",
        "partitioner.availability.timeout.ms",
        "partitioner.ignore.keys",
        "retries",
        "message.send.max.retries",
        "transactional.id",
        "transaction.timeout.ms",
    ];

    /// `acks`: whose acknowledgement makes a record written. Default: all. Anything else turns idempotence off.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// `batch.size`: the bytes of one partition's batch, before compression. A batch of this size is reserved of
    /// [`buffer_memory`](Self::buffer_memory) for each partition that is written to. A larger record goes alone.
    /// Default: 16,384; 0 sends every record by itself.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// `buffer.memory`: the bytes of all batches that are open, wait or are under way. `send` waits for room. Default: 32 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// `compression.type`, with the codec's own default level. Default: none.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// `compression.<type>.level`, for the type that is set. Checked when the producer is made.
    pub fn compression_level(mut self, level: i32) -> Self {
        self.levels[self.compression.id() as usize] = Some(level);
        self
    }

    /// `delivery.timeout.ms`: how long after `send` a record fails at the latest, whatever it waits for. Default: 2 min, or
    /// linger and request timeout together if that is more.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = Some(bounded(timeout));
        self
    }

    /// `enable.idempotence`: whether the broker drops what it has already and refuses what is out of order, so that retries
    /// neither double nor reorder. Default: on, unless `acks`, `retries` or `max.in.flight` (more than 5) rule it out.
    pub fn idempotence(mut self, on: bool) -> Self {
        self.idempotence = Some(on);
        self
    }

    /// `linger.ms`: how long a batch waits for more after its first record. Default: 5 ms; and while it is not set here, a
    /// record whose delivery is awaited while no other record of the producer is unfinished doesn't linger.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = Some(bounded(linger));
        self
    }

    /// `max.block.ms`: how long `send` waits for metadata and memory, together. Default: 60 s.
    pub fn max_block(mut self, timeout: Duration) -> Self {
        self.max_block = bounded(timeout);
        self
    }

    /// `max.in.flight.requests.per.connection`. Default: 5. Without idempotence, more than 1 lets a batch overtake one that
    /// is refused and sent again.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// `max.request.size`: the bytes of one record before compression, and of one request. Default: 1 MiB.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }

    /// `partitioner`: how a record that names no partition finds one. It takes a [`Partitioning`] or an application's own
    /// [`Partitioner`](super::Partitioner). Default: the Java client's, which librdkafka calls `murmur2_random`.
    pub fn partitioner(mut self, partitioning: impl Into<Partitioning>) -> Self {
        self.partitioning = partitioning.into();
        self
    }

    /// `partitioner.adaptive.partitioning.enable`: whether records without a key go the more often to a partition the fewer
    /// batches wait there (KIP-794), so that a slow broker gets less. Default: on.
    pub fn partitioner_adaptive(mut self, on: bool) -> Self {
        self.adaptive = on;
        self
    }

    /// `partitioner.availability.timeout.ms`: records without a key keep away from the partitions of a broker for which a
    /// full batch is ready and that has taken none for so long, unless all are like that (KIP-794). Default: 0, which is
    /// never.
    pub fn partitioner_availability_timeout(mut self, timeout: Duration) -> Self {
        self.availability_timeout = bounded(timeout);
        self
    }

    /// `partitioner.ignore.keys`: sends records with a key where those without one go (KIP-794). An application's own
    /// partitioner is asked all the same. Default: off.
    pub fn partitioner_ignore_keys(mut self, on: bool) -> Self {
        self.ignore_keys = on;
        self
    }

    /// `retries`: how often a batch is sent again at most, within `delivery.timeout.ms`. Default: as often as need be.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// `transaction.timeout.ms`: how long a transaction may take before its coordinator aborts it and fences the producer. The
    /// broker's `transaction.max.timeout.ms` (15 min) bounds it. Default: 60 s.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = bounded(timeout);
        self
    }

    /// Takes one property, by Kafka's or librdkafka's name; `false` if it is none of the producer's.
    ///
    /// # Errors
    /// `Config` if the value can't be.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "acks" | "request.required.acks" => {
                self.acks = match value.trim() {
                    "all" | "-1" => Acks::All,
                    "1" => Acks::Leader,
                    "0" => Acks::None,
                    _ => return Err(settings::invalid(key, value, &"it is all, -1, 0 or 1")),
                };
            }
            "batch.size" => self.batch_size = settings::parse(key, value)?,
            "buffer.memory" => self.buffer_memory = settings::parse(key, value)?,
            "queue.buffering.max.kbytes" => {
                self.buffer_memory = settings::parse::<usize>(key, value)?.saturating_mul(1024);
            }
            "compression.type" | "compression.codec" => self.compression = settings::parse(key, value)?,
            // librdkafka's, of whichever codec: -1 is the codec's default, and no level of zstd.
            "compression.level" => self.levels = [Some(settings::parse(key, value)?).filter(|level| *level != -1); 5],
            "compression.gzip.level" => self.set_level(Compression::Gzip, key, value)?,
            "compression.lz4.level" => self.set_level(Compression::Lz4, key, value)?,
            "compression.zstd.level" => self.set_level(Compression::Zstd, key, value)?,
            "delivery.timeout.ms" | "message.timeout.ms" => {
                self.delivery_timeout = Some(settings::millis(key, value)?);
            }
            "enable.idempotence" => self.idempotence = Some(settings::boolean(key, value)?),
            "linger.ms" | "queue.buffering.max.ms" => self.linger = Some(settings::millis(key, value)?),
            "max.block.ms" => self.max_block = settings::millis(key, value)?,
            "max.in.flight.requests.per.connection" | "max.in.flight" => {
                self.max_in_flight = settings::parse(key, value)?;
            }
            "max.request.size" | "message.max.bytes" => self.max_request_size = settings::parse(key, value)?,
            "partitioner" => self.partitioning = settings::parse(key, value)?,
            "partitioner.adaptive.partitioning.enable" => self.adaptive = settings::boolean(key, value)?,
            "partitioner.availability.timeout.ms" => self.availability_timeout = settings::millis(key, value)?,
            "partitioner.ignore.keys" => self.ignore_keys = settings::boolean(key, value)?,
            "retries" | "message.send.max.retries" => self.retries = settings::parse(key, value)?,
            "transactional.id" => self.transactional_id = Some(value.into()),
            "transaction.timeout.ms" => self.transaction_timeout = settings::millis(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One codec's own (KIP-390): checked whether or not it is the one that is used.
    fn set_level(&mut self, compression: Compression, key: &str, value: &str) -> Result<()> {
        let level = settings::parse(key, value)?;
        compression.check_level(level).map_err(|error| settings::invalid(key, value, &error))?;
        self.levels[compression.id() as usize] = Some(level);
        Ok(())
    }

    /// `transactional.id` of a properties file, which a transactional producer is made with unless it is given another.
    pub fn transactional_id(&self) -> Option<&str> {
        self.transactional_id.as_deref()
    }

    pub(super) fn max_block_time(&self) -> Duration {
        self.max_block
    }

    pub(super) fn compression_type(&self) -> Compression {
        self.compression
    }

    pub(super) fn accumulator(&self, request_timeout: Duration) -> Result<AccumulatorConfig> {
        self.compression.check_supported()?;
        let level = self.levels[self.compression.id() as usize];
        level.map_or(Ok(()), |level| self.compression.check_level(level))?;
        if self.buffer_memory == 0 || self.max_request_size == 0 || self.max_in_flight == 0 {
            return Err(bad("buffer.memory, max.request.size and max.in.flight.requests.per.connection are above 0"));
        }
        let linger = self.linger.unwrap_or(Duration::from_millis(5));
        let least = linger.saturating_add(request_timeout);
        let delivery_timeout = match self.delivery_timeout {
            None => Duration::from_secs(120).max(least),
            Some(timeout) if timeout >= least => timeout,
            Some(_) => return Err(bad("delivery.timeout.ms is less than linger.ms and request.timeout.ms together")),
        };
        Ok(AccumulatorConfig {
            batch_size: self.batch_size,
            buffer_memory: self.buffer_memory,
            linger,
            prompt: self.linger.is_none(),
            delivery_timeout,
            max_request_size: self.max_request_size,
            compression: self.compression,
            level,
            partitioning: match &self.partitioning {
                custom @ Partitioning::Custom(_) => custom.clone(),
                _ if self.ignore_keys => Partitioning::Random,
                partitioning => partitioning.clone(),
            },
            adaptive: self.adaptive,
            availability_timeout: self.availability_timeout,
        })
    }

    pub(super) fn sender(
        &self,
        (retry_backoff, retry_backoff_max): (Duration, Duration),
        transactional_id: Option<Arc<str>>,
        seed: u64,
    ) -> Result<SenderConfig> {
        let transaction = transactional_id.map(|transactional_id| TransactionConfig {
            transactional_id,
            timeout: self.transaction_timeout,
            backoff: (retry_backoff, retry_backoff_max),
            seed: seed.wrapping_add(1),
        });
        let possible = self.acks == Acks::All && self.retries > 0 && self.max_in_flight <= 5;
        if self.idempotence == Some(true) && !possible {
            return Err(bad("enable.idempotence needs acks=all, retries above 0 and at most 5 requests in flight"));
        }
        if transaction.is_some() && !self.idempotence.unwrap_or(possible) {
            return Err(bad("transactions need enable.idempotence, and with it acks=all"));
        }
        if transaction.as_ref().is_some_and(|transaction| transaction.transactional_id.is_empty()) {
            return Err(bad("transactional.id is empty"));
        }
        Ok(SenderConfig {
            acks: self.acks.to_wire(),
            idempotence: self.idempotence.unwrap_or(possible),
            max_request_size: self.max_request_size,
            max_in_flight: self.max_in_flight,
            retries: self.retries,
            retry_backoff,
            retry_backoff_max,
            transaction,
            seed,
        })
    }
}

fn bad(message: &'static str) -> Error {
    Error::with_message(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(config: &ProducerConfig) -> Result<SenderConfig> {
        config.sender((Duration::from_millis(100), Duration::from_secs(1)), None, 0)
    }

    #[test]
    fn every_key_is_taken() {
        for key in ProducerConfig::KEYS {
            let value = match *key {
                "compression.type" | "compression.codec" => "lz4",
                "partitioner" => "murmur2",
                "enable.idempotence" | "partitioner.ignore.keys" | "partitioner.adaptive.partitioning.enable" => "true",
                _ => "1",
            };
            assert!(ProducerConfig::default().set(key, value).unwrap(), "{key}");
        }
        assert!(!ProducerConfig::default().set("group.id", "g").unwrap());
        assert!(ProducerConfig::default().set("acks", "2").is_err());
    }

    /// It was looked at only when a batch was compressed: all its records failed.
    #[test]
    fn a_level_that_the_codec_has_not_got_is_refused_when_the_producer_is_made() {
        let made = |config: &ProducerConfig| config.accumulator(Duration::from_secs(30)).map(|config| config.level);
        let gzip = ProducerConfig::default().compression(Compression::Gzip);
        assert_eq!(made(&gzip.clone().compression_level(9)).unwrap(), Some(9));
        assert_eq!(made(&gzip.compression_level(10)).unwrap_err().kind(), ErrorKind::Config);
        for (codec, level, expected) in [
            ("gzip", "0", Err(())),
            ("gzip", "12", Err(())),
            ("gzip", "-1", Ok(None)),
            ("lz4", "-1", Ok(None)),
            ("zstd", "-1", Ok(None)),
            ("zstd", "-2", Ok(Some(-2))),
            ("snappy", "12", Ok(Some(12))),
        ] {
            let mut config = ProducerConfig::default();
            config.set("compression.level", level).unwrap();
            config.set("compression.type", codec).unwrap();
            assert_eq!(made(&config).map_err(drop), expected, "{codec} {level}");
        }
        for (key, value) in
            [("compression.gzip.level", "0"), ("compression.lz4.level", "-1"), ("compression.zstd.level", "23")]
        {
            assert!(ProducerConfig::default().set(key, value).is_err(), "{key}={value}");
        }
        let mut zstd = ProducerConfig::default().compression(Compression::Zstd);
        zstd.set("compression.zstd.level", "-1").unwrap();
        assert_eq!(made(&zstd).unwrap(), Some(-1), "a fast level: zstd has negative ones");
    }

    #[test]
    fn idempotence_is_on_unless_something_rules_it_out() {
        assert!(sender(&ProducerConfig::default()).unwrap().idempotence);
        assert!(!sender(&ProducerConfig::default().acks(Acks::Leader)).unwrap().idempotence);
        assert!(!sender(&ProducerConfig::default().max_in_flight(6)).unwrap().idempotence);
        assert!(sender(&ProducerConfig::default().idempotence(true).retries(0)).is_err());
    }

    #[test]
    fn the_delivery_timeout_covers_linger_and_a_request() {
        let request = Duration::from_secs(30);
        assert_eq!(ProducerConfig::default().accumulator(request).unwrap().delivery_timeout, Duration::from_secs(120));
        assert!(ProducerConfig::default().delivery_timeout(Duration::from_secs(29)).accumulator(request).is_err());
        let long = ProducerConfig::default().linger(Duration::from_secs(200));
        assert_eq!(long.accumulator(request).unwrap().delivery_timeout, Duration::from_secs(230));
    }
}
