//! What consuming allocates: nothing per record, and at most three times per batch for all that the client does, from the
//! socket to the application; over TLS at most eight times. Its own binary, as the allocator counts for the whole process; and the broker is another
//! process, as it allocates, too.
#![allow(clippy::disallowed_methods, reason = "two processes have no clock in common but the real one")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, OffsetReset, Records};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::record::compression::Compression;
use milena::tls::TlsConfig;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: usize = 200_000;
const PARTITIONS: i32 = 4;
const SECOND: Duration = Duration::from_secs(1);

/// One test for all ways: the allocator counts what runs beside it.
#[tokio::test]
async fn no_record_costs_an_allocation_and_a_batch_at_most_three() {
    // rustls decrypts each record of TLS, which is as long as a batch, into memory of its own, and makes its buffer small
    // whenever it is empty: up to five for 16 KB.
    for (compression, tls, most) in
        [(Compression::None, false, 3), (Compression::Lz4, false, 3), (Compression::None, true, 8)]
    {
        let broker = Broker::start(tls);
        let mut config = ClientConfig::new([broker.bootstrap.as_str()]);
        if tls {
            config = config.tls(TlsConfig::default().ca_pem(broker.ca.as_str()));
        }
        let client = Client::connect(config).await.unwrap();
        fill(&client, compression).await;
        let mut batches = 0;
        // Batches on loan, and iteration that keeps what it decompresses: the second reads the same batches.
        for lent in [true, false] {
            // A tenth of what there is, so that the fetching goes on beside the reading.
            let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest).prefetch_bytes(2 << 20);
            let mut consumer = client.consumer(config).unwrap();
            consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new("t", partition))).await.unwrap();
            let mut read = Read::default();
            // The first half opens connections, the session and buffers; the second goes on in the same session.
            read.take(&mut consumer, lent, RECORDS / 2).await;
            let before = read;
            let region = Region::new(ALLOCATOR);
            read.take(&mut consumer, lent, RECORDS).await;
            let change = region.change();
            let allocations = change.allocations + change.reallocations;
            let records = read.records - before.records;
            if lent {
                batches = read.batches - before.batches;
                assert!(batches > 0 && batches < records / 50, "{batches} batches are not what is usual");
            }
            let what = format!("{allocations} allocations for {records} records in {batches} batches");
            println!("{compression:?}, TLS: {tls}, lent: {lent}: {what}");
            assert!(allocations <= most * batches, "{compression:?}, TLS: {tls}, lent: {lent}: {what}");
            assert_eq!(read.bytes, read.records * 100);
            consumer.close(SECOND).await.unwrap();
        }
        client.close().await;
    }
}

async fn fill(client: &Client, compression: Compression) {
    let producer = client.producer(ProducerConfig::default().compression(compression)).unwrap();
    for i in 0..RECORDS {
        let value = format!("{:0100x}", (i as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let record = ProducerRecord::new("t").value(&value).partition(i as i32 % PARTITIONS);
        drop(producer.send(record).await.unwrap()); // closing waits for it
    }
    producer.close(60 * SECOND).await.unwrap();
}

#[derive(Debug, Default, Clone, Copy)]
struct Read {
    records: usize,
    batches: usize,
    bytes: usize,
}

impl Read {
    async fn take(&mut self, consumer: &mut Consumer, lent: bool, records: usize) {
        let end = Instant::now() + 60 * SECOND;
        while self.records < records {
            assert!(Instant::now() < end, "{self:?}");
            let mut polled = consumer.poll(SECOND).await.unwrap();
            if lent {
                self.lent(&mut polled);
            } else {
                for record in &polled {
                    self.bytes += record.value().map_or(0, <[u8]>::len);
                    self.records += 1;
                }
            }
        }
    }

    fn lent(&mut self, polled: &mut Records) {
        while let Some(batch) = polled.next_batch().unwrap() {
            self.batches += 1;
            for record in batch {
                self.bytes += record.unwrap().value().map_or(0, <[u8]>::len);
                self.records += 1;
            }
        }
    }
}

struct Broker {
    child: Child,
    bootstrap: String,
    /// PEM; empty without TLS.
    ca: String,
}

impl Broker {
    fn start(tls: bool) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
        command
            .args(["t", &PARTITIONS.to_string()])
            .args(tls.then_some("tls"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let (mut bootstrap, mut ca) = (String::new(), String::new());
        said.read_line(&mut bootstrap).unwrap();
        bootstrap.truncate(bootstrap.trim_end().len());
        while tls && !ca.contains("-----END CERTIFICATE-----") {
            said.read_line(&mut ca).unwrap();
        }
        Self { child, bootstrap, ca }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // its sign to end
        self.child.wait().unwrap();
    }
}
