//! Under which name a schema is registered.

use crate::error::{Error, ErrorKind, Result};
use crate::settings;
use std::str::FromStr;

/// Which half of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Side {
    /// Its key.
    Key,
    /// Its value.
    #[default]
    Value,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// `key.subject.name.strategy` and `value.subject.name.strategy`: the subject of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SubjectNameStrategy {
    /// `TopicNameStrategy`, the default: `clicks-value`. One type for all of a topic.
    #[default]
    Topic,
    /// `RecordNameStrategy`: the type's full name, `com.example.Click`, whatever the topic.
    Record,
    /// `TopicRecordNameStrategy`: `clicks-com.example.Click`.
    TopicRecord,
}

impl SubjectNameStrategy {
    /// The subject. `record` is the type's full name, if it has one.
    ///
    /// # Errors
    /// `Config` if the strategy needs a name and the schema has none.
    pub fn subject(self, topic: &str, side: Side, record: Option<&str>) -> Result<String> {
        let record = || {
            record.ok_or_else(|| {
                let why = "the schema has no name to make its subject of: an Avro record's name, Protobuf's message, or JSON \
                           Schema's title";
                Error::with_message(ErrorKind::Config, format!("{}.subject.name.strategy: {why}", side.name()))
            })
        };
        Ok(match self {
            Self::Topic => format!("{topic}-{}", side.name()),
            Self::Record => record()?.to_owned(),
            Self::TopicRecord => format!("{topic}-{}", record()?),
        })
    }
}

/// By Java's class or the name alone.
impl FromStr for SubjectNameStrategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.trim().rsplit('.').next().unwrap_or_default() {
            "TopicNameStrategy" => Ok(Self::Topic),
            "RecordNameStrategy" => Ok(Self::Record),
            "TopicRecordNameStrategy" => Ok(Self::TopicRecord),
            _ => {
                let why = "TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy";
                Err(settings::invalid("subject.name.strategy", name, &why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_confluents() {
        for (strategy, expected) in [
            ("io.confluent.kafka.serializers.subject.TopicNameStrategy", "clicks-key"),
            ("RecordNameStrategy", "com.example.Click"),
            ("TopicRecordNameStrategy", "clicks-com.example.Click"),
        ] {
            let strategy: SubjectNameStrategy = strategy.parse().unwrap();
            assert_eq!(strategy.subject("clicks", Side::Key, Some("com.example.Click")).unwrap(), expected);
        }
        assert_eq!(SubjectNameStrategy::Topic.subject("a", Side::Value, None).unwrap(), "a-value");
        let error = SubjectNameStrategy::Record.subject("a", Side::Value, None).unwrap_err().to_string();
        assert!(error.starts_with("value.subject.name.strategy: the schema has no name"), "{error}");
        assert!("MyStrategy".parse::<SubjectNameStrategy>().unwrap_err().to_string().contains("TopicNameStrategy,"));
    }
}
