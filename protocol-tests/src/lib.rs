//! Fixtures for tests over milena's public API and over bytes.

pub mod apis;
pub mod etl;
pub mod history;
pub mod ledger;
pub mod operations;
pub mod random;
pub mod samples;
pub mod schema;
