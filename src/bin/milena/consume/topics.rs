//! Which topics are meant: by name, or by regular expressions.

use crate::args::{Failure, Result};
use crate::hints;
use crate::perf_consume::partitions_of;
use milena::client::Client;
use milena::consumer::TopicPattern;
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use std::fmt;

/// What was asked for.
#[derive(Debug)]
pub enum Topics {
    Named(Vec<String>),
    Matching { pattern: TopicPattern, text: String },
}

impl Topics {
    /// `regex`: all of them are expressions; without it those are that begin with ^, as in librdkafka.
    pub fn new(names: Vec<String>, regex: bool) -> Result<Self> {
        let is_regex = |name: &String| regex || name.starts_with('^');
        if !names.iter().any(is_regex) {
            return Ok(Self::Named(names));
        }
        let alternative = |name: &String| match is_regex(name) {
            true => format!("(?:{name})"),
            false => name.replace('.', "\\."),
        };
        let text = names.iter().map(alternative).collect::<Vec<_>>().join("|");
        // One by one first, so that an error names what is wrong.
        for name in names.iter().filter(|name| is_regex(name)) {
            TopicPattern::new(name).map_err(|error| Failure::config(format!("the topics {name}: {error}")))?;
        }
        Ok(Self::Matching { pattern: TopicPattern::new(&text)?, text: names.join(", ") })
    }

    /// What there is of expressions, without the topics that are Kafka's own.
    async fn matching(&self, client: &Client) -> Result<Vec<String>> {
        let Self::Matching { pattern, .. } = self else { return Ok(Vec::new()) };
        let topics = client.admin().list_topics().await?.into_iter();
        Ok(topics.filter(|topic| !topic.internal && pattern.matches(&topic.name)).map(|topic| topic.name).collect())
    }

    /// What to say to who waits for topics that match, if there is none.
    pub async fn unmatched(&self, client: &Client) -> Result<Option<String>> {
        Ok(match self {
            Self::Matching { text, .. } if self.matching(client).await?.is_empty() => Some(nothing(text)),
            _ => None,
        })
    }

    /// What to say to who waits for topics by their names, of each that is not there. They are asked for, so that brokers which are
    /// not there either are an error, and no wait without end.
    pub async fn missing(&self, client: &Client) -> Result<Vec<Failure>> {
        let Self::Named(names) = self else { return Ok(Vec::new()) };
        let admin = client.admin();
        let mut missing = Vec::new();
        for (name, described) in admin.describe_topics(names).await? {
            match described {
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    missing.push(hints::topic(&admin, &name, error).await);
                }
                _ => {} // what else is wrong with it the member says
            }
        }
        Ok(missing)
    }

    /// All partitions of what is there of them, or those of these numbers.
    ///
    /// # Errors
    /// A topic or a partition that is not there; an expression that matches nothing.
    pub async fn partitions(&self, client: &Client, numbers: &[i32]) -> Result<Vec<TopicPartition>> {
        let mut found = Vec::new();
        match self {
            Self::Named(names) => {
                for name in names {
                    found.extend(only(numbers, partitions_of(client, name).await?, name)?);
                }
            }
            Self::Matching { text, .. } => {
                for name in self.matching(client).await? {
                    found.extend(only(numbers, partitions_of(client, &name).await?, &name)?);
                }
                if found.is_empty() {
                    return Err(Failure::broker(nothing(text)));
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => f.write_str(&names.join(", ")),
            Self::Matching { text, .. } => f.write_str(text),
        }
    }
}

fn nothing(text: &str) -> String {
    format!("no topic matches {text}; the whole name has to, as with clicks-.*")
}

fn only(numbers: &[i32], all: Vec<TopicPartition>, topic: &str) -> Result<Vec<TopicPartition>> {
    let count = all.len();
    if let Some(missing) = numbers.iter().find(|number| !(0..count as i64).contains(&i64::from(**number))) {
        let are = if count == 1 { "only partition 0".to_owned() } else { format!("partitions 0 to {}", count - 1) };
        return Err(Failure::broker(format!("{topic} has {are}: there is no partition {missing}")));
    }
    Ok(all.into_iter().filter(|name| numbers.is_empty() || numbers.contains(&name.partition)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_among_expressions_are_taken_as_they_are() {
        let topics = |names: &[&str], regex| Topics::new(names.iter().map(|name| (*name).to_owned()).collect(), regex);
        assert!(matches!(topics(&["a.b", "c"], false), Ok(Topics::Named(names)) if names == ["a.b", "c"]));
        let Ok(Topics::Matching { pattern, .. }) = topics(&["a.b", "^c.*"], false) else { panic!("an expression") };
        let matching = ["a.b", "c", "cd"].iter().all(|name| pattern.matches(name));
        assert!(matching && !pattern.matches("axb") && !pattern.matches("xcd"));
        let Ok(Topics::Matching { pattern, .. }) = topics(&["a|b", "c.e"], true) else { panic!("expressions") };
        assert!(["a", "b", "cde"].iter().all(|name| pattern.matches(name)) && !pattern.matches("ab"));
        assert!(topics(&["("], true).is_err() && topics(&["a", "^)("], false).is_err());
    }
}
