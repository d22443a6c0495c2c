"""TLS, certificates and SASL as confluent-kafka, kafka-python and Java speak them: against `milena broker`s started for each check,
or the listeners that `protocol-tests/kafka` gives a real Kafka, whose CA and client lie in $KFM_DIR/tls."""

import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

import confluent_kafka
import kafka
from confluent_kafka.admin import AdminClient, NewTopic
from kafka.net.sasl.oauth import AbstractTokenProvider

from foreign import harness, peers
from foreign.harness import check, equal, name_of

BROKER = os.environ.get("FOREIGN_BROKER")  # a binary; without it the cluster is a real one
PORTS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3, "MTLS": 4}
USER, PASSWORD = "alice", "alice-secret"
COUNTS = re.compile(r"^AUTHENTICATED=(\d+) FAILED=(\d+) REAUTHENTICATED=(\d+) EXPIRED=(\d+)$", re.M)


class Place:
    """Where to connect, and by what; the protocol MTLS is SSL where a certificate has to be shown."""

    def __init__(self, bootstrap, protocol, mechanism, directory, ca, client):
        self.bootstrap, self.protocol, self.mechanism, self.password = bootstrap, protocol.replace("MTLS", "SSL"), mechanism, PASSWORD
        self.directory, self.ca, self.client = directory, ca if "SSL" in self.protocol else None, client if protocol == "MTLS" else None
        self.counts = None  # authenticated, failed, again, expired; when it is over

    def of_librdkafka(self, **more):
        config = {"bootstrap.servers": self.bootstrap, "security.protocol": self.protocol, **more}
        if self.ca:
            config["ssl.ca.location"] = str(self.ca)
        if self.client:
            config |= {"ssl.certificate.location": str(self.client), "ssl.key.location": str(self.client)}
        if self.mechanism:
            config["sasl.mechanism"] = self.mechanism
        if self.mechanism == "OAUTHBEARER":
            config |= {"enable.sasl.oauthbearer.unsecure.jwt": True, "sasl.oauthbearer.config": f"principal={USER}"}
        elif self.mechanism:
            config |= {"sasl.username": USER, "sasl.password": self.password}
        return config

    def of_kafka_python(self, **more):
        config = {"bootstrap_servers": self.bootstrap, "security_protocol": self.protocol, **more}
        if self.ca:
            config["ssl_cafile"] = str(self.ca)
        if self.client:
            config |= {"ssl_certfile": str(self.client), "ssl_keyfile": str(self.client)}
        if self.mechanism:
            config["sasl_mechanism"] = self.mechanism
        if self.mechanism == "OAUTHBEARER":
            config["sasl_oauth_token_provider"] = Tokens()
        elif self.mechanism:
            config |= {"sasl_plain_username": USER, "sasl_plain_password": self.password}
        return config

    def of_java(self):
        """The environment in which `Peer` comes here."""
        lines = [f"security.protocol={self.protocol}", "retries=3", "delivery.timeout.ms=20000", "request.timeout.ms=10000"]
        if self.ca:
            lines += ["ssl.truststore.type=PEM", f"ssl.truststore.location={self.ca}"]
        if self.client:
            lines += ["ssl.keystore.type=PEM", f"ssl.keystore.location={self.client}"]
        modules = {
            "PLAIN": f'plain.PlainLoginModule required username="{USER}" password="{self.password}";',
            "SCRAM": f'scram.ScramLoginModule required username="{USER}" password="{self.password}";',
            "OAUTHBEARER": f'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";',
        }
        if self.mechanism:
            jaas = "org.apache.kafka.common.security." + modules[self.mechanism.split("-")[0]]
            lines += [f"sasl.mechanism={self.mechanism}", f"sasl.jaas.config={jaas}"]
        if self.mechanism == "OAUTHBEARER":
            lines.append(f"sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.{JAVA_UNSECURED}")
        properties = pathlib.Path(self.directory, "java.properties")
        properties.write_text("\n".join(lines) + "\n")
        return {**os.environ, "KAFKA_JAVA_PROPERTIES": str(properties)}


JAVA_UNSECURED = "internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler"


class Tokens(AbstractTokenProvider):
    def token(self):
        part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
        return f"{part({'alg': 'none'})}.{part({'sub': USER, 'iat': int(time.time()) - 1, 'exp': int(time.time()) + 3600})}."


