#!/usr/bin/env bash
# Avro, JSON and Protobuf by a Schema Registry: confluent-kafka's Python serializers (PyPI, protocol-tests/requirements.txt) write and we
# read, and the reverse, with references and a nested Protobuf message, over the test broker and the registry of this crate. Then the
# pipeline's events in Avro, the same way (schema_registry/clicks.py).
# The registry's answers are held against what Apicurio Registry answered (schema_registry/exchange.jsonl).
#
# `schema_registry.sh DIRECTORY` runs the same against that one, unpacked there (Java 17): the `all.tar.gz`, 110 MB, of
# io.apicurio:apicurio-registry-app:3.0.9 on Maven Central, by hand, for Maven misses its parent. SCHEMA_REGISTRY_URL names another, empty.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(protocol-tests/venv)
cargo build --locked --quiet -p protocol-tests --bin schema_records
ours=${CARGO_TARGET_DIR:-target}/debug/schema_records

apicurio() { # its directory: sets SCHEMA_REGISTRY_URL when it is ready
  local home=$1 port=${REGISTRY_PORT:-31493} log
  log=$(mktemp)
  java -Xmx400m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" -Dquarkus.management.host=127.0.0.1 \
    -Dquarkus.management.port=$((port + 1)) -jar "$home"/apicurio-registry-app-*-runner.jar >"$log" 2>&1 &
  apicurio=$!
  SCHEMA_REGISTRY_URL=http://127.0.0.1:$port/apis/ccompat/v7
  for _ in $(seq 120); do
    curl -sf "$SCHEMA_REGISTRY_URL/subjects" >/dev/null && return
    kill -0 "$apicurio" || break
    sleep 1
  done
  echo "Apicurio Registry did not start: $log" >&2
  return 1
}

coproc SERVER { exec "$ours" serve; }
server=$SERVER_PID
trap 'kill "$server" ${apicurio:-} 2>/dev/null || true' EXIT
read -r bootstrap registry <&"${SERVER[0]}"
kinds=""
if [ $# -gt 0 ]; then
  apicurio "$1"
  kinds="avro json" # it has no descriptors (format=serialized) for what confluent-kafka reads Protobuf by
fi
registry=${SCHEMA_REGISTRY_URL:-$registry}
echo "broker $bootstrap, registry $registry"

"$python" protocol-tests/schema_registry/exchange.py check "$registry" # before anything is in it
timeout 120 "$ours" write "$bootstrap" "$registry"
timeout 120 "$python" protocol-tests/schema_registry/peer.py read "$bootstrap" "$registry" $kinds
timeout 120 "$python" protocol-tests/schema_registry/peer.py write "$bootstrap" "$registry"
timeout 120 "$ours" read "$bootstrap" "$registry"

cargo build --locked --quiet --features cli --bin milena
timeout 300 "$python" protocol-tests/schema_registry/clicks.py "${CARGO_TARGET_DIR:-target}/debug/milena" "$bootstrap" "$registry"
