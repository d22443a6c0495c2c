//! A purge: each record is answered once and truthfully, memory comes back, and the numbers of what was sent hold.

use super::*;
use crate::machine::accumulator::tests::detach;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOT_SENT: (ErrorKind, Certainty) = (ErrorKind::Purged, Certainty::NotSent);
const POSSIBLY_SENT: (ErrorKind, Certainty) = (ErrorKind::Purged, Certainty::PossiblySent);

impl Rig {
    fn purge(&mut self, what: Purge) -> usize {
        self.sender.purge(self.clock.now(), what)
    }

    /// A flush would return.
    fn is_flushed(&self) -> bool {
        self.accumulator.is_flushed(self.accumulator.flush())
    }

    /// One more record is written, as the first of this epoch.
    fn goes_on_in_epoch(&mut self, expected: i16) {
        let ticket = self.append(0);
        let next = self.flush();
        assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], expected));
        self.answer(&next[0], None);
        assert!(ticket.result().unwrap().is_ok());
        assert_eq!(self.accumulator.free_memory(), 10_000);
    }
}

#[test]
fn what_was_never_sent_is_not_sent_wherever_it_waits_and_what_is_under_way_is_written() {
    let mut rig = Rig::new(&[1, -1, 1]);
    let under_way: Vec<Ticket> = (0..5).map(|_| rig.append(0)).collect();
    let first = rig.flush();
    let no_turn = rig.append(0);
    let no_leader = rig.append(1);
    rig.flush();
    let lingers = rig.append_bytes(2, 10);
    assert_eq!(rig.purge(Purge::Queued), 3);
    for ticket in [no_turn, no_leader, lingers] {
        assert_eq!(certainty(&ticket), NOT_SENT);
    }
    first.iter().for_each(|request| rig.answer(request, None));
    assert!(under_way.iter().all(|ticket| ticket.result().unwrap().is_ok()) && rig.is_flushed());
    rig.append(0);
    assert_eq!(sequences(&rig.flush()), [5], "no number was dropped");
}

#[test]
fn what_waits_to_be_sent_again_takes_its_number_along_and_says_whether_it_may_be_written() {
    for (lost_answer, expected) in [(true, POSSIBLY_SENT), (false, NOT_SENT)] {
        let mut rig = Rig::new(&[1]);
        let ticket = rig.append(0);
        let first = rig.flush();
        match lost_answer {
            true => rig.fail(&first[0], lost()),
            false => rig.answer(&first[0], Some(ErrorCode::NotEnoughReplicas)),
        }
        assert_eq!(rig.purge(Purge::InFlight), 0);
        assert_eq!(rig.purge(Purge::Queued), 1);
        assert_eq!(certainty(&ticket), expected);
        assert!(rig.is_flushed() && rig.within(150).is_empty(), "it is not sent again");
        rig.goes_on_in_epoch(1);
    }
}

/// The broker may answer anything, or nothing: by then it was told and its number given up.
#[test]
fn what_was_purged_under_way_lands_later_without_a_word_and_nothing_goes_before() {
    let refusals = [ErrorCode::NotEnoughReplicas, ErrorCode::OutOfOrderSequenceNumber, ErrorCode::MessageTooLarge];
    let answers = [None].into_iter().chain(refusals.map(Some)).map(Some).chain([None]);
    for answer in answers {
        let mut rig = Rig::new(&[1]);
        let tickets = [rig.append(0), rig.append(0)];
        let under_way = rig.flush();
        assert_eq!((rig.purge(Purge::Queued), rig.purge(Purge::InFlight), rig.purge(Purge::All)), (0, 2, 0));
        assert!(tickets.iter().all(|ticket| certainty(ticket) == POSSIBLY_SENT) && rig.is_flushed());
        assert!(rig.accumulator.free_memory() < 10_000, "it may still be read");
        let after = rig.append(0);
        assert!(rig.flush().is_empty(), "nothing of the new epoch before the old one has landed");
        for request in &under_way {
            match answer {
                Some(code) => rig.answer(request, code),
                None => rig.fail(request, lost()),
            }
        }
        assert!(tickets.iter().all(|ticket| certainty(ticket) == POSSIBLY_SENT), "{answer:?}");
        let next = rig.within(150);
        assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], 1), "{answer:?}");
        rig.answer(&next[0], None);
        assert!(after.result().unwrap().is_ok());
        assert_eq!(rig.accumulator.free_memory(), 10_000);
        rig.append(0);
        assert_eq!(sequences(&rig.flush()), [1], "one new epoch for all that was dropped");
    }
}

#[test]
fn what_is_left_in_the_queue_is_sent_under_its_own_number_when_what_was_under_way_is_purged() {
    let mut rig = Rig::new(&[1]);
    let tickets: Vec<Ticket> = (0..3).map(|_| rig.append(0)).collect();
    let first = rig.flush();
    rig.fail(&first[0], lost());
    assert_eq!(rig.purge(Purge::InFlight), 2);
    first[1..].iter().for_each(|request| rig.answer(request, None));
    let again = rig.within(150);
    assert_eq!(again.iter().map(|request| &request.batches).collect::<Vec<_>>(), [&first[0].batches]);
    rig.answer(&again[0], Some(ErrorCode::DuplicateSequenceNumber));
    assert!(tickets[0].result().unwrap().is_ok());
    rig.goes_on_in_epoch(1);
}

#[test]
fn without_idempotence_nothing_is_waited_for() {
    let mut rig = Rig::with(&[1], SenderConfig { idempotence: false, ..sender_config() }, config());
    let ticket = rig.append(0);
    let first = rig.flush();
    assert_eq!(rig.purge(Purge::All), 1);
    assert_eq!(certainty(&ticket), POSSIBLY_SENT);
    let after = rig.append(0);
    let next = rig.flush();
    rig.answer(&first[0], None);
    rig.answer(&next[0], None);
    assert!(after.result().unwrap().is_ok());
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

/// It was appended before the purge; that another task has it in its hands makes no difference.
#[test]
fn what_is_being_compressed_is_purged_too() {
    let mut rig = Rig::new(&[1]);
    let called = Arc::new(AtomicUsize::new(0));
    let mut callback: Option<crate::machine::batch::Callback> = Some(Box::new({
        let called = called.clone();
        move |_| {
            called.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let record = value(&[0; 700]);
    let ticket = rig.accumulator.try_append(&rig.topic, Target::Partition(0), &record, None, &mut callback);
    let ticket = ticket.unwrap().unwrap();
    let (accumulator, topic) = (rig.accumulator.clone(), rig.topic.clone());
    let compress = detach(&accumulator, &topic, 0);
    let behind = rig.append(0);
    assert_eq!(rig.purge(Purge::All), 2);
    assert_eq!(rig.purge(Purge::All), 0);
    let after = rig.append(0);
    assert!(rig.flush().is_empty(), "its place is kept");
    compress();
    assert_eq!((certainty(&ticket), certainty(&behind), called.load(Ordering::Relaxed)), (NOT_SENT, NOT_SENT, 1));
    let next = rig.turn();
    assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], 0));
    rig.answer(&next[0], None);
    assert!(after.result().unwrap().is_ok());
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}
