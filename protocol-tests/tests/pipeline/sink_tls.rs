//! TLS to a real PostgreSQL in libpq's words: `protocol-tests/postgres.sh with cargo test …`. Its certificate is for
//! localhost and not for 127.0.0.1, where it is reached too.

use milena::pipeline::sink::postgres::PostgresStore;
use milena::pipeline::sink::{Class, Scope, Store, StoreError, What};
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A claim through a connection to this host with these words.
async fn claim(user: &str, host: &str, words: &str) -> Result<(), StoreError> {
    let plain = std::env::var("POSTGRES_URL").expect("POSTGRES_URL names a server: protocol-tests/postgres.sh start");
    let url = plain.replace("//postgres@127.0.0.1", &format!("//{user}@{host}"));
    let url = url.replace("sslmode=disable", words);
    assert!(url.contains(words) && url.contains(host), "{plain} is not what postgres.sh prints");
    let scope = Scope { group: "g".to_owned(), topic: "sink_tls".to_owned(), what: What::Purchases };
    PostgresStore::new(&url, scope)?.claim(&[(0, 0)]).await.map(drop)
}

fn file(name: &str) -> String {
    let dir = std::env::var("POSTGRES_TLS").expect("POSTGRES_TLS names the directory of the certificates");
    PathBuf::from(dir).join(name).display().to_string()
}

/// The sentence, from an error that stops the sink.
fn stops(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::Database { class: Class::Configuration, message }) => message,
        other => panic!("{other:?} is no reason to stop"),
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL with TLS: POSTGRES_URL=… POSTGRES_TLS=…"]
async fn each_mode_looks_at_as_much_as_it_says() {
    let (ca, other, server) = (file("ca.pem"), file("other.pem"), file("server.pem"));
    for (host, words) in [
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={server}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={server}")),
    ] {
        claim("postgres", host, &words).await.unwrap_or_else(|error| panic!("{words}: {error}"));
    }
    for (host, words, why) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "subjectAltName"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={server}"), "subjectAltName"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "not among the trusted"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={other}"), "not among the trusted"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "not among the trusted"),
        ("localhost", "sslrootcert=system".to_owned(), "trusted"),
    ] {
        let message = stops(claim("postgres", host, &words).await);
        assert!(message.contains(why), "{words}: {message}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL with TLS: POSTGRES_URL=… POSTGRES_TLS=…"]
async fn who_must_show_a_certificate_does() {
    let ours = format!("sslmode=require&sslcert={}&sslkey={}", file("client.pem"), file("client.key"));
    let error = stops(claim("certified", "localhost", "sslmode=require").await);
    assert!(error.contains("SQLSTATE 28000"), "{error}");
    let wrong = format!("sslmode=require&sslcert={}&sslkey={}", file("other.pem"), file("other.key"));
    let error = stops(claim("certified", "localhost", &wrong).await);
    assert!(error.contains("does not take our certificate"), "{error}");
    // It may connect; that it may not make tables is told by the server, through TLS.
    match claim("certified", "localhost", &ours).await {
        Ok(()) => {}
        Err(error) => assert!(error.to_string().contains("42501"), "{error}"),
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_so_and_nothing_is_sent_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:secret@{}/d?sslmode=require", listener.local_addr().unwrap());
    let scope = Scope { group: "g".to_owned(), topic: "t".to_owned(), what: What::Purchases };
    let mut store = PostgresStore::new(&url, scope).unwrap();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "a request for TLS");
        socket.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let (claimed, sent) = tokio::join!(store.claim(&[(0, 0)]), server);
    let message = stops(claimed.map(drop));
    assert!(message.contains("does not support TLS") && message.contains("ssl=on"), "{message}");
    assert!(sent.is_empty());
}
