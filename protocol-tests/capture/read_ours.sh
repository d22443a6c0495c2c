#!/usr/bin/env bash
# Usage: read_ours.sh BOOTSTRAP JARS: what milena writes, in every codec, through Kafka as it is, read by three other clients.
set -euo pipefail
cd "$(dirname "$0")"
bootstrap=$1 jars=$2 venv=${VENV:-/tmp/record-venv}
[ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" -q install confluent-kafka kafka-python cramjam python-snappy lz4 zstandard; }
"$venv/bin/python" delete.py "$bootstrap" record-ours-
cargo run -q -p protocol-tests --bin record_samples 2>/dev/null | "$venv/bin/python" read_ours.py "$bootstrap"
java -cp "$jars/*" Samples.java "$bootstrap" read 2>/tmp/record-samples.log
"$venv/bin/python" delete.py "$bootstrap" record-ours-
