// DescribeConfigs: v1-4. AlterConfigs: v0-2. IncrementalAlterConfigs: v0-1.
//! Configs over the wire: of topics, brokers, groups and client metrics subscriptions.
//!
//! - DescribeConfigs v3 adds the type and the documentation, v4 is flexible. A broker tells its own configs only; without a name
//!   those that were set for all.
//! - AlterConfigs replaces everything that was set on a resource by what is given, IncrementalAlterConfigs (KIP-339) changes
//!   what is named: 0 sets, 1 deletes, 2 appends to a list and 3 takes away from one, lists of topics only.
//! - A resource that is named twice is refused both times. Kafka 4.3.1 never answers an AlterConfigs that does so.

use super::Context;
use super::api::{Api, repeated};
use super::authorizer::{Operation, Resource};
use super::configs::{TopicConfig, list};
use super::resource_configs::{self, Described, LARGEST_BATCH, ResourceType};
use super::state::{Refusal, State, check_topic_name, invalid, plain, told};
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::messages::incremental_alter_configs_request::AlterableConfig;
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_response,
};
use std::collections::{BTreeMap, HashSet};

/// Where a value comes from.
const ON_TOPIC: i8 = 1;
const ON_BROKER: i8 = 2;
const ON_ALL_BROKERS: i8 = 3;
const STATIC: i8 = 4;
const DEFAULT: i8 = 5;
const ON_METRICS: i8 = 7;
const ON_GROUP: i8 = 8;

/// Whether who asks may do this to the configs of a resource; if it is one that has some, which type it is.
fn admitted(on: &Context, state: &State, operation: Operation, kind: i8, name: &str) -> Result<ResourceType, Refusal> {
    let kind = ResourceType::from_wire(kind).ok_or_else(|| invalid(format!("Unknown resource type {kind}")))?;
    let resource = match kind {
        ResourceType::Topic => Resource::Topic(name),
        ResourceType::Group => Resource::Group(name),
        ResourceType::Broker | ResourceType::ClientMetrics => Resource::Cluster,
    };
    on.may(state, operation, resource).map_err(plain)?;
    if kind == ResourceType::Broker && !name.is_empty() && name.parse() != Ok(on.node.0) {
        return Err(invalid(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            on.node
        )));
    }
    Ok(kind)
}

