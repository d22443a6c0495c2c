//! What a consumer reads, and how far: the assignment, a position per partition, what is paused, and where a position
//! comes from that is not known yet.
//!
//! Whatever moves a position (assign, seek, reset) gives the partition a new *generation*: answers and buffered data
//! of an older one are stale and dropped, however late they come.

use super::completed_fetch::CompletedFetch;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, OffsetAndMetadata, TopicId, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// `auto.offset.reset`: where to start without a committed offset, and where to go on when the position is out of
/// range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OffsetReset {
    /// At the oldest record there is.
    Earliest,
    /// At the end: only what is written from then on. Kafka's default.
    #[default]
    Latest,
    /// At the first record that is at most this old, by its timestamp; at the end if there is none (KIP-1106).
    ByDuration(Duration),
    /// Nowhere: an error of kind `NoOffset`, and the application must `seek`.
    None,
}

pub use crate::wire::list_offsets::OffsetSpec;

/// The next record to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its offset.
    pub offset: i64,
    /// The leader epoch of the record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Whether a partition has a position.
///
/// ```text
///                 committed offset, seek
/// Initializing ---------------------------> Fetching <---- seek, from anywhere
///      | nothing committed                  |      ^
///      v              OFFSET_OUT_OF_RANGE   |      | ListOffsets has an answer
/// AwaitReset <------------------------------+      |
///      |  +----------------------------------------+
///      | auto.offset.reset=none
///      v
/// NoOffset (until a seek)
///
///            another leader epoch                     the epoch reaches as far, or no broker can say
/// Fetching ------------------------> AwaitValidation ------------------------------------------------> Fetching
///                                         | truncated: Fetching at the end of the epoch, or NoOffset
///                                         | epoch unknown: AwaitReset, or NoOffset
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchState {
    /// A committed offset is being looked up.
    Initializing,
    /// A broker is to say where this is.
    AwaitReset(OffsetReset),
    /// There is no position and no rule to make one.
    NoOffset,
    /// There is a position.
    Fetching,
    /// There is a position, and another leader than the one that it was read from: whether that one's log goes as far
    /// is being looked up (KIP-320). Until then nothing is fetched and nothing handed out.
    AwaitValidation,
}

/// Where a newly assigned partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// There.
    At(OffsetAndMetadata),
    /// Where `auto.offset.reset` says.
    Reset,
    /// Not yet known: fetching begins with a `seek` or `Fetcher::start`.
    Later,
}

/// One assigned partition.
#[derive(Debug)]
pub struct Partition {
    pub(in crate::machine) topic_id: TopicId,
    pub(in crate::machine) leader: Option<NodeId>,
    pub(in crate::machine) leader_epoch: Option<LeaderEpoch>,
    /// The replica that the leader has sent us to (KIP-392), and until when that holds.
    pub(in crate::machine) preferred_replica: Option<(NodeId, Instant)>,
    pub(in crate::machine) state: FetchState,
    /// The next record to hand out.
    pub(in crate::machine) position: Position,
    /// The next offset to ask for; never below the position.
    pub(in crate::machine) next_fetch: i64,
    /// The leader epoch of the record before that, if known: what there is to validate.
    pub(in crate::machine) fetch_epoch: Option<LeaderEpoch>,
    pub(in crate::machine) generation: u64,
    pub(in crate::machine) paused: bool,
    /// How far the application says that it is through; gone with the partition.
    pub(in crate::machine) processed: Option<OffsetAndMetadata>,
    /// The Fetch or ListOffsets under way that this partition is part of.
    pub(in crate::machine) in_flight: Option<u64>,
    /// After an error: not asked for before this.
    pub(in crate::machine) not_before: Option<Instant>,
    pub(in crate::machine) failures: u32,
    pub(in crate::machine) high_watermark: Option<i64>,
    pub(in crate::machine) last_stable_offset: Option<i64>,
    pub(in crate::machine) log_start_offset: Option<i64>,
    /// When the position last moved by handing out.
    pub(in crate::machine) last_progress: Option<Instant>,
    /// What has arrived and was not handed out, in order.
    pub(in crate::machine) buffer: VecDeque<CompletedFetch>,
    pub(in crate::machine) buffered: usize,
    /// Whether it stands in the queue of partitions with something to hand out.
    pub(in crate::machine) queued: bool,
    /// The end of the log, as seen by an answer that got there.
    pub(in crate::machine) end: Option<i64>,
    /// The end that the application was told of last.
    pub(in crate::machine) end_told: Option<i64>,
    /// From the first to the last of the answers in a row that found everything handed out and nothing new.
    pub(in crate::machine) caught_up: Option<(Instant, Instant)>,
    /// What the application should know, and when to tell it (again).
    pub(in crate::machine) problem: Option<(Error, Instant)>,
    /// It is about records that were handed out, and was not told yet: no answer takes it back.
    pub(in crate::machine) untold: bool,
    /// A batch of this size did not fit.
    pub(in crate::machine) least_bytes: usize,
    /// When it last got data, in answers: who has waited longest comes first.
    pub(in crate::machine) served: u64,
}

