//! One error for everything, small and cheap to clone, with questions instead of a hierarchy: what was asked of whom,
//! what went wrong, whether a retry helps, and whether it may have been done all the same.

mod code;
pub use code::ErrorCode;

use crate::ids::{NodeId, TopicPartition};
use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether what was asked for may have happened although it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// It was never sent, or was refused: it did not happen.
    NotSent,
    /// It was sent and no final answer came: it may have happened.
    PossiblySent,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A broker answered with this code.
    Broker(ErrorCode),
    /// The time given for it is up.
    Timeout,
    /// The connection could not be made, or broke.
    Connection,
    /// Bytes that can't be what they should be: a broken peer, or not Kafka at all.
    Malformed,
    /// The broker has no version of this request that we have, or lacks a field that the call needs.
    UnsupportedVersion,
    /// A setting that can't be, or two that contradict.
    Config,
    /// A call that makes no sense in this state: `poll` without a subscription, `seek` on a partition not assigned.
    State,
    /// Closed by the application, or dropped.
    Closed,
    /// A single record larger than `max.request.size`, `buffer.memory` or the broker's limit.
    RecordTooLarge,
    /// No room in `buffer.memory` right now (`try_send`), or not within `max.block.ms`.
    BufferFull,
    /// Dropped by the application, with `Producer::purge`.
    Purged,
    /// No committed offset, or it is out of range, and `auto.offset.reset` is `none`.
    NoOffset,
    /// Records that were read are gone from the log (an unclean election), and `auto.offset.reset` is `none`:
    /// [`Error::diverging_offset`] says from where on.
    LogTruncation,
    /// The application may not do this: authentication or authorization failed.
    Denied,
    /// TLS: the peer's certificate is not good enough, ours is not good enough for the peer, or they have nothing in common.
    Tls,
    /// A value outside of what the call takes.
    InvalidArgument,
    /// Went down with its transaction, which was aborted.
    Aborted,
    /// Nothing is wrong with this record: the broker refused its batch because of another one in it. It can be sent again;
    /// with [`PossiblySent`](Certainty::PossiblySent) it may be there then twice, for it was a retry that was refused.
    BatchRejected,
}

/// What is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Transaction,
    Handle,
}

/// Anything that can go wrong. Clones share their content.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    /// What the broker said, where the kind has no room for it.
    code: Option<ErrorCode>,
    /// How far it goes, where the context decides and not the code.
    extent: Option<Extent>,
    certainty: Option<Certainty>,
    api: Option<&'static str>,
    node: Option<NodeId>,
    address: Option<Arc<str>>,
    partition: Option<TopicPartition>,
    topic: Option<Arc<str>>,
    diverging_offset: Option<i64>,
    message: Option<Cow<'static, str>>,
    hint: Option<&'static str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A peer's words, so far as they can be shown: at most so many letters, and none that a terminal obeys or that turns the
/// direction of writing.
pub(crate) fn shown(words: &str, most: usize) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    words.chars().filter(|c| !c.is_control() && !turns(*c)).take(most).collect()
}

impl Error {
    /// An error of this kind, with nothing else known yet.
    pub fn new(kind: ErrorKind) -> Self {
        Self(Arc::new(Inner {
            kind,
            code: None,
            extent: None,
            certainty: None,
            api: None,
            node: None,
            address: None,
            partition: None,
            topic: None,
            diverging_offset: None,
            message: None,
            hint: None,
            source: None,
        }))
    }

