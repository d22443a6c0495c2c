//! What the sender looks at: which partitions are ready, which linger until when, which batches have no outcome yet.

use super::{TopicQueues, lock};
use crate::error::Error;
use crate::machine::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

/// What the sender looks at.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Partitions with a sealed batch that the sender doesn't know of.
    pub(super) ready: Vec<(Arc<TopicQueues>, u32)>,
    /// Open batches in the order of their deadlines, which is the order of opening, since all linger equally long.
    pub(super) opened: VecDeque<Opened>,
    /// Of the batches opened since the sender looked.
    pub(super) earliest_deadline: Option<Instant>,
    pub(super) unfinished: Unfinished,
    pub(super) sender: Option<Waker>,
    pub(super) wants_ready: bool,
    pub(super) wants_opened: bool,
    /// Open batches with a smaller id don't linger. In here, not an atomic beside it: the sender must not miss it between
    /// looking and leaving its waker.
    pub(super) flush_until: u64,
    /// The youngest batch of which somebody awaits a record.
    pub(super) awaited: Option<u64>,
    /// A batch that doesn't linger while it has one record: that is awaited, and nothing else is unfinished.
    pub(super) prompt: Option<u64>,
    /// Senders that wait for memory.
    pub(super) waiting: usize,
    /// Why a batch could not be compressed, until somebody asks.
    pub(super) seal_error: Option<Error>,
    pub(super) closed: bool,
    pub(super) abandoned: bool,
}

impl Schedule {
    /// Whether the one who waits has found out to be waiting for nothing but a linger.
    pub(super) fn is_prompted(&mut self) -> bool {
        let unfinished = &self.unfinished;
        let mut batches = unfinished.batches.iter();
        let is_sole = self.awaited == Some(unfinished.base)
            && batches.next() == Some(&Progress::Open)
            && batches.all(|progress| *progress == Progress::Done);
        is_sole && self.prompt.replace(unfinished.base) != Some(unfinished.base)
    }
}

/// How a batch tells that somebody awaits one of its records.
#[derive(Debug)]
pub struct Attention {
    pub(super) schedule: Weak<Mutex<Schedule>>,
    pub(super) id: u64,
}

impl Attention {
    /// To be called when the first one waits. A record that is awaited while nothing else is unfinished won't get company
    /// by lingering.
    pub fn on_awaited(&self) {
        let Some(schedule) = self.schedule.upgrade() else { return };
        let mut schedule = lock(&schedule);
        schedule.awaited = schedule.awaited.max(Some(self.id));
        if schedule.is_prompted() {
            wake_sender(schedule);
        }
    }
}

#[derive(Debug)]
pub(super) struct Opened {
    pub(super) ready_at: Instant,
    pub(super) deadline: Instant,
    pub(super) topic: Arc<TopicQueues>,
    pub(super) partition: u32,
    pub(super) id: u64,
}

/// Which batches have no outcome yet, as a window over their ids.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    pub(super) base: u64,
    pub(super) batches: VecDeque<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Progress {
    Open,
    Sealed(u32),
    Done,
}

impl Unfinished {
    pub(super) fn next_id(&self) -> u64 {
        self.base + self.batches.len() as u64
    }

    pub(super) fn set(&mut self, id: u64, progress: Progress) {
        if let Some(batch) = id.checked_sub(self.base).and_then(|at| self.batches.get_mut(at as usize)) {
            *batch = progress;
        }
        while self.batches.front() == Some(&Progress::Done) {
            self.batches.pop_front();
            self.base += 1;
        }
    }
}

/// When an open batch is ready although it is not full.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    pub(super) now: Instant,
    pub(super) flush_until: u64,
    pub(super) all: bool,
    /// This one, as long as it has one record.
    pub(super) prompt: Option<u64>,
}

/// What `RecordAccumulator::collect` found besides what is ready.
#[derive(Debug, Clone, Copy)]
pub struct Collected {
    /// The rule for `RecordAccumulator::drain`.
    pub readiness: Readiness,
    /// When the next open batch has lingered: look again then.
    pub lingers_until: Option<Instant>,
    /// The earliest deadline of the batches opened since the last look.
    pub deadline: Option<Instant>,
    /// Every handle is gone, or its owner has no more patience.
    pub abandoned: bool,
}

impl Readiness {
    /// When it was made.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether something may be ready by it that was not before, its time apart.
    pub fn is_wider(&self, before: Option<Self>) -> bool {
        before.is_none_or(|before| (self.all && !before.all) || self.flush_until > before.flush_until)
    }

    pub(super) fn is_ready(&self, id: u64, ready_at: Instant) -> bool {
        self.all || id < self.flush_until || ready_at <= self.now
    }
}

pub(super) fn wake_sender(mut schedule: MutexGuard<'_, Schedule>) {
    (schedule.wants_ready, schedule.wants_opened) = (false, false);
    let waker = schedule.sender.take();
    drop(schedule);
    waker.into_iter().for_each(Waker::wake);
}
