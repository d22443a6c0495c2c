"""Usage: write_kafka_python.py BOOTSTRAP: topics record-kafka-python-{odd,many}-CODEC. It takes no null header: left out."""
import sys
import kafka
import samples

for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    for name, records in [("odd", samples.odd()), ("many", samples.many())]:
        if name == "many" and codec is None:
            continue
        producer = kafka.KafkaProducer(bootstrap_servers=sys.argv[1], compression_type=codec, linger_ms=1000,
                                       batch_size=1_000_000, enable_idempotence=False)
        sent = [producer.send(f"record-kafka-python-{name}-{codec or 'none'}", value, key, partition=0,
                              headers=[h for h in headers if h[1] is not None],
                              timestamp_ms=samples.T + 10 * i) for i, (key, value, headers) in enumerate(records)]
        producer.flush(20)
        [f.get(1) for f in sent]
        producer.close()
print(f"kafka-python {kafka.__version__}")
