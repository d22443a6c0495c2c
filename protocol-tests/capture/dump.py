"""Usage: dump.py BOOTSTRAP BROKER-VERSION WRITER PREFIX...: each topic `record-…` that starts with PREFIX into ../vectors."""
import datetime, pathlib, sys, textwrap
import kafka
from fetch import Broker

bootstrap, version, writer, *prefixes = sys.argv[1:]
names = sorted(t for t in kafka.KafkaConsumer(bootstrap_servers=bootstrap).topics() if t.startswith(tuple(prefixes)))
assert names, prefixes
for name in names:
    records, high = Broker(bootstrap).fetch_all(name)
    if high == 0:
        continue  # "many" without compression is not written
    assert records, name
    head = [f"# topic {name}", f"# written by {writer}", f"# stored by Apache Kafka {version}, log end offset {high}",
            f"# captured {datetime.date.today()} by protocol-tests/capture: the records field of Fetch v11 answers", ""]
    path = pathlib.Path(__file__).parent.parent / "vectors" / f"{name}.hex"
    path.write_text("\n".join(head) + "\n".join(textwrap.wrap(records.hex(), 120)) + "\n")
    print(name, len(records), "bytes, log end offset", high)
