//! Spans of `tracing` around what is sent and processed, and the W3C trace context in record headers, for those who want them;
//! nothing here is on the way of those who don't.
//!
//! The fields are those of OpenTelemetry's semantic conventions for Kafka (`messaging.system`, `messaging.destination.name`,
//! `messaging.kafka.offset`, …). What joins spans to a trace is a [`Propagator`]: this crate doesn't know the tracing system. A
//! record's key is among the fields, its value and headers are not.
//! With `tracing-opentelemetry` it is a few lines:
//!
//! ```ignore
//! impl Propagator for OpenTelemetry {
//!     fn inject(&self, span: &tracing::Span) -> Option<TraceContext> {
//!         let mut carrier = HashMap::new();
//!         TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
//!         TraceContext::new(carrier.get("traceparent")?, carrier.get("tracestate").map(String::as_str))
//!     }
//!
//!     fn extract(&self, span: &tracing::Span, context: &TraceContext) {
//!         let carrier = context.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<HashMap<_, _>>();
//!         let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
//!     }
//! }
//! ```

mod context;

pub use context::TraceContext;

use crate::consumer::ConsumerRecord;
use crate::error::Result;
use crate::producer::{Producer, ProducerRecord, RecordMetadata};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

/// What carries a trace from a span into headers, and from headers into a span.
pub trait Propagator: Send + Sync {
    /// The context that a record sent within `span` is to carry; `None`: none, as of a span that isn't recorded.
    fn inject(&self, span: &Span) -> Option<TraceContext>;

    /// A record came with `context`: makes it the parent of `span`, or links it.
    fn extract(&self, span: &Span, context: &TraceContext);
}

/// A [`Producer`] whose records carry the trace that they are sent in, each with a span `send` from its `send` to its
/// acknowledgement. Cheap to clone. It costs an allocation or two per record, which the plain producer doesn't.
#[derive(Clone)]
pub struct TracedProducer {
    producer: Producer,
    propagator: Arc<dyn Propagator>,
}

impl TracedProducer {
    /// `producer` stays what it is, and may be used beside this.
    pub fn new(producer: Producer, propagator: Arc<dyn Propagator>) -> Self {
        Self { producer, propagator }
    }

    /// The producer without spans.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// As [`Producer::send`]; what it gives waits for the acknowledgement as a [`Delivery`](crate::producer::Delivery) does, and
    /// ends the span. The headers `traceparent` and `tracestate` are added to the record's own, if the propagator has a context.
    ///
    /// Dropping either future ends the span without an offset; the record is sent or not as with the plain producer.
    ///
    /// # Errors
    /// Those of [`Producer::send`].
    pub async fn send(
        &self,
        record: ProducerRecord<'_>,
    ) -> Result<impl Future<Output = Result<RecordMetadata>> + Send + 'static> {
        let span = info_span!(
            "send",
            otel.name = format!("send {}", record.topic),
            otel.kind = "producer",
            messaging.system = "kafka",
            messaging.operation.name = "send",
            messaging.operation.type = "send",
            messaging.destination.name = record.topic,
            messaging.destination.partition.id = Empty,
            messaging.kafka.message.key = record.key.and_then(|key| std::str::from_utf8(key).ok()),
            messaging.kafka.message.tombstone = record.value.is_none().then_some(true),
            messaging.message.body.size = record.value.map_or(0, <[u8]>::len),
            messaging.kafka.offset = Empty,
            error.type = Empty,
        );
        let context = self.propagator.inject(&span);
        let headers = context.iter().flat_map(TraceContext::headers);
        let record = headers.fold(record, |record, (name, value)| record.header(name, value));
        let sent = self.producer.send(record).instrument(span.clone()).await;
        let delivery = sent.inspect_err(|error| failed(&span, error))?;
        Ok(async move {
            let delivered = delivery.instrument(span.clone()).await;
            match &delivered {
                Ok(written) => {
                    span.record("messaging.destination.partition.id", written.partition());
                    span.record("messaging.kafka.offset", written.offset());
                }
                Err(error) => failed(&span, error),
            }
            delivered
        })
    }
}

impl fmt::Debug for TracedProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedProducer").field("producer", &self.producer).finish_non_exhaustive()
    }
}

/// A span `process` for the work on one record, joined to the trace that the record carries, if it carries any.
/// `group` is the consumer's, if it is in one.
///
/// ```no_run
/// # use milena::{consumer::Consumer, trace::{self, Propagator}};
/// # async fn example(consumer: &mut Consumer, propagator: &dyn Propagator) -> Result<(), milena::error::Error> {
/// for record in &consumer.poll(std::time::Duration::from_secs(1)).await? {
///     let span = trace::process_span(&record, Some("orders"), propagator);
///     span.in_scope(|| println!("{:?}", record.value()));
/// }
/// # Ok(())
/// # }
/// ```
pub fn process_span(record: &ConsumerRecord<'_>, group: Option<&str>, propagator: &dyn Propagator) -> Span {
    let span = info_span!(
        "process",
        otel.name = format!("process {}", record.topic()),
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = record.topic(),
        messaging.destination.partition.id = record.partition(),
        messaging.consumer.group.name = group,
        messaging.kafka.message.key = record.key().and_then(|key| std::str::from_utf8(key).ok()),
        messaging.kafka.message.tombstone = record.value().is_none().then_some(true),
        messaging.message.body.size = record.value().map_or(0, <[u8]>::len),
        messaging.kafka.offset = record.offset(),
    );
    if let Some(context) = TraceContext::of(record) {
        propagator.extract(&span, &context);
    }
    span
}

fn failed(span: &Span, error: &crate::error::Error) {
    match error.code() {
        Some(code) => span.record("error.type", tracing::field::display(code)),
        None => span.record("error.type", tracing::field::debug(error.kind())),
    };
}
