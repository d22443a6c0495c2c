//! Who may do what: the rules of Apache Kafka's `StandardAuthorizer`, over the ACLs that `acls` takes in.
//!
//! - A super user may do everything. For others one matching DENY outweighs every ALLOW, and what no ACL is about is
//!   forbidden, unless the builder says `allow.everyone.if.no.acl.found`: then a resource without any ACL is free, while
//!   one that has some, for whomever, is not.
//! - An ACL is about a resource by its name, by a prefix of it, or by `*`; about a principal by its name or as `User:*`;
//!   about a host by its address or as `*`.
//! - Who may READ, WRITE, DELETE or ALTER may DESCRIBE, who may ALTER_CONFIGS may DESCRIBE_CONFIGS. A DENY implies nothing.
//! - Without an authorizer nothing is checked, as in Kafka.

use super::Context;
use super::state::State;
use crate::error::ErrorCode;
use std::collections::BTreeSet;

/// What the cluster is called among the resources.
pub(super) const CLUSTER_NAME: &str = "kafka-cluster";

/// The name of any resource, any host, and with `User:` before it of any principal.
const ANYTHING: &str = "*";
const ANY_USER: &str = "User:*";

/// Patterns, operations and permissions that are told apart here, as on the wire.
pub(super) const LITERAL: i8 = 3;
pub(super) const PREFIXED: i8 = 4;
const EVERY_OPERATION: i8 = 2;
pub(super) const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;

/// The operations that the broker asks about, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

use Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, Read, Write};

/// What something is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
    TransactionalId(&'a str),
}

impl<'a> Resource<'a> {
    fn kind(self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Group(_) => 3,
            Self::Cluster => 4,
            Self::TransactionalId(_) => 5,
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::TransactionalId(name) => name,
            Self::Cluster => CLUSTER_NAME,
        }
    }

    /// What is answered where it is not allowed.
    fn refusal(self) -> ErrorCode {
        match self {
            Self::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Self::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Self::Cluster => ErrorCode::ClusterAuthorizationFailed,
            Self::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
        }
    }

    /// What there is to be allowed.
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Topic(_) => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            Self::Group(_) => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => &[
                Create,
                Alter,
                Describe,
                Operation::ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                Operation::IdempotentWrite,
            ],
            Self::TransactionalId(_) => &[Write, Describe],
        }
    }
}

/// One rule. The order is that of resources, which answers group by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Acl {
    pub resource_type: i8,
    pub name: String,
    pub pattern: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission: i8,
}

impl Acl {
    fn is_about(&self, resource: Resource<'_>) -> bool {
        let name = resource.name();
        self.resource_type == resource.kind()
            && match self.pattern {
                PREFIXED => name.starts_with(&self.name),
                _ => self.name == name || self.is_about_anything(),
            }
    }

    fn is_about_anything(&self) -> bool {
        self.pattern == LITERAL && self.name == ANYTHING
    }

    fn is_for(&self, principal: &str, host: &str) -> bool {
        (self.principal == principal || self.principal == ANY_USER) && (self.host == ANYTHING || self.host == host)
    }

    fn covers(&self, operation: Operation) -> bool {
        let implied = self.permission == ALLOW
            && match operation {
                Describe => [Read, Write, Delete, Alter].iter().any(|implies| *implies as i8 == self.operation),
                DescribeConfigs => self.operation == AlterConfigs as i8,
                _ => false,
            };
        implied || self.operation == EVERY_OPERATION || self.operation == operation as i8
    }
}

/// What the builder was told.
#[derive(Debug, Clone, Default)]
pub(super) struct AuthorizerSettings {
    /// `super.users`, as `User:name`.
    pub super_users: Vec<String>,
    /// `allow.everyone.if.no.acl.found`.
    pub allow_everyone: bool,
}

impl AuthorizerSettings {
    fn allows(
        &self,
        acls: &BTreeSet<Acl>,
        (principal, host): (&str, &str),
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        if self.super_users.iter().any(|user| user == principal) {
            return true;
        }
        let (mut found, mut allowed) = (false, false);
        for acl in acls.iter().filter(|acl| acl.is_about(resource)) {
            found = true;
            if acl.is_for(principal, host) && acl.covers(operation) {
                if acl.permission == DENY {
                    return false;
                }
                allowed = true;
            }
        }
        if found { allowed } else { self.allow_everyone }
    }

    /// Whether there may be a topic that this caller may write to: an ALLOW that no DENY covers wholly.
    fn allows_some_write(&self, acls: &BTreeSet<Acl>, caller: (&str, &str)) -> bool {
        // Apache asks about a name of its choice too, which is how super users and `allow_everyone` come in.
        if self.allows(acls, caller, Write, Resource::Topic("hardcode")) {
            return true;
        }
        let topics = Resource::Topic("").kind();
        let relevant = acls.iter().filter(|acl| {
            let covers = acl.operation == Write as i8 || acl.operation == EVERY_OPERATION;
            acl.resource_type == topics && covers && acl.is_for(caller.0, caller.1)
        });
        let (denied, allowed): (Vec<_>, Vec<_>) = relevant.partition(|acl| acl.permission == DENY);
        if denied.iter().any(|deny| deny.is_about_anything()) {
            return false;
        }
        let covered = |allow: &Acl| {
            denied.iter().any(|deny| match deny.pattern {
                PREFIXED => allow.name.starts_with(&deny.name),
                _ => allow.pattern == LITERAL && allow.name == deny.name,
            })
        };
        allowed.into_iter().any(|allow| allow.is_about_anything() || !covered(allow))
    }
}

impl Context {
    fn caller(&self) -> (&str, &str) {
        (&self.principal, self.caller.host.trim_start_matches('/'))
    }

    /// Whether who asks may do this, and if not, the code that says so.
    pub(super) fn may(&self, state: &State, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        let Some(authorizer) = &state.settings.authorizer else { return Ok(()) };
        if authorizer.allows(&state.acls, self.caller(), operation, resource) {
            Ok(())
        } else {
            Err(resource.refusal())
        }
    }

    /// Whether who asks may have a producer id without a transactional id.
    pub(super) fn may_write_somewhere(&self, state: &State) -> Result<(), ErrorCode> {
        let outcome = self.may(state, Operation::IdempotentWrite, Resource::Cluster);
        match &state.settings.authorizer {
            Some(authorizer) if authorizer.allows_some_write(&state.acls, self.caller()) => Ok(()),
            _ => outcome,
        }
    }

    /// `cluster_authorized_operations`: none for who may not describe the cluster.
    pub(super) fn cluster_operations(&self, state: &State) -> i32 {
        let may = self.may(state, Describe, Resource::Cluster);
        may.map_or(0, |()| self.operations(state, Resource::Cluster))
    }

    /// `authorized_operations`: a bit for each operation that who asks may do.
    pub(super) fn operations(&self, state: &State, resource: Resource<'_>) -> i32 {
        let allowed = resource.operations().iter().filter(|operation| self.may(state, **operation, resource).is_ok());
        allowed.fold(0, |bits, operation| bits | 1 << *operation as i32)
    }
}
