use super::*;
use crate::tls::IDENTITY;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_rustls::{TlsAcceptor, server};

/// Gives and takes so many bytes at once, and counts the reads that gave something. A pipe that holds a byte would not do:
/// in a handshake both sides write before they read, and nobody would get on.
struct Cut {
    stream: DuplexStream,
    at_once: usize,
    reads: Arc<AtomicUsize>,
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut part = vec![0; buffer.remaining().min(self.at_once)];
        let mut part = ReadBuf::new(&mut part);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        buffer.put_slice(part.filled());
        self.reads.fetch_add(usize::from(read.is_ready()), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let part = &bytes[..bytes.len().min(self.at_once)];
        Pin::new(&mut self.stream).poll_write(cx, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

type Server = server::TlsStream<DuplexStream>;

/// Both ends after the handshake, and what counts the client's reads; `below` bytes fit into the pipe each way.
async fn pair(below: usize, at_once: usize, only_tls12: bool) -> (BoxStream, Server, Arc<AtomicUsize>) {
    let (stream, server) = duplex(below);
    let reads = Arc::new(AtomicUsize::new(0));
    let client = Box::new(Cut { stream, at_once, reads: reads.clone() });
    let version = if only_tls12 { &TLS12 } else { &TLS13 };
    let key = PrivateKeyDer::from_pem_slice(IDENTITY.as_bytes()).unwrap();
    let certificate = CertificateDer::from_pem_slice(IDENTITY.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(crate::tls::provider().unwrap())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tls = Arc::new(Tls::new(TlsConfig::default().ca_pem(IDENTITY), NetClock::System).unwrap());
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(server);
    let (client, server) = tokio::join!(tls.handshake(client, "broker"), accepting);
    (client.unwrap(), server.unwrap(), reads)
}

#[tokio::test]
async fn an_address_with_a_zone_is_no_hindrance_where_the_name_does_not_count() {
    let (client, server) = duplex(1 << 16);
    drop(server);
    let config = TlsConfig::default().ca_pem(IDENTITY).verify_hostname(false);
    let tls = Arc::new(Tls::new(config, NetClock::System).unwrap());
    let error = tls.handshake(Box::new(client), "fe80::1%eth0").await.err().expect("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Connection, "it comes as far as the handshake: {error}");
}

#[tokio::test]
async fn the_servers_own_certificate_in_the_file_is_trusted_only_while_it_is_valid() {
    for (now, why) in [(4_990_000_000_000, "certificate expired"), (1_700_000_000_000, "begins to be valid in")] {
        let (client, server) = duplex(1 << 16);
        let config = ServerConfig::builder_with_provider(crate::tls::provider().unwrap());
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::from_pem_slice(IDENTITY.as_bytes()).unwrap();
        let certificate = CertificateDer::from_pem_slice(IDENTITY.as_bytes()).unwrap();
        let accepting =
            TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap())).accept(server);
        let clock = NetClock::virtual_from(now);
        let tls = Arc::new(Tls::new(TlsConfig::default().ca_pem(IDENTITY), clock).unwrap());
        let (client, _) = tokio::join!(tls.handshake(Box::new(client), "broker"), accepting);
        let error = client.err().expect("a certificate out of its time").to_string();
        assert!(error.contains(why), "{error}");
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Sends `all`, cut into slices as frames are, and reads as much back.
async fn round_trip(client: &mut BoxStream, server: &mut Server, all: &[u8]) {
    let (mut from, mut to) = split(client);
    let (mut echo_from, mut echo_to) = split(server);
    let sending = async {
        let mut sent = 0;
        while sent < all.len() {
            let rest = &all[sent..];
            let (head, rest) = rest.split_at(rest.len().min(61));
            let (body, rest) = rest.split_at(rest.len().min(16_323));
            let slices = [head, &[], body, rest].map(IoSlice::new);
            sent += to.write_vectored(&slices).await.unwrap();
        }
        to.flush().await.unwrap();
    };
    let echoing = async {
        let (mut left, mut buffer) = (all.len(), vec![0; 50_000]);
        while left > 0 {
            let read = echo_from.read(&mut buffer).await.unwrap();
            echo_to.write_all(&buffer[..read]).await.unwrap();
            echo_to.flush().await.unwrap();
            left -= read;
        }
    };
    let mut back = vec![0; all.len()];
    let (read, (), ()) = tokio::join!(from.read_exact(&mut back), sending, echoing);
    assert_eq!(read.unwrap(), all.len());
    assert!(back == all);
}

#[tokio::test]
async fn bytes_come_through_whole_however_the_stream_below_is_cut() {
    for only_tls12 in [false, true] {
        for (at_once, length) in [(1, 40_000), (7, 40_000), (5_000, 1_000_000), (1 << 20, 3_000_000)] {
            let (mut client, mut server, _) = pair(at_once + 4_000, at_once, only_tls12).await;
            round_trip(&mut client, &mut server, &bytes(length)).await;
        }
    }
}

#[tokio::test]
async fn keys_are_changed_in_the_middle() {
    let (mut client, mut server, _) = pair(5_000, 3_000, false).await;
    for _ in 0..3 {
        // The server asks for ours, too; ours goes with what we send next.
        server.get_mut().1.refresh_traffic_keys().unwrap();
        round_trip(&mut client, &mut server, &bytes(100_000)).await;
    }
}

#[tokio::test]
async fn the_end_is_the_end_with_a_farewell_and_without() {
    for polite in [true, false] {
        let (mut client, mut server, _) = pair(1 << 20, 1 << 20, false).await;
        server.write_all(&bytes(20_000)).await.unwrap();
        server.flush().await.unwrap();
        if polite {
            server.shutdown().await.unwrap();
        }
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert!(all == bytes(20_000));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_who_writes() {
    let (mut client, mut server, _) = pair(4_000, 1_000, false).await;
    let all = bytes(3 * WRITE_AHEAD);
    let mut sent = 0;
    poll_fn(|cx| {
        while let Poll::Ready(written) = Pin::new(&mut client).poll_write(cx, &all[sent..]) {
            sent += written.unwrap();
        }
        Poll::Ready(())
    })
    .await;
    assert!(sent <= WRITE_AHEAD + 4_000, "{sent} bytes, and nobody has read any");
    let mut got = vec![0; sent];
    let flushing = async { client.flush().await.unwrap() };
    let (read, ()) = tokio::join!(server.read_exact(&mut got), flushing);
    read.unwrap();
    assert!(got == all[..sent]);
}

#[tokio::test]
async fn what_has_arrived_is_read_at_once_and_not_by_records() {
    let (mut client, mut server, reads) = pair(4 * READ_AHEAD, usize::MAX, false).await;
    server.write_all(&bytes(3 * READ_AHEAD)).await.unwrap();
    server.flush().await.unwrap();
    let before = reads.load(Ordering::Relaxed);
    client.read_exact(&mut vec![0; 3 * READ_AHEAD]).await.unwrap();
    let reads = reads.load(Ordering::Relaxed) - before;
    assert!(reads <= 4, "{reads} reads");
}
