//! Whether to restart a process (`/healthz`) and whether it does its work (`/readyz`), with what is missing.

use crate::pipeline::metrics::{Role, StageHealth};
use std::time::Duration;

/// A loop comes round ten times a second; one that hasn't for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What is wrong with the stages that should be at work; a restart helps. A stage that just begins is not missing.
pub(super) fn sick(stages: &[StageHealth]) -> Vec<String> {
    let stuck = stages.iter().filter_map(|stage| Some((stage, stage.quiet.filter(|quiet| *quiet > STUCK)?)));
    stuck.map(|(stage, quiet)| format!("{} has been stuck for {} s", stage.role.name(), quiet.as_secs())).collect()
}

/// Why the process doesn't do its work now; waiting, or somebody else's work, helps.
pub(super) fn waits(stages: &[StageHealth], expected: &[Role], brokers: Result<(), String>) -> Vec<String> {
    let mut missing = sick(stages);
    for role in expected {
        let name = role.name();
        let mine: Vec<_> = stages.iter().filter(|stage| stage.role == *role).collect();
        if mine.is_empty() {
            missing.push(format!("{name} is not running"));
        } else if !mine.iter().any(|stage| stage.joined) {
            missing.push(format!("{name} waits for its group to assign partitions"));
        }
        if mine.iter().any(|stage| stage.db_up == Some(false)) {
            missing.push(format!("{name}'s database does not answer"));
        }
    }
    missing.extend(brokers.err().map(|error| format!("the brokers do not answer: {error}")));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::metrics::Metrics;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "time is paused")]
    async fn what_is_missing_is_said() {
        let metrics = Metrics::new();
        let start = Instant::now();
        let waits = |after, brokers| waits(&metrics.health(start + after), &[Role::Aggregate, Role::Sink], brokers);
        let moment = Duration::from_secs(1);
        assert_eq!(waits(moment, Ok(())), ["aggregate is not running", "sink is not running"]);
        let aggregate = metrics.stage(Role::Aggregate, "a");
        let sink = metrics.stage(Role::Sink, "s");
        assert_eq!(waits(moment, Ok(()))[0], "aggregate waits for its group to assign partitions");
        for stage in [&aggregate, &sink] {
            stage.alive(start);
            stage.joined(true); // with no partition: idle by right
        }
        assert!(waits(moment, Ok(())).is_empty());
        sink.db_up(false);
        let away = waits(moment, Err("timed out".to_owned()));
        assert_eq!(away, ["sink's database does not answer", "the brokers do not answer: timed out"]);
        sink.db_up(true);
        aggregate.alive(start + STUCK);
        assert_eq!(waits(STUCK + moment, Ok(())), ["sink has been stuck for 61 s"]);
        assert_eq!(sick(&metrics.health(start + STUCK + moment)).len(), 1);
        assert!(sick(&metrics.health(start + moment)).is_empty());
    }
}
