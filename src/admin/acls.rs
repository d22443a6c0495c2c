//! ACLs: who may do what (KIP-11, prefixes KIP-290).

use super::ask::{Doing, Way};
use super::places::AtAnybody;
use super::words::words;
use super::{AclOperation, Admin, Outcomes, outcome, text};
use crate::error::Result;
use crate::wire::StrBytes;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::create_acls_request::AclCreation;
use crate::wire::messages::delete_acls_request::DeleteAclsFilter;
use crate::wire::messages::delete_acls_response::DeleteAclsMatchingAcl;
use crate::wire::messages::{
    CreateAclsRequest, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse,
};
use std::fmt;

words! {
    /// What an ACL can be about.
    AclResourceType {
        /// Topics.
        Topic = 2, "Topic";
        /// Groups.
        Group = 3, "Group";
        /// The cluster, whose name is `kafka-cluster`.
        Cluster = 4, "Cluster";
        /// Transactional ids.
        TransactionalId = 5, "TransactionalId";
        /// Delegation tokens.
        DelegationToken = 6, "DelegationToken";
        /// Users, for whom others may make tokens.
        User = 7, "User";
    }
}

words! {
    /// How an ACL's name means resources.
    AclPattern {
        /// The one of this name; `*` is every one.
        Literal = 3, "Literal";
        /// Those whose names begin so.
        Prefixed = 4, "Prefixed";
    }
}

words! {
    /// Whether it is allowed or forbidden.
    AclPermission {
        /// Forbidden, whatever else is allowed.
        Deny = 2, "Deny";
        /// Allowed.
        Allow = 3, "Allow";
    }
}

/// In a filter: whatever it is.
const ANY: i8 = 1;
/// In a filter: patterns that mean the resource of this name.
const MATCH: i8 = 2;

/// One ACL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AclBinding {
    /// What it is about.
    pub resource_type: AclResourceType,
    /// The name, or what names begin with, or `*`.
    pub name: String,
    /// Which of these.
    pub pattern: AclPattern,
    /// Who, such as `User:alice`, or `User:*` for everybody.
    pub principal: String,
    /// From where: an address, or `*` for anywhere.
    pub host: String,
    /// What.
    pub operation: AclOperation,
    /// Whether it is allowed.
    pub permission: AclPermission,
}

impl AclBinding {
    /// `principal` may do this with the resource of this name, from anywhere.
    pub fn allow(
        resource_type: AclResourceType,
        name: impl Into<String>,
        principal: impl Into<String>,
        operation: AclOperation,
    ) -> Self {
        Self {
            resource_type,
            name: name.into(),
            pattern: AclPattern::Literal,
            principal: principal.into(),
            host: "*".to_owned(),
            operation,
            permission: AclPermission::Allow,
        }
    }

    /// `principal` may not.
    pub fn deny(
        resource_type: AclResourceType,
        name: impl Into<String>,
        principal: impl Into<String>,
        operation: AclOperation,
    ) -> Self {
        Self { permission: AclPermission::Deny, ..Self::allow(resource_type, name, principal, operation) }
    }

    /// The same with all resources whose names begin so.
    pub fn prefixed(self) -> Self {
        Self { pattern: AclPattern::Prefixed, ..self }
    }

    /// The same from this address only.
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { host: host.into(), ..self }
    }
}

impl fmt::Display for AclBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource_type, name, pattern, principal, host, operation, permission } = self;
        write!(f, "{permission} {principal} from {host}: {operation} on {resource_type} {pattern} {name}")
    }
}

/// Which ACLs; each thing that is not said may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclFilter {
    resource_type: Option<AclResourceType>,
    name: Option<String>,
    pattern: Option<AclPattern>,
    is_match: bool,
    principal: Option<String>,
    host: Option<String>,
    operation: Option<AclOperation>,
    permission: Option<AclPermission>,
}

impl AclFilter {
    /// About resources of this type.
    pub fn resource_type(self, resource_type: AclResourceType) -> Self {
        Self { resource_type: Some(resource_type), ..self }
    }

    /// With this very name or prefix.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), is_match: false, ..self }
    }

    /// With a name, a prefix or a `*` that means the resource of this name: all that counts for it.
    pub fn matching(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), is_match: true, pattern: None, ..self }
    }

    /// Of this pattern.
    pub fn pattern(self, pattern: AclPattern) -> Self {
        Self { pattern: Some(pattern), is_match: false, ..self }
    }

    /// About this principal (`User:alice`).
    pub fn principal(self, principal: impl Into<String>) -> Self {
        Self { principal: Some(principal.into()), ..self }
    }

    /// About this address.
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    /// About this operation.
    pub fn operation(self, operation: AclOperation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// That allow, or that deny.
    pub fn permission(self, permission: AclPermission) -> Self {
        Self { permission: Some(permission), ..self }
    }

    fn pattern_type(&self) -> i8 {
        if self.is_match { MATCH } else { self.pattern.map_or(ANY, AclPattern::to_wire) }
    }
}

impl From<AclBinding> for AclFilter {
    /// That one and no other.
    fn from(acl: AclBinding) -> Self {
        Self::default()
            .resource_type(acl.resource_type)
            .name(acl.name)
            .pattern(acl.pattern)
            .principal(acl.principal)
            .host(acl.host)
            .operation(acl.operation)
            .permission(acl.permission)
    }
}

