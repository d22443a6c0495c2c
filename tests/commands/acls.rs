//! `milena acls`.

use crate::harness::{cluster, milena};

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_created_for_each_combination_listed_and_deleted_with_a_yes() {
    let cluster = cluster().await;
    let words = "acls create --allow-principal alice --operation read,describe --topic clicks --group readers";
    assert_eq!(milena(&cluster, words).ok().rows().len(), 1 + 4);
    let words =
        "acls create --deny-principal User:bob --deny-host 10.0.0.1 --operation all --topic ord --pattern prefixed";
    milena(&cluster, words).ok();
    milena(&cluster, "acls create --allow-principal alice --operation alter --cluster").ok();
    let ran = milena(&cluster, "acls list --json").ok();
    assert_eq!(ran.json().len(), 6);
    assert_eq!(
        ran.fields(),
        ["host", "operation", "pattern_type", "permission", "principal", "resource_name", "resource_type"]
    );
    assert_eq!(milena(&cluster, "acls list --allow-principal alice --topic clicks").ok().rows().len(), 3);
    assert_eq!(milena(&cluster, "acls list --topic orders --pattern match").ok().rows().len(), 2);
    assert_eq!(milena(&cluster, "acls ls --deny-host 10.0.0.1").ok().rows()[1][0], "User:bob");

    let ran = milena(&cluster, "acls delete --topic clicks").exits(1);
    assert!(ran.err.contains("--yes") && ran.rows().len() == 3, "{ran:?}");
    milena(&cluster, "acls delete --topic clicks --dry-run").ok();
    assert_eq!(milena(&cluster, "acls list --json").ok().json().len(), 6);
    assert_eq!(milena(&cluster, "acls delete --topic clicks --yes").ok().rows().len(), 3);
    assert_eq!(milena(&cluster, "acls list --json").ok().json().len(), 4);

    for (words, says) in [
        ("acls create --operation read --topic t", "who?"),
        ("acls create --allow-principal a --topic t", "to do what?"),
        ("acls create --allow-principal a --operation read", "with what?"),
        ("acls create --allow-principal a --operation reed --topic t", "reed"),
        ("acls create --allow-principal a --operation read --topic t --pattern any", "literal or prefixed"),
        ("acls list --pattern nonsense", "none of"),
    ] {
        let ran = milena(&cluster, words).exits(1);
        assert!(ran.err.contains(says), "{words}: {}", ran.err);
    }
}

/// Without an authorizer there are no ACLs.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_an_authorizer_says_so() {
    let cluster = milena::broker::TestCluster::builder().listen("127.0.0.1:0").start().await.unwrap();
    let ran = milena(&cluster, "acls list").exits(2);
    assert!(ran.err.contains("SECURITY_DISABLED"), "{}", ran.err);
}

/// A certificate's name has commas, and a group's or a transactional id's may: cut there, others were let in, and `OK` was said.
#[tokio::test(flavor = "multi_thread")]
async fn a_distinguished_name_is_one_principal_and_commas_stay_in_names_of_groups_and_transactions() {
    let cluster = cluster().await;
    let (dn, other) = ("User:CN=alice,OU=eng,O=acme", "User:CN=bob,OU=eng,O=acme");
    let resources = "--topic clicks,orders --group a,b --transactional-id c,d";
    let words = format!("acls create --deny-principal {dn} --deny-principal {other} --operation read {resources}");
    assert_eq!(milena(&cluster, &words).ok().rows().len(), 1 + 2 * 4, "topics alone are cut at commas");
    let ran = milena(&cluster, "acls list --group a,b --json").ok();
    let of = |field: &str| ran.json().iter().map(|acl| acl[field].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (of("principal"), of("resource_name")),
        (vec![dn.into(), other.into()], vec!["a,b".into(), "a,b".into()])
    );
    assert_eq!(milena(&cluster, "acls list --transactional-id c,d").ok().rows().len(), 3);
    assert_eq!(milena(&cluster, &format!("acls list --deny-principal {dn} --json")).ok().json().len(), 4);
    assert_eq!(milena(&cluster, &format!("acls delete --deny-principal {dn} --yes")).ok().rows().len(), 1 + 4);
    let left = milena(&cluster, "acls list --json").ok().json();
    assert!(left.len() == 4 && left.iter().all(|acl| acl["principal"] == other), "{left:?}");
}

/// What is left out of an ACL is anything: a host of the other permission was passed over, and more was denied or deleted than
/// was named.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_of_its_own_permission_and_nothing_named_is_not_everything() {
    let cluster = cluster().await;
    milena(&cluster, "acls create --allow-principal alice --operation read --topic clicks").ok();
    milena(&cluster, "acls create --allow-principal carol --allow-host 10.0.0.1 --operation read --topic clicks").ok();
    milena(&cluster, "acls create --deny-principal dave --deny-host 10.0.0.2 --operation read --topic clicks").ok();
    for (words, says) in [
        (
            "create --deny-principal bob --allow-host 10.0.0.1 --operation read --topic t",
            "--allow-host is for --allow-principal",
        ),
        ("delete --allow-principal alice --deny-host 9.9.9.9 --yes", "--deny-host is for --deny-principal"),
        ("list --allow-principal alice --deny-host 9.9.9.9", "--deny-host is for --deny-principal"),
        ("delete --yes", "--all"),
        ("delete --dry-run", "--all"),
        ("delete --pattern literal --yes", "--all"),
        ("delete --all --topic clicks --yes", "cannot be used with"),
    ] {
        let ran = milena(&cluster, &format!("acls {words}")).exits(1);
        assert!(ran.err.contains(says), "{words}: {}", ran.err);
    }
    assert_eq!(milena(&cluster, "acls list --json").ok().json().len(), 3, "nothing was made or deleted");
    assert_eq!(milena(&cluster, "acls list --allow-host 10.0.0.1 --deny-host 10.0.0.2").ok().rows().len(), 3, "either");
    assert_eq!(milena(&cluster, "acls delete --all --yes").ok().rows().len(), 4);
}
