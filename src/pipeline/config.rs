//! What the pipeline is told: durations, windows, topic and group names.
//!
//! All windows, the built-in ones too, are the same description that a TOML file gives:
//!
//! ```toml
//! [[window]]
//! name = "views_5m"
//! size = "5m"
//! advance = "1m"           # hopping; without it tumbling
//! filter = "view"          # a list of event types, or "priced_purchase"; without it every event
//! key = "product_id"       # or "user_id"; without it one row for all
//! aggregate = "count"      # or "sum_price"
//! top = 3
//! ```

use crate::pipeline::event::{Event, EventType};
use serde::Deserialize;
use std::{fmt, sync::Arc, time::Duration};

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// Every valid event.
    All,
    /// Purchases with a price.
    PricedPurchase,
    /// Events of these types: view, add_to_cart, purchase.
    Types([bool; 3]),
}

/// What a window's rows are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// By nothing: one row.
    None,
    /// By product.
    Product,
    /// By user.
    User,
}

/// One kind of window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Its name in rows; unique among all groups that read one topic.
    pub name: String,
    /// Its length in microseconds.
    pub size: i64,
    /// How far apart two of them begin, in microseconds: `size` for tumbling windows.
    pub advance: i64,
    /// What it counts.
    pub filter: Filter,
    /// What its rows are grouped by.
    pub key: Key,
    /// Whether prices are summed besides counting.
    pub sum: bool,
    /// How many of the greatest counts `T.final` lists, 0 for no list.
    pub top: usize,
    /// Your own aggregate: it decides instead of `filter`, `key` and `sum`.
    pub custom: Option<Custom>,
}

/// What a window makes of each event, where filter, key and sum don't do: in Rust, never in configuration.
///
/// It must be a pure function of the event: after a restart the events of the windows still open are counted again. Partial
/// results of input partitions are added up by `merge`, so what it gives is a count and a sum.
///
/// ```
/// use milena::pipeline::{config::{Aggregate, WindowSpec}, event::{Event, EventType}};
///
/// /// Expensive purchases by user: how many, and for how much.
/// #[derive(Debug)]
/// struct Expensive(i64);
///
/// impl Aggregate for Expensive {
///     fn identity(&self) -> String {
///         format!("expensive:{}", self.0)
///     }
///     fn key<'e>(&self, event: &'e Event<'_>) -> Option<&'e str> {
///         Some(&event.user_id)
///     }
///     fn wants(&self, event: &Event<'_>) -> bool {
///         event.event_type == EventType::Purchase && event.price_cents >= Some(self.0)
///     }
///     fn cents(&self, event: &Event<'_>) -> i64 {
///         event.price_cents.unwrap_or(0)
///     }
/// }
///
/// let hour = WindowSpec::tumbling("expensive_1h", 3_600_000_000).aggregate(Expensive(100_000)).top(10);
/// ```
pub trait Aggregate: fmt::Debug + Send + Sync {
    /// Changes whenever the results would: offsets committed under another one can't be continued.
    fn identity(&self) -> String;

    /// What the event is counted under; always `Some`, or always `None` for one row without a key.
    fn key<'e>(&self, event: &'e Event<'_>) -> Option<&'e str>;

    /// Whether the window counts this event; by default every valid one.
    fn wants(&self, event: &Event<'_>) -> bool {
        let _ = event;
        true
    }

    /// What the event adds to the count; by default 1.
    fn count(&self, event: &Event<'_>) -> i64 {
        let _ = event;
        1
    }

    /// What the event adds to the sum; by default nothing.
    fn cents(&self, event: &Event<'_>) -> i64 {
        let _ = event;
        0
    }
}

/// A shared [`Aggregate`]; two are equal if their identities are.
#[derive(Debug, Clone)]
pub struct Custom(Arc<dyn Aggregate>);

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity() == other.0.identity()
    }
}

impl Eq for Custom {}

impl WindowSpec {
    /// Windows of `size` microseconds, one after the other, that count every event in one row.
    pub fn tumbling(name: &str, size: i64) -> Self {
        let (filter, key, sum) = (Filter::All, Key::None, false);
        Self { name: name.to_owned(), size, advance: size, filter, key, sum, top: 0, custom: None }
    }

    /// With an aggregate of your own.
    #[must_use]
    pub fn aggregate(mut self, aggregate: impl Aggregate + 'static) -> Self {
        self.custom = Some(Custom(Arc::new(aggregate)));
        self
    }

    /// With a list of the `n` greatest counts.
    #[must_use]
    pub fn top(mut self, n: usize) -> Self {
        self.top = n;
        self
    }

    fn built_in(name: &str, seconds: i64, filter: Filter, key: Key, sum: bool, top: usize) -> Self {
        Self { filter, key, sum, top, ..Self::tumbling(name, seconds * 1_000_000) }
    }

    /// Whether this window counts the event.
    pub fn wants(&self, event: &Event<'_>) -> bool {
        if let Some(Custom(aggregate)) = &self.custom {
            return aggregate.wants(event);
        }
        match self.filter {
            Filter::All => true,
            Filter::PricedPurchase => event.is_priced_purchase(),
            Filter::Types(types) => types[type_index(event.event_type)],
        }
    }

