//! The pipeline through the crate's public API.

mod avro;
mod beginning;
mod clickstream;
mod crashes;
mod demo;
mod dlq;
mod grafana;
mod outage;
mod pages;
mod poison;
#[cfg(feature = "postgres")]
mod sink_password;
#[cfg(feature = "postgres")]
mod sink_postgres;
mod sink_run;
#[cfg(feature = "postgres")]
mod sink_tls;
mod stages;
mod verified;
