//! Bytes to requests and back: frames, the bounds guard, headers and bodies at a version. Everything in here takes
//! bytes from outside, so nothing in here may panic.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod api_versions;
pub mod fetch;
pub mod frame;
pub mod group_protocol;
pub mod group_requests;
pub mod guard;
pub mod list_offsets;
pub mod produce;
pub mod request;

/// The schema crate's messages, named here once, so that the rest of the crate needn't know where they come from.
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Request, StrBytes};
