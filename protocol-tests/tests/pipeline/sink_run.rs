//! The sink's loop against the test broker, with a store that fails on command.

use milena::broker::{StoredRecord, TestCluster};

use milena::pipeline::context::Context;
use milena::pipeline::error::PipelineError;
use milena::pipeline::receipt::Receipt;
use milena::pipeline::sink::breaker::State;
use milena::pipeline::sink::{Batch, Claim, Class, Refused, Rows, SinkConfig, Staged, Store, StoreError, What, run};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// What the next stage or commit does instead of working.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// Fails, and goes on later.
    StageFails,
    /// Commits, and the answer is lost.
    AnswerLost,
    /// Does not commit, and the answer is lost.
    CommitLost,
    /// The answer is lost, and it commits when the batch is staged again.
    CommitLate,
    /// Another owner claims partition 0 first.
    Stolen,
}

#[derive(Debug, Default)]
struct Tables {
    positions: BTreeMap<i32, (i64, i64)>,
    rows: BTreeMap<String, i64>,
    troubles: VecDeque<Trouble>,
    refuse: Option<&'static str>,
    commits: usize,
    /// A commit that the server is still at.
    late: Option<(Arc<Batch>, Vec<usize>)>,
}

impl Tables {
    fn commit(&mut self, (batch, write): (Arc<Batch>, Vec<usize>)) {
        let Rows::Purchases(rows) = &batch.rows else { panic!("purchases") };
        self.commits += 1;
        for row in write {
            self.rows.insert(rows[row].event_id.clone(), rows[row].price_cents);
        }
        for step in &batch.moves {
            self.positions.insert(step.partition, (step.new, step.owner));
        }
    }
}

/// A database in memory that several stores share.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    tables: Arc<Mutex<Tables>>,
    open: Option<(Arc<Batch>, Vec<usize>)>,
}

impl Memory {
    fn with(troubles: impl IntoIterator<Item = Trouble>) -> Self {
        let memory = Self::default();
        memory.tables.lock().unwrap().troubles.extend(troubles);
        memory
    }

    pub(super) fn rows(&self) -> usize {
        self.tables.lock().unwrap().rows.len()
    }

    /// Rows of this product are refused.
    pub(super) fn refuse(&self, product: Option<&'static str>) {
        self.tables.lock().unwrap().refuse = product;
    }

    fn trouble(&self, expected: &[Trouble]) -> Option<Trouble> {
        let troubles = &mut self.tables.lock().unwrap().troubles;
        troubles.pop_front_if(|next| expected.contains(next))
    }
}

impl Store for Memory {
    async fn claim(&mut self, starts: &[(i32, i64)]) -> Result<Vec<Claim>, StoreError> {
        let positions = &mut self.tables.lock().unwrap().positions;
        let claim = |&(partition, start): &(i32, i64)| {
            let entry = positions.entry(partition).or_insert((start, 0));
            entry.1 += 1;
            Claim { partition, next_offset: entry.0, owner: entry.1 }
        };
        Ok(starts.iter().map(claim).collect())
    }

    async fn stage(&mut self, batch: &Arc<Batch>) -> Result<Staged, StoreError> {
        match self.trouble(&[Trouble::StageFails, Trouble::Stolen]) {
            Some(Trouble::StageFails) => return Err(StoreError::transient("the database is away")),
            Some(_) => self.tables.lock().unwrap().positions.get_mut(&0).unwrap().1 += 1,
            None => {}
        }
        let mut tables = self.tables.lock().unwrap();
        if let Some(late) = tables.late.take() {
            tables.commit(late);
        }
        let is_ours = |step: &&milena::pipeline::sink::Move| {
            tables.positions.get(&step.partition) == Some(&(step.old, step.owner))
        };
        let fenced: Vec<_> = batch.moves.iter().filter(|step| !is_ours(step)).map(|step| step.partition).collect();
        if !fenced.is_empty() {
            return Err(StoreError::Fenced(fenced));
        }
        let Rows::Purchases(rows) = &batch.rows else { panic!("purchases") };
        let (mut staged, mut write) = (Staged::default(), Vec::new());
        for (row, purchase) in rows.iter().enumerate() {
            if tables.refuse == Some(&purchase.product_id) {
                staged.refused.push(Refused { row, message: "no".to_owned() });
            } else if tables.rows.contains_key(&purchase.event_id) {
                staged.present += 1;
            } else {
                staged.written += 1;
                write.push(row);
            }
        }
        drop(tables);
        self.open = Some((batch.clone(), write));
        Ok(staged)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let trouble = self.trouble(&[Trouble::AnswerLost, Trouble::CommitLost, Trouble::CommitLate]);
        let open = self.open.take().expect("something is staged");
        let mut tables = self.tables.lock().unwrap();
        match trouble {
            Some(Trouble::CommitLost) => {}
            Some(Trouble::CommitLate) => tables.late = Some(open),
            _ => tables.commit(open),
        }
        if trouble.is_some() { Err(StoreError::transient("the connection broke")) } else { Ok(()) }
    }

    async fn abandon(&mut self) {
        self.open = None;
    }

