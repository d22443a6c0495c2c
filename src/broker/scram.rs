// DescribeUserScramCredentials: v0. AlterUserScramCredentials: v0.
//! Users' SCRAM credentials (KIP-554). What is kept is what a SASL listener verifies by: the salt and the salted password; a
//! password itself never comes here.
//!
//! - Iterations are 4,096 to 16,384. A user that is named twice in a request, be it in a deletion and an upsertion, is refused and
//!   left as it was; the others are done.
//! - Nobody or null in a description is every user.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::state::{Refusal, plain, told};
use crate::error::ErrorCode;
use crate::wire::messages::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
use crate::wire::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use crate::wire::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use crate::wire::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};
use bytes::Bytes;
use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha512};
use std::collections::{BTreeMap, BTreeSet};

/// How often the password was hashed, at least and at most.
const MIN_ITERATIONS: i32 = 4096;
const MAX_ITERATIONS: i32 = 16384;

/// The mechanisms there are, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl Mechanism {
    fn from_wire(number: i8) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|mechanism| *mechanism as i8 == number)
    }
}

/// What one user proves itself by, with one mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

impl Credential {
    /// Of a password, with a salt of its own.
    pub(super) fn of_password(mechanism: Mechanism, password: &str) -> Result<Self, getrandom::Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        let hashed = |mut salted: Vec<u8>| {
            let iterations = MIN_ITERATIONS.unsigned_abs();
            match mechanism {
                Mechanism::Sha256 => pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted),
                Mechanism::Sha512 => pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, iterations, &mut salted),
            }
            salted
        };
        let salted_password = hashed(vec![0; if mechanism == Mechanism::Sha256 { 32 } else { 64 }]).into();
        Ok(Self { iterations: MIN_ITERATIONS, salt: Bytes::copy_from_slice(&salt), salted_password })
    }
}

/// By user and mechanism.
pub(super) type Credentials = BTreeMap<String, BTreeMap<Mechanism, Credential>>;

/// What becomes of one user.
enum Change<'a> {
    Delete(Mechanism),
    Upsert(Mechanism, &'a ScramCredentialUpsertion),
}

impl Api for AlterUserScramCredentialsRequest {
    async fn serve(self, on: Context) -> AlterUserScramCredentialsResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::Alter, Resource::Cluster) {
            return self.refuse(code);
        }
        let deletions = self.deletions.iter().map(|deletion| (&*deletion.name, deleted(&state.scram, deletion)));
        let upsertions = self.upsertions.iter().map(|upsertion| (&*upsertion.name, upserted(upsertion)));
        let mut changes: BTreeMap<&str, Result<Change<'_>, Refusal>> = BTreeMap::new();
        for (user, change) in deletions.chain(upsertions) {
            let twice = "A user credential cannot be altered twice in the same request";
            changes
                .entry(user)
                .and_modify(|first| {
                    if first.is_ok() {
                        *first = Err((ErrorCode::DuplicateResource, twice.into()));
                    }
                })
                .or_insert(change);
        }
        let results = changes.into_iter().map(|(user, change)| {
            let outcome = change.map(|change| apply(&mut state.scram, user, &change));
            altered(user, outcome)
        });
        AlterUserScramCredentialsResponse::default().with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> AlterUserScramCredentialsResponse {
        let deleted = self.deletions.iter().map(|deletion| &*deletion.name);
        let users: BTreeSet<&str> = deleted.chain(self.upsertions.iter().map(|upsertion| &*upsertion.name)).collect();
        let results = users.into_iter().map(|user| altered(user, Err(plain(code))));
        AlterUserScramCredentialsResponse::default().with_results(results.collect())
    }
}

fn altered(user: &str, outcome: Result<(), Refusal>) -> AlterUserScramCredentialsResult {
    let (code, why) = told(outcome);
    AlterUserScramCredentialsResult::default()
        .with_user(user.to_owned().into())
        .with_error_code(code)
        .with_error_message(why)
}

fn checked(user: &str, mechanism: i8) -> Result<Mechanism, Refusal> {
    if user.is_empty() {
        return Err((ErrorCode::UnacceptableCredential, "Username must not be empty".into()));
    }
    let unknown = (ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism".into());
    Mechanism::from_wire(mechanism).ok_or(unknown)
}

fn deleted<'a>(known: &Credentials, deletion: &ScramCredentialDeletion) -> Result<Change<'a>, Refusal> {
    let mechanism = checked(&deletion.name, deletion.mechanism)?;
    if known.get(&*deletion.name).is_some_and(|mechanisms| mechanisms.contains_key(&mechanism)) {
        return Ok(Change::Delete(mechanism));
    }
    Err((ErrorCode::ResourceNotFound, "Attempt to delete a user credential that does not exist".into()))
}

fn upserted(upsertion: &ScramCredentialUpsertion) -> Result<Change<'_>, Refusal> {
    let mechanism = checked(&upsertion.name, upsertion.mechanism)?;
    let too = |much: &str| Err((ErrorCode::UnacceptableCredential, format!("Too {much} iterations")));
    match upsertion.iterations {
        iterations if iterations < MIN_ITERATIONS => too("few"),
        iterations if iterations > MAX_ITERATIONS => too("many"),
        _ => Ok(Change::Upsert(mechanism, upsertion)),
    }
}

fn apply(credentials: &mut Credentials, user: &str, change: &Change<'_>) {
    let own = credentials.entry(user.to_owned()).or_default();
    match change {
        Change::Delete(mechanism) => drop(own.remove(mechanism)),
        Change::Upsert(mechanism, upsertion) => {
            let credential = Credential {
                iterations: upsertion.iterations,
                // Out of the request's frame.
                salt: Bytes::copy_from_slice(&upsertion.salt),
                salted_password: Bytes::copy_from_slice(&upsertion.salted_password),
            };
            own.insert(*mechanism, credential);
        }
    }
    if own.is_empty() {
        credentials.remove(user);
    }
}

impl Api for DescribeUserScramCredentialsRequest {
    async fn serve(self, on: Context) -> DescribeUserScramCredentialsResponse {
        let state = on.state();
        if let Err(code) = on.may(&state, Operation::Describe, Resource::Cluster) {
            return self.refuse(code);
        }
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for user in self.users.iter().flatten() {
            *wanted.entry(&*user.name).or_default() += 1;
        }
        if wanted.is_empty() {
            wanted.extend(state.scram.keys().map(|user| (&**user, 1)));
        }
        let results = wanted.into_iter().map(|(user, times)| described(&state.scram, user, times));
        DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeUserScramCredentialsResponse {
        DescribeUserScramCredentialsResponse::default()
            .with_error_code(code.to_wire())
            .with_error_message(Some(code.name().into()))
    }
}

fn described(credentials: &Credentials, user: &str, times: usize) -> DescribeUserScramCredentialsResult {
    let result = DescribeUserScramCredentialsResult::default().with_user(user.to_owned().into());
    let failed = |code: ErrorCode, why: String| {
        result.clone().with_error_code(code.to_wire()).with_error_message(Some(why.into()))
    };
    if times > 1 {
        let why = format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
        return failed(ErrorCode::DuplicateResource, why);
    }
    let Some(own) = credentials.get(user) else {
        let why = format!("Attempt to describe a user credential that does not exist: {user}");
        return failed(ErrorCode::ResourceNotFound, why);
    };
    let infos = own.iter().map(|(mechanism, credential)| {
        CredentialInfo::default().with_mechanism(*mechanism as i8).with_iterations(credential.iterations)
    });
    result.with_error_message(None).with_credential_infos(infos.collect())
}
