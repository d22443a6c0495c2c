//! `milena users`: SCRAM credentials (KIP-554). A password never stands on a command line, where everybody on the machine sees it.

use crate::args::{Failure, Global, Result};
use crate::hints::missing;
use crate::limit::{client, waiting_for};
use crate::output::{Output, Report, Table};
use crate::row;
use milena::admin::{Admin, ScramMechanism, UserChange};
use milena::error::ErrorCode;
use milena::secret::Secret;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

/// The environment variable that a password may be in.
const PASSWORD: &str = "MILENA_USER_PASSWORD";

/// SCRAM users
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The users, with their mechanisms
    #[command(visible_alias = "ls")]
    List {
        /// Only these
        #[arg(value_name = "USER")]
        names: Vec<String>,
    },
    /// Creates a user, or gives one another password
    ///
    /// The password is read from --password-file, from the environment variable MILENA_USER_PASSWORD, or from stdin, of which
    /// a line end at the end is no part.
    #[command(visible_alias = "update")]
    Create {
        /// The user's name
        name: String,
        /// SCRAM-SHA-256 or SCRAM-SHA-512
        #[arg(short, long, default_value = "SCRAM-SHA-512")]
        mechanism: ScramMechanism,
        /// A file with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// How often it is hashed
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(4096..=16384))]
        iterations: Option<u32>,
    },
    /// Deletes users
    #[command(visible_alias = "rm")]
    Delete {
        /// Their names
        #[arg(required = true, value_name = "USER")]
        names: Vec<String>,
        /// Only this mechanism; by default all that the user has
        #[arg(short, long)]
        mechanism: Option<ScramMechanism>,
    },
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::List { names } => list(&admin, &names, output).await,
        Command::Create { name, mechanism, password_file, iterations } => {
            waiting_for("a password on stdin");
            let password = password(password_file).await?;
            waiting_for("the controller to create a user");
            let change = UserChange::upsert(&name, mechanism, password);
            let change = iterations.into_iter().fold(change, UserChange::iterations);
            let mut report = Report::new(["USER", "MECHANISM"]);
            for (name, outcome) in admin.alter_users([change]).await? {
                report.push(row![name, mechanism.to_string()], outcome.map_err(Failure::from));
            }
            report.print(output)
        }
        Command::Delete { names, mechanism } => delete(&admin, names, mechanism, output).await,
    };
    client.close().await;
    done
}

async fn password(file: Option<PathBuf>) -> Result<Secret> {
    let mut text = if let Some(path) = file {
        std::fs::read_to_string(&path).map_err(|error| Failure::config(format!("{}: {error}", path.display())))?
    } else if let Ok(password) = std::env::var(PASSWORD) {
        password
    } else if std::io::stdin().is_terminal() {
        return Err(Failure::config(format!(
            "no password: --password-file FILE, the environment variable {PASSWORD}, or on stdin"
        )));
    } else {
        let read = tokio::task::spawn_blocking(|| {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        });
        read.await.map_err(|error| Failure::config(format!("stdin: {error}")))??
    };
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    if text.is_empty() {
        return Err(Failure::config("the password is empty"));
    }
    Ok(text.into())
}

async fn list(admin: &Admin, names: &[String], output: Output) -> Result<()> {
    waiting_for("the controller to list users");
    let mut table = Table::new(["USER", "MECHANISM", "ITERATIONS"]);
    let mut failures = Vec::new();
    for (name, credentials) in admin.describe_users(names).await? {
        match credentials {
            Ok(credentials) => {
                for credential in credentials {
                    table.push(row![name.as_str(), credential.mechanism.to_string(), credential.iterations]);
                }
            }
            Err(error) => failures.push(refused(admin, &name, error).await),
        }
    }
    output.table(&table)?;
    Failure::all(failures)
}

async fn delete(admin: &Admin, names: Vec<String>, mechanism: Option<ScramMechanism>, output: Output) -> Result<()> {
    waiting_for("the controller to delete users");
    let mut found = admin.describe_users(&names).await?;
    let mut report = Report::new(["USER", "MECHANISM"]);
    let mut changes = Vec::new();
    for name in names {
        let credentials = match found.remove(&name) {
            Some(Ok(credentials)) => credentials,
            Some(Err(error)) => {
                report.push(row![name.as_str(), None::<String>], Err(refused(admin, &name, error).await));
                continue;
            }
            None => continue, // the same name twice
        };
        let meant = credentials.iter().map(|credential| credential.mechanism);
        let meant: Vec<_> = meant.filter(|other| mechanism.is_none_or(|wanted| wanted == *other)).collect();
        if meant.is_empty() {
            let wanted = mechanism.map(|wanted| wanted.to_string());
            let failure = Failure::broker(format!("user {name} has no {}", wanted.as_deref().unwrap_or("password")));
            report.push(row![name, wanted], Err(failure.named("RESOURCE_NOT_FOUND")));
            continue;
        }
        changes.extend(meant.into_iter().map(|mechanism| (name.clone(), mechanism)));
    }
    if !changes.is_empty() {
        let all = changes.iter().map(|(name, mechanism)| UserChange::delete(name, *mechanism));
        let mut outcomes = admin.alter_users(all).await?;
        for (name, mechanism) in changes {
            // Of a user with two mechanisms there is one answer.
            let outcome = match outcomes.get_mut(&name) {
                Some(Err(error)) => Err(error.clone().into()),
                Some(Ok(())) => Ok(()),
                None => Err(crate::topics::unanswered(&name)),
            };
            report.push(row![name, mechanism.to_string()], outcome);
        }
    }
    report.print(output)
}

async fn refused(admin: &Admin, name: &str, error: milena::error::Error) -> Failure {
    if error.code() != Some(ErrorCode::ResourceNotFound) {
        return Failure::from(error).about(&format!("user {name}"));
    }
    let users = admin.describe_users(Vec::<String>::new()).await.unwrap_or_default();
    missing("user", "users", name, users.into_keys()).named("RESOURCE_NOT_FOUND")
}
