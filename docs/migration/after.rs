//! After: milena, and no C.

use milena::client::Client;
use milena::error::Error;
use milena::producer::ProducerRecord;
use milena::properties::Properties;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    // The names are the same. `partitioner`: librdkafka's default, which is not Kafka's, or keys would move.
    let text = "partitioner=consistent_random\ngroup.id=billing\nauto.offset.reset=earliest\nenable.auto.commit=false";
    let mut properties = Properties::parse(text)?;
    properties.insert("bootstrap.servers", &bootstrap)?;
    let client = Client::connect(properties.client()?).await?;

    // Orders with a key and headers, all under way at once. Idempotence is the default.
    let producer = client.producer(properties.producer()?)?;
    let orders: Vec<_> = (0..20).map(|i| (format!("customer-{}", i % 7), format!("order {i}"))).collect();
    let records = orders.iter().map(|(key, order)| {
        ProducerRecord::new("orders").key(key).value(order).header("source", "shop").null_header("note")
    });
    let written = producer.send_many("orders", records).await;
    written.all().await?;
    println!("{} orders are written", written.len());

    // A member of a group that commits what it has processed.
    let mut consumer = client.consumer(properties.consumer()?)?;
    consumer.subscribe(["orders"]).await?;
    let mut bills = Vec::new();
    while bills.len() < orders.len() {
        let records = consumer.poll(PATIENCE).await?;
        for order in &records {
            let source = order.headers().find(|header| header.name == b"source");
            let source = source.and_then(|header| header.value).unwrap_or_default();
            let order_text = String::from_utf8_lossy(order.value().unwrap_or_default());
            bills.push(format!("bill for {order_text} of {}", String::from_utf8_lossy(source)));
        }
        consumer.commit_offsets(records.next_offsets()).await?;
    }
    bills.sort();
    println!("{}", bills.join("\n"));
    consumer.close(PATIENCE).await?;

    // Two transactions, the second of which is given up.
    let mut producer = client.transactional_producer("billing-1", properties.producer()?).await?;
    for (bill, keep) in [("the first bill", true), ("a mistake", false)] {
        let transaction = producer.begin().await?;
        transaction.send(ProducerRecord::new("bills").key("customer-1").value(bill)).await?.await?;
        match keep {
            true => transaction.commit().await?,
            false => transaction.abort().await?,
        }
        println!("{bill}: {}", if keep { "committed" } else { "aborted" });
    }
    producer.close(PATIENCE).await?;
    client.close().await;
    Ok(())
}
