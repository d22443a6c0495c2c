//! Makes a topic, looks at it, and takes it away. Runs by itself: `cargo run --example admin --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::admin::NewTopic;
use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};

#[tokio::main]
async fn main() -> Result<(), milena::error::Error> {
    let cluster = TestCluster::builder().brokers(3).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let admin = client.admin();

    admin.create_topics([NewTopic::new("orders", 6, 3).config("retention.ms", "86400000")]).await?;
    for topic in admin.describe_topics(["orders"]).await? {
        println!("{topic:?}");
    }
    println!("{:?}", admin.list_topics().await?);
    admin.delete_topics(["orders"]).await?;
    Ok(())
}
