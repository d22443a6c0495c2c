//! When a token is to be replaced: by the Java client's rules (KIP-368), from a random number and a lifetime.

use std::time::Duration;

/// `sasl.login.refresh.*`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refresh {
    pub(super) factor: f64,
    pub(super) jitter: f64,
    pub(super) min_period: Duration,
    pub(super) buffer: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { factor: 0.8, jitter: 0.05, min_period: Duration::from_secs(60), buffer: Duration::from_secs(300) }
    }
}

impl Refresh {
    /// How long after it came a token is to be replaced. Where it lives too short for both buffers neither counts.
    pub(super) fn after(&self, lifetime: Duration, random: f64) -> Duration {
        let proposed = lifetime.mul_f64((self.factor + self.jitter * random).clamp(0.0, 1.0));
        match lifetime.checked_sub(self.min_period + self.buffer) {
            None => proposed,
            Some(_) => proposed.min(lifetime.saturating_sub(self.buffer)).max(self.min_period),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_at_four_fifths_but_not_too_late_and_not_too_soon() {
        let secs = Duration::from_secs;
        for (lifetime, random, expected) in [
            (3600, 0.0, 2880),
            (3600, 1.0, 3060),
            (600, 0.0, 300), // the buffer before the end
            (360, 1.0, 60),  // the buffer, but a minute is the least
            (359, 0.0, 287), // too short for buffers
            (5, 0.0, 4),
            (0, 1.0, 0),
        ] {
            assert_eq!(Refresh::default().after(secs(lifetime), random).as_secs(), expected, "{lifetime}");
        }
        let odd = Refresh { factor: 1.5, jitter: -9.0, ..Refresh::default() };
        assert!([0.0, 1.0].iter().all(|random| odd.after(secs(100), *random) <= secs(100)));
    }
}
