//! What stands on `T.windows` and `T.final`: values and record keys, to the letter.

use serde::{Deserialize, Serialize};

/// The watermark after the last record of an ended input.
pub const INFINITY: i64 = i64::MAX;

/// A partial row: what one input partition knows about a (window, key), on `T.windows`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRow {
    /// The aggregator's group.
    pub job: String,
    /// The window's name.
    pub window: String,
    /// Where it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// Where the next begins.
    pub end_ms: i64,
    /// What the events have in common, `None` where nothing was asked.
    pub key: Option<String>,
    /// The *input* partition.
    pub partition: i32,
    /// How many events.
    pub count: i64,
    /// The sum of their prices in cents, 0 where nothing is summed.
    pub sum_cents: i64,
    /// Records of this window were deleted before they were read (`--accept-gap`); left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

impl WindowRow {
    /// `gmv_1m|<start_ms>|<key, empty for null>|<partition>`.
    pub fn record_key(&self) -> String {
        format!("{}|{}|{}|{}", self.window, self.start_ms, self.key.as_deref().unwrap_or(""), self.partition)
    }
}

/// How far one input partition is, on `T.windows`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkRow {
    /// The aggregator's group.
    pub job: String,
    /// The input partition.
    pub partition: i32,
    /// Every window that ends at or before this has been written for this partition; [`INFINITY`] at the end.
    pub watermark_ms: i64,
}

impl WatermarkRow {
    /// `watermark|<job>|<partition>`.
    pub fn record_key(&self) -> String {
        format!("watermark|{}|{}", self.job, self.partition)
    }
}

/// The one row of a (window, key) over all partitions, on `T.final`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalRow {
    /// The aggregator's group.
    pub job: String,
    /// The window's name.
    pub window: String,
    /// Where it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// Where the next begins.
    pub end_ms: i64,
    /// What the events have in common, `None` where nothing was asked.
    pub key: Option<String>,
    /// How many events.
    pub count: i64,
    /// The sum of their prices in cents, 0 where nothing is summed.
    pub sum_cents: i64,
    /// Records of this window were deleted before they were read (`--accept-gap`); left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

impl FinalRow {
    /// `gmv_1m|<start_ms>|<key>`.
    pub fn record_key(&self) -> String {
        format!("{}|{}|{}", self.window, self.start_ms, self.key.as_deref().unwrap_or(""))
    }
}

/// The greatest counts of a window, on `T.final`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopRow {
    /// The window's name.
    pub window: String,
    /// Where it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// Greatest count first, ties by key ascending.
    pub top: Vec<TopEntry>,
}

impl TopRow {
    /// `<window>|<start_ms>|#top`.
    pub fn record_key(&self) -> String {
        format!("{}|{}|#top", self.window, self.start_ms)
    }
}

/// One place in a [`TopRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopEntry {
    /// The key.
    pub key: String,
    /// Its count.
    pub count: i64,
}

/// Any value on `T.windows`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a topic of exactly these two")]
pub enum WindowsRecord {
    /// A partial row.
    Row(WindowRow),
    /// A watermark.
    Watermark(WatermarkRow),
}

impl WindowsRecord {
    /// From a record of `T.windows`; `None` if it is neither.
    pub fn parse(value: &[u8]) -> Option<Self> {
        serde_json::from_slice::<WindowRow>(value)
            .map(Self::Row)
            .or_else(|_| serde_json::from_slice::<WatermarkRow>(value).map(Self::Watermark))
            .ok()
    }
}

/// The JSON of a row. Rows hold nothing that JSON can't.
pub fn to_json(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).unwrap_or_default()
}

/// The `n` greatest counts; ties by key ascending, keys that are integers as numbers and before all others.
pub fn top(counts: impl IntoIterator<Item = (String, i64)>, n: usize) -> Vec<TopEntry> {
    let mut entries: Vec<_> = counts.into_iter().map(|(key, count)| TopEntry { key, count }).collect();
    entries.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| order(&a.key).cmp(&order(&b.key))));
    entries.truncate(n);
    entries
}

fn order(key: &str) -> (bool, i64, &str) {
    match key.parse::<i64>() {
        Ok(number) => (false, number, key),
        Err(_) => (true, 0, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_contracts_bytes() {
        let row = WindowRow {
            job: "clicks.aggregate".to_owned(),
            window: "views_1m".to_owned(),
            start_ms: 1_705_329_000_000,
            end_ms: 1_705_329_060_000,
            key: Some("Laptop_X1".to_owned()),
            partition: 3,
            count: 135,
            sum_cents: 0,
            incomplete: false,
        };
        let json = r#"{"job":"clicks.aggregate","window":"views_1m","start_ms":1705329000000,"end_ms":1705329060000,"key":"Laptop_X1","partition":3,"count":135,"sum_cents":0}"#;
        assert_eq!(to_json(&row), json.as_bytes());
        assert_eq!(row.record_key(), "views_1m|1705329000000|Laptop_X1|3");
        assert_eq!(WindowsRecord::parse(json.as_bytes()), Some(WindowsRecord::Row(row.clone())));
        let total = WindowRow { key: None, window: "gmv_1m".to_owned(), sum_cents: 13_714_720, ..row };
        assert_eq!(total.record_key(), "gmv_1m|1705329000000||3");
        assert!(String::from_utf8(to_json(&total)).unwrap().contains(r#""key":null,"partition":3,"count":135"#));

        let watermark = WatermarkRow { job: "j".to_owned(), partition: 3, watermark_ms: INFINITY };
        let json = br#"{"job":"j","partition":3,"watermark_ms":9223372036854775807}"#;
        assert_eq!(to_json(&watermark), json);
        assert_eq!(watermark.record_key(), "watermark|j|3");
        assert_eq!(WindowsRecord::parse(json), Some(WindowsRecord::Watermark(watermark)));
        assert_eq!(WindowsRecord::parse(b"{}"), None);
    }

    #[test]
    fn the_top_breaks_ties_by_key_with_numbers_as_numbers() {
        let counts = [("900", 2), ("1000", 2), ("abc", 2), ("7", 1), ("5000", 9)];
        let entries = top(counts.map(|(key, count)| (key.to_owned(), count)), 4);
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["5000", "900", "1000", "abc"]);
        let row = TopRow { window: "users_30m".to_owned(), start_ms: 0, top: entries };
        assert!(to_json(&row).starts_with(br#"{"window":"users_30m","start_ms":0,"top":[{"key":"5000","count":9},"#));
        assert_eq!(row.record_key(), "users_30m|0|#top");
    }
}
