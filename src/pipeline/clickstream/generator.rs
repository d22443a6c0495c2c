//! Events by seed: the same knobs give the same bytes, on every machine.
//!
//! A value without clock or task: the shell asks for the next event and waits until its time has come.

use crate::pipeline::timestamp;

/// The five products of the shop.
pub const PRODUCTS: [&str; 5] = ["Laptop_X1", "Phone_Y2", "Headphone_Z3", "Monitor_A4", "Keyboard_B5"];
/// The smallest user id.
pub const FIRST_USER: u64 = 1_000;
/// How far behind the newest event a late one is at least, besides the disorder: more than a minute and any usual bound.
const LATE_BEHIND: i64 = 90 * timestamp::SECOND;

/// What the stream looks like. Times are in microseconds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Knobs {
    /// Everything random comes from here.
    pub seed: u64,
    /// Event time of the first event.
    pub start: i64,
    /// Events per second of event time, on average.
    pub rate: f64,
    /// How many users there are, from 1000 on.
    pub users: u64,
    /// The exponent of the users' activity: 0 for all alike, 1 for a few who click most.
    pub zipf: f64,
    /// Events are up to this much older than the newest before them.
    pub disorder: i64,
    /// The share of events that come far too late.
    pub late: f64,
    /// The share of events that are written a second time.
    pub dup: f64,
    /// The share of records that are no events.
    pub poison: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            seed: 1,
            start: 0,
            rate: 1_000.0,
            users: 9_000,
            zipf: 0.0,
            disorder: 0,
            late: 0.0,
            dup: 0.0,
            poison: 0.0,
        }
    }
}

/// One record to write; it borrows the generator's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated<'a> {
    /// The user's id as text: one user's events keep their order.
    pub key: &'a [u8],
    /// The event's JSON, or poison; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The record's timestamp in milliseconds: the event's, for poison the stream's.
    pub timestamp_ms: i64,
    /// When it is to be written, in microseconds of event time: the newest event so far.
    pub due: i64,
}

/// The endless stream of the knobs.
#[derive(Debug)]
pub struct Generator {
    knobs: Knobs,
    random: fastrand::Rng,
    /// Cumulated shares of the users, scaled to 2^53; empty if all are alike.
    shares: Vec<u64>,
    /// Event time of the stream, before disorder.
    now: i64,
    gap: i64,
    key: Vec<u8>,
    value: Vec<u8>,
    tombstone: bool,
    timestamp_ms: i64,
    began: bool,
    poisoned: u64,
}

const SCALE: f64 = (1_u64 << 53) as f64;

impl Generator {
    /// The stream from its beginning.
    pub fn new(knobs: Knobs) -> Self {
        let gap = (2.0 * timestamp::SECOND as f64 / knobs.rate.max(1e-6)) as i64;
        Self {
            random: fastrand::Rng::with_seed(knobs.seed),
            shares: shares(knobs.users, knobs.zipf),
            now: knobs.start,
            gap,
            key: Vec::with_capacity(8),
            value: Vec::with_capacity(256),
            tombstone: false,
            timestamp_ms: 0,
            began: false,
            poisoned: 0,
            knobs,
        }
    }

