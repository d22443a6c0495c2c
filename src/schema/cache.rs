//! [`Cache`]: what has been asked once, with one question under way for each key.

use crate::error::{Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The values that are kept, at most so many: the oldest goes first.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    known: Mutex<Known<K, V>>,
    capacity: usize,
    clock: fn() -> Instant,
}

#[derive(Debug)]
struct Known<K, V> {
    slots: HashMap<K, Arc<Slot<V>>>,
    order: VecDeque<K>,
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
        let known = Mutex::new(Known { slots: HashMap::new(), order: VecDeque::new() });
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
        let slot = self.slot(key);
        let fresh = || {
            let now = (self.clock)();
            let young = |since: &Instant| ttl.is_none_or(|ttl| now.saturating_duration_since(*since) < ttl);
            slot.state().value.as_ref().filter(|(_, since)| young(since)).map(|(value, _)| value.clone())
        };
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let begun = (self.clock)();
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
        let mut state = slot.state();
        match &outcome {
            Ok(value) => *state = State { value: Some((value.clone(), now)), failure: None },
            Err(error) => state.failure = Some((error.clone(), now)),
        }
        outcome
    }

    /// What is known from elsewhere.
    pub(super) fn put(&self, key: &K, value: V) {
        let now = (self.clock)();
        *self.slot(key).state() = State { value: Some((value, now)), failure: None };
    }

    /// Forgets what `gone` names.
    pub(super) fn forget(&self, gone: impl Fn(&K) -> bool) {
        let mut known = self.known();
        known.slots.retain(|key, _| !gone(key));
        known.order.retain(|key| !gone(key));
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut known = self.known();
        if let Some(slot) = known.slots.get(key) {
            return slot.clone();
        }
        while known.slots.len() >= self.capacity {
            let Some(oldest) = known.order.pop_front() else { break };
            known.slots.remove(&oldest);
        }
        let slot = Arc::new(Slot {
            asking: tokio::sync::Mutex::new(()),
            state: Mutex::new(State { value: None, failure: None }),
        });
        known.slots.insert(key.clone(), slot.clone());
        known.order.push_back(key.clone());
        slot
    }

    fn known(&self) -> MutexGuard<'_, Known<K, V>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Slot<V> {
    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
