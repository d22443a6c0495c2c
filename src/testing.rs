//! Ready-made clients for tests: a [`TestCluster`] hands them out, configured to reach it.
#![doc = include_str!("../docs/test-broker.md")]

use crate::broker::TestCluster;
use crate::client::{Client, ClientConfig};
use crate::consumer::{Consumer, Event, OwnedRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::producer::{ProducerConfig, ProducerRecord};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the helpers here wait before they call it a failure.
const PATIENCE: Duration = Duration::from_secs(30);

impl TestCluster {
    /// The settings that reach this cluster: its brokers, its connector, its clock if it is in memory, its CA if it speaks TLS.
    /// Who the client is, if the cluster asks for that, is yours to say.
    pub fn client_config(&self) -> ClientConfig {
        let config = ClientConfig::new([self.bootstrap()]);
        #[cfg(feature = "tls")]
        let config = if self.has_tls() { config.tls(TlsConfig::default().ca_pem(self.ca_pem())) } else { config };
        if self.is_in_memory() {
            return config.connect(self.connector()).virtual_time_from(self.clock().unix_millis());
        }
        config
    }

    /// A client of this cluster, connected.
    ///
    /// # Errors
    /// Why no broker answered: none is up, or a fault on command.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(self.client_config()).await
    }

    /// Creates a topic whose name begins so and that nobody else of this cluster has: for tests that share one.
    ///
    /// # Errors
    /// What the broker would answer.
    pub fn unique_topic(&self, prefix: &str, partitions: i32) -> Result<String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.create_topic(&name, partitions)?;
        Ok(name)
    }

    /// Writes values to a topic through a client of its own, and returns when all are acknowledged.
    ///
    /// # Errors
    /// Why the first of them failed.
    pub async fn produce<V: AsRef<[u8]>>(&self, topic: &str, values: impl IntoIterator<Item = V>) -> Result<()> {
        let client = self.client().await?;
        let producer = client.producer(ProducerConfig::default())?;
        let mut deliveries = Vec::new();
        for value in values {
            deliveries.push(producer.send(ProducerRecord::new(topic).value(value.as_ref())).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        producer.close(PATIENCE).await?;
        client.close().await;
        Ok(())
    }
}

/// The next `count` records that the consumer reads, whatever else happens to it; revocations are acknowledged.
///
/// # Errors
/// `Timeout` with how many there were if the records don't come within 30 s (of virtual time, if it is paused), and what
/// the consumer fails with.
pub async fn next_records(consumer: &mut Consumer, count: usize) -> Result<Vec<OwnedRecord>> {
    let mut found: Vec<OwnedRecord> = Vec::new();
    let mut waited = Duration::ZERO;
    while found.len() < count {
        match consumer.next(Duration::from_millis(100)).await? {
            Some(Event::Records(records)) => found.extend((&records).into_iter().map(|record| record.to_owned())),
            Some(_) => {}
            None => waited += Duration::from_millis(100),
        }
        if waited >= PATIENCE {
            let message = format!("{} records came, {count} were waited for", found.len());
            return Err(Error::with_message(ErrorKind::Timeout, message));
        }
    }
    Ok(found)
}

/// The next record that the consumer reads.
///
/// # Errors
/// Those of [`next_records`].
pub async fn next_record(consumer: &mut Consumer) -> Result<OwnedRecord> {
    let mut records = next_records(consumer, 1).await?;
    Ok(records.swap_remove(0))
}
