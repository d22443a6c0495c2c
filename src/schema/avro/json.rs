//! An Avro value as JSON, without the types that Avro's own JSON names in unions.
//!
//! Bytes are text of a letter each (as Avro's JSON has them), decimals text (`"12.30"`), dates and times the numbers that they are,
//! and what no JSON number can be is text: `"NaN"`.

use apache_avro::Schema;
use apache_avro::schema::Names;
use apache_avro::types::Value;
use num_bigint::BigInt;
use serde::ser::{Error, Serialize, SerializeMap, Serializer};

/// No decimal is written out with more places behind its point, or zeros before it.
const MOST_ZEROS: usize = 1000;

/// A value with the schema that it was decoded by. Fields come in the schema's order, a map's entries in that of their names.
pub(super) struct Shown<'a> {
    pub value: &'a Value,
    pub schema: &'a Schema,
    pub names: &'a Names,
}

impl Shown<'_> {
    fn of<'a>(&'a self, value: &'a Value, schema: &'a Schema) -> Shown<'a> {
        Shown { value, schema, names: self.names }
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match (self.value, self.schema) {
            (value, Schema::Ref { name }) => match self.names.get(name) {
                Some(schema) => self.of(value, schema).serialize(out),
                None => Err(S::Error::custom(format!("there is no type {name}"))),
            },
            (Value::Union(at, value), Schema::Union(of)) => {
                let variant = usize::try_from(*at).ok().and_then(|at| of.variants().get(at));
                self.of(value, variant.unwrap_or(&Schema::Null)).serialize(out)
            }
            (Value::Record(fields), Schema::Record(of)) => {
                let mut map = out.serialize_map(Some(fields.len()))?;
                for ((name, value), field) in fields.iter().zip(&of.fields) {
                    map.serialize_entry(name, &self.of(value, &field.schema))?;
                }
                map.end()
            }
            (Value::Map(values), Schema::Map(of)) => {
                let mut values: Vec<_> = values.iter().collect();
                values.sort_unstable_by_key(|(name, _)| *name);
                out.collect_map(values.into_iter().map(|(name, value)| (name, self.of(value, &of.types))))
            }
            (Value::Array(items), Schema::Array(of)) => {
                out.collect_seq(items.iter().map(|item| self.of(item, &of.items)))
            }
            (Value::Decimal(decimal), Schema::Decimal(of)) => {
                let scale = i64::try_from(of.scale).unwrap_or(i64::MAX);
                out.serialize_str(&decimal_text(&BigInt::from(decimal.clone()), scale))
            }
            (value, _) => plain(value, out),
        }
    }
}

fn plain<S: Serializer>(value: &Value, out: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Null => out.serialize_unit(),
        Value::Boolean(yes) => out.serialize_bool(*yes),
        Value::Int(n) | Value::Date(n) | Value::TimeMillis(n) => out.serialize_i32(*n),
        Value::Long(n)
        | Value::TimeMicros(n)
        | Value::TimestampMillis(n)
        | Value::TimestampMicros(n)
        | Value::TimestampNanos(n)
        | Value::LocalTimestampMillis(n)
        | Value::LocalTimestampMicros(n)
        | Value::LocalTimestampNanos(n) => out.serialize_i64(*n),
        Value::Float(x) if x.is_finite() => out.serialize_f32(*x),
        Value::Double(x) if x.is_finite() => out.serialize_f64(*x),
        Value::Float(x) => out.collect_str(x),
        Value::Double(x) => out.collect_str(x),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => {
            out.serialize_str(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
        }
        Value::String(text) | Value::Enum(_, text) => out.serialize_str(text),
        Value::Uuid(uuid) => out.collect_str(uuid),
        Value::BigDecimal(decimal) => {
            let (unscaled, scale) = decimal.as_bigint_and_exponent();
            out.serialize_str(&decimal_text(&unscaled, scale))
        }
        Value::Duration(duration) => out.collect_map([
            ("months", u32::from(duration.months())),
            ("days", u32::from(duration.days())),
            ("millis", u32::from(duration.millis())),
        ]),
        Value::Union(..) | Value::Array(_) | Value::Map(_) | Value::Record(_) | Value::Decimal(_) => {
            Err(S::Error::custom("the value is not of its schema"))
        }
    }
}

