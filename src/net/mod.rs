//! Tokio, and the only place with sockets, clock and tasks.

pub mod clock;
