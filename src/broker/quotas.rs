//! Client quotas: what is set for whom, and what a rate of bytes makes of a connection. A value without a clock: `now`
//! comes in.
//!
//! `producer_byte_rate` and `consumer_byte_rate` are enforced as Apache Kafka does it, on each broker for itself: bytes are
//! counted in samples of a second, eleven of them; a rate above the quota is answered with the time that brings it back
//! down to it, for which the connection is left alone (KIP-219). A Produce is done all the same, by the size of its frame.
//! A Fetch that would go over is answered empty and not counted, by the size of its batches; none is given more than the
//! quota allows in ten seconds, but for the batch that is whole in any case: one that is larger than that never comes.
//!
//! The other quotas are kept and described, and limit nothing.
//!
//! What holds for a connection is the first of these that there is:
//! ```text
//! user + client-id, user + default client-id, user,
//! default user + client-id, default user + default client-id, default user,
//! client-id, default client-id
//! ```
//! One for a user counts all of the user's clients together, one for a client-id all users of it; a default counts each for
//! itself.

use super::Context;
use super::state::State;
use crate::ids::NodeId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const USER: &str = "user";
pub(super) const CLIENT_ID: &str = "client-id";
pub(super) const IP: &str = "ip";

/// `quota.window.size.seconds` and `quota.window.num`.
const SAMPLE: Duration = Duration::from_secs(1);
const SAMPLES: u32 = 11;

/// Whom a quota is for: names by type, `None` for the default of the type.
pub(super) type Entity = BTreeMap<String, Option<String>>;

/// The quotas that are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Produce,
    Fetch,
}

impl Direction {
    fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
        }
    }
}

/// Whose bytes are counted together.
type Account = (NodeId, Direction, Option<String>, Option<String>);

#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// Values by key.
    pub set: BTreeMap<Entity, BTreeMap<String, f64>>,
    used: HashMap<Account, Window>,
    /// When the windows that are over were last taken out.
    swept: Option<Instant>,
}

impl Quotas {
    /// The rate that holds for a connection, and whose bytes count towards it.
    fn limit(&self, direction: Direction, user: &str, client: &str) -> Option<(f64, Option<String>, Option<String>)> {
        if self.set.is_empty() {
            return None;
        }
        let (user, client) = (Some(user.to_owned()), Some(client.to_owned()));
        let users = [Some(user.clone()), Some(None), None];
        let clients = [Some(client.clone()), Some(None), None];
        let each = users.iter().flat_map(|by_user| clients.iter().map(move |by_client| (by_user, by_client)));
        each.filter_map(|(by_user, by_client)| {
            let parts = [(USER, by_user), (CLIENT_ID, by_client)].into_iter();
            let entity: Entity = parts.filter_map(|(kind, name)| Some((kind.to_owned(), name.clone()?))).collect();
            let limit = self.set.get(&entity)?.get(direction.key())?;
            let [user, client] =
                [(by_user, &user), (by_client, &client)].map(|(by, name)| name.clone().filter(|_| by.is_some()));
            Some((*limit, user, client))
        })
        .next()
    }

    /// Forgets whose bytes no longer count, now and then: a client may have another id in each request.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now.duration_since(at) >= SAMPLE * SAMPLES) {
            self.used.retain(|_, window| !window.is_over(now));
            self.swept = Some(now);
        }
    }
}

/// What was counted lately, oldest first: the start of each sample and its bytes.
#[derive(Debug, Default)]
struct Window(VecDeque<(Instant, f64)>);

impl Window {
    /// Counts, and gives how long it takes until the rate is at the limit.
    fn record(&mut self, now: Instant, bytes: f64, limit: f64) -> Duration {
        while self.0.front().is_some_and(|sample| is_over(sample, now)) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            Some((start, sum)) if now.duration_since(*start) < SAMPLE => *sum += bytes,
            _ => self.0.push_back((now, bytes)),
        }
        let elapsed = self.0.front().map_or(Duration::ZERO, |(start, _)| now.duration_since(*start));
        // A window that has just begun counts as ten seconds and what of its last sample is over.
        let whole = u32::try_from(elapsed.as_secs()).unwrap_or(SAMPLES);
        let elapsed = (elapsed + SAMPLE * (SAMPLES - 1).saturating_sub(whole)).as_secs_f64();
        let rate = self.0.iter().map(|(_, bytes)| bytes).sum::<f64>() / elapsed;
        let millis = ((rate - limit) / limit * elapsed * 1e3).round();
        Duration::from_millis(millis.max(0.0) as u64)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.0.iter().all(|sample| is_over(sample, now))
    }

    /// Takes back what was counted last.
    fn forget(&mut self, bytes: f64) {
        if let Some((_, sum)) = self.0.back_mut() {
            *sum -= bytes;
        }
    }
}

