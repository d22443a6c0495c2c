//! Avro's bytes into values. Not by `apache-avro`, which takes an end in the middle for a null, reserves memory for any length, and needs
//! 32 KB of stack for each level that the bytes say, in a debug build.

use super::wrong;
use crate::error::{Error, ErrorKind, Result};
use crate::record::varint::{MAX_VARINT_LEN, get_varint};
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Names, UuidSchema};
use apache_avro::types::Value;

/// No value is nested deeper: a record in a union is two, and of a chain of records each link is three. `apache-avro` writes it again with
/// 10 KB of stack for each in a debug build, and a thread has 2 MB.
pub(super) const DEEPEST: usize = 64;

/// No data have more values that take no byte than this and their bytes: nulls, and records of them. A union's has its byte.
const MOST_EMPTY: u64 = 100_000;

/// The one datum of this schema that the bytes are, all of them.
///
/// # Errors
/// `Malformed` with what is wrong.
pub(super) fn decoded(bytes: &[u8], schema: &Schema, names: &Names) -> Result<Value> {
    let mut reading = Reading { left: bytes, items: bytes.len() as u64, empty: bytes.len() as u64 + MOST_EMPTY, names };
    let value = reading.datum(schema, 0)?;
    match reading.left.len() {
        0 => Ok(value),
        more => Err(malformed(format!("{more} bytes more than it has"))),
    }
}

struct Reading<'a> {
    left: &'a [u8],
    /// How many items of arrays and maps may come. Each takes at least a byte, unless there is nothing in it: of those there can't be
    /// more.
    items: u64,
    /// How many more values may take no byte: of records that hold the next one twice, the last is there without end.
    empty: u64,
    names: &'a Names,
}

impl<'a> Reading<'a> {
    fn datum(&mut self, schema: &Schema, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(malformed(format!("nested deeper than {DEEPEST}")));
        }
        let before = self.left.len();
        let value = self.of(schema, depth + 1)?;
        if self.left.len() == before {
            let left = self.empty.checked_sub(1);
            self.empty = left.ok_or_else(|| malformed(format!("more than {MOST_EMPTY} values of no byte")))?;
        }
        Ok(value)
    }

    fn of(&mut self, schema: &Schema, depth: usize) -> Result<Value> {
        match schema {
            Schema::Union(of) => {
                let index = self.index(of.variants().len(), "a branch")?;
                let value = of.variants().get(index).map_or(Ok(Value::Null), |variant| self.datum(variant, depth))?;
                Ok(Value::Union(index as u32, Box::new(value)))
            }
            Schema::Array(of) => {
                let mut items = Vec::new();
                self.blocks(|reading| {
                    items.push(reading.datum(&of.items, depth)?);
                    Ok(())
                })?;
                Ok(Value::Array(items))
            }
            Schema::Map(of) => {
                let mut values = std::collections::HashMap::new();
                self.blocks(|reading| {
                    let name = reading.string()?.to_owned();
                    values.insert(name, reading.datum(&of.types, depth)?);
                    Ok(())
                })?;
                Ok(Value::Map(values))
            }
            Schema::Record(of) => {
                let fields = of.fields.iter().map(|field| match self.datum(&field.schema, depth) {
                    Ok(value) => Ok((field.name.clone(), value)),
                    Err(error) => Err(super::of_field(error, &field.name)),
                });
                Ok(Value::Record(fields.collect::<Result<_>>()?))
            }
            Schema::Ref { name } => {
                let schema = self.names.get(name).ok_or_else(|| malformed(format!("there is no type {name}")))?;
                self.datum(schema, depth)
            }
            schema => self.leaf(schema),
        }
    }

    fn leaf(&mut self, schema: &Schema) -> Result<Value> {
        let logical = |value: Value| value.resolve(schema).map_err(|error| wrong("not of its schema", &error));
        Ok(match schema {
            Schema::Boolean => match self.take(1)? {
                [yes @ (0 | 1)] => Value::Boolean(*yes == 1),
                _ => return Err(malformed("a boolean that is neither true nor false".to_owned())),
            },
            Schema::Int => Value::Int(self.int()?),
            Schema::Date => Value::Date(self.int()?),
            Schema::TimeMillis => Value::TimeMillis(self.int()?),
            Schema::Long => Value::Long(self.long()?),
            Schema::TimeMicros => Value::TimeMicros(self.long()?),
            Schema::TimestampMillis => Value::TimestampMillis(self.long()?),
            Schema::TimestampMicros => Value::TimestampMicros(self.long()?),
            Schema::TimestampNanos => Value::TimestampNanos(self.long()?),
            Schema::LocalTimestampMillis => Value::LocalTimestampMillis(self.long()?),
            Schema::LocalTimestampMicros => Value::LocalTimestampMicros(self.long()?),
            Schema::LocalTimestampNanos => Value::LocalTimestampNanos(self.long()?),
            Schema::Float => Value::Float(f32::from_le_bytes(self.array()?)),
            Schema::Double => Value::Double(f64::from_le_bytes(self.array()?)),
            Schema::Bytes => Value::Bytes(self.bytes()?.to_vec()),
            Schema::String => Value::String(self.string()?.to_owned()),
            Schema::Fixed(fixed) => Value::Fixed(fixed.size, self.take(fixed.size)?.to_vec()),
            Schema::Enum(of) => {
                let index = self.index(of.symbols.len(), "a symbol")?;
                Value::Enum(index as u32, of.symbols.get(index).cloned().unwrap_or_default())
            }
            Schema::Uuid(UuidSchema::String) => logical(Value::String(self.string()?.to_owned()))?,
            Schema::BigDecimal => {
                let whole = self.bytes()?;
                // What makes it of them makes room for as many bytes as they say.
                Reading { left: whole, items: 0, empty: 0, names: self.names }.bytes()?;
                logical(Value::Bytes(whole.to_vec()))?
            }
            Schema::Uuid(UuidSchema::Bytes) => logical(Value::Bytes(self.bytes()?.to_vec()))?,
            Schema::Uuid(UuidSchema::Fixed(of)) | Schema::Duration(of) => {
                logical(Value::Fixed(of.size, self.take(of.size)?.to_vec()))?
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Value::Decimal(self.bytes()?.into()),
                InnerDecimalSchema::Fixed(of) => Value::Decimal(self.take(of.size)?.into()),
            },
            _ => Value::Null, // the others are not leaves
        })
    }

    /// Items in blocks, until one of none.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?; // the block's length in bytes
            }
            let count = count.unsigned_abs();
            let items = self.items.checked_sub(count).filter(|_| count <= self.left.len() as u64);
            self.items = items.ok_or_else(|| malformed(format!("{count} items in {} bytes", self.left.len())))?;
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    fn string(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a string that is not UTF-8".to_owned()))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| malformed("it ends too early".to_owned()))
    }

    fn int(&mut self) -> Result<i32> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| malformed(format!("an int of {number}")))
    }

    fn index(&mut self, count: usize, what: &str) -> Result<usize> {
        let number = self.long()?;
        let index = usize::try_from(number).ok().filter(|index| *index < count);
        index.ok_or_else(|| malformed(format!("{what} of number {number}, and there are {count}")))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| malformed(format!("{length} bytes")))?;
        self.take(length)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let short = || malformed(format!("{count} bytes are to come, and {} are left", self.left.len()));
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(short)?;
        self.left = left;
        Ok(taken)
    }

    /// Zigzag, of at most ten bytes.
    fn long(&mut self) -> Result<i64> {
        get_varint(&mut self.left).ok_or_else(|| {
            let is_short = self.left.len() < MAX_VARINT_LEN;
            malformed(if is_short { "it ends too early" } else { "a number of more than ten bytes" }.to_owned())
        })
    }
}

