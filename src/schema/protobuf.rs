//! Protobuf, by `protox` and `prost-reflect`: the registry's texts are compiled here, and messages are read by them.

mod limits;

use super::wire;
use crate::error::{Error, ErrorKind, Result, shown};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::collections::HashMap;
use std::sync::Arc;

/// What the schema itself is called among the files. Confluent's own serializers call it `default`.
const ROOT: &str = "default";
/// No more than this of another crate's words goes into an error.
const WORDS: usize = 500;

/// Confluent's files that every registry knows, so that nobody registers them: the fields that can be in them.
const META: &str = r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#;
const DECIMAL: &str = r#"syntax = "proto3"; package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#;

/// A `.proto` file that is ready for use.
#[derive(Debug)]
pub(super) struct Protobuf {
    pool: DescriptorPool,
    /// Whether the entries of maps are counted among the messages in a message. Java's serializer, which goes by the text, has none;
    /// who goes by a descriptor, as Python's does, has them.
    entries_count: bool,
}

/// The texts that a schema uses, by the names that it imports them by.
struct Texts(HashMap<String, Arc<str>>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match (self.0.get(name), name) {
            (Some(text), _) => file(name, text),
            (None, "confluent/meta.proto") => file(name, META),
            (None, "confluent/type/decimal.proto" | "confluent/types/decimal.proto") => file(name, DECIMAL),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A text, or, of Confluent's Python serializer, a descriptor in base64.
fn file(name: &str, text: &str) -> Result<File, protox::Error> {
    let file = match descriptor(text) {
        Some(mut descriptor) if limits::is_compiled(&descriptor) => {
            descriptor.name = Some(name.to_owned());
            File::from_file_descriptor_proto(descriptor)
        }
        Some(_) => return Err(protox::Error::new("a descriptor with options that are text still")),
        None if !limits::is_shallow(text) => return Err(protox::Error::new(limits::DEEP)),
        None => File::from_source(name, text)?,
    };
    limits::check(file.file_descriptor_proto()).map_err(protox::Error::new)?;
    Ok(file)
}

fn descriptor(text: &str) -> Option<FileDescriptorProto> {
    let file = File::decode_file_descriptor_proto(&*BASE64.decode(text.trim()).ok()?).ok()?;
    Some(file.file_descriptor_proto().clone())
}

impl Protobuf {
    /// Out of its text, and the texts of what it imports, by name.
    ///
    /// # Errors
    /// `Malformed` with what is wrong with it.
    pub(super) fn new(text: &str, references: &[(String, Arc<str>)]) -> Result<Self> {
        let mut texts: HashMap<_, _> = references.iter().cloned().collect();
        texts.insert(ROOT.to_owned(), text.into());
        let mut files = ChainFileResolver::new();
        files.add(Texts(texts));
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        compiler.include_imports(true);
        compiler.open_file(ROOT).map_err(|error| {
            let why = format!("no .proto file: {}", shown(&error.to_string(), WORDS));
            Error::with_message(ErrorKind::Malformed, why)
        })?;
        Ok(Self { pool: compiler.descriptor_pool(), entries_count: descriptor(text).is_some() })
    }

    /// The file's descriptor, as Confluent's `format=serialized` has it.
    #[cfg(feature = "test-broker")]
    pub(super) fn serialized(&self) -> String {
        let file = self.pool.get_file_by_name(ROOT);
        BASE64.encode(file.map(|file| file.file_descriptor_proto().encode_to_vec()).unwrap_or_default())
    }

    /// Which message it is, from the outermost in.
    ///
    /// # Errors
    /// `Malformed` if there is none.
    pub(super) fn message(&self, indexes: &[usize]) -> Result<MessageDescriptor> {
        let wrong =
            || Error::with_message(ErrorKind::Malformed, format!("there is no message {indexes:?} in the schema"));
        let (first, inner) = indexes.split_first().ok_or_else(wrong)?;
        let outermost = self.pool.get_file_by_name(ROOT).and_then(|file| file.messages().nth(*first));
        inner.iter().try_fold(outermost.ok_or_else(wrong)?, |message, index| {
            let inner = self.inner(&message).nth(*index);
            inner.ok_or_else(wrong)
        })
    }

    /// Where the message of this full name is.
    ///
    /// # Errors
    /// `Config` if there is none, with those that there are.
    pub(super) fn indexes(&self, name: &str) -> Result<Vec<usize>> {
        let file = self.pool.get_file_by_name(ROOT);
        file.as_ref().and_then(|file| self.find(&mut file.messages(), name)).ok_or_else(|| {
            let messages = file.iter().flat_map(|file| file.messages()).map(|message| message.full_name().to_owned());
            let known = messages.collect::<Vec<_>>().join(", ");
            Error::with_message(ErrorKind::Config, format!("there is no message {name} in the schema, but {known}"))
        })
    }

    fn find(&self, messages: &mut dyn Iterator<Item = MessageDescriptor>, name: &str) -> Option<Vec<usize>> {
        messages.enumerate().find_map(|(at, message)| {
            if message.full_name() == name {
                return Some(vec![at]);
            }
            Some([vec![at], self.find(&mut self.inner(&message), name)?].concat())
        })
    }

    /// The messages in a message, as message indexes count them.
    fn inner<'a>(&self, message: &'a MessageDescriptor) -> impl Iterator<Item = MessageDescriptor> + 'a {
        let all = self.entries_count;
        message.child_messages().filter(move |inner| all || !inner.is_map_entry())
    }

    /// The message of these bytes.
    ///
    /// # Errors
    /// `Malformed` if they are not of the schema.
    pub(super) fn decode(&self, data: &[u8], indexes: Option<&[usize]>) -> Result<DynamicMessage> {
        let (indexes, data) = split(data, indexes)?;
        DynamicMessage::decode(self.message(&indexes)?, data).map_err(|error| wrong(&error))
    }

    /// The same as JSON, as Protobuf has it, but with fields by their own names and those that have their default.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(super) fn decode_json(&self, data: &[u8], indexes: Option<&[usize]>) -> Result<String> {
        let options = prost_reflect::SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
        let message = self.decode(data, indexes)?;
        limits::check_depth(&message)?;
        let mut out = Vec::new();
        let shown = message.serialize_with_options(&mut serde_json::Serializer::new(&mut out), &options);
        let why = |error: &dyn std::fmt::Display| {
            Error::with_message(ErrorKind::Malformed, format!("no JSON can be made of it: {error}"))
        };
        shown.map_err(|error| why(&error))?;
        String::from_utf8(out).map_err(|error| why(&error))
    }
}

