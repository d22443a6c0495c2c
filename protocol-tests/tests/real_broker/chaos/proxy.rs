//! A TCP proxy before the brokers that cuts its connections: each at a byte drawn from a seed, in one direction or the
//! other, by closing or by a reset. What comes after that byte doesn't arrive, though its sender has written it.

use milena::connect::{BoxStream, Connect, Connecting};
use protocol_tests::random::Random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// TCP by way of the proxy.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    random: Arc<Mutex<Random>>,
    cut: Arc<AtomicU64>,
}

impl Proxy {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(Random::new(seed))), cut: Arc::default() }
    }

    /// How many connections were cut.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    fn fate(&self) -> Fate {
        let mut random = self.random.lock().expect("no holder panics");
        // Some in the first requests, some after a while, some never; much is written and little read.
        let far = |random: &mut Random| random.pick(&[2_000, 50_000, 500_000, 5_000_000, u64::MAX - 1]);
        let (to_client, to_broker) = (far(&mut random) / 10, far(&mut random));
        Fate {
            to_client: random.below(to_client) + 1,
            to_broker: random.below(to_broker) + 1,
            reset: random.below(2) == 0,
        }
    }
}

impl Connect for Proxy {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (address, fate, cut) = (format!("{host}:{port}"), self.fate(), self.cut.clone());
        Box::pin(async move {
            let broker = TcpStream::connect(address).await?;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
            let (client, (accepted, _)) = (client?, accepted?);
            for stream in [&client, &accepted, &broker] {
                stream.set_nodelay(true)?;
            }
            tokio::spawn(async move {
                if fate.befall(accepted, broker).await {
                    cut.fetch_add(1, Ordering::Relaxed);
                }
            });
            Ok(Box::new(client) as BoxStream)
        })
    }
}

/// The bytes that pass in each direction, and how it ends then.
struct Fate {
    to_client: u64,
    to_broker: u64,
    reset: bool,
}

impl Fate {
    /// Forwards until one side ends or it is cut, which it says.
    async fn befall(self, mut client: TcpStream, mut broker: TcpStream) -> bool {
        let (from_client, mut to_client) = client.split();
        let (from_broker, mut to_broker) = broker.split();
        let mut up = from_client.take(self.to_broker);
        let mut down = from_broker.take(self.to_client);
        tokio::select! { // an error is an end too
            _ = copy(&mut up, &mut to_broker) => (),
            _ = copy(&mut down, &mut to_client) => (),
        }
        let is_cut = up.limit() == 0 || down.limit() == 0;
        if is_cut && self.reset {
            for stream in [&client, &broker] {
                stream.set_zero_linger().expect("a socket that is open");
            }
        }
        is_cut
    }
}