fn malformed(why: String) -> Error {
    Error::with_message(ErrorKind::Malformed, why)
}

#[cfg(test)]
mod tests {
    use crate::schema::avro::Avro;

    fn error(schema: &str, bytes: &[u8]) -> String {
        Avro::new(schema, &[]).unwrap().decode(bytes, None).unwrap_err().to_string()
    }

    #[test]
    fn what_ends_early_or_goes_on_is_no_datum() {
        let record = r#"{"type":"record","name":"A","fields":[{"name":"s","type":"string"},{"name":"u","type":["null","long"]}]}"#;
        let avro = Avro::new(record, &[]).unwrap();
        let whole = [4, b'h', b'i', 2, 14];
        assert!(avro.decode(&whole, None).is_ok());
        for end in 0..whole.len() {
            let error = avro.decode(&whole[..end], None).unwrap_err().to_string();
            assert!(error.starts_with("field "), "{error}");
        }
        assert_eq!(error(record, &[2, b'x', 0, 0]), "1 bytes more than it has");
        assert_eq!(error(record, &[2, 0xff, 0]), "field s: a string that is not UTF-8");
        assert_eq!(error(record, &[0, 4]), "field u: a branch of number 2, and there are 2");
    }

    #[test]
    fn a_length_that_the_bytes_do_not_bear_out_reserves_nothing() {
        let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(error(r#""string""#, &huge).contains("bytes are to come, and 0 are left"));
        assert!(error(r#"{"type":"array","items":"null"}"#, &huge).contains("items in 0 bytes"));
        let nulls = [[100].repeat(40), vec![0; 20]].concat(); // forty blocks of fifty nulls
        assert!(error(r#"{"type":"array","items":"null"}"#, &nulls).contains("50 items in"));
        assert!(error(r#"{"type":"map","values":"null"}"#, &huge).contains("items in 0 bytes"));
        assert!(error(r#"{"type":"fixed","name":"F","size":4611686018427387904}"#, &[1]).contains("are to come"));
        assert!(error(r#""long""#, &[0xff; 11]).contains("more than ten bytes"));
    }

    #[test]
    fn a_chain_is_followed_so_far_and_no_further() {
        let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
        let chain = |links: usize| [vec![2; links], vec![0]].concat();
        let avro = Avro::new(list, &[]).unwrap();
        let value = avro.decode(&chain(20), None).unwrap();
        assert_eq!(avro.encode(value).unwrap(), chain(20));
        assert_eq!(avro.decode_json(&chain(2)).unwrap(), r#"{"next":{"next":{"next":null}}}"#);
        assert!(error(list, &chain(1 << 20)).ends_with("nested deeper than 64"));
        let endless = r#"{"type":"record","name":"E","fields":[{"name":"e","type":"E"}]}"#;
        assert!(error(endless, &[]).ends_with("nested deeper than 64"));
        let twice = (0..30).fold(r#""null""#.to_owned(), |inner, at| {
            let other = if at == 0 { r#""null""#.to_owned() } else { format!("\"R{}\"", at - 1) };
            format!(r#"{{"type":"record","name":"R{at}","fields":[{{"name":"a","type":{inner}}},{{"name":"b","type":{other}}}]}}"#)
        });
        assert!(error(&twice, &[]).ends_with("more than 100000 values of no byte"));
    }
}
