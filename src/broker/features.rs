// UpdateFeatures: v0-2.
//! Feature levels (KIP-584): `transaction.version`, which is 0 to 2.
//!
//! - All updates of a request are done, or none. v0 can't lower a level, v1 says whether it is to go up (1), down (2) or down
//!   unsafely (3), which are the same here; v2 has no result per feature any more.
//! - A level of 0 is not listed. Clients see levels when they connect.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::{Refusal, State};
use crate::error::ErrorCode;
use crate::wire::messages::update_features_request::FeatureUpdateKey;
use crate::wire::messages::update_features_response::UpdatableFeatureResult;
use crate::wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

pub(super) const TRANSACTION_VERSION: &str = "transaction.version";
/// The highest level there is.
pub(super) const LATEST: i16 = 2;

const UPGRADE: i8 = 1;

impl Api for UpdateFeaturesRequest {
    async fn serve(self, on: Context) -> UpdateFeaturesResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::Alter, Resource::Cluster) {
            return self.refuse(code);
        }
        let now = state.settings.transaction_version;
        if let Err((code, why)) = self.feature_updates.iter().try_for_each(|update| checked(update, now)) {
            let why = format!("The update failed for all features since the following feature had an error: {why}");
            return self.refuse(code).with_error_message(Some(why.into()));
        }
        if let Some(update) = self.feature_updates.last().filter(|_| !self.validate_only) {
            state.finalize(update.max_version_level);
        }
        let results = self.feature_updates.iter().filter(|_| on.version <= 1).map(|update| {
            UpdatableFeatureResult::default().with_feature(update.feature.clone()).with_error_message(None)
        });
        UpdateFeaturesResponse::default().with_error_message(None).with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> UpdateFeaturesResponse {
        UpdateFeaturesResponse::default().with_error_code(code.to_wire()).with_error_message(Some(code.name().into()))
    }
}

fn checked(update: &FeatureUpdateKey, now: i16) -> Result<(), Refusal> {
    let level = update.max_version_level;
    let why = match (level, update.upgrade_type) {
        (_, kind) if !(UPGRADE..=3).contains(&kind) => "The controller does not support the given upgrade type.",
        _ if *update.feature != *TRANSACTION_VERSION => "The controller does not support this feature.",
        (level, _) if !(0..=LATEST).contains(&level) => "The controller supports versions 0 to 2.",
        (level, UPGRADE) if level < now => {
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
        }
        (level, kind) if level > now && kind != UPGRADE => "Can't downgrade to a newer version.",
        _ => return Ok(()),
    };
    let why = format!("Invalid update version {level} for feature {}. {why}", &*update.feature);
    Err((ErrorCode::InvalidUpdateVersion, why))
}

impl State {
    /// Finalizes a level of `transaction.version`.
    pub(super) fn finalize(&mut self, level: i16) {
        self.settings.transaction_version = level;
        self.features_epoch += 1;
    }
}
