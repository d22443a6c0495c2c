//! A pure-Rust Kafka client without a line of C.
//!
//! # Layout
//! [`Client`](client::Client) makes producers, consumers and an admin; see `ARCHITECTURE.md` in the repository.
#![cfg_attr(
    not(all(feature = "cli", feature = "unstable-internals")),
    allow(dead_code, reason = "smaller feature sets leave parts unused")
)]

/// Private modules that `unstable-internals` opens to protocol-tests, benches and fuzz targets.
macro_rules! internal {
    ($(mod $name:ident;)*) => {
        $(
            #[cfg(feature = "unstable-internals")]
            #[doc(hidden)]
            pub mod $name;
            #[cfg(not(feature = "unstable-internals"))]
            mod $name;
        )*
    };
}

pub mod admin;
#[cfg(feature = "test-broker")]
pub mod broker;
pub mod client;
pub mod connect;
pub mod consumer;
pub mod error;
pub mod ids;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod producer;
pub mod properties;
pub mod record;
#[cfg(feature = "test-broker")]
pub mod testing;
internal! {
    mod machine;
    mod net;
    mod settings;
    mod wire;
}
