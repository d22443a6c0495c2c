//! Writes the bounds guard's schema table from Kafka's message JSON. To take a new Kafka version:
//!
//! ```sh
//! unzip -d messages kafka-clients-4.4.0.jar 'common/message/*'          # any kafka-clients jar carries them
//! generate="cargo run -p protocol-tests --bin generate_guard -- messages/common/message 4.4.0"
//! $generate > table.new && mv table.new src/wire/guard/table.rs
//! $generate sizes > sizes.new && mv sizes.new protocol-tests/tests/wire/sizes.in
//! cargo fmt --all && cargo test -p protocol-tests --test wire --test wire_memory
//! ```
//! (Not straight into the files: the generator is built with the table that is there.) `.ci/run guard_table` holds the table against
//! the jar of the version that it names, and `.ci/full` against Kafka's newest release.
//!
//! One row per struct, one row per message. A row keeps only what decides how many bytes a field
//! takes (kind, versions, nullability, tag) and what a decoder will spend on it in memory (`cost`).
#![allow(clippy::print_stdout, reason = "its output is a source file")]

use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::{env, error::Error, fs};

/// Data without an API key that clients decode, and the keys that stand for them. Other such data
/// (control records of KRaft) stays out: a client has no use for it, and kafka-protocol 0.18 reads
/// LeaderChangeMessage and VotersRecord by a version out of the data instead of the one it is given,
/// so no check could hold for them.
const KEYLESS: [(&str, i64); 2] = [("ConsumerProtocolAssignment", -1), ("ConsumerProtocolSubscription", -2)];

/// Shown as "never" in the table's `u8` version columns; no Kafka version comes near it.
const NEVER: u8 = 255;

type Res<T> = Result<T, Box<dyn Error>>;

/// A version range as Kafka writes it: "3", "2-7", "4+", "none".
fn range(text: &str) -> Res<Option<(u8, u8)>> {
    Ok(match text.split_once('-') {
        _ if text == "none" => None,
        Some((from, to)) => Some((from.parse()?, to.parse()?)),
        None => match text.strip_suffix('+') {
            Some(from) => Some((from.parse()?, NEVER)),
            None => Some((text.parse()?, text.parse()?)),
        },
    })
}

fn text<'a>(v: &'a Value, key: &str) -> Res<&'a str> {
    v[key].as_str().ok_or_else(|| format!("no {key} in {v}").into())
}

/// Bytes on the wire of a fixed-size type.
fn fixed(name: &str) -> Option<u32> {
    Some(match name {
        "bool" | "int8" => 1,
        "int16" | "uint16" => 2,
        "int32" => 4,
        "int64" | "float64" => 8,
        "uuid" => 16,
        _ => return None,
    })
}

/// A finished struct row.
struct Row {
    path: String,
    cost: u32,
    fields: Vec<String>,
}

/// A struct's index in the table, its cost, and how many structs deep it is.
type Done = (usize, u32, usize);

/// The structs of one message: nested definitions and `commonStructs`, found by name.
struct Scope<'a> {
    json: HashMap<&'a str, &'a Value>,
    done: HashMap<&'a str, Done>,
    valid: (u8, u8),
    flexible: u8,
}

struct Generator {
    rows: Vec<Row>,
}

impl Generator {
    /// Adds the row of struct `name` and of the structs inside it.
    fn add<'a>(
        &mut self,
        scope: &mut Scope<'a>,
        name: &'a str,
        fields: &'a [Value],
        path: &str,
        depth: usize,
    ) -> Res<Done> {
        if let Some(found) = scope.done.get(name) {
            return Ok(*found);
        }
        if depth > 8 {
            return Err(format!("{path}: structs nest too deep (or recurse)").into());
        }
        let at = self.rows.len();
        self.rows.push(Row { path: path.into(), cost: 0, fields: vec![] });

        // What kafka-protocol spends on the struct itself: its fields of every version plus the map
        // of unknown tagged fields. `tests/wire/costs.rs` checks it against size_of.
        let mut cost = if scope.flexible == NEVER { 0 } else { 24 };
        let (mut out, mut height) = (vec![], 1);
        let (low, high) = scope.valid;
        for field in fields {
            let place = format!("{}.{}", path, text(field, "name")?);
            let Some((from, to)) = range(text(field, "versions")?)? else {
                continue;
            };
            let kind = text(field, "type")?;
            let (is_array, item) = match kind.strip_prefix("[]") {
                Some(item) => (true, item),
                None => (false, kind),
            };
            // A struct is defined where its name is first used, or in commonStructs.
            let (shown, inline) = if let Some(size) = fixed(item) {
                (format!("Fixed{}({size})", if is_array { "s" } else { "" }), size)
            } else if item == "string" {
                (format!("Str{}", if is_array { "s" } else { "" }), 32)
            } else if !is_array && (item == "bytes" || item == "records") {
                ("Bytes".to_string(), 32)
            } else {
                let inner: &'a [Value] = match field["fields"].as_array() {
                    Some(inner) => inner,
                    None => scope.json.get(item).and_then(|s| s["fields"].as_array()).ok_or("no struct")?,
                };
                let message = path.split('.').next().unwrap_or(path);
                let (id, inner_cost, inner_height) =
                    self.add(scope, item, inner, &format!("{message}.{item}"), depth + 1)?;
                height = height.max(inner_height + 1);
                (format!("Struct{}({id})", if is_array { "s" } else { "" }), inner_cost)
            };
            // A field outside the message's own versions still takes room in the decoded struct.
            cost += if is_array { 24 } else { inline };
            if from > high || to < low {
                continue;
            }

            let mut row = format!("f({shown}, {from})");
            if to < high {
                row += &format!(".to({to})");
            }
            if let Some((null_from, null_to)) = range(field["nullableVersions"].as_str().unwrap_or("none"))? {
                if null_to >= low {
                    if null_to < to.min(high) {
                        return Err(format!("{place}: stops being nullable at {null_to}").into());
                    }
                    row += &format!(".null({null_from})");
                }
                cost += if shown.starts_with("Struct(") { 8 } else { 0 };
            }
            if let Some(tag) = field["tag"].as_u64() {
                if range(text(field, "taggedVersions")?)? != Some((from, to)) || from < scope.flexible {
                    return Err(format!("{place}: tagged in only some of its versions").into());
                }
                row += &format!(".tag({tag})");
            }
            if field["flexibleVersions"].is_string() {
                return Err(format!("{place}: has its own flexibleVersions").into());
            }
            out.push(row);
        }
        let cost = cost.div_ceil(8) * 8;
        self.rows[at].fields = out;
        self.rows[at].cost = cost;
        scope.done.insert(name, (at, cost, height));
        Ok((at, cost, height))
    }
}

