//! Topics by a regular expression that the client matches, as Java's `subscribe(Pattern)` does and librdkafka for topics
//! that begin with `^`: against the names of all topics, anew whenever these change.

use crate::error::{Error, ErrorKind, Result};
use crate::machine::metadata::Cluster;
use crate::topic_regex::TopicRegex;
use std::sync::Arc;

/// Topics by regular expressions: those whose *whole* name one matches, less those that others match. `clicks-.*`,
/// where `clicks` alone would match no `clicks-1`. The syntax is RE2's, as brokers have it (KIP-848); names are ASCII.
///
/// ```
/// use milena::consumer::TopicPattern;
///
/// let pattern = TopicPattern::new("clicks-.*")?.exclude("clicks-test-.*")?;
/// assert!(pattern.matches("clicks-eu") && !pattern.matches("clicks-test-eu"));
/// # Ok::<(), milena::error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TopicPattern {
    text: Arc<str>,
    include: Arc<TopicRegex>,
    exclude: Vec<Arc<TopicRegex>>,
    with_internal: bool,
}

impl TopicPattern {
    /// Every topic whose whole name matches.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no expression, is empty, or takes more than 1 MiB compiled.
    pub fn new(regex: &str) -> Result<Self> {
        Ok(Self { text: regex.into(), include: compile(regex)?, exclude: vec![], with_internal: false })
    }

    /// Leaves out the topics whose whole name this matches. Brokers have no such list, so the client matches: see
    /// [`Consumer::subscribe_pattern`](crate::consumer::Consumer::subscribe_pattern).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn exclude(mut self, regex: &str) -> Result<Self> {
        self.exclude.push(compile(regex)?);
        Ok(self)
    }

    /// Whether a topic of this name is meant.
    pub fn matches(&self, topic: &str) -> bool {
        self.include.is_match(topic) && !self.exclude.iter().any(|exclude| exclude.is_match(topic))
    }

    /// `exclude.internal.topics=false`: Kafka's own topics too.
    pub(crate) fn with_internal(mut self, with: bool) -> Self {
        self.with_internal = with;
        self
    }

    /// As a broker takes it, if it can.
    pub(crate) fn for_broker(&self) -> Option<Arc<str>> {
        self.exclude.is_empty().then(|| self.text.clone())
    }

    /// The topics that there are and that are meant, in order; `None` before a broker has told of all. What is known of a
    /// topic otherwise counts, too: it is believed in for a while after it has gone, since brokers learn of topics one
    /// after the other, and each change is a rebalance.
    pub(crate) fn topics(&self, cluster: &Cluster) -> Option<Vec<Arc<str>>> {
        let listed = cluster.listed.as_ref()?.iter().map(|(name, internal)| (name, *internal));
        let known = cluster.topics.values().map(|topic| (&topic.name, topic.internal));
        let is_meant = |(name, internal): &(&Arc<str>, bool)| (self.with_internal || !internal) && self.matches(name);
        let mut names: Vec<_> = listed.chain(known).filter(is_meant).map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

fn compile(regex: &str) -> Result<Arc<TopicRegex>> {
    let refused = |why: String| Error::with_message(ErrorKind::InvalidArgument, why);
    if regex.is_empty() {
        return Err(refused("an empty expression matches no topic".into()));
    }
    let refused = |why| refused(format!("`{regex}` is not a valid regular expression: {why}"));
    TopicRegex::new(regex).map(Arc::new).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excluded_is_not_meant_and_internal_topics_only_on_demand() {
        let pattern = TopicPattern::new(".*").unwrap().exclude("test-.*").unwrap().exclude(".*-old").unwrap();
        let listed = [("a", false), ("test-a", false), ("a-old", false), ("latest-a", false), ("__offsets", true)];
        let listed = listed.map(|(name, internal)| (Arc::from(name), internal));
        let mut cluster = Cluster::default();
        assert_eq!(pattern.topics(&cluster), None, "nobody has said which topics there are");
        cluster.listed = Some(Arc::new(listed.into()));
        let names = |pattern: &TopicPattern| pattern.topics(&cluster).unwrap().join(" ");
        assert_eq!(names(&pattern), "a latest-a");
        assert_eq!(names(&pattern.clone().with_internal(true)), "__offsets a latest-a");
        assert_eq!((pattern.for_broker(), TopicPattern::new("a.*").unwrap().for_broker()), (None, Some("a.*".into())));
    }

    #[test]
    fn what_is_no_expression_is_refused_at_once() {
        for wrong in ["", "(", "a)(b", "*"] {
            assert_eq!(TopicPattern::new(wrong).unwrap_err().kind(), ErrorKind::InvalidArgument, "{wrong}");
        }
        assert!(TopicPattern::new("a").unwrap().exclude("[").is_err());
    }
}
