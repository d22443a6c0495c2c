//! What changes groups that are there: `delete`, `delete-offsets`, `remove-members`.

use crate::args::{Failure, Result};
use crate::limit::waiting_for;
use crate::output::{Output, Report};
use crate::topics::unanswered;
use crate::{hints, offsets, row};
use milena::admin::{Admin, MemberToRemove};
use milena::error::{Error, ErrorCode};
use milena::ids::TopicPartition;

/// `clicks`, or `clicks:0,2`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic: String,
    /// None named is all.
    pub partitions: Vec<i32>,
}

impl TopicPartitions {
    /// Whether this is one of them.
    pub fn holds(&self, name: &TopicPartition) -> bool {
        *self.topic == *name.topic && (self.partitions.is_empty() || self.partitions.contains(&name.partition))
    }
}

/// `TOPIC[:P,…]`
pub fn topic_partitions(text: &str) -> std::result::Result<TopicPartitions, String> {
    let Some((topic, partitions)) = text.rsplit_once(':') else {
        return Ok(TopicPartitions { topic: text.to_owned(), partitions: vec![] });
    };
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no partition's number, as in clicks:0,1"));
    let partitions = partitions.split(',').map(number).collect::<std::result::Result<_, _>>()?;
    Ok(TopicPartitions { topic: topic.to_owned(), partitions })
}

#[derive(Debug, clap::Args)]
pub struct Delete {
    /// Their ids
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

impl Delete {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        waiting_for("the coordinators to delete groups");
        let mut outcomes = admin.delete_groups(&self.groups).await?;
        let mut report = Report::new(["GROUP"]);
        for id in self.groups {
            let outcome = match outcomes.remove(&id) {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(refused(admin, &id, error).await),
                None => Err(unanswered(&id)),
            };
            report.push(row![id], outcome);
        }
        report.print(output)
    }
}

#[derive(Debug, clap::Args)]
pub struct DeleteOffsets {
    /// The group's id
    group: String,
    /// The topics, or partitions of one. Repeatable
    #[arg(short, long = "topic", value_name = "TOPIC[:P,…]", required = true, value_parser = topic_partitions)]
    topics: Vec<TopicPartitions>,
}

impl DeleteOffsets {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        waiting_for(format!("the coordinator of group {}", self.group));
        let committed = admin.committed_offsets([&self.group]).await?.remove(&self.group);
        let committed = match committed.unwrap_or_else(|| Err(Error::broker(ErrorCode::GroupIdNotFound))) {
            Ok(committed) => committed,
            Err(error) => return Err(refused(admin, &self.group, error).await),
        };
        let names: Vec<_> = committed.keys().filter(|name| self.topics.iter().any(|topic| topic.holds(name))).collect();
        if names.is_empty() {
            let groups = admin.list_groups().await.unwrap_or_default();
            if !groups.iter().any(|group| group.group_id == self.group) {
                return Err(hints::no_group(admin, &self.group).await);
            }
            let topics: Vec<_> = self.topics.iter().map(|topic| topic.topic.as_str()).collect();
            for topic in &topics {
                offsets::partitions(admin, topic, &[]).await?; // a name that was mistyped is told
            }
            return Err(Failure::broker(format!(
                "group {} has committed nothing of {}",
                self.group,
                topics.join(", ")
            )));
        }
        let names: Vec<_> = names.into_iter().cloned().collect();
        let mut outcomes = admin.delete_group_offsets(&self.group, names.clone()).await?;
        let mut report = Report::new(["TOPIC", "PARTITION"]);
        for name in names {
            let outcome = match outcomes.remove(&name) {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(refused(admin, &self.group, error).await),
                None => Err(unanswered(&name.to_string())),
            };
            report.push(row![&*name.topic, name.partition], outcome);
        }
        report.print(output)
    }
}

#[derive(Debug, clap::Args)]
pub struct RemoveMembers {
    /// The group's id
    group: String,
    /// A member by the id that `groups describe --members` shows. Repeatable
    #[arg(short, long, value_name = "ID")]
    member: Vec<String>,
    /// A static member by its group.instance.id. Repeatable
    #[arg(short, long, value_name = "ID")]
    instance: Vec<String>,
    /// All members
    #[arg(long, conflicts_with_all = ["member", "instance"])]
    all: bool,
    /// What the coordinator's log says about it
    #[arg(long, default_value = "removed by milena groups remove-members")]
    reason: String,
}

impl RemoveMembers {
    pub async fn run(self, admin: &Admin, output: Output) -> Result<()> {
        waiting_for(format!("the coordinator of group {}", self.group));
        let ids = self.member.into_iter().map(MemberToRemove::Id);
        let mut members: Vec<_> = ids.chain(self.instance.into_iter().map(MemberToRemove::Instance)).collect();
        if self.all {
            let group = admin.describe_groups([&self.group]).await?.remove(&self.group);
            let group = match group.unwrap_or_else(|| Err(Error::broker(ErrorCode::GroupIdNotFound))) {
                Ok(group) => group,
                Err(error) => return Err(refused(admin, &self.group, error).await),
            };
            // A static member can't be named by its id alone.
            members.extend(group.members.into_iter().map(|member| match member.instance_id {
                Some(instance) => MemberToRemove::Instance(instance),
                None => MemberToRemove::Id(member.member_id),
            }));
        } else if members.is_empty() {
            return Err(Failure::config("which members? --member ID, --instance ID, or --all"));
        }
        let mut report = Report::new(["MEMBER"]);
        let mut outcomes = admin.remove_members(&self.group, members.clone(), &self.reason).await?;
        for member in members {
            let outcome = match outcomes.remove(&member) {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(refused(admin, &self.group, error).await),
                None => Err(unanswered(&self.group)),
            };
            let (MemberToRemove::Id(id) | MemberToRemove::Instance(id)) = member;
            report.push(row![id], outcome);
        }
        report.print(output)
    }
}

/// What went wrong with a group, and the name that may have been meant.
async fn refused(admin: &Admin, id: &str, error: Error) -> Failure {
    match error.code() {
        Some(ErrorCode::GroupIdNotFound) => hints::no_group(admin, id).await,
        Some(ErrorCode::NonEmptyGroup) => Failure::from(error)
            .about(&format!("group {id}"))
            .hint("it has members: stop them, or remove them with `milena groups remove-members`"),
        _ => Failure::from(error).about(&format!("group {id}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_a_topic_behind_a_colon() {
        let all = topic_partitions("a.b").unwrap();
        assert!(all.holds(&TopicPartition::new("a.b", 9)) && !all.holds(&TopicPartition::new("a", 9)));
        let two = topic_partitions("a:0,2").unwrap();
        assert!(two.holds(&TopicPartition::new("a", 2)) && !two.holds(&TopicPartition::new("a", 1)));
        assert!(topic_partitions("a:x").unwrap_err().contains("clicks:0,1"));
    }
}
