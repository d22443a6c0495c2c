//! Incremental fetch sessions (KIP-227): one broker's memory of who reads which partitions. A value without a clock:
//! `now` comes in.
//!
//! ```text
//!  request (id, epoch)                     answer
//!  any, 0    a full one, ends session id   every partition; the id of a new session, 0 if there is no room
//!  any, -1   a full one, ends session id   every partition; id 0
//!  id, n     what has changed since        the partitions that have news; id
//! ```
//! The epoch counts a session's requests and goes from the largest number to 1. What counts as news is Apache's choice:
//! records, an error, another high watermark or log start, a diverging epoch, a preferred replica. Partitions whose records
//! were sent go to the end of the order in which they are served, so that a full answer doesn't starve the last.
//!
//! A session that is new to a full cache takes the place of one that has not been used for two minutes, or else of the
//! smallest one that is older than that, if it is smaller. Apache deals its slots out to eight shards; here they are one.

use crate::error::ErrorCode;
use crate::ids::TopicId;
use crate::wire::messages::fetch_request::FetchPartition;
use crate::wire::messages::fetch_response::PartitionData;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// `max.incremental.fetch.session.cache.slots`, unless told otherwise.
pub(super) const SLOTS: usize = 1000;

/// `min.incremental.fetch.session.eviction.ms`.
const EVICTION: Duration = Duration::from_secs(120);

/// The epoch of a request that begins anew.
const INITIAL: i32 = 0;
/// The epoch of a request that wants no session.
const FINAL: i32 = -1;

/// One partition that is to be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Zero where topics go by name.
    pub id: TopicId,
    /// `None`: no topic has had this id since the session knows of it.
    pub name: Option<Arc<str>>,
    pub partition: FetchPartition,
}

/// What a partition goes by in a session: its topic's id, or its name where there is none.
type Key = (TopicId, Option<Arc<str>>, i32);

fn key(id: TopicId, name: Option<&Arc<str>>, partition: i32) -> Key {
    (id, name.filter(|_| id.is_zero()).cloned(), partition)
}

/// What a request says of its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub session: i32,
    pub epoch: i32,
    /// Whether the request's version names topics by id.
    pub by_id: bool,
}

/// In what way a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything, and that is all.
    Sessionless,
    /// Everything, and the answer opens a session.
    Full,
    /// The news of a session, which is at `epoch` now.
    Incremental { session: i32, epoch: i32 },
}

/// What a request comes to.
#[derive(Debug)]
pub(super) struct Plan {
    pub kind: Kind,
    /// In the order of service.
    pub partitions: Vec<Wanted>,
}

/// One partition in a session: what was asked for last, and what was answered.
#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// Notes an answer. Whether it is news.
    fn answered(&mut self, data: &PartitionData, has_records: bool) -> bool {
        let failed = data.error_code != 0;
        let news = failed
            || has_records
            || self.high_watermark != data.high_watermark
            || self.log_start_offset != data.log_start_offset
            || data.preferred_read_replica.0 >= 0
            || data.diverging_epoch.epoch >= 0;
        // After an error the partition is told of once more, when the error is gone.
        self.high_watermark = if failed { -1 } else { data.high_watermark };
        self.log_start_offset = data.log_start_offset;
        news
    }
}

#[derive(Debug)]
struct Session {
    by_id: bool,
    opened: Instant,
    used: Instant,
    /// Of the next request.
    epoch: i32,
    /// By their turn.
    partitions: BTreeMap<u64, Cached>,
    turns: HashMap<Key, u64>,
    next_turn: u64,
}

impl Session {
    fn put(&mut self, key: Key, cached: Cached) {
        self.next_turn += 1;
        self.turns.insert(key, self.next_turn);
        self.partitions.insert(self.next_turn, cached);
    }

    fn take(&mut self, key: &Key) -> Option<Cached> {
        self.turns.remove(key).and_then(|turn| self.partitions.remove(&turn))
    }

    /// A partition that is known already keeps its turn, and what it was answered.
    fn ask(&mut self, wanted: Wanted) {
        let key = key(wanted.id, wanted.name.as_ref(), wanted.partition.partition);
        let known = self.turns.get(&key).and_then(|turn| self.partitions.get_mut(turn));
        match known {
            Some(cached) => cached.wanted.partition = wanted.partition,
            None => self.put(key, Cached::new(wanted)),
        }
    }

    /// Older than what is spared, when it was last used.
    fn is_evictable(&self) -> bool {
        self.used - self.opened > EVICTION
    }
}

/// The sessions of one broker, and their numbers since it started.
#[derive(Debug)]
pub(super) struct FetchSessions {
    slots: usize,
    sessions: HashMap<i32, Session>,
    random: fastrand::Rng,
    pub opened: u64,
    pub evicted: u64,
}

