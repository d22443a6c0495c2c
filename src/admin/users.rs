//! Users of SCRAM (KIP-554). Passwords are hashed here: a broker is given what it needs to know one, and not the password.

use super::ask::{Doing, Way};
use super::places::{AtAnybody, AtController};
use super::words::words;
use super::{Admin, Outcomes, outcome, text};
use crate::error::{Error, ErrorKind, Result};
use crate::sasl::Scram;
use crate::secret::Secret;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
use crate::wire::messages::describe_user_scram_credentials_request::UserName;
use crate::wire::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use crate::wire::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Instant;

words! {
    /// A mechanism of SCRAM. A user has a password for each.
    ScramMechanism {
        /// `SCRAM-SHA-256`.
        Sha256 = 1, "SCRAM-SHA-256";
        /// `SCRAM-SHA-512`.
        Sha512 = 2, "SCRAM-SHA-512";
    }
}

/// What Kafka takes.
const ITERATIONS: RangeInclusive<u32> = 4096..=16384;

/// What a cluster tells of a user's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScramCredential {
    /// What it is for.
    pub mechanism: ScramMechanism,
    /// How often it was hashed.
    pub iterations: i32,
}

/// A change of a user's password for one mechanism.
#[derive(Debug, Clone)]
pub struct UserChange {
    user: String,
    mechanism: ScramMechanism,
    /// `None`: it is to go.
    password: Option<Secret>,
    iterations: u32,
}

impl UserChange {
    /// The user's password is this from now on, hashed 4,096 times (for SHA-512 too), as Kafka's own tools do it.
    pub fn upsert(user: impl Into<String>, mechanism: ScramMechanism, password: impl Into<Secret>) -> Self {
        let (user, password) = (user.into(), Some(password.into()));
        Self { user, mechanism, password, iterations: *ITERATIONS.start() }
    }

    /// The user has no such password any more.
    pub fn delete(user: impl Into<String>, mechanism: ScramMechanism) -> Self {
        Self { user: user.into(), mechanism, password: None, iterations: 0 }
    }

    /// How often the password is hashed: 4,096 to 16,384 times. More cost who guesses more, and each log-in too.
    pub fn iterations(self, iterations: u32) -> Self {
        Self { iterations, ..self }
    }

    fn to_wire(&self) -> Result<Wire> {
        let (name, mechanism) = (str_bytes(&self.user), self.mechanism.to_wire());
        let Some(password) = self.password.clone() else {
            return Ok(Wire::Deletion(ScramCredentialDeletion::default().with_name(name).with_mechanism(mechanism)));
        };
        let invalid = |message| Error::with_message(ErrorKind::InvalidArgument, message);
        if !ITERATIONS.contains(&self.iterations) {
            let message = format!("Kafka takes {ITERATIONS:?} iterations, not {}", self.iterations);
            return Err(invalid(message));
        }
        let scram = match self.mechanism {
            ScramMechanism::Sha256 => Scram::sha256(&*self.user, password),
            ScramMechanism::Sha512 => Scram::sha512(&*self.user, password),
            ScramMechanism::Unknown(_) => return Err(invalid(format!("{} can't be hashed for", self.mechanism))),
        };
        let (salt, salted) = scram.new_credential(self.iterations)?;
        let upsertion = ScramCredentialUpsertion::default()
            .with_name(name)
            .with_mechanism(mechanism)
            .with_iterations(self.iterations as i32) // within bounds
            .with_salt(salt.into())
            .with_salted_password(salted.to_vec().into());
        Ok(Wire::Upsertion(upsertion))
    }
}

enum Wire {
    Deletion(ScramCredentialDeletion),
    Upsertion(ScramCredentialUpsertion),
}

