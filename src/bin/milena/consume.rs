//! `milena consume`: records on stdout.

mod decode;
mod filter;
mod ranges;
mod stretch;
pub mod times;
mod topics;

use crate::args::{Failure, Global, Result, Role, stop_on_signal};
use crate::limit::{self, waiting_for};
use crate::perf_consume::consumer_of;
use crate::records::{
    envelope,
    escapes::unescape,
    format::{Fields, Format},
    meter::Meter,
};
use decode::{Decode, Decoded, What};
use filter::Filter;
use milena::consumer::{Consumer, ConsumerRecord, IsolationLevel, OffsetReset, Records};
use milena::ids::{LeaderEpoch, OffsetAndMetadata, TopicPartition};
use ranges::{End, Range, Start};
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stretch::{Stretch, stretches};
use topics::Topics;

/// Prints the records of topics
///
/// Where to begin and to end, -o (an end is not printed itself; of two -o one may be the start and one the end):
///
///   start, end, stored     the beginning; the end; where the group has committed
///   47, 47:, +2, -3        an offset; N behind the beginning; the last N
///   :end, 3:end, :47, 3:47, -100:-10
///   @T, @T:, @:T, @T1:T2, @T:end     times: a Unix time in s, ms or ns, 2024-02-14 (UTC), 2024-02-14T12:00:00Z,
///                          or a distance from now such as -1h; T2 also from T1, as in @2024-02-14:1h
///   s@MS, e@MS             as kcat has it, in milliseconds; e@ waits for a record of that time
///
/// Tokens of -f: %t topic, %p partition, %o offset, %k key, %s or %v value, %T timestamp, %h headers as name=value,…,
/// %h{%k=%v } each header by a format of its own, %H how many, %K and %S lengths (-1 for null), %R the value's length in four
/// bytes, %e leader epoch, %i a counter, %%. Modifiers: {hex} {base64} {base64raw} {json} of texts, {big32}, {hex16}, … of
/// numbers, %T{rfc3339}. Escapes: \n \t \r \0 \\ \xNN.
///
/// With -g, or the property group.id, it reads as a member of that group and commits what it has printed.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Topics [default: user-behavior-events]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// A topic; may be given more than once
    #[arg(short, long = "topic", value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Vec<String>,
    /// Topics are regular expressions, which have to match the whole name (cl.* and not cl); without it those that begin with ^
    #[arg(short, long)]
    regex: bool,
    /// Only these partitions
    #[arg(short, long, visible_alias = "partition", value_name = "N,…", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Reads as a member of this group; with -p, only by its committed offsets
    #[arg(short, short_alias = 'G', long)]
    group: Option<String>,
    /// Where to begin and to end, start, -5 or 3:7 (--help has all of them); by default the start with -e, and else what
    /// auto.offset.reset says (the end)
    #[arg(short, long, value_name = "WHERE", allow_hyphen_values = true)]
    offset: Vec<String>,
    /// As -o start
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Ends at the end offsets as they were at the start; a member of a group also if it is given no partition
    #[arg(short, long)]
    exit: bool,
    /// Ends after so many records; 0 is no limit
    #[arg(short, short_alias = 'n', long, alias = "num", alias = "max-messages", value_name = "N")]
    count: Option<u64>,
    /// Only records with this key; of several, any
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Vec<String>,
    /// Only records with this header; of several, all
    #[arg(long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    header: Vec<String>,
    /// As -X isolation.level=read_committed: nothing of open or aborted transactions
    #[arg(long)]
    read_committed: bool,
    /// Prints control records too: the markers with which brokers end transactions; with --json they have "control"
    #[arg(long, visible_alias = "control")]
    print_control_records: bool,
    /// Prints kcat's envelope instead of the bare value: topic, partition, offset, timestamp, headers, key, payload
    #[arg(long, short_alias = 'J')]
    json: bool,
    /// Prints what a Schema Registry's serializers have written as JSON: Avro, Protobuf, JSON; -X schema.registry.url=… names
    /// the registry
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "value")]
    decode: Option<What>,
    /// Prints by this format, whose tokens --help lists, whatever -D, -K and -O say; json is --json
    #[arg(short, long, conflicts_with = "json", allow_hyphen_values = true)]
    format: Option<String>,
    /// Behind each record
    #[arg(short = 'D', long, value_name = "TEXT", default_value = r"\n", allow_hyphen_values = true)]
    delimiter: String,
    /// Prints the key before the value, and this between them
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json", allow_hyphen_values = true)]
    key_delimiter: Option<String>,
    /// Prints the offset first, and -K's delimiter (or a tab) behind it
    #[arg(short = 'O', long, conflicts_with = "json")]
    print_offset: bool,
    /// Prints NULL for a null key or value
    #[arg(short = 'Z', long)]
    null: bool,
    /// Writes each record at once
    #[arg(short, long)]
    unbuffered: bool,
    /// No progress on the terminal
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    fn topics(&self) -> Result<Topics> {
        if let (Some(_), Some(half @ ("key" | "value" | "both"))) =
            (self.decode, self.topics.first().map(String::as_str))
        {
            let topic = format!("a topic of that name is -t {half}");
            return Err(Failure::config(format!("--decode takes what it decodes with =: --decode={half}; {topic}")));
        }
        let mut names: Vec<_> = self.topic.iter().chain(&self.topics).cloned().collect();
        if names.is_empty() {
            names.push("user-behavior-events".to_owned());
        }
        Topics::new(names, self.regex)
    }

    fn form(&self) -> Result<Form, String> {
        let delimiter = unescape(&self.delimiter)?;
        Ok(match self.format.as_deref() {
            Some("json") => Form::Json(delimiter),
            _ if self.json => Form::Json(delimiter),
            Some(format) => Form::Format(Format::new(format)?),
            None => {
                let key = self.key_delimiter.as_deref().map(unescape).transpose()?;
                let offset = self.print_offset.then(|| key.clone().unwrap_or_else(|| b"\t".to_vec()));
                Form::Format(Format::lines(offset, key, delimiter))
            }
        })
    }
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let mut settings = global.settings(Role::Consumer)?;
    settings.retain(|setting| !setting.value.is_empty());
    let has = |key: &str| settings.iter().any(|setting| setting.key == key);
    let (form, filter) =
        (args.form().map_err(Failure::config)?, Filter::new(&args.key, &args.header).map_err(Failure::config)?);
    let topics = args.topics()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut range = Range::parse(args.offset.iter().map(String::as_str), now).map_err(Failure::config)?;
    let in_group = args.group.is_some() || has("group.id");
    let (client, mut config) = consumer_of(global)?;
    if args.from_beginning || range.start.is_none() && (range.end.is_some() || args.exit && !has("auto.offset.reset")) {
        config = config.auto_offset_reset(OffsetReset::Earliest);
        // A group begins where it has committed, and there only if it has not.
        range.start = Some(Start::Beginning).filter(|_| args.from_beginning || !in_group);
    }
    match range.start {
        Some(Start::Beginning) => config = config.auto_offset_reset(OffsetReset::Earliest),
        Some(Start::End) => config = config.auto_offset_reset(OffsetReset::Latest),
        None | Some(Start::Stored) => {}
        // What is gone of a range is not passed over in silence: see `Reading::go_on`.
        Some(_) => config = config.auto_offset_reset(OffsetReset::None),
    }
    let is_member = in_group && args.partitions.is_empty();
    if let Some(group) = &args.group {
        config = config.group_id(group.as_str());
    }
    if in_group {
        config = config.enable_auto_offset_store(false); // what is printed is marked
    } else if range.start == Some(Start::Stored) {
        return Err(Failure::config("-o stored is where a group has committed: name it with -g"));
    }
    if args.read_committed {
        config = config.isolation_level(IsolationLevel::ReadCommitted);
    }
    if !has("allow.auto.create.topics") {
        config = config.allow_auto_create_topics(false); // whoever reads a mistyped name does not mean to make it
    }
    waiting_for(limit::brokers(global)?);
    let mut consumer = client.consumer(config.control_records(args.print_control_records))?;
    let decode = args.decode.map(|what| Decode::new(what, global)).transpose()?;
    let mut reading = Reading {
        decode,
        froms: HashMap::new(),
        ends: None,
        until: None,
        left: args.count.filter(|count| *count > 0).unwrap_or(u64::MAX),
        names: topics.to_string(),
        printed: 0,
        seen: 0,
        in_group,
        is_member,
        idle: None,
        filter,
        form,
        null: if args.null { b"NULL" } else { b"" },
        out: Out {
            buffer: Vec::with_capacity(2 * FULL),
            unbuffered: args.unbuffered,
            is_broken: false,
            has_failed: false,
        },
        meter: Meter::hidden(),
    };
    if is_member {
        if range.end.is_some() || !matches!(range.start, None | Some(Start::Beginning | Start::End | Start::Stored)) {
            return Err(Failure::config(
                "a group starts at its committed offsets: -o can't be combined with group.id, but for start and end, which \
                 say where it starts without any",
            ));
        }
        if args.exit {
            let partitions = topics.partitions(&client, &[]).await?;
            reading.ends = Some(consumer.end_offsets(&partitions).await?.into_iter().collect());
        }
        match &topics {
            Topics::Named(names) => {
                for why in topics.missing(&client).await? {
                    eprintln!("milena: {}", why.about("waiting"));
                }
                consumer.subscribe(names).await?;
            }
            Topics::Matching { pattern, .. } => {
                if let Some(why) = topics.unmatched(&client).await? {
                    eprintln!("milena: {why}; waiting for one");
                }
                consumer.subscribe_pattern(pattern.clone()).await?;
            }
        }
    } else {
        let partitions = topics.partitions(&client, &args.partitions).await?;
        reading.assign(&mut consumer, partitions, range, args.exit).await?;
        if !args.quiet && !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            reading.meter = Meter::of_records(reading.total());
        }
    }
    let printed = reading.run(&mut consumer).await;
    consumer.close(Duration::from_secs(10)).await?;
    client.close().await;
    printed
}