impl FetchSessions {
    /// Room for so many sessions, whose ids follow from `seed`.
    pub(super) fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: HashMap::new(), random: fastrand::Rng::with_seed(seed), opened: 0, evicted: 0 }
    }

    /// Takes a request in: `wanted` and `forgotten` are what it names, `names` knows today's topics.
    ///
    /// # Errors
    /// `FetchSessionIdNotFound`, `InvalidFetchSessionEpoch`, `FetchSessionTopicIdError`.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        claim: Claim,
        mut wanted: Vec<Wanted>,
        forgotten: &[(TopicId, Arc<str>, i32)],
        names: impl Fn(TopicId) -> Option<Arc<str>>,
    ) -> Result<Plan, ErrorCode> {
        if matches!(claim.epoch, INITIAL | FINAL) {
            self.sessions.remove(&claim.session);
            let kind = if claim.epoch == FINAL { Kind::Sessionless } else { Kind::Full };
            name_once(&mut wanted);
            return Ok(Plan { kind, partitions: wanted });
        }
        let session = self.sessions.get_mut(&claim.session).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != claim.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != claim.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        wanted.into_iter().for_each(|wanted| session.ask(wanted));
        for (id, name, partition) in forgotten {
            session.take(&key(*id, Some(name), *partition));
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&claim.session);
            return Ok(Plan { kind: Kind::Sessionless, partitions: Vec::new() });
        }
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        let partitions = session.partitions.values_mut().map(|cached| {
            let wanted = &mut cached.wanted;
            if wanted.name.is_none() {
                wanted.name = names(wanted.id);
            }
            wanted.clone()
        });
        Ok(Plan {
            kind: Kind::Incremental { session: claim.session, epoch: session.epoch },
            partitions: partitions.collect(),
        })
    }

    /// Opens a session for a full request that was answered so, if there is room; its id, or 0.
    pub(super) fn open<'a>(
        &mut self,
        now: Instant,
        by_id: bool,
        answered: impl ExactSizeIterator<Item = (Wanted, &'a PartitionData)>,
    ) -> i32 {
        if self.sessions.len() >= self.slots && !self.evict(now, answered.len()) {
            return 0;
        }
        let mut id = self.random.i32(1..);
        while self.sessions.contains_key(&id) {
            id = self.random.i32(1..);
        }
        let epoch = next_epoch(INITIAL);
        let mut session = Session {
            by_id,
            opened: now,
            used: now,
            epoch,
            partitions: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
        };
        for (wanted, data) in answered {
            let key = key(wanted.id, wanted.name.as_ref(), wanted.partition.partition);
            let mut cached = Cached::new(wanted);
            cached.high_watermark = data.high_watermark;
            cached.log_start_offset = data.log_start_offset;
            session.put(key, cached);
        }
        self.sessions.insert(id, session);
        self.opened += 1;
        id
    }

    /// Makes room for a session of `size` partitions, if another may go.
    fn evict(&mut self, now: Instant, size: usize) -> bool {
        let stalest = self.sessions.iter().min_by_key(|(id, session)| (session.used, **id));
        let stale = stalest.filter(|(_, session)| now - session.used > EVICTION);
        let smallest = || {
            let evictable = self.sessions.iter().filter(|(_, session)| session.is_evictable());
            evictable.min_by_key(|(id, session)| (session.partitions.len(), **id))
        };
        let smaller = || smallest().filter(|(_, session)| session.partitions.len() < size);
        let Some(id) = stale.or_else(smaller).map(|(id, _)| *id) else { return false };
        self.sessions.remove(&id);
        self.evicted += 1;
        true
    }

    /// Notes what an incremental request is answered, and keeps the news of it. `records` says whether there are any.
    ///
    /// # Errors
    /// `InvalidFetchSessionEpoch` if the session has had another request meanwhile.
    pub(super) fn news<T>(
        &mut self,
        (session, epoch): (i32, i32),
        answers: &mut Vec<T>,
        look: impl Fn(&T) -> (&Wanted, &PartitionData, bool),
    ) -> Result<(), ErrorCode> {
        // Evicted meanwhile: the answer is as good as any, and the next request will be told.
        let Some(session) = self.sessions.get_mut(&session) else { return Ok(()) };
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        answers.retain(|answer| {
            let (wanted, data, has_records) = look(answer);
            let key = key(wanted.id, wanted.name.as_ref(), wanted.partition.partition);
            let known = session.turns.get(&key).and_then(|turn| session.partitions.get_mut(turn));
            let news = known.is_some_and(|cached| cached.answered(data, has_records));
            if news
                && has_records
                && let Some(cached) = session.take(&key)
            {
                session.put(key, cached);
            }
            news
        });
        Ok(())
    }

    /// Whether a session has a partition of this topic.
    pub(super) fn names(&self, session: i32, id: TopicId, name: &str) -> bool {
        let is =
            |wanted: &Wanted| if wanted.id.is_zero() { wanted.name.as_deref() == Some(name) } else { wanted.id == id };
        self.sessions.get(&session).is_some_and(|session| session.partitions.values().any(|cached| is(&cached.wanted)))
    }

    /// How many partitions each open session has, in no order.
    pub(super) fn sizes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.sessions.values().map(|session| session.partitions.len())
    }
}

/// Of a partition that is named twice the last one counts, at the place of the first.
fn name_once(wanted: &mut Vec<Wanted>) {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut once: Vec<Wanted> = Vec::with_capacity(wanted.len());
    for one in wanted.drain(..) {
        let place = *places.entry(key(one.id, one.name.as_ref(), one.partition.partition)).or_insert(once.len());
        match once.get_mut(place) {
            Some(first) => *first = one,
            None => once.push(one),
        }
    }
    *wanted = once;
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests;