    /// An error of this kind with a lower-case clause for a person.
    pub fn with_message(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind).message(message)
    }

    /// What a broker answered.
    pub fn broker(code: ErrorCode) -> Self {
        let kind = match code {
            ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::DelegationTokenAuthorizationFailed
            | ErrorCode::SaslAuthenticationFailed => {
                return Self::denied(code, code.name());
            }
            code => ErrorKind::Broker(code),
        };
        Self::new(kind)
    }

    /// A broker's no to who we are, in words.
    pub(crate) fn denied(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(ErrorKind::Denied, message).with(|inner| inner.code = Some(code))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Adds or replaces the clause for a person; an empty one, as brokers send it for want of words, changes nothing.
    pub fn message(self, message: impl Into<Cow<'static, str>>) -> Self {
        match message.into() {
            empty if empty.is_empty() => self,
            message => self.with(|inner| inner.message = Some(message)),
        }
    }

    /// Adds what may be wrong, for a person.
    pub fn hint(self, hint: &'static str) -> Self {
        self.with(|inner| inner.hint = Some(hint))
    }

    /// The same, taken for something else.
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        self.with(|inner| inner.kind = kind)
    }

    /// Adds what may be wrong, where nobody has said it better.
    pub(crate) fn or_hint(self, hint: &'static str) -> Self {
        self.with(|inner| inner.hint = inner.hint.or(Some(hint)))
    }

    /// Adds what was asked.
    pub fn api(self, api: &'static str) -> Self {
        self.with(|inner| inner.api = inner.api.or(Some(api)))
    }

    /// Adds whom it was asked of.
    pub fn node(self, node: NodeId) -> Self {
        self.with(|inner| inner.node = Some(node))
    }

    /// Adds where that is.
    pub fn address(self, address: impl Into<Arc<str>>) -> Self {
        self.with(|inner| inner.address = Some(address.into()))
    }

    /// Adds the topic that it is about.
    pub fn topic(self, topic: impl Into<Arc<str>>) -> Self {
        self.with(|inner| inner.topic = Some(topic.into()))
    }

    /// Adds the partition that it is about.
    pub fn partition(self, partition: TopicPartition) -> Self {
        self.with(|inner| inner.partition = Some(partition))
    }

    /// Adds the first offset whose record is another one than was read, or none any more.
    pub(crate) fn diverging_at(self, offset: i64) -> Self {
        self.with(|inner| inner.diverging_offset = Some(offset))
    }

    /// Adds whether it may have been done all the same.
    pub fn certainty(self, certainty: Certainty) -> Self {
        self.with(|inner| inner.certainty = Some(certainty))
    }

    /// Of a question, which does nothing, whether it arrived or not.
    pub(crate) fn of_a_question(self) -> Self {
        self.with(|inner| inner.certainty = None)
    }

    /// Adds the root cause.
    pub fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    /// The clause for a person, if there is one of its own.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's code, if it was a broker that said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.0.kind {
            ErrorKind::Broker(code) => Some(code),
            _ => self.0.code,
        }
    }

    /// Whether it may have been done all the same; `None` where nothing was to be done (a read).
    pub fn delivery_certainty(&self) -> Option<Certainty> {
        self.0.certainty
    }

    /// The partition that it is about.
    pub fn topic_partition(&self) -> Option<&TopicPartition> {
        self.0.partition.as_ref()
    }

    /// For `LogTruncation`: the first offset whose record is another one than was read, or none any more; `None` if the
    /// broker can't say. Seek there to go on.
    pub fn diverging_offset(&self) -> Option<i64> {
        self.0.diverging_offset
    }

    /// Whether asking again may help. The client has done so already, within the time it was given.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Broker(code) => code.is_retriable(),
            ErrorKind::Timeout | ErrorKind::Connection | ErrorKind::BufferFull | ErrorKind::BatchRejected => true,
            _ => false,
        }
    }

    /// Whether the transaction is lost, and only that: it was aborted, or has to be, and the producer can begin another.
    pub fn is_abortable(&self) -> bool {
        match (self.0.extent, self.0.kind) {
            (Some(extent), _) => extent == Extent::Transaction,
            (None, ErrorKind::Aborted) => true,
            (None, ErrorKind::Broker(code)) => code.is_abortable(),
            _ => false,
        }
    }

    /// Whether another with the same `transactional.id`, or the same `group.instance.id`, has taken over. It is fatal: this
    /// one must not go on. `INVALID_PRODUCER_EPOCH` is not this: a coordinator that ended the transaction for its age says it
    /// as well.
    pub fn is_fenced(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::ProducerFenced | ErrorCode::FencedInstanceId))
    }

    /// Whether nothing helps but a new handle: fenced, closed, or not allowed.
    pub fn is_fatal(&self) -> bool {
        match (self.0.extent, self.0.kind) {
            (Some(extent), _) => extent == Extent::Handle,
            (None, ErrorKind::Broker(code)) => code.is_fatal(),
            (None, kind) => matches!(
                kind,
                ErrorKind::Closed
                    | ErrorKind::Denied
                    | ErrorKind::Tls
                    | ErrorKind::UnsupportedVersion
                    | ErrorKind::Config
            ),
        }
    }

    /// Marks that the transaction is lost, and only that.
    pub(crate) fn abortable(self) -> Self {
        self.with(|inner| inner.extent = Some(Extent::Transaction))
    }

    /// Marks that the handle is lost.
    pub(crate) fn fatal(self) -> Self {
        self.with(|inner| inner.extent = Some(Extent::Handle))
    }

    /// What a record fails with when this is what another one in its batch was refused for.
    pub(crate) fn of_another_record(self) -> Self {
        let message = self.code().map(|code| Cow::from(format!("{code} of another record of the same batch")));
        self.with(|inner| (inner.kind, inner.message) = (ErrorKind::BatchRejected, message))
    }

    /// Whether the time was up.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout | ErrorKind::Broker(ErrorCode::RequestTimedOut))
    }

    /// Whether the handle is closed.
    pub fn is_closed(&self) -> bool {
        self.0.kind == ErrorKind::Closed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(partition) = &inner.partition {
            write!(f, "{partition}: ")?;
        } else if let Some(topic) = &inner.topic {
            write!(f, "{topic}: ")?;
        }
        if let Some(api) = inner.api {
            write!(f, "{api}")?;
            if let Some(node) = inner.node {
                write!(f, " to node {node}")?;
            }
            if let Some(address) = &inner.address {
                write!(f, " at {address}")?;
            }
            f.write_str(": ")?;
        } else if let Some(address) = &inner.address {
            write!(f, "{address}: ")?;
        }
        match (inner.kind, &inner.message) {
            (ErrorKind::Broker(code), Some(message)) => write!(f, "{code}: {message}")?,
            (ErrorKind::Broker(code), None) => write!(f, "the broker answered {code}")?,
            (_, Some(message)) => f.write_str(message)?,
            (kind, None) => f.write_str(match kind {
                ErrorKind::Timeout => "no answer in time",
                ErrorKind::Connection => "the connection broke",
                ErrorKind::Malformed => "malformed bytes from the peer",
                ErrorKind::UnsupportedVersion => "the broker has no version of it in common with us",
                ErrorKind::Config => "a setting is wrong",
                ErrorKind::State => "not possible in this state",
                ErrorKind::Closed => "closed",
                ErrorKind::RecordTooLarge => "the record is too large",
                ErrorKind::BufferFull => "buffer.memory is full",
                ErrorKind::Purged => "purged",
                ErrorKind::NoOffset => "no offset to start from, and auto.offset.reset is none",
                ErrorKind::LogTruncation => "the log was truncated below the position",
                ErrorKind::Denied => "not allowed",
                ErrorKind::Tls => "no TLS with this peer",
                ErrorKind::Aborted => "the transaction was aborted",
                ErrorKind::BatchRejected => "the broker refused another record of the same batch",
                ErrorKind::InvalidArgument | ErrorKind::Broker(_) => "an argument is outside of what the call takes",
            })?,
        }
        if inner.certainty == Some(Certainty::PossiblySent) {
            f.write_str(" (it may have been written)")?;
        }
        if let Some(hint) = inner.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("text", &self.to_string());
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::broker(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_and_says_what_was_asked_of_whom() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let error = Error::broker(ErrorCode::NotEnoughReplicasAfterAppend)
            .api("Produce")
            .node(NodeId(2))
            .address("b2:9092")
            .partition(TopicPartition::new("clicks", 3))
            .certainty(Certainty::PossiblySent);
        assert_eq!(
            error.to_string(),
            "clicks[3]: Produce to node 2 at b2:9092: the broker answered NOT_ENOUGH_REPLICAS_AFTER_APPEND (it may have been written)"
        );
        assert!(error.is_retriable() && !error.is_fatal());
    }

    #[test]
    fn a_broker_without_words_leaves_those_that_there_are() {
        for code in [ErrorCode::GroupAuthorizationFailed, ErrorCode::GroupIdNotFound] {
            let error = Error::broker(code).api("FindCoordinator").message(String::new());
            assert!(error.to_string().contains(code.name()), "{error}");
        }
    }
}
