//! The test broker in a process of its own, for tests that count what their own process does: prints where it listens and,
//! with TLS, the PEM of its CA, and ends with its standard input.
//!
//! Usage: `serve TOPIC PARTITIONS [tls]`

#![allow(clippy::print_stdout, reason = "says where it listens")]

use milena::broker::{TestCluster, Tls};
use std::io::{self, Read, Write};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(topic), Some(partitions)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve TOPIC PARTITIONS [tls]".into());
    };
    let mut builder = TestCluster::builder().topic(topic, partitions.parse()?).listen("127.0.0.1:0");
    let tls = arguments.next().is_some_and(|argument| argument == "tls");
    if tls {
        builder = builder.tls(Tls::default());
    }
    let cluster = builder.start().await?;
    let ca = if tls { cluster.ca_pem() } else { String::new() };
    print!("{}\n{ca}", cluster.bootstrap());
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    cluster.stop().await;
    Ok(())
}
