//! Transactions on a real Kafka, in whichever version of the protocol it has, as a read_committed Java consumer sees them:
//! all of each one that was committed, nothing of the others, and nothing left open. Also when the process dies at any step.

use crate::peer::Peer;
use crate::wiretap::{Moment, Say, Wiretap};
use crate::{PATIENCE, connect, fresh, is_before, topic_with};
use milena::broker::ApiKey;
use milena::client::Client;
use milena::consumer::{ConsumerConfig, IsolationLevel, OffsetReset};
use milena::error::{Certainty, Result};
use milena::ids::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord, Transaction, TransactionalProducer};
use std::collections::BTreeMap;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

const PARTITIONS: i32 = 3;
/// Records of one transaction in each partition.
const RECORDS: i32 = 4;
const SIGABRT: i32 = 6;

/// One whose leaders know that they are: one of Kafka 3.6 that is just about to become it refuses a transaction's batch
/// with INVALID_TXN_STATE, for it was not there yet when the coordinator was to be asked.
async fn led_topic(client: &Client, what: &str, partitions: i32) -> String {
    topic_with(client, what, partitions, &[]).await.expect("the topic is created")
}

/// A topic, a group and a transactional id that nobody has used.
struct Names {
    topic: String,
    group: String,
    id: String,
    late: Option<Late>,
}

impl Names {
    async fn new(client: &Client) -> Self {
        let topic = led_topic(client, "transactions", PARTITIONS).await;
        Self::of(client, topic, fresh("group"), fresh("id")).await
    }

    async fn of(client: &Client, topic: String, group: String, id: String) -> Self {
        let late = if is_before([3, 9, 1]) { Some(Late::new(client, &group).await) } else { None };
        Self { topic, group, id, late }
    }

    async fn producer(&self, client: &Client) -> TransactionalProducer {
        let producer = client.transactional_producer(&*self.id, ProducerConfig::default()).await;
        producer.expect("the coordinator gives an epoch")
    }

    /// What belongs into the transaction that is called `name`: records of each partition, and the group's offsets.
    async fn fill(&self, transaction: &Transaction<'_>, name: i64) -> Result<()> {
        if let Some(late) = &self.late {
            late.wait().await;
        }
        for n in 0..PARTITIONS * RECORDS {
            let value = format!("{name}:{n}");
            let record = ProducerRecord::new(&self.topic).partition(n % PARTITIONS).value(&value);
            drop(transaction.send(record).await?);
        }
        assert_eq!(transaction.flush(PATIENCE).await?, 0, "all have their outcome");
        let partition = |partition| TopicPartition::new(&*self.topic, partition);
        let offsets = (0..PARTITIONS).map(|n| (partition(n), OffsetAndMetadata::new(name))).collect();
        transaction.send_offsets(offsets, ConsumerGroupMetadata::standalone(&*self.group)).await
    }

    /// Fills and commits it.
    async fn commit(&self, producer: &mut TransactionalProducer, name: i64) -> Result<()> {
        let transaction = producer.begin().await?;
        self.fill(&transaction, name).await?;
        transaction.commit().await
    }

    /// The names of the transactions that are seen, each of them whole and in order.
    async fn seen(&self) -> Vec<i64> {
        let (records, committed) = Peer::settled(&self.topic, &self.group).await;
        let mut seen: BTreeMap<i64, Vec<Vec<i32>>> = BTreeMap::new();
        for record in records {
            let value = String::from_utf8(record.value.expect("a value")).expect("text");
            let (name, n) = value.split_once(':').expect("name:number");
            let of = seen.entry(name.parse().expect("a number")).or_insert(vec![vec![]; PARTITIONS as usize]);
            of[record.partition as usize].push(n.parse().expect("a number"));
        }
        let whole: Vec<Vec<i32>> =
            (0..PARTITIONS).map(|p| (0..RECORDS).map(|n| n * PARTITIONS + p).collect()).collect();
        for (name, records) in &seen {
            assert_eq!(*records, whole, "transaction {name} of {}", self.topic);
        }
        let last = seen.keys().last().map(|last| (0..PARTITIONS).map(|n| (n, *last)).collect()).unwrap_or_default();
        assert_eq!(committed, last, "the group's offsets are those of the last transaction");
        seen.into_keys().collect()
    }
}

