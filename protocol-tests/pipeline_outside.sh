#!/usr/bin/env bash
# pipeline_outside.sh [poison] [late] [edges]: the pipeline against other people's programs: librdkafka writes and reads the
# topics, Python says what must be on them (pipeline_poison.py, pipeline_late.py, pipeline_edges.py). All three by default.
# Runs against the broker at KAFKA_BOOTSTRAP, or else against `milena broker`. MILENA_BIN: a binary that is built already.
# POSTGRES_URL (of a user who may create databases): poison for a real table besides.
set -euo pipefail
cd "$(dirname "$0")/.."
. protocol-tests/embedded_broker
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}
[ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
python=$(protocol-tests/venv)
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  trap stop_embedded_broker EXIT
  embedded_broker "$binary"
fi
[ $# -gt 0 ] || set -- poison late edges
for part in "$@"; do
  arguments=()
  [ "$part" != poison ] || arguments=(${POSTGRES_URL:+"$POSTGRES_URL"})
  timeout 900 "$python" "protocol-tests/pipeline_$part.py" "$binary" "$KAFKA_BOOTSTRAP" "${arguments[@]}"
done