    async fn is_written(&mut self, batch: &Arc<Batch>) -> Result<bool, StoreError> {
        let positions = &self.tables.lock().unwrap().positions;
        Ok(batch.moves.iter().all(|step| positions.get(&step.partition) == Some(&(step.new, step.owner))))
    }

    async fn positions(&mut self) -> Result<Vec<(i32, i64)>, StoreError> {
        Ok(self.tables.lock().unwrap().positions.iter().map(|(partition, (next, _))| (*partition, *next)).collect())
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        Ok(self.rows() as u64)
    }
}

fn event(id: usize, kind: &str, product: &str, price: &str) -> String {
    format!(
        r#"{{"event_id":"e{id}","user_id":1,"event_type":"{kind}","product_id":"{product}","timestamp":"2024-01-15T14:30:00Z","price":{price}}}"#
    )
}

/// 300 purchases, 100 views, 50 purchases without a price, and 3 that are no events.
fn input() -> Vec<String> {
    let mut lines: Vec<_> = (0..300).map(|n| event(n, "purchase", "p", "1.50")).collect();
    lines.extend((300..400).map(|n| event(n, "view", "p", "null")));
    lines.extend((400..450).map(|n| event(n, "purchase", "p", "null")));
    lines.extend(["not json".to_owned(), "[1]".to_owned(), event(450, "purchase", "p", "1.999")]);
    lines
}

async fn cluster(partitions: i32, values: &[String]) -> TestCluster {
    let cluster = TestCluster::builder().topic("t", partitions).in_memory().start().await.unwrap();
    for part in values.chunks(40) {
        cluster.produce("t", part).await.unwrap();
    }
    cluster
}

async fn sink(cluster: &TestCluster, store: &Memory) -> Result<Receipt, PipelineError> {
    let mut context = Context::new(cluster.client().await.unwrap());
    context.consumer = context.consumer.max_poll_records(50);
    let config = SinkConfig::new("t", What::Purchases).until_end(true).batch(50);
    let done = run(&context, store.clone(), config).await;
    context.client.close().await;
    done
}

