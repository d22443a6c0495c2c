//! The end of a run: what was committed is visible some milliseconds after its commit was answered.

use crate::{
    ids::TopicPartition,
    pipeline::{
        context::Context,
        error::{PipelineError, Result},
        topics,
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Transactions of others may be open on the same topics, for `transaction.timeout.ms` at most.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Waits until readers of what is committed see all that stands on these topics now.
///
/// # Errors
/// The brokers', or a sentence after a minute.
pub(super) async fn wait(context: &Context, outputs: &[String]) -> Result<()> {
    let admin = context.client.admin();
    let mut names = Vec::new();
    for topic in outputs {
        let partitions = topics::partitions(&admin, topic).await?;
        names.extend((0..partitions).map(|partition| TopicPartition::new(topic.as_str(), partition)));
    }
    let written = admin.end_offsets(names.clone()).await?;
    let reader = context.reader()?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let visible = reader.end_offsets(&names).await?;
        let hidden = written.iter().find(|(name, end)| visible.get(*name).is_none_or(|seen| seen < end));
        let Some((name, end)) = hidden else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(PipelineError::Log(format!(
                "{name}: a transaction below offset {end} has been open for a minute; everything of this run is committed, \
                 and readers will see it when that one ends"
            )));
        }
        sleep(LOOK).await;
    }
}