    /// What the event is counted under; `None` for one row without a key.
    pub fn key_of<'e>(&self, event: &'e Event<'_>) -> Option<&'e str> {
        match (&self.custom, self.key) {
            (Some(Custom(aggregate)), _) => aggregate.key(event),
            (None, Key::None) => None,
            (None, Key::Product) => Some(&event.product_id),
            (None, Key::User) => Some(&event.user_id),
        }
    }

    /// What the event adds to the count.
    pub fn count_of(&self, event: &Event<'_>) -> i64 {
        self.custom.as_ref().map_or(1, |Custom(aggregate)| aggregate.count(event))
    }

    /// What the event adds to the sum, in cents.
    pub fn cents_of(&self, event: &Event<'_>) -> i64 {
        match &self.custom {
            Some(Custom(aggregate)) => aggregate.cents(event),
            None if self.sum => event.price_cents.unwrap_or(0),
            None => 0,
        }
    }

    /// Whether its rows have a sum.
    pub fn sums(&self) -> bool {
        self.sum || self.custom.is_some()
    }

    /// What decides about its numbers, as text.
    pub fn identity(&self) -> String {
        let Self { name, size, advance, filter, key, sum, .. } = self;
        match &self.custom {
            Some(Custom(aggregate)) => format!("{name}:{size}:{advance}:custom:{}", aggregate.identity()),
            None => format!("{name}:{size}:{advance}:{filter:?}:{key:?}:{sum}"),
        }
    }

    /// The start of the newest window that holds this instant; the others begin `advance` earlier each.
    pub fn newest_start(&self, timestamp: i64) -> i64 {
        timestamp.div_euclid(self.advance) * self.advance
    }

    /// The starts of all windows that hold this instant, newest first.
    pub fn starts(&self, timestamp: i64) -> impl Iterator<Item = i64> + use<> {
        let (size, advance) = (self.size, self.advance);
        std::iter::successors(Some(self.newest_start(timestamp)), move |start| Some(start - advance))
            .take_while(move |start| timestamp < start + size)
    }
}

/// The windows that need no file: `gmv_1m`, `views_1m`, `users_30m` and the demo's `gmv_10s`.
pub fn built_in_windows() -> Vec<WindowSpec> {
    let views = Filter::Types([true, false, false]);
    vec![
        WindowSpec::built_in("gmv_1m", 60, Filter::PricedPurchase, Key::None, true, 0),
        WindowSpec::built_in("views_1m", 60, views, Key::Product, false, 3),
        WindowSpec::built_in("users_30m", 1_800, Filter::All, Key::User, false, 10),
        WindowSpec::built_in("gmv_10s", 10, Filter::PricedPurchase, Key::None, true, 0),
    ]
}

/// The windows of a TOML file's `[[window]]` on top of the built-in ones; a name in the file replaces a built-in's.
///
/// # Errors
/// A sentence that names the window and what is wrong with it.
pub fn windows_from_toml(table: &toml::Table) -> Result<Vec<WindowSpec>, String> {
    let mut windows = built_in_windows();
    let Some(described) = table.get("window") else { return Ok(windows) };
    let described: Vec<Described> =
        described.clone().try_into().map_err(|error| format!("[[window]]: {}", toml_error(&error, "")))?;
    for window in described {
        let window = window.check()?;
        windows.retain(|other| other.name != window.name);
        windows.push(window);
    }
    Ok(windows)
}

/// What is wrong with a TOML file, and where in its text. What stands there is not shown, as the error itself would: it may be
/// a password.
pub fn toml_error(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before.filter(|_| !text.is_empty()) else { return error.message().to_owned() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}

/// The windows of a comma list of names, in its order.
///
/// # Errors
/// A sentence with the names that there are.
pub fn select_windows(all: &[WindowSpec], names: &str) -> Result<Vec<WindowSpec>, String> {
    let mut selected: Vec<WindowSpec> = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found = all.iter().find(|window| window.name == name).ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|window| window.name.as_str()).collect();
            format!("no window is called {name:?}; there are {}", known.join(", "))
        })?;
        if selected.iter().any(|window| window.name == name) {
            return Err(format!("window {name:?} is named twice"));
        }
        selected.push(found.clone());
    }
    if selected.is_empty() { Err("no window is named".to_owned()) } else { Ok(selected) }
}

