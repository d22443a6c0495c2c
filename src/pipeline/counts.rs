//! What became of an aggregator's records, counted where it can be continued: the sum so far is committed with the offset,
//! so that a kill -9 neither loses nor doubles a count.

use crate::pipeline::{
    event::Event,
    receipt::{Gmv, Receipt},
    rows::WindowRow,
    window::{JobSpec, Judged},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// By reason.
pub type ByReason = BTreeMap<Cow<'static, str>, u64>;

/// Counts of one input partition, or of several together. As JSON it has short names and leaves out what is zero: it shares
/// an offset's metadata with others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// All records. Each counts once more below, the first that applies: dead, late, skipped, duplicate, kept.
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    pub read: u64,
    /// Events with nothing to say about them.
    #[serde(rename = "k", skip_serializing_if = "is_zero")]
    pub kept: u64,
    /// Late for at least one window.
    #[serde(rename = "l", skip_serializing_if = "is_zero")]
    pub late: u64,
    /// Seen before in a window still open, where deduplication is on.
    #[serde(rename = "u", skip_serializing_if = "is_zero")]
    pub duplicate: u64,
    /// Valid, but not looked for.
    #[serde(rename = "s", skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: ByReason,
    /// To the dead letter queue.
    #[serde(rename = "d", skip_serializing_if = "BTreeMap::is_empty")]
    pub dead: ByReason,
    /// Windows closed with at least one event.
    #[serde(rename = "w", skip_serializing_if = "is_zero")]
    pub windows_closed: u64,
    /// Of each window that sums.
    #[serde(rename = "g", skip_serializing_if = "BTreeMap::is_empty")]
    pub gmv: BTreeMap<String, Cents>,
    /// Late events by window; an event may be late for several.
    #[serde(rename = "lw", skip_serializing_if = "BTreeMap::is_empty")]
    pub late_by_window: BTreeMap<String, u64>,
}

/// The money of one window, in cents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[i64; 3]", into = "[i64; 3]")]
pub struct Cents {
    /// In rows.
    pub stream: i64,
    /// In events that were late for it.
    pub late: i64,
    /// In events that deduplication left out.
    pub duplicate: i64,
}

impl From<[i64; 3]> for Cents {
    fn from([stream, late, duplicate]: [i64; 3]) -> Self {
        Self { stream, late, duplicate }
    }
}

