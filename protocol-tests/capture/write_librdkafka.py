"""Usage: write_librdkafka.py BOOTSTRAP: topics record-librdkafka-{odd,many}-CODEC."""
import sys
import confluent_kafka as ck
import samples

for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    for name, records in [("odd", samples.odd()), ("many", samples.many())]:
        if (name, codec) == ("many", "none"):
            continue
        producer = ck.Producer({"bootstrap.servers": sys.argv[1], "compression.codec": codec, "linger.ms": 1000,
                                "batch.size": 1_000_000, "batch.num.messages": 100_000, "enable.idempotence": False})
        failed = []
        for i, (key, value, headers) in enumerate(records):
            producer.produce(f"record-librdkafka-{name}-{codec}", value, key, 0, timestamp=samples.T + 10 * i,
                             headers=headers or None, on_delivery=lambda e, m: e and failed.append(e))
        assert producer.flush(20) == 0 and not failed, failed
print(f"librdkafka {ck.libversion()[0]} (confluent-kafka {ck.version()[0] if isinstance(ck.version(), tuple) else ck.version()})")
