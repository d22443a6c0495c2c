//! What a consumer is made with.

use crate::error::{Error, ErrorKind, Result};
use crate::settings;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::group::assignor::Assignor;
use crate::net::clock::bounded;

pub use crate::machine::group::GroupProtocol;
pub use crate::machine::subscription::OffsetReset;
pub use crate::wire::fetch::IsolationLevel;

/// Settings of a [`Consumer`](super::Consumer), by Kafka's names and with Kafka 4.3's defaults. A small value: clone it
/// freely.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    pub(crate) auto_offset_reset: OffsetReset,
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) max_poll_records: usize,
    pub(crate) fetch_min_bytes: usize,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) fetch_max_bytes: usize,
    pub(crate) max_partition_fetch_bytes: usize,
    pub(crate) prefetch_bytes: usize,
    pub(crate) max_decompressed_bytes: usize,
    pub(crate) partition_eof: bool,
    pub(crate) control_records: bool,
    pub(crate) client_rack: String,
    pub(crate) allow_auto_create_topics: bool,
    pub(crate) exclude_internal_topics: bool,
    pub(crate) group_id: Option<String>,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
    pub(crate) enable_auto_commit: bool,
    pub(crate) auto_commit_interval: Duration,
    pub(crate) enable_auto_offset_store: bool,
    pub(crate) partition_assignment_strategy: Vec<String>,
    pub(crate) assignors: Vec<Arc<dyn Assignor>>,
    pub(crate) group_protocol: GroupProtocol,
    pub(crate) group_remote_assignor: Option<String>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            auto_offset_reset: OffsetReset::Latest,
            isolation_level: IsolationLevel::ReadUncommitted,
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            prefetch_bytes: 64 << 20,
            max_decompressed_bytes: crate::record::DEFAULT_DECOMPRESSED_LIMIT,
            partition_eof: false,
            control_records: false,
            client_rack: String::new(),
            allow_auto_create_topics: true,
            exclude_internal_topics: true,
            group_id: None,
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            enable_auto_offset_store: true,
            partition_assignment_strategy: vec!["range".into(), "cooperative-sticky".into()],
            assignors: vec![],
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
        }
    }
}

impl ConsumerConfig {
    /// Every property that [`ConsumerConfig::set`] takes.
    pub const KEYS: &[&str] = &[
        "auto.offset.reset",
        "isolation.level",
        "max.poll.records",
        "fetch.min.bytes",
        "fetch.max.wait.ms",
        "fetch.wait.max.ms",
        "fetch.max.bytes",
        "max.partition.fetch.bytes",
        "fetch.message.max.bytes",
        "prefetch.bytes",
        "queued.max.messages.kbytes",
        "max.decompressed.bytes",
        "enable.partition.eof",
        "client.rack",
        "allow.auto.create.topics",
        "exclude.internal.topics",
        "check.crcs",
        "group.id",
        "group.instance.id",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "enable.auto.commit",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "enable.auto.offset.store",
        "partition.assignment.strategy",
        "group.protocol",
        "group.remote.assignor",
    ];

    /// A member of this group.
    pub fn group(id: impl Into<String>) -> Self {
        Self::default().group_id(id)
    }

