#!/usr/bin/env bash
# The pipeline against DuckDB (PyPI, in a venv under ${MILENA_VENV:-target/venv}); see pipeline_check.py.
# Runs against the broker at KAFKA_BOOTSTRAP, or else against `milena broker`. POSTGRES_URL fills a real table besides.
set -euo pipefail
cd "$(dirname "$0")/.."
. protocol-tests/embedded_broker

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import duckdb, pytz' 2>/dev/null || "$venv/bin/pip" install --quiet duckdb pytz

[ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  trap stop_embedded_broker EXIT
  embedded_broker "$binary"
fi
timeout 600 "$venv/bin/python" protocol-tests/pipeline_check.py "$binary" "$KAFKA_BOOTSTRAP" ${POSTGRES_URL:+"$POSTGRES_URL"}
