#!/usr/bin/env bash
# Usage: traffic.sh DIRECTORY: seeds for fuzz/ out of what kcat, librdkafka, kafka-python, aiokafka and Java's tools say to a real
# Kafka 4.3.1 and hear of it, through record_traffic.py. KFM_DIR and KFM_PORT as for ../kafka; the proxy listens 500 above.
# `fuzz/minimise DIRECTORY` then leaves of them what covers something.
set -euo pipefail
cd "$(dirname "$0")/.."
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
proxy=$((KFM_PORT + 500)) version=4.3.1
bootstrap=127.0.0.1:$proxy

KFM_PROPS="advertised.listeners=PLAINTEXT://$bootstrap" ./kafka start "$version"
python3 capture/record_traffic.py "$proxy" "$KFM_PORT" "$1" &
recorder=$!
trap 'kill $recorder; ./kafka wipe' EXIT
sleep 1

MILENA_VENV=$(dirname "$(dirname "$(./venv)")") KAFKA_BOOTSTRAP=$bootstrap ./foreign_clients.sh

tool() { # class, arguments: what it says does not matter, nor that some want what this cluster has not got
  local class=$1
  shift
  timeout 60 java -Xmx256m -cp "$KFM_DIR/jars-$version/lib/*" "org.apache.kafka.tools.$class" "$@" >/dev/null 2>&1 || true
}
at=(--bootstrap-server "$bootstrap")
tool TopicCommand "${at[@]}" --create --topic tools --partitions 2
tool TopicCommand "${at[@]}" --alter --topic tools --partitions 3
tool TopicCommand "${at[@]}" --describe
tool ProducerPerformance --topic tools --num-records 20 --record-size 50 --throughput -1 --producer-props bootstrap.servers="$bootstrap"
tool ProducerPerformance --topic tools --num-records 20 --record-size 50 --throughput -1 --transactional-id tools \
  --transaction-duration-ms 10 --producer-props bootstrap.servers="$bootstrap"
for protocol in classic consumer; do
  tool consumer.ConsoleConsumer "${at[@]}" --topic tools --from-beginning --max-messages 5 --group "tools-$protocol" \
    --consumer-property group.protocol=$protocol --consumer-property isolation.level=read_committed
done
tool consumer.ConsoleShareConsumer "${at[@]}" --topic tools --max-messages 1 --timeout-ms 3000
tool consumer.group.ConsumerGroupCommand "${at[@]}" --list --state
tool consumer.group.ConsumerGroupCommand "${at[@]}" --describe --all-groups --verbose
tool consumer.group.ConsumerGroupCommand "${at[@]}" --reset-offsets --to-earliest --group tools-classic --topic tools --execute
tool consumer.group.ConsumerGroupCommand "${at[@]}" --delete-offsets --group tools-consumer --topic tools
tool consumer.group.ConsumerGroupCommand "${at[@]}" --delete --group tools-classic
tool GetOffsetShell "${at[@]}" --topic tools
tool TransactionsCommand "${at[@]}" list
tool TransactionsCommand "${at[@]}" describe --transactional-id tools
tool TransactionsCommand "${at[@]}" describe-producers --topic tools --partition 0
echo '{"partitions":[{"topic":"tools","partition":0,"offset":1}],"version":1}' >"$1/delete-records.json"
tool DeleteRecordsCommand "${at[@]}" --offset-json-file "$1/delete-records.json"
rm "$1/delete-records.json"
timeout 60 java -Xmx256m -cp "$KFM_DIR/jars-$version/lib/*" kafka.admin.ConfigCommand "${at[@]}" --alter --entity-type topics \
  --entity-name tools --add-config retention.ms=-1 >/dev/null 2>&1 || true
timeout 60 java -Xmx256m -cp "$KFM_DIR/jars-$version/lib/*" kafka.admin.ConfigCommand "${at[@]}" --describe --entity-type brokers \
  --entity-name 1 --all >/dev/null 2>&1 || true
tool LogDirsCommand "${at[@]}" --describe
tool FeatureCommand "${at[@]}" describe
tool MetadataQuorumCommand "${at[@]}" describe --status
tool AclCommand "${at[@]}" --list
tool LeaderElectionCommand "${at[@]}" --election-type preferred --all-topic-partitions
tool ClientMetricsCommand "${at[@]}" --list
tool TopicCommand "${at[@]}" --delete --topic tools
