#!/usr/bin/env bash
# A producer on a real cluster that suffers (tests/real_broker/chaos.rs): `chaos.sh RECORDS RATE SEED...`.
#
# For each seed RECORDS records are sent at RATE a second to an Apache Kafka 4.3.1 of three nodes, while these are killed,
# stopped and started again, leaders move and connections break. Needs a JDK, Maven and kcat. KFM_DIR (default .kafka) is
# where the jars and the brokers' data go, KFM_PORT (default 29092) the first port; whatever ran there must be stopped.
# PROFILE is cargo's, default dev: for more than some thousand records a second take release.
set -euo pipefail
cd "$(dirname "$0")"
export RECORDS=${1:?"usage: chaos.sh RECORDS RATE SEED..."} RATE=${2:?} KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
shift 2

./kafka resolve 4.3.1 >/dev/null
trap './kafka wipe' EXIT
export KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT,127.0.0.1:$((KFM_PORT + 10)),127.0.0.1:$((KFM_PORT + 20))
export KAFKA_JARS=$KFM_DIR/jars-4.3.1/lib
for seed; do
  ./kafka wipe
  ./kafka start 4.3.1 3
  SEED=$seed cargo test --locked --profile "${PROFILE:-dev}" -p protocol-tests --test real_broker -- --ignored --nocapture chaos::
done
