//! milena beside other clients, in one run, on a real Kafka: client CPU (user + system) per record, as the kernel counts it
//! for a whole child process, so that nobody judges himself. `benches/compare/run` builds everything, starts a Kafka, and
//! calls this.
//!
//! - The same payload file for all, four partitions, `acks=all`, idempotent where the client can, 5 ms of linger, 32 MB of
//!   buffer, no keys, one task on a tokio runtime of two workers where there is one.
//! - Rounds are interleaved, and each begins with another client, since a machine's mood lasts; tables have medians, and
//!   the lowest and highest.
//! - Each client counts its acknowledgements, and after it the topic must hold as many records as were sent. One that
//!   fails stands in the table as failed, with its error below.
//! - Consumers read one topic for all, which librdkafka has written, from the beginning to the end, with their own
//!   defaults; each counts records and sums the lengths of their values, and both must be what was written.
//! - `floor` is no client: see `peers/floor.rs` and `peers/floor_consume.rs`.

mod child;
mod ciphers;
mod compare;
mod job;
mod memory;
mod payloads;
mod peers;
mod seen;
mod table;

use clap::Parser;
use std::process::ExitCode;

/// milena beside other clients
#[derive(Debug, Parser)]
enum Command {
    /// Tables of CPU per record
    Run(compare::Options),
    /// Peak resident memory of a client that sends on while the broker is stopped
    Memory(memory::Options),
    /// What the ciphers of TLS cost, graviola's and OpenSSL's
    Ciphers,
    /// One client does one job: what the others start as children
    #[command(hide = true)]
    Peer(peers::Child),
}

fn main() -> ExitCode {
    let good = match Command::parse() {
        Command::Run(options) => compare::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Ciphers => {
            ciphers::run();
            true
        }
        Command::Peer(child) => {
            child.run();
            true
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
