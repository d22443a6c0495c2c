//! `milena cluster log-dirs`: what the brokers have on their disks.

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::{Output, Table};
use crate::{offsets, row};
use milena::admin::Admin;
use milena::ids::NodeId;
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these brokers, a comma list
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    brokers: Vec<i32>,
    /// Only these topics. Repeatable
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// A row for each replica, directory, topic or broker
    #[arg(long, value_enum, default_value_t = By::Replica)]
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Replica,
    Dir,
    Topic,
    Broker,
}

impl Args {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        for topic in &self.topics {
            offsets::partitions(admin, topic, &[]).await?; // a name that was mistyped is told
        }
        waiting_for("the brokers to look at their disks");
        let is_meant = |topic: &str| self.topics.is_empty() || self.topics.iter().any(|other| other == topic);
        let mut failures = Vec::new();
        let mut replicas = Table::new(["BROKER", "DIR", "TOPIC", "PARTITION", "SIZE", "OFFSET-LAG", "FUTURE"]);
        let mut dirs = Table::new(["BROKER", "DIR", "REPLICAS", "SIZE", "TOTAL", "USABLE", "ERROR"]);
        let (mut by_topic, mut by_broker) = (BTreeMap::new(), BTreeMap::new());
        for (node, found) in admin.describe_log_dirs(self.brokers.iter().copied().map(NodeId)).await? {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    failures.push(Failure::from(error).about(&format!("broker {node}")));
                    continue;
                }
            };
            for dir in found {
                let here = dir.replicas.iter().filter(|(name, _)| is_meant(&name.topic));
                let (mut count, mut size) = (0, 0);
                for (name, replica) in here {
                    let path = dir.path.as_str();
                    replicas.push(row![
                        node.0,
                        path,
                        &*name.topic,
                        name.partition,
                        replica.size,
                        replica.offset_lag,
                        replica.future
                    ]);
                    *by_topic.entry(name.topic.to_string()).or_insert(0_i64) += replica.size;
                    count += 1;
                    size += replica.size;
                }
                *by_broker.entry(node.0).or_insert(0_i64) += size;
                let error = dir.error.map(|error| error.to_string());
                dirs.push(row![node.0, dir.path, count, size, dir.total_bytes, dir.usable_bytes, error]);
            }
        }
        let table = match self.by {
            By::Replica => replicas,
            By::Dir => dirs,
            By::Topic => {
                let mut table = Table::new(["TOPIC", "SIZE"]);
                by_topic.into_iter().for_each(|(topic, size)| table.push(row![topic, size]));
                table
            }
            By::Broker => {
                let mut table = Table::new(["BROKER", "SIZE"]);
                by_broker.into_iter().for_each(|(broker, size)| table.push(row![broker, size]));
                table
            }
        };
        output.table(&table)?;
        Failure::all(failures)
    }
}
