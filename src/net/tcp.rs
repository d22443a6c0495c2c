//! Sockets.

use crate::connect::{BoxStream, Connect, Connecting};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::sleep;

/// How long an address is tried alone before the next one is tried beside it: what RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// Plain TCP. Every address that the name has is tried, in the order of the resolver, one that says nothing no longer than a
/// quarter of a second before the next (RFC 8305); the name is looked up anew for each connection, so a broker that moves is
/// found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let host = host.to_owned();
        Box::pin(async move {
            let addresses = lookup_host((host.as_str(), port)).await?;
            first_of(addresses, connect_to).await.map(|stream| Box::new(stream) as BoxStream)
        })
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?; // before connect: with Nagle every small request waits for an ack
    socket.connect(address).await
}

/// Whoever takes it first; those after have a later start.
async fn first_of<T, F: Future<Output = io::Result<T>>>(
    addresses: impl Iterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut addresses = addresses.peekable();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.extend(addresses.next().map(&connect));
        let has_more = addresses.peek().is_some();
        tokio::select! {
            done = attempts.next() => match done {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = sleep(HEAD_START), if has_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::Instant;

    fn addresses() -> impl Iterator<Item = SocketAddr> {
        [1, 2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], 9092))).into_iter()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_does_not_keep_the_next_ones_from_being_tried() {
        let begun = Instant::now();
        let connect = |address: SocketAddr| async move {
            match address.ip().to_string().as_str() {
                "127.0.0.1" => pending().await,
                "127.0.0.2" => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                _ => Ok(address),
            }
        };
        assert_eq!(first_of(addresses(), connect).await.unwrap().ip().to_string(), "127.0.0.3");
        assert_eq!(begun.elapsed(), HEAD_START, "one that refuses has no head start");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_one_that_answers_counts_and_else_the_last_refusal() {
        let slow_first = |address: SocketAddr| async move {
            sleep(if address.ip().to_string() == "127.0.0.1" { HEAD_START * 2 } else { HEAD_START * 4 }).await;
            Ok(address)
        };
        assert_eq!(first_of(addresses(), slow_first).await.unwrap().ip().to_string(), "127.0.0.1");
        let refuses = |_| async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
        assert_eq!(first_of(addresses(), refuses).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first_of(std::iter::empty(), refuses).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
