//! The receipt: what a run read, and what became of each record. Its numbers must add up.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One JSON line at the end of a run. A command leaves out what it doesn't know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// Which command.
    pub command: String,
    /// Records that the demo's clickstream wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub produced: Option<u64>,
    /// Records read; each is counted once more below, under the first that applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Events that counted, with nothing to say about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Late for at least one window; it may still count in a longer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
    /// Valid, but not looked for, by reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<BTreeMap<String, u64>>,
    /// Seen before, where deduplication is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<u64>,
    /// To the dead letter queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_lettered: Option<u64>,
    /// Windows that closed in this run, with at least one event: per partition in `aggregate`, over all in `merge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_closed: Option<u64>,
    /// Money per window that sums it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gmv: Option<BTreeMap<String, Gmv>>,
    /// Rows in the sink's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_rows: Option<u64>,
    /// Distinct valid purchases with a price in the input, counted from the input again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_purchases: Option<u64>,
    /// Whether all of the above that is known adds up; [`close`](Self::close) sets it.
    pub balanced: bool,
}

/// The money of one window, in cents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gmv {
    /// In the rows that the stream wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_cents: Option<i64>,
    /// In purchases that were late for this window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_cents: Option<i64>,
    /// In purchases that deduplication left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_cents: Option<i64>,
    /// In all of the input, computed again as a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_cents: Option<i64>,
}

impl Gmv {
    fn balances(&self) -> bool {
        let stream = [self.stream_cents, self.late_cents, self.duplicate_cents];
        match self.batch_cents {
            Some(batch) => stream.iter().flatten().map(|&cents| i128::from(cents)).sum::<i128>() == i128::from(batch),
            None => true,
        }
    }
}

impl Receipt {
    /// An empty receipt of this command.
    pub fn new(command: &str) -> Self {
        Self { command: command.to_owned(), ..Self::default() }
    }

    /// Checks what is known, and says so in `balanced`.
    #[must_use]
    pub fn close(mut self) -> Self {
        let fates = [self.kept, self.late, self.duplicate, self.dead_lettered].into_iter().flatten().sum::<u64>()
            + self.skipped.iter().flat_map(BTreeMap::values).sum::<u64>();
        let read = self.read.is_none_or(|read| read == fates);
        let produced = self.produced.zip(self.read).is_none_or(|(produced, read)| produced == read);
        let gmv = self.gmv.iter().flat_map(BTreeMap::values).all(Gmv::balances);
        let rows = self.db_rows.zip(self.distinct_purchases).is_none_or(|(rows, distinct)| rows == distinct);
        self.balanced = read && produced && gmv && rows;
        self
    }

    /// Adds what a later run of the same stage counted.
    pub fn add(&mut self, later: &Self) {
        let numbers = [
            (&mut self.read, later.read),
            (&mut self.kept, later.kept),
            (&mut self.late, later.late),
            (&mut self.duplicate, later.duplicate),
            (&mut self.dead_lettered, later.dead_lettered),
            (&mut self.windows_closed, later.windows_closed),
        ];
        for (mine, theirs) in numbers {
            *mine = mine.zip(theirs).map(|(mine, theirs)| mine + theirs).or(*mine).or(theirs);
        }
        for (reason, n) in later.skipped.iter().flatten() {
            *self.skipped.get_or_insert_default().entry(reason.clone()).or_default() += n;
        }
        for (window, cents) in later.gmv.iter().flatten() {
            let mine = self.gmv.get_or_insert_default().entry(window.clone()).or_default();
            for (mine, theirs) in [
                (&mut mine.stream_cents, cents.stream_cents),
                (&mut mine.late_cents, cents.late_cents),
                (&mut mine.duplicate_cents, cents.duplicate_cents),
            ] {
                *mine = mine.zip(theirs).map(|(mine, theirs)| mine + theirs).or(*mine).or(theirs);
            }
        }
    }

    /// The line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_balances_only_if_all_that_is_known_adds_up() {
        let mut receipt = Receipt::new("demo");
        receipt.read = Some(10);
        receipt.kept = Some(6);
        receipt.late = Some(1);
        receipt.skipped = Some([("no_price".to_owned(), 2)].into());
        receipt.dead_lettered = Some(1);
        assert!(receipt.clone().close().balanced);
        assert!(!Receipt { produced: Some(11), ..receipt.clone() }.close().balanced);
        assert!(!Receipt { kept: Some(7), ..receipt.clone() }.close().balanced);
        assert!(!Receipt { db_rows: Some(1), distinct_purchases: Some(2), ..receipt.clone() }.close().balanced);
        let cents = Gmv { stream_cents: Some(5), late_cents: Some(2), duplicate_cents: None, batch_cents: Some(7) };
        let gmv: BTreeMap<_, _> = [("gmv_1m".to_owned(), cents)].into();
        assert!(Receipt { gmv: Some(gmv.clone()), ..receipt.clone() }.close().balanced);
        let mut wrong = gmv;
        wrong.get_mut("gmv_1m").unwrap().batch_cents = Some(8);
        assert!(!Receipt { gmv: Some(wrong), ..receipt }.close().balanced);
    }

    #[test]
    fn unknown_fields_are_left_out() {
        let json = Receipt { read: Some(0), ..Receipt::new("merge") }.close().to_json();
        assert_eq!(json, r#"{"command":"merge","read":0,"balanced":true}"#);
    }
}
