//! Counts and sums per interval and key, small enough for all of a topic: a key's text is kept once.

use std::collections::{BTreeMap, HashMap};

/// Keys by number.
#[derive(Debug, Default)]
pub(super) struct Keys {
    ids: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Keys {
    pub(super) fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        // Four thousand million keys would not fit into memory.
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    pub(super) fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", |name| name)
    }
}

/// Start in milliseconds, key -> (count, cents).
#[derive(Debug, Clone, Default)]
pub(super) struct Cells(BTreeMap<i64, HashMap<u32, (i64, i64)>>);

impl Cells {
    /// One event more, with what it adds to count and sum.
    pub(super) fn add(&mut self, start: i64, key: u32, value: (i64, i64)) {
        let cell = self.0.entry(start).or_default().entry(key).or_default();
        // As the aggregator does: saturating beats a crash.
        *cell = (cell.0.saturating_add(value.0), cell.1.saturating_add(value.1));
    }

    /// Whether there was a cell already.
    pub(super) fn set(&mut self, start: i64, key: u32, cell: (i64, i64)) -> bool {
        self.0.entry(start).or_default().insert(key, cell).is_some()
    }

    pub(super) fn get(&self, start: i64, key: u32) -> (i64, i64) {
        self.0.get(&start).and_then(|cells| cells.get(&key)).copied().unwrap_or_default()
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = i64> {
        self.0.keys().copied()
    }

    pub(super) fn keys(&self, start: i64) -> impl Iterator<Item = u32> {
        self.0.get(&start).into_iter().flat_map(HashMap::keys).copied()
    }
}
