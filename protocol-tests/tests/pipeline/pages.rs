//! `--http`: what the server answers over a real socket, to whom, and that it is gone afterwards.

use milena::broker::TestCluster;
use milena::pipeline::{
    dashboard::Controls,
    http::{DEMO_ADDRESS, Listener, Pages},
    metrics::{Metrics, Role},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Status and body.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, "GET", path, "").await
}

#[tokio::test]
async fn pages_are_served_and_gone_afterwards() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let metrics = Metrics::new();
    let mut pages = Pages::new(metrics.clone(), Arc::default(), client.clone(), [Role::Sink]);
    let controls = Controls::default();
    pages.controls = Some(controls.clone());
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address();
    let server = listener.serve(pages);

    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz").await, (503, "sink is not running\n".to_owned()));
    let sink = metrics.stage(Role::Sink, "g");
    sink.joined(true);
    assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
    sink.db_up(false);
    assert_eq!(get(address, "/readyz").await, (503, "sink's database does not answer\n".to_owned()));
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("\npipeline_sink_db_up{group=\"g\"} 0\n"), "{text}");
    let (_, json) = get(address, "/numbers.json").await;
    let numbers: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(numbers["metrics"]["pipeline_sink_db_up"][0]["value"], 0.0);
    assert_eq!(numbers["stages"][0]["stage"], "sink");
    for path in ["/", "/page.css", "/page.js"] {
        let (status, body) = get(address, path).await;
        assert!(status == 200 && !body.contains("//cdn") && !body.contains("@import"), "{path}");
    }
    assert_eq!(get(address, "/nothing").await.0, 404);
    assert_eq!(ask(address, "PUT", "/metrics", "").await.0, 405);
    assert_eq!(ask(address, "HEAD", "/metrics", "").await, (200, String::new()));

    let here = format!("Origin: http://{address}\r\n");
    for foreign in ["", "Origin: http://evil.example\r\n", "Origin: null\r\n"] {
        assert_eq!(ask(address, "POST", "/demo/database/away", foreign).await.0, 403);
    }
    assert!(!controls.is_database_away());
    assert_eq!(ask(address, "POST", "/demo/database/away", &here).await.0, 204);
    assert!(controls.is_database_away());
    assert_eq!(ask(address, "POST", "/demo/database/back", &here).await.0, 204);
    assert!(!controls.is_database_away());
    assert_eq!(ask(address, "POST", "/demo/kill", &here).await.0, 204);
    controls.killed().await;
    assert_eq!(ask(address, "POST", "/demo/other", &here).await.0, 404);

    // A connection that is kept open is closed with the rest.
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    server.stop().await;
    let mut rest = Vec::new();
    let _ = kept.read_to_end(&mut rest).await; // ends, by a reset or not
    assert!(TcpStream::connect(address).await.is_err(), "somebody still listens at {address}");
    client.close().await;
    cluster.stop().await;
}

#[tokio::test]
async fn brokers_that_are_away_are_named() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let metrics = Metrics::new();
    metrics.stage(Role::Merge, "g").joined(true);
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address();
    let _server = listener.serve(Pages::new(metrics, Arc::default(), client.clone(), []));
    cluster.stop().await;
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.starts_with("the brokers do not answer: "), "{body}");
    assert_eq!(get(address, "/healthz").await.0, 200, "a restart of this process would not help");
    client.close().await;
}

#[tokio::test]
async fn an_address_that_is_none_or_taken_is_a_sentence() {
    for wrong in ["nowhere", "127.0.0.1", "127.0.0.1:99999", ""] {
        let error = Listener::bind(wrong).await.unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().starts_with(&format!("--http {wrong}: ")), "{error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Listener::bind(&address).await.unwrap_err().to_string();
    assert!(error.ends_with("another program has it"), "{error}");
    // Whoever has the demo's port, the demo finds another.
    let _mine = TcpListener::bind(DEMO_ADDRESS).await;
    let near = Listener::bind_demo().await.unwrap().address().port();
    assert!((DEMO_ADDRESS.1 + 1..DEMO_ADDRESS.1 + 100).contains(&near), "{near}");
}
