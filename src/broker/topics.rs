// CreateTopics: v2-7. DeleteTopics: v1-6. CreatePartitions: v0-3.
//! Topics made, grown and deleted. Any broker takes these, as Apache's brokers do by forwarding to the controller.
//!
//! - CreateTopics v4 takes -1 for the default number of partitions and replicas, v5 answers with what the topic got, v7
//!   with its id.
//! - DeleteTopics v6 takes topic ids too.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::{Refusal, State, TopicSpec, plain};
use crate::error::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::wire::StrBytes;
use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
use crate::wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::wire::messages::create_topics_request::CreatableTopic;
use crate::wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::wire::messages::delete_topics_response::DeletableTopicResult;
use crate::wire::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use std::collections::HashMap;
use uuid::Uuid;

impl Api for CreateTopicsRequest {
    async fn serve(self, on: Context) -> CreateTopicsResponse {
        let mut state = on.state();
        let results = each_once(
            &self.topics,
            |topic| &topic.name,
            |topic, once| match once {
                Ok(()) => create(&mut state, &on, topic, self.validate_only),
                Err(refusal) => refused(topic, refusal, on.version),
            },
        );
        CreateTopicsResponse::default().with_topics(results)
    }

    fn refuse(&self, code: ErrorCode) -> CreateTopicsResponse {
        let results = self.topics.iter().map(|topic| refused(topic, plain(code), 2));
        CreateTopicsResponse::default().with_topics(results.collect())
    }
}

/// Answers for each topic; one that is named more than once is refused, in one answer.
fn each_once<'a, T, R>(
    topics: &'a [T],
    name: impl Fn(&'a T) -> &'a TopicName,
    mut answer: impl FnMut(&'a T, Result<(), Refusal>) -> R,
) -> Vec<R> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        *named.entry(name(topic)).or_default() += 1;
    }
    let twice = || Err((ErrorCode::InvalidRequest, "Duplicate topic name.".into()));
    let answers = topics.iter().filter_map(|topic| match named.get(&***name(topic)) {
        Some(1) => Some(answer(topic, Ok(()))),
        _ => named.remove(&***name(topic)).map(|_| answer(topic, twice())),
    });
    answers.collect()
}

fn refused(topic: &CreatableTopic, (code, why): Refusal, version: i16) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code.to_wire())
        .with_error_message(Some(StrBytes::from(why)));
    if version >= 5 { result.with_num_partitions(-1).with_replication_factor(-1) } else { result }
}

fn create(state: &mut State, on: &Context, topic: &CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let version = on.version;
    let resource = Resource::Topic(&topic.name);
    let may =
        on.may(state, Operation::Create, Resource::Cluster).or_else(|_| on.may(state, Operation::Create, resource));
    if let Err(code) = may {
        return refused(topic, (code, "Authorization failed.".into()), version);
    }
    let spec = match spec(state, topic) {
        Ok(spec) => spec,
        Err(refusal) => return refused(topic, refusal, version),
    };
    let result = CreatableTopicResult::default().with_name(topic.name.clone()).with_error_message(None);
    let result = match on.may(state, Operation::DescribeConfigs, resource) {
        Ok(()) if version >= 5 => with_details(&spec, state.message_max_bytes(on.node), result),
        Err(code) if version >= 5 => {
            result.with_topic_config_error_code(code.to_wire()).with_num_partitions(-1).with_replication_factor(-1)
        }
        _ => result,
    };
    if validate_only {
        return result;
    }
    match state.create_topic(spec) {
        Ok(id) if version >= 7 => result.with_topic_id(Uuid::from_bytes(id.0)),
        Ok(_) => result,
        Err(refusal) => refused(topic, refusal, version),
    }
}

