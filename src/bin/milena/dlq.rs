//! `milena dlq`: what is in a dead letter queue and why, and sending it once more.

use crate::args::{Failure, Global, Result, context, stage};
use crate::output::{Output, Table};
use crate::records::envelope;
use crate::target::To;
use crate::{dlq_text, events, progress, row, say};
use milena::pipeline::{
    context::Context,
    dlq::{self, Filter, Refusal, Replayed},
    knobs::Knobs,
    scan::Progress,
    sink::{Store, Target, What, embedded::EmbeddedStore, postgres::PostgresStore},
    timestamp,
};
use std::sync::Arc;

/// Dead letters: list, show, replay
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Counts by stage and reason with the originals' coordinates, and the newest records
    List {
        #[command(flatten)]
        which: Which,
        /// How many of the newest are shown
        #[arg(short, value_name = "N", default_value_t = 10)]
        newest: usize,
        /// One JSON line
        #[arg(long)]
        json: bool,
    },
    /// Everything about one record: why it is here, key, value, headers
    Show {
        /// The queue, or T.late
        #[arg(short, long, default_value = "user-behavior-events.dlq")]
        topic: String,
        /// PARTITION@OFFSET in the queue, or TOPIC[PARTITION]@OFFSET of the original
        place: Place,
        /// consume's envelope, to be mended and sent with `produce --json`
        #[arg(long)]
        json: bool,
    },
    /// Sends the aggregator's records back to T, and the sink's through the sink
    ///
    /// The aggregator's keep key, value, headers, timestamp and partition; they are sent in Kafka transactions together
    /// with how far the replay is (group and transactional.id T.dlq.replay), the sink's in database transactions together
    /// with theirs. So neither kill -9 nor a second replay sends anything twice. Nothing leaves the queue.
    ///
    /// Replay after the cause is mended: a higher max.future.ms, a wider column. A record that still is no event comes back
    /// as a new dead letter, and a row that is still refused stays. The aggregator judges what comes back by its watermark
    /// of today: mostly it is late, and goes to T.late. A job that reads T again from its start meets both copies.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Where the sink's records go: postgres://… or embedded:PATH, which no sink may have open; a password as for `sink`
        #[arg(long, value_name = "TARGET", env = To::VARIABLE, hide_env_values = true)]
        to: Option<To>,
        /// Only counts what would be sent; what went through the sink before is counted again
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        events: events::Events,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The queue
    #[arg(short, long, default_value = "user-behavior-events.dlq")]
    topic: String,
    /// Only what this stage set aside: aggregate, merge, sink
    #[arg(long)]
    stage: Option<String>,
    /// Only this reason, such as bad_price; may be given more than once
    #[arg(long)]
    reason: Vec<String>,
}

impl Which {
    fn filter(&self) -> Result<Filter> {
        Filter::parse(self.stage.as_deref(), &self.reason).map_err(Failure::config)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Queue(i32, i64),
    Original(String, i32, i64),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("{text:?} is neither PARTITION@OFFSET nor TOPIC[PARTITION]@OFFSET");
        let (partition, offset) = text.rsplit_once('@').ok_or_else(wrong)?;
        let offset = offset.parse().map_err(|_| wrong())?;
        if let Some((topic, partition)) = partition.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
            return Ok(Self::Original(topic.to_owned(), partition.parse().map_err(|_| wrong())?, offset));
        }
        Ok(Self::Queue(partition.parse().map_err(|_| wrong())?, offset))
    }
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let mut context = match &args.command {
        Command::List { which, .. } => context(global, &format!("records of {}", which.topic)),
        Command::Show { topic, .. } => context(global, &format!("records of {topic}")),
        Command::Replay { which, dry_run: true, .. } => context(global, &format!("records of {}", which.topic)),
        Command::Replay { which, .. } => stage(global, &format!("records of {}", which.topic)),
    }?;
    let done = match args.command {
        Command::List { which, newest, json } => list(&context, &which, newest, json).await,
        Command::Show { topic, place, json } => show(&context, &topic, &place, json).await,
        Command::Replay { which, to, dry_run, events } => {
            let to = To::optional(to.as_ref())?;
            let knobs = Knobs::from_toml(&global.toml()?).map_err(Failure::config)?;
            let max_future = knobs.max_future;
            context.events = events.format(&knobs, global)?;
            Replay { context: &context, which, to, dry_run, max_future, progress: Arc::default() }.run().await
        }
    };
    context.client.close().await;
    done
}

async fn list(context: &Context, which: &Which, newest: usize, json: bool) -> Result<()> {
    let (filter, progress) = (which.filter()?, Arc::new(Progress::default()));
    readable(&which.topic)?;
    let look = dlq::list(context, &which.topic, &filter, newest, &progress);
    let found = progress::beside_scan(progress.clone(), look).await?;
    if json {
        say!("{}", serde_json::to_string(&found).map_err(|error| Failure::config(error.to_string()))?);
        return Ok(());
    }
    let mut groups = Table::new(["STAGE", "REASON", "RECORDS", "ORIGINALS", "COORDINATES"]);
    for group in &found.groups {
        let ranges = dlq_text::ranges(&group.coordinates);
        groups.push(row![group.stage.as_str(), group.reason.as_str(), group.records, group.distinct, ranges]);
    }
    Output::default().table(&groups)?;
    let mut table = Table::new(["NEWEST", "TIMESTAMP", "STAGE", "REASON", "ORIGINAL", "WHY"]);
    for entry in &found.newest {
        let place = format!("{}@{}", entry.partition, entry.offset);
        let time = timestamp::format(entry.ts.saturating_mul(1_000));
        let [stage, reason, original, message] =
            [&entry.stage, &entry.reason, &entry.original, &entry.message].map(|text| text.as_str());
        table.push(row![place, time, stage, reason, original, message]);
    }
    if !table.is_empty() {
        say!("");
        Output::default().table(&table)?;
    }
    if found.foreign > 0 {
        say!("\n{} records were not set aside by milena", found.foreign);
    }
    Ok(())
}

