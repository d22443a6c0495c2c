// DescribeAcls: v1-3. CreateAcls: v1-3. DeleteAcls: v1-3.
//! ACLs, made, listed and deleted. What follows from them is in `authorizer`; without an authorizer each of these is
//! answered `SECURITY_DISABLED`.
//!
//! - Filters: null is any name, principal or host; 1 any type, pattern, operation or permission; the pattern MATCH (2) finds
//!   what is about a name, be it by itself, by a prefix or by `*`.
//! - v2 is flexible, v3 knows resources that are users.
//! - Apache closes the connection on a type, pattern, operation or permission of 0, which no client sends; here it is
//!   refused like any other unknown number.

use super::Context;
use super::api::Api;
use super::authorizer::{ALLOW, Acl, CLUSTER_NAME, DENY, LITERAL, Operation, PREFIXED, Resource};
use super::state::{Refusal, plain};
use crate::error::ErrorCode;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::create_acls_request::AclCreation;
use crate::wire::messages::create_acls_response::AclCreationResult;
use crate::wire::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use crate::wire::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use crate::wire::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};

/// What a filter says for any.
const ANY: i8 = 1;
/// Every pattern that is about a name.
const MATCH: i8 = 2;
/// The largest numbers of resource types and of operations.
const LAST_RESOURCE_TYPE: i8 = 7;
const LAST_OPERATION: i8 = 15;
/// The type of the cluster.
const CLUSTER: i8 = 4;

/// Whether the cluster keeps ACLs, and who asks may do this to it.
fn admitted(on: &Context, operation: Operation, why: &str) -> Result<(), Refusal> {
    let state = on.state();
    on.may(&state, operation, Resource::Cluster).map_err(plain)?;
    match state.settings.authorizer {
        Some(_) => Ok(()),
        None => Err((ErrorCode::SecurityDisabled, why.to_owned())),
    }
}

impl Api for CreateAclsRequest {
    async fn serve(self, on: Context) -> CreateAclsResponse {
        if let Err(refusal) = admitted(&on, Operation::Alter, "No Authorizer is configured.") {
            return created(&self, |_| Err(refusal.clone()));
        }
        if self.creations.iter().any(names_no_one_thing) {
            return self.refuse(ErrorCode::UnknownServerError);
        }
        let mut state = on.state();
        created(&self, |creation| {
            state.acls.insert(checked(creation)?);
            Ok(())
        })
    }

    fn refuse(&self, code: ErrorCode) -> CreateAclsResponse {
        created(self, |_| Err(plain(code)))
    }
}

fn created(
    request: &CreateAclsRequest,
    mut create: impl FnMut(&AclCreation) -> Result<(), Refusal>,
) -> CreateAclsResponse {
    let results = request.creations.iter().map(|creation| match create(creation) {
        Ok(()) => AclCreationResult::default().with_error_message(None),
        Err((code, why)) => {
            AclCreationResult::default().with_error_code(code.to_wire()).with_error_message(Some(why.into()))
        }
    });
    CreateAclsResponse::default().with_results(results.collect())
}

/// What only a filter can say. Apache stumbles over it and does nothing of the whole request.
fn names_no_one_thing(creation: &AclCreation) -> bool {
    let pattern = matches!(creation.resource_pattern_type, ANY | MATCH);
    pattern || [creation.resource_type, creation.operation, creation.permission_type].contains(&ANY)
}

fn checked(creation: &AclCreation) -> Result<Acl, Refusal> {
    let invalid = |why: String| Err((ErrorCode::InvalidRequest, why));
    if creation.resource_type == CLUSTER && *creation.resource_name != *CLUSTER_NAME {
        return invalid(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}"));
    }
    if creation.resource_name.is_empty() {
        return invalid("Invalid empty resource name".into());
    }
    if !(ANY + 1..=LAST_RESOURCE_TYPE).contains(&creation.resource_type) {
        return invalid(format!("Invalid resourceType {}", creation.resource_type));
    }
    if !matches!(creation.resource_pattern_type, LITERAL | PREFIXED) {
        return invalid(format!("Invalid patternType {}", creation.resource_pattern_type));
    }
    if !(ANY + 1..=LAST_OPERATION).contains(&creation.operation) {
        return invalid(format!("Invalid operation {}", creation.operation));
    }
    if !matches!(creation.permission_type, DENY | ALLOW) {
        return invalid(format!("Invalid permissionType {}", creation.permission_type));
    }
    if !creation.principal.contains(':') {
        return invalid(format!(
            "Could not parse principal from `{}` (no colon is present separating the principal type from the principal name)",
            creation.principal
        ));
    }
    Ok(Acl {
        resource_type: creation.resource_type,
        name: creation.resource_name.to_string(),
        pattern: creation.resource_pattern_type,
        principal: creation.principal.to_string(),
        host: creation.host.to_string(),
        operation: creation.operation,
        permission: creation.permission_type,
    })
}

/// Which ACLs are meant.
struct Filter<'a> {
    resource_type: i8,
    name: Option<&'a str>,
    pattern: i8,
    principal: Option<&'a str>,
    host: Option<&'a str>,
    operation: i8,
    permission: i8,
}

