//! How every call of the admin asks: about its items, each where it belongs, all of one place in one request; and again about
//! those of which the answer says that it was the wrong place or too early, until the call's deadline.
//!
//! Items are numbers here and a call is a [`Call`]: so this is compiled once, and not for each of some sixty calls.

use super::Admin;
use super::places::{Found, Target};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::NodeId;
use crate::net::brokers::Purpose;
use crate::net::connection::Connection;
use futures_util::future::{BoxFuture, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing: it may be asked as often as one likes.
    Question,
    /// A change that may be asked for twice: the second time it finds what it wants.
    Repeatable,
    /// A change. What may have been done is not asked for twice: "it exists already" would be our own doing.
    Change,
    /// The same, and Kafka can be asked only to check it (`validate_only`).
    Checkable,
}

/// Of which items an answer says what, or why not.
pub(super) type Told = Vec<(usize, Result<()>)>;

/// What is a call's own; its items are numbers from 0 on.
pub(super) trait Call: Send + Sync {
    /// Who is to be asked about each of these. `again`: what was found before was wrong, or too early.
    fn find<'a>(&'a self, items: &'a [usize], again: bool) -> BoxFuture<'a, Result<Found<usize>>>;

    /// Codes that mean that it is asked too early or of the wrong broker, beside those that always do.
    fn passes(&self, code: ErrorCode, from: Source) -> bool;

    /// The version to ask in.
    fn version(&self, connection: &Connection) -> Result<i16>;

    /// Whether the broker can be asked about this item.
    fn fits(&self, connection: &Connection, item: usize) -> Result<()>;

    /// Asks about these in one request; keeps what is answered, and says of which that is so, each once.
    fn ask<'a>(
        &'a self,
        connection: &'a Connection,
        items: &'a [usize],
        version: i16,
        node: Option<NodeId>,
    ) -> BoxFuture<'a, Result<Told>>;
}

/// A call on its way.
pub(super) struct Rounds<'a> {
    pub(super) admin: &'a Admin,
    pub(super) exchange: &'a dyn Call,
    pub(super) api: &'static str,
    pub(super) doing: Doing,
    /// How many items a request of a version has room for.
    pub(super) most: fn(i16) -> usize,
    pub(super) deadline: Instant,
}

/// What was heard of an item, and from whom.
struct Heard {
    item: usize,
    outcome: Result<()>,
    from: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Of items alike, and not by a broker of one of them: the question could not be put or did not arrive, or no answer came, or
    /// one to all of it.
    Whole,
    /// Of this item, by whoever was asked where it belongs.
    Lookup,
    /// Of this item, by who it was asked of.
    Answer,
}

