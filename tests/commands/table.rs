//! `docs/commands.md` is true: each command of ours that it names is run as it stands.

use crate::harness::{cluster, milena, milena_with};
use milena::broker::TestCluster;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// These go on until somebody ends them.
const ENDLESS: &[&str] =
    &["milena groups describe billing --watch", "milena broker --listen 127.0.0.1:0", "milena consume orders"];
/// Not done, and rightly: the embedded broker's moves are over at once, and it has no loggers.
const REFUSED: &[&str] = &["milena cluster partitions cancel", "milena cluster configs describe broker-logger:1"];

/// The last cells of the tables' rows, with their lines' numbers.
fn rows() -> Vec<(usize, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md")).unwrap();
    let mut rows = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let is_row = line.starts_with("| ") && !line.starts_with("| --- ") && !line.starts_with("| what ");
        if is_row {
            // A pipe within a cell has a backslash before it.
            let cells: Vec<_> = line.trim_matches('|').split(" |").collect();
            assert_eq!(cells.len(), 6, "line {}: {line}", nth + 1);
            rows.push((nth + 1, cells[5].trim().replace("\\|", "|")));
        }
    }
    rows
}

/// Why there is none, or which other test runs it.
fn is_words(cell: &str) -> bool {
    cell.starts_with("no: ") || cell.starts_with("elsewhere: ")
}

/// The commands of a cell, which it has in backticks.
fn commands(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|code| code.contains("milena ")).collect()
}

#[test]
fn a_row_has_a_command_of_ours_or_says_why_not() {
    let rows = rows();
    assert!(rows.len() > 90, "the table is not read any more: {} rows", rows.len());
    for (line, cell) in rows {
        let reason = is_words(&cell) && cell.len() > 14;
        assert!(reason || !commands(&cell).is_empty(), "line {line}: {cell}");
    }
}

/// Several at a time, each on a cluster of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_command_of_ours_runs() {
    let all: Vec<_> = rows()
        .into_iter()
        .filter(|(_, cell)| !is_words(cell))
        .flat_map(|(line, cell)| commands(&cell).iter().map(|code| (line, (*code).to_owned())).collect::<Vec<_>>())
        .collect();
    let chunk = all.len().div_ceil(3);
    let tasks: Vec<_> = all.chunks(chunk).map(|part| tokio::spawn(run_all(part.to_vec()))).collect();
    let mut wrong = Vec::new();
    for task in tasks {
        wrong.extend(task.await.unwrap());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

async fn run_all(commands: Vec<(usize, String)>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, code) in commands {
        if let Err(why) = run(&code).await {
            wrong.push(format!("docs/commands.md:{line}: {code}\n{why}"));
        }
    }
    wrong
}

/// A cluster with all that the table's commands speak of, and the files that they read.
async fn scene(folder: &Path) -> TestCluster {
    let cluster = cluster().await;
    cluster.create_topic("ledger", 1).unwrap();
    milena_with(&cluster, "users create alice", "open sesame").ok();
    milena(&cluster, "acls create --allow-principal alice --operation read --topic clicks").ok();
    milena(&cluster, "cluster quotas alter --name user=alice --add producer_byte_rate=2000").ok();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("password"), "open sesame\n").unwrap();
    fs::write(folder.join("offsets.txt"), "orders 0 3\n").unwrap();
    cluster
}

async fn run(code: &str) -> Result<(), String> {
    let folder = folder(code);
    let cluster = scene(&folder).await;
    let client = cluster.client().await.unwrap();
    let mut producer = client.transactional_producer("payments", ProducerConfig::default()).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(ProducerRecord::new("ledger").value("x")).await.unwrap().await.unwrap();

    let binary = Path::new(env!("CARGO_BIN_EXE_milena")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {code}")]).current_dir(&folder).env("PATH", path);
    shell.env("KAFKA_BOOTSTRAP_SERVERS", cluster.bootstrap()).env_remove("RUST_LOG").stdin(Stdio::null());
    let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let done = tokio::task::block_in_place(|| ended(child, ENDLESS.contains(&code)));
    fs::remove_dir_all(&folder).unwrap();
    let (code_of_exit, out, err) = done?;
    let expected = i32::from(REFUSED.contains(&code)) * 2;
    if code_of_exit != Some(expected) && !ENDLESS.contains(&code) {
        return Err(format!("exit code {code_of_exit:?}\n{out}{err}"));
    }
    let silent = ENDLESS.contains(&code) || code.contains("milena produce") || code.contains("milena consume");
    if out.is_empty() && err.is_empty() && !silent {
        return Err("says nothing".to_owned());
    }
    Ok(())
}

type Ended = (Option<i32>, String, String);

/// Waits for its end, or for a second and then ends it if it is endless.
fn ended(mut child: std::process::Child, endless: bool) -> Result<Ended, String> {
    // Read meanwhile: a pipe holds only so much.
    let out = gathered(child.stdout.take());
    let err = gathered(child.stderr.take());
    let begun = Instant::now();
    let limit = Duration::from_secs(if endless { 1 } else { 40 });
    let mut over = None;
    while over.is_none() && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(5));
        over = child.try_wait().map_err(|error| error.to_string())?;
    }
    if over.is_some() == endless {
        let _ = child.kill();
        return Err(if endless { "has ended".to_owned() } else { "does not end".to_owned() });
    }
    let _ = child.kill(); // ours: it is endless, or over
    let done = child.wait().map_err(|error| error.to_string())?;
    Ok((done.code(), out.join().unwrap(), err.join().unwrap()))
}

/// All that comes, on a thread of its own.
fn gathered(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn folder(code: &str) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    code.hash(&mut hasher);
    std::env::temp_dir().join(format!("milena-table-{}-{:x}", std::process::id(), hasher.finish()))
}