@contextlib.contextmanager
def place(protocol, mechanism=None, enabled=None, lifetime_ms=0):
    """A broker, of ours or real, that lets alice do everything and nobody else anything; `enabled` is other than what is asked for."""
    with tempfile.TemporaryDirectory() as directory:
        if not BROKER:
            host, port = harness.BOOTSTRAP.split(",")[0].rsplit(":", 1)
            tls = pathlib.Path(os.environ["KFM_DIR"], "tls").resolve()
            client = pathlib.Path(directory, "client.pem")
            client.write_text((tls / "client.key").read_text() + (tls / "client.pem").read_text())
            yield Place(f"{host}:{int(port) + PORTS[protocol]}", protocol, mechanism, directory, tls / "ca.pem", client)
            return
        options = ["--authorizer", "--super-user", f"User:{USER}", "--super-user", f"User:CN={USER}"]
        if protocol in ("SSL", "SASL_SSL", "MTLS"):
            options += ["--tls", "--tls-dir", directory, "--tls-client", USER]
        if protocol == "MTLS":
            options += ["--tls-client-auth", "required"]
        if mechanism:
            options += ["--sasl", enabled or mechanism, "--user", f"{USER}:{PASSWORD}", "--max-reauth-ms", str(lifetime_ms)]
        command = [BROKER, "broker", "--listen", "127.0.0.1:0", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
            try:
                bootstrap = broker.stdout.readline().removeprefix("BOOTSTRAP=").strip()
                files = pathlib.Path(directory)
                there = Place(bootstrap, protocol, mechanism, directory, files / "ca.pem", files / f"{USER}.pem")
                yield there
            finally:
                broker.terminate()
                counted = COUNTS.search(broker.stdout.read())
        there.counts = counted and [int(count) for count in counted.groups()]


def create(there):
    name = name_of("secured")
    admin = AdminClient(there.of_librdkafka())  # which has to live until it is done
    admin.create_topics([NewTopic(name, 1, -1)])[name].result(20)
    return name


def by_confluent(there, name, count):
    failed = []
    producer = confluent_kafka.Producer(there.of_librdkafka())
    for at in range(count):
        producer.produce(name, str(at), on_delivery=lambda error, _: failed.append(error) if error else None)
    equal((producer.flush(20), failed), (0, []), "what confluent-kafka writes")
    consumer = confluent_kafka.Consumer(there.of_librdkafka(**{"group.id": name, "auto.offset.reset": "earliest"}))
    consumer.subscribe([name])
    found = harness.gathered(lambda: harness.polled_by_confluent(consumer), count)
    consumer.close()
    return [message.value() for message in found]


def by_kafka_python(there, name, count):
    producer = kafka.KafkaProducer(**there.of_kafka_python())
    for sent in [producer.send(name, str(at).encode()) for at in range(count)]:
        sent.get(20)
    producer.close()
    consumer = kafka.KafkaConsumer(name, group_id=name + "-python", auto_offset_reset="earliest", **there.of_kafka_python())
    found = harness.gathered(lambda: sum(consumer.poll(1000).values(), []), count)
    consumer.close()
    return [message.value for message in found]


def java(there, verb, *arguments, stdin=""):
    command = [*peers.PEERS["java"](verb), verb, there.bootstrap, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, env=there.of_java())


def line(at):
    value = base64.b64encode(str(at).encode()).decode()
    return json.dumps({"partition": 0, "key": None, "value": value, "headers": [], "timestamp": int(time.time() * 1000)}) + "\n"


def by_java(there, name, count):
    written = java(there, "produce", name, "none", stdin="".join(map(line, range(count))))
    assert written.returncode == 0, written.stdout + written.stderr
    read = java(there, "consume", name, count)
    assert read.returncode == 0, read.stdout + read.stderr
    return [peers.value_of(json.loads(line)) for line in read.stdout.splitlines()]


def every_client_comes_in(protocol, mechanism=None, clients=(by_confluent, by_kafka_python, by_java)):
    for client in clients:
        with place(protocol, mechanism) as there:
            got = client(there, create(there), 20)
            equal(got, [str(at).encode() for at in range(20)], f"{client.__name__} over {protocol} {mechanism or ''}")
        if BROKER and mechanism:
            equal(there.counts[1:], [0, 0, 0], "failed, again, expired")


@check
def every_client_comes_in_by_tls_alone():
    if BROKER:  # nobody in particular, who may do nothing
        with place("SSL") as there:
            metadata = AdminClient(there.of_librdkafka()).list_topics(timeout=20)
            equal((len(metadata.brokers), list(metadata.topics)), (1, []))
    else:
        every_client_comes_in("SSL")


@check
def every_client_comes_in_by_its_certificate():
    every_client_comes_in("MTLS")


@check
def every_client_comes_in_by_plain():
    every_client_comes_in("SASL_PLAINTEXT", "PLAIN")


@check
def every_client_comes_in_by_scram_256():
    every_client_comes_in("SASL_PLAINTEXT", "SCRAM-SHA-256")


@check
def every_client_comes_in_by_scram_512_over_tls():
    every_client_comes_in("SASL_SSL", "SCRAM-SHA-512")


@check
def every_client_comes_in_by_plain_over_tls():
    every_client_comes_in("SASL_SSL", "PLAIN")


@check
def every_client_comes_in_by_a_bearer_token():
    if BROKER:  # the real one here has no OAUTHBEARER
        every_client_comes_in("SASL_PLAINTEXT", "OAUTHBEARER")


def complaint_of_librdkafka(there):
    errors = []
    client = AdminClient(there.of_librdkafka(error_cb=errors.append))
    harness.until(lambda: client.poll(0.1) or errors, 20, "librdkafka complains")
    return str(errors[0])


def complaint_of_java(there):
    done = java(there, "consume", "nothing", 1)
    assert done.returncode, "Java comes in"
    return done.stderr


@check
def a_wrong_password_is_refused_in_the_same_words():
    words = {
        "PLAIN": "Authentication failed: Invalid username or password",
        "SCRAM-SHA-512": "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
    }
    for mechanism, why in words.items():
        with place("SASL_SSL", mechanism) as there:
            there.password = "wrong"
            for complaint in complaint_of_librdkafka(there), complaint_of_java(there):
                assert why in complaint, complaint


@check
def a_mechanism_that_is_not_enabled_is_refused_with_those_that_are():
    asked = "PLAIN" if BROKER else "OAUTHBEARER"
    enabled = "SCRAM-SHA-256,SCRAM-SHA-512" if BROKER else None
    with place("SASL_PLAINTEXT", asked, enabled) as there:
        for complaint in complaint_of_librdkafka(there), complaint_of_java(there):
            assert "SCRAM-SHA-256" in complaint and "SCRAM-SHA-512" in complaint, complaint


@check
def a_client_without_a_certificate_is_sent_away():
    with place("MTLS") as there:
        there.client = None
        assert "certificate" in complaint_of_librdkafka(there).lower()
        assert "SSL handshake failed" in complaint_of_java(there) or "SslAuthenticationException" in complaint_of_java(there)


@check
def a_session_of_two_seconds_is_begun_anew_and_nothing_breaks():
    if not BROKER:  # the real one here sets no connections.max.reauth.ms
        return
    for protocol, mechanism in ("SASL_SSL", "SCRAM-SHA-512"), ("SASL_PLAINTEXT", "OAUTHBEARER"):
        with place(protocol, mechanism, lifetime_ms=2000) as there:
            name, failed = create(there), []
            producer = confluent_kafka.Producer(there.of_librdkafka(error_cb=failed.append))
            for at in range(28):
                producer.produce(name, str(at), on_delivery=lambda error, _: failed.append(error) if error else None)
                producer.flush(5)
                time.sleep(0.25)
            equal(failed, [], "librdkafka")
        assert there.counts[2] >= 3 and there.counts[1] == 0, there.counts
        with place(protocol, mechanism, lifetime_ms=2000) as there:
            name = create(there)
            command = [*peers.PEERS["java"]("produce"), "produce", there.bootstrap, name, "none"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with subprocess.Popen(command, text=True, env=there.of_java(), **pipes) as process:
                for at in range(40):  # a while longer than Java takes to start
                    process.stdin.write(line(at))
                    process.stdin.flush()
                    time.sleep(0.25)
                out, complaint = process.communicate(timeout=60)
            equal((process.returncode, len(out.splitlines())), (0, 40), complaint)
        assert there.counts[2] >= 1 and there.counts[1] == 0, there.counts
