//! What an aggregator refuses or warns of before it begins.

use super::Options;
use crate::{
    admin::Admin,
    ids::TopicPartition,
    pipeline::{
        context::wall_micros,
        counts::{Cents, Counts},
        error::{PipelineError, Result},
        event::Reason,
        topics,
        window::{Metadata, PartitionWindows},
    },
};
use std::sync::Arc;

/// `offset.metadata.max.bytes` of a broker, by default.
const METADATA_LIMIT: usize = 4_096;
/// Most of `offsets.retention.minutes`, which is seven days by default.
const NEARLY_FORGOTTEN: i64 = 5 * 86_400_000;

/// Refuses a compacted input and a job whose state can't be committed; warns of a retention that is too short.
pub(super) async fn before_start(admin: &Admin, options: &Options) -> Result<()> {
    let (spec, topic) = (&options.spec, &options.topics.input);
    if spec.max_jump.is_some_and(|jump| jump < spec.longest().saturating_add(spec.bound)) {
        // Records that are read again are compared with the newest event of the last life.
        return Err(PipelineError::Config(
            "max.jump.ms must be at least the longest window and the bound together".to_owned(),
        ));
    }
    let configs = admin.describe_configs(topic).await?;
    let value =
        |name: &str| configs.iter().find(|config| config.name == name).and_then(|config| config.value.as_deref());
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        return Err(PipelineError::Config(format!(
            "{topic} is compacted: records that the windows need disappear from it; set cleanup.policy=delete"
        )));
    }
    if let Some(retention) = value("retention.ms").and_then(|text| text.parse::<i64>().ok()).filter(|ms| *ms >= 0) {
        let outage = i64::try_from(options.planned_outage.as_millis()).unwrap_or(i64::MAX);
        let needed = ((options.spec.longest() + options.spec.bound) / 1_000).saturating_add(outage);
        if retention < needed {
            tracing::warn!(
                topic,
                retention_ms = retention,
                needed_ms = needed,
                "retention is shorter than the longest window, the bound and the longest planned outage together: after such an \
                 outage records would be gone"
            );
        }
    }
    check_metadata_size(options)
}

/// Refuses a group that was ended as a whole, and whose topic has got new records since. One that was killed on its way to
/// the end goes on.
pub(super) async fn refuse_ended(admin: &Admin, options: &Options) -> Result<()> {
    let input = &options.topics.input;
    let partitions = usize::try_from(topics::partitions(admin, input).await?).unwrap_or(0);
    let committed = admin.list_group_offsets(&options.spec.job).await?;
    let of_input = committed.iter().filter(|(name, _)| *name.topic == **input);
    let (mut ended, mut new) = (0, 0);
    for (_, found) in of_input {
        ended += usize::from(Metadata::parse(&found.committed.metadata).is_ok_and(|metadata| metadata.is_ended()));
        new += found.lag().unwrap_or(0);
    }
    if ended < partitions || new == 0 {
        return Ok(());
    }
    Err(PipelineError::Config(format!("{input}: {} (group {})", super::ended(new), options.spec.job)))
}

/// The state that is committed with an offset must fit, with counts as long as they may become.
fn check_metadata_size(options: &Options) -> Result<()> {
    let spec = &options.spec;
    let mut metadata = PartitionWindows::new(Arc::new(spec.clone()), 0).emission(i64::MAX).metadata;
    const LONG: u64 = 99_999_999_999;
    let mut counts = Counts { read: LONG, kept: LONG, late: LONG, windows_closed: LONG, ..Counts::new(spec) };
    for reason in Reason::ALL {
        counts.dead.insert(reason.name().into(), LONG / 1_000);
    }
    for window in &spec.windows {
        counts.late_by_window.insert(window.name.clone(), LONG / 10);
    }
    for cents in counts.gmv.values_mut() {
        *cents = Cents { stream: 9_999_999_999_999, late: 999_999_999_999, duplicate: 999_999_999_999 };
    }
    (metadata.counts, metadata.at, metadata.wm, metadata.max_ts) =
        (counts, Some(i64::MAX), Some(i64::MAX), Some(i64::MAX));
    let bytes = serde_json::to_string(&metadata).map_or(0, |text| text.len());
    if bytes > METADATA_LIMIT {
        return Err(PipelineError::Config(format!(
            "{} windows need {bytes} bytes of metadata with each offset, and a broker takes {METADATA_LIMIT} \
             (offset.metadata.max.bytes); split them over two groups with --windows and --group",
            spec.windows.len()
        )));
    }
    Ok(())
}

/// A group that is nearly as long away as brokers remember its offsets.
pub(super) fn warn_if_nearly_forgotten(name: &TopicPartition, metadata: &Metadata) {
    let away = metadata.at.map_or(0, |at| wall_micros() / 1_000 - at);
    if away > NEARLY_FORGOTTEN {
        tracing::warn!(
            partition = %name,
            days = away / 86_400_000,
            "nothing was committed for long: brokers forget the offsets of a group without members after \
             offsets.retention.minutes (7 days by default), and then it would begin anew"
        );
    }
}
