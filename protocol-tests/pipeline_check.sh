#!/usr/bin/env bash
# The pipeline against DuckDB (PyPI, in a venv under ${MILENA_VENV:-target/venv}); see pipeline_check.py.
# Runs against the broker at KAFKA_BOOTSTRAP, or else against `milena broker`. POSTGRES_URL fills a real table besides.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import duckdb, pytz' 2>/dev/null || "$venv/bin/pip" install --quiet duckdb pytz

[ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  out=$(mktemp)
  "$binary" broker --listen 127.0.0.1:0 >"$out" &
  broker=$!
  trap 'kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; rm -f "$out"' EXIT
  for _ in $(seq 100); do
    grep -q '^BOOTSTRAP=' "$out" && break
    kill -0 "$broker" || { echo "the broker did not start" >&2; exit 1; }
    sleep 0.1
  done
  KAFKA_BOOTSTRAP=$(sed -n 's/^BOOTSTRAP=//p' "$out")
fi
timeout 600 "$venv/bin/python" protocol-tests/pipeline_check.py "$binary" "$KAFKA_BOOTSTRAP" ${POSTGRES_URL:+"$POSTGRES_URL"}
