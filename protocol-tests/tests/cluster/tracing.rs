//! `milena::trace`: spans with what is known of a record, and a trace that goes along in its headers. And the log of an outage.

use crate::groups::{SECOND, TOPIC, client, cluster, config};
use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use milena::ids::NodeId;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::trace::{Propagator, TraceContext, TracedProducer, process_span};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

type Fields = BTreeMap<String, String>;

/// The spans that have ended: name and fields.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<(String, Fields)>>>);

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ended {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Collect(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if ["send", "process"].contains(&span.name()) {
            let fields = span.extensions_mut().remove::<Fields>().unwrap();
            self.0.lock().unwrap().push((span.name().to_owned(), fields));
        }
    }
}

/// Listens on this thread. As long as there is one dispatcher only, tracing asks that of the thread where a line is met first whether
/// anybody wants it, and keeps the answer for all threads: with another test's, which wants nothing, this one would hear nothing.
fn listen(layer: impl Layer<Registry> + Send + Sync) -> (DefaultGuard, Dispatch) {
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (guard, Dispatch::new(tracing_subscriber::registry()))
}

/// Events of warning and information: level and message.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level <= Level::INFO {
            let mut fields = Fields::new();
            event.record(&mut Collect(&mut fields));
            self.0.lock().unwrap().push(format!("{level} {}", fields.remove("message").unwrap_or_default()));
        }
    }
}

/// Makes a trace of every span, and remembers what it was given.
#[derive(Default)]
struct Numbered {
    made: Mutex<u64>,
    extracted: Mutex<Vec<TraceContext>>,
}

impl Propagator for Numbered {
    fn inject(&self, span: &Span) -> Option<TraceContext> {
        assert!(!span.is_disabled());
        let mut made = self.made.lock().unwrap();
        *made += 1;
        TraceContext::new(&format!("00-{:032x}-{:016x}-01", 0xabc, *made), Some("milena=1"))
    }

    fn extract(&self, _: &Span, context: &TraceContext) {
        self.extracted.lock().unwrap().push(context.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_with_the_record_and_the_spans_say_where_it_went() {
    let ended = Ended::default();
    let _guard = listen(ended.clone());
    let cluster = cluster(1).await;
    let client = client(&cluster);
    let propagator = Arc::new(Numbered::default());
    let plain = client.producer(ProducerConfig::default()).unwrap();
    let traced = TracedProducer::new(plain.clone(), propagator.clone());
    plain.send(ProducerRecord::new(TOPIC).value("untraced")).await.unwrap().await.unwrap();
    let record = ProducerRecord::new(TOPIC).key("k").value("12345").header("own", "1");
    let written = traced.send(record).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).once().error(ErrorCode::InvalidTopicException);
    traced.send(ProducerRecord::new(TOPIC)).await.unwrap().await.unwrap_err();
    traced.send(ProducerRecord::new(TOPIC).partition(9)).await.map(drop).unwrap_err();

    let sent = std::mem::take(&mut *ended.0.lock().unwrap());
    let field = |at: usize, name: &str| sent[at].1.get(name).map(String::as_str);
    assert_eq!(sent.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["send"; 3]);
    assert_eq!(field(0, "otel.name"), Some("send clicks"));
    assert_eq!((field(0, "otel.kind"), field(0, "messaging.system")), (Some("producer"), Some("kafka")));
    assert_eq!(
        (field(0, "messaging.kafka.message.key"), field(0, "messaging.message.body.size")),
        (Some("k"), Some("5"))
    );
    assert_eq!(
        (field(0, "messaging.kafka.offset"), field(0, "messaging.destination.partition.id")),
        (Some("1"), Some("0"))
    );
    assert_eq!((field(0, "messaging.kafka.message.tombstone"), field(0, "error.type")), (None, None));
    assert_eq!(written.offset(), Some(1));
    assert_eq!(
        (field(1, "messaging.kafka.message.tombstone"), field(1, "messaging.kafka.offset")),
        (Some("true"), None)
    );
    assert_eq!(field(1, "error.type"), Some("INVALID_TOPIC_EXCEPTION"));
    assert_eq!(field(2, "error.type"), Some("InvalidArgument"), "{:?}", sent[2]);

    let mut consumer = client.consumer(config()).unwrap();
    consumer.assign([(TOPIC, 0)]).await.unwrap();
    consumer.seek_to_beginning(&[(TOPIC, 0).into()]).unwrap();
    let records = consumer.poll(SECOND).await.unwrap();
    let spans: Vec<_> =
        (&records).into_iter().map(|record| process_span(&record, Some("readers"), &*propagator)).collect();
    assert_eq!(spans.len(), 2);
    let extracted = propagator.extracted.lock().unwrap().clone();
    assert_eq!(extracted.len(), 1, "one record carried a trace");
    assert_eq!((extracted[0].span_id(), extracted[0].headers().count()), ("0000000000000001", 2));
    drop(spans);
    let processed = ended.0.lock().unwrap();
    let second = &processed[1].1;
    assert_eq!((&*processed[1].0, &*second["messaging.consumer.group.name"]), ("process", "readers"));
    assert_eq!((&*second["messaging.kafka.offset"], &*second["otel.kind"]), ("1", "consumer"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_a_line_at_its_begin_one_each_half_minute_and_one_at_its_end() {
    let log = Log::default();
    let _guard = listen(log.clone());
    let cluster = TestCluster::builder().topic(TOPIC, 1).in_memory().start().await.unwrap();
    let client = client(&cluster);
    let producer = client.producer(ProducerConfig::default().linger(Duration::ZERO)).unwrap();
    let send = async || producer.send(ProducerRecord::new(TOPIC).value("1")).await.unwrap();
    send().await.await.unwrap();
    assert_eq!(*log.0.lock().unwrap(), [""; 0], "there is nothing to say while all is well");
    cluster.kill(NodeId(1));
    let waits = send().await;
    sleep(70 * SECOND).await;
    let told = std::mem::take(&mut *log.0.lock().unwrap());
    assert!(told.iter().all(|line| line.starts_with("WARN") && line.ends_with("it is tried again")), "{told:#?}");
    assert_eq!(
        told.len(),
        6,
        "at 0, 30 and 60 s, of the node and of the address that the client began with: {told:#?}"
    );
    cluster.restart(NodeId(1)).await.unwrap();
    waits.await.unwrap();
    let told = std::mem::take(&mut *log.0.lock().unwrap());
    assert!(told.iter().any(|line| line == "INFO connected") && told.len() <= 2, "{told:#?}");
}
