//! How every call of the admin asks: about its items, each where it belongs, all of one place in one request; and again about
//! those of which the answer says that it was the wrong place or too early, until the call's deadline.

use super::Admin;
use super::places::{Place, Target};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::NodeId;
use crate::net::brokers::Purpose;
use crate::wire::Request;
use crate::wire::api_versions::api_name;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
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

/// A request on its way, for those who write it and read its answer.
#[derive(Debug)]
pub(super) struct Way<'a, K> {
    /// What it is about.
    pub keys: &'a [K],
    pub version: i16,
    /// How long the broker may take.
    pub timeout_ms: i32,
    /// Who answers, if that is known.
    pub node: Option<NodeId>,
}

impl<K> Clone for Way<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Way<'_, K> {}

/// A call in the making: what is asked about, where, and how.
pub(super) struct Ask<'a, K, V, P> {
    admin: &'a Admin,
    place: P,
    items: BTreeMap<K, V>,
    doing: Doing,
    versions: RangeInclusive<i16>,
    most: fn(i16) -> usize,
    deadline: Instant,
}

/// What came of it, item by item.
pub(super) struct Asked<K, T> {
    pub outcomes: BTreeMap<K, Result<T>>,
    /// A broker has said something final about one of them, and not of all alike.
    pub answered: bool,
}

impl<K: Ord, T> Asked<K, T> {
    /// # Errors
    /// If nothing was answered at all, why; unless it is not the same for all of them.
    pub(super) fn into_outcomes(self) -> Result<BTreeMap<K, Result<T>>> {
        let whole = self.outcomes.values().next().and_then(|outcome| outcome.as_ref().err()).filter(|_| !self.answered);
        let what = |error: &Error| (error.kind(), error.code(), error.delivery_certainty());
        let is_alike =
            |first: &Error| self.outcomes.values().all(|other| other.as_ref().err().map(what) == Some(what(first)));
        match whole.filter(|error| is_alike(error)).cloned() {
            Some(error) => Err(error),
            None => Ok(self.outcomes),
        }
    }
}

impl Admin {
    /// A call about these items.
    pub(super) fn ask<K, V, P: Place<K>>(&self, place: P, items: BTreeMap<K, V>) -> Ask<'_, K, V, P> {
        let (doing, versions, most) = (Doing::Question, 0..=i16::MAX, (|_| usize::MAX) as fn(i16) -> usize);
        Ask { admin: self, place, items, doing, versions, most, deadline: self.deadline() }
    }

    /// A call about one thing.
    pub(super) fn ask_one<P: Place<()>>(&self, place: P) -> Ask<'_, (), (), P> {
        self.ask(place, [((), ())].into())
    }
}

