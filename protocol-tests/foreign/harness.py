"""What every check uses: where the cluster is, the list of checks, comparing, waiting, topics of its own."""

import time
import uuid

from confluent_kafka.admin import AdminClient

CHECKS = []
RUN = uuid.uuid4().hex[:8]  # in the name of everything that a run makes, so that a cluster can be used again
BOOTSTRAP = None  # set by the runner before a check runs


def start(bootstrap):
    global BOOTSTRAP
    BOOTSTRAP = bootstrap


def check(function):
    """Marks a check. Its name is what it promises; it takes nothing and raises when the promise is not kept."""
    CHECKS.append(function)
    return function


def equal(got, want, what=""):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def until(condition, seconds, what):
    """Waits until `condition()` is true, and returns what it was."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def gathered(poll, count, seconds=30):
    """What a consumer's `poll()` gives, lists of records, until there are so many or the time is up."""
    found, deadline = [], time.time() + seconds
    while len(found) < count and time.time() < deadline:
        found += poll()
    return found


def polled_by_confluent(consumer):
    """What a consumer of confluent-kafka gives at once or within a second, as a list; an error is a failed check."""
    message = consumer.poll(1)
    assert message is None or not message.error(), message.error()
    return [] if message is None else [message]


def name_of(what):
    """A name that no other run and no other check has."""
    return f"foreign-{what}-{RUN}-{uuid.uuid4().hex[:4]}"


def admin_client():
    return AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(what, partitions=1, config=None, replicas=-1):
    """Creates a topic and waits until every broker knows it and has heard who leads it."""
    from foreign import wire

    name = name_of(what)
    # A real cluster deletes records with old dates otherwise, and many here are from 2017.
    configs = [{"name": key, "value": value} for key, value in {"retention.ms": "-1", **(config or {})}.items()]
    of = {"name": name, "num_partitions": partitions, "replication_factor": replicas, "assignments": [], "configs": configs}
    answer = wire.ask(wire.CreateTopicsRequest, 7, at=wire.controller(), topics=[of], timeout_ms=20_000).topics[0]
    wire.is_error(answer.error_code, "NONE", f"CreateTopics: {answer.error_message}")
    until(lambda: wire.is_known_everywhere(name, partitions), 20, f"{name} is known everywhere")
    return name
