//! What a stage writes between two commits: sent at once, waited for together.

use crate::{
    pipeline::{context::Context, dead_letter::SetAside, error::Result},
    producer::{Delivery, Producer, ProducerRecord},
};

/// A producer and the deliveries that the next commit has to wait for.
#[derive(Debug)]
pub(super) struct Outbox {
    producer: Producer,
    pending: Vec<Delivery>,
}

impl Outbox {
    /// Nothing sent yet.
    pub(super) fn new(producer: Producer) -> Self {
        Self { producer, pending: Vec::new() }
    }

    /// Sends a row; it carries the wall clock as its timestamp.
    ///
    /// # Errors
    /// The producer's.
    pub(super) async fn send(&mut self, topic: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.pending.push(self.producer.send(ProducerRecord::new(topic).key(key).value(value)).await?);
        Ok(())
    }

    /// Sends late or dead records.
    ///
    /// # Errors
    /// The producer's.
    pub(super) async fn set_aside(&mut self, topic: &str, records: &[SetAside]) -> Result<()> {
        for record in records {
            self.pending.push(self.producer.send(record.record(topic)).await?);
        }
        Ok(())
    }

    /// Waits until all that was sent is written.
    ///
    /// # Errors
    /// The first record's that is not.
    pub(super) async fn acknowledged(&mut self) -> Result<()> {
        // Not lingering: somebody waits.
        self.producer.flush(Context::FAREWELL * 13).await?;
        for delivery in self.pending.drain(..) {
            delivery.await?;
        }
        Ok(())
    }

    /// Ends the producer.
    ///
    /// # Errors
    /// Records left unacknowledged.
    pub(super) async fn close(&self) -> Result<()> {
        Ok(self.producer.close(Context::FAREWELL).await?)
    }
}