impl Admin {
    /// The users of SCRAM and what passwords they have, by mechanism and without the passwords; of all users if none is named.
    /// DescribeUserScramCredentials (brokers from 2.7).
    ///
    /// # Errors
    /// Per user: `ResourceNotFound`. For all: `Denied` (Describe on the cluster), `UnsupportedVersion`, or no broker answers in
    /// time.
    pub async fn describe_users(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<Vec<ScramCredential>>> {
        let names: BTreeMap<String, ()> = names.into_iter().map(|name| (name.as_ref().to_owned(), ())).collect();
        if names.is_empty() {
            let read = |answer, _: Way<'_, ()>| Ok(users(answer)?.into_iter().collect());
            let request = |_: Way<'_, ()>| DescribeUserScramCredentialsRequest::default().with_users(None);
            return self.ask_one(AtAnybody).send_one(request, read).await;
        }
        let ask = self.ask(AtAnybody, names);
        ask.send(
            |names, _| {
                let names = names.iter().map(|(name, ())| UserName::default().with_name(str_bytes(name)));
                DescribeUserScramCredentialsRequest::default().with_users(Some(names.collect()))
            },
            |answer, _| users(answer),
        )
        .await
    }

    /// Gives users passwords and takes them away. A broker takes one change of a user at a time: several go one after the
    /// other, in their order, until one fails. The hashing takes some milliseconds for each. AlterUserScramCredentials, to the
    /// controller (brokers from 2.7).
    ///
    /// # Errors
    /// Per user: `ResourceNotFound` for a password to delete that is not there, `UnacceptableCredential`, `Denied` (Alter on the
    /// cluster). For all: `InvalidArgument` for a number of iterations that Kafka does not take, `UnsupportedVersion`, or no
    /// controller in time.
    pub async fn alter_users(&self, changes: impl IntoIterator<Item = UserChange>) -> Result<Outcomes<()>> {
        let deadline = self.deadline();
        let mut waves: Vec<BTreeMap<String, Wire>> = Vec::new();
        for change in changes {
            let wire = change.to_wire()?;
            match waves.iter_mut().find(|wave| !wave.contains_key(&change.user)) {
                Some(wave) => drop(wave.insert(change.user, wire)),
                None => waves.push([(change.user, wire)].into()),
            }
        }
        let mut outcomes: Outcomes<()> = Outcomes::new();
        for (number, mut wave) in waves.into_iter().enumerate() {
            wave.retain(|user, _| !outcomes.get(user).is_some_and(Result::is_err));
            let users: Vec<String> = wave.keys().cloned().collect();
            match self.alter(wave, deadline).await {
                Ok(told) => outcomes.extend(told),
                Err(error) if number == 0 => return Err(error),
                Err(error) => outcomes.extend(users.into_iter().map(|user| (user, Err(error.clone())))),
            }
        }
        Ok(outcomes)
    }

    async fn alter(&self, changes: BTreeMap<String, Wire>, deadline: Instant) -> Result<Outcomes<()>> {
        let ask = self.ask(AtController, changes).doing(Doing::Change).until(deadline);
        ask.send(
            |users, _| {
                let (mut deletions, mut upsertions) = (Vec::new(), Vec::new());
                for (_, change) in users {
                    match change {
                        Wire::Deletion(deletion) => deletions.push(deletion.clone()),
                        Wire::Upsertion(upsertion) => upsertions.push(upsertion.clone()),
                    }
                }
                AlterUserScramCredentialsRequest::default().with_deletions(deletions).with_upsertions(upsertions)
            },
            |answer, _| {
                let results = answer.results.into_iter();
                Ok(results.map(|one| (text(&one.user), outcome(one.error_code, one.error_message, None))).collect())
            },
        )
        .await
    }
}

type Users = Vec<(String, Result<Vec<ScramCredential>>)>;

fn users(answer: DescribeUserScramCredentialsResponse) -> Result<Users> {
    outcome(answer.error_code, answer.error_message, None)?;
    let user = |one: DescribeUserScramCredentialsResult| {
        let told = outcome(one.error_code, one.error_message, None).map(|()| {
            let credentials = one.credential_infos.iter().map(|one| ScramCredential {
                mechanism: ScramMechanism::from_wire(one.mechanism),
                iterations: one.iterations,
            });
            let mut credentials: Vec<_> = credentials.collect();
            credentials.sort_by_key(|credential| credential.mechanism); // Kafka has them in any order
            credentials
        });
        (text(&one.user), told)
    };
    Ok(answer.results.into_iter().map(user).collect())
}
