"""Apache Kafka's own command-line tools, by their classes: what a person at a terminal does with a cluster."""

import json
import subprocess
import tempfile

import confluent_kafka

from foreign import harness
from foreign.consumer_groups import Consumer
from foreign.groups import stable
from foreign.harness import check, equal, name_of, topic, until
from foreign.members import poll_one, produce_numbers
from foreign.peers import JAVA

TOOLS = "org.apache.kafka.tools."


def tool(name, *arguments, stdin="", fails=False):
    """Runs a tool with the cluster's address, and returns what it printed; `fails` wants it to."""
    full = name if name.startswith("kafka.") else TOOLS + name
    command = [*JAVA, full, "--bootstrap-server", harness.BOOTSTRAP, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == fails, f"{command}: {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout + done.stderr if fails else done.stdout


@check
def kafka_topics_creates_describes_grows_lists_and_deletes():
    name = name_of("tool")
    tool("TopicCommand", "--create", "--topic", name, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=-1")
    assert "already exists" in tool("TopicCommand", "--create", "--topic", name, fails=True)
    tool("TopicCommand", "--alter", "--topic", name, "--partitions", "3")
    until(lambda: "PartitionCount: 3" in tool("TopicCommand", "--describe", "--topic", name), 30, "it has grown")
    described = tool("TopicCommand", "--describe", "--topic", name)
    assert "retention.ms=-1" in described and described.count("Leader: ") == 3, described
    assert name in tool("TopicCommand", "--list").splitlines()
    tool("TopicCommand", "--delete", "--topic", name)
    until(lambda: name not in tool("TopicCommand", "--list").splitlines(), 30, "it is gone")


@check
def kafka_configs_alters_and_describes():
    name = topic("tool-configs")
    of = ["--entity-type", "topics", "--entity-name", name]
    tool("kafka.admin.ConfigCommand", *of, "--alter", "--add-config", "segment.ms=7000,cleanup.policy=[delete,compact]")
    described = lambda: tool("kafka.admin.ConfigCommand", *of, "--describe")
    until(lambda: "segment.ms=7000" in described(), 30, "it is altered")
    assert "cleanup.policy=delete,compact" in described(), described()
    tool("kafka.admin.ConfigCommand", *of, "--alter", "--delete-config", "segment.ms")
    until(lambda: "segment.ms" not in described(), 30, "it is the default again")
    refused = tool("kafka.admin.ConfigCommand", *of, "--alter", "--add-config", "segment.ms=0", fails=True)
    assert "InvalidConfigurationException" in refused, refused


@check
def the_console_producer_writes_what_the_console_consumer_reads():
    name = topic("console")
    lines = "".join(f"k{at}\tv{at}\n" for at in range(100))
    tool("ConsoleProducer", "--topic", name, "--reader-property", "parse.key=true", "--compression-codec", "zstd", stdin=lines)
    show = ["--formatter-property", "print.key=true"]
    read = tool("consumer.ConsoleConsumer", "--topic", name, "--from-beginning", "--max-messages", "100", "--timeout-ms", "30000", *show)
    equal(read, lines)


@check
def kafka_consumer_groups_lists_describes_resets_and_deletes():
    name, group = topic("tool-group", 2), name_of("tool-group")
    produce_numbers(name, 2, range(20))
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": harness.BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([name])
    for _ in range(20):
        poll_one(consumer)
    consumer.commit(asynchronous=False)
    groups = lambda *arguments, **how: tool("consumer.group.ConsumerGroupCommand", *arguments, **how)
    rows = [line.split() for line in groups("--describe", "--group", group).splitlines() if line.startswith(group)]
    equal(sorted(row[1:6] for row in rows), [[name, "0", "10", "10", "0"], [name, "1", "10", "10", "0"]])
    assert "Stable" in groups("--describe", "--group", group, "--state")
    members = groups("--describe", "--group", group, "--members", "--verbose")
    assert "rdkafka" in members and "range" in groups("--describe", "--group", group, "--state"), members
    reset = ["--reset-offsets", "--group", group, "--topic", name, "--to-offset", "3", "--execute"]
    assert "current state is Stable" in groups(*reset), "a group at work"
    consumer.close()
    groups(*reset)
    rows = [line.split() for line in groups("--describe", "--group", group).splitlines() if line.startswith(group)]
    equal(sorted(row[1:6] for row in rows), [[name, "0", "3", "10", "7"], [name, "1", "3", "10", "7"]])
    assert group in groups("--list").splitlines()
    groups("--delete-offsets", "--group", group, "--topic", f"{name}:0")
    groups("--delete", "--group", group)
    assert group not in groups("--list").splitlines()


@check
def kafka_get_offsets_and_delete_records():
    name = topic("tool-offsets", 2)
    produce_numbers(name, 2, range(20))
    offsets = lambda *arguments: sorted(tool("GetOffsetShell", "--topic", name, *arguments).split())
    equal(offsets(), [f"{name}:0:10", f"{name}:1:10"])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"partitions": [{"topic": name, "partition": 0, "offset": 4}], "version": 1}, file)
        file.flush()
        assert "low_watermark: 4" in tool("DeleteRecordsCommand", "--offset-json-file", file.name)
    equal(offsets("--time", "earliest"), [f"{name}:0:4", f"{name}:1:0"])
    equal(len(offsets("--time", "max-timestamp")), 2)


