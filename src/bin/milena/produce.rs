//! `milena produce`: what stdin or files hold becomes records.

mod batch;
mod framing;
mod pattern;
mod sending;
mod source;

use crate::args::{Failure, Global, Result, Role, stop_on_signal};
use crate::limit::{self, waiting_for};
use crate::records::{escapes::unescape, format::Format, meter::Meter};
use batch::Defaults;
use framing::Framing;
use milena::client::Client;
use milena::pipeline::stop::Stop;
use milena::producer::ProducerConfig;
use pattern::Pattern;
use sending::{PATIENCE, Sending, To, patient};
use source::Input;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How long is waited for the last acknowledgements, once all records have an outcome or are given up.
const CLOSING: Duration = Duration::from_secs(60);
/// `transaction.timeout.ms`, where nothing else is said.
const TRANSACTION: Duration = Duration::from_secs(60);

/// Writes each line of stdin as a record
///
/// Or each piece up to -D, each envelope of `consume --json` (--json), each match of a pattern (-f), each file.
///
/// Tokens of -f: %t topic, %k key, %v value, each up to the text behind it in the pattern; %T %K %V sizes that come before
/// what they are of, or that are given: %K{4}; %p partition, %d timestamp, %%. Texts can be {hex} or {base64}; numbers {hex4}
/// to {hex64}, {big8} to {big64}, {little8} to {little64}, {byte}, or of so many digits: %p{2}. Escapes: \n \t \r \0 \\ \xNN.
///
/// A record that is not written is told with its line, and the exit code is 2; input that can't be read ends it with 1, after
/// the records before that are written.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Each file is one record; with --lines, --json or -f their contents are cut as stdin is
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The topic; the broker may create it. Not needed where records name theirs: --keep-topic, or %t in -f
    #[arg(short, long, allow_hyphen_values = true, required_unless_present_any = ["keep_topic", "format"])]
    topic: Option<String>,
    /// Lines are the envelopes of `consume --json`: key, payload, headers and ts are taken over, null and empty apart
    #[arg(long, short_alias = 'J')]
    json: bool,
    /// With --json: into the topic that the envelope names, if it names one
    #[arg(long, requires = "json")]
    keep_topic: bool,
    /// With --json: into the partition that the envelope names
    #[arg(long, requires = "json", conflicts_with = "partition")]
    keep_partition: bool,
    /// Reads records by this pattern, whose tokens --help lists
    #[arg(short, long, allow_hyphen_values = true, conflicts_with_all = ["json", "delimiter", "key_delimiter"])]
    format: Option<String>,
    /// What ends a record
    #[arg(
        short = 'D',
        long,
        value_name = "TEXT",
        default_value = r"\n",
        allow_hyphen_values = true,
        conflicts_with = "json"
    )]
    delimiter: String,
    /// What is before the first of these in a record is its key
    #[arg(short = 'K', long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "json")]
    key_delimiter: Option<String>,
    /// The key of all records that bring none
    #[arg(short, long, allow_hyphen_values = true)]
    key: Option<String>,
    /// A header of all records: NAME=VALUE, NAME:VALUE, or NAME for one without a value; may be given more than once
    #[arg(short = 'H', long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    header: Vec<String>,
    /// An empty key or value is null: a tombstone
    #[arg(short = 'Z', long, visible_alias = "tombstone")]
    null: bool,
    /// Into this partition; -1 is any
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd, as -X compression.type
    #[arg(short = 'z', long, value_name = "CODEC")]
    compression: Option<String>,
    /// all, 1 or 0, as -X acks
    #[arg(long, allow_negative_numbers = true)]
    acks: Option<String>,
    /// Files hold records as stdin does
    #[arg(short, long, requires = "files")]
    lines: bool,
    /// Ends after so many records; 0 is no limit
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// All in one transaction under this id, which is aborted if anything goes wrong; also -X transactional.id
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    transactional_id: Option<String>,
    /// A transaction for each N records, or for fewer when half of transaction.timeout.ms is over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    transaction_size: Option<u64>,
    /// Prints of each record where it was written: %t topic, %p partition, %o offset, %T timestamp, %i a counter
    #[arg(short, long, value_name = "FORMAT", allow_hyphen_values = true)]
    output_format: Option<String>,
    /// Neither progress nor a count
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    fn framing(&self) -> Result<Framing, String> {
        if self.json {
            return Ok(Framing::Envelopes { topics: self.keep_topic, partitions: self.keep_partition });
        }
        if let Some(pattern) = &self.format {
            let pattern = Pattern::new(pattern)?;
            if self.topic.is_none() && !pattern.names_topics() {
                return Err("which topic? -t TOPIC, or %t in the pattern".to_owned());
            }
            return Ok(Framing::Pattern(pattern));
        }
        let filled = |name: &str, text: &str| match unescape(text)? {
            bytes if bytes.is_empty() => Err(format!("{name} is empty")),
            bytes => Ok(bytes),
        };
        let key = self.key_delimiter.as_deref().map(|text| filled("-K", text)).transpose()?;
        Ok(Framing::Lines { delimiter: filled("-D", &self.delimiter)?, key })
    }

    fn defaults(&self) -> Result<Defaults, String> {
        let partition = match self.partition {
            Some(partition) if partition < -1 => {
                return Err(format!("-p {partition}: partitions begin at 0, and -1 is any"));
            }
            partition => partition.filter(|partition| *partition >= 0),
        };
        let header = |text: &String| {
            // As rpk has it, the first of both; kcat has `=` alone.
            let (name, value) = match text.split_once(['=', ':']) {
                Some((name, value)) => (name, Some(value.as_bytes().to_vec())),
                None => (text.as_str(), None),
            };
            match name {
                "" => Err(format!("-H {text}: a header is NAME=VALUE, or NAME for one without a value")),
                name => Ok((name.as_bytes().to_vec(), value)),
            }
        };
        Ok(Defaults {
            topic: self.topic.clone(),
            partition,
            key: self.key.clone().map(String::into_bytes),
            headers: self.header.iter().map(header).collect::<Result<_, _>>()?,
            empty_is_null: self.null,
        })
    }

    fn report(&self) -> Result<Option<Format>, String> {
        let Some(text) = &self.output_format else { return Ok(None) };
        let format = Format::new(text)?;
        if format.shows_contents() {
            return Err("-o knows where a record was written, and not what is in it: %t %p %o %T %i".to_owned());
        }
        Ok(Some(format))
    }

    fn input(&self) -> Input {
        match self.files.is_empty() {
            true => Input::Stdin,
            false if self.lines || self.json || self.format.is_some() => Input::Cut(self.files.clone()),
            false => Input::Whole(self.files.clone()),
        }
    }
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let mut properties = global.properties(Role::Producer)?;
    for (key, value) in
        [("compression.type", &args.compression), ("acks", &args.acks), ("transactional.id", &args.transactional_id)]
    {
        if let Some(value) = value {
            properties.insert(key, value)?;
        }
    }
    let timeout = properties.iter().find(|(key, _)| *key == "transaction.timeout.ms");
    let timeout = timeout.and_then(|(_, millis)| millis.trim().parse().ok()).map_or(TRANSACTION, Duration::from_millis);
    let config = properties.producer()?.transaction_timeout(timeout);
    if args.transaction_size.is_some() && config.transactional_id().is_none() {
        return Err(Failure::config("--transaction-size needs --transactional-id"));
    }
    let (framing, defaults) = (args.framing().map_err(Failure::config)?, args.defaults().map_err(Failure::config)?);
    let report = args.report().map_err(Failure::config)?;
    let input = args.input();
    let size = input.size().map_err(Failure::config)?;
    let is_typed = matches!(input, Input::Stdin) && std::io::stdin().is_terminal();
    let meter = if args.quiet || is_typed { Meter::hidden() } else { Meter::of_bytes(size) };
    let stop = stop_on_signal(None);
    waiting_for(limit::brokers(global)?);
    let client = patient(&stop, Client::connect(properties.client()?)).await?;
    limit::ends_in_order(&stop);
    let left = args.count.filter(|count| *count > 0).unwrap_or(u64::MAX);
    if is_typed && !args.quiet {
        // Or it looks as if it hung.
        let topic = args.topic.as_deref().unwrap_or("the topics that it names");
        eprintln!("milena: what is typed becomes records of {topic}; Ctrl-D ends it");
    }
    let name = input.name();
    let batches = input.read(framing.clone());
    let sending = Sending::new((name, batches), stop.clone(), defaults, framing, (left, meter, report));
    // On the runtime's workers, not in `block_on`'s thread: from there every wake-up would cross threads.
    let size = args.transaction_size.map(|most| (most, timeout / 2));
    let work = send(client, config, sending, (stop, size), args.quiet);
    tokio::spawn(work).await.map_err(|error| Failure::broker(error.to_string()))?
}

