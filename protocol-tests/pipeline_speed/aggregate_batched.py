"""The same aggregator as one would tune it in Python: 5,000 records at a time, one commit a batch that nobody waits for.

aggregate_batched.py BOOTSTRAP TOPIC COUNT: ends after COUNT events and prints the sums of the minutes it saw as JSON.
"""

import sys

from confluent_kafka import Consumer, KafkaException

from counting import Minutes

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": f"{topic}.batched",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])
minutes = Minutes()
while minutes.seen < count:
    records = consumer.consume(5000, 1.0)
    for record in records:
        if record.error():
            raise KafkaException(record.error())
        minutes.add(record.value())
    if records:
        consumer.commit(asynchronous=True)
consumer.close()
minutes.report()