/// Puts every struct definition under `fields` into `into`.
fn collect<'a>(fields: &'a [Value], into: &mut HashMap<&'a str, &'a Value>) {
    for field in fields {
        if let (Some(kind), Some(inner)) = (field["type"].as_str(), field["fields"].as_array()) {
            into.insert(kind.trim_start_matches("[]"), field);
            collect(inner, into);
        }
    }
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn main() -> Res<()> {
    let mut args = env::args().skip(1);
    let (Some(folder), Some(kafka), mode) = (args.next(), args.next(), args.next()) else {
        return Err("usage: generate_guard <message folder> <Kafka version> [sizes]".into());
    };
    let mut messages = BTreeMap::new(); // (key, is response) -> message; keyless data: negative keys
    let mut names: Vec<_> = fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
    names.sort();
    for path in names.iter().filter(|p| p.extension().is_some_and(|e| e == "json")) {
        let source = fs::read_to_string(path)?;
        let json: String = source.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let json: Value = serde_json::from_str(&json)?;
        let kind = text(&json, "type")?;
        // Headers are eight lines of guard.rs: one of their strings keeps the old form in every version.
        if kind == "header" || range(text(&json, "validVersions")?)?.is_none() {
            continue;
        }
        let keyless = KEYLESS.iter().find(|(name, _)| json["name"] == *name).map(|(_, key)| *key);
        if let Some(key) = json["apiKey"].as_i64().or(keyless) {
            messages.insert((key, kind == "response"), json);
        }
    }

    let mut generator = Generator { rows: vec![] };
    let mut deepest = 0;
    let mut index = vec![];
    let mut keys = vec![];
    for ((key, is_response), json) in &messages {
        let name = text(json, "name")?;
        let (low, high) = range(text(json, "validVersions")?)?.ok_or("no versions")?;
        let flexible = range(text(json, "flexibleVersions")?)?.map_or(NEVER, |r| r.0);
        let fields = json["fields"].as_array().ok_or("no fields")?;
        let mut scope = Scope { json: HashMap::new(), done: HashMap::new(), valid: (low, high), flexible };
        collect(fields, &mut scope.json);
        for common in json["commonStructs"].as_array().into_iter().flatten() {
            scope.json.insert(text(common, "name")?, common);
            collect(common["fields"].as_array().ok_or("no fields")?, &mut scope.json);
        }
        let (root, _, height) = generator.add(&mut scope, name, fields, name, 1)?;
        deepest = deepest.max(height);
        let direction = if *is_response { "Response" } else { "Request" };
        let flexible = if flexible == NEVER { "NEVER".into() } else { flexible.to_string() };
        index.push(format!("    m({key}, {direction}, {low}, {high}, {flexible}, {root}), // {name}"));
        if *key < 0 {
            keys.push(format!("pub const {}: i16 = {key};", snake(name).to_uppercase()));
        }
    }

    if mode.as_deref() == Some("sizes") {
        // The same structs in kafka-protocol, for the test that compares `cost` with size_of.
        println!("[");
        for (at, row) in generator.rows.iter().enumerate() {
            if ["StreamsGroup", "UnregisterController"].iter().any(|absent| row.path.starts_with(absent)) {
                continue; // not in kafka-protocol 0.18
            }
            let (message, name) = row.path.split_once('.').unwrap_or((&row.path, &row.path));
            println!("    ({at}, size_of::<{}::{name}>()),", snake(message));
        }
        println!("]");
        return Ok(());
    }
    println!("// Written by generate_guard from the message JSON of Kafka {kafka}. Do not edit.");
    println!("// Columns: see `Message`, `Struct` and `Field` in guard.rs.\n");
    println!("use super::{{Direction::*, Kind::*, Message, NEVER, Struct, f, m, s}};\n");
    println!("/// How deep structs nest.\npub const DEPTH: u8 = {};\n", deepest);
    println!("// Data without an API key of its own: the key to give `check`.\n{}\n", keys.join("\n"));
    println!("/// Sorted by key, then request before response.\n#[rustfmt::skip]");
    println!("pub static MESSAGES: [Message; {}] = [\n{}\n];\n", index.len(), index.join("\n"));
    println!("#[rustfmt::skip]\npub static STRUCTS: [Struct; {}] = [", generator.rows.len());
    for (at, row) in generator.rows.iter().enumerate() {
        println!("    /* {at} {} */ s({}, &[{}]),", row.path, row.cost, row.fields.join(", "));
    }
    println!("];");
    Ok(())
}
