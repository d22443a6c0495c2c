// ApiVersions: v0-4.
//! What the broker has, in which versions.
//!
//! - The response header is the old one in every version.
//! - A version above ours is answered by error 35 in the v0 layout, so that the client can come down (KIP-511). Apache lists
//!   ApiVersions alone there; [others](super::Emulation) all they have, or close the connection.
//! - v3 names the client's software and is flexible; names that can't be are `INVALID_REQUEST`.

use super::api::{Answer, Api, ApiKey};
use super::emulation::TooNew;
use super::features::{LATEST, TRANSACTION_VERSION};
use super::{Context, Emulation};
use crate::error::{ErrorCode, Result};
use crate::wire::StrBytes;
use crate::wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use crate::wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::request::encode_response;

impl Api for ApiVersionsRequest {
    async fn serve(self, on: Context) -> ApiVersionsResponse {
        let legal = |name: &str| {
            !name.is_empty()
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.ends_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        };
        if on.version >= 3 && !(legal(&self.client_software_name) && legal(&self.client_software_version)) {
            return self.refuse(ErrorCode::InvalidRequest);
        }
        on.session().versions_told();
        let emulation = on.shared.emulation;
        let response = listing(emulation, ApiKey::ALL);
        if on.version < 3 || !emulation.has_features() {
            return response;
        }
        let (level, epoch) = {
            let state = on.state();
            (state.settings.transaction_version, state.features_epoch)
        };
        // A feature with the highest level that there is, and the one that the cluster is at.
        let features = [("group.version", 1, 1), (TRANSACTION_VERSION, LATEST, level)];
        let supported = features.iter().map(|(name, max, _)| {
            SupportedFeatureKey::default().with_name(StrBytes::from_static_str(name)).with_max_version(*max)
        });
        let finalized = features.iter().filter(|(_, _, level)| *level > 0).map(|(name, _, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_max_version_level(*level)
                .with_min_version_level(*level)
        });
        response
            .with_supported_features(supported.collect())
            .with_finalized_features_epoch(epoch)
            .with_finalized_features(finalized.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ApiVersionsResponse {
        ApiVersionsResponse::default().with_error_code(code.to_wire())
    }
}

/// The answer to a version that the broker has not got.
pub(super) fn too_new(emulation: Emulation, correlation_id: i32) -> Result<Answer> {
    let listed: &[ApiKey] = match emulation.answers_too_new() {
        TooNew::ListsItself => &[ApiKey::ApiVersions],
        TooNew::ListsAll => ApiKey::ALL,
        TooNew::Reset => return Ok(Answer::Close),
    };
    let response = listing(emulation, listed).with_error_code(ErrorCode::UnsupportedVersion.to_wire());
    encode_response::<ApiVersionsRequest>(&response, 0, correlation_id).map(Answer::Frame)
}

fn listing(emulation: Emulation, apis: &[ApiKey]) -> ApiVersionsResponse {
    let listed = apis.iter().filter_map(|api| {
        let (min, max) = emulation.listed(*api)?;
        Some(ApiVersion::default().with_api_key(api.to_wire()).with_min_version(min).with_max_version(max))
    });
    ApiVersionsResponse::default().with_api_keys(listed.collect())
}