    /// `auto.offset.reset`: where to start without a committed offset, and where to go on when the position is out of
    /// range. Default: the end.
    pub fn auto_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.auto_offset_reset = reset;
        self
    }

    /// `isolation.level`. Default: `read_uncommitted`.
    pub fn isolation_level(mut self, isolation: IsolationLevel) -> Self {
        self.isolation_level = isolation;
        self
    }

    /// `max.poll.records`: a poll stops adding batches when they hold this many records. Batches are handed out whole,
    /// so that none is decompressed twice: a poll may bring more, by at most one batch less one record. It bounds what
    /// one poll brings, and never what is fetched: what a poll leaves waits for the next. Default: 500.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// `fetch.min.bytes`: a broker waits for this much, `fetch.max.wait.ms` at most. Default: 1 byte.
    pub fn fetch_min_bytes(mut self, bytes: usize) -> Self {
        self.fetch_min_bytes = bytes;
        self
    }

    /// `fetch.max.wait.ms`: how long a broker may wait for `fetch.min.bytes`. A seek or an assignment waits behind a
    /// Fetch that is parked at the broker, so this bounds their delay too. Default: 500 ms.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.fetch_max_wait = bounded(wait);
        self
    }

    /// `fetch.max.bytes`: a soft limit for one answer; a first batch larger than it still comes. An answer is also
    /// limited to half of the broker's share of [`prefetch_bytes`](Self::prefetch_bytes). Default: 50 MiB.
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.fetch_max_bytes = bytes.max(1);
        self
    }

    /// `max.partition.fetch.bytes`: a soft limit for what one answer brings of one partition. A broker cuts the last
    /// batch, which then comes again: with batches near this size much is read twice. Default: 1 MiB.
    pub fn max_partition_fetch_bytes(mut self, bytes: usize) -> Self {
        self.max_partition_fetch_bytes = bytes.max(1);
        self
    }

    /// `prefetch.bytes`: how much is fetched ahead of the application, all partitions together, paused ones included,
    /// and shared evenly between the brokers. What `poll` has returned belongs to the application and doesn't count; a
    /// single batch larger than the room exceeds it. Default: 64 MiB.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.prefetch_bytes = bytes.max(1);
        self
    }

    /// `max.decompressed.bytes`: a batch that decompresses to more is refused. Default: 256 MiB.
    pub fn max_decompressed_bytes(mut self, bytes: usize) -> Self {
        self.max_decompressed_bytes = bytes.max(1);
        self
    }

    /// `enable.partition.eof`: [`Consumer::next`](super::Consumer::next) tells when the end of a partition is reached.
    /// Default: no.
    pub fn enable_partition_eof(mut self, enable: bool) -> Self {
        self.partition_eof = enable;
        self
    }

    /// Hands out control records too, the markers with which brokers end transactions: for tools that show what is in a log.
    /// [`ConsumerRecord::control`](super::ConsumerRecord::control) tells them from an application's. No property of Kafka's.
    /// Default: no.
    pub fn control_records(mut self, show: bool) -> Self {
        self.control_records = show;
        self
    }

    /// `client.rack`: where we are, for brokers that pick a replica nearby (KIP-392, `replica.selector.class`), and for
    /// assignors that give us what is nearby (KIP-881). Records are read from that replica then; for 5 minutes, after which
    /// the leader is asked again, and from the leader when it fails. Default: none, and all reading is from leaders.
    pub fn client_rack(mut self, rack: impl Into<String>) -> Self {
        self.client_rack = rack.into();
        self
    }

    /// `allow.auto.create.topics`: asking for a topic may create it, where the broker does that. Default: yes.
    pub fn allow_auto_create_topics(mut self, allow: bool) -> Self {
        self.allow_auto_create_topics = allow;
        self
    }

    /// `exclude.internal.topics`: a [`TopicPattern`](super::TopicPattern) that this client matches leaves out Kafka's own topics,
    /// such as `__consumer_offsets`. By name they can be subscribed to whatever this is. Default: yes.
    pub fn exclude_internal_topics(mut self, exclude: bool) -> Self {
        self.exclude_internal_topics = exclude;
        self
    }

    /// `group.id`. Default: none, which leaves `assign` and no commits.
    pub fn group_id(mut self, id: impl Into<String>) -> Self {
        self.group_id = Some(id.into());
        self
    }

    /// `group.instance.id`: makes the member static: its partitions wait for it over a restart. Default: none.
    pub fn group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.group_instance_id = Some(id.into());
        self
    }

    /// `session.timeout.ms`: a member that is silent for this long is out of the group. Default: 45 s. The broker's, with
    /// [`GroupProtocol::Consumer`].
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = bounded(timeout);
        self
    }

    /// `heartbeat.interval.ms`. Default: 3 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = bounded(interval);
        self
    }

    /// `max.poll.interval.ms`: an application that doesn't poll for this long loses its partitions. A poll is a call of
    /// [`next`](super::Consumer::next) or [`poll`](super::Consumer::poll), for as long as it waits: heartbeats, commits and
    /// other calls are none, nor is a task that holds records. What is measured is thus from the return of one call to the
    /// next call, to a tenth of the interval or a second, whichever is less. It is also how long a rebalance waits for this
    /// member. Default: 5 min.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = bounded(interval);
        self
    }

    /// `enable.auto.commit`: what earlier polls returned (or what was marked, without
    /// [`enable.auto.offset.store`](Self::enable_auto_offset_store)) is committed every `auto.commit.interval.ms`, before a
    /// revocation and on close. Default: yes.
    pub fn enable_auto_commit(mut self, enable: bool) -> Self {
        self.enable_auto_commit = enable;
        self
    }

    /// `auto.commit.interval.ms`. Default: 5 s.
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.auto_commit_interval = bounded(interval);
        self
    }

    /// `enable.auto.offset.store` (librdkafka's name): what was handed out counts as processed with the next poll. With
    /// `false` only what you [`mark_processed`](super::Consumer::mark_processed) does, for auto-commit and for
    /// [`commit`](super::Consumer::commit) alike: for applications whose work outlasts a poll. Default: yes.
    pub fn enable_auto_offset_store(mut self, enable: bool) -> Self {
        self.enable_auto_offset_store = enable;
        self
    }

    /// `partition.assignment.strategy`: `range`, `roundrobin`, `sticky`, `cooperative-sticky`, or an
    /// [`assignor`](Self::assignor) of your own, by preference; the group takes the first that all members have. With an
    /// eager one among them (all but `cooperative-sticky`) members give up everything before each rebalance. To change a
    /// running group from an eager to the cooperative one, restart its members twice: with both, then with the new one
    /// alone. `range` and the sticky ones look at [`client.rack`](Self::client_rack) (KIP-881). Default: range,
    /// cooperative-sticky.
    pub fn partition_assignment_strategy(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partition_assignment_strategy = names.into_iter().map(Into::into).collect();
        self
    }

    /// Makes an assignor of your own known, so that [`partition.assignment.strategy`](Self::partition_assignment_strategy) can
    /// name it. One that has the name of another takes its place.
    pub fn assignor(mut self, assignor: impl Assignor + 'static) -> Self {
        self.assignors.push(Arc::new(assignor));
        self
    }

    /// `group.protocol`: who assigns, a member or the coordinator. With [`GroupProtocol::Consumer`] the coordinator sets the
    /// session timeout and the interval of heartbeats, and `partition.assignment.strategy` has no say: Kafka's
    /// `group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms` and
    /// [`group.remote.assignor`](Self::group_remote_assignor) have. A broker without it (KIP-848, Apache Kafka from 4.0)
    /// is told by the first poll, as `UnsupportedVersion`. Default: `classic`.
    pub fn group_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.group_protocol = protocol;
        self
    }

    /// `group.remote.assignor`: which of the coordinator's assignors, with [`GroupProtocol::Consumer`]; `uniform`, `range`,
    /// or one that the broker was given. Default: the broker's first.
    pub fn group_remote_assignor(mut self, name: impl Into<String>) -> Self {
        self.group_remote_assignor = Some(name.into());
        self
    }

    /// Takes one property, by Kafka's name or librdkafka's; `false` if it is none of the consumer's.
    ///
    /// # Errors
    /// `Config` if the value can't be.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        let positive = || match settings::parse::<usize>(key, value)? {
            0 => Err(settings::invalid(key, value, &"must be at least 1")),
            number => Ok(number),
        };
        let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "auto.offset.reset" => self.auto_offset_reset = reset(key, value)?,
            "isolation.level" => {
                self.isolation_level = match value {
                    "read_uncommitted" => IsolationLevel::ReadUncommitted,
                    "read_committed" => IsolationLevel::ReadCommitted,
                    _ => return Err(settings::invalid(key, value, &"is read_uncommitted or read_committed")),
                }
            }
            "max.poll.records" => self.max_poll_records = positive()?,
            "fetch.min.bytes" => self.fetch_min_bytes = settings::parse(key, value)?,
            "fetch.max.wait.ms" | "fetch.wait.max.ms" => self.fetch_max_wait = settings::millis(key, value)?,
            "fetch.max.bytes" => self.fetch_max_bytes = positive()?,
            "max.partition.fetch.bytes" | "fetch.message.max.bytes" => self.max_partition_fetch_bytes = positive()?,
            "prefetch.bytes" => self.prefetch_bytes = positive()?,
            "queued.max.messages.kbytes" => self.prefetch_bytes = positive()?.saturating_mul(1024),
            "max.decompressed.bytes" => self.max_decompressed_bytes = positive()?,
            "enable.partition.eof" => self.partition_eof = settings::boolean(key, value)?,
            "client.rack" => value.clone_into(&mut self.client_rack),
            "allow.auto.create.topics" => self.allow_auto_create_topics = settings::boolean(key, value)?,
            "exclude.internal.topics" => self.exclude_internal_topics = settings::boolean(key, value)?,
            "check.crcs" if settings::boolean(key, value)? => {}
            "check.crcs" => return Err(settings::invalid(key, value, &"checksums are always verified")),
            "group.id" => self.group_id = text(value),
            "group.instance.id" => self.group_instance_id = text(value),
            "session.timeout.ms" => self.session_timeout = settings::millis(key, value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = settings::millis(key, value)?,
            "max.poll.interval.ms" => self.max_poll_interval = settings::millis(key, value)?,
            "enable.auto.commit" | "auto.commit.enable" => self.enable_auto_commit = settings::boolean(key, value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = settings::millis(key, value)?,
            "enable.auto.offset.store" => self.enable_auto_offset_store = settings::boolean(key, value)?,
            "partition.assignment.strategy" => self.partition_assignment_strategy = settings::list(value),
            "group.protocol" => {
                self.group_protocol = match value.to_ascii_lowercase().as_str() {
                    "classic" => GroupProtocol::Classic,
                    "consumer" => GroupProtocol::Consumer,
                    _ => return Err(settings::invalid(key, value, &"is classic or consumer")),
                }
            }
            "group.remote.assignor" => self.group_remote_assignor = text(value),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses settings that can't be or that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |why: &'static str| Err(Error::with_message(ErrorKind::Config, why));
        if self.fetch_min_bytes > i32::MAX as usize || self.fetch_max_bytes > i32::MAX as usize {
            return refuse("fetch.min.bytes and fetch.max.bytes are at most 2147483647");
        }
        if self.fetch_min_bytes > self.fetch_max_bytes {
            return refuse("fetch.min.bytes is larger than fetch.max.bytes: every fetch would wait in vain");
        }
        if self.group_id.is_some() && self.heartbeat_interval >= self.session_timeout {
            return refuse("heartbeat.interval.ms must be below session.timeout.ms");
        }
        // As Java does: better told than ignored.
        match self.group_protocol {
            GroupProtocol::Classic if self.group_remote_assignor.is_some() => {
                return refuse("group.remote.assignor needs group.protocol=consumer");
            }
            GroupProtocol::Consumer => {
                let default = Self::default();
                let mine = (self.session_timeout, self.heartbeat_interval, &self.partition_assignment_strategy);
                if mine != (default.session_timeout, default.heartbeat_interval, &default.partition_assignment_strategy)
                {
                    return refuse(
                        "session.timeout.ms, heartbeat.interval.ms and partition.assignment.strategy are the broker's with \
                         group.protocol=consumer",
                    );
                }
            }
            GroupProtocol::Classic => {}
        }
        Ok(())
    }
}

