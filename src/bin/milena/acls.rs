//! `milena acls`: who may do what. The options are rpk's.

use crate::args::{Failure, Global, Result};
use crate::limit::{client, waiting_for};
use crate::output::{Output, Report, Table};
use crate::row;
use milena::admin::{AclBinding, AclFilter, AclOperation, AclPattern, AclPermission, AclResourceType, Admin};

/// Who may do what
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The ACLs, or those that match
    #[command(visible_aliases = ["ls", "describe"])]
    List(Acls),
    /// Creates an ACL for each principal, operation, host and resource that is named
    Create(Acls),
    /// Deletes the ACLs that match
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        which: Acls,
        /// Every ACL of the cluster
        #[arg(long, conflicts_with_all = ["allow_principal", "deny_principal", "allow_host", "deny_host", "operation", "topic",
            "group", "transactional_id", "cluster"])]
        all: bool,
        /// Says what would be deleted, and deletes nothing
        #[arg(short, long, alias = "dry")]
        dry_run: bool,
        /// Deletes them; without it, they are only shown
        #[arg(short, long, alias = "no-confirm")]
        yes: bool,
    },
}

/// What ACLs are made of. Each option is repeatable; only what can have no comma in it is a comma list, too: a certificate's
/// name is one principal.
#[derive(Debug, clap::Args)]
struct Acls {
    /// Who may: User:NAME, or NAME, commas included (User:CN=alice,OU=eng). Repeatable
    #[arg(long, value_name = "PRINCIPAL")]
    allow_principal: Vec<String>,
    /// Who may not, whatever else is allowed. Repeatable
    #[arg(long, value_name = "PRINCIPAL")]
    deny_principal: Vec<String>,
    /// From which hosts those who may; by default from all. A comma list
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// From which hosts those who may not. A comma list
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    deny_host: Vec<String>,
    /// What: all, read, write, create, delete, alter, describe, describe_configs, alter_configs, …; a comma list
    #[arg(long, value_name = "OPERATION,…", value_delimiter = ',')]
    operation: Vec<AclOperation>,
    /// Topics. A comma list
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',')]
    topic: Vec<String>,
    /// A group, commas included. Repeatable
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// A transactional id, commas included. Repeatable
    #[arg(long, value_name = "ID")]
    transactional_id: Vec<String>,
    /// The cluster
    #[arg(long)]
    cluster: bool,
    /// literal, or prefixed: all whose name begins so; to list and to delete also any, and match: whatever is about that name
    #[arg(long, alias = "resource-pattern-type", value_name = "PATTERN")]
    pattern: Option<String>,
}

impl Acls {
    fn resources(&self) -> Vec<(AclResourceType, &str)> {
        let of = |kind: AclResourceType, names: &'_ [String]| names.iter().map(move |_| kind).collect::<Vec<_>>();
        let kinds = of(AclResourceType::Topic, &self.topic)
            .into_iter()
            .chain(of(AclResourceType::Group, &self.group))
            .chain(of(AclResourceType::TransactionalId, &self.transactional_id));
        let names = self.topic.iter().chain(&self.group).chain(&self.transactional_id).map(String::as_str);
        let mut resources: Vec<_> = kinds.zip(names).collect();
        if self.cluster {
            resources.push((AclResourceType::Cluster, "kafka-cluster"));
        }
        resources
    }

    fn principals(&self) -> Vec<(AclPermission, String, &[String])> {
        let allowed =
            self.allow_principal.iter().map(|name| (AclPermission::Allow, principal(name), &*self.allow_host));
        let denied = self.deny_principal.iter().map(|name| (AclPermission::Deny, principal(name), &*self.deny_host));
        allowed.chain(denied).collect()
    }

    /// Whether it is about anything at all; how names are compared is not.
    fn names_nothing(&self) -> bool {
        let hosts = self.allow_host.is_empty() && self.deny_host.is_empty();
        hosts && self.principals().is_empty() && self.operation.is_empty() && self.resources().is_empty()
    }

    /// A host that belongs to no principal would be passed over, and the ACL be one of every host.
    fn check_hosts(&self) -> Result<()> {
        for (hosts, host, principals, others, principal) in [
            (&self.allow_host, "--allow-host", &self.allow_principal, &self.deny_principal, "--allow-principal"),
            (&self.deny_host, "--deny-host", &self.deny_principal, &self.allow_principal, "--deny-principal"),
        ] {
            if !hosts.is_empty() && principals.is_empty() && !others.is_empty() {
                return Err(Failure::config(format!("{host} is for {principal}, and there is none")));
            }
        }
        Ok(())
    }

    /// An ACL for each combination.
    fn bindings(&self) -> Result<Vec<AclBinding>> {
        self.check_hosts()?;
        let (resources, principals) = (self.resources(), self.principals());
        let missing = match (principals.is_empty(), self.operation.is_empty(), resources.is_empty()) {
            (true, ..) => "who? --allow-principal or --deny-principal NAME",
            (_, true, _) => "to do what? --operation read, write, all, …",
            (.., true) => "with what? --topic, --group or --transactional-id NAME, or --cluster",
            _ => "",
        };
        if !missing.is_empty() {
            return Err(Failure::config(missing));
        }
        let prefixed = match self.pattern.as_deref() {
            None | Some("literal") => false,
            Some("prefixed") => true,
            Some(other) => {
                return Err(Failure::config(format!("--pattern {other}: an ACL that is made is literal or prefixed")));
            }
        };
        let anywhere = ["*".to_owned()];
        let mut bindings = Vec::new();
        for (permission, principal, hosts) in &principals {
            for host in if hosts.is_empty() { &anywhere } else { *hosts } {
                for operation in &self.operation {
                    for (kind, name) in &resources {
                        let make = match permission {
                            AclPermission::Deny => AclBinding::deny,
                            _ => AclBinding::allow,
                        };
                        let binding =
                            make(*kind, (*name).to_owned(), principal.as_str(), *operation).host(host.as_str());
                        let literal = *kind == AclResourceType::Cluster;
                        bindings.push(if prefixed && !literal { binding.prefixed() } else { binding });
                    }
                }
            }
        }
        Ok(bindings)
    }