impl<K: Clone + Ord + Send + Sync, V: Sync, P: Place<K>> Ask<'_, K, V, P> {
    pub(super) fn doing(self, doing: Doing) -> Self {
        Self { doing, ..self }
    }

    /// The versions that can say what is asked.
    pub(super) fn versions(self, versions: RangeInclusive<i16>) -> Self {
        Self { versions, ..self }
    }

    /// How many items a request of a version has room for.
    pub(super) fn most(self, most: fn(i16) -> usize) -> Self {
        Self { most, ..self }
    }

    /// The deadline of a call that this one is a part of.
    pub(super) fn until(self, deadline: Instant) -> Self {
        Self { deadline, ..self }
    }

    /// Sends it. `request` is for some of the items; `read` gives what the answer says of each, or why it says nothing.
    pub(super) async fn send<R: Request, T: Send>(
        self,
        request: impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Sync,
        read: impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Sync,
    ) -> Result<BTreeMap<K, Result<T>>> {
        self.send_for_each(request, read).await?.into_outcomes()
    }

    /// As [`send`](Self::send), if it matters what came of each item even where nothing was answered at all.
    pub(super) async fn send_for_each<R: Request, T: Send>(
        mut self,
        request: impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Sync,
        read: impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Sync,
    ) -> Result<Asked<K, T>> {
        self.refuse_in_a_dry_run(api_name(R::KEY))?;
        let mut left = std::mem::take(&mut self.items);
        let mut asked = Asked { outcomes: BTreeMap::new(), answered: false };
        let mut backoff = self.admin.client.backoff();
        while !left.is_empty() {
            let mut waiting = BTreeMap::new();
            for Heard { key, outcome, from } in self.round(&left, backoff.tries() > 0, &request, &read).await {
                if !left.contains_key(&key) || waiting.contains_key(&key) {
                    continue; // nobody has asked for it, or it has been said before
                }
                match outcome.map_err(|error| self.certain(error).api(api_name(R::KEY))) {
                    Err(error) if self.passes(&error, from) => drop(waiting.insert(key, error)),
                    outcome => {
                        left.remove(&key);
                        asked.answered |= from != Source::Whole;
                        asked.outcomes.insert(key, outcome);
                    }
                }
            }
            // Neither where it belongs nor who was asked has said anything of these.
            for (key, _) in left.extract_if(.., |key, _| !waiting.contains_key(key)) {
                let silence = Error::with_message(ErrorKind::Malformed, "the answer says nothing of it");
                asked.outcomes.insert(key, Err(silence.api(api_name(R::KEY))));
            }
            let wait = backoff.next_wait();
            if self.admin.client.now() + wait >= self.deadline {
                asked.outcomes.extend(waiting.into_iter().map(|(key, error)| (key, Err(error))));
                break;
            }
            if let Some(error) = waiting.values().next() {
                tracing::debug!(%error, left = left.len(), "asked again");
                self.admin.client.sleep(wait).await;
            }
        }
        Ok(asked)
    }

    /// Asks once about all that is left.
    async fn round<R: Request, T: Send>(
        &self,
        left: &BTreeMap<K, V>,
        again: bool,
        request: &(impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Sync),
        read: &(impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Sync),
    ) -> Vec<Heard<K, T>> {
        let keys: Vec<K> = left.keys().cloned().collect();
        // Whatever becomes of the question where an item belongs, the item's own request was not sent.
        let unsent = |error: Error| error.certainty(Certainty::NotSent);
        let found = match self.place.find(self.admin, keys.clone(), again, self.deadline).await {
            Ok(found) => found,
            Err(error) => return all(keys, &unsent(error), Source::Whole),
        };
        let mut heard = Vec::new();
        let mut by_target: BTreeMap<Target, Vec<K>> = BTreeMap::new();
        for (key, target) in found {
            match target {
                Ok(target) => by_target.entry(target).or_default().push(key),
                Err(error) => heard.push(Heard { key, outcome: Err(unsent(error)), from: Source::Lookup }),
            }
        }
        let nodes = by_target.keys().filter_map(|target| target.node()).collect();
        self.admin.meet(nodes, self.deadline).await;
        let asking = by_target.into_iter().map(|(target, keys)| self.ask_target(target, keys, left, request, read));
        heard.extend(join_all(asking).await.into_iter().flatten());
        heard
    }

    async fn ask_target<R: Request, T: Send>(
        &self,
        target: Target,
        keys: Vec<K>,
        left: &BTreeMap<K, V>,
        request: &(impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Sync),
        read: &(impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Sync),
    ) -> Vec<Heard<K, T>> {
        let client = &self.admin.client;
        let connection = match target {
            Target::Node(node) => client.connection(node, Purpose::General, self.deadline).await,
            Target::Anybody => client.retry_connecting(self.deadline).await,
        };
        let ready = connection.and_then(|connection| {
            let version = connection.versions().pick_in::<R>(self.versions.clone());
            Ok((version.map_err(|error| connection.place(error))?, connection))
        });
        let (version, connection) = match ready {
            Ok(ready) => ready,
            Err(error) => return all(keys, &error, Source::Whole),
        };
        let mut heard = Vec::new();
        for keys in keys.chunks((self.most)(version).clamp(1, keys.len().max(1))) {
            let way = Way { keys, version, timeout_ms: self.admin.timeout_ms(self.deadline), node: target.node() };
            let asked = {
                let items: Vec<(&K, &V)> = keys.iter().filter_map(|key| left.get_key_value(key)).collect();
                request(&items, way)
            };
            let answer = connection.call(&asked, version, client.call_timeout(self.deadline)).await;
            let told = match answer.and_then(|answer| read(answer, way)) {
                Ok(told) => told,
                Err(error) => {
                    heard.extend(all(keys.to_vec(), &error, Source::Whole));
                    continue;
                }
            };
            heard.extend(told.into_iter().map(|(key, outcome)| Heard { key, outcome, from: Source::Answer }));
        }
        heard
    }

    /// A broker that says REQUEST_TIMED_OUT of a change may have made it, or may yet.
    fn certain(&self, error: Error) -> Error {
        match error.code() {
            Some(ErrorCode::RequestTimedOut) if self.doing != Doing::Question => {
                error.certainty(Certainty::PossiblySent)
            }
            _ => error,
        }
    }

    /// Whether it may be another answer next time, and may be asked again.
    fn passes(&self, error: &Error, from: Source) -> bool {
        if let Some(code) = error.code() {
            return passes(code) || self.place.passes(code, from);
        }
        let is_harmless = matches!(self.doing, Doing::Question | Doing::Repeatable);
        error.is_retriable() && (is_harmless || error.delivery_certainty() == Some(Certainty::NotSent))
    }

    fn refuse_in_a_dry_run(&self, api: &'static str) -> Result<()> {
        match self.doing {
            Doing::Repeatable | Doing::Change if self.admin.dry_run => {
                let message = "Kafka has no dry run of this: nothing was sent";
                Err(Error::with_message(ErrorKind::InvalidArgument, message).api(api).certainty(Certainty::NotSent))
            }
            _ => Ok(()),
        }
    }
}

