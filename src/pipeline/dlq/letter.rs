//! One dead letter: the record that it was, and where and why it was set aside.

use crate::consumer::ConsumerRecord;
use crate::pipeline::dead_letter::{self, Stage};
use crate::pipeline::event::Reason;
use crate::record::Header;
use std::borrow::Cow;

/// A record of `T.dlq` or `T.late`, read back.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// The topic that the original stands on.
    pub topic: &'a str,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Who set it aside.
    pub stage: Stage,
    /// The reason's name, or `late`.
    pub reason: &'a str,
    /// The sentence.
    pub message: Cow<'a, str>,
    /// Headers that the original had: what was added stands behind them.
    own: usize,
    record: ConsumerRecord<'a>,
}

impl<'a> Letter<'a> {
    /// `None` if nobody of the pipeline wrote it. A record that was set aside twice is the later letter, and what the
    /// earlier one added is the original's.
    pub fn of(record: &ConsumerRecord<'a>) -> Option<Self> {
        let name = dead_letter::TOPIC.as_bytes();
        let own = record.headers().enumerate().filter(|(_, header)| header.name == name).last()?.0;
        let get = |name: &str| {
            let mut added = record.headers().skip(own);
            added.find(|header| header.name == name.as_bytes()).and_then(|header| header.value)
        };
        let text = |name: &str| get(name).and_then(|value| std::str::from_utf8(value).ok());
        Some(Self {
            topic: text(dead_letter::TOPIC)?,
            partition: text(dead_letter::PARTITION)?.parse().ok()?,
            offset: text(dead_letter::OFFSET)?.parse().ok()?,
            stage: Stage::from_name(text(dead_letter::STAGE)?)?,
            reason: text(dead_letter::REASON)?,
            message: get(dead_letter::MESSAGE).map_or(Cow::Borrowed(""), String::from_utf8_lossy),
            own,
            record: *record,
        })
    }

    /// The headers that the original had.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        self.record.headers().take(self.own)
    }

    /// The record of the queue: its key, value and timestamp are the original's.
    pub fn record(&self) -> &ConsumerRecord<'a> {
        &self.record
    }

    /// `topic[partition]@offset` of the original.
    pub fn place(&self) -> String {
        format!("{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// Which letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only this stage's.
    pub stage: Option<Stage>,
    /// Only those with one of these reasons; all if there are none.
    pub reasons: Vec<String>,
}

impl Filter {
    /// From names on a command line.
    ///
    /// # Errors
    /// A sentence with the names that there are.
    pub fn parse(stage: Option<&str>, reasons: &[String]) -> Result<Self, String> {
        let known = |name: &&str| Stage::from_name(name).is_some();
        if let Some(stage) = stage.filter(|stage| !known(stage)) {
            return Err(format!("no stage is called {stage:?}; there are aggregate, late, merge, sink"));
        }
        let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).chain(["late"]).collect();
        if let Some(reason) = reasons.iter().find(|reason| !names.contains(&reason.as_str())) {
            return Err(format!("no reason is called {reason:?}; there are {}", names.join(", ")));
        }
        Ok(Self { stage: stage.and_then(Stage::from_name), reasons: reasons.to_vec() })
    }

    /// Whether this letter is meant.
    pub fn wants(&self, letter: &Letter<'_>) -> bool {
        self.stage.is_none_or(|stage| stage == letter.stage) && self.wants_reason(letter.reason)
    }

    /// Whether letters of this reason are meant.
    pub fn wants_reason(&self, reason: &str) -> bool {
        self.reasons.is_empty() || self.reasons.iter().any(|wanted| wanted == reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_a_command_line_are_checked() {
        let one = |reason: &str| vec![reason.to_owned()];
        let filter = Filter::parse(Some("sink"), &one("row_refused")).unwrap();
        assert_eq!(filter.stage, Some(Stage::Sink));
        assert!(filter.wants_reason("row_refused") && !filter.wants_reason("not_json"));
        assert!(Filter::parse(None, &[]).unwrap().wants_reason("anything"));
        assert!(Filter::parse(Some("sync"), &[]).unwrap_err().contains("aggregate, late, merge, sink"));
        assert!(Filter::parse(None, &one("bad")).unwrap_err().contains("bad_price"));
    }
}
