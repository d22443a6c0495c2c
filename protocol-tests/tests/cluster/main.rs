//! Whole clients against the test broker, in memory and on virtual time.

mod adaptive;
mod admin;
mod broker_clients;
mod broker_groups;
mod cancel;
mod cancel_transactions;
mod closing;
mod consumer;
mod etl;
mod fetching;
mod consumer_groups;
mod groups;
mod network;
mod large_batches;
mod partitioners;
mod producer;
mod producer_rules;
mod purge;
mod send_many;
mod sendable;
mod soak;
mod transaction_soak;
mod transactions;
