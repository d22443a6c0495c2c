//! What a `.proto` file or a message may not do: make what reads them recurse without end, or panic.

use crate::error::{Error, ErrorKind, Result};
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, UninterpretedOption,
};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// No message is nested deeper, those in an `Any` included; nor are the braces of a text.
const DEEPEST: usize = 100;
/// Of them, not more are in an `Any` each: making JSON of one takes more of the stack.
const MOST_ANYS: usize = 16;
pub(super) const DEEP: &str = "braces nested deeper than 100";
const ANY: &str = "google.protobuf.Any";

/// Whether no more braces stand in each other than there may: the parsers recurse with each, and have no limit of their own.
pub(super) fn is_shallow(text: &str) -> bool {
    let (mut depth, mut letters) = (0usize, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '<' | '[' => depth += 1,
            '}' | '>' | ']' => depth = depth.saturating_sub(1),
            '"' | '\'' => {
                // Not beyond its line: what has no end there is no string.
                while let Some(inner) = letters.next_if(|inner| *inner != '\n') {
                    if inner == letter {
                        break;
                    }
                    if inner == '\\' {
                        letters.next_if(|escaped| *escaped != '\n');
                    }
                }
            }
            '#' => while letters.next_if(|inner| *inner != '\n').is_some() {},
            '/' if letters.peek() == Some(&'/') => while letters.next_if(|inner| *inner != '\n').is_some() {},
            '/' if letters.next_if_eq(&'*').is_some() => {
                let mut last = ' ';
                while let Some(inner) = letters.next().filter(|inner| (last, *inner) != ('*', '/')) {
                    last = inner;
                }
            }
            _ => {}
        }
        if depth > DEEPEST {
            return false;
        }
    }
    true
}

/// Whether all that says that it is a map's entry is one: what reads messages takes it for granted.
///
/// # Errors
/// With the message that is none.
pub(super) fn check(file: &FileDescriptorProto) -> Result<(), String> {
    file.message_type.iter().try_for_each(check_message)
}

fn check_message(message: &DescriptorProto) -> Result<(), String> {
    if let Some(options) = &message.options {
        let own = |option: &UninterpretedOption| {
            option.name.first().is_some_and(|part| !part.is_extension && part.name_part == "map_entry")
        };
        if options.uninterpreted_option.iter().any(own) || (options.map_entry() && !is_entry(message)) {
            return Err(format!("{}: map_entry is not to be set: write map<…>", message.name()));
        }
    }
    message.nested_type.iter().try_for_each(check_message)
}

fn is_entry(message: &DescriptorProto) -> bool {
    let field =
        |number: i32| message.field.iter().find(|field| field.number() == number && field.label() != Label::Repeated);
    let is_key = |field: &FieldDescriptorProto| {
        let not = [Type::Double, Type::Float, Type::Bytes, Type::Message, Type::Group, Type::Enum];
        field.r#type.is_some() && !not.contains(&field.r#type())
    };
    message.field.len() == 2 && field(1).is_some_and(is_key) && field(2).is_some()
}

/// Whether all options of a descriptor have been made sense of, as a compiler leaves them: what is not is text once more.
pub(super) fn is_compiled(file: &FileDescriptorProto) -> bool {
    macro_rules! done {
        ($one:expr) => {
            $one.options.as_ref().is_none_or(|options| options.uninterpreted_option.is_empty())
        };
    }
    fn of_enum(of: &EnumDescriptorProto) -> bool {
        done!(of) && of.value.iter().all(|value| done!(value))
    }
    fn of_message(of: &DescriptorProto) -> bool {
        done!(of)
            && of.field.iter().chain(&of.extension).all(|field| done!(field))
            && of.oneof_decl.iter().all(|oneof| done!(oneof))
            && of.extension_range.iter().all(|range| done!(range))
            && of.enum_type.iter().all(of_enum)
            && of.nested_type.iter().all(of_message)
    }
    done!(file)
        && file.extension.iter().all(|field| done!(field))
        && file.enum_type.iter().all(of_enum)
        && file.message_type.iter().all(of_message)
        && file.service.iter().all(|service| done!(service) && service.method.iter().all(|method| done!(method)))
}

/// Whether JSON can be made of a message: each `Any` begins to count anew how deep it is.
///
/// # Errors
/// `Malformed` if it is nested too deep.
pub(super) fn check_depth(message: &DynamicMessage) -> Result<()> {
    of_message(message, DEEPEST, MOST_ANYS)
}

