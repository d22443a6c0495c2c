//! A client against the test broker, in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests move time themselves")]

use super::*;
use crate::broker::{ApiKey, TestCluster};
use crate::connect::{Connect, Connecting};
use std::sync::atomic::{AtomicBool, Ordering};

async fn cluster(brokers: usize) -> (TestCluster, ClientConfig) {
    let cluster = TestCluster::builder().brokers(brokers).topic("clicks", 3).in_memory().start().await.unwrap();
    let config = ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(7);
    (cluster, config)
}

fn soon(client: &Client) -> Instant {
    client.now() + Duration::from_secs(60)
}

#[tokio::test(start_paused = true)]
async fn a_client_connects_and_leaves_nothing_behind_when_it_is_dropped() {
    let (cluster, config) = cluster(1).await;
    let client = Client::connect(config).await.unwrap();
    client.topic("clicks", false, soon(&client)).await.unwrap();
    let tasks = client.inner.tasks.clone();
    assert!(tasks.live() > 0 && cluster.connections() > 0);
    drop(client);
    tasks.ended().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn close_ends_every_task_and_what_is_asked_afterwards_is_refused() {
    let (_cluster, config) = cluster(3).await;
    let client = Client::connect(config).await.unwrap();
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
    let error = client.topic("clicks", false, soon(&client)).await.unwrap_err();
    assert!(error.is_closed(), "{error}");
}

#[test]
fn outside_of_a_runtime_a_client_is_an_error_and_not_a_panic() {
    assert_eq!(Client::new(ClientConfig::new(["a"])).unwrap_err().kind(), ErrorKind::State);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_not_there_is_named_with_its_address_when_the_time_is_up() {
    let (cluster, config) = cluster(1).await;
    cluster.kill(NodeId(1));
    let (start, config) = (tokio::time::Instant::now(), config.default_api_timeout(Duration::from_secs(5)));
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains(&cluster.bootstrap()), "{error}");
    assert!(start.elapsed() <= Duration::from_secs(6), "{:?}", start.elapsed());
}

/// By another name the brokers can be reached, and by their own from a certain time on no more: what a cluster that was made anew
/// behind a name looks like.
#[derive(Debug, Clone)]
struct Replaced(Arc<dyn Connect>, Arc<AtomicBool>);

impl Connect for Replaced {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let is_gone = host != "boot" && self.1.load(Ordering::Relaxed);
        let connecting = self.0.connect(if host == "boot" { "broker-1" } else { host }, port);
        Box::pin(async move { if is_gone { std::future::pending().await } else { connecting.await } })
    }
}

/// Each takes ten of a request's thirty seconds.
#[tokio::test(start_paused = true)]
async fn three_brokers_that_have_fallen_silent_do_not_keep_the_bootstrap_name_from_being_asked() {
    let (cluster, config) = cluster(3).await;
    let gone = Arc::new(AtomicBool::new(false));
    let config = config.bootstrap_servers(["boot:9092"]).connect(Replaced(cluster.connector(), gone.clone()));
    let client = Client::connect(config).await.unwrap();
    client.topic("clicks", false, soon(&client)).await.unwrap();
    gone.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        cluster.fault(ApiKey::Metadata).once().disconnect(); // what is open breaks
        let deadline = client.now() + Duration::from_secs(100);
        client.refreshed(client.cluster().generation, deadline).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_made_before_its_cluster_finds_it_when_it_comes() {
    let (cluster, config) = cluster(1).await;
    cluster.kill(NodeId(1));
    let client = Client::new(config).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.restart(NodeId(1)).await.unwrap();
    assert_eq!(client.topic("clicks", false, soon(&client)).await.unwrap().0.partitions.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_says_so_at_the_deadline_and_is_asked_for_no_longer() {
    let (cluster, config) = cluster(1).await;
    let client = Client::connect(config).await.unwrap();
    let error = client.topic("nowhere", false, soon(&client)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(error.to_string().starts_with("nowhere: "), "{error}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cluster.requests(ApiKey::Metadata).count;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(cluster.requests(ApiKey::Metadata).count <= before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_created_on_first_use_where_that_is_wanted_and_allowed() {
    let (_cluster, config) = cluster(3).await;
    let client = Client::connect(config).await.unwrap();
    let (topic, _wanted) = client.topic("fresh", true, soon(&client)).await.unwrap();
    assert!(!topic.partitions.is_empty() && topic.partitions[0].leader.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_of_one_generation_are_one_refresh() {
    let (cluster, config) = cluster(1).await;
    let client = Client::connect(config).await.unwrap();
    let _clicks = client.topic("clicks", false, soon(&client)).await.unwrap();
    let (generation, before) = (client.cluster().generation, cluster.requests(ApiKey::Metadata).count);
    let refreshed = (0..100).map(|_| client.refreshed(generation, soon(&client)));
    futures_util::future::try_join_all(refreshed).await.unwrap();
    assert_eq!(cluster.requests(ApiKey::Metadata).count, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_found_after_one_refresh() {
    let (cluster, config) = cluster(3).await;
    let client = Client::connect(config).await.unwrap();
    let _clicks = client.topic("clicks", false, soon(&client)).await.unwrap();
    let seen = client.cluster();
    let old = seen.leader("clicks", 0).unwrap();
    let new = NodeId(old.0 % 3 + 1);
    cluster.move_leader("clicks", 0, new);
    let fresh = client.refreshed(seen.generation, soon(&client)).await.unwrap();
    assert_eq!(fresh.leader("clicks", 0), Some(new));
}

#[tokio::test(start_paused = true)]
async fn metadata_comes_from_another_broker_when_the_one_asked_dies() {
    let (cluster, config) = cluster(3).await;
    let client = Client::connect(config).await.unwrap();
    for node in [1, 2] {
        cluster.kill(NodeId(node));
        client.refreshed(client.cluster().generation, soon(&client)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_is_asked_again_on_a_new_connection() {
    let (cluster, config) = cluster(1).await;
    let client = Client::connect(config.request_timeout(Duration::from_secs(2))).await.unwrap();
    cluster.fault(ApiKey::Metadata).once().silence();
    client.call_any(&MetadataRequest::default().with_topics(Some(vec![])), soon(&client)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_of_a_group_is_found() {
    let (cluster, config) = cluster(3).await;
    let client = Client::connect(config).await.unwrap();
    let found = client.find_coordinator(&CoordinatorKey::Group("g".into()), soon(&client)).await.unwrap();
    assert_eq!(Some(found), cluster.coordinator("g"));
}

/// Refuses once, and then says nothing.
#[derive(Debug, Default)]
struct RefusesOnce(AtomicBool);

impl Connect for RefusesOnce {
    fn connect(&self, _: &str, _: u16) -> Connecting {
        let has_refused = self.0.swap(true, Ordering::Relaxed);
        Box::pin(async move {
            if has_refused {
                std::future::pending::<()>().await;
            }
            Err(std::io::ErrorKind::ConnectionRefused.into())
        })
    }
}

/// It said "no connection in time", whatever there was to say.
#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_hears_why_the_last_attempt_failed() {
    let config = ClientConfig::new(["b:9092"]).connect(RefusesOnce::default()).virtual_time();
    let error = Client::connect(config.default_api_timeout(Duration::from_secs(5))).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
