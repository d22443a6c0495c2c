#!/usr/bin/env bash
# Other people's clients against the test broker over TCP, and a black-box suite of what Apache Kafka promises: kcat (Debian),
# confluent-kafka, kafka-python and aiokafka (PyPI, in a venv under ${MILENA_VENV:-target/venv}), kafkajs (npm), franz-go (a Go
# module), Apache's Java client and command-line tools 4.3.1 (Maven); what is built of them lies in target/foreign.
# With KAFKA_BOOTSTRAP set, the same checks run against that cluster instead: a real Kafka has to pass them too. Those of TLS and SASL
# want it to be of protocol-tests/kafka, with its KFM_DIR.
#
#   foreign_clients.sh [--jobs N] [--list] [NAME-OR-PART-OF-ONE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
. protocol-tests/embedded_broker

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}
export FOREIGN_BUILD=$PWD/target/foreign
sources=protocol-tests/foreign/peers

command -v kcat >/dev/null || apt-get install -y -qq kcat >/dev/null 2>&1 || { echo "kcat is missing: apt-get install kcat" >&2; exit 1; }
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
"$venv/bin/python" -c 'import confluent_kafka, kafka, aiokafka, cramjam, lz4, snappy, zstandard' 2>/dev/null ||
  "$venv/bin/pip" install --quiet confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0 cramjam==2.14.0 lz4==4.4.5 python-snappy==0.7.3 zstandard==0.25.0

mkdir -p "$FOREIGN_BUILD/kafkajs" "$FOREIGN_BUILD/classes"
cp "$sources"/kafkajs/* "$FOREIGN_BUILD/kafkajs/"
[ -e "$FOREIGN_BUILD/kafkajs/node_modules/lz4-napi" ] || (cd "$FOREIGN_BUILD/kafkajs" && npm install --silent --no-audit --no-fund --no-package-lock)
(cd "$sources/franz" && go build -o "$FOREIGN_BUILD/franz" .)
FOREIGN_JARS=$(KFM_DIR=${KFM_DIR:-$PWD/.kafka} protocol-tests/kafka resolve 4.3.1)
export FOREIGN_JARS=${FOREIGN_JARS%/\*}
javac -d "$FOREIGN_BUILD/classes" -cp "$FOREIGN_JARS/*" protocol-tests/java/Peer.java "$sources/java/Work.java"
printf 'rootLogger.level=off\n' >"$FOREIGN_BUILD/log4j2.properties"

if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  [ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
  trap stop_embedded_broker EXIT
  embedded_broker "$binary" --brokers 3
  export FOREIGN_BROKER=$binary # for more of them, with TLS and SASL
fi

PYTHONPATH=protocol-tests PYTHONDONTWRITEBYTECODE=1 timeout 600 "$venv/bin/python" -m foreign "$KAFKA_BOOTSTRAP" "$@"
