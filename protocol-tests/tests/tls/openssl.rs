//! OpenSSL's `s_server`, which sends each line back reversed.

use crate::{KINDS, certificate, showing, speaking, trusting};
use milena::error::{Error, ErrorKind};
use milena::net::clock::NetClock;
use milena::net::tls::Tls;
use milena::tls::TlsConfig;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

struct Server {
    process: Child,
    port: u16,
}

/// Trusts `ca.pem`, so a client has to show its chain.
async fn serve(certificate_of: &str, options: &[&str]) -> Server {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-verify_return_error", "-CAfile"]);
    command.arg(certificate("ca.pem"));
    command.arg("-cert").arg(certificate(&format!("{certificate_of}.pem")));
    command.arg("-key").arg(certificate(&format!("{certificate_of}.key")));
    command.args(options).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut process = command.spawn().expect("openssl is installed");
    let mut lines = BufReader::new(process.stdout.take().expect("it was asked for")).lines();
    let port = loop {
        let line = lines.next_line().await.expect("it can be read").expect("s_server says where it listens");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.rsplit(':').next().expect("a port").parse().expect("a port");
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Server { process, port }
}

impl Server {
    /// A handshake, and a line there and back; the error is of whichever end does not like it.
    async fn talk(&self, tls: TlsConfig, host: &str) -> Result<(), Error> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let tls = Arc::new(Tls::new(tls, NetClock::System)?);
        let mut stream = tls.handshake(Box::new(stream), host).await?;
        let mut answer = [0; 4];
        let talking = async {
            stream.write_all(b"abc\n").await?;
            stream.flush().await?;
            stream.read_exact(&mut answer).await.map(|_| ())
        };
        let talked = tokio::time::timeout(Duration::from_secs(20), talking).await.expect("an answer in time");
        talked.map_err(|error| milena::net::frames::broken(&error))?;
        assert_eq!(&answer, b"cba\n");
        Ok(())
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn every_version_server_key_and_client_key_goes_with_every_other() {
    for version in ["1.2", "1.3"] {
        let option = if version == "1.2" { "-tls1_2" } else { "-tls1_3" };
        for server_kind in KINDS {
            let intermediate = certificate("int.pem");
            let chain = ["-cert_chain", intermediate.to_str().expect("a path of letters")];
            let asks = serve(&format!("server-{server_kind}"), &[option, chain[0], chain[1], "-Verify", "3"]).await;
            let takes = serve(&format!("server-{server_kind}"), &[option, chain[0], chain[1]]).await;
            let mut cells = vec![("none", takes.talk(speaking(trusting(), version), "localhost").await)];
            for kind in KINDS {
                cells.push((kind, asks.talk(speaking(showing(kind), version), "localhost").await));
            }
            for (kind, talked) in &cells {
                println!("TLS {version}, server {server_kind}, client {kind}: {talked:?}");
            }
            if (version, server_kind) == ("1.2", "ed25519") {
                // rustls-graviola's suites of TLS 1.2 leave it out.
                let all = |(_, talked): &(_, Result<(), Error>)| match talked {
                    Err(error) => error.kind() == ErrorKind::Tls && error.to_string().contains("have it speak TLS 1.3"),
                    Ok(()) => false,
                };
                assert!(cells.iter().all(all), "{cells:?}");
                continue;
            }
            assert!(cells.iter().all(|(_, talked)| talked.is_ok()), "TLS {version}, server {server_kind}: {cells:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn what_graviola_cannot_do_is_said() {
    let error = Tls::new(showing("p521"), NetClock::System).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().starts_with("ssl.key.location: "), "{error}");
    assert!(error.to_string().contains("a key that this cryptography can't use"), "{error}");
    let intermediate = certificate("int.pem");
    for option in ["-tls1_2", "-tls1_3"] {
        let options = [option, "-cert_chain", intermediate.to_str().expect("a path of letters")];
        let error = serve("server-p521", &options).await.talk(trusting(), "localhost").await.unwrap_err();
        println!("{option}: {error}");
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn a_chain_has_to_be_whole_at_either_end() {
    let bare = serve("server-p256", &[]).await.talk(trusting(), "localhost").await.unwrap_err();
    assert!(bare.kind() == ErrorKind::Tls && bare.to_string().contains("of a CA that is not trusted"), "{bare}");
    // The intermediate alone is as good a thing to trust as what has signed it.
    let trusted = TlsConfig::default().ca_file(certificate("int.pem"));
    serve("server-p256", &[]).await.talk(trusted, "localhost").await.unwrap();
    let chain = std::fs::read_to_string(certificate("client-p256.pem")).unwrap();
    let key = std::fs::read_to_string(certificate("client-p256.key")).unwrap();
    let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let intermediate = certificate("int.pem");
    for option in ["-tls1_2", "-tls1_3"] {
        let options = [option, "-Verify", "3", "-cert_chain", intermediate.to_str().expect("a path of letters")];
        let asks = serve("server-p256", &options).await;
        let cut = asks.talk(trusting().client_certificate_pem(leaf, key.as_str()), "localhost").await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Tls, "{cut}");
        assert!(cut.to_string().contains("does not take our certificate (UnknownCA)"), "{cut}");
        let none = asks.talk(trusting(), "localhost").await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::Tls, "{none}");
        let expected =
            if option == "-tls1_2" { "a certificate of ours, and we have none" } else { "wants to see a certificate" };
        assert!(none.to_string().contains(expected), "{none}");
        let stranger = trusting().client_certificate_files(certificate("stranger.pem"), certificate("stranger.key"));
        let stranger = asks.talk(stranger, "localhost").await.unwrap_err();
        assert!(stranger.kind() == ErrorKind::Tls && stranger.to_string().contains("does not take"), "{stranger}");
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn a_servers_own_certificate_may_be_all_that_is_trusted() {
    let server = serve("self", &[]).await;
    server.talk(TlsConfig::default().ca_file(certificate("self.pem")), "localhost").await.unwrap();
    let error = server.talk(trusting(), "localhost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(
        error.to_string().contains("a self-signed one perhaps, which is not itself among the trusted ones"),
        "{error}"
    );
    let elsewhere = server.talk(TlsConfig::default().ca_file(certificate("self.pem")), "elsewhere").await.unwrap_err();
    assert!(elsewhere.to_string().contains("not for `elsewhere`, but for localhost, *.wild.test"), "{elsewhere}");
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn names_are_looked_for_as_every_browser_does() {
    let intermediate = certificate("int.pem");
    let server = serve("server-p256", &["-cert_chain", intermediate.to_str().expect("a path of letters")]).await;
    for host in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "::1", "a.wild.test"] {
        server.talk(trusting(), host).await.unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    for host in ["wild.test", "a.b.wild.test", "127.0.0.2", "local"] {
        let error = server.talk(trusting(), host).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        let expected = format!("not for `{host}`, but for localhost, *.wild.test, 127.0.0.1, ::1");
        assert!(error.to_string().contains(&expected), "{error}");
        server.talk(trusting().verify_hostname(false), host).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn keys_and_certificates_come_in_many_clothes() {
    let read = |name: &str| std::fs::read_to_string(certificate(name)).unwrap();
    let intermediate = certificate("int.pem");
    let options = ["-Verify", "3", "-cert_chain", intermediate.to_str().expect("a path of letters")];
    let server = serve("server-p256", &options).await;
    let (chain, key) = (read("client-p256.pem"), read("client-p256.key"));
    let encrypted = |kind: &str, how: &str| {
        let key = certificate(&format!("client-{kind}.{how}.key"));
        trusting().client_certificate_files(certificate(&format!("client-{kind}.pem")), key).key_password("changeit")
    };
    let rewritten = async |how: &[&str], key: &str| {
        let done = Command::new("openssl").args(how).arg("-in").arg(certificate(key)).output().await.unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let sec1 = rewritten(&["ec"], "client-p256.key").await;
    let pkcs1 = rewritten(&["rsa", "-traditional"], "client-rsa.key").await;
    assert!(sec1.contains("BEGIN EC PRIVATE KEY") && pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let crlf = |pem: &str| pem.replace('\n', "\r\n");
    let one_line = |pem: &str| pem.replace('\n', " ");
    let commented = format!("Bag Attributes\n    friendlyName: kafka\n{chain}");
    for (what, tls) in [
        ("PKCS#8, aes-256-cbc", encrypted("rsa", "cbc")),
        ("PKCS#8, scrypt", encrypted("p256", "scrypt")),
        ("SEC1", trusting().client_certificate_pem(chain.as_str(), sec1.as_str())),
        ("PKCS#1", trusting().client_certificate_pem(read("client-rsa.pem"), pkcs1.as_str())),
        ("CRLF", trusting().client_certificate_pem(crlf(&chain), crlf(&key))),
        ("one line", trusting().client_certificate_pem(one_line(&chain), one_line(&key))),
        ("no line ends at all", trusting().client_certificate_pem(chain.replace('\n', ""), key.replace('\n', ""))),
        ("with what `openssl pkcs12` puts before it", trusting().client_certificate_pem(commented, key.as_str())),
        ("the authority on one line", showing("p256").ca_pem(one_line(&read("ca.pem")))),
        ("the authority with CRLF", showing("p256").ca_pem(crlf(&read("ca.pem")))),
    ] {
        server.talk(tls, "localhost").await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn a_server_that_goes_without_a_word_has_gone_all_the_same() {
    let intermediate = certificate("int.pem");
    let chain = intermediate.to_str().expect("a path of letters");
    for option in ["-tls1_2", "-tls1_3"] {
        let mut server = serve("server-p256", &[option, "-cert_chain", chain]).await;
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let tls = Arc::new(Tls::new(trusting(), NetClock::System).unwrap());
        let mut stream = tls.handshake(Box::new(stream), "localhost").await.unwrap();
        stream.write_all(b"abc\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        server.process.kill().await.unwrap(); // no close_notify
        assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
    }
}
