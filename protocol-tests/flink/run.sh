#!/usr/bin/env bash
# The pipeline and Apache Flink 2.3 over one Apache Kafka: judge.py (Flink's windows are the pipeline's) and cut_over.py (the
# aggregator up to an instant, the SQL of `milena aggregate --flink-sql` from there on). `run.sh [judge|cut_over]`.
#
# Needs a JDK 17, Maven and Python 3.9-3.12; PyFlink (PyPI, 1.2 GB in a venv of its own, ${FLINK_VENV:-target/venv-flink}) and the
# Kafka connector (Maven) it installs itself. Runs against the broker at KAFKA_BOOTSTRAP, or else against an Apache Kafka 4.3.1
# started for it: KFM_DIR (default .kafka) is where the jars and its data go, KFM_PORT (default 29092) its port.
set -euo pipefail
cd "$(dirname "$0")/../.."

flink=2.3.0 connector=5.0.0-2.2
venv=$(realpath -m "${FLINK_VENV:-target/venv-flink}")
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}
jar=$venv/jars/flink-sql-connector-kafka-$connector.jar

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import pyflink, duckdb, pytz' 2>/dev/null || "$venv/bin/pip" install --quiet "apache-flink==$flink" duckdb pytz
[ -e "$jar" ] || mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory="$venv/jars" \
  -Dartifact="org.apache.flink:flink-sql-connector-kafka:$connector"

[ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  export KFM_DIR=${KFM_DIR:-$PWD/.kafka} KFM_PORT=${KFM_PORT:-29092}
  protocol-tests/kafka wipe
  trap 'protocol-tests/kafka wipe' EXIT
  protocol-tests/kafka start 4.3.1
  KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT
fi
for trial in ${*:-judge cut_over}; do
  timeout 900 "$venv/bin/python" "protocol-tests/flink/$trial.py" "$binary" "$KAFKA_BOOTSTRAP" "$jar"
done
