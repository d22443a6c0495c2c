// ListConfigResources: v0-1.
//! What there is that can have configs (KIP-1142). v0 was asked for client metrics alone, v1 names the types.
//!
//! Groups and client metrics are listed that have configs of their own. A type that is named twice is listed once.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::resource_configs::ResourceType;
use super::state::State;
use crate::error::ErrorCode;
use crate::wire::messages::list_config_resources_response::ConfigResource;
use crate::wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use std::collections::BTreeSet;

const TOPIC: i8 = ResourceType::Topic as i8;
const BROKER: i8 = ResourceType::Broker as i8;
/// Has no configs here.
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = ResourceType::ClientMetrics as i8;
const GROUP: i8 = ResourceType::Group as i8;
const TYPES: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

impl Api for ListConfigResourcesRequest {
    async fn serve(self, on: Context) -> ListConfigResourcesResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::DescribeConfigs, Resource::Cluster) {
            return self.refuse(code);
        }
        let wanted = match &self.resource_types[..] {
            _ if on.version < 1 => &[CLIENT_METRICS][..],
            [] => &TYPES,
            named => named,
        };
        if wanted.iter().any(|kind| !TYPES.contains(kind)) {
            return self.refuse(ErrorCode::UnsupportedVersion);
        }
        let mut seen = BTreeSet::new();
        let listed = wanted.iter().filter(|kind| seen.insert(**kind)).flat_map(|kind| {
            let resource = |name: String| ConfigResource::default().with_resource_name(name.into());
            let names = names(&state, *kind).into_iter();
            names.map(move |name| resource(name).with_resource_type(*kind))
        });
        ListConfigResourcesResponse::default().with_config_resources(listed.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ListConfigResourcesResponse {
        ListConfigResourcesResponse::default().with_error_code(code.to_wire())
    }
}

fn names(state: &State, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => state.topics.keys().map(|name| name.to_string()).collect(),
        BROKER | BROKER_LOGGER => state.alive().map(|(id, _)| id.to_string()).collect(),
        kind => {
            let set = state.configs.iter().filter(|((of, _), set)| *of as i8 == kind && !set.is_empty());
            set.map(|((_, name), _)| name.clone()).collect()
        }
    }
}
