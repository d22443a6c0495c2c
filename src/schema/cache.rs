//! [`Cache`]: what has been asked once, with one question under way for each key.

use super::answer::RegistryError;
use crate::error::{Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// For so long what the registry does not know is not asked again: it may be in every record.
const MISSING: Duration = Duration::from_secs(5);

/// The values that are kept, at most so many: the oldest goes first. What is asked, or is not known, is not among them.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    known: Mutex<Known<K, V>>,
    capacity: usize,
    clock: fn() -> Instant,
}

#[derive(Debug)]
struct Known<K, V> {
    slots: HashMap<K, Arc<Slot<V>>>,
    /// Of those that have a value.
    order: VecDeque<K>,
    /// What the registry did not know, and when.
    missing: HashMap<K, (Error, Instant)>,
}

/// Whoever asks or waits; to be dropped after its share of the slot. With the last of them goes the slot, unless there is a value by then.
struct Waiting<'a, K: Eq + Hash, V> {
    cache: &'a Cache<K, V>,
    key: &'a K,
}

impl<K: Eq + Hash, V> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        let mut known = self.cache.known();
        let is_left = |slot: &Arc<Slot<V>>| Arc::strong_count(slot) == 1 && slot.state().value.is_none();
        if known.slots.get(self.key).is_some_and(is_left) {
            known.slots.remove(self.key);
        }
    }
}

#[derive(Debug)]
struct Slot<V> {
    /// Held by who asks.
    asking: tokio::sync::Mutex<()>,
    state: Mutex<State<V>>,
}

#[derive(Debug)]
struct State<V> {
    value: Option<(V, Instant)>,
    /// Of whoever asked last, for those who waited meanwhile.
    failure: Option<(Error, Instant)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(capacity: usize, clock: fn() -> Instant) -> Self {
        let known = Mutex::new(Known { slots: HashMap::new(), order: VecDeque::new(), missing: HashMap::new() });
        Self { known, capacity: capacity.max(1), clock }
    }

    /// The value if it is younger than `ttl`, and else what `ask` brings. Those who come while it is asked share the answer, be it an
    /// error; nobody waits for another beyond `end`. A drop gives up; whoever waits for the same asks anew.
    pub(super) async fn get<F>(
        &self,
        key: &K,
        ttl: Option<Duration>,
        end: Instant,
        ask: impl FnOnce() -> F,
    ) -> Result<V>
    where
        F: Future<Output = Result<V>>,
    {
        let _waiting = Waiting { cache: self, key };
        let slot = self.slot(key);
        self.asked(key, &slot, ttl, end, ask).await
    }

    async fn asked<F>(
        &self,
        key: &K,
        slot: &Arc<Slot<V>>,
        ttl: Option<Duration>,
        end: Instant,
        ask: impl FnOnce() -> F,
    ) -> Result<V>
    where
        F: Future<Output = Result<V>>,
    {
        let fresh = || {
            let now = (self.clock)();
            let young = |since: &Instant| ttl.is_none_or(|ttl| now.saturating_duration_since(*since) < ttl);
            slot.state().value.as_ref().filter(|(_, since)| young(since)).map(|(value, _)| value.clone())
        };
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let begun = (self.clock)();
        let lately = |at: &Instant| begun.saturating_duration_since(*at) < MISSING;
        if let Some((error, _)) = self.known().missing.get(key).filter(|(_, at)| lately(at)) {
            return Err(error.clone());
        }
        let late = |_| Error::with_message(ErrorKind::Timeout, "the schema registry has not answered in time");
        let mut waited = false;
        let _asking = match slot.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) => {
                waited = true;
                timeout_at(end.into(), slot.asking.lock()).await.map_err(late)?
            }
        };
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let shared = slot.state().failure.clone().filter(|(_, at)| waited && *at >= begun);
        if let Some((error, _)) = shared {
            return Err(error);
        }
        let outcome = ask().await;
        let now = (self.clock)();
        match &outcome {
            Ok(value) => self.keep(key, slot, value.clone()),
            Err(error) => {
                slot.state().failure = Some((error.clone(), now));
                if RegistryError::of(error).is_some_and(RegistryError::is_not_found) {
                    let mut known = self.known();
                    known.missing.retain(|_, (_, at)| now.saturating_duration_since(*at) < MISSING);
                    if known.missing.len() < self.capacity {
                        known.missing.insert(key.clone(), (error.clone(), now));
                    }
                }
            }
        }
        outcome
    }

    /// What is known from elsewhere.
    pub(super) fn put(&self, key: &K, value: V) {
        let slot = self.slot(key);
        self.keep(key, &slot, value);
    }

    fn keep(&self, key: &K, slot: &Arc<Slot<V>>, value: V) {
        let now = (self.clock)();
        let mut known = self.known();
        let before = slot.state().value.replace((value, now));
        slot.state().failure = None;
        known.missing.remove(key);
        let is_there = known.slots.get(key).is_some_and(|known| Arc::ptr_eq(known, slot)); // and not forgotten meanwhile
        if before.is_none() && is_there {
            while known.order.len() >= self.capacity {
                let Some(oldest) = known.order.pop_front() else { break };
                known.slots.remove(&oldest);
            }
            known.order.push_back(key.clone());
        }
    }

    /// What was not known may be now.
    pub(super) fn forget_missing(&self) {
        self.known().missing.clear();
    }

    /// Forgets what `gone` names.
    pub(super) fn forget(&self, gone: impl Fn(&K) -> bool) {
        let mut known = self.known();
        known.slots.retain(|key, _| !gone(key));
        known.order.retain(|key| !gone(key));
        known.missing.retain(|key, _| !gone(key));
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut known = self.known();
        if let Some(slot) = known.slots.get(key) {
            return slot.clone();
        }
        let slot = Arc::new(Slot {
            asking: tokio::sync::Mutex::new(()),
            state: Mutex::new(State { value: None, failure: None }),
        });
        known.slots.insert(key.clone(), slot.clone());
        slot
    }
}

