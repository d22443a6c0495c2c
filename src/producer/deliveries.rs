//! `Deliveries`: the acknowledgements of what one `send_many` was given.

use super::Delivery;
use crate::error::Result;
use crate::machine::accumulator::Tickets;
use std::future::poll_fn;

/// The acknowledgements of the records of one [`send_many`](super::Producer::send_many), in their order. They take memory
/// per batch, not per record, where records of one batch follow on each other.
///
/// Every record has one, also a record that was not taken: that delivery has failed already, as
/// [`NotSent`](crate::error::Certainty::NotSent), with the reason. Dropping this means not to care: what was taken is sent
/// all the same.
#[derive(Debug)]
#[must_use = "records are acknowledged when their deliveries are, and this is where those that were refused are told"]
pub struct Deliveries {
    tickets: Tickets,
}

impl Deliveries {
    pub(super) fn new(tickets: Tickets) -> Self {
        Self { tickets }
    }

    /// How many records there were.
    pub fn len(&self) -> usize {
        self.tickets.count()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them were not taken: nothing was sent of them, nor will be.
    pub fn refused(&self) -> usize {
        self.tickets.refused()
    }

    /// The delivery of record number `i`, from 0.
    pub fn get(&self, i: usize) -> Option<Delivery> {
        self.tickets.get(i).map(Delivery::new)
    }

    /// One delivery after another, in the order of the records.
    pub fn iter(&self) -> impl Iterator<Item = Delivery> {
        let mut cursor = self.tickets.cursor();
        std::iter::from_fn(move || {
            let ticket = cursor.ticket().cloned();
            cursor.advance();
            ticket.map(Delivery::new)
        })
    }

    /// Waits until every record has an outcome.
    ///
    /// Dropping the future stops nothing; it may be called again.
    ///
    /// # Errors
    /// That of the first record, in their order, that has failed.
    pub async fn all(&self) -> Result<()> {
        let mut first = Ok(());
        let mut cursor = self.tickets.cursor();
        while let Some(ticket) = cursor.ticket() {
            let result = poll_fn(|cx| ticket.poll(cx)).await;
            first = first.and(result.map(drop));
            cursor.advance();
        }
        first
    }
}