impl Admin {
    /// Creates ACLs; one that is there already stays. CreateAcls.
    ///
    /// # Errors
    /// Per ACL: `InvalidRequest` for one that can't be, `SecurityDisabled` without an authorizer, `Denied` (Alter on the
    /// cluster). For all: no broker answers in time.
    pub async fn create_acls(&self, acls: impl IntoIterator<Item = AclBinding>) -> Result<Outcomes<(), AclBinding>> {
        let acls = acls.into_iter().map(|acl| (acl, ())).collect();
        let ask = self.ask(AtAnybody, acls).doing(Doing::Repeatable);
        ask.send(
            |acls, _| {
                let creations = acls.iter().map(|(acl, ())| {
                    AclCreation::default()
                        .with_resource_type(acl.resource_type.to_wire())
                        .with_resource_name(str_bytes(&acl.name))
                        .with_resource_pattern_type(acl.pattern.to_wire())
                        .with_principal(str_bytes(&acl.principal))
                        .with_host(str_bytes(&acl.host))
                        .with_operation(acl.operation.to_wire())
                        .with_permission_type(acl.permission.to_wire())
                });
                CreateAclsRequest::default().with_creations(creations.collect())
            },
            // In the order of the request.
            |answer, way| {
                let results = answer.results.into_iter().map(|one| outcome(one.error_code, one.error_message, None));
                Ok(way.keys.iter().cloned().zip(results).collect())
            },
        )
        .await
    }

    /// The ACLs that a filter lets through, in order. DescribeAcls.
    ///
    /// # Errors
    /// `SecurityDisabled` without an authorizer, `Denied` (Describe on the cluster), or no broker answers in time.
    pub async fn describe_acls(&self, filter: AclFilter) -> Result<Vec<AclBinding>> {
        let request = |_: Way<'_, ()>| {
            DescribeAclsRequest::default()
                .with_resource_type_filter(filter.resource_type.map_or(ANY, AclResourceType::to_wire))
                .with_resource_name_filter(filter.name.as_deref().map(str_bytes))
                .with_pattern_type_filter(filter.pattern_type())
                .with_principal_filter(filter.principal.as_deref().map(str_bytes))
                .with_host_filter(filter.host.as_deref().map(str_bytes))
                .with_operation(filter.operation.map_or(ANY, AclOperation::to_wire))
                .with_permission_type(filter.permission.map_or(ANY, AclPermission::to_wire))
        };
        let read = |answer: DescribeAclsResponse, _: Way<'_, ()>| {
            outcome(answer.error_code, answer.error_message, None)?;
            let mut acls = Vec::new();
            for resource in answer.resources {
                acls.extend(resource.acls.iter().map(|acl| AclBinding {
                    resource_type: AclResourceType::from_wire(resource.resource_type),
                    name: text(&resource.resource_name),
                    pattern: AclPattern::from_wire(resource.pattern_type),
                    principal: text(&acl.principal),
                    host: text(&acl.host),
                    operation: AclOperation::from_wire(acl.operation),
                    permission: AclPermission::from_wire(acl.permission_type),
                }));
            }
            acls.sort();
            Ok(acls)
        };
        self.ask_one(AtAnybody).send_one(request, read).await
    }

    /// Deletes the ACLs that each filter lets through, and says which they were. Kafka has no dry run of it:
    /// [`describe_acls`](Self::describe_acls) shows what a filter lets through. DeleteAcls.
    ///
    /// # Errors
    /// Per filter: `SecurityDisabled` without an authorizer, `InvalidRequest`, `Denied` (Alter on the cluster); per ACL: why it
    /// could not be deleted. For all: no broker answers in time.
    pub async fn delete_acls(
        &self,
        filters: impl IntoIterator<Item = AclFilter>,
    ) -> Result<Outcomes<Outcomes<(), AclBinding>, AclFilter>> {
        let filters = filters.into_iter().map(|filter| (filter, ())).collect();
        let ask = self.ask(AtAnybody, filters).doing(Doing::Change);
        ask.send(
            |filters, _| {
                let filters = filters.iter().map(|(filter, ())| {
                    let said = |text: &Option<String>| -> Option<StrBytes> { text.as_deref().map(str_bytes) };
                    DeleteAclsFilter::default()
                        .with_resource_type_filter(filter.resource_type.map_or(ANY, AclResourceType::to_wire))
                        .with_resource_name_filter(said(&filter.name))
                        .with_pattern_type_filter(filter.pattern_type())
                        .with_principal_filter(said(&filter.principal))
                        .with_host_filter(said(&filter.host))
                        .with_operation(filter.operation.map_or(ANY, AclOperation::to_wire))
                        .with_permission_type(filter.permission.map_or(ANY, AclPermission::to_wire))
                });
                DeleteAclsRequest::default().with_filters(filters.collect())
            },
            // In the order of the request.
            |answer: DeleteAclsResponse, way| {
                let results = answer.filter_results.into_iter().map(|result| {
                    outcome(result.error_code, result.error_message, None)?;
                    Ok(result.matching_acls.into_iter().map(deleted).collect())
                });
                Ok(way.keys.iter().cloned().zip(results).collect())
            },
        )
        .await
    }
}

fn deleted(acl: DeleteAclsMatchingAcl) -> (AclBinding, Result<()>) {
    let told = outcome(acl.error_code, acl.error_message, None);
    let acl = AclBinding {
        resource_type: AclResourceType::from_wire(acl.resource_type),
        name: text(&acl.resource_name),
        pattern: AclPattern::from_wire(acl.pattern_type),
        principal: text(&acl.principal),
        host: text(&acl.host),
        operation: AclOperation::from_wire(acl.operation),
        permission: AclPermission::from_wire(acl.permission_type),
    };
    (acl, told)
}
