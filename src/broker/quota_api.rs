// DescribeClientQuotas: v0-1. AlterClientQuotas: v0-1.
//! Client quotas over the wire (KIP-546); what they do is in `quotas`.
//!
//! - An entity is a user, a client id, both of them, or an address; a name of null is the default of its type.
//! - A filter's component asks for a name (0), for the default (1), or for any entity that has its type (2). A strict filter
//!   wants entities of no other types.
//! - v1 is flexible.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::quotas::{CLIENT_ID, Entity, IP, USER};
use super::state::{Refusal, State, invalid, plain, told};
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::alter_client_quotas_request::EntryData as Alteration;
use crate::wire::messages::describe_client_quotas_request::ComponentData;
use crate::wire::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    alter_client_quotas_response, describe_client_quotas_response,
};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// What values a quota takes: any rate, or a whole number up to this.
type Limit = Option<f64>;

const OF_CLIENTS: &[(&str, Limit)] = &[
    ("consumer_byte_rate", Some(i64::MAX as f64)),
    ("controller_mutation_rate", None),
    ("producer_byte_rate", Some(i64::MAX as f64)),
    ("request_percentage", None),
];
const OF_ADDRESSES: &[(&str, Limit)] = &[("connection_creation_rate", Some(i32::MAX as f64))];

impl Api for AlterClientQuotasRequest {
    async fn serve(self, on: Context) -> AlterClientQuotasResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::AlterConfigs, Resource::Cluster) {
            return self.refuse(code);
        }
        let mut outcomes: BTreeMap<Entity, Result<(), Refusal>> = BTreeMap::new();
        for alteration in &self.entries {
            let entity = entity(alteration);
            let outcome = match outcomes.contains_key(&entity) {
                true => Err(invalid("Ignoring duplicate entity")),
                false => alter(&mut state, &entity, alteration, self.validate_only),
            };
            outcomes.insert(entity, outcome);
        }
        AlterClientQuotasResponse::default().with_entries(outcomes.into_iter().map(altered).collect())
    }

    fn refuse(&self, code: ErrorCode) -> AlterClientQuotasResponse {
        let entries = self.entries.iter().map(|entry| altered((entity(entry), Err(plain(code)))));
        AlterClientQuotasResponse::default().with_entries(entries.collect())
    }
}

/// A type that is named twice counts once, as its last name.
fn entity(alteration: &Alteration) -> Entity {
    let named = alteration.entity.iter();
    named.map(|one| (one.entity_type.to_string(), one.entity_name.as_ref().map(StrBytes::to_string))).collect()
}

fn altered((entity, outcome): (Entity, Result<(), Refusal>)) -> alter_client_quotas_response::EntryData {
    let entity = entity.into_iter().map(|(kind, name)| {
        alter_client_quotas_response::EntityData::default()
            .with_entity_type(kind.into())
            .with_entity_name(name.map(StrBytes::from))
    });
    let (code, why) = told(outcome);
    alter_client_quotas_response::EntryData::default()
        .with_entity(entity.collect())
        .with_error_code(code)
        .with_error_message(why)
}

/// All of the entity's changes, or none.
fn alter(state: &mut State, entity: &Entity, alteration: &Alteration, validate_only: bool) -> Result<(), Refusal> {
    let known = keys(entity)?;
    let mut values = state.quotas.set.get(entity).cloned().unwrap_or_default();
    let mut seen = HashSet::new();
    for op in &alteration.ops {
        let key = &*op.key;
        if !seen.insert(key) {
            return Err(invalid(format!("Duplicate quota key {key}")));
        }
        if op.remove {
            values.remove(key);
            continue;
        }
        let (_, most) = known
            .iter()
            .find(|(name, _)| *name == key)
            .ok_or_else(|| invalid(format!("Invalid configuration key {key}")))?;
        // Not a number is neither.
        if op.value.is_nan() || op.value <= 0.0 {
            return Err(invalid(format!("Quota {key} must be greater than 0")));
        }
        if most.is_some_and(|most| op.value > most) {
            return Err(invalid(format!("Proposed value for {key} is too large.")));
        }
        if most.is_some() && op.value % 1.0 > 1e-6 {
            return Err(invalid(format!("{key} cannot be a fractional value.")));
        }
        values.insert(key.to_owned(), op.value);
    }
    match (validate_only, values.is_empty()) {
        (true, _) => {}
        (false, true) => drop(state.quotas.set.remove(entity)),
        (false, false) => drop(state.quotas.set.insert(entity.clone(), values)),
    }
    Ok(())
}

