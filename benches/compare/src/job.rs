//! What a client is asked to do.

use bytes::Bytes;
use std::fs;

/// `buffer.memory` of all.
pub const BUFFER_MEMORY: usize = 32 << 20;
/// `linger.ms` of all that batch.
pub const LINGER_MS: u64 = 5;
/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;

/// Threads of a tokio runtime, where there is one.
pub const WORKERS: usize = 2;

/// The work of one child, as its options.
#[derive(Debug, Clone, clap::Args)]
pub struct Job {
    /// Address of a broker
    #[arg(long)]
    pub bootstrap: String,
    /// Where to, or from
    #[arg(long)]
    pub topic: String,
    /// How many records
    #[arg(long)]
    pub records: u64,
    /// File with one value a line, used in turn
    #[arg(long)]
    pub payloads: String,
    /// none or lz4
    #[arg(long)]
    pub codec: String,
    /// Over TLS, trusting the CA of this PEM file
    #[arg(long)]
    pub ca: Option<String>,
    /// Bytes of a batch before compression; without it the client's own default
    #[arg(long)]
    pub batch_size: Option<usize>,
}

impl Job {
    /// The job as options again, for the child.
    pub fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let pairs = [
            ("--bootstrap", self.bootstrap.clone()),
            ("--topic", self.topic.clone()),
            ("--records", self.records.to_string()),
            ("--payloads", self.payloads.clone()),
            ("--codec", self.codec.clone()),
        ];
        for (name, value) in pairs {
            options.extend([name.to_owned(), value]);
        }
        if let Some(ca) = &self.ca {
            options.extend(["--ca".to_owned(), ca.clone()]);
        }
        if let Some(bytes) = self.batch_size {
            options.extend(["--batch-size".to_owned(), bytes.to_string()]);
        }
        options
    }

    /// How the broker is reached, as librdkafka and milena have it.
    pub fn connection(&self) -> Vec<(String, String)> {
        let mut properties = vec![("bootstrap.servers", self.bootstrap.clone())];
        if let Some(ca) = &self.ca {
            properties.extend([("security.protocol", "SSL".to_owned()), ("ssl.ca.location", ca.clone())]);
        }
        properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The values, not copied when they are cloned.
    pub fn values(&self) -> Vec<Bytes> {
        let text = Bytes::from(fs::read(&self.payloads).expect("the payloads can be read"));
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| text.slice_ref(line)).collect()
    }

    /// How many records an application may have under way that waits for each of them: as many as `buffer.memory` holds.
    pub fn window(&self, values: &[Bytes]) -> usize {
        BUFFER_MEMORY / values[0].len().max(1)
    }
}
