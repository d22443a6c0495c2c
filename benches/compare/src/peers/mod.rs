//! The clients, and how each of them is told the same job.

mod confluent;
mod floor;
mod floor_consume;
mod java;
mod kacrab;
mod krafka;
mod librdkafka;
mod librdkafka_consume;
mod librdkafka_latency;
mod rskafka;

pub use librdkafka::openssl;

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, WORKERS};
use std::future::Future;

/// Everyone who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    /// Not a client: the limit to be measured against
    Floor,
    /// This project's release binary
    Milena,
    /// The same by `send_many`, a thousand records at a time
    MilenaMany,
    /// With batches of the cell's size; consuming from its queue, many messages a call
    Librdkafka,
    /// Consuming one message a call
    LibrdkafkaSingle,
    /// With its default batches, 1 MB
    LibrdkafkaDefault,
    /// The Java client, by its kafka-producer-perf-test and kafka-consumer-perf-test
    Java,
    /// The crate confluent-kafka
    Confluent,
    /// The crate krafka
    Krafka,
    /// The crate kacrab
    Kacrab,
    /// The crate rskafka, which has no batches: they are made by hand, and not idempotent
    Rskafka,
}

/// What a client does as a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// Sends all and waits for every acknowledgement
    Produce,
    /// Sends one and waits for it, and so on; prints the latencies
    Latency,
    /// Reads the topic's records, which are that many
    Consume,
}

/// Where the clients are that are not in this program.
#[derive(Debug, Clone, clap::Args)]
pub struct Tools {
    /// milena's release binary
    #[arg(long)]
    pub milena: String,
    /// Class path with the Java client and its tools; without it Java can't take part
    #[arg(long)]
    pub java_class_path: Option<String>,
}

/// One job for one client of this program.
#[derive(Debug, clap::Args)]
pub struct Child {
    peer: Peer,
    task: Task,
    #[command(flatten)]
    job: Job,
}

impl Child {
    /// Does the job in this process; panics if it can't be done as asked.
    pub fn run(&self) {
        let job = &self.job;
        match (self.peer, self.task) {
            (Peer::Floor, Task::Produce) => floor::produce(job),
            (Peer::Floor, Task::Consume) => floor_consume::consume(job),
            (Peer::Librdkafka, Task::Produce) => librdkafka::produce(job),
            (Peer::Librdkafka, Task::Latency) => librdkafka_latency::latency(job),
            (Peer::Librdkafka, Task::Consume) => librdkafka_consume::batches(job),
            (Peer::LibrdkafkaSingle, Task::Consume) => librdkafka_consume::single(job),
            (Peer::Confluent, Task::Produce) => on_two_workers(confluent::produce(job.clone())),
            (Peer::Confluent, Task::Consume) => on_two_workers(confluent::consume(job.clone())),
            (Peer::Krafka, Task::Produce) => on_two_workers(krafka::produce(job.clone())),
            (Peer::Krafka, Task::Consume) => on_two_workers(krafka::consume(job.clone())),
            (Peer::Kacrab, Task::Produce) => on_two_workers(kacrab::produce(job.clone())),
            (Peer::Kacrab, Task::Consume) => on_two_workers(kacrab::consume(job.clone())),
            (Peer::Rskafka, Task::Produce) => on_two_workers(rskafka::produce(job.clone())),
            (Peer::Rskafka, Task::Consume) => on_two_workers(rskafka::consume(job.clone())),
            other => panic!("not in this program: {other:?}"),
        }
    }
}

impl Peer {
    /// How it stands in the tables of a task.
    pub fn name(self, task: Task) -> String {
        let lock = include_str!("../../Cargo.lock");
        let version = |name: &str| {
            let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect("it is locked");
            rest.split_once('"').expect("a version ends").0
        };
        let librdkafka = || format!("librdkafka {}", version("rdkafka-sys").split_once('+').expect("both").1);
        match self {
            Self::Floor => "floor (no client)".to_owned(),
            Self::Milena => "**milena**".to_owned(),
            Self::MilenaMany => "milena, by send_many".to_owned(),
            Self::Librdkafka if task == Task::Consume => format!("{}, batch queue", librdkafka()),
            Self::Librdkafka => librdkafka(),
            Self::LibrdkafkaSingle => format!("{}, single messages", librdkafka()),
            Self::LibrdkafkaDefault => "librdkafka, its default batches of 1 MB".to_owned(),
            Self::Java => "Java 4.3.1".to_owned(),
            Self::Confluent => format!("confluent-kafka {}", version("confluent-kafka")),
            Self::Krafka => format!("krafka {}", version("krafka")),
            Self::Kacrab => format!("kacrab {}", version("kacrab")),
            Self::Rskafka if task == Task::Consume => format!("rskafka {} (a task a partition)", version("rskafka")),
            Self::Rskafka => format!("rskafka {} (batches by hand, not idempotent)", version("rskafka")),
        }
    }