fn stages(records: &[StoredRecord]) -> Vec<(i64, String)> {
    let header = |record: &StoredRecord, name: &str| {
        let found = record.headers.iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(found.1.as_ref().unwrap().to_vec()).unwrap()
    };
    let mut found: Vec<_> = records
        .iter()
        .map(|record| {
            let offset = header(record, "__connect.errors.offset").parse().unwrap();
            assert_eq!(header(record, "__connect.errors.stage"), "sink");
            (offset, header(record, "__connect.errors.exception.class.name"))
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(start_paused = true)]
async fn every_priced_purchase_is_a_row_and_a_second_run_adds_nothing() {
    let cluster = cluster(3, &input()).await;
    let store = Memory::default();
    let receipt = sink(&cluster, &store).await.unwrap();
    assert_eq!((store.rows(), receipt.read, receipt.kept), (300, Some(453), Some(300)));
    let skipped = receipt.skipped.clone().unwrap();
    assert_eq!((skipped["not_a_purchase"], skipped["no_price"]), (100, 50));
    assert_eq!(receipt.dead_lettered, Some(3));
    assert!(receipt.balanced, "{receipt:?}");

    let again = sink(&cluster, &store).await.unwrap();
    assert_eq!((store.rows(), again.read), (300, Some(0)), "it goes on where the database says");
    assert_eq!(cluster.records("t.dlq").unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_on_their_topic_before_the_commit_with_their_coordinates() {
    let cluster = cluster(1, &input()).await;
    let store = Memory::default();
    store.refuse(Some("p-refused"));
    cluster.produce("t", [event(999, "purchase", "p-refused", "1")]).await.unwrap();
    let receipt = sink(&cluster, &store).await.unwrap();
    assert_eq!((store.rows(), receipt.dead_lettered), (300, Some(4)));
    assert!(receipt.balanced);
    let reasons = [(450, "not_json"), (451, "not_an_object"), (452, "bad_price"), (453, "row_refused")];
    let dead = cluster.records("t.dlq").unwrap();
    assert_eq!(stages(&dead), reasons.map(|(offset, reason)| (offset, reason.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn outages_and_lost_answers_change_no_number() {
    use Trouble::{AnswerLost, CommitLost, StageFails};
    let cluster = cluster(2, &input()).await;
    let troubles = [StageFails, StageFails, StageFails, AnswerLost, CommitLost, StageFails, AnswerLost];
    let store = Memory::with(troubles);
    let receipt = sink(&cluster, &store).await.unwrap();
    assert!(store.tables.lock().unwrap().troubles.is_empty(), "all of it happened");
    assert_eq!((store.rows(), receipt.read, receipt.kept), (300, Some(453), Some(300)), "{receipt:?}");
    assert!(receipt.balanced);
    assert_eq!(cluster.records("t.dlq").unwrap().len(), 3, "dead letters are told once by one process");
}

/// The batch was written and nobody counted it: fenced by its own commit, it was taken for another owner's.
#[tokio::test(start_paused = true)]
async fn a_lost_commit_that_the_server_is_still_at_is_counted() {
    let cluster = cluster(2, &input()).await;
    let store = Memory::with([Trouble::CommitLate, Trouble::AnswerLost, Trouble::CommitLate]);
    let receipt = sink(&cluster, &store).await.unwrap();
    assert!(store.tables.lock().unwrap().troubles.is_empty(), "all of it happened");
    assert_eq!((store.rows(), receipt.read, receipt.kept), (300, Some(453), Some(300)), "{receipt:?}");
    assert!(receipt.balanced);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_is_left_alone_and_the_group_keeps_its_member() {
    let cluster = cluster(2, &input()).await;
    let store = Memory::with(vec![Trouble::StageFails; 60]);
    let mut context = Context::new(cluster.client().await.unwrap());
    context.consumer = context.consumer.max_poll_interval(Duration::from_secs(10));
    let config = SinkConfig::new("t", What::Purchases).until_end(true).batch(50);
    let mut database = config.database();
    let began = Instant::now();
    let sink = tokio::spawn(async move { run(&context, store.clone(), config).await });
    database.wait_for(|state| *state == State::Open).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "after three failures");
    let (_, generation, _) = cluster.group("t.sink").unwrap();
    let receipt = sink.await.unwrap().unwrap();
    assert!(began.elapsed() > Duration::from_secs(57 * 5 / 2), "{:?} for 60 attempts is hammering", began.elapsed());
    let (_, after, members) = cluster.group("t.sink").unwrap();
    assert_eq!((receipt.kept, members, after - generation), (Some(300), 0, 1), "no rebalance but its leaving");
    assert_eq!(*database.borrow(), State::Closed);
    assert!(receipt.balanced);
}

#[tokio::test(start_paused = true)]
async fn a_partition_claimed_behind_our_back_is_claimed_again_while_the_group_says_it_is_ours() {
    let cluster = cluster(2, &input()).await;
    let store = Memory::with([Trouble::Stolen]);
    let receipt = sink(&cluster, &store).await.unwrap();
    assert_eq!((store.rows(), receipt.kept), (300, Some(300)));
    assert!(receipt.balanced, "{receipt:?}");
    assert_eq!(store.tables.lock().unwrap().positions[&0].1, 3, "first claim, the thief's, ours again");
}

/// The last batch before a pause was committed to Kafka only with the next one: lag tools saw a lag that wasn't there.
#[tokio::test(start_paused = true)]
async fn lag_tools_see_the_end_although_nothing_comes_after_it() {
    let cluster = cluster(2, &input()).await;
    let context = Context::new(cluster.client().await.unwrap());
    let (running, stop) = (context.clone(), context.stop.clone());
    let look = async {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let offsets = context.client.admin().list_group_offsets("t.sink").await.unwrap();
        stop.stop();
        offsets.values().map(|offset| offset.committed.offset).sum::<i64>()
    };
    let config = SinkConfig::new("t", What::Purchases);
    let (done, committed) = tokio::join!(run(&running, Memory::default(), config), look);
    assert_eq!((done.unwrap().read, committed), (Some(453), 453));
}

#[tokio::test(start_paused = true)]
async fn two_sinks_share_the_partitions_and_the_rows_are_whole() {
    let cluster = cluster(4, &input()).await;
    let store = Memory::default();
    let (one, two) = tokio::join!(sink(&cluster, &store), sink(&cluster, &store));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(store.rows(), 300);
    assert_eq!(one.kept.unwrap() + two.kept.unwrap(), 300, "{one:?} {two:?}");
    let end: i64 = store.tables.lock().unwrap().positions.values().map(|(next, _)| next).sum();
    assert_eq!(end, 453, "every position is at its log's end");
}

#[tokio::test(start_paused = true)]
async fn a_changed_schema_stops_the_sink_before_it_fills_the_dead_letter_queue() {
    let cluster = cluster(1, &vec!["{}".to_owned(); 400]).await;
    let store = Memory::default();
    let error = sink(&cluster, &store).await.unwrap_err();
    assert!(error.to_string().contains("changed schema"), "{error}");
    assert!(cluster.records("t.dlq").unwrap().len() < 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_mend_ends_the_sink() {
    struct Broken;
    impl Store for Broken {
        async fn claim(&mut self, _: &[(i32, i64)]) -> Result<Vec<Claim>, StoreError> {
            Err(StoreError::configuration("grant it"))
        }
        async fn stage(&mut self, _: &Arc<Batch>) -> Result<Staged, StoreError> {
            Err(StoreError::Database { class: Class::Row, message: String::new() })
        }
        async fn commit(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
        async fn abandon(&mut self) {}
        async fn is_written(&mut self, _: &Arc<Batch>) -> Result<bool, StoreError> {
            Ok(false)
        }
        async fn positions(&mut self) -> Result<Vec<(i32, i64)>, StoreError> {
            Ok(Vec::new())
        }
        async fn count(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }
    }
    let cluster = cluster(1, &input()).await;
    let context = Context::new(cluster.client().await.unwrap());
    let error = run(&context, Broken, SinkConfig::new("t", What::Purchases)).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (3, "grant it"));
}
