//! `milena cluster configs`: of brokers, one by one and all together, their loggers, groups, client metrics.

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::Table;
use crate::output::{Output, line};
use crate::topics_change::Changes;
use crate::topics_describe::config_table;
use crate::{hints, row};
use milena::admin::{Admin, ConfigQuery, ConfigResource, ConfigSource};
use milena::ids::NodeId;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The configs that are set, of all brokers or of what is named
    #[command(visible_alias = "get")]
    Describe {
        /// broker:1, brokers (what all of them have), broker-logger:1, topic:NAME, group:NAME, client-metrics:NAME
        #[arg(value_name = "RESOURCE", value_parser = resource)]
        resources: Vec<ConfigResource>,
        /// Kafka's defaults too
        #[arg(short, long)]
        all: bool,
        /// Only these configs. Repeatable
        #[arg(short = 'k', long = "key", value_name = "NAME")]
        keys: Vec<String>,
    },
    /// Sets, deletes or extends configs
    #[command(visible_alias = "set")]
    Alter {
        /// As describe takes them
        #[arg(required = true, value_name = "RESOURCE", value_parser = resource)]
        resources: Vec<ConfigResource>,
        #[command(flatten)]
        changes: Changes,
    },
    /// Which groups, client metrics and the like have configs of their own (Kafka 4.1)
    List,
}

/// `broker:1`
fn resource(text: &str) -> std::result::Result<ConfigResource, String> {
    let wrong = || {
        format!("{text:?} is none of broker:ID, brokers, broker-logger:ID, topic:NAME, group:NAME, client-metrics:NAME")
    };
    if text == "brokers" {
        return Ok(ConfigResource::ClusterDefault);
    }
    let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
    let node = || name.parse().map(NodeId).map_err(|_| wrong());
    Ok(match kind {
        "broker" => ConfigResource::Broker(node()?),
        "broker-logger" => ConfigResource::BrokerLogger(node()?),
        "topic" => ConfigResource::Topic(name.to_owned()),
        "group" => ConfigResource::Group(name.to_owned()),
        "client-metrics" => ConfigResource::ClientMetrics(name.to_owned()),
        _ => return Err(wrong()),
    })
}

/// As [`resource`] takes it.
fn shown(resource: &ConfigResource) -> String {
    match resource {
        ConfigResource::Broker(node) => format!("broker:{node}"),
        ConfigResource::BrokerLogger(node) => format!("broker-logger:{node}"),
        ConfigResource::ClusterDefault => "brokers".to_owned(),
        ConfigResource::Topic(name) => format!("topic:{name}"),
        ConfigResource::Group(name) => format!("group:{name}"),
        ConfigResource::ClientMetrics(name) => format!("client-metrics:{name}"),
        other => other.to_string(),
    }
}

impl Args {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        match self.command {
            Command::Describe { resources, all, keys } => describe(admin, resources, all, keys, output).await,
            Command::Alter { resources, changes } => {
                let named = resources.into_iter().map(|resource| (shown(&resource), resource));
                changes.apply(admin, "RESOURCE", named.collect(), output).await
            }
            Command::List => {
                waiting_for("a broker to list what has configs");
                let mut table = Table::new(["RESOURCE"]);
                for resource in admin.list_config_resources().await? {
                    table.push(row![shown(&resource)]);
                }
                output.table(&table)
            }
        }
    }
}

async fn describe(
    admin: &Admin,
    mut resources: Vec<ConfigResource>,
    all: bool,
    keys: Vec<String>,
    output: Output,
) -> Result<()> {
    if resources.is_empty() {
        let cluster = admin.describe_cluster().await?;
        resources = cluster.brokers.iter().map(|broker| ConfigResource::Broker(broker.node)).collect();
    }
    waiting_for("the brokers to describe configs");
    let named = !keys.is_empty();
    let query = ConfigQuery::new(resources.iter().cloned());
    let mut found = admin.describe_config_resources(if named { query.names(keys) } else { query }).await?;
    let mut failures = Vec::new();
    for (nth, resource) in resources.iter().enumerate() {
        let configs = match found.remove(resource) {
            Some(Ok(configs)) => configs,
            Some(Err(error)) => {
                failures.push(match resource {
                    ConfigResource::Topic(name) => hints::topic(admin, name, error).await,
                    _ => Failure::from(error).about(&shown(resource)),
                });
                continue;
            }
            None => continue, // the same resource twice
        };
        let table = config_table(&configs, |config| all || named || config.source != ConfigSource::Default);
        if output.json {
            output.objects([json!({ "resource": shown(resource), "configs": table.objects() })])?;
            continue;
        }
        if resources.len() > 1 {
            line(format!("{}{}", if nth > 0 { "\n" } else { "" }, shown(resource)))?;
        }
        output.table(&table)?;
    }
    Failure::all(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_kind_and_a_name() {
        for text in ["broker:1", "brokers", "broker-logger:2", "topic:a:b", "group:g", "client-metrics:m"] {
            assert_eq!(shown(&resource(text).unwrap()), text);
        }
        for wrong in ["broker", "broker:x", "1", "topic:", "user:a"] {
            assert!(resource(wrong).unwrap_err().contains("broker:ID"), "{wrong}");
        }
    }
}
