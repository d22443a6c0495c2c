"""The mission's original aggregator: poll one record, json.loads, a dict per window, commit it synchronously, next.

aggregate_original.py BOOTSTRAP TOPIC COUNT: ends after COUNT events and prints the sums of the minutes it saw as JSON.
"""

import sys

from confluent_kafka import Consumer, KafkaException

from counting import Minutes

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": f"{topic}.original",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])
minutes = Minutes()
while minutes.seen < count:
    record = consumer.poll(1.0)
    if record is None:
        continue
    if record.error():
        raise KafkaException(record.error())
    minutes.add(record.value())
    consumer.commit(message=record, asynchronous=False)
consumer.close()
minutes.report()
