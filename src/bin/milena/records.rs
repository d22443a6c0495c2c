//! What `consume` writes of a record and `produce` reads.

pub mod envelope;
pub mod escapes;
pub mod fixed;
pub mod format;
pub mod meter;
