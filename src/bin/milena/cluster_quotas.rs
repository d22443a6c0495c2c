//! `milena cluster quotas`: how much users and clients may ask for (KIP-546).

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::{Output, Report, Table};
use crate::row;
use milena::admin::{Admin, QuotaEntity, QuotaFilter};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The quotas of everybody, or of whom is named
    Describe {
        /// Of user=NAME, client-id=NAME or ip=ADDRESS. Repeatable
        #[arg(long = "name", value_name = "TYPE=NAME", value_parser = entity)]
        names: Vec<(Kind, String)>,
        /// Of those that have no quota of their own: user, client-id, ip. Repeatable
        #[arg(long = "default", value_name = "TYPE", value_parser = kind)]
        defaults: Vec<Kind>,
        /// Of any of a kind: user, client-id, ip. Repeatable
        #[arg(long = "any", value_name = "TYPE", value_parser = kind)]
        any: Vec<Kind>,
        /// Not of those that are of another kind besides
        #[arg(long)]
        strict: bool,
    },
    /// Sets or removes quotas of one entity
    Alter {
        /// user=NAME, client-id=NAME or ip=ADDRESS; user and client-id may stand together
        #[arg(long = "name", value_name = "TYPE=NAME", value_parser = entity)]
        names: Vec<(Kind, String)>,
        /// Those that have no quota of their own
        #[arg(long = "default", value_name = "TYPE", value_parser = kind)]
        defaults: Vec<Kind>,
        /// A quota such as consumer_byte_rate=1000000. Repeatable
        #[arg(long = "add", alias = "set", value_name = "QUOTA=VALUE", value_parser = quota)]
        add: Vec<(String, f64)>,
        /// A quota to remove. Repeatable
        #[arg(long = "delete", value_name = "QUOTA")]
        delete: Vec<String>,
        /// The brokers check it, and nothing is changed
        #[arg(long, alias = "dry")]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    ClientId,
    Ip,
}

fn kind(text: &str) -> std::result::Result<Kind, String> {
    match text {
        "user" => Ok(Kind::User),
        "client-id" => Ok(Kind::ClientId),
        "ip" => Ok(Kind::Ip),
        _ => Err("is user, client-id or ip".to_owned()),
    }
}

fn entity(text: &str) -> std::result::Result<(Kind, String), String> {
    let (kind_name, name) = text.split_once('=').ok_or("must be TYPE=NAME, such as user=alice")?;
    Ok((kind(kind_name)?, name.to_owned()))
}

fn quota(text: &str) -> std::result::Result<(String, f64), String> {
    let wrong = || "must be QUOTA=VALUE, such as consumer_byte_rate=1000000".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let value = value.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    Ok((name.to_owned(), value.ok_or_else(wrong)?))
}

impl Args {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        match self.command {
            Command::Describe { names, defaults, any, strict } => {
                let mut filter = QuotaFilter::default();
                for (kind, name) in names {
                    filter = match kind {
                        Kind::User => filter.user(name),
                        Kind::ClientId => filter.client_id(name),
                        Kind::Ip => filter.ip(name),
                    };
                }
                for kind in defaults {
                    filter = match kind {
                        Kind::User => filter.default_user(),
                        Kind::ClientId => filter.default_client_id(),
                        Kind::Ip => filter.default_ip(),
                    };
                }
                for kind in any {
                    filter = match kind {
                        Kind::User => filter.any_user(),
                        Kind::ClientId => filter.any_client_id(),
                        Kind::Ip => filter.any_ip(),
                    };
                }
                waiting_for("a broker to describe quotas");
                let found = admin.describe_quotas(if strict { filter.strict() } else { filter }).await?;
                let mut table = Table::new(["ENTITY", "QUOTA", "VALUE"]);
                for (entity, quotas) in found {
                    for (quota, value) in quotas {
                        table.push(row![entity.to_string(), quota, value]);
                    }
                }
                output.table(&table)
            }
            Command::Alter { names, defaults, add, delete, dry_run } => {
                let mut entity = QuotaEntity::default();
                for (kind, name) in names {
                    entity = match kind {
                        Kind::User => entity.user(name),
                        Kind::ClientId => entity.client_id(name),
                        Kind::Ip => entity.ip(name),
                    };
                }
                for kind in defaults {
                    entity = match kind {
                        Kind::User => entity.default_user(),
                        Kind::ClientId => entity.default_client_id(),
                        Kind::Ip => entity.default_ip(),
                    };
                }
                if entity == QuotaEntity::default() {
                    return Err(Failure::config("whose quota? --name user=NAME, --default user, or client-id or ip"));
                }
                let removed = delete.into_iter().map(|quota| (quota, None));
                let changes: Vec<_> =
                    add.into_iter().map(|(quota, value)| (quota, Some(value))).chain(removed).collect();
                if changes.is_empty() {
                    return Err(Failure::config("nothing to change: --add QUOTA=VALUE or --delete QUOTA"));
                }
                waiting_for("the controller to change quotas");
                let asked = if dry_run { admin.dry_run() } else { admin.clone() };
                let mut report = Report::new(["ENTITY"]);
                for (entity, outcome) in asked.alter_quotas([(entity, changes)]).await? {
                    report.push(row![entity.to_string()], outcome.map_err(Failure::from));
                }
                report.print(output)?;
                if dry_run {
                    eprintln!("dry run: nothing was changed");
                }
                Ok(())
            }
        }
    }
}
