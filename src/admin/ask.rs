//! What a call of the admin asks: about which items, in which request, and what its answer says of each. Who is asked, and how often,
//! is the same for all of them: `rounds`.

use super::Admin;
use super::places::{Found, Place};
use super::rounds::{Call, Rounds, Told};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::NodeId;
use crate::net::connection::Connection;
use crate::wire::Request;
use crate::wire::api_versions::api_name;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashSet};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub(super) use super::rounds::{Doing, Source};

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
    least: fn(&V) -> i16,
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
        let (doing, versions, deadline) = (Doing::Question, 0..=i16::MAX, self.deadline());
        Ask { admin: self, place, items, doing, versions, least: |_| 0, most: |_| usize::MAX, deadline }
    }

    /// A call about one thing.
    pub(super) fn ask_one<P: Place<()>>(&self, place: P) -> Ask<'_, (), (), P> {
        self.ask(place, [((), ())].into())
    }
}

impl<K: Clone + Ord + Send + Sync, V: Send + Sync, P: Place<K>> Ask<'_, K, V, P> {
    pub(super) fn doing(self, doing: Doing) -> Self {
        Self { doing, ..self }
    }

    /// The versions that can say what is asked.
    pub(super) fn versions(self, versions: RangeInclusive<i16>) -> Self {
        Self { versions, ..self }
    }

    /// The first version that can say what is asked of an item. Where a broker is older, that item is not asked.
    pub(super) fn least(self, least: fn(&V) -> i16) -> Self {
        Self { least, ..self }
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
    pub(super) async fn send<R: Request + Send + Sync, T: Send>(
        self,
        request: impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Send + Sync,
        read: impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Send + Sync,
    ) -> Result<BTreeMap<K, Result<T>>> {
        self.send_for_each(request, read).await?.into_outcomes()
    }

    /// As [`send`](Self::send), if it matters what came of each item even where nothing was answered at all.
    pub(super) async fn send_for_each<R: Request + Send + Sync, T: Send>(
        self,
        request: impl Fn(&[(&K, &V)], Way<'_, K>) -> R + Send + Sync,
        read: impl Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Send + Sync,
    ) -> Result<Asked<K, T>> {
        let Self { admin, place, items, doing, versions, least, most, deadline } = self;
        let items: Vec<(K, V)> = items.into_iter().collect();
        let values: Mutex<Vec<Option<T>>> = Mutex::new(items.iter().map(|_| None).collect());
        let exchange =
            Exchange { admin, place, items, versions, least, deadline, request, read, values, of: PhantomData };
        let rounds = Rounds { admin, exchange: &exchange, api: api_name(R::KEY), doing, most, deadline };
        let (outcomes, answered) = rounds.run(exchange.items.len()).await?;
        let values = exchange.values.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut asked = Asked { outcomes: BTreeMap::new(), answered };
        // One after the other, and not collected: each kind of map would bring a sort of its own into the binary.
        for (((key, _), value), outcome) in exchange.items.into_iter().zip(values).zip(outcomes) {
            let outcome = outcome.and_then(|()| value.ok_or_else(nothing));
            asked.outcomes.insert(key, outcome);
        }
        Ok(asked)
    }
}

/// One call's own part of the rounds: its items by their numbers, its request and its answer.
struct Exchange<'a, K, V, P, R, T, Q, A> {
    admin: &'a Admin,
    place: P,
    /// In order.
    items: Vec<(K, V)>,
    versions: RangeInclusive<i16>,
    least: fn(&V) -> i16,
    deadline: Instant,
    request: Q,
    read: A,
    /// What was answered of each.
    values: Mutex<Vec<Option<T>>>,
    of: PhantomData<fn() -> R>,
}

impl<K, V, P, R, T, Q, A> Exchange<'_, K, V, P, R, T, Q, A>
where
    K: Clone + Ord,
{
    fn some(&self, numbers: &[usize]) -> Vec<(&K, &V)> {
        numbers.iter().filter_map(|number| self.items.get(*number)).map(|(key, value)| (key, value)).collect()
    }

    fn keys(&self, numbers: &[usize]) -> Vec<K> {
        self.some(numbers).into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// `None` for what nobody has asked about.
    fn number(&self, key: &K) -> Option<usize> {
        self.items.binary_search_by(|(known, _)| known.cmp(key)).ok()
    }
}

impl<K, V, P, R, T, Q, A> Call for Exchange<'_, K, V, P, R, T, Q, A>
where
    K: Clone + Ord + Send + Sync,
    V: Send + Sync,
    P: Place<K>,
    R: Request + Send + Sync,
    T: Send,
    Q: Fn(&[(&K, &V)], Way<'_, K>) -> R + Send + Sync,
    A: Fn(R::Response, Way<'_, K>) -> Result<Vec<(K, Result<T>)>> + Send + Sync,
{
    fn find<'a>(&'a self, numbers: &'a [usize], again: bool) -> BoxFuture<'a, Result<Found<usize>>> {
        Box::pin(async move {
            let found = self.place.find(self.admin, self.keys(numbers), again, self.deadline).await?;
            Ok(found.into_iter().filter_map(|(key, target)| Some((self.number(&key)?, target))).collect())
        })
    }

    fn passes(&self, code: ErrorCode, from: Source) -> bool {
        self.place.passes(code, from)
    }

    fn version(&self, connection: &Connection) -> Result<i16> {
        connection.versions().pick_in::<R>(self.versions.clone())
    }

    fn fits(&self, connection: &Connection, number: usize) -> Result<()> {
        let least = self.items.get(number).map_or(0, |(_, value)| (self.least)(value));
        connection.versions().pick_in::<R>(least..=*self.versions.end()).map(drop)
    }

    fn ask<'a>(
        &'a self,
        connection: &'a Connection,
        numbers: &'a [usize],
        version: i16,
        node: Option<NodeId>,
    ) -> BoxFuture<'a, Result<Told>> {
        Box::pin(async move {
            let keys = self.keys(numbers);
            let way = Way { keys: &keys, version, timeout_ms: self.admin.timeout_ms(self.deadline), node };
            let request = (self.request)(&self.some(numbers), way);
            let answer = connection.call(&request, version, self.admin.client.call_timeout(self.deadline)).await?;
            let told = (self.read)(answer, way)?;
            let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut heard, mut seen) = (Vec::with_capacity(told.len()), HashSet::with_capacity(told.len()));
            for (key, outcome) in told {
                let Some(number) = self.number(&key) else { continue };
                if !seen.insert(number) {
                    continue; // it has been said before
                }
                heard.push((number, outcome.map(|value| values[number] = Some(value))));
            }
            Ok(heard)
        })
    }
}

fn nothing() -> Error {
    Error::with_message(ErrorKind::Malformed, "there was nothing to ask")
}

impl<P: Place<()>> Ask<'_, (), (), P> {
    /// Sends what is about one thing, and has one answer.
    pub(super) async fn send_one<R: Request + Send + Sync, T: Send>(
        self,
        request: impl Fn(Way<'_, ()>) -> R + Send + Sync,
        read: impl Fn(R::Response, Way<'_, ()>) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        let sent = self.send(|_, way| request(way), |answer, way| Ok(vec![((), read(answer, way))])).await?;
        sent.into_values().next().unwrap_or_else(|| Err(nothing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Certainty;

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
