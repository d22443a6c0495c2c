//! A bar with the time that is left, on a terminal's stderr: for `--until-end`, and while a restart reads again.

use crate::screen::{self, SCREEN};
use indicatif::ProgressBar;
use milena::pipeline::board::{Board, Numbers};
use milena::pipeline::scan::Progress;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const STYLE: &str = "{msg} [{bar:30}] {human_pos}/{human_len} records  {rate}  {eta} left";

/// Runs a stage with a bar beside it that asks `measure` how far each partition is and has to go.
pub async fn beside<T>(board: Arc<Board>, measure: fn(&Numbers) -> Way, stage: impl Future<Output = T>) -> T {
    bar(move || measure(&board.numbers()), stage).await
}

/// The same for what reads a topic to its end.
pub async fn beside_scan<T>(progress: Arc<Progress>, stage: impl Future<Output = T>) -> T {
    let measure = move || {
        let (topic, goals) = progress.now();
        Way { what: format!("reading {topic}").into(), goals }
    };
    bar(measure, stage).await
}

async fn bar<T>(measure: impl Fn() -> Way + Send + 'static, stage: impl Future<Output = T>) -> T {
    if SCREEN.is_hidden() {
        return stage.await;
    }
    let bar = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        let mut shown = Shown::default();
        loop {
            tick.tick().await;
            shown.step(&measure());
        }
    });
    let done = stage.await;
    bar.abort();
    let _ = bar.await;
    let _ = SCREEN.clear();
    done
}

/// What is being done, and position and goal by partition; empty if there is no goal.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Way {
    what: Cow<'static, str>,
    goals: BTreeMap<i32, (i64, i64)>,
}

/// The aggregator's: first what it reads again, then up to `--until-end`.
pub fn aggregate(numbers: &Numbers) -> Way {
    let again = numbers.partitions.values().any(|line| line.position < line.live_from);
    let goals = numbers.partitions.iter().filter_map(|(partition, line)| {
        let goal = if again { Some(line.live_from) } else { line.until };
        goal.map(|goal| (*partition, (line.position.min(goal), goal)))
    });
    Way { what: if again { "reading again" } else { "aggregate" }.into(), goals: goals.collect() }
}

/// Merge's, up to `--until-end`.
pub fn merge(numbers: &Numbers) -> Way {
    let goal = numbers.merged.and_then(|(position, until)| Some((position, until?)));
    Way { what: "merge".into(), goals: goal.map(|goal| (0, goal)).into_iter().collect() }
}

/// The bar of one way; another way is another bar.
#[derive(Default)]
struct Shown {
    what: Cow<'static, str>,
    bar: Option<ProgressBar>,
    /// Where each partition was first seen.
    from: BTreeMap<i32, i64>,
}

impl Shown {
    fn step(&mut self, way: &Way) {
        if (way.what != self.what || way.goals.is_empty())
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
            self.from.clear();
        }
        if way.goals.is_empty() {
            return;
        }
        self.what.clone_from(&way.what);
        let (done, all) = self.measure(way);
        let bar = self.bar.get_or_insert_with(|| screen::part(STYLE).with_message(way.what.clone()));
        bar.set_length(all);
        bar.set_position(done);
    }

    /// Records behind and altogether, since the bar is there.
    fn measure(&mut self, way: &Way) -> (u64, u64) {
        let (mut done, mut all) = (0, 0);
        for (partition, (position, goal)) in &way.goals {
            let from = *self.from.entry(*partition).or_insert(*position);
            done += (position - from).max(0).unsigned_abs();
            all += (goal - from).max(0).unsigned_abs();
        }
        (done, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena::pipeline::board::PartitionLine;

    fn line(position: i64, live_from: i64, until: Option<i64>) -> PartitionLine {
        let mut line = PartitionLine::default();
        (line.position, line.live_from, line.until) = (position, live_from, until);
        line
    }

    #[test]
    fn the_goal_is_what_is_read_again_and_then_the_end() {
        let mut numbers = Numbers::default();
        numbers.partitions.extend([(0, line(5, 10, Some(50))), (1, line(9, 9, Some(20)))]);
        let way = aggregate(&numbers);
        assert_eq!((way.what.as_ref(), way.goals), ("reading again", [(0, (5, 10)), (1, (9, 9))].into()));
        numbers.partitions.insert(0, line(12, 10, Some(50)));
        assert_eq!(aggregate(&numbers).goals, [(0, (12, 50)), (1, (9, 20))].into());
        numbers.partitions = [(0, line(12, 10, None))].into();
        assert!(aggregate(&numbers).goals.is_empty());
    }

    #[test]
    fn a_bar_begins_where_each_partition_was_first_seen() {
        let mut shown = Shown::default();
        let way = |goals| Way { what: "merge".into(), goals };
        assert_eq!(shown.measure(&way([(0, (10, 30))].into())), (0, 20));
        assert_eq!(shown.measure(&way([(0, (15, 30)), (1, (0, 5))].into())), (5, 25));
    }
}
