//! The guide: what holds, what does not, and what to do about it. One chapter a module, to be read in order or not.
//!
//! | chapter | what it answers |
//! | --- | --- |
//! | [`first_steps`] | from nothing to a record written, read and committed |
//! | [`delivery_guarantees`] | what is lost, what comes twice, in which order, and what an error means for it |
//! | [`rebalances`] | how partitions come and go, and what a member owes its group |
//! | [`transactions`] | records and offsets together or not at all, and who fences whom |
//! | [`testing`] | your service against a Kafka in the same process, in virtual time |
//! | [`tuning`] | the few settings that matter, what they cost and bound |
//! | [`security`] | TLS, SASL, tokens, and what a refusal looks like |
//! | [`errors`] | one error type, its questions, and what to do on each kind |
//! | [`migrating_from_rdkafka`] | the same program before and after, and a table |
//! | [`migrating_from_java`] | a table, and what has another default |
//! | [`containers`] | a static binary in a container, Kubernetes, stopping in order |
//! | [`sizing_and_retention`] | partitions, replication, segments, how long to keep what |
//! | [`beyond_one_machine`] | more members, more partitions, and where Flink begins |
//!
//! Every program here is compiled and run by `cargo test`, against [`TestCluster`](crate::broker::TestCluster) in memory and in
//! virtual time, but for those of [`migrating_from_rdkafka`], which `protocol-tests/migration.sh` runs. The module exists in the
//! documentation alone: no code of it is built into anything.

macro_rules! chapters {
    ($(mod $name:ident = $file:literal;)*) => {
        $(
            #[doc = include_str!($file)]
            pub mod $name {}
        )*
    };
}

chapters! {
    mod first_steps = "first_steps.md";
    mod delivery_guarantees = "delivery_guarantees.md";
    mod rebalances = "rebalances.md";
    mod transactions = "transactions.md";
    mod testing = "testing.md";
    mod tuning = "tuning.md";
    mod security = "security.md";
    mod errors = "errors.md";
    mod migrating_from_java = "migrating_from_java.md";
    mod containers = "containers.md";
    mod sizing_and_retention = "sizing_and_retention.md";
    mod beyond_one_machine = "beyond_one_machine.md";
}

#[doc = include_str!("migrating_from_rdkafka.md")]
///
/// # Before
///
/// ```rust,ignore
#[doc = include_str!("../../docs/migration/before.rs")]
/// ```
///
/// # After
///
/// ```rust,ignore
#[doc = include_str!("../../docs/migration/after.rs")]
/// ```
pub mod migrating_from_rdkafka {}