/// Until the input's end or a signal; then what was sent is waited for. `size`: how many records a transaction has at most, and
/// after how long it is committed, however few they are, so that none stays open while input is awaited.
async fn send(
    client: Client,
    config: ProducerConfig,
    mut sending: Sending,
    (stop, size): (Stop, Option<(u64, Duration)>),
    quiet: bool,
) -> Result<()> {
    let closing = || if stop.is_stopped() { PATIENCE } else { CLOSING };
    let closed = match config.transactional_id().map(str::to_owned) {
        None => {
            let producer = client.producer(config)?;
            sending.some(To::Producer(&producer), u64::MAX, None).await;
            sending.settle(To::Producer(&producer)).await;
            sending.committed();
            producer.close(closing()).await
        }
        Some(id) => {
            let mut producer = patient(&stop, client.transactional_producer(id, config)).await?;
            while sending.has_more().await {
                let transaction = match patient(&stop, producer.begin()).await {
                    Ok(transaction) => transaction,
                    Err(error) => {
                        sending.aborted(Some(&error));
                        break;
                    }
                };
                let (most, until) = size.map_or((u64::MAX, None), |(most, age)| (most, Some(Instant::now() + age)));
                sending.some(To::Transaction(&transaction), most, until).await;
                sending.settle(To::Transaction(&transaction)).await;
                if sending.is_doomed() {
                    let aborted = patient(&stop, transaction.abort()).await;
                    sending.aborted(aborted.as_ref().err());
                    break;
                }
                match patient(&stop, transaction.commit()).await {
                    Ok(()) => sending.committed(),
                    Err(error) => {
                        sending.uncommitted(&error);
                        break;
                    }
                }
            }
            producer.close(closing()).await
        }
    };
    sending.name_the_nearest(&client).await;
    client.close().await;
    sending.finish(quiet)?;
    closed.map_err(Failure::from)
}
