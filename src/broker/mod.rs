//! In-process test broker.
