//! The clickstream pipeline on top of the client: it names only what users of the crate can.
//!
//! ```text
//! clickstream -> T -> aggregate -> T.windows -> merge -> T.final -> sink (windows) -> database
//!                |        |                      |
//!                |        +-> T.late, T.dlq <----+
//!                +-> sink (purchases) -> database
//! ```
//!
//! `event`, `timestamp`, `window`, `merge::state`, `counts`, `rows`, `receipt`, `knobs` and `flink` are values without clock, socket or
//! task. `process` is the shell in which `aggregate` and `merge` are exactly once; `sink` has its own.

pub mod aggregate;
pub mod board;
pub mod clickstream;
pub mod config;
pub mod context;
pub mod counts;
pub mod dashboard;
pub mod dead_letter;
pub mod demo;
pub mod dlq;
pub mod error;
pub mod event;
pub mod flink;
pub mod http;
pub mod knobs;
pub mod merge;
pub mod metrics;
mod process;
pub mod receipt;
pub mod rows;
pub mod scan;
pub mod sink;
pub mod stop;
pub mod timestamp;
pub mod topics;
mod trouble;
pub mod verify;
pub mod window;