macro_rules! filter {
    ($request:expr) => {
        Filter {
            resource_type: $request.resource_type_filter,
            name: $request.resource_name_filter.as_deref(),
            pattern: $request.pattern_type_filter,
            principal: $request.principal_filter.as_deref(),
            host: $request.host_filter.as_deref(),
            operation: $request.operation,
            permission: $request.permission_type,
        }
    };
}

impl Filter<'_> {
    /// Whether every number in it is one of Kafka's.
    fn check(&self) -> Result<(), Refusal> {
        let known =
            (ANY..=LAST_RESOURCE_TYPE).contains(&self.resource_type) && (ANY..=PREFIXED).contains(&self.pattern);
        if !known {
            return Err((ErrorCode::InvalidRequest, "Unknown patternFilter.".into()));
        }
        let known = (ANY..=LAST_OPERATION).contains(&self.operation) && (ANY..=ALLOW).contains(&self.permission);
        if known { Ok(()) } else { Err((ErrorCode::InvalidRequest, "Unknown entryFilter.".into())) }
    }

    fn matches(&self, acl: &Acl) -> bool {
        let is = |wanted: i8, has: i8| wanted == ANY || wanted == has;
        let names = |wanted: Option<&str>, has: &str| wanted.is_none_or(|wanted| wanted == has);
        let about = match (self.pattern, self.name) {
            (MATCH, Some(name)) if acl.pattern == PREFIXED => name.starts_with(&acl.name),
            (MATCH, Some(name)) => acl.name == name || acl.name == "*",
            (MATCH, None) => true,
            (pattern, name) => is(pattern, acl.pattern) && names(name, &acl.name),
        };
        about
            && is(self.resource_type, acl.resource_type)
            && names(self.principal, &acl.principal)
            && names(self.host, &acl.host)
            && is(self.operation, acl.operation)
            && is(self.permission, acl.permission)
    }
}

impl Api for DescribeAclsRequest {
    async fn serve(self, on: Context) -> DescribeAclsResponse {
        if let Err((code, why)) = admitted(&on, Operation::Describe, "No Authorizer is configured on the broker") {
            return self.refuse(code).with_error_message(Some(why.into()));
        }
        let filter = filter!(self);
        let mut resources: Vec<DescribeAclsResource> = Vec::new();
        for acl in on.state().acls.iter().filter(|acl| filter.matches(acl)) {
            let described = AclDescription::default()
                .with_principal(str_bytes(&acl.principal))
                .with_host(str_bytes(&acl.host))
                .with_operation(acl.operation)
                .with_permission_type(acl.permission);
            match resources.last_mut() {
                Some(last)
                    if (last.resource_type, &*last.resource_name, last.pattern_type)
                        == (acl.resource_type, &*acl.name, acl.pattern) =>
                {
                    last.acls.push(described);
                }
                _ => resources.push(
                    DescribeAclsResource::default()
                        .with_resource_type(acl.resource_type)
                        .with_resource_name(str_bytes(&acl.name))
                        .with_pattern_type(acl.pattern)
                        .with_acls(vec![described]),
                ),
            }
        }
        DescribeAclsResponse::default().with_error_message(None).with_resources(resources)
    }

    fn refuse(&self, code: ErrorCode) -> DescribeAclsResponse {
        DescribeAclsResponse::default().with_error_code(code.to_wire()).with_error_message(Some(code.name().into()))
    }
}

impl Api for DeleteAclsRequest {
    async fn serve(self, on: Context) -> DeleteAclsResponse {
        if let Err(refusal) = admitted(&on, Operation::Alter, "No Authorizer is configured.") {
            return deleted(&self, |_| Err(refusal.clone()));
        }
        let mut state = on.state();
        // What two filters find is told by both.
        let response = deleted(&self, |filter| {
            filter.check()?;
            Ok(state.acls.iter().filter(|acl| filter.matches(acl)).map(matching).collect())
        });
        let filters: Vec<_> = self.filters.iter().map(|filter| filter!(filter)).collect();
        state.acls.retain(|acl| !filters.iter().any(|filter| filter.check().is_ok() && filter.matches(acl)));
        response
    }

    fn refuse(&self, code: ErrorCode) -> DeleteAclsResponse {
        deleted(self, |_| Err(plain(code)))
    }
}

fn deleted(
    request: &DeleteAclsRequest,
    delete: impl Fn(&Filter<'_>) -> Result<Vec<DeleteAclsMatchingAcl>, Refusal>,
) -> DeleteAclsResponse {
    let results = request.filters.iter().map(|filter| match delete(&filter!(filter)) {
        Ok(matching) => DeleteAclsFilterResult::default().with_error_message(None).with_matching_acls(matching),
        Err((code, why)) => {
            DeleteAclsFilterResult::default().with_error_code(code.to_wire()).with_error_message(Some(why.into()))
        }
    });
    DeleteAclsResponse::default().with_filter_results(results.collect())
}

fn matching(acl: &Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(acl.resource_type)
        .with_resource_name(str_bytes(&acl.name))
        .with_pattern_type(acl.pattern)
        .with_principal(str_bytes(&acl.principal))
        .with_host(str_bytes(&acl.host))
        .with_operation(acl.operation)
        .with_permission_type(acl.permission)
}
