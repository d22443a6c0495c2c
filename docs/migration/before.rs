//! Before: rdkafka, which is librdkafka, which is C.

use futures::future::try_join_all;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), KafkaError> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let config = ClientConfig::new().set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").clone();

    // Orders with a key and headers, all under way at once.
    let producer: FutureProducer = config.create()?;
    let orders: Vec<_> = (0..20).map(|i| (format!("customer-{}", i % 7), format!("order {i}"))).collect();
    let sends = orders.iter().map(|(key, order)| async {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "source", value: Some("shop") })
            .insert(Header { key: "note", value: None::<&str> });
        let record = FutureRecord::to("orders").key(key).payload(order).headers(headers);
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error)
    });
    let written = try_join_all(sends).await?;
    println!("{} orders are written", written.len());

    // A member of a group that commits what it has processed.
    let consumer: StreamConsumer = config
        .clone()
        .set("group.id", "billing")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&["orders"])?;
    let mut bills = Vec::new();
    while bills.len() < orders.len() {
        let order = consumer.recv().await?;
        let source = order.headers().and_then(|headers| headers.iter().find(|header| header.key == "source"));
        let source = source.and_then(|header| header.value).unwrap_or_default();
        let order_text = String::from_utf8_lossy(order.payload().unwrap_or_default());
        bills.push(format!("bill for {order_text} of {}", String::from_utf8_lossy(source)));
        consumer.commit_message(&order, CommitMode::Sync)?;
    }
    bills.sort();
    println!("{}", bills.join("\n"));
    drop(consumer);

    // Two transactions, the second of which is given up.
    let producer: FutureProducer = config.clone().set("transactional.id", "billing-1").create()?;
    producer.init_transactions(PATIENCE)?;
    for (bill, keep) in [("the first bill", true), ("a mistake", false)] {
        producer.begin_transaction()?;
        let record = FutureRecord::to("bills").key("customer-1").payload(bill);
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
        match keep {
            true => producer.commit_transaction(PATIENCE)?,
            false => producer.abort_transaction(PATIENCE)?,
        }
        println!("{bill}: {}", if keep { "committed" } else { "aborted" });
    }
    Ok(())
}
