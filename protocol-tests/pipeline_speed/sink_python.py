"""The sink of the mission's original design, in Python on confluent-kafka and psycopg2: what milena's is measured against.

  sink_python.py record|unwaited|batch BOOTSTRAP TOPIC URL ROWS [SECONDS]

`record` is the original: a poll, an INSERT, a commit of the database and one of Kafka's offset for every purchase, both waited
for, as the original aggregator's is. `unwaited` is the same with commits to Kafka that nobody waits for.
`batch` is what a careful author makes of it: 5,000 records at once, execute_values, one commit. Neither is exactly once:
rows and offsets are committed apart. Ends after so many rows, or so many seconds.
"""
import functools, json, sys, time
import confluent_kafka, psycopg2
from psycopg2.extras import execute_values

COLUMNS = "kafka_offset, event_id, user_id, product_id, price, purchase_time"
INSERT = f"INSERT INTO purchase_orders ({COLUMNS}) VALUES "
CONFLICT = " ON CONFLICT (event_id) DO NOTHING"


def row_of(message):
    """The row of a priced purchase, or nothing."""
    if message.error():
        raise confluent_kafka.KafkaException(message.error())
    event = json.loads(message.value(), parse_float=str)  # money is never a float
    if event["event_type"] != "purchase" or event["price"] is None:
        return None
    return (message.offset(), event["event_id"], event["user_id"], event["product_id"], event["price"], event["timestamp"])


def by_record(consumer, connection, cursor, is_over, asynchronous=False):
    rows = 0
    while not is_over(rows):
        message = consumer.poll(1.0)
        if message is None or (row := row_of(message)) is None:
            continue
        cursor.execute(INSERT + "(%s, %s, %s, %s, %s, %s)" + CONFLICT, row)
        connection.commit()
        consumer.commit(message=message, asynchronous=asynchronous)
        rows += 1


def by_batch(consumer, connection, cursor, is_over):
    rows = 0
    while not is_over(rows):
        messages = consumer.consume(5_000, timeout=0.5)
        batch = [row for row in map(row_of, messages) if row]
        if batch:
            execute_values(cursor, INSERT + "%s" + CONFLICT, batch, page_size=5_000)
            connection.commit()
            rows += len(batch)
        if messages:
            consumer.commit(asynchronous=False)


def main():
    mode, bootstrap, topic, url, wanted = sys.argv[1:6]
    until = time.monotonic() + float(sys.argv[6]) if len(sys.argv) > 6 else float("inf")
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": f"{topic}.python.{mode}.{time.time()}", "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe([topic])
    connection = psycopg2.connect(url)
    unwaited = functools.partial(by_record, asynchronous=True)
    work = {"record": by_record, "unwaited": unwaited, "batch": by_batch}[mode]
    work(consumer, connection, connection.cursor(), lambda rows: rows >= int(wanted) or time.monotonic() > until)
    consumer.close()


main()