/// How a record is printed.
#[derive(Debug)]
enum Form {
    /// With this behind it.
    Json(Vec<u8>),
    Format(Format),
}

/// What is to be read, and how far that is.
struct Reading {
    /// What is behind a schema's id is printed.
    decode: Option<Decode>,
    /// What is before these is not printed: a start beyond the log's end is where it is, whatever `auto.offset.reset` says.
    froms: HashMap<TopicPartition, i64>,
    /// Partitions that are not through yet, with their ends; `None` if there is no end.
    ends: Option<BTreeMap<TopicPartition, i64>>,
    /// A record of this time or a later one is its partition's end.
    until: Option<i64>,
    left: u64,
    /// The topics, for messages.
    names: String,
    printed: u64,
    /// Printed or not.
    seen: u64,
    /// What is printed is committed.
    in_group: bool,
    /// The group assigns.
    is_member: bool,
    /// Since when it is a member that has no partition.
    idle: Option<Instant>,
    filter: Filter,
    form: Form,
    null: &'static [u8],
    out: Out,
    meter: Meter,
}

impl Reading {
    async fn assign(
        &mut self,
        consumer: &mut Consumer,
        partitions: Vec<TopicPartition>,
        range: Range,
        exit: bool,
    ) -> Result<()> {
        if let Some(End::Reaches(millis)) = range.end {
            self.until = Some(millis);
        }
        let is_plain = matches!(range.start, None | Some(Start::Beginning | Start::End | Start::Stored));
        if is_plain && range.end.is_none() && !exit {
            consumer.assign(partitions.clone()).await?;
            match range.start {
                Some(Start::Beginning) => consumer.seek_to_beginning(&partitions)?,
                Some(Start::End) => consumer.seek_to_end(&partitions)?,
                _ => {}
            }
            return Ok(());
        }
        let mut stretches = stretches(consumer, &partitions, range, exit).await?;
        stretches.retain(|_, stretch| !stretch.is_empty());
        consumer.assign(stretches.keys().cloned()).await?;
        let is_bounded = exit || range.end.is_some();
        self.ends =
            is_bounded.then(|| stretches.iter().filter_map(|(name, at)| Some((name.clone(), at.to?))).collect());
        for (name, Stretch { from, .. }) in stretches {
            if let Some(from) = from {
                consumer.seek(&name, from)?;
                self.froms.insert(name, from);
            }
        }
        Ok(())
    }

