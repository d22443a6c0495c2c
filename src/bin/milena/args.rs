//! What every subcommand shares: the global options, the order of their sources, exit codes, interruption.

use crate::limit;
use crate::output::{self, name_of};
use milena::{
    client::Client,
    error::{Error, ErrorKind},
    pipeline::{
        board::Board,
        config::toml_error,
        context::Context,
        error::PipelineError,
        http::{Listener, Pages, Server},
        metrics,
        receipt::Receipt,
        stop::Stop,
    },
    properties::Properties,
};
use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// What a subcommand ends with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// They would stand between a command's own otherwise.
const EVERYWHERE: &str = "Options of every command";

/// The options that stand before or after any subcommand. Their other names are those of Kafka's own scripts.
#[derive(Clone, Default, clap::Args)] // and not Debug: a property may be a secret
pub struct Global {
    /// Brokers to begin with, a comma list; without a port 9092 is meant [env: KAFKA_BOOTSTRAP_SERVERS] [default: localhost:9092]
    #[arg(short, long, visible_alias = "bootstrap-server", alias = "bootstrap-servers", global = true,
        help_heading = EVERYWHERE, value_name = "HOST[:PORT],…")]
    pub bootstrap: Option<String>,
    /// Any Kafka property; of a repeated key the last wins
    #[arg(short = 'X', long = "property", global = true, help_heading = EVERYWHERE, value_name = "KEY=VALUE",
        value_parser = key_value)]
    pub properties: Vec<(String, String)>,
    /// A properties file as the Java client or librdkafka reads it
    #[arg(short = 'F', long = "properties-file", visible_alias = "command-config",
        aliases = ["consumer.config", "producer.config"], global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
    /// A TOML file: [kafka], [kafka.producer], [kafka.consumer], [pipeline], [[window]]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Gives up after so long, with exit code 2: 30s, 5m, or milliseconds [default: 30s for verbs that ask and end, none else]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DURATION", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// What those two files hold. A pipe, such as that of `-F <(…)`, can be read only once.
    #[arg(skip)]
    texts: Texts,
}

#[derive(Clone, Default)]
struct Texts {
    properties: OnceLock<String>,
    toml: OnceLock<String>,
}

/// Where a value comes from; of the same key the greatest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// `--config FILE.toml`.
    Toml,
    /// `-F FILE`.
    PropertiesFile,
    /// An environment variable.
    Environment,
    /// `-b` or `-X`.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Toml => "--config",
            Self::PropertiesFile => "-F",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        })
    }
}

/// One effective Kafka property; its value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

/// Which section of the TOML file goes on top of `[kafka]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Producer,
    Consumer,
}

impl Global {
    /// The TOML file, or an empty table without one.
    pub fn toml(&self) -> Result<toml::Table> {
        let Some(path) = &self.config else { return Ok(toml::Table::new()) };
        let text = read(path, &self.texts.toml)?;
        text.parse().map_err(|error| Failure::config(format!("{}: {}", path.display(), toml_error(&error, text))))
    }

    /// The effective Kafka properties: command line over environment over files over defaults.
    pub fn settings(&self, role: Role) -> Result<Vec<Setting>> {
        let mut found: Vec<Setting> = Vec::new();
        let mut put = |key: &str, value: String, origin| {
            found.retain(|setting| setting.key != key);
            found.push(Setting { key: key.to_owned(), value, origin });
        };
        put("bootstrap.servers", "localhost:9092".to_owned(), Origin::Default);
        let table = self.toml()?;
        for (key, value) in kafka_section(&table, role)? {
            put(&key, value, Origin::Toml);
        }
        if let Some(path) = &self.properties_file {
            for (key, value) in Properties::parse(read(path, &self.texts.properties)?)?.iter() {
                put(key, value.to_owned(), Origin::PropertiesFile);
            }
        }
        if let Some(servers) =
            std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok().filter(|servers| !servers.trim().is_empty())
        {
            put("bootstrap.servers", servers, Origin::Environment);
        }
        for (key, value) in &self.properties {
            let key = if key == "metadata.broker.list" { "bootstrap.servers" } else { key };
            put(key, value.clone(), Origin::CommandLine);
        }
        if let Some(servers) = &self.bootstrap {
            put("bootstrap.servers", servers.clone(), Origin::CommandLine);
        }
        Ok(found)
    }

    /// The same as [`Properties`]: a key that neither client nor producer nor consumer knows is an error.
    pub fn properties(&self, role: Role) -> Result<Properties> {
        let mut properties = Properties::default();
        for setting in self.settings(role)? {
            properties.insert(&setting.key, &setting.value)?;
        }
        Ok(properties)
    }
}

