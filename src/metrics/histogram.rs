//! Distributions of whole numbers in buckets of a quarter of an octave: what is told is at most a quarter too high.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per octave, as a power of two.
const FINENESS: u32 = 2;
/// Values are taken for less than two to this: in microseconds some twelve days.
const BITS: u32 = 40;
const BUCKETS: usize = ((BITS - FINENESS + 1) << FINENESS) as usize;

/// How values were distributed: how many in which range. Small ones are told exactly, others at most a quarter too high.
///
/// Durations are in microseconds, sizes in bytes; each field says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Up to the last one with anything in it.
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Their mean; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The largest one, at most a quarter too high.
    pub fn max(&self) -> Option<u64> {
        self.quantile(1.0)
    }

    /// What a share `q` (0 to 1) of the values is not above, at most a quarter too high: 0.5 is the median, 0.99 "p99".
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = (self.count() as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets().find_map(|(most, count)| {
            seen += count;
            (seen >= rank).then_some(most)
        })
    }

    /// The ranges in order: the largest value that counts in it, and how many did. For exporters with buckets of their own.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().map(|(bucket, count)| (largest(bucket), *count))
    }

    /// What came after `earlier`, which is a picture of the same distribution.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let counts = self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(before));
        Self::of(counts, self.sum.saturating_sub(earlier.sum))
    }

    fn of(counts: impl Iterator<Item = u64>, sum: u64) -> Self {
        let mut counts: Vec<u64> = counts.collect();
        counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self { counts, sum }
    }
}

/// One that many add to.
#[derive(Debug)]
pub(crate) struct AtomicHistogram {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }
}

impl AtomicHistogram {
    pub(crate) fn record(&self, value: u64) {
        if let Some(count) = self.counts.get(bucket(value)) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// In microseconds.
    pub(crate) fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1));
    }

    pub(crate) fn get(&self) -> Histogram {
        Histogram::of(self.counts.iter().map(|count| count.load(Ordering::Relaxed)), self.sum.load(Ordering::Relaxed))
    }
}

/// Values below 2^FINENESS have one of their own.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << BITS) - 1);
    match value.checked_ilog2() {
        Some(octave @ FINENESS..) => {
            let within = (value >> (octave - FINENESS)) & ((1 << FINENESS) - 1);
            (u64::from(octave - FINENESS + 1) << FINENESS | within) as usize
        }
        _ => value as usize,
    }
}

fn largest(bucket: usize) -> u64 {
    let (octave, within) = (bucket as u32 >> FINENESS, bucket as u64 & ((1 << FINENESS) - 1));
    match octave.checked_sub(1) {
        None => within,
        Some(shift) => ((within + (1 << FINENESS) + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_whose_largest_is_at_most_a_quarter_more() {
        let mut last = None;
        for bits in 0..BITS {
            for value in [1u64 << bits, (1 << bits) + (1 << bits) / 3, (1 << (bits + 1)) - 1] {
                let told = largest(bucket(value));
                assert!(told >= value && told - value <= value / 4, "{value} is told as {told}");
                assert!(last <= Some(bucket(value)), "{value} is in order");
                last = Some(bucket(value));
            }
        }
        assert_eq!((bucket(0), largest(0)), (0, 0));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1, "what is too large counts as the largest");
    }

    #[test]
    fn quantiles_mean_and_what_lies_between_two_pictures() {
        let histogram = AtomicHistogram::default();
        assert_eq!((histogram.get().quantile(0.5), histogram.get().mean(), histogram.get().max()), (None, None, None));
        (1..=100).for_each(|value| histogram.record(value));
        let first = histogram.get();
        assert_eq!((first.count(), first.sum(), first.mean()), (100, 5050, Some(50.5)));
        assert!(
            (50..=63).contains(&first.quantile(0.5).unwrap()) && (99..=124).contains(&first.quantile(0.99).unwrap())
        );
        histogram.record_duration(Duration::from_millis(3));
        let between = histogram.get().since(&first);
        assert_eq!((between.count(), between.sum(), between.max()), (1, 3000, Some(3071)));
        assert_eq!(first.since(&first), Histogram::default());
    }
}