impl Rounds<'_> {
    /// What came of each of so many items, and whether a broker has said something final about one of them, and not of all alike.
    pub(super) async fn run(self, items: usize) -> Result<(Vec<Result<()>>, bool)> {
        self.refuse_in_a_dry_run()?;
        let mut left: BTreeSet<usize> = (0..items).collect();
        // Neither where an item belongs nor who was asked has said anything of it, unless it says so below.
        let silence = || Error::with_message(ErrorKind::Malformed, "the answer says nothing of it").api(self.api);
        let mut outcomes: Vec<Result<()>> = (0..items).map(|_| Err(silence())).collect();
        let mut answered = false;
        let mut backoff = self.admin.client.backoff();
        while !left.is_empty() {
            let mut waiting = BTreeMap::new();
            for Heard { item, outcome, from } in self.round(&left, backoff.tries() > 0).await {
                if !left.contains(&item) || waiting.contains_key(&item) {
                    continue; // it has been said before
                }
                match outcome.map_err(|error| self.certain(error).api(self.api)) {
                    Err(error) if self.passes(&error, from) => drop(waiting.insert(item, error)),
                    outcome => {
                        left.remove(&item);
                        answered |= from != Source::Whole;
                        outcomes[item] = outcome;
                    }
                }
            }
            left.retain(|item| waiting.contains_key(item));
            let wait = backoff.next_wait();
            if self.admin.client.now() + wait >= self.deadline {
                waiting.into_iter().for_each(|(item, error)| outcomes[item] = Err(error));
                break;
            }
            if let Some(error) = waiting.values().next() {
                tracing::debug!(%error, left = left.len(), "asked again");
                self.admin.client.sleep(wait).await;
            }
        }
        Ok((outcomes, answered))
    }

    /// Asks once about all that is left.
    async fn round(&self, left: &BTreeSet<usize>, again: bool) -> Vec<Heard> {
        let items: Vec<usize> = left.iter().copied().collect();
        // Whatever becomes of the question where an item belongs, the item's own request was not sent.
        let unsent = |error: Error| error.certainty(Certainty::NotSent);
        let found = match self.exchange.find(&items, again).await {
            Ok(found) => found,
            Err(error) => return all(&items, &unsent(error)),
        };
        let mut heard = Vec::new();
        let mut by_target: BTreeMap<Target, Vec<usize>> = BTreeMap::new();
        for (item, target) in found {
            match target {
                Ok(target) => by_target.entry(target).or_default().push(item),
                Err(error) => heard.push(Heard { item, outcome: Err(unsent(error)), from: Source::Lookup }),
            }
        }
        let nodes = by_target.keys().filter_map(|target| target.node()).collect();
        self.admin.meet(nodes, self.deadline).await;
        let asking = by_target.into_iter().map(|(target, items)| self.ask_target(target, items));
        heard.extend(join_all(asking).await.into_iter().flatten());
        heard
    }

    async fn ask_target(&self, target: Target, items: Vec<usize>) -> Vec<Heard> {
        let client = &self.admin.client;
        let connection = match target {
            Target::Node(node) => client.connection(node, Purpose::General, self.deadline).await,
            Target::Anybody => client.retry_connecting(self.deadline).await,
        };
        let ready = connection.and_then(|connection| {
            let version = self.exchange.version(&connection);
            Ok((version.map_err(|error| connection.place(error))?, connection))
        });
        let (version, connection) = match ready {
            Ok(ready) => ready,
            Err(error) => return all(&items, &error),
        };
        let (mut heard, mut fitting) = (Vec::new(), Vec::with_capacity(items.len()));
        for item in items {
            match self.exchange.fits(&connection, item) {
                Ok(()) => fitting.push(item),
                Err(error) => heard.extend(all(&[item], &connection.place(error))),
            }
        }
        for items in fitting.chunks((self.most)(version).clamp(1, fitting.len().max(1))) {
            match self.exchange.ask(&connection, items, version, target.node()).await {
                Ok(told) => {
                    let answered = |(item, outcome)| Heard { item, outcome, from: Source::Answer };
                    heard.extend(told.into_iter().map(answered));
                }
                Err(error) => heard.extend(all(items, &error)),
            }
        }
        heard
    }

    /// A broker that says REQUEST_TIMED_OUT of a change may have made it, or may yet.
    fn certain(&self, error: Error) -> Error {
        match (self.doing, error.code()) {
            (Doing::Question, _) => error.of_a_question(),
            (_, Some(ErrorCode::RequestTimedOut)) => error.certainty(Certainty::PossiblySent),
            _ => error,
        }
    }

    /// Whether it may be another answer next time, and may be asked again.
    fn passes(&self, error: &Error, from: Source) -> bool {
        if let Some(code) = error.code() {
            return passes(code) || self.exchange.passes(code, from);
        }
        let is_harmless = matches!(self.doing, Doing::Question | Doing::Repeatable);
        error.is_retriable() && (is_harmless || error.delivery_certainty() == Some(Certainty::NotSent))
    }

    fn refuse_in_a_dry_run(&self) -> Result<()> {
        match self.doing {
            Doing::Repeatable | Doing::Change if self.admin.dry_run => {
                let message = "Kafka has no dry run of this: nothing was sent";
                let error = Error::with_message(ErrorKind::InvalidArgument, message);
                Err(error.api(self.api).certainty(Certainty::NotSent))
            }
            _ => Ok(()),
        }
    }
}

/// The same of all.
fn all(items: &[usize], error: &Error) -> Vec<Heard> {
    let heard = |item: &usize| Heard { item: *item, outcome: Err(error.clone()), from: Source::Whole };
    items.iter().map(heard).collect()
}

/// Whether a code says that it was asked too early, or of a broker that is not the right one any more.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotController
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::ConcurrentTransactions
            | ErrorCode::UnstableOffsetCommit
            | ErrorCode::ThrottlingQuotaExceeded
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
    )
}