/// With its point, or by a power of ten (`7E-2000`) where that would be zeros above all: a record may ask for any number of them.
fn decimal_text(unscaled: &BigInt, scale: i64) -> String {
    let text = unscaled.to_string();
    let places = match usize::try_from(scale.unsigned_abs()) {
        Ok(0) => return text,
        Ok(places) if places <= MOST_ZEROS => places,
        _ => return format!("{text}E{}", -i128::from(scale)),
    };
    if scale < 0 {
        return if text == "0" { text } else { text + &"0".repeat(places) };
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    format!("{sign}{whole}.{part}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::avro::Avro;

    #[test]
    fn every_type_has_its_json() {
        let schema = r#"{"type":"record","name":"All","fields":[
            {"name":"n","type":"null"},{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},
            {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"y","type":"bytes"},{"name":"s","type":"string"},
            {"name":"x","type":{"type":"fixed","name":"X","size":2}},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
            {"name":"u","type":["null","string"]},
            {"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},
            {"name":"date","type":{"type":"int","logicalType":"date"}},
            {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"m","type":{"type":"map","values":"int"}}]}"#;
        let bytes = [
            &[1][..],
            &[1],
            &[2],
            &0.1f32.to_le_bytes(),
            &f64::NAN.to_le_bytes(),
            &[4, 0, 0xff],
            &[2, b's'],
            &[1, 2],
            &[2],
            &[2, 2, b'u'],
            &[2, 0xf4],
            &[4],
            &[6],
            &[4, 2, b'z', 2, 2, b'a', 4, 0],
        ];
        let json = Avro::new(schema, &[]).unwrap().decode_json(&bytes.concat()).unwrap();
        let expected = r#"{"n":null,"b":true,"i":-1,"l":1,"f":0.1,"d":"NaN","y":"\u0000ÿ","s":"s","x":"\u0001\u0002","e":"B","u":"u","dec":"-0.012","date":2,"ts":3,"m":{"a":2,"z":1}}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn a_decimal_is_text_with_its_point() {
        for (unscaled, scale, expected) in [(1230, 2, "12.30"), (-5, 2, "-0.05"), (0, 1, "0.0"), (7, 0, "7")] {
            assert_eq!(decimal_text(&BigInt::from(unscaled), scale), expected);
        }
        for (unscaled, scale, expected) in [(7, -2, "700"), (0, -2, "0"), (-12, 70_000, "-12E-70000")] {
            assert_eq!(decimal_text(&BigInt::from(unscaled), scale), expected);
        }
        assert_eq!(decimal_text(&BigInt::from(7), i64::MIN), "7E9223372036854775808");
        assert_eq!(decimal_text(&BigInt::from(7), 1000).len(), 1002);
    }

    #[test]
    fn a_scale_costs_no_more_than_its_digits() {
        let big = Avro::new(r#"{"type":"bytes","logicalType":"big-decimal"}"#, &[]).unwrap();
        let scale = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]; // i64::MIN
        let bytes = [&[24, 2, 7][..], &scale].concat();
        assert_eq!(big.decode_json(&bytes).unwrap(), r#""7E9223372036854775808""#);
        // Of a number of 500 MB there are two bytes.
        let error = big.decode_json(&[12, 0x80, 0xca, 0xb5, 0xee, 0x03, 7]).unwrap_err().to_string();
        assert!(error.contains("250000000 bytes") || error.contains("bytes are to come"), "{error}");
        let text = r#"{"type":"bytes","logicalType":"decimal","precision":70000,"scale":66000}"#;
        assert_eq!(Avro::new(text, &[]).unwrap().decode_json(&[2, 7]).unwrap(), r#""7E-66000""#);
    }
}