impl From<Cents> for [i64; 3] {
    fn from(cents: Cents) -> Self {
        [cents.stream, cents.late, cents.duplicate]
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Counts {
    /// Zero of everything, with a place for each window that sums.
    pub fn new(spec: &JobSpec) -> Self {
        let sums = spec.windows.iter().filter(|window| window.sums());
        Self { gmv: sums.map(|window| (window.name.clone(), Cents::default())).collect(), ..Self::default() }
    }

    /// Counts one record. Records read again count nothing.
    pub fn judged(&mut self, spec: &JobSpec, judged: &Judged<'_>) {
        match judged {
            Judged::Replayed => return,
            Judged::Dead(rejected) => *self.dead.entry(rejected.reason.name().into()).or_default() += 1,
            Judged::BeforeFrom => *self.skipped.entry("before_from".into()).or_default() += 1,
            Judged::Event { event, late, duplicate } => {
                if *late != 0 || *duplicate {
                    self.left_out(spec, event, *late, *duplicate);
                }
                if *late != 0 {
                    self.late += 1;
                } else if Judged::has_no_price(event) {
                    *self.skipped.entry("no_price".into()).or_default() += 1;
                } else if *duplicate {
                    self.duplicate += 1;
                } else {
                    self.kept += 1;
                }
            }
        }
        self.read += 1;
    }

    /// Counts an emission's rows.
    pub fn emitted(&mut self, rows: &[WindowRow], windows: u64) {
        self.windows_closed += windows;
        for row in rows {
            if let Some(cents) = self.gmv.get_mut(&row.window) {
                cents.stream += row.sum_cents;
            }
        }
    }

    /// Adds the other's.
    pub fn add(&mut self, other: &Self) {
        self.each(other, |mine, theirs| *mine += theirs, |mine, theirs| *mine += theirs);
    }

    /// Takes off the other's, which is a part of this.
    pub fn subtract(&mut self, other: &Self) {
        self.each(other, |mine, theirs| *mine = mine.saturating_sub(theirs), |mine, theirs| *mine -= theirs);
    }

    /// Puts everything counted into the receipt; duplicates only where they are looked for.
    pub fn fill(&self, receipt: &mut Receipt, dedup: bool) {
        let named = |counts: &ByReason| counts.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
        receipt.read = Some(self.read);
        receipt.kept = Some(self.kept);
        receipt.late = Some(self.late);
        receipt.skipped = Some(named(&self.skipped));
        receipt.duplicate = dedup.then_some(self.duplicate);
        receipt.dead_lettered = Some(self.dead.values().sum());
        receipt.windows_closed = Some(self.windows_closed);
        let gmv = self.gmv.iter().map(|(window, cents)| {
            let mut gmv = Gmv::default();
            (gmv.stream_cents, gmv.late_cents) = (Some(cents.stream), Some(cents.late));
            gmv.duplicate_cents = dedup.then_some(cents.duplicate);
            (window.clone(), gmv)
        });
        receipt.gmv = Some(gmv.collect());
    }

    fn each(&mut self, other: &Self, count: impl Fn(&mut u64, u64), cents: impl Fn(&mut i64, i64)) {
        for (mine, theirs) in [
            (&mut self.read, other.read),
            (&mut self.kept, other.kept),
            (&mut self.late, other.late),
            (&mut self.duplicate, other.duplicate),
            (&mut self.windows_closed, other.windows_closed),
        ] {
            count(mine, theirs);
        }
        for (reason, n) in &other.skipped {
            count(self.skipped.entry(reason.clone()).or_default(), *n);
        }
        for (reason, n) in &other.dead {
            count(self.dead.entry(reason.clone()).or_default(), *n);
        }
        for (window, n) in &other.late_by_window {
            count(self.late_by_window.entry(window.clone()).or_default(), *n);
        }
        for (window, theirs) in &other.gmv {
            let mine = self.gmv.entry(window.clone()).or_default();
            cents(&mut mine.stream, theirs.stream);
            cents(&mut mine.late, theirs.late);
            cents(&mut mine.duplicate, theirs.duplicate);
        }
    }

    /// What windows miss of an event that is late for some of them, or a duplicate for the others.
    fn left_out(&mut self, spec: &JobSpec, event: &Event<'_>, late: u64, duplicate: bool) {
        for (index, window) in spec.windows.iter().enumerate() {
            let is_late = late & (1 << index) != 0;
            if is_late {
                match self.late_by_window.get_mut(&window.name) {
                    Some(n) => *n += 1,
                    None => drop(self.late_by_window.insert(window.name.clone(), 1)),
                }
            }
            let Some(cents) = self.gmv.get_mut(&window.name).filter(|_| window.wants(event)) else { continue };
            if is_late {
                cents.late += window.cents_of(event);
            } else if duplicate {
                cents.duplicate += window.cents_of(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_travel_in_few_bytes_and_come_back() {
        let mut counts = Counts { read: 12, kept: 9, ..Counts::default() };
        counts.dead.insert("bad_json".into(), 3);
        counts.gmv.insert("gmv_1m".to_owned(), Cents { stream: 5, late: 1, duplicate: 0 });
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"r":12,"k":9,"d":{"bad_json":3},"g":{"gmv_1m":[5,1,0]}}"#);
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
        let mut sum = counts.clone();
        sum.add(&counts);
        assert_eq!((sum.read, sum.dead["bad_json"], sum.gmv["gmv_1m"].stream), (24, 6, 10));
        sum.subtract(&counts);
        assert_eq!(sum, counts);
    }
}