    /// The next record.
    pub fn draw(&mut self) -> Generated<'_> {
        let again = self.began && !self.tombstone && self.chance(self.knobs.dup);
        self.now += self.random.i64(0..=self.gap);
        if !again {
            self.fresh();
        }
        self.began = true;
        Generated {
            key: &self.key,
            value: (!self.tombstone).then_some(&self.value),
            timestamp_ms: self.timestamp_ms,
            due: self.now,
        }
    }

    fn fresh(&mut self) {
        let behind = if self.chance(self.knobs.late) {
            self.knobs.disorder + LATE_BEHIND + self.random.i64(0..60 * timestamp::SECOND)
        } else {
            self.random.i64(0..=self.knobs.disorder)
        };
        let at = self.now - behind;
        let user = FIRST_USER + self.user();
        self.key.clear();
        number(user, &mut self.key);
        self.timestamp_ms = at.div_euclid(timestamp::MILLI);
        self.tombstone = false;
        self.write_event(at);
        if self.chance(self.knobs.poison) {
            self.timestamp_ms = self.now.div_euclid(timestamp::MILLI);
            self.poison(at);
        }
    }

    /// The event's bytes, in the contract's order of fields.
    fn write_event(&mut self, at: i64) {
        let id = uuid_v4(self.random.u128(..));
        let kind = self.random.u8(0..100);
        let product = PRODUCTS[self.random.usize(..PRODUCTS.len())];
        let out = &mut self.value;
        out.clear();
        out.extend_from_slice(b"{\"event_id\":\"");
        out.extend_from_slice(&id);
        out.extend_from_slice(b"\",\"user_id\":");
        out.extend_from_slice(&self.key);
        out.extend_from_slice(b",\"event_type\":\"");
        out.extend_from_slice(match kind {
            0..70 => b"view",
            70..90 => b"add_to_cart",
            _ => b"purchase",
        });
        out.extend_from_slice(b"\",\"product_id\":\"");
        out.extend_from_slice(product.as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":\"");
        timestamp::write(at, out);
        out.extend_from_slice(b"\",\"price\":");
        if kind < 90 {
            out.extend_from_slice(b"null}");
        } else {
            let cents = self.random.u64(1_000..=200_000);
            number(cents / 100, out);
            out.push(b'.');
            out.extend_from_slice(&[b'0' + (cents / 10 % 10) as u8, b'0' + (cents % 10) as u8]);
            out.push(b'}');
        }
    }

    /// Spoils the event in one of nine ways, in turn.
    fn poison(&mut self, at: i64) {
        let way = self.poisoned % 9;
        self.poisoned += 1;
        let key = String::from_utf8_lossy(&self.key).into_owned();
        let text = |timestamp: &str, price: &str| {
            format!(
                r#"{{"event_id":"poison","user_id":{key},"event_type":"purchase","product_id":"Laptop_X1",{timestamp}"price":{price}}}"#
            )
        };
        let time = format!("\"timestamp\":\"{}\",", timestamp::format(at));
        match way {
            0 => self.value = b"not JSON".to_vec(),
            1 => self.value.truncate(self.value.len() / 2),
            2 => self.tombstone = true,
            3 => self.value[14] = 0xff,
            4 => self.value = text("", "19.99").into_bytes(),
            5 => self.value = text(&time, "\"abc\"").into_bytes(),
            6 => {
                self.value.insert(0, b'[');
                self.value.push(b']');
            }
            7 => self.value = text("\"timestamp\":\"2099-01-01T00:00:00Z\",", "19.99").into_bytes(),
            _ => self.value = text(&time, "19.999").into_bytes(),
        }
    }

    fn user(&mut self) -> u64 {
        if self.shares.is_empty() {
            return self.random.u64(0..self.knobs.users.max(1));
        }
        let at = self.random.u64(0..1 << 53);
        self.shares.partition_point(|share| *share <= at).min(self.shares.len() - 1) as u64
    }

    /// Draws nothing where the share is 0, so that turning one knob leaves the rest of the stream as it is.
    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.f64() < share
    }
}

fn shares(users: u64, zipf: f64) -> Vec<u64> {
    if zipf <= 0.0 {
        return Vec::new();
    }
    let weight = |rank: u64| (rank as f64).powf(-zipf);
    let total: f64 = (1..=users).map(weight).sum();
    let mut sum = 0.0;
    let share = |rank| {
        sum += weight(rank);
        (sum / total * SCALE) as u64
    };
    (1..=users).map(share).collect()
}