    /// How many offsets there are from start to end, if both are known.
    fn total(&self) -> Option<u64> {
        let each = self.ends.as_ref()?.iter().map(|(name, to)| {
            let from = self.froms.get(name)?;
            (*to < i64::MAX).then(|| (to - from).max(0).unsigned_abs())
        });
        each.sum()
    }

    async fn run(&mut self, consumer: &mut Consumer) -> Result<()> {
        let stop = stop_on_signal(None);
        limit::ends_in_order(&stop);
        let mut told = u64::MAX;
        while self.left > 0 && !self.is_through(consumer)? {
            if told != self.printed {
                told = self.printed;
                let behind = if told > 0 { format!(", behind the {told} that were printed") } else { String::new() };
                waiting_for(format!("records of {}{behind}", self.names));
            }
            let records = tokio::select! {
                records = consumer.poll(Duration::from_millis(200)) => match records {
                    Err(error) if error.kind() == milena::error::ErrorKind::NoOffset => {
                        self.go_on(consumer, &error).await?;
                        continue;
                    }
                    records => records?,
                },
                () = stop.stopped() => break,
            };
            let is_empty = records.is_empty();
            let mut behind = Vec::new();
            let printed = self.print(records, &mut behind).await;
            if !is_empty {
                self.out.flush()?;
            }
            if self.in_group && !self.out.is_broken && !self.out.has_failed {
                // A partition that has just gone to another member is read again there.
                let _ = consumer.mark_processed(behind);
                if self.left > 0 && printed.is_ok() {
                    let _ = consumer.mark_processed(self.processed(consumer)); // also behind markers
                }
            }
            printed?;
            if self.out.is_broken {
                return Ok(());
            }
        }
        Ok(())
    }

