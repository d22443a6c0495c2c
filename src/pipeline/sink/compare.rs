//! The sink's table against the input, id by id.
//!
//! What must be there: each distinct valid purchase with a price, once, at one of the prices that its events name (an
//! event may come twice, and which one the table has depends on the order in which partitions were read). A row that
//! PostgreSQL refuses, such as one whose product id is too long for its column, is a dead letter of the sink on `T.dlq`:
//! its id is not missing, it is counted as refused. An embedded sink refuses nothing.

use std::collections::{HashMap, HashSet};

/// Ids that a message names.
const NAMED: usize = 5;

/// Distinct purchases by id, as the input has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purchases {
    first: HashMap<Box<str>, i64>,
    /// Further prices, of the ids that came with several.
    others: HashMap<Box<str>, HashSet<i64>>,
}

impl Purchases {
    /// Takes a purchase in, however often it came.
    pub fn add(&mut self, event_id: &str, cents: i64) {
        match self.first.get(event_id) {
            Some(first) if *first == cents => {}
            Some(_) => {
                self.others.entry(event_id.into()).or_default().insert(cents);
            }
            None => {
                self.first.insert(event_id.into(), cents);
            }
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Compares with a table of ids and cents; `None` for what is no amount of cents. `refused` are the ids that the
    /// database refused.
    pub fn compare(&self, table: &HashMap<String, Option<i64>>, refused: &HashSet<Box<str>>) -> Compared {
        let mut compared = Compared { rows: table.len() as u64, ..Compared::default() };
        let (mut missing, mut other_price) = (Vec::new(), Vec::new());
        for (id, first) in &self.first {
            let Some(found) = table.get(id.as_ref()) else {
                if refused.contains(id) {
                    compared.refused += 1;
                } else {
                    compared.cents[0] += i128::from(*first);
                    missing.push(id.as_ref());
                }
                continue;
            };
            let is_named = |cents: i64| cents == *first || self.others.get(id).is_some_and(|all| all.contains(&cents));
            let expected = found.filter(|cents| is_named(*cents));
            compared.cents[0] += i128::from(expected.unwrap_or(*first));
            if expected.is_none() {
                other_price.push(id.as_ref());
            }
        }
        compared.cents[1] = table.values().flatten().map(|cents| i128::from(*cents)).sum();
        compared.expected = self.first.len() as u64 - compared.refused;
        let too_many: Vec<&str> = table.keys().map(String::as_str).filter(|id| !self.first.contains_key(*id)).collect();
        for (what, ids) in
            [("missing in the table", missing), ("not in the topic", too_many), ("at another price", other_price)]
        {
            compared.differences.extend(sentence(what, ids));
        }
        compared
    }
}

fn sentence(what: &str, mut ids: Vec<&str>) -> Option<String> {
    if ids.is_empty() {
        return None;
    }
    ids.sort_unstable();
    let more = if ids.len() > NAMED { ", …" } else { "" };
    let count = ids.len();
    ids.truncate(NAMED);
    Some(format!("{count} {what}: {}{more}", ids.join(", ")))
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compared {
    /// Rows in the table.
    pub rows: u64,
    /// Distinct purchases in the input that the table can hold.
    pub expected: u64,
    /// Further ones, which the database refused; they are on `T.dlq`.
    pub refused: u64,
    /// Sums in cents: what must be in the table, what is.
    pub cents: [i128; 2],
    /// Ids missing, too many, or at another price: a sentence each, with a few of them.
    pub differences: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::sink::{Batch, Move, Purchase, Rows, Scope, Store, What, embedded::EmbeddedStore};
    use std::sync::Arc;

    fn input(events: &[(&str, i64)]) -> Purchases {
        let mut purchases = Purchases::default();
        for (id, cents) in events {
            purchases.add(id, *cents);
        }
        purchases
    }

    /// What an embedded sink's file has of these rows.
    async fn stored(name: &str, rows: &[(&str, i64)]) -> HashMap<String, Option<i64>> {
        let path = std::env::temp_dir().join(format!("milena-compare-{name}-{}.redb", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let scope = Scope { group: "g".to_owned(), topic: "t".to_owned(), what: What::Purchases };
        let mut store = EmbeddedStore::open(&path, scope).unwrap();
        store.claim(&[(0, 0)]).await.unwrap();
        let row = |(id, cents): &(&str, i64)| Purchase {
            kafka_offset: 1,
            event_id: (*id).to_owned(),
            user_id: "1000".to_owned(),
            product_id: "Laptop_X1".to_owned(),
            price_cents: *cents,
            purchase_time: 5,
        };
        let moves = vec![Move { partition: 0, old: 0, new: 9, owner: 1 }];
        let batch = Batch { moves, rows: Rows::Purchases(rows.iter().map(row).collect()) };
        store.stage(&Arc::new(batch)).await.unwrap();
        store.commit().await.unwrap();
        let found = store.purchases().await.unwrap();
        drop(store);
        std::fs::remove_file(&path).unwrap();
        found
    }

    #[tokio::test]
    async fn an_equal_table_is_equal_whichever_of_two_events_it_has() {
        let table = stored("equal", &[("a", 100), ("b", 250)]).await;
        let compared = input(&[("a", 100), ("b", 200), ("b", 250), ("a", 100)]).compare(&table, &HashSet::new());
        let expected = Compared { rows: 2, expected: 2, cents: [350, 350], ..Compared::default() };
        assert_eq!(compared, expected);
    }

    #[tokio::test]
    async fn ids_missing_too_many_or_at_another_price_are_named() {
        let table = stored("different", &[("a", 100), ("x", 7), ("c", 31)]).await;
        let compared = input(&[("a", 100), ("b", 200), ("c", 30)]).compare(&table, &HashSet::new());
        assert_eq!(
            compared.differences,
            ["1 missing in the table: b", "1 not in the topic: x", "1 at another price: c"]
        );
        assert_eq!((compared.rows, compared.expected, compared.cents), (3, 3, [330, 138]));
        let none = input(&[("1", 1), ("2", 1), ("3", 1), ("4", 1), ("5", 1), ("6", 1)]);
        let compared = none.compare(&HashMap::new(), &HashSet::new());
        assert_eq!(compared.differences, ["6 missing in the table: 1, 2, 3, 4, 5, …"]);
    }

    #[tokio::test]
    async fn what_the_database_refused_is_not_missing() {
        let table = stored("refused", &[("a", 100)]).await;
        let refused = [Box::from("long"), Box::from("a")].into();
        let compared = input(&[("a", 100), ("long", 200)]).compare(&table, &refused);
        assert_eq!((compared.refused, compared.expected, compared.cents), (1, 1, [100, 100]));
        assert_eq!(compared.differences, [""; 0]);
    }
}
