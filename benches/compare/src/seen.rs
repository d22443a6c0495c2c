//! What a consumer has seen, and how it says that to who has started it.

use crate::job::Job;

/// Half of 0.0001 MB.
const JAVA_ROUNDING: u64 = 53;

/// Records, and the bytes of their values.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub records: u64,
    pub bytes: u64,
}

impl Seen {
    /// One more record.
    pub fn add(&mut self, value: Option<&[u8]>) {
        self.records += 1;
        self.bytes += value.map_or(0, <[u8]>::len) as u64;
    }

    /// Prints the line that [`Seen::said`] reads; panics if there were not as many records as asked for.
    pub fn done(&self, job: &Job) {
        assert_eq!(self.records, job.records);
        println!("{}", serde_json::json!({ "records": self.records, "bytes": self.bytes }));
    }

    /// Whether this is `all`, as exactly as Java says it: less than a value is long.
    pub fn is(&self, all: Self) -> bool {
        self.records == all.records && self.bytes.abs_diff(all.bytes) <= JAVA_ROUNDING
    }

    /// From the last line of a child's output: ours and milena's in JSON, Java's with commas.
    pub fn said(output: &str) -> Result<Self, String> {
        let line = output.trim().lines().last().unwrap_or_default();
        let seen = if line.starts_with('{') { of_json(line) } else { of_java(line) };
        seen.ok_or_else(|| format!("no count in {line:?}"))
    }
}

fn of_json(line: &str) -> Option<Seen> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(Seen { records: line["records"].as_u64()?, bytes: line["bytes"].as_u64()? })
}

/// Start, end, MB, MB a second, records, and more.
fn of_java(line: &str) -> Option<Seen> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let mb: f64 = fields.get(2)?.parse().ok()?;
    Some(Seen { records: fields.get(4)?.parse().ok()?, bytes: (mb * 1_048_576.0).round() as u64 })
}