async fn show(context: &Context, topic: &str, place: &Place, json: bool) -> Result<()> {
    readable(topic)?;
    let progress = Arc::new(Progress::default());
    let look = dlq::find(context, topic, &progress, |letter| {
        let is_meant = match place {
            Place::Queue(partition, offset) => {
                (letter.record().partition(), letter.record().offset()) == (*partition, *offset)
            }
            Place::Original(topic, partition, offset) => {
                (letter.topic, letter.partition, letter.offset) == (topic.as_str(), *partition, *offset)
            }
        };
        is_meant.then(|| if json { envelope::line(letter.record()) } else { dlq_text::letter(letter) })
    });
    let found = progress::beside_scan(progress.clone(), look).await?;
    if found.is_empty() {
        return Err(Failure::broker(format!(
            "{topic}: no dead letter is there, or of that; `milena dlq list` says what is"
        )));
    }
    for text in found {
        say!("{text}");
    }
    Ok(())
}

/// Late events carry the same headers, and can be looked at the same way.
fn readable(topic: &str) -> Result<()> {
    if topic.ends_with(".late") { Ok(()) } else { Ok(dlq::input_of(topic).map(drop)?) }
}

struct Replay<'a> {
    context: &'a Context,
    which: Which,
    to: Option<Target>,
    dry_run: bool,
    max_future: i64,
    progress: Arc<Progress>,
}

impl Replay<'_> {
    async fn run(self) -> Result<()> {
        let (filter, topic) = (self.which.filter()?, self.which.topic.as_str());
        let input = dlq::input_of(topic)?;
        if let Some(Target::Embedded(path)) = &self.to
            && !path.is_file()
        {
            return Err(Failure::config(format!("{}: there is no such file", path.display())));
        }
        let back = dlq::back_to_input(self.context, topic, &filter, self.dry_run, &self.progress);
        let (mut all, mut refusals) = progress::beside_scan(self.progress.clone(), back).await?;
        let dry = if self.dry_run { " (dry run: nothing was)" } else { "" };
        say!("back to {input}: {} sent{dry}, {} repeated, {} still refused", all.sent, all.repeated, all.refused);
        for what in [What::Purchases, What::Windows] {
            let (part, refused) = self.sink(what, &filter).await?;
            if part.read > 0 {
                say!(
                    "into {}: {} rows{dry}, {} there already, {} still refused",
                    what.table(),
                    part.sent,
                    part.repeated,
                    part.refused
                );
            }
            all.add(&part);
            refusals.extend(refused);
        }
        for Refusal { original, why, .. } in refusals.iter().take(5) {
            say!("  {}: {}", dlq_text::cell(original), dlq_text::cell(why));
        }
        let receipt = all.receipt();
        say!("{}", receipt.to_json());
        if self.context.stop.is_stopped() {
            eprintln!("milena: stopped before the end; what was sent is remembered, start it again for the rest");
        }
        if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
    }

    async fn sink(&self, what: What, filter: &Filter) -> Result<(Replayed, Vec<Refusal>)> {
        // Looked at first: a table that no letter is for is not made.
        let (mut dry, _) = self.through(what, None::<&mut EmbeddedStore>, filter).await?;
        let scope = dlq::scope(&self.which.topic, what);
        match &self.to {
            _ if self.dry_run || dry.read == 0 => Ok((dry, Vec::new())),
            Some(Target::Embedded(path)) => {
                let mut store =
                    EmbeddedStore::open(path, scope).map_err(|error| Failure::database(error.to_string()))?;
                self.through(what, Some(&mut store), filter).await
            }
            Some(Target::Postgres(url)) => {
                let mut store =
                    PostgresStore::new(url.expose(), scope).map_err(|error| Failure::config(error.to_string()))?;
                self.through(what, Some(&mut store), filter).await
            }
            Some(other) => Err(Failure::config(format!("--to {other:?} is not supported"))),
            None => {
                eprintln!("milena: {} dead letters are the sink's: --to says where they go", dry.read);
                dry.left_alone("no_target");
                Ok((dry, Vec::new()))
            }
        }
    }

    async fn through<S: Store>(
        &self,
        what: What,
        store: Option<&mut S>,
        filter: &Filter,
    ) -> Result<(Replayed, Vec<Refusal>)> {
        let topic = self.which.topic.as_str();
        let through = dlq::through_the_sink(self.context, topic, what, store, filter, self.max_future, &self.progress);
        Ok(progress::beside_scan(self.progress.clone(), through).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_the_queue_or_an_originals() {
        assert_eq!("3@17".parse(), Ok(Place::Queue(3, 17)));
        assert_eq!("a.b[0]@5".parse(), Ok(Place::Original("a.b".to_owned(), 0, 5)));
        for wrong in ["3", "3@", "x@1", "a[@1", "a[x]@1", "@"] {
            assert!(wrong.parse::<Place>().unwrap_err().contains("PARTITION@OFFSET"), "{wrong}");
        }
    }
}
