//! Every public future goes to another thread: an application spawns what it likes. It compiles, or it does not.
#![allow(dead_code, reason = "nothing here is run")]

use futures_util::StreamExt;
use milena::admin::Admin;
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, TopicPattern};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use milena::producer::{
    Producer, ProducerConfig, ProducerRecord, Purge, TopicProducer, Transaction, TransactionalProducer,
};
use std::collections::HashMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Each is made inside of another one, as in a task: only then everything that it borrows counts.
macro_rules! sendable {
    ($($make:expr),* $(,)?) => {{
        fn check<F: Future + Send>(_: F) {}
        $(check(async move { let _ = $make.await; });)*
    }};
}

fn clients(client: &'static Client) {
    sendable!(
        Client::connect(ClientConfig::new(["a"])),
        client.transactional_producer("id", ProducerConfig::default()),
        client.close(),
    );
}

fn admins(admin: &'static Admin) {
    use milena::admin::*;
    let partition = || TopicPartition::new("t", 0);
    let topic = || ConfigResource::Topic("t".into());
    let acl = || AclBinding::allow(AclResourceType::Topic, "t", "User:a", AclOperation::Read);
    sendable!(
        admin.create_topics([NewTopic::new("t", 1, 1)]),
        admin.delete_topics(["t"]),
        admin.delete_topics_by_id([milena::ids::TopicId::ZERO]),
        admin.create_partitions([("t", 2)]),
        admin.list_topics(),
        admin.describe_topics(["t"]),
        admin.describe_topics_by_id([milena::ids::TopicId::ZERO]),
        admin.describe_configs("t"),
        admin.describe_config_resources(ConfigQuery::new([topic()])),
        admin.alter_configs("t", [("a", Some("b".to_owned()))]),
        admin.alter_config_resources([(topic(), vec![ConfigChange::delete("a")])]),
        admin.list_config_resources(),
        admin.list_groups(),
        admin.list_groups_by(GroupFilter::default()),
        admin.describe_groups(["g"]),
        admin.committed_offsets(["g"]),
        admin.list_group_offsets("g"),
        admin.list_offsets_of_groups(["g"]),
        admin.list_offsets([(partition(), OffsetSpec::Latest)], IsolationLevel::ReadUncommitted),
        admin.end_offsets([partition()]),
        admin.alter_group_offsets("g", [(partition(), OffsetAndMetadata::new(1))]),
        admin.set_group_offsets("g", [(partition(), OffsetAndMetadata::new(1))]),
        admin.reset_group_offsets("g", ResetScope::Committed, ResetTo::Earliest),
        admin.delete_group_offsets("g", [partition()]),
        admin.remove_members("g", [MemberToRemove::Id("m".into())], ""),
        admin.delete_groups(["g"]),
        admin.delete_records([(partition(), 1)]),
    );
    sendable!(
        admin.create_acls([acl()]),
        admin.describe_acls(AclFilter::default()),
        admin.delete_acls([AclFilter::default()]),
        admin.describe_users(["u"]),
        admin.alter_users([UserChange::delete("u", ScramMechanism::Sha256)]),
        admin.describe_quotas(QuotaFilter::default()),
        admin.alter_quotas([(QuotaEntity::default().user("u"), vec![])]),
        admin.describe_cluster(),
        admin.describe_features(),
        admin.update_features([FeatureUpdate::upgrade("f", 1)]),
        admin.describe_quorum(),
        admin.describe_log_dirs([milena::ids::NodeId(1)]),
        admin.elect_leaders(Election::Preferred, None),
        admin.alter_partition_reassignments([(partition(), None)]),
        admin.list_partition_reassignments(None),
        admin.list_transactions(TransactionFilter::default()),
        admin.describe_transactions(["x"]),
        admin.describe_producers([partition()]),
        admin.fence_producers(["x"]),
    );
}

fn producers(producer: &'static Producer, topic: &'static TopicProducer) {
    sendable!(
        producer.send(ProducerRecord::new("t").value("v")),
        async { producer.send(ProducerRecord::new("t")).await.unwrap().await },
        producer.send_with(ProducerRecord::new("t"), |_| ()),
        async { topic.send_many([topic.record().value("v")]).await.all().await },
        producer.flush(SECOND),
        producer.purge(Purge::All),
        producer.close(SECOND),
        topic.send(topic.record()),
    );
}

fn transactions(producer: &'static mut TransactionalProducer, offsets: HashMap<TopicPartition, OffsetAndMetadata>) {
    async fn whole(
        producer: &mut TransactionalProducer,
        offsets: HashMap<TopicPartition, OffsetAndMetadata>,
    ) -> milena::error::Result<()> {
        let transaction: Transaction<'_> = producer.begin().await?;
        transaction.send(ProducerRecord::new("t")).await?.await?;
        transaction.send_with(ProducerRecord::new("t"), |_| ()).await?;
        transaction.flush(SECOND).await?;
        transaction.purge(Purge::All).await;
        transaction.send_offsets(offsets, milena::ids::ConsumerGroupMetadata::standalone("g")).await?;
        transaction.commit().await?;
        producer.begin().await?.abort().await
    }
    sendable!(whole(producer, offsets));
}

fn consumers(consumer: Consumer, offsets: HashMap<TopicPartition, OffsetAndMetadata>) {
    async fn whole(
        mut consumer: Consumer,
        offsets: HashMap<TopicPartition, OffsetAndMetadata>,
    ) -> milena::error::Result<()> {
        let partitions = consumer.assignment();
        consumer.assign(partitions.clone()).await?;
        consumer.subscribe(["t"]).await?;
        consumer.subscribe_pattern(TopicPattern::new("t.*")?).await?;
        drop(consumer.stream().next().await);
        drop(consumer.list_offsets(HashMap::new()).await?);
        drop(consumer.poll(SECOND).await?);
        drop(consumer.next(SECOND).await?);
        consumer.commit().await?;
        consumer.commit_offsets(offsets).await?;
        drop(consumer.committed(&partitions).await?);
        drop(consumer.beginning_offsets(&partitions).await?);
        drop(consumer.end_offsets(&partitions).await?);
        drop(consumer.offsets_for_times(partitions.into_iter().map(|partition| (partition, 0)).collect()).await?);
        consumer.unsubscribe().await?;
        consumer.close(SECOND).await
    }
    sendable!(whole(consumer, offsets));
}
