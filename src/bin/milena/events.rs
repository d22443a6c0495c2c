//! How the pipeline's commands find events in records, and which Schema Registry a command asks.

use crate::args::{Global, Result, Role};
use milena::pipeline::event::EventFormat;
use milena::pipeline::knobs::{Knobs, ValueFormat};
use milena::schema::Registry;

const HINT: &str = "-X schema.registry.url=http://HOST:8081 names the registry that --value-format avro asks";

/// Of the commands that read or write events.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// How events stand in records; avro asks the registry of -X schema.registry.url=… [default: "value.format" of --config, else json]
    #[arg(long, value_name = "json|avro")]
    value_format: Option<ValueFormat>,
}

impl Events {
    /// What was asked for, or stands in `[pipeline]`.
    pub fn value_format(&self, knobs: &Knobs) -> ValueFormat {
        self.value_format.unwrap_or(knobs.value_format)
    }

    /// The same, ready for use.
    pub fn format(&self, knobs: &Knobs, global: &Global) -> Result<EventFormat> {
        match self.value_format(knobs) {
            ValueFormat::Avro => Ok(EventFormat::avro(&registry(global, HINT)?)),
            _ => Ok(EventFormat::json()),
        }
    }
}

/// The registry of the properties, `schema.registry.url` and what goes with it; the hint says who asks it.
pub fn registry(global: &Global, hint: &'static str) -> Result<Registry> {
    let config = global.properties(Role::Consumer)?.schema_registry();
    Ok(Registry::new(config.map_err(|error| error.hint(hint))?)?)
}
