//! How far a long run is, on a terminal's stderr: a bar where the end is known, and else a count with its rate.

use crate::screen::{self, SCREEN};
use indicatif::{HumanCount, ProgressBar};
use std::time::{Duration, Instant};

/// What is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hidden, and without effect, where stderr is no terminal. It goes away when it is dropped.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    /// How much there is, in the unit of `step`'s `done`.
    all: Option<u64>,
    /// That unit is bytes, and not records.
    in_bytes: bool,
    hidden: bool,
    bar: Option<ProgressBar>,
    records: u64,
}

impl Meter {
    /// Of bytes, as far as it is known how many there are.
    pub fn of_bytes(all: Option<u64>) -> Self {
        let mut meter = Self::of_records(all);
        meter.in_bytes = true;
        meter
    }

    /// Of records.
    pub fn of_records(all: Option<u64>) -> Self {
        Self { began: Instant::now(), all, in_bytes: false, hidden: SCREEN.is_hidden(), bar: None, records: 0 }
    }

    /// Never shown.
    pub fn hidden() -> Self {
        let mut meter = Self::of_records(None);
        meter.hidden = true;
        meter
    }

    /// So many records more, and so much more is done altogether.
    pub fn step(&mut self, records: u64, done: u64) {
        self.records += records;
        if self.hidden || self.bar.is_none() && self.began.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = match (self.all, self.in_bytes) {
                (Some(_), true) => "[{bar:30}] {bytes}/{total_bytes}  {msg}  {eta} left",
                (Some(_), false) => "[{bar:30}] {human_pos}/{human_len} records  {rate}  {eta} left",
                (None, _) => "{msg}",
            };
            let bar = screen::part(style);
            if let Some(all) = self.all {
                bar.set_length(all);
            }
            bar.with_elapsed(self.began.elapsed())
        });
        if self.in_bytes || self.all.is_none() {
            let per_second = self.records as f64 / self.began.elapsed().as_secs_f64().max(0.001);
            bar.set_message(format!("{} records  {}/s", HumanCount(self.records), HumanCount(per_second as u64)));
        }
        bar.set_position(done);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
