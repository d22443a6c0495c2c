//! Whole clients against the test broker, in memory and on virtual time.

mod adaptive;
mod admin;
mod broker_clients;
mod broker_groups;
mod cancel;
mod cancel_transactions;
mod closing;
mod consumer;
mod consumer_groups;
mod etl;
mod fetching;
mod groups;
mod large_batches;
mod marks;
mod metrics;
mod network;
mod partitioners;
mod patterns;
mod producer;
mod producer_rules;
mod purge;
mod send_many;
mod sendable;
mod soak;
mod transaction_soak;
mod transactions;
