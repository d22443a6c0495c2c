//! Quotas of clients: how much users, client ids and addresses may do (KIP-546, addresses KIP-612).

use super::ask::{Doing, Way};
use super::places::AtAnybody;
use super::{Admin, Outcomes, each_once, outcome, text};
use crate::error::Result;
use crate::wire::StrBytes;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use crate::wire::messages::describe_client_quotas_request::ComponentData;
use crate::wire::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use std::collections::BTreeMap;
use std::fmt;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Whom quotas are for: a user, a client id, both together, or an address; each by name or by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity {
    /// By type; `None` is the default, for those who have no quota of their own.
    parts: BTreeMap<String, Option<String>>,
}

impl QuotaEntity {
    /// This user.
    pub fn user(self, name: impl Into<String>) -> Self {
        self.part(USER, Some(name.into()))
    }

    /// Each user who has none of its own.
    pub fn default_user(self) -> Self {
        self.part(USER, None)
    }

    /// This `client.id`.
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.part(CLIENT_ID, Some(id.into()))
    }

    /// Each `client.id` that has none of its own.
    pub fn default_client_id(self) -> Self {
        self.part(CLIENT_ID, None)
    }

    /// This address (brokers from 2.8).
    pub fn ip(self, address: impl Into<String>) -> Self {
        self.part(IP, Some(address.into()))
    }

    /// Each address that has none of its own.
    pub fn default_ip(self) -> Self {
        self.part(IP, None)
    }

    /// By type (`user`, `client-id`, `ip`); `None` is the default.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.parts.iter().map(|(kind, name)| (&**kind, name.as_deref()))
    }

    fn part(mut self, kind: &str, name: Option<String>) -> Self {
        self.parts.insert(kind.to_owned(), name);
        self
    }

    fn of(parts: impl Iterator<Item = (StrBytes, Option<StrBytes>)>) -> Self {
        Self { parts: parts.map(|(kind, name)| (text(&kind), name.as_ref().map(text))).collect() }
    }
}

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (kind, name)) in self.parts().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{kind} {}", name.unwrap_or("<default>"))?;
        }
        Ok(())
    }
}

/// Which quotas; all, if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    components: Vec<(&'static str, Matching)>,
    strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matching {
    Name(String),
    Default,
    Any,
}

impl QuotaFilter {
    /// Of this user.
    pub fn user(self, name: impl Into<String>) -> Self {
        self.component(USER, Matching::Name(name.into()))
    }

    /// Of users by default.
    pub fn default_user(self) -> Self {
        self.component(USER, Matching::Default)
    }

    /// Of any user, or the default.
    pub fn any_user(self) -> Self {
        self.component(USER, Matching::Any)
    }

    /// Of this `client.id`.
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.component(CLIENT_ID, Matching::Name(id.into()))
    }

    /// Of client ids by default.
    pub fn default_client_id(self) -> Self {
        self.component(CLIENT_ID, Matching::Default)
    }

    /// Of any `client.id`, or the default.
    pub fn any_client_id(self) -> Self {
        self.component(CLIENT_ID, Matching::Any)
    }

    /// Of this address.
    pub fn ip(self, address: impl Into<String>) -> Self {
        self.component(IP, Matching::Name(address.into()))
    }

    /// Of addresses by default.
    pub fn default_ip(self) -> Self {
        self.component(IP, Matching::Default)
    }

    /// Of any address, or the default.
    pub fn any_ip(self) -> Self {
        self.component(IP, Matching::Any)
    }

    /// Of nothing but what is named: not the quotas of a user *and* a client id if only a user is.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    fn component(mut self, kind: &'static str, matching: Matching) -> Self {
        self.components.push((kind, matching));
        self
    }
}

impl Admin {
    /// The quotas that a filter lets through: by entity, by name (`producer_byte_rate`, `consumer_byte_rate`,
    /// `request_percentage`, `controller_mutation_rate`, `connection_creation_rate`). DescribeClientQuotas (brokers from 2.6).
    ///
    /// # Errors
    /// `Denied` (DescribeConfigs on the cluster), `InvalidRequest` for a filter that can't be, `UnsupportedVersion`, or no
    /// broker answers in time.
    pub async fn describe_quotas(&self, filter: QuotaFilter) -> Result<BTreeMap<QuotaEntity, BTreeMap<String, f64>>> {
        let request = |_: Way<'_, ()>| {
            let components = filter.components.iter().map(|(kind, matching)| {
                let (match_type, name) = match matching {
                    Matching::Name(name) => (0, Some(str_bytes(name))),
                    Matching::Default => (1, None),
                    Matching::Any => (2, None),
                };
                let component = ComponentData::default().with_entity_type(str_bytes(kind));
                component.with_match_type(match_type).with_match(name)
            });
            DescribeClientQuotasRequest::default().with_components(components.collect()).with_strict(filter.strict)
        };
        let read = |answer: DescribeClientQuotasResponse, _: Way<'_, ()>| {
            outcome(answer.error_code, answer.error_message, None)?;
            let entries = answer.entries.unwrap_or_default().into_iter().map(|entry| {
                let entity = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
                let values = entry.values.iter().map(|value| (text(&value.key), value.value)).collect();
                (QuotaEntity::of(entity), values)
            });
            Ok(entries.collect())
        };
        self.ask_one(AtAnybody).send_one(request, read).await
    }

    /// Sets quotas by name, or takes them away (`None`). In a [dry run](Self::dry_run) they are only checked.
    /// AlterClientQuotas (brokers from 2.6).
    ///
    /// # Errors
    /// Per entity: `InvalidRequest` for a quota or an entity that can't be, `Denied` (AlterConfigs on the cluster). For all:
    /// `InvalidArgument` for an entity that is named twice, `UnsupportedVersion`, or no broker in time.
    pub async fn alter_quotas(
        &self,
        changes: impl IntoIterator<Item = (QuotaEntity, Vec<(String, Option<f64>)>)>,
    ) -> Result<Outcomes<(), QuotaEntity>> {
        let ask = self.ask(AtAnybody, each_once(changes)?).doing(Doing::Checkable);
        ask.send(
            |entities, _| {
                let entries = entities.iter().map(|(entity, changes)| {
                    let parts = entity.parts().map(|(kind, name)| {
                        EntityData::default().with_entity_type(str_bytes(kind)).with_entity_name(name.map(str_bytes))
                    });
                    let ops = changes.iter().map(|(key, value)| {
                        let op = OpData::default().with_key(str_bytes(key));
                        op.with_value(value.unwrap_or_default()).with_remove(value.is_none())
                    });
                    EntryData::default().with_entity(parts.collect()).with_ops(ops.collect())
                });
                let request = AlterClientQuotasRequest::default().with_entries(entries.collect());
                request.with_validate_only(self.dry_run)
            },
            |answer, _| {
                let entries = answer.entries.into_iter().map(|entry| {
                    let told = outcome(entry.error_code, entry.error_message, None);
                    let parts = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
                    (QuotaEntity::of(parts), told)
                });
                Ok(entries.collect())
            },
        )
        .await
    }
}
