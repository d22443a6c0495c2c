#!/usr/bin/env bash
# The pipeline under kill -9, SIGSTOP and scaling, judged from outside; see pipeline_crashes.py, which takes the arguments.
# Against KAFKA_BOOTSTRAP and POSTGRES_URL if they are set (the trial `outage` needs --broker PID then). With --short and no KAFKA_BOOTSTRAP: `milena broker` and the
# embedded sink, for a minute and a half. Else Apache Kafka 4.3.1 and PostgreSQL are started, and wiped afterwards.
# MILENA_BIN: another binary than the debug one. Needs Python 3; its packages go to a venv under ${MILENA_VENV:-target/venv}.
set -euo pipefail
cd "$(dirname "$0")/.."
. protocol-tests/embedded_broker

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}
short=
for argument in "$@"; do [ "$argument" != --short ] || short=1; done

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import confluent_kafka, kafka, psycopg' 2>/dev/null || "$venv/bin/pip" install --quiet confluent-kafka==2.16.1 kafka-python==3.0.12 'psycopg[binary]==3.3.9'
[ -n "${MILENA_BIN:-}" ] || cargo build --locked --quiet --features cli --bin milena

ends=()
cleanup() { local end; for end in "${ends[@]}"; do eval "$end" || true; done; }
trap cleanup EXIT
if [ -z "${KAFKA_BOOTSTRAP:-}" ] && [ -n "$short" ]; then
  ends+=(stop_embedded_broker)
  embedded_broker "$binary"
elif [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  export KFM_DIR=${KFM_DIR:-$PWD/.kafka} KFM_PORT=${KFM_PORT:-19092}
  ends+=("protocol-tests/kafka wipe")
  protocol-tests/kafka start 4.3.1
  KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT
  set -- --broker "$(cat "$KFM_DIR/node0.pid")" "$@"
fi
if [ -z "${POSTGRES_URL:-}" ] && [ -z "$short" ]; then
  PG_DIR=$(mktemp -d /tmp/milena-postgres.XXXXXX) && chmod 755 "$PG_DIR" && export PG_DIR
  ends+=("protocol-tests/postgres.sh wipe")
  POSTGRES_URL=$(protocol-tests/postgres.sh start)
fi
# No exec: the servers are to be stopped.
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" protocol-tests/pipeline_crashes.py "$binary" "$KAFKA_BOOTSTRAP" ${POSTGRES_URL:+--postgres "$POSTGRES_URL"} "$@"
