//! How long to wait before the next try: exponential with jitter, from a seed.

use std::time::Duration;

/// Doubles from `base` up to `max`, each step spread by `jitter` (0.2 = ±20 %).
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    jitter: f64,
    tries: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Kafka's `retry.backoff.ms` and `retry.backoff.max.ms`, ±20 % (KIP-580).
    pub fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self { base, max: max.max(base), jitter: 0.2, tries: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.base.saturating_mul(1 << self.tries.min(20)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        wait.mul_f64(1.0 + self.jitter * (2.0 * self.random.f64() - 1.0))
    }

    /// It worked: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// How many waits were given out since the last reset.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_within_the_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait().as_millis() as f64;
            assert!((wait - f64::from(expected)).abs() <= 0.2 * f64::from(expected) + 1.0, "{wait} for {expected}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(120));
    }

    #[test]
    fn the_same_seed_waits_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), seed);
            [(); 5].map(|()| backoff.next_wait())
        };
        assert_eq!(waits(3), waits(3));
        assert_ne!(waits(3), waits(4));
    }
}
