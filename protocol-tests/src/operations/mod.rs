//! What a fuzzer can play, one file per part of the library: operations in any order, read from bytes, against a model that
//! says what must hold. The same runs in `tests/operations` over seeds, so that a plain `cargo test` has played each.

pub mod accumulator;
pub mod connection;
pub mod membership;
pub mod oauth;
pub mod security;

use crate::random::Random;

/// Decisions, one after another out of bytes: a fuzzer's, or a seed's.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Of these.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte, if there is one: the scenario ends with them.
    pub fn next_byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number in `0..n`; 0 when there are no more bytes.
    pub fn below(&mut self, n: u8) -> u8 {
        self.next_byte().unwrap_or(0) % n
    }

    /// One of them; the first when there are no more bytes.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.next_byte().unwrap_or(0)) % of.len()]
    }

    /// Once in `n` times; never when there are no more bytes.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }
}

/// So many bytes for a seed.
pub fn bytes_of_seed(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::scenario(seed);
    (0..length).map(|_| random.below(256) as u8).collect()
}
