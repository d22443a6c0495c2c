//! Which job writes which window, how far each is, and what of the input it has judged: beside a running pipeline only
//! that can be compared.

use crate::pipeline::{
    context::Context,
    error::Result,
    rows::{INFINITY, WatermarkRow, WindowRow},
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Job {
    /// By input partition.
    watermarks: BTreeMap<i32, i64>,
    /// What was committed, by input partition, after those watermarks.
    committed: BTreeMap<i32, i64>,
}

impl Job {
    /// What all partitions have passed; an unseen one has passed nothing.
    fn reached(&self, partitions: i32) -> i64 {
        (0..partitions).map(|p| self.watermarks.get(&p).copied().unwrap_or(i64::MIN)).min().unwrap_or(i64::MIN)
    }

    /// Records before this have been judged. One that has ended, or whose offsets have expired, will judge no others.
    fn judged(&self, partition: i32) -> i64 {
        match self.watermarks.get(&partition) {
            Some(&INFINITY) => i64::MAX,
            _ => self.committed.get(&partition).copied().unwrap_or(i64::MAX),
        }
    }
}

/// All jobs over one input.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// By group.
    jobs: BTreeMap<String, Job>,
    /// By window: who wrote the rows of each start, since a job may go on where another has stopped.
    writers: Vec<BTreeMap<i64, String>>,
}

impl Jobs {
    pub(super) fn new(windows: usize) -> Self {
        Self { jobs: BTreeMap::new(), writers: vec![BTreeMap::new(); windows] }
    }

    pub(super) fn watermark(&mut self, mark: WatermarkRow) {
        let greatest = self.jobs.entry(mark.job).or_default().watermarks.entry(mark.partition).or_insert(i64::MIN);
        *greatest = (*greatest).max(mark.watermark_ms);
    }

    pub(super) fn row(&mut self, index: usize, row: &WindowRow) {
        if let Some(writers) = self.writers.get_mut(index)
            && writers.get(&row.start_ms) != Some(&row.job)
        {
            writers.insert(row.start_ms, row.job.clone());
            self.jobs.entry(row.job.clone()).or_default();
        }
    }

    /// Asks how far the jobs have read. After their watermarks: what had closed at those stands before these offsets.
    pub(super) async fn look(&mut self, context: &Context, input: &str) -> Result<()> {
        let admin = context.client.admin();
        for (group, job) in &mut self.jobs {
            let offsets = admin.list_group_offsets(group).await?.into_iter();
            let ours = offsets.filter(|(name, _)| *name.topic == *input);
            job.committed = ours.map(|(name, offset)| (name.partition, offset.committed.offset)).collect();
        }
        Ok(())
    }

    /// What the window's job has passed in all partitions.
    pub(super) fn reached(&self, index: usize, start: i64, partitions: i32) -> i64 {
        self.least(index, start, |job| job.reached(partitions)).unwrap_or(i64::MIN)
    }

    /// Whether the window's job has judged this record.
    pub(super) fn has_judged(&self, index: usize, start: i64, (partition, offset): (i32, i64)) -> bool {
        self.least(index, start, |job| job.judged(partition)).is_none_or(|judged| offset < judged)
    }

    /// Over the jobs that may write the window of this start: whoever has, or else who wrote those around it. Of a name that
    /// nobody has ever written any job may be the writer.
    fn least(&self, index: usize, start: i64, of: impl Fn(&Job) -> i64) -> Option<i64> {
        let writers = self.writers.get(index)?;
        let before = writers.range(..=start).next_back();
        let after = if before.is_some_and(|(at, _)| *at == start) { None } else { writers.range(start..).next() };
        let around = before.into_iter().chain(after).filter_map(|(_, name)| self.jobs.get(name));
        around.map(&of).min().or_else(|| self.jobs.values().map(&of).min())
    }
}