fn spec(state: &State, topic: &CreatableTopic) -> Result<TopicSpec, Refusal> {
    let configs = topic.configs.iter().map(|config| {
        let value = config.value.as_ref().ok_or((ErrorCode::InvalidConfig, format!("{} is null", config.name)))?;
        Ok((config.name.to_string(), value.to_string()))
    });
    let configs = configs.collect::<Result<_, Refusal>>()?;
    if topic.assignments.is_empty() {
        return state.topic_spec(&topic.name, topic.num_partitions, topic.replication_factor, configs);
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let why =
            "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Err((ErrorCode::InvalidRequest, why.into()));
    }
    let mut spec = state.topic_spec(&topic.name, topic.assignments.len() as i32, 1, configs)?;
    let mut factor = None;
    for (i, replicas) in spec.replicas.iter_mut().enumerate() {
        let Some(given) = topic.assignments.iter().find(|given| given.partition_index == i as i32) else {
            let why = "partitions should be a consecutive 0-based integer sequence";
            return Err((ErrorCode::InvalidReplicaAssignment, why.into()));
        };
        *replicas = nodes(&given.broker_ids);
        state.check_new_partition(replicas, factor)?;
        factor = Some(replicas.len());
    }
    Ok(spec)
}

fn nodes(ids: &[BrokerId]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(id.0)).collect()
}

impl State {
    /// Whether a partition can have these replicas; `factor` is how many it must have, if that matters.
    pub(super) fn check_assignment(&self, replicas: &[NodeId], factor: Option<usize>) -> Result<(), Refusal> {
        let refused = |why: String| Err((ErrorCode::InvalidReplicaAssignment, why));
        let part = "The manual partition assignment includes";
        if replicas.is_empty() {
            return refused(format!("{part} an empty replica list."));
        }
        for (i, node) in replicas.iter().enumerate() {
            if !self.nodes.contains_key(node) {
                return refused(format!("{part} broker {node}, but no such broker is registered."));
            }
            if replicas.iter().take(i).any(|other| other == node) {
                return refused(format!("{part} the broker {node} more than once."));
            }
        }
        let count = replicas.len();
        match factor.filter(|factor| *factor != count) {
            Some(factor) => refused(format!(
                "{part} a partition with {count} replica(s), but this is not consistent with previous partitions, \
                 which have {factor} replica(s)."
            )),
            None => Ok(()),
        }
    }

    /// The same for one that is to be made: somebody has to be there to lead it.
    fn check_new_partition(&self, replicas: &[NodeId], factor: Option<usize>) -> Result<(), Refusal> {
        self.check_assignment(replicas, factor)?;
        if replicas.iter().any(|node| self.is_alive(*node)) {
            return Ok(());
        }
        let why = "All brokers specified in the manual partition assignment are fenced or in controlled shutdown.";
        Err((ErrorCode::InvalidReplicaAssignment, why.into()))
    }
}

fn with_details(spec: &TopicSpec, max_bytes: usize, result: CreatableTopicResult) -> CreatableTopicResult {
    const DYNAMIC_TOPIC: i8 = 1;
    const DEFAULT: i8 = 5;
    let configs = spec.config.entries(max_bytes).into_iter().map(|(name, value, set, _)| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from(value)))
            .with_config_source(if set { DYNAMIC_TOPIC } else { DEFAULT })
    });
    result
        .with_num_partitions(spec.replicas.len() as i32)
        .with_replication_factor(spec.replicas.first().map_or(0, |replicas| replicas.len() as i16))
        .with_configs(Some(configs.collect()))
}

impl Api for DeleteTopicsRequest {
    async fn serve(self, on: Context) -> DeleteTopicsResponse {
        let mut state = on.state();
        delete(&self, |name, id| {
            let by_id = name.is_none();
            let name = match name {
                Some(name) if !id.is_zero() => return Err((ErrorCode::InvalidRequest, Some(name))), // which of the two?
                Some(name) => name,
                None => state.topic_name(id).map(|name| name.to_string()).ok_or((ErrorCode::UnknownTopicId, None))?,
            };
            if let Err((code, may_be_named)) = deletable(&on, &state, &name) {
                return Err((code, Some(name).filter(|_| may_be_named || !by_id)));
            }
            if state.delete_topic(&name) { Ok(name) } else { Err((ErrorCode::UnknownTopicOrPartition, Some(name))) }
        })
    }

