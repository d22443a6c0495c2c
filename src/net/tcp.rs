//! Sockets.

use crate::connect::{BoxStream, Connect, Connecting};
use std::io;
use tokio::net::{TcpSocket, lookup_host};

/// Plain TCP. Every address that the name has is tried, in the order of the resolver; the name is looked up anew for
/// each connection, so a broker that moves is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let host = host.to_owned();
        Box::pin(async move {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in lookup_host((host.as_str(), port)).await? {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.set_nodelay(true)?; // before connect: with Nagle every small request waits for an ack
                match socket.connect(address).await {
                    Ok(stream) => return Ok(Box::new(stream) as BoxStream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}
