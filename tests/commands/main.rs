//! The commands as processes, against an embedded broker on TCP: `cargo test --features cli --test commands`.
#![allow(unreachable_pub, reason = "nobody links a test")]
#![allow(clippy::disallowed_methods, reason = "processes have a time of their own")]

mod acls;
mod cluster;
mod everywhere;
mod groups;
mod harness;
mod offsets;
mod readme;
mod sink;
mod table;
mod topics;
mod txn;
mod users;