    /// How far all is printed, or not wanted: the position, but never behind an end, of which more may have arrived.
    fn processed(&self, consumer: &Consumer) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let within = |(name, mut at): (TopicPartition, OffsetAndMetadata)| {
            if let Some(ends) = &self.ends {
                match ends.get(&name) {
                    Some(end) => at.offset = at.offset.min(*end),
                    None if self.is_member => {} // it came after the start, and has no end
                    None => return None,         // through, or nothing of it was wanted
                }
            }
            Some((name, at))
        };
        consumer.positions().into_iter().filter_map(within).collect()
    }

    /// Where a range's start, or what comes next of it, is not in the log: goes on at the first offset that is, and says so; or
    /// at the end, if the start is behind that.
    async fn go_on(&self, consumer: &Consumer, error: &milena::error::Error) -> Result<()> {
        let Some(name) = error.topic_partition().cloned() else { return Err(error.clone().into()) };
        let partitions = [name.clone()];
        let first = consumer.beginning_offsets(&partitions).await?.get(&name).copied();
        let end = consumer.end_offsets(&partitions).await?.get(&name).copied();
        match (first, end) {
            (Some(first), Some(end)) if self.froms.get(&name).is_none_or(|from| *from < end) => {
                eprintln!("milena: {name}: what was wanted before offset {first} is not in the log any more");
                consumer.seek(&name, first)?;
            }
            (Some(_), Some(_)) => consumer.seek_to_end(&partitions)?,
            _ => return Err(error.clone().into()),
        }
        Ok(())
    }

    /// Prints what is wanted of these; `behind` gets what of them is done with.
    async fn print(
        &mut self,
        mut records: Records,
        behind: &mut Vec<(TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        while let Some(batch) = records.next_batch()? {
            if self.left == 0 || self.out.is_broken {
                break;
            }
            let (name, next) = (batch.topic_partition().clone(), batch.next_offset());
            let from = self.froms.get(&name).copied().unwrap_or(0);
            let mut end = match &self.ends {
                None => i64::MAX,
                Some(ends) => ends.get(&name).copied().unwrap_or(if self.is_member { i64::MAX } else { 0 }),
            };
            let (mut cut, printed) = (None, self.printed);
            for record in batch {
                let record = record?;
                self.seen += 1;
                if self.until.is_some_and(|until| record.timestamp() >= until) {
                    end = end.min(record.offset());
                }
                if record.offset() >= end {
                    break;
                }
                if record.offset() < from || !self.filter.takes(record.key(), record.headers()) {
                    continue;
                }
                self.left -= 1;
                self.printed += 1;
                let decoded = match &self.decode {
                    Some(decode) if record.control().is_none() => decode.record(&record).await?,
                    _ => Decoded::default(),
                };
                self.put(&record, &decoded);
                self.out.give()?;
                if self.left == 0 {
                    cut = Some(record.offset() + 1);
                    break;
                }
            }
            self.meter.step(self.printed - printed, self.seen);
            if let Some(ends) = &mut self.ends
                && let Some(known) = ends.get_mut(&name)
            {
                *known = end;
            }
            behind.push((name, OffsetAndMetadata::new(cut.unwrap_or(next).min(end))));
        }
        Ok(())
    }

    fn put(&mut self, record: &ConsumerRecord<'_>, decoded: &Decoded) {
        let buffer = &mut self.out.buffer;
        match &self.form {
            Form::Json(delimiter) => {
                envelope::write_decoded(record, decoded.key.as_deref(), decoded.value.as_deref(), buffer);
                buffer.extend_from_slice(delimiter);
            }
            Form::Format(format) => {
                let fields = Fields {
                    topic: record.topic(),
                    partition: record.partition(),
                    offset: record.offset(),
                    leader_epoch: LeaderEpoch::to_wire(record.leader_epoch()),
                    timestamp: record.timestamp(),
                    key: decoded.key.as_deref().map(str::as_bytes).or(record.key()),
                    value: decoded.value.as_deref().map(str::as_bytes).or(record.value()),
                    headers: record.headers(),
                    counter: self.printed,
                    null: self.null,
                };
                format.write(&fields, buffer);
            }
        }
    }

    /// Whether all has been read up to its end. It is the position that counts: an end may be behind a marker, or records
    /// that compaction has removed.
    fn is_through(&mut self, consumer: &Consumer) -> Result<bool> {
        let Some(ends) = &mut self.ends else { return Ok(false) };
        let is_through = |name: &TopicPartition, end: i64| consumer.position(name).is_some_and(|at| at >= end);
        if self.is_member {
            let assigned = consumer.assignment();
            let end = |name| ends.get(name).copied().unwrap_or(0);
            if !assigned.is_empty() {
                self.idle = None;
                return Ok(assigned.iter().all(|name| is_through(name, end(name))));
            }
            // A member gets nothing at first if others have to give it up before.
            let has_joined = !consumer.group_metadata().member_id().is_empty();
            let is_idle = has_joined && self.idle.get_or_insert_with(Instant::now).elapsed() >= IDLE;
            if is_idle {
                eprintln!("milena: the group's other members have all partitions");
            }
            return Ok(is_idle);
        }
        let through: Vec<_> =
            ends.iter().filter(|(name, end)| is_through(name, **end)).map(|(name, _)| name.clone()).collect();
        ends.retain(|name, _| !through.contains(name));
        if !through.is_empty() && !ends.is_empty() {
            consumer.pause(&through)?; // what comes behind an end is of no use
        }
        Ok(ends.is_empty())
    }
}

/// How long a member that reads up to the end waits for a partition.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes that are written together.
const FULL: usize = 1 << 16;

/// stdout, with a buffer of its own.
struct Out {
    buffer: Vec<u8>,
    unbuffered: bool,
    /// Nobody reads any more, as behind `| head`.
    is_broken: bool,
    /// What was in the buffer is not all written.
    has_failed: bool,
}

impl Out {
    /// There is more in the buffer.
    fn give(&mut self) -> Result<()> {
        if self.unbuffered || self.buffer.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        self.has_failed |= written.is_err();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.is_broken = true,
            written => written?,
        }
        Ok(())
    }
}
