//! The records of the vectors: the same as in `capture/samples.py` and `capture/Samples.java`.

use milena::record::{Header, decode::RecordView, encode::RecordEncoder};

/// The timestamp of the first record, in milliseconds since 1970; each next one is 10 later.
pub const T: i64 = 1_700_000_000_000;

/// A record with everything in it owned, to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<RecordView<'_>> for Sample {
    fn from(record: RecordView<'_>) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|h| (h.name.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

impl Sample {
    /// Appends it to an open batch; `None` if there is no room.
    pub fn append_to(&self, encoder: &mut RecordEncoder) -> Option<u32> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        encoder.append(self.timestamp, self.key.as_deref(), self.value.as_deref(), &headers)
    }
}

fn noise(n: usize) -> Vec<u8> {
    let mut x = 12345u64;
    let mut next = || {
        x = (x * 1_103_515_245 + 12345) & 0x7fff_ffff;
        (x >> 16) as u8
    };
    (0..n).map(|_| next()).collect()
}

/// Everything that may be null, empty, double or long.
pub fn odd() -> Vec<Sample> {
    let sample = |i: i64, key: Option<&str>, value: Option<Vec<u8>>| Sample {
        timestamp: T + 10 * i,
        key: key.map(|key| key.as_bytes().to_vec()),
        value,
        headers: Vec::new(),
    };
    let headers: [(&str, Option<&[u8]>); 5] = [
        ("dup", Some(b"1")),
        ("dup", Some(b"2")),
        ("null", None),
        ("empty", Some(b"")),
        ("\u{fc}n\u{ef}code \u{2713}", Some(b"\xff\0")),
    ];
    let mut samples = vec![
        sample(0, Some("key-0"), Some(b"value-0".to_vec())),
        sample(1, None, Some(b"no key".to_vec())),
        sample(2, Some(""), Some(vec![])),
        sample(3, Some("tombstone"), None),
        sample(4, Some("headers"), Some(b"h".to_vec())),
        sample(5, Some("long"), Some(b"abcdefghij".repeat(300))),
        sample(6, Some("noise"), Some(noise(200))),
    ];
    samples[4].headers = headers.map(|(name, value)| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec))).to_vec();
    samples
}

/// Enough for several blocks of every codec.
pub fn many() -> Vec<Sample> {
    let value = |i| format!(r#"{{"page":"/p/{}","n":{i},"agent":"Mozilla/5.0 (X11; Linux x86_64)"}}"#, i % 13);
    (0..2000)
        .map(|i| Sample {
            timestamp: T + 10 * i,
            key: Some(format!("visitor-{}", i % 7).into_bytes()),
            value: Some(value(i).into_bytes()),
            headers: Vec::new(),
        })
        .collect()
}