fn uuid_v4(random: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    /// Where each byte's two digits stand, between the dashes.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let id = random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut text = [b'-'; 36];
    for (byte, place) in id.to_be_bytes().into_iter().zip(PLACES) {
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 0xf)];
    }
    text
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::{self, EventType, Reason};
    use std::collections::{BTreeMap, BTreeSet};

    const START: i64 = 1_705_329_000_000_000;

    fn knobs() -> Knobs {
        Knobs { start: START, ..Knobs::default() }
    }

    /// Key, value, timestamp, due.
    type Drawn = (Vec<u8>, Option<Vec<u8>>, i64, i64);

    fn stream(knobs: Knobs, n: usize) -> Vec<Drawn> {
        let mut generator = Generator::new(knobs);
        let next = |_| {
            let event = generator.draw();
            (event.key.to_vec(), event.value.map(<[u8]>::to_vec), event.timestamp_ms, event.due)
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn the_bytes_are_the_contracts() {
        for (key, value, timestamp_ms, _) in stream(knobs(), 2_000) {
            let value = value.unwrap();
            let event = event::parse(Some(&value)).unwrap();
            let price = event.price_cents.map_or("null".to_owned(), |c| format!("{}.{:02}", c / 100, c % 100));
            let expected = format!(
                r#"{{"event_id":"{}","user_id":{},"event_type":"{}","product_id":"{}","timestamp":"{}","price":{price}}}"#,
                event.event_id,
                event.user_id,
                event.event_type.name(),
                event.product_id,
                timestamp::format(event.timestamp),
            );
            assert_eq!(String::from_utf8(value.clone()).unwrap(), expected);
            assert_eq!((event.user_id.as_bytes(), event.timestamp.div_euclid(1000)), (&key[..], timestamp_ms));
            let uuid = uuid::Uuid::parse_str(&event.event_id).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (4, uuid::Variant::RFC4122));
            assert!((1_000..=9_999).contains(&event.user_id.parse::<u64>().unwrap()));
            assert_eq!(event.price_cents.is_some(), event.event_type == EventType::Purchase);
            assert!(event.price_cents.is_none_or(|cents| (1_000..=200_000).contains(&cents)));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_seed_another() {
        let all = Knobs { zipf: 1.1, disorder: 5_000_000, late: 0.1, dup: 0.1, poison: 0.1, ..knobs() };
        assert_eq!(stream(all.clone(), 500), stream(all.clone(), 500));
        assert_ne!(stream(all.clone(), 500), stream(Knobs { seed: 2, ..all }, 500));
    }

    #[test]
    fn a_seed_gives_the_bytes_that_it_always_gave() {
        let all = Knobs { zipf: 1.1, disorder: 5_000_000, late: 0.1, dup: 0.1, poison: 0.1, ..knobs() };
        let hash = |knobs| {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for (key, value, at, due) in stream(knobs, 10_000) {
                let numbers = [at, due].map(i64::to_be_bytes);
                let bytes = [&key[..], value.as_deref().unwrap_or(b"tombstone"), &numbers[0], &numbers[1]].concat();
                hash = bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
            }
            hash
        };
        assert_eq!((hash(knobs()), hash(all)), (4_541_563_304_687_180_132, 17_742_661_107_065_902_322));
    }

    #[test]
    fn disorder_stays_within_its_bound_and_late_events_far_beyond() {
        let knobs = Knobs { disorder: 5_000_000, late: 0.05, ..knobs() };
        let mut late = 0;
        for (_, value, _, due) in stream(knobs, 10_000) {
            let behind = due - event::parse(value.as_deref()).unwrap().timestamp;
            assert!((0..=5_000_000).contains(&behind) || behind >= 95_000_000);
            late += u32::from(behind > 5_000_000);
        }
        assert!((300..700).contains(&late), "{late}");
    }

    #[test]
    fn the_rate_is_that_of_event_time() {
        let (_, _, _, due) = stream(knobs(), 100_000).pop().unwrap();
        let seconds = (due - START) as f64 / 1e6;
        assert!((98.0..102.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn duplicates_repeat_their_predecessor_byte_for_byte() {
        let events = stream(Knobs { dup: 0.1, ..knobs() }, 5_000);
        let ids: BTreeSet<_> = events.iter().map(|event| event.1.clone()).collect();
        assert!((400..600).contains(&(events.len() - ids.len())));
    }

    #[test]
    fn each_kind_of_poison_is_dead_for_its_reason() {
        let mut reasons = BTreeMap::new();
        for (_, value, timestamp_ms, _) in stream(Knobs { poison: 0.2, ..knobs() }, 5_000) {
            let judged = event::parse(value.as_deref())
                .and_then(|event| crate::pipeline::window::guard_future(&event, timestamp_ms, 600_000_000));
            if let Err(rejected) = judged {
                *reasons.entry(rejected.reason).or_insert(0) += 1;
            }
        }
        let kinds: Vec<_> = reasons.keys().copied().collect();
        use Reason::*;
        let expected = [Tombstone, BadUtf8, NotJson, NotAnObject, MissingField, BadPrice, FutureTimestamp];
        assert_eq!(kinds, expected);
        assert!((850..1_150).contains(&reasons.values().sum::<i32>()), "{reasons:?}");
    }

    #[test]
    fn few_users_click_most_under_zipf() {
        let mut clicks = BTreeMap::new();
        for (key, ..) in stream(Knobs { zipf: 1.2, ..knobs() }, 10_000) {
            *clicks.entry(key).or_insert(0) += 1;
        }
        assert!(clicks[&b"1000"[..]] > 1_000, "the first user clicks most");
    }
}
