//! The one loop that gives a [`Machine`] a clock and a caller.

use super::clock::NetClock;
use crate::error::Error;
use crate::machine::{Clock, Machine};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::{future::Future, sync::Arc, time::Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

/// Sends a request and waits for its response.
pub trait Call<M: Machine>: Send {
    /// The answer, or why there is none. The future is driven beside others and may be dropped once the machine is
    /// closed.
    fn call(&self, request: M::Request) -> impl Future<Output = Result<M::Response, Error>> + Send;
}

/// A change to a machine: an inherent method of it, with its arguments.
pub type Command<M> = Box<dyn FnOnce(&mut M, Instant) + Send>;

/// Runs until the machine is closed. `wake` is rung when something outside that the machine looks at has changed.
pub async fn drive<M: Machine, C: Call<M>>(
    mut machine: M,
    caller: C,
    mut commands: mpsc::Receiver<Command<M>>,
    events: mpsc::Sender<M::Event>,
    wake: Arc<Notify>,
    clock: NetClock,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut outbox = None;
    let (mut has_handles, mut has_listener) = (true, true);
    loop {
        while let Some((id, request)) = machine.poll_request() {
            let answer = caller.call(request);
            in_flight.push(async move { (id, answer.await) });
        }
        if outbox.is_none() {
            outbox = machine.poll_event();
        }
        if !has_listener {
            outbox = None;
        }
        // Requests still in flight (a parked JoinGroup) don't hold up the end; dropping them is not an answer to them. Nor does
        // an application that has stopped listening: what it has no room for is told by the end itself.
        if machine.is_closed() {
            while let Some(event) = outbox.take().or_else(|| machine.poll_event()) {
                if events.try_send(event).is_err() {
                    break;
                }
            }
            return;
        }
        let deadline = machine.poll_timeout().map(tokio::time::Instant::from_std);
        tokio::select! {
            command = commands.recv(), if has_handles => match command {
                Some(command) => command(&mut machine, clock.now()),
                None => {
                    has_handles = false;
                    machine.handle_abandoned(clock.now());
                }
            },
            Some((id, response)) = in_flight.next() => machine.handle_response(clock.now(), id, response),
            // Delivering an event never blocks the loop: a slow application must not stop heartbeats.
            permit = events.reserve(), if outbox.is_some() => match (permit, outbox.take()) {
                (Ok(permit), Some(event)) => permit.send(event),
                _ => has_listener = false,
            },
            () = wake.notified() => {}
            () = sleep_until(deadline.unwrap_or_else(|| clock.now().into())), if deadline.is_some() => {}
        }
        // Expiry is judged by the clock after every wake-up, not by which arm won.
        if machine.poll_timeout().is_some_and(|at| at <= clock.now()) {
            machine.handle_timeout(clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::RequestId;

    /// Tells three things, and ends when it is abandoned.
    #[derive(Default)]
    struct Teller {
        told: u8,
        abandoned: bool,
    }

    impl Machine for Teller {
        type Request = ();
        type Response = ();
        type Event = u8;

        fn handle_response(&mut self, _: Instant, _: RequestId, _: Result<(), Error>) {}
        fn handle_timeout(&mut self, _: Instant) {}

        fn handle_abandoned(&mut self, _: Instant) {
            self.abandoned = true;
        }

        fn poll_request(&mut self) -> Option<(RequestId, ())> {
            None
        }

        fn poll_event(&mut self) -> Option<u8> {
            self.told += 1;
            (self.told <= 3).then_some(self.told)
        }

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }

        fn is_closed(&self) -> bool {
            self.abandoned
        }
    }

    struct Nobody;

    impl Call<Teller> for Nobody {
        async fn call(&self, (): ()) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A group's task outlived its client while the application did not poll.
    #[tokio::test]
    async fn the_end_waits_for_no_listener_and_tells_what_there_is_room_for() {
        for (room, heard) in [(1, 1), (2, 2), (8, 3)] {
            let (handle, commands) = mpsc::channel(1);
            let (events, mut listener) = mpsc::channel(room);
            drop(handle);
            drive(Teller::default(), Nobody, commands, events, Arc::new(Notify::new()), NetClock::System).await;
            assert_eq!(std::iter::from_fn(|| listener.try_recv().ok()).count(), heard);
        }
    }
}
