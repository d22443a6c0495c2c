//! Tokio, and the only place with sockets, clock and tasks.
//!
//! | file | what it is |
//! | --- | --- |
//! | `clock` | the one clock |
//! | `drive` | the loop that gives a machine a clock and a caller |
//! | `tasks` | spawns, and counts what lives |
//! | `tcp` | sockets |
//! | `http` | one request over HTTP, for token endpoints and Schema Registries |
//! | `security`, `tls` | what stands before the first request: TLS, and who we are |
//! | `renewal` | saying again who we are |
//! | `traffic` | what crosses the connections to one node |
//! | `frames` | frames out of a stream, large ones into buffers that are used again |
//! | `connection` | one socket, one task, many callers |
//! | `brokers` | connections by node and purpose |
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the layer that may")]

pub mod brokers;
pub mod clock;
pub mod connection;
pub mod drive;
pub mod frames;
#[cfg(any(feature = "oidc", feature = "schema-registry"))]
pub mod http;
mod renewal;
pub mod security;
pub mod tasks;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
pub mod traffic;
