#!/usr/bin/env bash
# Usage: capture.sh BOOTSTRAP JARS: writes ../vectors/record-*.hex anew. Deletes the topics record-… first and last.
set -euo pipefail
cd "$(dirname "$0")"
bootstrap=$1 jars=$2 venv=${VENV:-/tmp/record-venv}
[ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" -q install confluent-kafka kafka-python cramjam python-snappy lz4 zstandard; }
python=$venv/bin/python
version=$(basename "$(ls "$jars"/kafka-clients-*.jar | head -1)" .jar); version=${version#kafka-clients-}

delete() { "$python" delete.py "$bootstrap" record-; }
# Kept for ever: the samples are years old, and the log cleaner takes a minute.
create() { "$python" - "$bootstrap" <<'PY'
import sys
from confluent_kafka.admin import AdminClient, NewTopic
names = [f"record-{client}-{sample}-{codec}" for client in ["java", "librdkafka", "kafka-python"]
         for sample in ["odd", "many"] for codec in ["none", "gzip", "snappy", "lz4", "zstd"]] + ["record-java-transactions"]
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
[f.result(20) for f in admin.create_topics([NewTopic(n, 1, 1, config={"retention.ms": "-1"}) for n in names]).values()]
PY
}
delete; create
writer=$(java -cp "$jars/*" Samples.java "$bootstrap" 2>/tmp/record-samples.log | tail -1)
"$python" dump.py "$bootstrap" "$version" "$writer" record-java
writer=$("$python" write_librdkafka.py "$bootstrap")
"$python" dump.py "$bootstrap" "$version" "$writer" record-librdkafka
writer=$("$python" write_kafka_python.py "$bootstrap")
"$python" dump.py "$bootstrap" "$version" "$writer" record-kafka-python
delete
