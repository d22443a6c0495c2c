//! The real-broker suite against a Redpanda in a container of its own, for machines that have Docker:
//!
//! ```sh
//! cargo test -p protocol-tests --features testcontainers --test redpanda -- --ignored --nocapture
//! ```
//! Not run here: where this was written there is no Docker, so it has been compiled and nothing more. It needs what
//! `protocol-tests/matrix` needs besides, and the ports 19092 and 19093.

use std::process::Command;
use std::time::Duration;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};

/// The node of `compose.yaml`, which advertises these ports.
const NODE: &str = include_str!("../../deploy/redpanda/redpanda.yaml");
const PLAINTEXT: u16 = 19092;
const SASL: u16 = 19093;

#[tokio::test]
#[ignore = "needs Docker"]
async fn the_suite_passes_on_redpanda() {
    let container = GenericImage::new("docker.redpanda.com/redpandadata/redpanda", "v25.1.1")
        .with_wait_for(WaitFor::message_on_either_std("Successfully started Redpanda!"))
        .with_mapped_port(PLAINTEXT, PLAINTEXT.tcp())
        .with_mapped_port(SASL, SASL.tcp())
        .with_env_var("RP_BOOTSTRAP_USER", "admin:admin-secret:SCRAM-SHA-256")
        .with_copy_to("/etc/redpanda/redpanda.yaml", NODE.as_bytes().to_vec())
        .with_user("root:root")
        .with_cmd(["redpanda", "start", "--mode=dev-container", "--smp=1", "--memory=1G"])
        .with_startup_timeout(Duration::from_secs(180))
        .start()
        .await
        .expect("Docker runs Redpanda");
    let matrix = format!("{}/matrix", env!("CARGO_MANIFEST_DIR"));
    let (plain, sasl) = (format!("127.0.0.1:{PLAINTEXT}"), format!("127.0.0.1:{SASL}"));
    let suite = tokio::task::spawn_blocking(move || {
        Command::new(matrix).args(["at", &plain, "SASL_PLAINTEXT/SCRAM-SHA-256", &sasl]).status()
    });
    let status = suite.await.expect("no panic").expect("it starts");
    container.rm().await.expect("it can be removed");
    assert!(status.success(), "the suite fails on Redpanda: {status}");
}
