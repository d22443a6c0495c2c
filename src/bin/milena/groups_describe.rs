//! `milena groups describe`: the columns are those of Kafka's own `kafka-consumer-groups.sh`.

use crate::args::{Failure, Result, duration};
use crate::limit::waiting_for;
use crate::output::{Output, Table, text};
use crate::{hints, row};
use milena::admin::{Admin, GroupDescription, GroupOffset, MemberDescription};
use milena::error::{Error, ErrorCode};
use milena::ids::TopicPartition;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Describe {
    /// Their ids
    #[arg(value_name = "GROUP", required_unless_present = "all")]
    groups: Vec<String>,
    /// All groups
    #[arg(long, alias = "all-groups", conflicts_with = "groups")]
    all: bool,
    /// The members instead of the partitions
    #[arg(long)]
    members: bool,
    /// A line about each group instead of its partitions
    #[arg(short = 's', long, alias = "state", conflicts_with = "members")]
    summary: bool,
    /// Shows it again and again, every two seconds, or so often
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_parser = duration)]
    pub watch: Option<Duration>,
}

/// A group, and where it stands in what it has committed or reads.
struct Standing {
    group: GroupDescription,
    places: BTreeMap<TopicPartition, Place>,
}

#[derive(Default)]
struct Place {
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
}

impl Describe {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        let Some(interval) = self.watch else { return self.once(admin, output, "").await };
        let clear = if io::stdout().is_terminal() && !output.json { "\x1b[H\x1b[2J" } else { "" };
        loop {
            self.once(admin, output, clear).await?;
            tokio::time::sleep(interval).await;
        }
    }

    async fn once(&self, admin: &Admin, output: Output, before: &str) -> Result<()> {
        let ids = if self.all {
            waiting_for("every broker to list its groups");
            admin.list_groups().await?.into_iter().map(|group| group.group_id).collect()
        } else {
            self.groups.clone()
        };
        let (standings, mut failures) = look(admin, &ids).await?;
        if self.watch.is_some()
            && let Some(interval) = self.groups.iter().find(|group| duration(group).is_ok())
        {
            let hint = format!("--watch takes how often with =: --watch={interval}");
            failures = failures.into_iter().map(|failure| failure.hint(&hint)).collect();
        }
        text(before)?;
        if self.summary {
            output.table(&summaries(&standings))?;
        } else if output.json && !self.members {
            output.objects(standings.iter().map(Standing::object))?;
        } else {
            let table = if self.members { Standing::members } else { Standing::partitions };
            let mut all: Option<Table> = None;
            for standing in &standings {
                let mut table = table(standing);
                if self.all || output.json || ids.len() > 1 {
                    table = table.with_first("GROUP", &standing.group.group_id);
                }
                match &mut all {
                    Some(all) => all.append(table),
                    None => all = Some(table),
                }
            }
            if let Some(all) = all {
                output.table(&all)?;
            }
            if !output.json {
                standings.iter().for_each(Standing::say);
            }
        }
        Failure::all(failures)
    }
}

async fn look(admin: &Admin, ids: &[String]) -> Result<(Vec<Standing>, Vec<Failure>)> {
    waiting_for(format!("the coordinators of {}", ids.join(", ")));
    let (mut standings, mut failures) = (Vec::new(), Vec::new());
    let mut offsets = admin.list_offsets_of_groups(ids).await?;
    for (id, group) in admin.describe_groups(ids).await? {
        let offsets = offsets.remove(&id).unwrap_or_else(|| Ok(BTreeMap::new()));
        match (group, offsets) {
            (Ok(group), Ok(offsets)) => {
                let untold: Vec<_> = offsets.values().filter_map(|offset| offset.end_error.clone()).collect();
                let (standing, others) = standing(admin, group, offsets).await;
                standings.push(standing);
                failures.extend(untold.into_iter().chain(others).map(Failure::from));
            }
            (Err(error), _) if error.code() == Some(ErrorCode::GroupIdNotFound) => {
                failures.push(hints::no_group(admin, &id).await);
            }
            (Err(error), _) | (_, Err(error)) => failures.push(Failure::from(error).about(&format!("group {id}"))),
        }
    }
    Ok((standings, failures))
}

/// And why some of it is not known.
async fn standing(
    admin: &Admin,
    group: GroupDescription,
    offsets: BTreeMap<TopicPartition, GroupOffset>,
) -> (Standing, Option<Error>) {
    let place = |offset: &GroupOffset| Place {
        committed: Some(offset.committed.offset),
        end: offset.end_offset,
        // Not `GroupOffset::lag`, which is never negative: a commit beyond the end is seen here.
        lag: offset.end_offset.map(|end| end - offset.committed.offset),
    };
    let mut places: BTreeMap<_, _> = offsets.iter().map(|(name, offset)| (name.clone(), place(offset))).collect();
    // What is read but has no commit yet has an end all the same.
    let read = group.members.iter().flat_map(|member| &member.assignment);
    let uncommitted: Vec<_> = read.filter(|name| !places.contains_key(*name)).cloned().collect();
    let (ends, failure) = match admin.end_offsets(uncommitted.clone()).await {
        Ok(ends) => (ends, None),
        Err(error) => (HashMap::new(), Some(error)),
    };
    for name in uncommitted {
        let end = ends.get(&name).copied();
        places.insert(name, Place { end, ..Place::default() });
    }
    (Standing { group, places }, failure)
}

