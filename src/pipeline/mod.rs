//! The clickstream pipeline on top of the client: it names only what users of the crate can.
//!
//! ```text
//! clickstream -> T -> aggregate -> T.windows -> merge -> T.final -> sink (windows) -> database
//!                |        |                      |
//!                |        +-> T.late, T.dlq <----+
//!                +-> sink (purchases) -> database
//! ```

pub mod config;