fn kafka_section(table: &toml::Table, role: Role) -> Result<Vec<(String, String)>> {
    let Some(kafka) = table.get("kafka") else { return Ok(Vec::new()) };
    let wrong =
        |what: &str| Failure::config(format!("{what} must be a table of Kafka properties, such as \"linger.ms\" = 5"));
    let kafka = kafka.as_table().ok_or_else(|| wrong("[kafka]"))?;
    let section = match role {
        Role::Client => None,
        Role::Producer => Some("producer"),
        Role::Consumer => Some("consumer"),
    };
    let mut pairs = Vec::new();
    for (key, value) in kafka {
        match value {
            toml::Value::Table(_) if key == "producer" || key == "consumer" => {}
            value => pairs.push((key.clone(), text(key, value)?)),
        }
    }
    if let Some(inner) = section.and_then(|name| kafka.get(name)) {
        for (key, value) in inner.as_table().ok_or_else(|| wrong("[kafka.producer]"))? {
            pairs.push((key.clone(), text(key, value)?));
        }
    }
    Ok(pairs)
}

fn text(key: &str, value: &toml::Value) -> Result<String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        _ => Err(Failure::config(format!(
            "\"{key}\" must be a string, a number or a boolean; write a name with dots in quotes"
        ))),
    }
}

fn read<'a>(path: &Path, text: &'a OnceLock<String>) -> Result<&'a str> {
    if let Some(text) = text.get() {
        return Ok(text);
    }
    let read =
        std::fs::read_to_string(path).map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
    Ok(text.get_or_init(|| read))
}

fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, such as linger.ms=5".to_owned()),
    }
}

/// Clap keeps only the innermost level's values of a repeatable global option; all `-X` go to the front, in order.
pub fn hoist_properties(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut front: Vec<OsString> = args.next().into_iter().collect();
    let mut rest = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            rest.extend(args.by_ref());
        } else if arg == "-X" || arg == "--property" {
            front.push(arg);
            front.extend(args.next());
        } else if is_joined_property(&arg) {
            front.push(arg);
        } else {
            rest.push(arg);
        }
    }
    front.append(&mut rest);
    front
}

fn is_joined_property(arg: &OsStr) -> bool {
    arg.to_str().is_some_and(|arg| (arg.starts_with("-X") && arg.contains('=')) || arg.starts_with("--property="))
}

/// `30s`, `5m`, `1h`, `2d`, `100ms`, or a bare number of milliseconds.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    milena::pipeline::config::parse_duration(text)
}

/// As [`duration`], but some time has to be left.
fn timeout(text: &str) -> std::result::Result<Duration, String> {
    let limit = duration(text)?;
    if limit.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(limit) }
}

/// An RFC 3339 instant, in microseconds since 1970.
pub fn instant(text: &str) -> std::result::Result<i64, String> {
    let wrong = || format!("{text:?} is not RFC 3339 with a zone, such as 2024-01-15T14:30:00Z");
    milena::pipeline::timestamp::parse(text).ok_or_else(wrong)
}

/// A number from 0 to 1.
pub fn share(text: &str) -> std::result::Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
}

/// `--http ADDR|off`: the address is taken before anything begins.
pub async fn listen(http: &str) -> Result<Option<Listener>> {
    if http == "off" {
        return Ok(None);
    }
    Ok(Some(announced(Listener::bind(http).await?)))
}

/// Says where the pages are.
pub fn announced(listener: Listener) -> Listener {
    eprintln!("milena: dashboard, /metrics, /healthz and /readyz on http://{}/", listener.address());
    listener
}

/// Serves a stage's pages there, until what it answers is dropped.
pub fn serve(
    listener: Option<Listener>,
    context: &Context,
    board: &Arc<Board>,
    stage: metrics::Role,
) -> Option<Server> {
    let pages = Pages::new(context.metrics.clone(), board.clone(), context.client.clone(), [stage]);
    Some(listener?.serve(pages))
}

/// As [`context`], for what writes or is a member of a group: it stops in order when its time is over, too.
pub fn stage(global: &Global, waits_for: &str) -> Result<Context> {
    let context = context(global, waits_for)?;
    limit::ends_in_order(&context.stop);
    Ok(context)
}

/// A pipeline command's client and settings; it stops in order at the first signal.
pub fn context(global: &Global, waits_for: &str) -> Result<Context> {
    limit::waiting_for(format!("{waits_for} from {}", limit::brokers(global)?));
    let (mut producer, mut consumer) = (global.properties(Role::Producer)?, global.properties(Role::Consumer)?);
    Context::defaults(&mut producer)?;
    Context::defaults(&mut consumer)?;
    let mut context = Context::new(Client::new(producer.client()?)?);
    context.producer = producer.producer()?;
    context.consumer = consumer.consumer()?;
    context.stop = stop_on_signal(Some(DEADLINE));
    Ok(context)
}