/// The quotas that an entity can have, if it can be.
fn keys(entity: &Entity) -> Result<&'static [(&'static str, Limit)], Refusal> {
    if entity.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&&**kind) {
            return Err(invalid(format!("Unhandled client quota entity type: {kind}")));
        }
        if name.as_deref() == Some("") {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    match entity.get(IP) {
        None => Ok(OF_CLIENTS),
        Some(_) if entity.len() > 1 => {
            Err(invalid("Invalid quota entity combination, IP entity should not be combined with User or ClientId"))
        }
        // No name is looked up here but the one that everybody knows.
        Some(Some(name)) if name != "localhost" && name.parse::<IpAddr>().is_err() => {
            Err(invalid(format!("{name} is not a valid IP or resolvable host.")))
        }
        Some(_) => Ok(OF_ADDRESSES),
    }
}

impl Api for DescribeClientQuotasRequest {
    async fn serve(self, on: Context) -> DescribeClientQuotasResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::DescribeConfigs, Resource::Cluster) {
            return self.refuse(code);
        }
        let wanted = match wanted(&self.components) {
            Ok(wanted) => wanted,
            Err((code, why)) => return self.refuse(code).with_error_message(Some(why.into())),
        };
        let matches = |entity: &Entity| {
            let fits = wanted.iter().all(|(kind, name)| {
                entity.get(*kind).is_some_and(|has| name.as_ref().is_none_or(|name| name.as_deref() == has.as_deref()))
            });
            fits && (!self.strict || entity.len() == wanted.len())
        };
        let entries = state.quotas.set.iter().filter(|(entity, _)| matches(entity)).map(|(entity, values)| {
            let entity = entity.iter().map(|(kind, name)| {
                describe_client_quotas_response::EntityData::default()
                    .with_entity_type(kind.clone().into())
                    .with_entity_name(name.clone().map(StrBytes::from))
            });
            let values = values.iter().map(|(key, value)| {
                describe_client_quotas_response::ValueData::default().with_key(key.clone().into()).with_value(*value)
            });
            describe_client_quotas_response::EntryData::default()
                .with_entity(entity.collect())
                .with_values(values.collect())
        });
        let entries = entries.collect();
        DescribeClientQuotasResponse::default().with_error_message(None).with_entries(Some(entries))
    }

    fn refuse(&self, code: ErrorCode) -> DescribeClientQuotasResponse {
        DescribeClientQuotasResponse::default()
            .with_error_code(code.to_wire())
            .with_error_message(Some(code.name().into()))
            .with_entries(None)
    }
}

/// The types wanted, each with the name it has to have: `Some(None)` for the default, `None` for any.
type Wanted<'a> = BTreeMap<&'a str, Option<Option<String>>>;

fn wanted(components: &[ComponentData]) -> Result<Wanted<'_>, Refusal> {
    let mut wanted = Wanted::new();
    for component in components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if wanted.contains_key(kind) {
            return Err(invalid(format!("Entity type {kind} cannot appear more than once in the filter.")));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
        }
        let name = match (component.match_type, &component._match) {
            (0, Some(name)) => Some(Some(name.to_string())),
            (1, None) => Some(None),
            (2, None) => None,
            (0..=2, _) => return Err(invalid("A match type that does not go with what is to be matched.")),
            (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
        };
        wanted.insert(kind, name);
    }
    if wanted.contains_key(IP) && wanted.len() > 1 {
        return Err(invalid("IP filter component should not be used with user or clientId filter component."));
    }
    Ok(wanted)
}
