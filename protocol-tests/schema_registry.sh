#!/usr/bin/env bash
# Avro, JSON and Protobuf by a Schema Registry: confluent-kafka's Python serializers (PyPI, protocol-tests/requirements.txt) write and we
# read, and the reverse, with references and a nested Protobuf message, over the test broker and the registry of this crate.
# The registry's answers are held against what Apicurio Registry answered (schema_registry/exchange.jsonl).
#
# `schema_registry.sh apicurio` brings that one (Maven, 110 MB; Java) and runs the same against it; SCHEMA_REGISTRY_URL names another, empty.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(protocol-tests/venv)
cargo build --locked --quiet -p protocol-tests --bin schema_records
ours=${CARGO_TARGET_DIR:-target}/debug/schema_records

apicurio() { # sets SCHEMA_REGISTRY_URL when it is ready
  local version=3.0.9 home=${CARGO_TARGET_DIR:-target}/apicurio port=${REGISTRY_PORT:-31493}
  local file=apicurio-registry-app-$version
  if [ ! -e "$home/$file-runner.jar" ]; then
    mkdir -p "$home"
    mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory="$home" \
      -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all"
    tar -xzf "$home/$file-all.tar.gz" -C "$home" && rm "$home/$file-all.tar.gz"
  fi
  java -Xmx400m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" -Dquarkus.management.host=127.0.0.1 \
    -Dquarkus.management.port=$((port + 1)) -jar "$home/$file-runner.jar" >"$home/log" 2>&1 &
  apicurio=$!
  SCHEMA_REGISTRY_URL=http://127.0.0.1:$port/apis/ccompat/v7
  for _ in $(seq 120); do
    curl -sf "$SCHEMA_REGISTRY_URL/subjects" >/dev/null && return
    kill -0 "$apicurio" || break
    sleep 1
  done
  echo "Apicurio Registry did not start: $home/log" >&2
  return 1
}

coproc SERVER { exec "$ours" serve; }
server=$SERVER_PID
trap 'kill "$server" ${apicurio:-} 2>/dev/null || true' EXIT
read -r bootstrap registry <&"${SERVER[0]}"
kinds=""
if [ "${1:-}" = apicurio ]; then
  apicurio
  kinds="avro json" # it has no descriptors (format=serialized) for what confluent-kafka reads Protobuf by
fi
registry=${SCHEMA_REGISTRY_URL:-$registry}
echo "broker $bootstrap, registry $registry"

"$python" protocol-tests/schema_registry/exchange.py check "$registry" # before anything is in it
timeout 120 "$ours" write "$bootstrap" "$registry"
timeout 120 "$python" protocol-tests/schema_registry/peer.py read "$bootstrap" "$registry" $kinds
timeout 120 "$python" protocol-tests/schema_registry/peer.py write "$bootstrap" "$registry"
timeout 120 "$ours" read "$bootstrap" "$registry"