/// The message indexes, here or in a header, and the message.
fn split<'a>(data: &'a [u8], indexes: Option<&[usize]>) -> Result<(Vec<usize>, &'a [u8])> {
    match indexes {
        Some(indexes) => Ok((indexes.to_vec(), data)),
        None => wire::message_indexes(data),
    }
}

/// A message of a type that prost has generated.
///
/// # Errors
/// `Malformed` if the bytes are none.
pub(super) fn decode_typed<T: Message + Default>(data: &[u8], indexes: Option<&[usize]>) -> Result<T> {
    let (_, data) = split(data, indexes)?;
    T::decode(data).map_err(|error| wrong(&error))
}

fn wrong(error: &prost::DecodeError) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("not of its schema: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/timestamp.proto";
        import "confluent/meta.proto";
        import "user.proto";
        message Other { int32 a = 1; }
        message Order {
            option (confluent.message_meta).doc = "an order";
            message Line { string item = 1; map<string, int64> counts = 2; }
            repeated Line lines = 1;
            google.protobuf.Timestamp at = 2;
            shop.users.User by = 3;
        }"#;
    const USER: &str = r#"syntax = "proto3"; package shop.users; message User { string user_name = 1; }"#;

    fn protobuf() -> Protobuf {
        Protobuf::new(TEXT, &[("user.proto".to_owned(), USER.into())]).unwrap()
    }

    #[test]
    fn a_message_is_found_by_its_indexes_and_by_its_name() {
        let protobuf = protobuf();
        for (name, indexes) in [("shop.Other", &[0][..]), ("shop.Order", &[1]), ("shop.Order.Line", &[1, 0])] {
            assert_eq!(protobuf.indexes(name).unwrap(), indexes);
            assert_eq!(protobuf.message(indexes).unwrap().full_name(), name);
        }
        let error = protobuf.indexes("shop.users.User").unwrap_err().to_string();
        assert_eq!(error, "there is no message shop.users.User in the schema, but shop.Other, shop.Order");
        assert!(
            protobuf.message(&[1, 7]).is_err() && protobuf.message(&[]).is_err() && protobuf.message(&[9]).is_err()
        );
    }

    #[test]
    fn entries_of_maps_are_counted_as_the_writer_does() {
        let text = "syntax = \"proto3\"; message A { map<string, int32> m = 1; message B { int32 b = 1; } }";
        let javas = Protobuf::new(text, &[]).unwrap();
        assert_eq!(javas.indexes("A.B").unwrap(), [0, 0]);
        assert_eq!(javas.message(&[0, 0]).unwrap().full_name(), "A.B");
        let pythons = Protobuf::new(&javas.serialized(), &[]).unwrap();
        assert_eq!(pythons.indexes("A.B").unwrap(), [0, 1]);
        assert_eq!(pythons.message(&[0, 1]).unwrap().full_name(), "A.B");
    }

    #[test]
    fn data_is_shown_with_what_is_imported() {
        let mut data = vec![2, 2]; // message 1
        data.extend([0x0a, 3, 0x0a, 1, b'x', 0x12, 2, 0x08, 1, 0x1a, 3, 0x0a, 1, b'u']);
        let expected = r#"{"lines":[{"item":"x","counts":{}}],"at":"1970-01-01T00:00:01Z","by":{"user_name":"u"}}"#;
        let json = protobuf().decode_json(&data, None).unwrap();
        assert_eq!(json, expected);
        assert_eq!(protobuf().decode_json(&data[2..], Some(&[1])).unwrap(), json);
        let error = protobuf().decode_json(&[2, 2, 0x0a, 9], None).unwrap_err().to_string();
        assert!(error.starts_with("not of its schema: "), "{error}");
    }

    #[test]
    fn a_descriptor_in_base64_is_the_same_file() {
        let protobuf = protobuf();
        let again = Protobuf::new(&protobuf.serialized(), &[("user.proto".to_owned(), USER.into())]).unwrap();
        assert_eq!(again.indexes("shop.Order.Line").unwrap(), [1, 0]);
    }

    #[test]
    fn what_is_no_proto_file_says_so() {
        for text in ["message {", "", "syntax = \"proto3\"; import \"no/such.proto\";"] {
            let built = Protobuf::new(text, &[]);
            if let Err(error) = built {
                assert!(error.to_string().starts_with("no .proto file: "), "{error}");
            } else {
                assert!(text.is_empty() && built.unwrap().message(&[0]).is_err());
            }
        }
    }
}
