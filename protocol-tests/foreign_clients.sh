#!/usr/bin/env bash
# Other people's clients against the test broker over TCP: kcat (Debian), confluent-kafka, kafka-python and aiokafka
# (PyPI, in a venv under ${MILENA_VENV:-target/venv}). Fails on the first thing that is not as it should be.
# With KAFKA_BOOTSTRAP set, the same checks run against that cluster instead: a real Kafka has to pass them too.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}

command -v kcat >/dev/null || apt-get install -y -qq kcat >/dev/null 2>&1 || { echo "kcat is missing: apt-get install kcat" >&2; exit 1; }
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
"$venv/bin/python" -c 'import confluent_kafka, kafka, aiokafka, cramjam, lz4, snappy, zstandard' 2>/dev/null ||
  "$venv/bin/pip" install --quiet confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0 cramjam==2.14.0 lz4==4.4.5 python-snappy==0.7.3 zstandard==0.25.0

if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  [ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
  out=$(mktemp)
  "$binary" broker --listen 127.0.0.1:0 --brokers 3 >"$out" &
  broker=$!
  trap 'kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; rm -f "$out"' EXIT
  for _ in $(seq 100); do
    grep -q '^BOOTSTRAP=' "$out" && break
    kill -0 "$broker" || { echo "the broker did not start" >&2; exit 1; }
    sleep 0.1
  done
  KAFKA_BOOTSTRAP=$(sed -n 's/^BOOTSTRAP=//p' "$out")
  [ -n "$KAFKA_BOOTSTRAP" ] || { echo "the broker did not say where it listens" >&2; exit 1; }
fi

exec_checks() { timeout 240 "$venv/bin/python" protocol-tests/foreign_clients.py "$KAFKA_BOOTSTRAP" "$@"; }
exec_checks "$@"
