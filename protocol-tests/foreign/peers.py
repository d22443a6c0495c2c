"""Clients of other languages as child processes that speak JSON lines: kafkajs, franz-go and Apache's Java client. What each
verb does stands in `peers/kafkajs/peer.js`. foreign_clients.sh builds them and says where in FOREIGN_BUILD and FOREIGN_JARS."""

import base64
import json
import os
import subprocess
import threading

from foreign import harness

BUILD = os.environ.get("FOREIGN_BUILD", "target/foreign")
JARS = os.environ.get("FOREIGN_JARS", ".kafka/jars-4.3.1/lib")
# A process that lives for seconds has no use for a compiler that optimizes.
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={BUILD}/log4j2.properties"]
JAVA += ["-cp", f"{JARS}/*:{BUILD}/classes"]

PEERS = {
    "kafkajs": lambda verb: ["node", f"{BUILD}/kafkajs/peer.js"],
    "franz-go": lambda verb: [f"{BUILD}/franz"],
    "java": lambda verb: [*JAVA, "Work" if verb in ("transact", "admin") else "Peer"],
}


def run(peer, verb, *arguments, stdin=""):
    """Lets a peer do one thing, and returns the lines that it printed."""
    command = [*PEERS[peer](verb), verb, harness.BOOTSTRAP, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{peer} {verb}: {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def text(value):
    return None if value is None else base64.b64encode(value).decode()


def value_of(line, field="value"):
    return None if line[field] is None else base64.b64decode(line[field])


def write(peer, name, codec, records):
    """Writes `(key, value, headers, timestamp)` into partition 0."""
    lines = [
        {"partition": 0, "key": text(key), "value": text(value), "headers": [[of, text(what)] for of, what in headers], "timestamp": timestamp}
        for key, value, headers, timestamp in records
    ]
    run(peer, "produce", name, codec, stdin="".join(json.dumps(line) + "\n" for line in lines))


def read(peer, name, count):
    return [
        (value_of(line, "key"), value_of(line), tuple((of, base64.b64decode(what)) for of, what in line["headers"]), line["timestamp"])
        for line in run(peer, "consume", name, count)
    ]


class Member:
    """A peer in a group, which reads until it is told to leave; `members.Reader` is the same for clients in Python."""

    def __init__(self, client, name, group, strategy):
        self.client, self.assigned, self.values, self.error = client, set(), [], None
        command = [*PEERS[client]("member"), "member", harness.BOOTSTRAP, name, group, strategy]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        for line in map(json.loads, self.process.stdout):
            if "assigned" in line:
                self.assigned = set(line["assigned"])
            else:
                self.values.append(value_of(line))

    def leave(self):
        try:
            self.process.stdin.write('"leave"\n')  # Java waits for a word, the others for the end
            self.process.stdin.close()
            self.process.wait(30)
        finally:
            self.process.kill()
        self.thread.join(10)
        complaint = self.process.stderr.read()
        assert self.process.returncode == 0, f"{self.client}: {self.process.returncode}: {complaint[-2000:]}"
