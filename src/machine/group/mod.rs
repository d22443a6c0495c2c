//! Classic consumer groups.

pub mod assignor;
pub mod sticky;