    fn refuse(&self, code: ErrorCode) -> DeleteTopicsResponse {
        delete(self, |name, _| Err((code, name)))
    }
}

/// Whether the caller may delete the topic; if not, whether its name may be told to who knows the id only.
fn deletable(on: &Context, state: &State, name: &str) -> Result<(), (ErrorCode, bool)> {
    if on.may(state, Operation::Delete, Resource::Cluster).is_ok() {
        return Ok(());
    }
    let may = |operation| on.may(state, operation, Resource::Topic(name));
    may(Operation::Delete).map_err(|code| (code, may(Operation::Describe).is_ok()))?;
    may(Operation::Describe).map_err(|code| (code, false))
}

fn delete(
    request: &DeleteTopicsRequest,
    mut delete: impl FnMut(Option<String>, TopicId) -> Result<String, (ErrorCode, Option<String>)>,
) -> DeleteTopicsResponse {
    let by_name = request.topic_names.iter().map(|name| (Some(name.to_string()), Uuid::nil()));
    let by_either =
        request.topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.to_string()), topic.topic_id));
    let responses = by_name.chain(by_either).map(|(name, id)| {
        let result = DeletableTopicResult::default().with_topic_id(id);
        let wire = |name: String| Some(TopicName(name.into()));
        match delete(name, TopicId(id.into_bytes())) {
            Ok(name) => result.with_name(wire(name)),
            Err((code, name)) => result.with_name(name.and_then(wire)).with_error_code(code.to_wire()),
        }
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

impl Api for CreatePartitionsRequest {
    async fn serve(self, on: Context) -> CreatePartitionsResponse {
        let mut state = on.state();
        let results = each_once(
            &self.topics,
            |topic| &topic.name,
            |topic, once| match once.and_then(|()| grow(&mut state, &on, topic, self.validate_only)) {
                Ok(()) => CreatePartitionsTopicResult::default().with_name(topic.name.clone()).with_error_message(None),
                Err(refusal) => not_grown(topic, refusal),
            },
        );
        CreatePartitionsResponse::default().with_results(results)
    }

    fn refuse(&self, code: ErrorCode) -> CreatePartitionsResponse {
        let results = self.topics.iter().map(|topic| not_grown(topic, plain(code)));
        CreatePartitionsResponse::default().with_results(results.collect())
    }
}

fn not_grown(topic: &CreatePartitionsTopic, (code, why): Refusal) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code.to_wire())
        .with_error_message(Some(StrBytes::from(why)))
}

fn grow(state: &mut State, on: &Context, wanted: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refusal> {
    on.may(state, Operation::Alter, Resource::Topic(&wanted.name)).map_err(plain)?;
    let unknown = (ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.".to_owned());
    let topic = state.topics.get(&**wanted.name).ok_or(unknown)?;
    let now = topic.partitions.len();
    let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let count = usize::try_from(wanted.count).unwrap_or(0);
    state.check_room(now, count)?;
    if count == now {
        return Err((ErrorCode::InvalidPartitions, format!("Topic already has {now} partition(s).")));
    }
    if count < now {
        let why = format!(
            "The topic {} currently has {now} partition(s); {} would not be an increase.",
            &*wanted.name, wanted.count
        );
        return Err((ErrorCode::InvalidPartitions, why));
    }
    let assignments: Vec<_> = match &wanted.assignments {
        Some(given) if given.len() != count - now => {
            let why = format!(
                "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                count - now,
                given.len()
            );
            return Err((ErrorCode::InvalidReplicaAssignment, why));
        }
        Some(given) => given.iter().map(|given| nodes(&given.broker_ids)).collect(),
        None => (now..count).map(|nth| state.place(nth, factor)).collect(),
    };
    if wanted.assignments.is_some() {
        assignments.iter().try_for_each(|replicas| state.check_new_partition(replicas, Some(factor)))?;
    }
    if !validate_only {
        state.add_partitions(&wanted.name, assignments);
    }
    Ok(())
}
