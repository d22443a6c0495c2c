//! Merge: one final row per window and key, from the partial rows of all input partitions.

pub mod state;