impl Standing {
    fn owners(&self) -> HashMap<&TopicPartition, &MemberDescription> {
        let of = self.group.members.iter();
        of.flat_map(|member| member.assignment.iter().map(move |name| (name, member))).collect()
    }

    fn partitions(&self) -> Table {
        let owners = self.owners();
        let mut table = Table::new([
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ]);
        for (name, place) in &self.places {
            let owner = owners.get(name);
            table.push(row![
                &*name.topic,
                name.partition,
                place.committed,
                place.end,
                place.lag,
                owner.map(|owner| owner.member_id.as_str()),
                owner.map(|owner| owner.host.as_str()),
                owner.map(|owner| owner.client_id.as_str()),
            ]);
        }
        table
    }

    fn members(&self) -> Table {
        let mut table =
            Table::new(["CONSUMER-ID", "INSTANCE-ID", "HOST", "CLIENT-ID", "EPOCH", "PARTITIONS", "ASSIGNMENT"]);
        for member in &self.group.members {
            table.push(row![
                member.member_id.as_str(),
                member.instance_id.as_deref(),
                member.host.as_str(),
                member.client_id.as_str(),
                member.member_epoch,
                member.assignment.len(),
                member.assignment.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ]);
        }
        table
    }

    /// The sum of what is known; nothing is left to read where a commit is beyond the end.
    fn known_lag(&self) -> i64 {
        self.places.values().filter_map(|place| place.lag).map(|lag| lag.max(0)).sum()
    }

    /// `None` if some of it is not known: where there is no commit all may be left to read.
    fn total_lag(&self) -> Option<i64> {
        self.places.values().all(|place| place.lag.is_some()).then(|| self.known_lag())
    }

    fn object(&self) -> Value {
        let group = &self.group;
        json!({
            "group": group.group_id,
            "state": group.state,
            "type": group.protocol_type,
            "group_type": group.group_type,
            "assignor": group.assignor,
            "coordinator": group.coordinator.0,
            "group_epoch": group.group_epoch,
            "assignment_epoch": group.assignment_epoch,
            "total_lag": self.total_lag(),
            "members": self.members().objects(),
            "partitions": self.partitions().objects(),
        })
    }

    /// What the rows don't show, on stderr, so that stdout stays a table.
    fn say(&self) {
        let (group, partitions) = (&self.group, self.places.len());
        let counted = |count: usize| if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") };
        let uncommitted = self.places.values().filter(|place| place.committed.is_none()).count();
        let endless = self.places.values().filter(|place| place.committed.is_some() && place.end.is_none()).count();
        let mut lag = match self.total_lag() {
            Some(lag) => format!("{lag} in {}", counted(partitions)),
            None => format!("unknown: {} in {}", self.known_lag(), counted(partitions - uncommitted - endless)),
        };
        for (count, what) in [(uncommitted, "without a committed offset"), (endless, "whose end is not known")] {
            if count > 0 {
                lag.push_str(&format!(", and {count} {what}"));
            }
        }
        eprintln!("group {}: total lag {lag}", group.group_id);
        for (name, place) in &self.places {
            if let Place { committed: Some(committed), end: Some(end), .. } = place
                && committed > end
            {
                eprintln!(
                    "{name}: {committed} was committed, and the log ends at {end}: the topic was made anew, or has lost records"
                );
            }
        }
        let idle = group.members.iter().filter(|member| member.assignment.is_empty()).count();
        if group.members.is_empty() {
            eprintln!("group {} has no members ({})", group.group_id, group.state);
        } else if idle > 0 && group.state == "Stable" {
            let members = group.members.len();
            eprintln!("{idle} of {members} members are idle: there are {partitions} partitions to read");
        } else if group.state != "Stable" {
            eprintln!("group {} is in state {}", group.group_id, group.state);
        }
    }
}

fn summaries(standings: &[Standing]) -> Table {
    let mut table =
        Table::new(["GROUP", "STATE", "GROUP-TYPE", "ASSIGNOR", "COORDINATOR", "MEMBERS", "PARTITIONS", "TOTAL-LAG"]);
    for standing in standings {
        let group = &standing.group;
        table.push(row![
            group.group_id.as_str(),
            group.state.as_str(),
            group.group_type.as_str(),
            group.assignor.as_str(),
            group.coordinator.0,
            group.members.len(),
            standing.places.len(),
            standing.total_lag(),
        ]);
    }
    table
}