impl Api for DescribeConfigsRequest {
    async fn serve(self, on: Context) -> DescribeConfigsResponse {
        let state = on.state();
        let results = self.resources.iter().map(|resource| match entries(&on, &state, resource) {
            Ok(entries) => {
                described(resource).with_configs(shown(resource, entries, self.include_synonyms, on.version))
            }
            Err((code, why)) => {
                described(resource).with_error_code(code.to_wire()).with_error_message(Some(why.into()))
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|resource| described(resource).with_error_code(code.to_wire()));
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

fn described(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

/// One config: its name and type, whether it can't be changed, what holds and from where, and everything that is said of it in
/// the order in which it counts: under which name, from where.
struct Entry {
    name: String,
    kind: i8,
    read_only: bool,
    holds: (String, i8),
    values: Vec<(String, String, i8)>,
}

impl Entry {
    /// The first of the values holds.
    fn new(name: &str, kind: i8, read_only: bool, values: Vec<(String, String, i8)>) -> Self {
        let holds = values.first().map_or((String::new(), DEFAULT), |(_, value, source)| (value.clone(), *source));
        Self { name: name.to_owned(), kind, read_only, holds, values }
    }
}

fn entries(on: &Context, state: &State, resource: &DescribeConfigsResource) -> Result<Vec<Entry>, Refusal> {
    let name = &*resource.resource_name;
    let kind = admitted(on, state, Operation::DescribeConfigs, resource.resource_type, name)?;
    let of_thing = |source: i8| {
        move |config: Described| {
            let own = config.own.map(|value| (config.name.to_owned(), value, source));
            let other = config.synonym.map(|synonym| (synonym, config.default.clone(), DEFAULT));
            let values: Vec<_> = own.into_iter().chain(other).collect();
            let holds = values.first().map_or((config.default, DEFAULT), |(_, value, source)| (value.clone(), *source));
            Entry { name: config.name.to_owned(), kind: config.kind as i8, read_only: false, holds, values }
        }
    };
    Ok(match kind {
        ResourceType::Topic => {
            check_topic_name(name).map_err(|why| (ErrorCode::InvalidTopicException, why))?;
            let unknown =
                (ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.".into());
            let topic = state.topics.get(name).ok_or(unknown)?;
            let entry = |(name, value, set, kind): (&str, String, bool, i8)| {
                let source = if set { ON_TOPIC } else { DEFAULT };
                let mut values = vec![(name.to_owned(), value, source)];
                if name == "max.message.bytes" {
                    values.truncate(usize::from(set));
                    values.extend(largest_batch(state, &on.node.0.to_string()));
                }
                Entry::new(name, kind, false, values)
            };
            topic.config.entries(state.message_max_bytes(on.node)).into_iter().map(entry).collect()
        }
        ResourceType::Broker if name.is_empty() => {
            let set = state.configs.get(&(kind, String::new())).into_iter().flatten();
            let known = |key: &str| state.broker_configs(on.node).into_iter().find(|(name, ..)| *name == key);
            set.map(|(key, value)| {
                let kind = known(key).map_or(0, |(.., kind)| kind as i8);
                Entry::new(key, kind, false, vec![(key.clone(), value.clone(), ON_ALL_BROKERS)])
            })
            .collect()
        }
        ResourceType::Broker => {
            let entry = |(key, value, kind): (&'static str, String, super::configs::Kind)| {
                let fixed = key != LARGEST_BATCH;
                let values = if fixed { vec![(key.to_owned(), value, STATIC)] } else { largest_batch(state, name) };
                Entry::new(key, kind as i8, fixed, values)
            };
            state.broker_configs(on.node).into_iter().map(entry).collect()
        }
        _ if name.is_empty() => return Err(invalid("Group or client metrics subscription name must not be empty")),
        ResourceType::Group => state.group_configs(name).into_iter().map(of_thing(ON_GROUP)).collect(),
        ResourceType::ClientMetrics => state.metrics_configs(name).into_iter().map(of_thing(ON_METRICS)).collect(),
    })
}

/// The largest batch of a broker, with everything that it would be otherwise.
fn largest_batch(state: &State, broker: &str) -> Vec<(String, String, i8)> {
    let set = |name: &str| state.configs.get(&(ResourceType::Broker, name.to_owned()))?.get(LARGEST_BATCH).cloned();
    let own = [(set(broker), ON_BROKER), (set(""), ON_ALL_BROKERS)];
    let default = (Some(state.settings.message_max_bytes.to_string()), DEFAULT);
    let values = own.into_iter().chain([default]);
    values.filter_map(|(value, source)| Some((LARGEST_BATCH.to_owned(), value?, source))).collect()
}

fn shown(
    resource: &DescribeConfigsResource,
    entries: Vec<Entry>,
    synonyms: bool,
    version: i16,
) -> Vec<DescribeConfigsResourceResult> {
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let wanted = |entry: &Entry| keys.is_none_or(|keys| keys.iter().any(|key| **key == *entry.name));
    let shown = entries.into_iter().filter(wanted).map(|entry| {
        let each = entry.values.into_iter().map(|(name, value, source)| {
            DescribeConfigsSynonym::default().with_name(name.into()).with_value(Some(value.into())).with_source(source)
        });
        DescribeConfigsResourceResult::default()
            .with_name(entry.name.into())
            .with_value(Some(entry.holds.0.into()))
            .with_read_only(entry.read_only)
            .with_config_source(entry.holds.1)
            .with_synonyms(if synonyms { each.collect() } else { Vec::new() })
            .with_config_type(if version >= 3 { entry.kind } else { 0 })
            .with_documentation(None)
    });
    shown.collect()
}

const TWICE: &str = "Each resource must appear at most once.";

impl Api for IncrementalAlterConfigsRequest {
    async fn serve(self, on: Context) -> IncrementalAlterConfigsResponse {
        let repeated = repeated(self.resources.iter().map(|one| (one.resource_type, &one.resource_name)));
        changed(&self, |resource| {
            let names = resource.configs.iter().map(|config| &config.name);
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            if repeated.contains(&(kind, name)) {
                return Err(invalid(TWICE));
            }
            let nulls =
                resource.configs.iter().any(|config| config.value.is_none() && config.config_operation != DELETE);
            change(&on, (kind, name), names, nulls, self.validate_only, |before| {
                let mut set = before.clone();
                resource.configs.iter().try_for_each(|config| apply(&mut set, config))?;
                Ok(set)
            })
        })
    }

    fn refuse(&self, code: ErrorCode) -> IncrementalAlterConfigsResponse {
        changed(self, |_| Err(plain(code)))
    }
}

fn changed(
    request: &IncrementalAlterConfigsRequest,
    mut change: impl FnMut(
        &crate::wire::messages::incremental_alter_configs_request::AlterConfigsResource,
    ) -> Result<(), Refusal>,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| {
        let (code, why) = told(change(resource));
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code)
            .with_error_message(why)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

impl Api for AlterConfigsRequest {
    async fn serve(self, on: Context) -> AlterConfigsResponse {
        let repeated = repeated(self.resources.iter().map(|one| (one.resource_type, &one.resource_name)));
        replaced(&self, |resource| {
            let names = resource.configs.iter().map(|config| &config.name);
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            if repeated.contains(&(kind, name)) {
                return Err(invalid(TWICE));
            }
            let nulls = resource.configs.iter().any(|config| config.value.is_none());
            change(&on, (kind, name), names, nulls, self.validate_only, |_| {
                let value = |config: &crate::wire::messages::alter_configs_request::AlterableConfig| {
                    Some((config.name.to_string(), config.value.as_ref()?.to_string()))
                };
                Ok(resource.configs.iter().filter_map(value).collect())
            })
        })
    }

    fn refuse(&self, code: ErrorCode) -> AlterConfigsResponse {
        replaced(self, |_| Err(plain(code)))
    }
}

fn replaced(
    request: &AlterConfigsRequest,
    mut replace: impl FnMut(&crate::wire::messages::alter_configs_request::AlterConfigsResource) -> Result<(), Refusal>,
) -> AlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| {
        let (code, why) = told(replace(resource));
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code)
            .with_error_message(why)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Has `new` make of what is set on a resource what is to be set, and sets it if it can be.
fn change<'a>(
    on: &Context,
    (kind, name): (i8, &str),
    names: impl IntoIterator<Item = &'a StrBytes>,
    nulls: bool,
    validate_only: bool,
    new: impl FnOnce(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal>,
) -> Result<(), Refusal> {
    let mut state = on.state();
    let mut seen = HashSet::new();
    let twice = names.into_iter().any(|name| !seen.insert(name));
    let kind = admitted(on, &state, Operation::AlterConfigs, kind, name)?;
    if twice {
        return Err(invalid("Error due to duplicate config keys"));
    }
    if nulls {
        return Err(invalid("Null value not supported"));
    }
    if kind == ResourceType::Topic {
        if name.is_empty() {
            return Err(invalid("Default topic resources are not allowed."));
        }
        let nothing = BTreeMap::new();
        let set = new(state.topics.get(name).map_or(&nothing, |topic| topic.config.set()))?;
        check_topic_name(name).map_err(|why| (ErrorCode::InvalidTopicException, why))?;
        let config = TopicConfig::new(set).map_err(|why| (ErrorCode::InvalidConfig, why))?;
        let unknown = (ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."));
        let topic = state.topics.get_mut(name).ok_or(unknown)?;
        if !validate_only {
            topic.config = config;
        }
        return Ok(());
    }
    let key = (kind, name.to_owned());
    let set = new(state.configs.get(&key).unwrap_or(&BTreeMap::new()))?;
    resource_configs::check(kind, name, &set)?;
    match (validate_only, set.is_empty()) {
        (true, _) => {}
        (false, true) => drop(state.configs.remove(&key)),
        (false, false) => drop(state.configs.insert(key, set)),
    }
    Ok(())
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn apply(set: &mut BTreeMap<String, String>, config: &AlterableConfig) -> Result<(), Refusal> {
    let name = config.name.to_string();
    let value = config.value.as_deref().unwrap_or_default();
    let new = match config.config_operation {
        DELETE => {
            set.remove(&name);
            return Ok(());
        }
        SET => value.to_owned(),
        operation @ (APPEND | SUBTRACT) => {
            let why = format!("Can't append to or subtract from key {name} because its type is not LIST.");
            let mut items = list(set, &name).ok_or((ErrorCode::InvalidConfig, why))?;
            if operation == SUBTRACT {
                let gone: HashSet<&str> = value.split(',').collect();
                items.retain(|item| !gone.contains(&**item));
            } else {
                let mut there: HashSet<String> = items.iter().cloned().collect();
                let new = value.split(',').filter(|item| !item.is_empty() && there.insert((*item).to_owned()));
                items.extend(new.map(str::to_owned));
            }
            items.join(",")
        }
        // Apache has no better word for it either.
        other => return Err((ErrorCode::UnknownServerError, format!("Unknown operation {other}"))),
    };
    set.insert(name, new);
    Ok(())
}