    /// A filter for each combination; what is not named is anything.
    fn filters(&self) -> Result<Vec<AclFilter>> {
        self.check_hosts()?;
        let mut filters = vec![AclFilter::default()];
        let mut matching = false;
        match self.pattern.as_deref() {
            None | Some("any") => {}
            Some("literal") => filters = vec![AclFilter::default().pattern(AclPattern::Literal)],
            Some("prefixed") => filters = vec![AclFilter::default().pattern(AclPattern::Prefixed)],
            Some("match") => matching = true,
            Some(other) => {
                return Err(Failure::config(format!("--pattern {other} is none of any, match, literal, prefixed")));
            }
        }
        filters = each(&filters, &self.resources(), |filter, (kind, name)| {
            let filter = filter.resource_type(*kind);
            if matching { filter.matching(*name) } else { filter.name(*name) }
        });
        filters = each(&filters, &self.operation, |filter, operation| filter.operation(*operation));
        let principals = self.principals();
        if principals.is_empty() {
            let hosts =
                |permission, hosts: &[String]| hosts.iter().map(|host| (permission, host.clone())).collect::<Vec<_>>();
            let either = [hosts(AclPermission::Allow, &self.allow_host), hosts(AclPermission::Deny, &self.deny_host)];
            return Ok(each(&filters, &either.concat(), |filter, (permission, host)| {
                filter.permission(*permission).host(host.as_str())
            }));
        }
        let of = |(permission, principal, hosts): &(AclPermission, String, &[String])| {
            let of = each(&filters, &[()], |filter, ()| filter.permission(*permission).principal(principal.as_str()));
            each(&of, hosts, |filter, host| filter.host(host.as_str()))
        };
        Ok(principals.iter().flat_map(of).collect())
    }
}

/// Every filter with every one of these; with none, as it is.
fn each<T>(filters: &[AclFilter], of: &[T], with: impl Fn(AclFilter, &T) -> AclFilter) -> Vec<AclFilter> {
    if of.is_empty() {
        return filters.to_vec();
    }
    filters.iter().flat_map(|filter| of.iter().map(|item| with(filter.clone(), item))).collect()
}

/// Kafka's principals have a type; mostly it is a user.
fn principal(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("User:{name}") }
}

const COLUMNS: [&str; 7] =
    ["PRINCIPAL", "HOST", "RESOURCE-TYPE", "RESOURCE-NAME", "PATTERN-TYPE", "OPERATION", "PERMISSION"];

fn cells(acl: &AclBinding) -> [serde_json::Value; 7] {
    row![
        acl.principal.as_str(),
        acl.host.as_str(),
        acl.resource_type.to_string(),
        acl.name.as_str(),
        acl.pattern.to_string(),
        acl.operation.to_string(),
        acl.permission.to_string(),
    ]
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let client = client(global)?;
    let (admin, output) = (client.admin(), args.output);
    let done = match args.command {
        Command::List(which) => output.table(&found(&admin, &which).await?),
        Command::Create(acls) => create(&admin, acls.bindings()?, output).await,
        Command::Delete { which, all: false, .. } if which.names_nothing() => {
            Err(Failure::config("which ACLs? Name a principal, host, operation or resource, or --all"))
        }
        Command::Delete { which, dry_run, yes, .. } => delete(&admin, &which, dry_run, yes, output).await,
    };
    client.close().await;
    done
}

async fn found(admin: &Admin, which: &Acls) -> Result<Table> {
    waiting_for("a broker to list ACLs");
    let mut acls = Vec::new();
    for filter in which.filters()? {
        acls.extend(admin.describe_acls(filter).await?);
    }
    acls.sort_unstable();
    acls.dedup();
    let mut table = Table::new(COLUMNS);
    acls.iter().for_each(|acl| table.push(cells(acl)));
    Ok(table)
}

async fn create(admin: &Admin, bindings: Vec<AclBinding>, output: Output) -> Result<()> {
    waiting_for("the controller to create ACLs");
    let mut report = Report::new(COLUMNS);
    for (acl, outcome) in admin.create_acls(bindings).await? {
        report.push(cells(&acl), outcome.map_err(Failure::from));
    }
    report.print(output)
}

async fn delete(admin: &Admin, which: &Acls, dry_run: bool, yes: bool, output: Output) -> Result<()> {
    if dry_run || !yes {
        let found = found(admin, which).await?;
        output.table(&found)?;
        if dry_run || found.is_empty() {
            eprintln!("{}nothing was deleted", if dry_run { "dry run: " } else { "no ACL matches: " });
            return Ok(());
        }
        return Err(Failure::config("nothing was deleted: to delete these ACLs, add --yes"));
    }
    waiting_for("the controller to delete ACLs");
    let mut report = Report::new(COLUMNS);
    let mut failures = Vec::new();
    for (_, deleted) in admin.delete_acls(which.filters()?).await? {
        match deleted {
            Ok(deleted) => {
                deleted.into_iter().for_each(|(acl, outcome)| report.push(cells(&acl), outcome.map_err(Failure::from)));
            }
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    report.print(output)?;
    Failure::all(failures)
}
