//! `--decode`: keys and values by a Schema Registry, as JSON.

use crate::args::{Global, Result};
use crate::events::registry;
use milena::consumer::ConsumerRecord;
use milena::schema::Decoder;

const HINT: &str = "-X schema.registry.url=http://HOST:8081 names the registry that --decode asks";

/// Which half of a record is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    Key,
    Value,
    Both,
}

/// What decodes.
#[derive(Debug)]
pub struct Decode {
    decoder: Decoder,
    what: What,
}

/// A record's halves as JSON; `None` where there is nothing, or nothing to be decoded.
#[derive(Debug, Default)]
pub struct Decoded {
    pub key: Option<String>,
    pub value: Option<String>,
}

impl Decode {
    /// By the registry of the properties, `schema.registry.url` and what goes with it.
    pub fn new(what: What, global: &Global) -> Result<Self> {
        Ok(Self { decoder: Decoder::new(&registry(global, HINT)?), what })
    }

    /// Both halves, as far as they are wanted.
    pub async fn record(&self, record: &ConsumerRecord<'_>) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        if self.what != What::Value {
            decoded.key = self.decoder.key(record).await?;
        }
        if self.what != What::Key {
            decoded.value = self.decoder.value(record).await?;
        }
        Ok(decoded)
    }
}