impl<P: Place<()>> Ask<'_, (), (), P> {
    /// Sends what is about one thing, and has one answer.
    pub(super) async fn send_one<R: Request, T: Send>(
        self,
        request: impl Fn(Way<'_, ()>) -> R + Sync,
        read: impl Fn(R::Response, Way<'_, ()>) -> Result<T> + Sync,
    ) -> Result<T> {
        let sent = self.send(|_, way| request(way), |answer, way| Ok(vec![((), read(answer, way))])).await?;
        let nothing = || Err(Error::with_message(ErrorKind::Malformed, "there was nothing to ask"));
        sent.into_values().next().unwrap_or_else(nothing)
    }
}

/// What was heard of an item, and from whom.
struct Heard<K, T> {
    key: K,
    outcome: Result<T>,
    from: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Of all items alike: the question did not arrive, or no answer came, or one to all of it.
    Whole,
    /// Of this item, by whoever was asked where it belongs.
    Lookup,
    /// Of this item, by who it was asked of.
    Answer,
}

fn all<K, T>(keys: Vec<K>, error: &Error, from: Source) -> Vec<Heard<K, T>> {
    keys.into_iter().map(|key| Heard { key, outcome: Err(error.clone()), from }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fails_as_a_whole_only_if_it_is_the_same_for_all_and_nobody_has_answered() {
        let failed = |certainty| Err::<(), _>(Error::new(ErrorKind::Connection).certainty(certainty));
        let outcomes = |of: [Certainty; 2], answered| {
            let outcomes = [("a", failed(of[0])), ("b", failed(of[1]))].into();
            Asked { outcomes, answered }.into_outcomes()
        };
        assert!(outcomes([Certainty::NotSent; 2], false).is_err());
        assert!(outcomes([Certainty::NotSent; 2], true).is_ok());
        let apart = outcomes([Certainty::NotSent, Certainty::PossiblySent], false).unwrap();
        assert_eq!(apart["b"].as_ref().unwrap_err().delivery_certainty(), Some(Certainty::PossiblySent));
        let half = Asked { outcomes: [("a", failed(Certainty::NotSent)), ("b", Ok(()))].into(), answered: false };
        assert!(half.into_outcomes().is_ok_and(|outcomes| outcomes["b"].is_ok()));
    }
}