fn of_message(message: &DynamicMessage, left: usize, anys: usize) -> Result<()> {
    let deep = || {
        let why = format!("messages nested deeper than {DEEPEST}, or {MOST_ANYS} of {ANY}");
        Error::with_message(ErrorKind::Malformed, why)
    };
    let left = left.checked_sub(1).ok_or_else(deep)?;
    let descriptor = message.descriptor();
    if descriptor.full_name() != ANY {
        let values = message.fields().map(|(_, value)| value).chain(message.extensions().map(|(_, value)| value));
        return values.into_iter().try_for_each(|value| of_value(value, left, anys));
    }
    let anys = anys.checked_sub(1).ok_or_else(deep)?;
    let (url, bytes) = (message.get_field_by_number(1), message.get_field_by_number(2));
    let named = url.as_deref().and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
    let known = named.and_then(|name| descriptor.parent_pool().get_message_by_name(name));
    let (Some(known), Some(bytes)) = (known, bytes.as_deref().and_then(Value::as_bytes)) else {
        return Ok(()); // there is nothing to be made of it, which is said then
    };
    let inner = DynamicMessage::decode(known, bytes.clone()).map_err(|error| super::wrong(&error))?;
    of_message(&inner, left, anys)
}

fn of_value(value: &Value, left: usize, anys: usize) -> Result<()> {
    match value {
        Value::Message(message) => of_message(message, left, anys),
        Value::List(items) => items.iter().try_for_each(|item| of_value(item, left, anys)),
        Value::Map(values) => values.values().try_for_each(|value| of_value(value, left, anys)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Protobuf, ROOT};
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    use prost::Message;

    fn error(text: &str) -> String {
        Protobuf::new(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn an_any_in_an_any_is_followed_so_far_and_no_further() {
        let text = "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; message M { google.protobuf.Any any = 1; M m = 2; }";
        let protobuf = Protobuf::new(text, &[]).unwrap();
        fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
            let mut field = vec![number << 3 | 2];
            prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
            [&field[..], bytes].concat()
        }
        let any = |bytes: Vec<u8>| field(1, &[field(1, b"x/M"), field(2, &bytes)].concat());
        let chain = |anys: usize| (0..anys).fold(Vec::new(), |inner, _| any(inner));
        let json = protobuf.decode_json(&chain(16), Some(&[0])).unwrap();
        assert_eq!(json.matches("@type").count(), 16);
        for anys in [17, 3000] {
            let error = protobuf.decode_json(&chain(anys), Some(&[0])).unwrap_err().to_string();
            assert!(error.starts_with("messages nested deeper than 100"), "{error}");
        }
        let nested = |bytes: Vec<u8>| (0..40).fold(bytes, |inner, _| field(2, &inner));
        assert!(protobuf.decode_json(&nested(any(nested(Vec::new()))), Some(&[0])).is_ok());
        assert!(protobuf.decode_json(&nested(any(nested(any(nested(Vec::new()))))), Some(&[0])).is_err());
    }

    #[test]
    fn braces_have_a_limit_where_they_are_braces() {
        let option = |depth: usize| {
            format!(
                "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\"; message R {{ optional R r = 1; }}
                 extend google.protobuf.FileOptions {{ optional R r = 50000; }} option (r) = {{ {} {} }};",
                "r { ".repeat(depth),
                "} ".repeat(depth)
            )
        };
        assert!(Protobuf::new(&option(60), &[]).is_ok());
        let messages = format!("syntax = \"proto3\"; {}", "message A { ".repeat(20_000));
        for text in [option(100_000), messages] {
            assert_eq!(error(&text), "no .proto file: braces nested deeper than 100");
        }
        let quoted = format!(
            "// {0}\n/* {1} */ message A {{ }} # \" {0}\n \" \\\" {0} \" ' {0} '",
            "{".repeat(200),
            "<".repeat(9)
        );
        assert!(is_shallow(&quoted) && !is_shallow(&format!("\"{{\n{}", "{".repeat(200))));
    }

    #[test]
    fn what_says_that_it_is_an_entry_is_one() {
        let entry =
            "syntax = \"proto3\"; message A { repeated B b = 1; message B { option map_entry = true; int32 a = 3; } }";
        assert!(error(entry).contains("B: map_entry is not to be set"), "{}", error(entry));
        let good = Protobuf::new("syntax = \"proto3\"; message A { map<string, int32> m = 1; }", &[]).unwrap();
        let mut file = good.pool.get_file_by_name(ROOT).unwrap().file_descriptor_proto().clone();
        assert!(Protobuf::new(&BASE64.encode(file.encode_to_vec()), &[]).is_ok());
        file.message_type[0].nested_type[0].field.pop();
        let error = error(&BASE64.encode(file.encode_to_vec()));
        assert!(error.contains("MEntry: map_entry is not to be set"), "{error}");
        file.message_type[0].nested_type.pop();
        file.message_type[0].options.get_or_insert_default().uninterpreted_option.push(UninterpretedOption::default());
        assert!(!is_compiled(&file) && !error.is_empty());
    }
}