impl<K, V> Cache<K, V> {
    fn known(&self) -> MutexGuard<'_, Known<K, V>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Slot<V> {
    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Clock;
    use crate::net::clock::NetClock;
    use std::future::{pending, ready};
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn now() -> Instant {
        NetClock::System.now()
    }

    fn end() -> Instant {
        now() + Duration::from_secs(60)
    }

    fn is_pending<T>(call: Pin<&mut impl Future<Output = T>>) -> bool {
        call.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn slots(cache: &Cache<u8, u8>) -> usize {
        cache.known().slots.len()
    }

    #[tokio::test(start_paused = true)]
    async fn who_drops_a_call_gives_its_slot_back() {
        let cache = Cache::new(9, now);
        let mut one = Box::pin(cache.get(&1, None, end(), pending::<Result<u8>>));
        let mut two = Box::pin(cache.get(&2, None, end(), pending::<Result<u8>>));
        assert!(is_pending(one.as_mut()) && is_pending(two.as_mut()));
        assert_eq!(slots(&cache), 2);
        drop(one);
        assert_eq!(slots(&cache), 1);
        drop(two);
        assert_eq!(slots(&cache), 0);
        // Nobody asked, or nobody brought anything.
        drop(cache.get(&1, None, end(), pending::<Result<u8>>));
        cache.get(&1, None, end(), || ready(Err(Error::new(ErrorKind::Timeout)))).await.unwrap_err();
        assert_eq!(slots(&cache), 0);
        // What is known stays, whoever gives up asking for a newer one.
        cache.put(&1, 7);
        let mut newer = Box::pin(cache.get(&1, Some(Duration::ZERO), end(), pending::<Result<u8>>));
        assert!(is_pending(newer.as_mut()));
        drop(newer);
        assert_eq!(slots(&cache), 1);
        assert_eq!(cache.get(&1, None, end(), pending::<Result<u8>>).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_call_that_is_dropped_asks_anew() {
        let cache = Cache::new(9, now);
        let mut first = Box::pin(cache.get(&1, None, end(), pending::<Result<u8>>));
        assert!(is_pending(first.as_mut()));
        let mut second = pin!(cache.get(&1, None, end(), || ready(Ok(7))));
        let mut third = Box::pin(cache.get(&1, None, end(), pending::<Result<u8>>));
        assert!(is_pending(second.as_mut()) && is_pending(third.as_mut()));
        drop(third);
        assert!(is_pending(second.as_mut()), "the first still asks");
        drop(first);
        assert_eq!(slots(&cache), 1, "the second still waits");
        let asked = second.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(asked, Poll::Ready(Ok(7))), "{asked:?}");
        assert_eq!(cache.get(&1, None, end(), pending::<Result<u8>>).await.unwrap(), 7);
        assert_eq!(slots(&cache), 1);
    }
}
