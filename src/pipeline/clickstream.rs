//! The clickstream producer: a deterministic generator of events, and the shell that writes them to `T`.

pub mod generator;
