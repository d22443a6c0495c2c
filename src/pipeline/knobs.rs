//! `[pipeline]` of the TOML file: what is not Kafka's and has no option on the command line.
//!
//! ```toml
//! [pipeline]
//! "max.future.ms" = "10m"          # an event further ahead of its record's timestamp is dead
//! "max.jump.ms" = "2h"             # one further ahead of its partition's newest is dead; off by default
//! dedup = true                     # an event_id counts once in a window
//! "commit.interval.ms" = 1000      # aggregate and merge commit at least this often
//! "planned.outage.ms" = "1d"       # warns if retention is shorter than this, the longest window and the bound
//! "value.format" = "avro"          # how events stand in records; "json" by default
//! ```
//! Durations are text (`30s`, `5m`, `2d`) or milliseconds. `aggregate`, `sink`, `verify` and `dlq` must be given the same
//! guards and format, or they don't agree about what an event is.

use crate::pipeline::{config::parse_duration, window::JobSpec};
use std::time::Duration;

/// The settings of `[pipeline]`, or their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Knobs {
    /// `max.future.ms`, in microseconds; by default ten minutes.
    pub max_future: i64,
    /// `max.jump.ms`, in microseconds; off by default.
    pub max_jump: Option<i64>,
    /// `dedup`; off by default.
    pub dedup: bool,
    /// `commit.interval.ms`; by default a second.
    pub commit_interval: Duration,
    /// `planned.outage.ms`; by default a day.
    pub planned_outage: Duration,
    /// `value.format`; JSON by default.
    pub value_format: ValueFormat,
}

/// How events stand in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ValueFormat {
    /// JSON text.
    #[default]
    Json,
    /// Avro in Confluent's wire format, by a Schema Registry (feature `schema-registry`).
    Avro,
}

impl std::str::FromStr for ValueFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(Self::Json),
            "avro" => Ok(Self::Avro),
            _ => Err(format!("{name:?} is neither json nor avro")),
        }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            max_future: JobSpec::MAX_FUTURE,
            max_jump: None,
            dedup: false,
            commit_interval: Duration::from_secs(1),
            planned_outage: Duration::from_secs(86_400),
            value_format: ValueFormat::Json,
        }
    }
}

impl Knobs {
    const KEYS: [&str; 6] =
        ["max.future.ms", "max.jump.ms", "dedup", "commit.interval.ms", "planned.outage.ms", "value.format"];
    const TABLES: [&str; 3] = ["kafka", "pipeline", "window"];

    /// From the whole TOML file, whose other tables are looked at for their names only.
    ///
    /// # Errors
    /// A sentence that names the key, and for one that nobody knows the nearest that somebody does.
    pub fn from_toml(file: &toml::Table) -> Result<Self, String> {
        for name in file.keys() {
            known("the file has no table", name, &Self::TABLES)?;
        }
        let mut knobs = Self::default();
        let Some(table) = file.get("pipeline") else { return Ok(knobs) };
        let table = table.as_table().ok_or("[pipeline] is a table")?;
        for (key, value) in table {
            known("[pipeline] has no key", key, &Self::KEYS)?;
            match key.as_str() {
                "dedup" => knobs.dedup = value.as_bool().ok_or("[pipeline] dedup is true or false")?,
                "value.format" => {
                    let name = value.as_str().ok_or("[pipeline] \"value.format\" is \"json\" or \"avro\"")?;
                    knobs.value_format = name.parse().map_err(|why| format!("[pipeline] \"value.format\": {why}"))?;
                }
                "max.future.ms" => knobs.max_future = micros(key, value)?,
                "max.jump.ms" => knobs.max_jump = Some(micros(key, value)?),
                "commit.interval.ms" => knobs.commit_interval = duration(key, value)?,
                _ => knobs.planned_outage = duration(key, value)?,
            }
        }
        Ok(knobs)
    }
}

fn known(what: &str, name: &str, all: &[&str]) -> Result<(), String> {
    if all.contains(&name) {
        return Ok(());
    }
    let nearest = all.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    Err(format!("{what} {name:?}; did you mean {:?}?", nearest.unwrap_or(&"")))
}

fn duration(key: &str, value: &toml::Value) -> Result<Duration, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parse_duration(&text).map_err(|error| format!("[pipeline] {key:?}: {error}"))
}

fn micros(key: &str, value: &toml::Value) -> Result<i64, String> {
    i64::try_from(duration(key, value)?.as_micros()).map_err(|_| format!("[pipeline] {key:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_text_or_milliseconds() {
        let file = "[pipeline]\n\"max.future.ms\" = \"1h\"\n\"commit.interval.ms\" = 250\ndedup = true";
        let knobs = Knobs::from_toml(&file.parse().unwrap()).unwrap();
        let expected = Knobs {
            max_future: 3_600_000_000,
            dedup: true,
            commit_interval: Duration::from_millis(250),
            ..Knobs::default()
        };
        assert_eq!(knobs, expected);
        assert_eq!(Knobs::from_toml(&toml::Table::new()), Ok(Knobs::default()));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_name() {
        let wrong = |text: &str| Knobs::from_toml(&text.parse().unwrap()).unwrap_err();
        assert!(wrong("[pipeline]\n\"max.futur.ms\" = 1").contains("did you mean \"max.future.ms\"?"));
        assert!(wrong("[pipeline]\n\"value.format\" = \"xml\"").contains("neither json nor avro"));
        assert!(wrong("[windows]").contains("did you mean \"window\"?"));
        assert!(wrong("[pipeline]\ndedup = 1").contains("true or false"));
        assert!(
            wrong("[pipeline]\n\"max.jump.ms\" = \"soon\"").contains("\"max.jump.ms\": \"soon\" is not a duration")
        );
    }
}