    fn has_tls(self) -> bool {
        matches!(
            self,
            Self::Milena | Self::MilenaMany | Self::Librdkafka | Self::LibrdkafkaSingle | Self::LibrdkafkaDefault
        )
    }

    /// The command that does `job`; `None` if this client hasn't got that task, an error if it can't be run here.
    pub fn command(self, task: Task, job: &Job, tools: &Tools) -> Option<Result<Vec<String>, String>> {
        let here = |peer: &str, job: &Job| {
            let task = match task {
                Task::Produce => "produce",
                Task::Latency => "latency",
                Task::Consume => "consume",
            };
            let this = std::env::current_exe().expect("this program has a path").to_string_lossy().into_owned();
            let mut command = vec![this, "peer".to_owned(), peer.to_owned(), task.to_owned()];
            command.extend(job.options());
            Some(Ok(command))
        };
        match (self, task) {
            // Only these are told about TLS.
            (other, _) if job.ca.is_some() && !other.has_tls() => None,
            (Self::Milena, _) => Some(Ok(milena(task, job, tools))),
            (Self::MilenaMany, Task::Produce) => {
                let mut command = milena(task, job, tools);
                command.extend(["--many", "1000"].map(str::to_owned));
                Some(Ok(command))
            }
            (Self::Librdkafka, _) => here("librdkafka", job),
            (_, Task::Latency) | (Self::MilenaMany | Self::LibrdkafkaDefault, Task::Consume) => None,
            (Self::LibrdkafkaSingle, Task::Consume) => here("librdkafka-single", job),
            (Self::LibrdkafkaSingle, _) => None,
            (Self::LibrdkafkaDefault, _) if job.batch_size >= Some(librdkafka::DEFAULT_BATCH) => None, // as Librdkafka
            (Self::LibrdkafkaDefault, _) => here("librdkafka", &Job { batch_size: None, ..job.clone() }),
            (Self::Java, Task::Consume) => Some(java::consume(job, tools)),
            (Self::Java, _) => Some(java::produce(job, tools)),
            (Self::Floor, _) => here("floor", job),
            (Self::Confluent, _) => here("confluent", job),
            (Self::Krafka, _) => here("krafka", job),
            (Self::Kacrab, _) => here("kacrab", job),
            (Self::Rskafka, _) => here("rskafka", job),
        }
    }
}

fn milena(task: Task, job: &Job, tools: &Tools) -> Vec<String> {
    let what = if task == Task::Consume { "consume" } else { "produce" };
    let words = [&tools.milena, "perf", what, "--json", "--topic", &job.topic];
    let mut command: Vec<String> = words.map(str::to_owned).to_vec();
    for (key, value) in job.connection() {
        command.extend(["-X".to_owned(), format!("{key}={value}")]);
    }
    let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
    option("--records", job.records.to_string());
    if task == Task::Consume {
        return command;
    }
    option("--payload-file", job.payloads.clone());
    option("--compression", job.codec.clone());
    option("--acks", "all".to_owned());
    option("--idempotence", "true".to_owned());
    option("--linger-ms", if task == Task::Latency { 0 } else { LINGER_MS }.to_string());
    option("-X", format!("buffer.memory={BUFFER_MEMORY}"));
    if let Some(bytes) = job.batch_size {
        option("--batch-size", bytes.to_string());
        // A request has a batch of each partition.
        option("-X", format!("max.request.size={}", (bytes * 5).max(1 << 20)));
    }
    if task == Task::Latency {
        command.push("--await-each".to_owned());
    }
    command
}

/// As an application would: a task on a runtime, not in the main thread, which is no worker.
fn on_two_workers(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(runtime.spawn(work)).expect("the work is done");
}