fn is_over((start, _): &(Instant, f64), now: Instant) -> bool {
    now.duration_since(*start) >= SAMPLE * SAMPLES
}

impl Context {
    fn user(&self) -> &str {
        self.principal.strip_prefix("User:").unwrap_or(&self.principal)
    }

    /// Counts bytes towards the quota of this connection. How long it is to be left alone, if they are too many; those of a Fetch
    /// are not to be sent then, and are not counted.
    pub(super) fn counted(&self, state: &mut State, direction: Direction, bytes: usize) -> Duration {
        let quotas = &mut state.quotas;
        quotas.sweep(self.now());
        let Some((limit, user, client)) = quotas.limit(direction, self.user(), &self.client_id) else {
            return Duration::ZERO;
        };
        let window = quotas.used.entry((self.node, direction, user, client)).or_default();
        let throttle = window.record(self.now(), bytes as f64, limit);
        if direction == Direction::Fetch && !throttle.is_zero() {
            window.forget(bytes as f64);
        }
        throttle
    }

    /// How many bytes a Fetch may have at once.
    pub(super) fn fetchable(&self, state: &State) -> usize {
        let limit = state.quotas.limit(Direction::Fetch, self.user(), &self.client_id);
        limit.map_or(usize::MAX, |(limit, ..)| (limit * f64::from(SAMPLES - 1)) as usize)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's clock stands still")]
mod tests {
    use super::*;

    fn entity<const N: usize>(parts: [(&str, Option<&str>); N]) -> Entity {
        parts.map(|(kind, name)| (kind.to_owned(), name.map(str::to_owned))).into()
    }

    #[test]
    fn the_most_specific_quota_holds_and_says_whose_bytes_are_counted_together() {
        let mut quotas = Quotas::default();
        let levels = [
            entity([(CLIENT_ID, None)]),
            entity([(CLIENT_ID, Some("c"))]),
            entity([(USER, None)]),
            entity([(USER, None), (CLIENT_ID, None)]),
            entity([(USER, None), (CLIENT_ID, Some("c"))]),
            entity([(USER, Some("u"))]),
            entity([(USER, Some("u")), (CLIENT_ID, None)]),
            entity([(USER, Some("u")), (CLIENT_ID, Some("c"))]),
        ];
        assert_eq!(quotas.limit(Direction::Produce, "u", "c"), None);
        for (i, level) in levels.into_iter().enumerate() {
            let [user, client] =
                [(USER, "u"), (CLIENT_ID, "c")].map(|(kind, name)| level.get(kind).map(|_| name.to_owned()));
            quotas.set.insert(level, [("producer_byte_rate".to_owned(), i as f64)].into());
            assert_eq!(quotas.limit(Direction::Produce, "u", "c"), Some((i as f64, user, client)));
        }
        assert_eq!(quotas.limit(Direction::Fetch, "u", "c"), None, "another quota");
        assert_eq!(quotas.limit(Direction::Produce, "v", "d").map(|(limit, ..)| limit), Some(3.0));
    }

    #[test]
    fn windows_that_are_over_are_forgotten() {
        let (start, mut quotas) = (Instant::now(), Quotas::default());
        for id in 0..100 {
            let account = (NodeId(1), Direction::Produce, None, Some(format!("client-{id}")));
            quotas.used.entry(account).or_default().record(start + SAMPLE * (id % 2), 1.0, 1.0);
        }
        let mut left = |at| {
            quotas.sweep(start + SAMPLE * at);
            quotas.used.len()
        };
        assert_eq!([left(0), left(10), left(11), left(21), left(22)], [100, 100, 50, 50, 0]);
    }

    #[test]
    fn a_rate_above_the_quota_waits_until_it_is_the_quota() {
        let (start, mut window) = (Instant::now(), Window::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(window.record(at(0), 1_000.0, 100.0), Duration::ZERO, "ten seconds' worth at once");
        assert_eq!(window.record(at(500), 500.0, 100.0), Duration::from_millis(4_500), "1,500 bytes in 10.5 s");
        assert_eq!(window.record(at(5_000), 0.0, 100.0), Duration::from_secs(5));
        assert_eq!(window.record(at(10_000), 0.0, 100.0), Duration::from_secs(5));
        assert_eq!(window.record(at(11_000), 100.0, 100.0), Duration::ZERO, "the first sample is too old by now");
    }
}
