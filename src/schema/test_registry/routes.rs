//! Confluent's API over HTTP, as far as it goes here.

use super::Shared;
use super::content::{Found, No, guid_of};
use crate::schema::config::decoded;
use crate::schema::formats::Compiled;
use crate::schema::types::{Reference, Schema, SchemaType};
use crate::secret::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

/// No question is longer.
const MAX_BODY: usize = 16 << 20;

#[derive(Deserialize)]
struct Posted {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Clone)]
pub(super) struct Routes(pub Arc<Shared>);

impl Routes {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let outcome = self.outcome(request).await;
        let (status, body) = match outcome {
            Ok(body) => (200, body),
            Err(No(status, code, message)) => (status, json!({"error_code": code, "message": message})),
        };
        let mut response = Response::new(Full::new(body.to_string().into()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = hyper::header::HeaderValue::from_static("application/vnd.schemaregistry.v1+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }

    async fn outcome(&self, request: Request<Incoming>) -> Result<Value, No> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| No(400, 400, format!("the body: {error}")))?.to_bytes();
        {
            let mut state = self.0.state();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            state.requests.push(format!("{} {path}", head.method));
            if !state.failures.is_empty() {
                let status = state.failures.remove(0);
                return Err(No(status, i64::from(status) * 100 + 1, "as the test wants it".to_owned()));
            }
            let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            if state.authorization.is_some() && given != state.authorization.as_ref().map(Secret::expose) {
                return Err(No(401, 401, "Unauthorized".to_owned()));
            }
        }
        let path: Vec<String> = head.uri.path().trim_matches('/').split('/').map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let query: HashMap<String, String> = head.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
        self.route(&head.method, &path, &query, &body)
    }

    fn route(&self, method: &Method, path: &[&str], query: &HashMap<String, String>, body: &[u8]) -> Result<Value, No> {
        let is = |key: &str| query.get(key).is_some_and(|value| value == "true");
        let mut state = self.0.state();
        let content = &mut state.content;
        match (method.as_str(), path) {
            ("GET", [""]) => Ok(json!({})),
            ("GET", ["schemas", "types"]) => Ok(json!(["AVRO", "JSON", "PROTOBUF"])),
            ("GET", ["subjects"]) => Ok(json!(content.subjects(is("deleted")))),
            ("GET", ["schemas", "ids", id]) => {
                let schema = content.schema(number(id)?)?;
                let text = shown(content, &schema, query)?;
                Ok(body_of(&schema, json!({ "schema": text })))
            }
            ("GET", ["schemas", "guids", guid]) => {
                let schema = content.schema_by_guid(guid)?;
                let text = shown(content, &schema, query)?;
                Ok(body_of(&schema, json!({ "schema": text })))
            }
            ("GET", ["schemas", "ids", id, "versions"]) => {
                content.schema(number(id)?)?;
                let places = content.places(number(id)?);
                Ok(places
                    .into_iter()
                    .map(|(subject, version)| json!({"subject": subject, "version": version}))
                    .collect())
            }
            ("GET", ["subjects", subject, "versions"]) => Ok(json!(content.versions(subject, is("deleted"))?)),
            ("GET", ["subjects", subject, "versions", version]) => {
                let found = content.version(subject, version, is("deleted"))?;
                let text = shown(content, &found.schema, query)?;
                Ok(whole(&found, &text))
            }
            ("GET", ["subjects", subject, "versions", version, "schema"]) => {
                let found = content.version(subject, version, is("deleted"))?;
                serde_json::from_str(&found.schema.text).map_err(|error| No(500, 50001, error.to_string()))
            }
            ("POST", ["subjects", subject, "versions"]) => {
                let schema = posted(body)?;
                let id = content.register(subject, schema.clone(), is("normalize"))?;
                let found = content.lookup(subject, &schema, is("normalize"), false)?;
                let text = shown(content, &found.schema, query)?;
                Ok(whole(&Found { id, ..found }, &text))
            }
            ("POST", ["subjects", subject]) => {
                let found = content.lookup(subject, &posted(body)?, is("normalize"), is("deleted"))?;
                let text = shown(content, &found.schema, query)?;
                Ok(whole(&found, &text))
            }
            ("POST", ["compatibility", "subjects", subject, "versions", version]) => {
                let why = content.incompatible(subject, Some(version), &posted(body)?)?;
                let mut answer = json!({ "is_compatible": why.is_empty() });
                if is("verbose") {
                    answer["messages"] = why.into();
                }
                Ok(answer)
            }
            ("DELETE", ["subjects", subject]) => Ok(json!(content.delete(subject, None, is("permanent"))?)),
            ("DELETE", ["subjects", subject, "versions", version]) => {
                Ok(json!(content.delete(subject, Some(version), is("permanent"))?.first()))
            }
            ("GET", ["config"]) => Ok(json!({ "compatibilityLevel": content.level(None) })),
            ("GET", ["config", subject]) => Ok(json!({ "compatibilityLevel": content.level(Some(subject)) })),
            ("PUT", ["config"]) => set_level(content, None, body),
            ("PUT", ["config", subject]) => set_level(content, Some(subject), body),
            _ => Err(No(404, 404, "HTTP 404 Not Found".to_owned())),
        }
    }
}

fn set_level(content: &mut super::Content, subject: Option<&str>, body: &[u8]) -> Result<Value, No> {
    const LEVELS: [&str; 7] =
        ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"];
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let level = body.get("compatibility").and_then(Value::as_str).filter(|level| LEVELS.contains(level));
    let level = level.ok_or_else(|| {
        No(422, 42203, format!("Invalid compatibility level. Valid values are {}", LEVELS.join(", ")))
    })?;
    content.set_level(subject, level.to_owned());
    Ok(json!({ "compatibility": level }))
}

fn posted(body: &[u8]) -> Result<Schema, No> {
    let unreadable = |why: String| No(422, 42201, format!("Invalid schema: {why}"));
    let Posted { schema, kind, references } =
        serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
    let kind = kind
        .as_deref()
        .map_or(Ok(SchemaType::Avro), SchemaType::named)
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(Schema { kind, text: schema.into(), references: references.unwrap_or_default().into() })
}

/// The text, or with `format=serialized` the descriptor that confluent-kafka's Python deserializer asks for.
fn shown(content: &super::Content, schema: &Schema, query: &HashMap<String, String>) -> Result<String, No> {
    match (query.get("format").map(String::as_str), schema.kind) {
        (Some("serialized"), SchemaType::Protobuf) => match content.compiled(schema)? {
            Compiled::Protobuf(protobuf) => Ok(protobuf.serialized()),
            _ => Ok(schema.text.to_string()),
        },
        _ => Ok(schema.text.to_string()),
    }
}

fn whole(found: &Found, text: &str) -> Value {
    let body = json!({"subject": found.subject, "version": found.version, "id": found.id, "schema": text});
    body_of(&found.schema, body)
}

/// Avro goes without its type, and who uses nothing without references.
fn body_of(schema: &Schema, mut body: Value) -> Value {
    let sent = schema.to_json();
    body["guid"] = guid_of(schema).to_string().into();
    for key in ["schemaType", "references"] {
        if let Some(value) = sent.get(key) {
            body[key] = value.clone();
        }
    }
    body
}

fn number(id: &str) -> Result<u32, No> {
    let number = id.parse::<i32>().ok().and_then(|id| u32::try_from(id).ok()); // an int, as Java's
    number.ok_or_else(|| No(404, 404, "HTTP 404 Not Found".to_owned()))
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((decoded(key), decoded(value)))
}
