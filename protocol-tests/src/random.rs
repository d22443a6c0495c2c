//! Reproducible randomness: a test names its seed, a failure prints it.

/// Marsaglia's xorshift64: the same numbers for the same seed, on every machine and in every version of a crate.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Any seed will do, 0 included.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// For a scenario: the first numbers of neighbouring seeds would resemble each other, so they are skipped.
    pub fn scenario(seed: u64) -> Self {
        let mut random = Self::new(seed);
        for _ in 0..16 {
            random.below(2);
        }
        random
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How many rounds a randomised test takes: `ROUNDS`, or `default`, which keeps the test within seconds.
pub fn rounds(default: u64) -> u64 {
    std::env::var("ROUNDS").map_or(default, |rounds| rounds.parse().expect("ROUNDS is a number"))
}

/// The seeds of a scenario: `SEED` alone, or the first `SEEDS`, or `default` of them.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|n: String| n.parse::<u64>().expect("SEED and SEEDS are numbers"));
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(default),
    }
}
