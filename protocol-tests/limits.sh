#!/usr/bin/env bash
# What a consumer may take (tests/real_broker/limits) on an Apache Kafka 4.3.1 of one node: memory with ten million
# records of lag, CPU and requests while idle. Builds the command line for release; some minutes, and 2 GB of disk.
#
# Needs a JDK and Maven. KFM_DIR (default .kafka) is where the jars and the broker's data go, KFM_PORT (default 29092) its
# port; whatever ran there before must be stopped. MILENA is a binary to take instead.
set -euo pipefail
cd "$(dirname "$0")"
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
if [ -z "${MILENA:-}" ]; then
  cargo build --locked --release --features cli --bin milena --manifest-path ../Cargo.toml
  target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  MILENA=$target/release/milena
fi
export MILENA

./kafka resolve 4.3.1 >/dev/null
trap './kafka wipe' EXIT
./kafka wipe
./kafka start 4.3.1
KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT \
  cargo test --locked -p protocol-tests --test real_broker -- --ignored --nocapture --test-threads 1 limits::
