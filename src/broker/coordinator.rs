// FindCoordinator: v0-6.
//! Which broker coordinates a group or a transactional id: by hash, unless a test moved it.
//!
//! - v1 adds the kind (0 group, 1 transaction), v4 takes many keys at once, v6 knows share groups (kind 2, not served).

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::State;
use crate::error::ErrorCode;
use crate::ids::NodeId;
use crate::wire::StrBytes;
use crate::wire::messages::find_coordinator_response::Coordinator;
use crate::wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use std::sync::Arc;
use tokio::time::Instant;

/// The kind of a group's coordinator.
pub(super) const GROUP: i8 = 0;
/// The kind of a transactional id's coordinator.
pub(super) const TRANSACTION: i8 = 1;

impl Api for FindCoordinatorRequest {
    async fn serve(self, on: Context) -> FindCoordinatorResponse {
        let state = on.state();
        let find = |key: &StrBytes| find(&on, &state, self.key_type, key);
        if on.version >= 4 {
            return FindCoordinatorResponse::default()
                .with_coordinators(self.coordinator_keys.iter().map(find).collect());
        }
        let found = find(&self.key);
        let response = FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port);
        if on.version >= 1 { response.with_error_message(found.error_message) } else { response }
    }

    fn refuse(&self, code: ErrorCode) -> FindCoordinatorResponse {
        if self.coordinator_keys.is_empty() {
            return FindCoordinatorResponse::default().with_error_code(code.to_wire()).with_node_id(BrokerId(-1));
        }
        let keys = self.coordinator_keys.iter().map(|key| nobody(key, code));
        FindCoordinatorResponse::default().with_coordinators(keys.collect())
    }
}

fn nobody(key: &StrBytes, code: ErrorCode) -> Coordinator {
    Coordinator::default()
        .with_key(key.clone())
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(code.to_wire())
}

fn find(on: &Context, state: &State, kind: i8, key: &StrBytes) -> Coordinator {
    let resource = match kind {
        GROUP => Resource::Group(key),
        TRANSACTION => Resource::TransactionalId(key),
        _ => return nobody(key, ErrorCode::InvalidRequest),
    };
    if let Err(code) = on.may(state, Operation::Describe, resource) {
        return nobody(key, code);
    }
    let found = state.coordinator(kind, key).and_then(|id| Some((id, state.nodes.get(&id)?)));
    let Some((id, node)) = found else { return nobody(key, ErrorCode::CoordinatorNotAvailable) };
    let (host, port) = node.endpoint.host_and_port();
    Coordinator::default()
        .with_key(key.clone())
        .with_node_id(BrokerId(id.0))
        .with_host(host.to_string().into())
        .with_port(i32::from(port))
}

impl State {
    /// Whoever waits for a rebalance of this broker's groups is answered `NOT_COORDINATOR`.
    pub(super) fn unload_groups_of(&mut self, node: NodeId, now: Instant) {
        let own = |id: &&Arc<str>| self.coordinator(GROUP, id) == Some(node);
        let own: Vec<_> = self.groups.keys().filter(own).cloned().collect();
        for id in own {
            self.groups.entry(id).and_modify(|group| group.unload(now));
        }
    }
}

impl Context {
    /// Whether this broker coordinates the group.
    pub(super) fn coordinates(&self, state: &State, kind: i8, key: &str) -> Result<(), ErrorCode> {
        if state.nodes.get(&self.node).is_none_or(|node| node.cut_off.is_some()) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        match state.coordinator(kind, key) {
            Some(node) if node == self.node => Ok(()),
            _ => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Whether who asks may do this to the group, and if so, whether this broker coordinates it.
    pub(super) fn coordinates_group(&self, state: &State, operation: Operation, id: &str) -> Result<(), ErrorCode> {
        self.may(state, operation, Resource::Group(id))?;
        self.coordinates(state, GROUP, id)
    }

    /// Whether who asks may use the transactional id, and if so, whether this broker coordinates it.
    pub(super) fn coordinates_transaction(&self, state: &State, id: &str) -> Result<(), ErrorCode> {
        self.may(state, Operation::Write, Resource::TransactionalId(id))?;
        self.coordinates(state, TRANSACTION, id)
    }
}
