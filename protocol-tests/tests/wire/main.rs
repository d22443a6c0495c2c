//! What guards the schema crate's decoder, proven: the guard's table agrees with the crate (and, by
//! `protocol-tests/java/agree`, with Kafka's own classes), and no number that a peer can write gets past it.
//!
//! The rounds are few by default; `ROUNDS=1000` takes as many per message and version.

mod agreement;
mod costs;
mod headers;
mod hostile;
mod table;