fn reset(key: &str, value: &str) -> Result<OffsetReset> {
    Ok(match value {
        "earliest" | "smallest" | "beginning" => OffsetReset::Earliest,
        "latest" | "largest" | "end" => OffsetReset::Latest,
        "none" | "error" => OffsetReset::None,
        _ => {
            let wrong = || settings::invalid(key, value, &"is earliest, latest, by_duration:<ISO 8601>, or none");
            OffsetReset::ByDuration(value.strip_prefix("by_duration:").and_then(iso_8601).ok_or_else(wrong)?)
        }
    })
}

/// Days, hours, minutes and seconds, as Java's `Duration.parse` takes them: `P7D`, `PT1H30M`, `PT0.5S`. Not negative.
fn iso_8601(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.get(1..)?, ""),
    };
    let mut total = Duration::ZERO;
    let mut found = false;
    for (mut rest, mut units) in [(days, &[('D', 86_400.0)][..]), (time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])] {
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_uppercase())?;
            let (number, unit) = rest.split_at_checked(end)?;
            let at = units.iter().position(|(name, _)| unit.starts_with(*name))?;
            let ((name, seconds), later) = units.get(at..)?.split_first()?;
            if !number.bytes().all(|b| b.is_ascii_digit() || (b == b'.' && *name == 'S')) {
                return None;
            }
            total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
            (rest, units, found) = (unit.get(1..)?, later, true);
        }
    }
    found.then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_key_is_taken_and_no_other() {
        for key in ConsumerConfig::KEYS {
            let value = match *key {
                "auto.offset.reset" => "earliest",
                "isolation.level" => "read_committed",
                "group.protocol" => "CONSUMER",
                "exclude.internal.topics"
                | "enable.partition.eof"
                | "allow.auto.create.topics"
                | "check.crcs"
                | "enable.auto.commit"
                | "auto.commit.enable"
                | "enable.auto.offset.store" => "TRUE",
                _ => "1000",
            };
            assert!(ConsumerConfig::default().set(key, value).unwrap(), "{key}");
        }
        assert!(!ConsumerConfig::default().set("linger.ms", "5").unwrap());
        for (key, value) in [("max.poll.records", "0"), ("check.crcs", "false"), ("auto.offset.reset", "newest")] {
            assert_eq!(ConsumerConfig::default().set(key, value).unwrap_err().kind(), ErrorKind::Config, "{key}");
        }
    }

    #[test]
    fn what_only_the_other_group_protocol_has_is_refused_and_not_ignored() {
        let consumer = || ConsumerConfig::group("g").group_protocol(GroupProtocol::Consumer);
        assert!(consumer().group_remote_assignor("range").check().is_ok());
        for wrong in [
            consumer().session_timeout(Duration::from_secs(6)),
            consumer().heartbeat_interval(Duration::from_secs(1)),
            consumer().partition_assignment_strategy(["range"]),
            ConsumerConfig::group("g").group_remote_assignor("range"),
        ] {
            assert_eq!(wrong.check().unwrap_err().kind(), ErrorKind::Config);
        }
        assert!(ConsumerConfig::default().set("group.protocol", "streams").is_err());
    }

    #[test]
    fn a_reset_by_duration_takes_iso_8601_and_nothing_negative() {
        for (text, seconds) in [("P7D", 604_800.0), ("PT1H30M", 5400.0), ("P1DT0.5S", 86_400.5), ("pt0s", 0.0)] {
            let expected = OffsetReset::ByDuration(Duration::from_secs_f64(seconds));
            assert_eq!(reset("k", &format!("by_duration:{text}")).unwrap(), expected, "{text}");
        }
        for bad in ["", "P", "PT", "7D", "P-7D", "-PT1S", "PT1S1H", "P1H", "PTS", "P1.5D", "P1Y"] {
            assert!(reset("k", &format!("by_duration:{bad}")).is_err(), "{bad}");
        }
    }
}
