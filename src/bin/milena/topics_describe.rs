//! `milena topics describe`.

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::{Output, Table, line};
use crate::topics::{Which, unanswered};
use crate::{hints, offsets, row};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use milena::admin::{Admin, ConfigEntry, ConfigSource, OffsetSpec, TopicDescription};
use milena::ids::{NodeId, TopicPartition};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Describe {
    #[command(flatten)]
    which: Which,
    /// Only the partitions
    #[arg(short = 'p', long)]
    print_partitions: bool,
    /// Only the configs, those that are the broker's among them
    #[arg(short = 'c', long)]
    print_configs: bool,
    /// Only a line about each topic
    #[arg(short = 's', long)]
    print_summary: bool,
    /// All of the three
    #[arg(short = 'a', long)]
    print_all: bool,
    /// Each partition's first offset and its end, too
    #[arg(short, long)]
    watermarks: bool,
    /// Only partitions that have no leader
    #[arg(long)]
    unavailable_partitions: bool,
    /// Only partitions with replicas that are not in sync
    #[arg(long)]
    under_replicated_partitions: bool,
}

impl Describe {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        let names = self.which.names(admin).await?;
        let mut described = admin.describe_topics(&names).await?;
        let (mut failures, mut shown) = (Vec::new(), 0);
        for name in &names {
            let topic = match described.remove(name) {
                Some(Ok(topic)) => topic,
                Some(Err(error)) => {
                    failures.push(hints::topic(admin, name, error).await);
                    continue;
                }
                None => {
                    failures.push(unanswered(name));
                    continue;
                }
            };
            if shown > 0 && !output.json {
                line("")?;
            }
            shown += 1;
            self.topic(admin, &topic, output).await?;
        }
        Failure::all(failures)
    }

    async fn topic(&self, admin: &Admin, topic: &TopicDescription, output: Output) -> Result<()> {
        let chosen = self.print_partitions || self.print_configs || self.print_summary || self.print_all;
        let partitions = self.print_partitions || self.print_all || !chosen;
        let partitions = if partitions { Some(self.partitions(admin, topic).await?) } else { None };
        let configs = if self.print_configs || self.print_all || !chosen {
            waiting_for(format!("the configs of topic {}", topic.name));
            Some(admin.describe_configs(&topic.name).await?)
        } else {
            None
        };
        let replicas = topic.partitions.first().map(|first| first.replicas.len());
        if output.json {
            let mut object = json!({
                "topic": topic.name,
                "topic_id": topic_id(topic),
                "internal": topic.internal,
                "partition_count": topic.partitions.len(),
                "replicas": replicas,
            });
            if let Some(partitions) = partitions {
                object["partitions"] = partitions.objects().into();
            }
            if let Some(configs) = configs {
                object["configs"] = config_table(&configs, |_| true).objects().into();
            }
            return output.objects([object]);
        }
        if self.print_summary || self.print_all {
            let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICAS", "INTERNAL", "TOPIC-ID"]);
            let id = topic_id(topic);
            table.push(row![topic.name.as_str(), topic.partitions.len(), replicas, topic.internal, id]);
            output.table(&table)?;
        }
        if let Some(partitions) = partitions {
            output.table(&partitions)?;
        }
        // Unasked only what is the topic's own.
        let all = self.print_configs || self.print_all;
        let table = config_table(&configs.unwrap_or_default(), |config| all || config.source == ConfigSource::Topic);
        if table.is_empty() { Ok(()) } else { output.table(&table) }
    }

    async fn partitions(&self, admin: &Admin, topic: &TopicDescription) -> Result<Table> {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
        let mut table = if self.watermarks {
            Table::new(["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "LOG-START-OFFSET", "HIGH-WATERMARK"])
        } else {
            Table::new(["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR"])
        };
        let partitions = topic.partitions.iter().filter(|partition| {
            (!self.unavailable_partitions || partition.leader.is_none())
                && (!self.under_replicated_partitions || partition.isr.len() < partition.replicas.len())
        });
        let partitions: Vec<_> = partitions.collect();
        let names = partitions.iter().map(|partition| TopicPartition::new(topic.name.as_str(), partition.partition));
        let names: Vec<_> = if self.watermarks { names.collect() } else { vec![] };
        waiting_for(format!("the offsets of topic {}", topic.name));
        let starts = offsets::places(admin, &names, OffsetSpec::Earliest).await?;
        let ends = offsets::places(admin, &names, OffsetSpec::Latest).await?;
        for partition in partitions {
            let row = row![
                topic.name.as_str(),
                partition.partition,
                partition.leader.map(|leader| leader.0),
                ids(&partition.replicas),
                ids(&partition.isr),
            ];
            if self.watermarks {
                let [a, b, c, d, e] = row;
                let name = TopicPartition::new(topic.name.as_str(), partition.partition);
                let at = |places: &offsets::Places| Value::from(places.get(&name).copied());
                table.push([a, b, c, d, e, at(&starts), at(&ends)]);
            } else {
                table.push(row);
            }
        }
        Ok(table)
    }
}

/// As Kafka's tools write it; `None` from brokers that have no ids.
fn topic_id(topic: &TopicDescription) -> Option<String> {
    (!topic.id.is_zero()).then(|| URL_SAFE_NO_PAD.encode(topic.id.0))
}

/// Configs, with who set each.
pub fn config_table(configs: &[ConfigEntry], is_meant: impl Fn(&ConfigEntry) -> bool) -> Table {
    let mut table = Table::new(["CONFIG", "VALUE", "SOURCE"]);
    for config in configs.iter().filter(|config| is_meant(config)) {
        let value = if config.sensitive { Some("********") } else { config.value.as_deref() };
        table.push(row![config.name.as_str(), value, source(config.source)]);
    }
    table
}

/// Kafka's names, and rpk's.
fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
        ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicClusterDefault => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
        ConfigSource::Default => "DEFAULT_CONFIG",
        ConfigSource::BrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
        ConfigSource::ClientMetrics => "CLIENT_METRICS_CONFIG",
        ConfigSource::Group => "GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}
