#!/usr/bin/env bash
# milena on a real cluster that suffers (tests/real_broker/chaos): an Apache Kafka 4.3.1 of three nodes, which are killed,
# stopped and started again while leaders move and connections break.
#
#   chaos.sh producer RECORDS RATE SEED...   for each seed RECORDS records, RATE a second
#   chaos.sh groups SECONDS SEED...          for each seed, so long, a chain of two groups whose members die, too
#   chaos.sh truncation                      a leader is elected that lacks what readers have read
#
# Needs a JDK, Maven and kcat. KFM_DIR (default .kafka) is where the jars and the brokers' data go, KFM_PORT (default 29092)
# the first port; whatever ran there must be stopped. PROFILE is cargo's, default dev: for more than some thousand
# records a second take release.
set -euo pipefail
cd "$(dirname "$0")"
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
what=${1:-}
case $what in
  producer) export RECORDS=${2:?} RATE=${3:?}; shift 3;;
  groups)
    export LASTS=${2:?}; shift 2
    # As short for groups of KIP-848 as the members of classic groups have it.
    export KFM_PROPS="group.consumer.min.session.timeout.ms=6000 group.consumer.session.timeout.ms=6000 group.consumer.min.heartbeat.interval.ms=1000 group.consumer.heartbeat.interval.ms=1000";;
  truncation) set -- 0;; # one run, of no seed
  *) sed -n '2,13p' "$0" >&2; exit 2;;
esac

./kafka resolve 4.3.1 >/dev/null
trap './kafka wipe' EXIT
export KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT,127.0.0.1:$((KFM_PORT + 10)),127.0.0.1:$((KFM_PORT + 20))
export KAFKA_JARS=$KFM_DIR/jars-4.3.1/lib
for seed; do
  ./kafka wipe
  ./kafka start 4.3.1 3
  SEED=$seed cargo test --locked --profile "${PROFILE:-dev}" -p protocol-tests --test real_broker -- --ignored --nocapture "chaos::$what"
done