/// Kafka before 3.9.1 goes through a group's offsets some time after it has said that a transaction is at its end, and takes
/// those that the next one has sent meanwhile for the last one's (KAFKA-17507). It does so in the order of the ends: once the
/// end of a transaction of our own has come to be, all before it have.
struct Late {
    client: Client,
    group: String,
    id: String,
    partition: TopicPartition,
    last: Mutex<(TransactionalProducer, i64)>,
}

impl Late {
    async fn new(client: &Client, group: &str) -> Self {
        let partition = TopicPartition::new(led_topic(client, "late", 1).await, 0);
        let id = fresh("late");
        let last = Mutex::new((Self::producer(client, &id).await, 0));
        Self { client: client.clone(), group: group.to_owned(), id, partition, last }
    }

    async fn producer(client: &Client, id: &str) -> TransactionalProducer {
        let producer = client.transactional_producer(id, ProducerConfig::default()).await;
        producer.expect("the coordinator gives an epoch")
    }

    async fn wait(&self) {
        let (producer, count) = &mut *self.last.lock().await;
        *count += 1;
        let offsets = [(self.partition.clone(), OffsetAndMetadata::new(*count))].into();
        // A busy coordinator may have said of the last end that it is half done, and before KIP-360 that is a producer's last.
        if is_before([2, 5, 0]) {
            *producer = Self::producer(&self.client, &self.id).await;
        }
        let transaction = producer.begin().await.expect("begun");
        let group = ConsumerGroupMetadata::standalone(&*self.group);
        transaction.send_offsets(offsets, group).await.expect("taken");
        transaction.commit().await.expect("committed");
        let start = Instant::now();
        loop {
            let committed = self.client.admin().list_group_offsets(&self.group).await.expect("the coordinator answers");
            if committed.get(&self.partition).is_some_and(|offset| offset.committed.offset == *count) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the offsets of a transaction are not there after {PATIENCE:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn close(client: Client, producer: TransactionalProducer) {
    producer.close(PATIENCE).await.expect("nothing is left to be done");
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn what_is_committed_is_seen_and_what_is_aborted_or_dropped_is_not() {
    let client = connect().await;
    let names = Names::new(&client).await;
    let mut producer = names.producer(&client).await;
    names.commit(&mut producer, 1).await.expect("committed");
    let transaction = producer.begin().await.expect("begun");
    names.fill(&transaction, 2).await.expect("taken");
    transaction.abort().await.expect("aborted");
    names.commit(&mut producer, 3).await.expect("committed");
    let transaction = producer.begin().await.expect("begun");
    names.fill(&transaction, 4).await.expect("taken");
    drop(transaction);
    producer.begin().await.expect("begun").commit().await.expect("nothing is easily committed");
    producer.begin().await.expect("begun").abort().await.expect("nothing is easily aborted");
    names.commit(&mut producer, 6).await.expect("committed");
    for name in 7..40 {
        let transaction = producer.begin().await.expect("the one before is at its end");
        names.fill(&transaction, name).await.expect("taken");
        if name % 2 == 0 {
            transaction.commit().await.expect("committed");
        } else {
            transaction.abort().await.expect("aborted");
        }
    }
    let even = (8..40).step_by(2);
    assert_eq!(names.seen().await, [1, 3, 6].into_iter().chain(even).collect::<Vec<i64>>());
    close(client, producer).await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_zombie_is_fenced_and_what_it_left_open_is_aborted() {
    let client = connect().await;
    let names = Names::new(&client).await;
    let mut zombie = names.producer(&client).await;
    names.commit(&mut zombie, 1).await.expect("committed");
    let zombies = zombie.begin().await.expect("begun");
    names.fill(&zombies, 2).await.expect("taken");
    let mut heir = names.producer(&client).await;
    let heirs = heir.begin().await.expect("begun");
    names.fill(&heirs, 3).await.expect("taken");
    let error = zombies.commit().await.expect_err("it is fenced");
    assert!(error.is_fenced() && error.is_fatal(), "{error}");
    assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent), "{error}");
    assert!(zombie.begin().await.expect_err("for good").is_fenced());
    heirs.commit().await.expect("committed");
    // One more that does not know yet: what it writes is refused, not only its commit.
    let mut last = names.producer(&client).await;
    let transaction = heir.begin().await.expect("begun: nobody has told it");
    names.fill(&transaction, 4).await.expect_err("it is fenced");
    transaction.commit().await.expect_err("it is fenced");
    names.commit(&mut last, 5).await.expect("committed");
    assert_eq!(names.seen().await, [1, 3, 5]);
    close(client, last).await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_transaction_past_its_timeout_is_aborted_and_can_not_be_committed() {
    let client = connect().await;
    let names = Names::new(&client).await;
    let config = ProducerConfig::default().transaction_timeout(Duration::from_secs(3));
    let mut producer = client.transactional_producer(&*names.id, config).await.expect("an epoch");
    names.commit(&mut producer, 1).await.expect("committed");
    let late = producer.begin().await.expect("begun");
    names.fill(&late, 2).await.expect("taken");
    assert_eq!(names.seen().await, [1], "waits for the coordinator to abort it");
    let error = late.commit().await.expect_err("it is too late");
    assert!(error.is_fatal(), "{error}");
    assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent), "{error}");
    drop(producer);
    let mut producer = names.producer(&client).await;
    names.commit(&mut producer, 3).await.expect("committed");
    assert_eq!(names.seen().await, [1, 3]);
    close(client, producer).await;
}

/// Consume, transform, produce: what a member of a group reads, and where it is, go with what it makes of it.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_members_offsets_go_with_its_transaction() {
    let client = connect().await;
    let names = Names::new(&client).await;
    let output = led_topic(&client, "output", 1).await;
    let mut producer = names.producer(&client).await;
    names.commit(&mut producer, 1).await.expect("committed"); // leaves the group at 1 in each partition
    let config = ConsumerConfig::group(&names.group)
        .auto_offset_reset(OffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted)
        .enable_auto_commit(false);
    let mut made = Vec::new();
    for commit in [false, true, true] {
        // As after a crash: from where the group is.
        let mut consumer = client.consumer(config.clone()).expect("the configuration is sound");
        consumer.subscribe([&names.topic]).await.expect("subscribed");
        let transaction = producer.begin().await.expect("begun");
        let reading = async {
            let mut values = Vec::new();
            while values.len() < (PARTITIONS * (RECORDS - 1)) as usize {
                for record in &consumer.poll(Duration::from_secs(1)).await.expect("records") {
                    values.push(format!("{}@{}", record.partition(), record.offset()));
                }
                let due = consumer.positions().values().filter(|at| at.offset > i64::from(RECORDS)).count();
                if commit && !made.is_empty() && due == PARTITIONS as usize {
                    break; // there is nothing left: the second commit has no records
                }
            }
            values
        };
        let values = timeout(PATIENCE, reading).await.expect("the records are there");
        for value in &values {
            drop(transaction.send(ProducerRecord::new(&output).value(value)).await.expect("taken"));
        }
        transaction.send_offsets(consumer.positions(), consumer.group_metadata()).await.expect("the member may");
        match commit {
            true => {
                transaction.commit().await.expect("committed");
                made.extend(values);
            }
            false => transaction.abort().await.expect("aborted"),
        }
        consumer.close(PATIENCE).await.expect("the consumer closes");
    }
    let (records, _) = Peer::settled(&output, &names.group).await;
    let mut seen: Vec<String> =
        records.into_iter().map(|record| String::from_utf8(record.value.expect("a value")).expect("text")).collect();
    seen.sort();
    let each = |partition| (1..i64::from(RECORDS)).map(move |offset| format!("{partition}@{offset}"));
    assert_eq!(seen, (0..PARTITIONS).flat_map(each).collect::<Vec<_>>(), "each once, from where the group was");
    let (_, committed) = Peer::settled(&names.topic, &names.group).await;
    let end = i64::from(RECORDS) + 1; // past the marker
    assert_eq!(committed, (0..PARTITIONS).map(|partition| (partition, end)).collect());
    close(client, producer).await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn many_producers_of_one_client_keep_out_of_each_others_way() {
    let client = connect().await;
    let topic = led_topic(&client, "many", PARTITIONS).await;
    let mut tasks = Vec::new();
    for n in 0..12_i64 {
        let (client, topic) = (client.clone(), topic.clone());
        tasks.push(tokio::spawn(async move {
            let names = Names::of(&client, topic, fresh("group"), fresh("id")).await;
            let mut producer = names.producer(&client).await;
            for name in 10 * n + 1..=10 * n + 6 {
                let transaction = producer.begin().await.expect("begun");
                names.fill(&transaction, name).await.expect("taken");
                if name % 3 == 0 {
                    transaction.abort().await.expect("aborted");
                } else {
                    transaction.commit().await.expect("committed");
                }
            }
            producer.close(PATIENCE).await.expect("nothing is left to be done");
            (names.group, (10 * n + 1..=10 * n + 6).filter(|name| name % 3 != 0).collect::<Vec<_>>())
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        let (group, committed) = task.await.expect("no panic");
        let last = *committed.last().expect("there are some");
        all.extend(committed);
        let (records, offsets) = if all.len() == 12 * 4 { Peer::settled(&topic, &group).await } else { continue };
        assert_eq!(offsets, (0..PARTITIONS).map(|partition| (partition, last)).collect());
        let mut seen: BTreeMap<i64, i32> = BTreeMap::new();
        for record in records {
            let value = String::from_utf8(record.value.expect("a value")).expect("text");
            *seen.entry(value.split_once(':').expect("name:number").0.parse().expect("a number")).or_default() += 1;
        }
        assert_eq!(seen, all.iter().map(|name| (*name, PARTITIONS * RECORDS)).collect());
    }
    client.close().await;
}

/// An EndTxn that is lost, or its answer: what was wanted is done all the same, and the producer goes on.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn an_end_that_is_lost_or_not_answered_is_done_all_the_same() {
    for moment in [Moment::Sending, Moment::Sent, Moment::Answered] {
        for commit in [true, false] {
            let armed = Arc::new(AtomicBool::new(false));
            let wiretap = Wiretap::new({
                let armed = armed.clone();
                move |at, api| match (at, api) {
                    (at, ApiKey::EndTxn) if at == moment && armed.swap(false, Ordering::SeqCst) => Say::Cut,
                    _ => Say::GoOn,
                }
            });
            let client = wiretap.client().await;
            let names = Names::new(&client).await;
            let mut producer = names.producer(&client).await;
            names.commit(&mut producer, 1).await.expect("committed");
            let transaction = producer.begin().await.expect("begun");
            names.fill(&transaction, 2).await.expect("taken");
            armed.store(true, Ordering::SeqCst);
            let case = format!("cut when {moment:?}, commit: {commit}");
            let ended = if commit { transaction.commit().await } else { transaction.abort().await };
            ended.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(!armed.load(Ordering::SeqCst), "EndTxn was asked");
            names.commit(&mut producer, 3).await.unwrap_or_else(|error| panic!("{case}: the next one: {error}"));
            assert_eq!(names.seen().await, if commit { vec![1, 2, 3] } else { vec![1, 3] }, "{case}");
            close(client, producer).await;
        }
    }
}

/// Where the process dies: at this moment of this request in its second transaction, or of its first if that has to be.
const DEATHS: [(&str, ApiKey, Moment); 9] = [
    ("init_answered", ApiKey::InitProducerId, Moment::Answered),
    ("add_partitions_answered", ApiKey::AddPartitionsToTxn, Moment::Answered), // version 1 only
    ("produce_sent", ApiKey::Produce, Moment::Sent),
    ("produce_answered", ApiKey::Produce, Moment::Answered),
    ("add_offsets_answered", ApiKey::AddOffsetsToTxn, Moment::Answered), // version 1 only
    ("offset_commit_answered", ApiKey::TxnOffsetCommit, Moment::Answered),
    ("end_unsent", ApiKey::EndTxn, Moment::Sending),
    ("end_sent", ApiKey::EndTxn, Moment::Sent),
    ("end_answered", ApiKey::EndTxn, Moment::Answered),
];
/// `death,topic,group,transactional id`.
const CHILD: &str = "MILENA_TRANSACTIONS_CHILD";

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn whenever_the_process_dies_its_heir_goes_on_and_nothing_is_seen_in_part() {
    let client = connect().await;
    for (death, api, _) in DEATHS {
        let names = Names::new(&client).await;
        let mut child = Command::new(env::current_exe().expect("this binary has a path"));
        child.args(["--exact", "transactions::the_process_that_dies", "--ignored", "--nocapture"]);
        child.env(CHILD, [death, &names.topic, &names.group, &names.id].join(",")).kill_on_drop(true);
        let output =
            timeout(PATIENCE, child.output()).await.expect("the child ends in time").expect("it can be started");
        let died = output.status.signal() == Some(SIGABRT);
        let told = || String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // With version 2 nothing is added: it lives, and both of its transactions are committed.
        let added = matches!(api, ApiKey::AddPartitionsToTxn | ApiKey::AddOffsetsToTxn);
        assert!(died || (added && output.status.success()), "{death}: {}: {}", output.status, told());

        let mut heir = names.producer(&client).await;
        names.commit(&mut heir, 3).await.unwrap_or_else(|error| panic!("{death}: the heir: {error}"));
        let seen = names.seen().await;
        let expected: &[&[i64]] = match death {
            "init_answered" => &[&[3]],
            "end_sent" => &[&[1, 3], &[1, 2, 3]],
            "end_answered" => &[&[1, 2, 3]],
            _ if !died => &[&[1, 2, 3]],
            _ => &[&[1, 3]],
        };
        assert!(expected.contains(&&*seen), "{death}: {seen:?} is seen");
        heir.close(PATIENCE).await.expect("nothing is left to be done");
    }
    client.close().await;
}

/// The child of the test above. Alone it does nothing.
#[tokio::test]
#[ignore = "a child process of another test"]
async fn the_process_that_dies() {
    let Ok(told) = env::var(CHILD) else { return };
    let [death, topic, group, id] = told.split(',').collect::<Vec<_>>()[..] else { panic!("{CHILD}={told}") };
    let (_, api, moment) = DEATHS.into_iter().find(|(name, ..)| *name == death).expect("one of DEATHS");
    let armed = Arc::new(AtomicBool::new(api == ApiKey::InitProducerId));
    let wiretap = Wiretap::new({
        let armed = armed.clone();
        move |at, asked| {
            if armed.load(Ordering::SeqCst) && (asked, at) == (api, moment) {
                std::process::abort(); // nothing is closed, told or tidied up
            }
            Say::GoOn
        }
    });
    let names = Names::of(&connect().await, topic.into(), group.into(), id.into()).await;
    let client = wiretap.client().await;
    let mut producer = names.producer(&client).await;
    names.commit(&mut producer, 1).await.expect("committed");
    armed.store(true, Ordering::SeqCst);
    names.commit(&mut producer, 2).await.expect("committed");
    close(client, producer).await;
}
