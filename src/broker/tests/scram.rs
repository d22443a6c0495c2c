//! SCRAM credentials over the wire (KIP-554).

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
use crate::wire::messages::describe_user_scram_credentials_request::UserName;
use crate::wire::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

fn upsert(user: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(user.to_owned().into())
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from_static(b"salted"))
}

fn delete(user: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default().with_name(user.to_owned().into()).with_mechanism(mechanism)
}

impl Peer {
    /// The code of each user, by name.
    async fn alter_scram(
        &mut self,
        deletions: Vec<ScramCredentialDeletion>,
        upsertions: Vec<ScramCredentialUpsertion>,
    ) -> Vec<(String, Option<ErrorCode>)> {
        let request = AlterUserScramCredentialsRequest::default().with_deletions(deletions).with_upsertions(upsertions);
        let results = self.call(0, &request).await.results.into_iter();
        results.map(|result| (result.user.to_string(), ErrorCode::from_wire(result.error_code))).collect()
    }

    /// Each user's code, mechanisms and iterations.
    async fn describe_scram(&mut self, users: &[&str]) -> Vec<(String, Option<ErrorCode>, Vec<(i8, i32)>)> {
        let users = users.iter().map(|user| UserName::default().with_name(user.to_string().into())).collect();
        let request = DescribeUserScramCredentialsRequest::default().with_users(Some(users));
        let results = self.call(0, &request).await.results.into_iter();
        let infos = |infos: Vec<crate::wire::messages::describe_user_scram_credentials_response::CredentialInfo>| {
            infos.iter().map(|info| (info.mechanism, info.iterations)).collect()
        };
        results
            .map(|result| {
                (result.user.to_string(), ErrorCode::from_wire(result.error_code), infos(result.credential_infos))
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_kept_by_mechanism_and_described_without_their_secrets() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let both = vec![upsert("alice", SHA_256, 4096), upsert("bob", SHA_512, 16384)];
    assert_eq!(peer.alter_scram(vec![], both).await, [("alice".into(), None), ("bob".into(), None)]);
    peer.alter_scram(vec![], vec![upsert("alice", SHA_512, 5000)]).await;
    peer.alter_scram(vec![], vec![upsert("alice", SHA_256, 8192)]).await;
    let alice = ("alice".to_owned(), None, vec![(SHA_256, 8192), (SHA_512, 5000)]);
    assert_eq!(peer.describe_scram(&[]).await, [alice.clone(), ("bob".into(), None, vec![(SHA_512, 16384)])]);
    let credential = cluster.shared.state().scram["bob"].values().next().cloned().unwrap();
    assert_eq!((credential.salt.as_ref(), credential.salted_password.as_ref()), (&b"salt"[..], &b"salted"[..]));

    let found = peer.describe_scram(&["alice", "nobody", "bob", "bob"]).await;
    let twice = ("bob".to_owned(), Some(ErrorCode::DuplicateResource), vec![]);
    assert_eq!(found, [alice, twice, ("nobody".into(), Some(ErrorCode::ResourceNotFound), vec![])]);
    assert_eq!(peer.alter_scram(vec![delete("bob", SHA_512)], vec![]).await, [("bob".into(), None)]);
    assert_eq!(peer.describe_scram(&[]).await.len(), 1, "a user without credentials is none");
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_a_credential_is_refused_and_the_others_are_altered() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let wrong = vec![
        upsert("", SHA_256, 4096),
        upsert("few", SHA_256, 4095),
        upsert("many", SHA_512, 16385),
        upsert("none", 3, 4096),
        upsert("sound", SHA_256, 4096),
        upsert("twice", SHA_256, 4096),
        upsert("twice", SHA_512, 4096),
    ];
    use ErrorCode::{DuplicateResource, ResourceNotFound, UnacceptableCredential, UnsupportedSaslMechanism};
    let codes = peer.alter_scram(vec![], wrong).await;
    let expected = [
        ("", Some(UnacceptableCredential)),
        ("few", Some(UnacceptableCredential)),
        ("many", Some(UnacceptableCredential)),
        ("none", Some(UnsupportedSaslMechanism)),
        ("sound", None),
        ("twice", Some(DuplicateResource)),
    ];
    assert_eq!(codes, expected.map(|(user, code)| (user.to_owned(), code)));

    let deletions = vec![delete("sound", SHA_512), delete("gone", SHA_256), delete("", SHA_256), delete("x", 0)];
    let codes = peer.alter_scram(deletions, vec![upsert("gone", SHA_256, 4096)]).await;
    let expected = [
        ("", UnacceptableCredential),
        ("gone", ResourceNotFound), // the first error is told
        ("sound", ResourceNotFound),
        ("x", UnsupportedSaslMechanism),
    ];
    assert_eq!(codes, expected.map(|(user, code)| (user.to_owned(), Some(code))));
    let both = peer.alter_scram(vec![delete("sound", SHA_256)], vec![upsert("sound", SHA_256, 9999)]).await;
    assert_eq!(both, [("sound".into(), Some(DuplicateResource))]);
    assert_eq!(peer.describe_scram(&[]).await, [("sound".into(), None, vec![(SHA_256, 4096)])]);
}

#[tokio::test(start_paused = true)]
async fn only_who_may_alter_the_cluster_alters_credentials() {
    let cluster = TestCluster::builder().authorizer(&[]).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let refused = Some(ErrorCode::ClusterAuthorizationFailed);
    let altered = peer.alter_scram(vec![delete("a", SHA_256)], vec![upsert("a", SHA_256, 1), upsert("b", 9, 1)]).await;
    assert_eq!(altered, [("a".into(), refused), ("b".into(), refused)]);
    let described = peer.call(0, &DescribeUserScramCredentialsRequest::default()).await;
    assert_eq!(ErrorCode::from_wire(described.error_code), refused);
}