/// Closes the client and prints the receipt; numbers that don't add up are exit 4.
pub async fn finish(context: &Context, receipt: std::result::Result<Receipt, PipelineError>) -> Result<()> {
    context.client.close().await;
    let receipt = receipt?;
    output::tell(receipt.to_json())?;
    if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
}

/// Why a command failed, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    name: Cow<'static, str>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), name: Cow::Borrowed("ERROR") }
    }

    /// A wrong command line, file or combination: exit 1.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// The brokers failed or refused: exit 2.
    pub fn broker(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// The database failed or refused: exit 3.
    pub fn database(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }

    /// Numbers that should be equal are not: exit 4.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    /// Nobody reads our output any more, as behind `| head`: the end, without a word and with exit 0.
    fn broken_pipe() -> Self {
        Self::new(0, "")
    }

    /// Whether it is that nobody reads our output.
    pub fn is_broken_pipe(&self) -> bool {
        self.code == 0
    }

    /// All of them as one, with the words of each on a line of its own; none is no failure.
    pub fn all(failures: impl IntoIterator<Item = Self>) -> Result<()> {
        let worse = |mut all: Self, other: Self| {
            all.message = format!("{}\nmilena: {}", all.message, other.message);
            all.code = all.code.max(other.code);
            all
        };
        failures.into_iter().reduce(worse).map_or(Ok(()), Err)
    }

    /// With the error's name, as [`name`](Self::name) gives it.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// With what it is about before it.
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// With what may help behind it.
    pub fn hint(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    /// What it is called in a column: Kafka's name of the error, if a broker answered one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Config | ErrorKind::InvalidArgument => 1,
            _ => 2,
        };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::new(code, message).named(name_of(&error))
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let code = error.exit_code();
        match error {
            PipelineError::Kafka(error) => error.into(),
            error => Self::new(code, error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::broken_pipe(),
            _ => Self::config(error.to_string()),
        }
    }
}

/// How long a command may take to stop in order.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Becomes true at the first SIGINT or SIGTERM, so that the command stops in order; the second ends the process with 130, and
/// so does `deadline` after the first.
pub fn stop_on_signal(deadline: Option<Duration>) -> Stop {
    let stop = Stop::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        signal().await;
        asked.stop();
        let too_late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signal() => {}
            () = too_late => eprintln!("milena: could not stop in order in time; what is not committed will be done again"),
        }
        std::process::exit(130);
    });
    stop
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        done = tokio::signal::ctrl_c() => if done.is_err() { std::future::pending().await },
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Logs on stderr, warnings and up, or what `RUST_LOG` says.
pub fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(crate::screen::Log).with_ansi(colour).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_before_and_after_the_subcommand_keep_their_order() {
        let args = ["milena", "-X", "a=1", "perf", "-t", "x", "-Xa=2", "--property=b=3"].map(OsString::from);
        let hoisted: Vec<_> = hoist_properties(args).into_iter().map(|arg| arg.into_string().unwrap()).collect();
        assert_eq!(hoisted, ["milena", "-X", "a=1", "-Xa=2", "--property=b=3", "perf", "-t", "x"]);
    }

    #[test]
    fn of_a_repeated_key_the_last_wins_and_its_origin_is_kept() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let global = Global {
            bootstrap: Some("a:1".to_owned()),
            properties: vec![pair("linger.ms", "1"), pair("linger.ms", "2"), pair("bootstrap.servers", "b:1")],
            ..Global::default()
        };
        let settings = global.settings(Role::Producer).unwrap();
        let find = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!((find("linger.ms").value.as_str(), find("linger.ms").origin), ("2", Origin::CommandLine));
        assert_eq!(find("bootstrap.servers").value, "a:1");
    }

    #[test]
    fn a_broken_toml_file_is_named_with_the_place_and_without_what_stands_there() {
        let path = std::env::temp_dir().join(format!("milena-args-{}.toml", std::process::id()));
        for text in ["[kafka]\n\"sasl.password\" = \"hunter2\n", "[kafka]\n\"sasl.password\" = hunter2\n"] {
            std::fs::write(&path, text).unwrap();
            let global = Global { config: Some(path.clone()), ..Global::default() };
            let error = global.toml().unwrap_err().message;
            assert!(error.contains("toml: line 2, column ") && !error.contains("hunter2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