@check
def kafka_performance_tools_write_and_read():
    name = topic("perf", 2)
    done = subprocess.run(
        [*JAVA, TOOLS + "ProducerPerformance", "--topic", name, "--num-records", "20000", "--record-size", "100", "--throughput", "-1",
         "--bootstrap-server", harness.BOOTSTRAP, "--command-property", "compression.type=lz4"],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0 and "20000 records sent" in done.stdout, done
    read = tool("ConsumerPerformance", "--topic", name, "--num-records", "20000", "--timeout", "30000")
    assert ", 20000, " in read, read


@check
def kafka_transactions_are_driven_by_the_performance_tool():
    name = topic("perf-tx")
    done = subprocess.run(
        [*JAVA, TOOLS + "ProducerPerformance", "--topic", name, "--num-records", "3000", "--record-size", "100", "--throughput", "-1",
         "--bootstrap-server", harness.BOOTSTRAP, "--transactional-id", name, "--transaction-duration-ms", "50"],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0 and "3000 records sent" in done.stdout, done
    isolated = ["--isolation-level", "read_committed", "--from-beginning", "--max-messages", "3000", "--timeout-ms", "30000"]
    equal(len(tool("consumer.ConsoleConsumer", "--topic", name, *isolated).splitlines()), 3000)


@check
def kafka_broker_api_versions_and_cluster_tell_what_there_is():
    versions = tool("BrokerApiVersionsCommand")
    equal(versions.count("(id: "), len(harness.BOOTSTRAP.split(",")), "brokers")
    assert "Produce(0): 0 to 13 [usable: 13]" in versions, versions
    done = subprocess.run([*JAVA, TOOLS + "ClusterTool", "cluster-id", "--bootstrap-server", harness.BOOTSTRAP], capture_output=True, text=True, timeout=60)
    assert "Cluster ID: " in done.stdout, done
    assert "group.version" in subprocess.run(
        [*JAVA, TOOLS + "FeatureCommand", "--bootstrap-server", harness.BOOTSTRAP, "describe"], capture_output=True, text=True, timeout=60
    ).stdout


@check
def kafka_groups_lists_groups_of_both_kinds():
    classic, consumers = stable(), Consumer(topics=[topic("kinds")]).join()
    rows = {line.split()[0]: line.split()[1:3] for line in tool("GroupsCommand", "--list").splitlines() if line}
    equal((rows.get(classic.group), rows.get(consumers.group)), (["Classic", "consumer"], ["Consumer", "consumer"]))
