//! The pipeline through the crate's public API.

#[cfg(feature = "postgres")]
mod sink_postgres;
mod sink_run;
mod stages;