impl Partition {
    fn new(generation: u64) -> Self {
        Self {
            topic_id: TopicId::ZERO,
            leader: None,
            leader_epoch: None,
            preferred_replica: None,
            state: FetchState::Initializing,
            position: Position { offset: -1, leader_epoch: None },
            next_fetch: -1,
            fetch_epoch: None,
            generation,
            paused: false,
            processed: None,
            in_flight: None,
            not_before: None,
            failures: 0,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            last_progress: None,
            buffer: VecDeque::new(),
            buffered: 0,
            queued: false,
            end: None,
            end_told: None,
            caught_up: None,
            problem: None,
            untold: false,
            least_bytes: 0,
            served: 0,
        }
    }

    /// The position, if there is one.
    pub fn position(&self) -> Option<Position> {
        matches!(self.state, FetchState::Fetching | FetchState::AwaitValidation).then_some(self.position)
    }

    /// Whom to fetch from. Everything else is asked of the leader.
    pub(in crate::machine) fn read_from(&self) -> Option<NodeId> {
        self.preferred_replica.map(|(node, _)| node).or(self.leader)
    }

    /// Whether what has arrived may be handed out.
    pub(in crate::machine) fn is_readable(&self) -> bool {
        self.state == FetchState::Fetching && !self.paused
    }

    /// The end of what is replicated, as of the last answer.
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// From the first to the last of the answers in a row that found everything handed out and nothing new.
    pub fn caught_up(&self) -> Option<(Instant, Instant)> {
        self.caught_up
    }

    /// Bytes of batches that have arrived and were not handed out.
    pub fn bytes_buffered(&self) -> usize {
        self.buffered
    }

    /// When the position last moved by handing out; `None` if it never did.
    pub fn last_progress(&self) -> Option<Instant> {
        self.last_progress
    }

    /// The timestamp of the first batch that has arrived and was not handed out, in milliseconds since 1970.
    pub fn oldest_buffered(&self) -> Option<i64> {
        self.buffer.front()?.timestamp()
    }

    /// Goes on elsewhere. What is buffered or under way is stale from now on; the caller gives the buffer's room back.
    pub(in crate::machine) fn move_to(&mut self, position: Position, generation: u64) {
        self.position = position;
        self.fetch_from(position);
        self.state = FetchState::Fetching;
        self.start_over(generation);
    }

    /// Goes on asking there.
    pub(in crate::machine) fn fetch_from(&mut self, position: Position) {
        self.next_fetch = position.offset;
        self.fetch_epoch = position.leader_epoch;
    }

    /// A position that was read under another epoch than the leader's has to be validated: what was read under the
    /// leader's own epoch is in its log.
    pub(in crate::machine) fn check_epoch(&mut self) {
        if self.position().is_none() {
            return;
        }
        let is_doubtful =
            self.fetch_epoch.is_some() && self.leader_epoch.is_some() && self.fetch_epoch != self.leader_epoch;
        self.state = if is_doubtful { FetchState::AwaitValidation } else { FetchState::Fetching };
        if is_doubtful {
            self.caught_up = None;
        }
    }

    pub(in crate::machine) fn start_over(&mut self, generation: u64) {
        self.generation = generation;
        self.in_flight = None;
        self.not_before = None;
        self.failures = 0;
        self.end = None;
        self.end_told = None;
        self.caught_up = None;
        (self.problem, self.untold) = (None, false);
        self.least_bytes = 0;
    }
}

/// The assigned partitions.
#[derive(Debug, Default)]
pub struct SubscriptionState {
    pub(in crate::machine) partitions: BTreeMap<TopicPartition, Partition>,
    generations: u64,
}

impl SubscriptionState {
    pub(in crate::machine) fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    /// Adds a partition without a position; nothing happens to one that is there already.
    pub(in crate::machine) fn add(&mut self, name: TopicPartition) {
        let generation = self.next_generation();
        self.partitions.entry(name).or_insert_with(|| Partition::new(generation));
    }

    /// All assigned partitions, in order.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// An assigned partition.
    pub fn get(&self, name: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(name)
    }

    /// Whether a partition is assigned and paused.
    pub fn is_paused(&self, name: &TopicPartition) -> bool {
        self.partitions.get(name).is_some_and(|partition| partition.paused)
    }

    pub(in crate::machine) fn get_mut(&mut self, name: &TopicPartition) -> Result<&mut Partition> {
        self.partitions.get_mut(name).ok_or_else(|| {
            Error::with_message(ErrorKind::State, "the partition is not assigned").partition(name.clone())
        })
    }

    /// The next record to read of each partition that has a position, as it would be committed.
    pub fn positions(&self) -> impl Iterator<Item = (TopicPartition, OffsetAndMetadata)> + '_ {
        self.partitions.iter().filter_map(|(name, partition)| {
            let Position { offset, leader_epoch } = partition.position()?;
            Some((name.clone(), OffsetAndMetadata { offset, leader_epoch, metadata: String::new() }))
        })
    }

    /// What was marked as processed, of each partition of which something was.
    pub fn processed(&self) -> impl Iterator<Item = (TopicPartition, OffsetAndMetadata)> + '_ {
        self.partitions.iter().filter_map(|(name, partition)| Some((name.clone(), partition.processed.clone()?)))
    }

    /// The application is through with everything before this offset. Replaces what was marked before.
    ///
    /// # Errors
    /// `State` if the partition is not assigned.
    pub fn mark_processed(&mut self, name: &TopicPartition, offset: OffsetAndMetadata) -> Result<()> {
        self.get_mut(name)?.processed = Some(offset);
        Ok(())
    }
}