/// One `[[window]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    size: String,
    advance: Option<String>,
    filter: Option<OneOrMany>,
    key: Option<String>,
    aggregate: Option<String>,
    #[serde(default)]
    top: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Described {
    fn check(self) -> Result<WindowSpec, String> {
        let Self { name, size, advance, filter, key, aggregate, top } = self;
        let wrong = |what: String| format!("[[window]] {name:?}: {what}");
        if name.is_empty() || name.contains(['|', ',']) || name == "watermark" {
            return Err(wrong("a name is not empty, has no | or comma, and is not \"watermark\"".to_owned()));
        }
        let size = micros(&size).map_err(&wrong)?;
        let advance = advance.map_or(Ok(size), |advance| micros(&advance)).map_err(&wrong)?;
        if size == 0 || advance == 0 || advance > size {
            return Err(wrong("size and advance are greater than zero, and advance is at most size".to_owned()));
        }
        let filter = match filter {
            None => Filter::All,
            Some(OneOrMany::One(name)) if name == "priced_purchase" => Filter::PricedPurchase,
            Some(OneOrMany::One(name)) => types(&[name]).map_err(&wrong)?,
            Some(OneOrMany::Many(names)) => types(&names).map_err(&wrong)?,
        };
        let key = match key.as_deref() {
            None => Key::None,
            Some("product_id") => Key::Product,
            Some("user_id") => Key::User,
            Some(other) => return Err(wrong(format!("key is product_id or user_id, not {other:?}"))),
        };
        let sum = match aggregate.as_deref() {
            None | Some("count") => false,
            Some("sum_price" | "sum(price)") => true,
            Some(other) => return Err(wrong(format!("aggregate is count or sum_price, not {other:?}"))),
        };
        if top > 0 && key == Key::None {
            return Err(wrong("top needs a key".to_owned()));
        }
        Ok(WindowSpec { name, size, advance, filter, key, sum, top, custom: None })
    }
}

fn micros(text: &str) -> Result<i64, String> {
    let duration = parse_duration(text)?;
    i64::try_from(duration.as_micros()).map_err(|_| format!("{text:?} is too long"))
}

fn types(names: &[String]) -> Result<Filter, String> {
    let mut types = [false; 3];
    for name in names {
        let kind = EventType::from_name(name).ok_or_else(|| {
            format!("filter is view, add_to_cart, purchase, a list of them, or priced_purchase, not {name:?}")
        })?;
        types[type_index(kind)] = true;
    }
    Ok(Filter::Types(types))
}

fn type_index(kind: EventType) -> usize {
    match kind {
        EventType::View => 0,
        EventType::AddToCart => 1,
        EventType::Purchase => 2,
    }
}

/// `30s`, `5m`, `1h`, `2d`, `100ms`, or a bare number of milliseconds.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text:?} is not a duration: write 30s, 5m, 1h, 2d, 100ms, or milliseconds");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// The names of everything that belongs to one input topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// The input, `T`.
    pub input: String,
    /// `T.windows`: partial rows and watermarks.
    pub windows: String,
    /// `T.final`: one row per window and key.
    pub finals: String,
    /// `T.late`: events that came after their window had closed.
    pub late: String,
    /// `T.dlq`: records that are no events.
    pub dlq: String,
}

impl Topics {
    /// What the input topic is called if nobody says otherwise.
    pub const DEFAULT_INPUT: &'static str = "user-behavior-events";

    /// The names for this input topic.
    pub fn of(input: &str) -> Self {
        let with = |suffix: &str| format!("{input}.{suffix}");
        Self {
            input: input.to_owned(),
            windows: with("windows"),
            finals: with("final"),
            late: with("late"),
            dlq: with("dlq"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_windows_and_replaces_built_in_ones() {
        let table: toml::Table = r#"
            [[window]]
            name = "views_5m"
            size = "5m"
            advance = "1m"
            filter = ["view", "add_to_cart"]
            key = "product_id"
            top = 3
            [[window]]
            name = "gmv_1m"
            size = "60s"
            filter = "priced_purchase"
            aggregate = "sum_price"
        "#
        .parse()
        .unwrap();
        let windows = windows_from_toml(&table).unwrap();
        let picked = select_windows(&windows, "views_5m, gmv_1m").unwrap();
        assert_eq!((picked[0].size, picked[0].advance, picked[0].top), (300_000_000, 60_000_000, 3));
        assert_eq!(picked[0].filter, Filter::Types([true, true, false]));
        let built_in = built_in_windows();
        assert_eq!(picked[1], built_in[0]);
        assert_eq!(windows.len(), built_in.len() + 1);
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| windows_from_toml(&text.parse().unwrap()).unwrap_err();
        assert!(wrong("[[window]]\nname='x'\nsize='1m'\nkey='price'").contains("product_id or user_id"));
        assert!(wrong("[[window]]\nname='x'\nsize='1m'\nadvance='2m'").contains("advance is at most size"));
        assert!(wrong("[[window]]\nname='x'\nsize='1m'\nsise='2m'").contains("sise"));
        assert!(select_windows(&built_in_windows(), "gmv_2m").unwrap_err().contains("gmv_1m, views_1m"));
    }

    #[test]
    fn an_instant_is_in_size_by_advance_windows() {
        let hopping = WindowSpec { advance: 20_000_000, ..built_in_windows().remove(0) };
        let starts: Vec<_> = hopping.starts(70_000_000).collect();
        assert_eq!(starts, [60_000_000, 40_000_000, 20_000_000]);
        let before_1970: Vec<_> = built_in_windows()[0].starts(-1).collect();
        assert_eq!(before_1970, [-60_000_000]);
    }
}
