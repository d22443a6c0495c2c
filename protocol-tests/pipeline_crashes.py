"""The pipeline's stages killed, stopped, woken, added and taken away at random instants; the outputs judged from outside.

usage: pipeline_crashes.py MILENA BOOTSTRAP [--postgres URL] [--short] [--seed N] [--broker PID] [--kills N] [--events N]
       [--keep] [TRIAL...]

Each trial has a topic of its own with six partitions. This program writes the events, 2,000 a second of which each is
up to 30 s (of event time, which runs faster than the clock) older than the newest, the bound being 31 s; it kills, each
time after the victim has committed since it was started, and judges by pipeline_judge.py.

  aggregate         kill -9 of the aggregator, 20 times, its place taken after the session timeout
  aggregate-static  the same with --instance, which takes its partitions back at once
  aside             the same, with late and poisoned records: exactly those the rule names, on T.late and T.dlq
  grow              the same of aggregator and merge, with six partitions more in the middle
  merge, sink       kill -9 of these, 20 times
  all               all three and the sink of windows, each with a killer of its own
  scaling           1 -> 3 -> 2 -> 1 aggregators: joining, leaving, killed, stopped for twice the session timeout and woken
  scaling-all       the same of every stage, those with one partition 1 -> 2 -> 1
  outage            the broker stopped (--broker PID) for longer than default.api.timeout.ms while all stages are at work
  twins             a static member stopped, its successor of the same name started, the first one woken
  replay            prints the time from a restart to the first commit with a 30-minute window open
"""

import argparse
import contextlib
import fractions
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError


from pipeline_judge import MICROS, WINDOWS, Batch, Wrong, check, settled, records

PARTITIONS = 6
RATE = 2_000
SPEED = 60  # seconds of event time in one of the clock's
DISORDER, BOUND = 30, 31
SESSION = 6
PRODUCTS = ["Laptop_X1", "Phone_Y2", "Headphone_Z3", "Monitor_A4", "Keyboard_B5"]
# What a woken zombie may say: whatever it is, it must be said.
LOST = re.compile(r"given these partitions to others|another \S+ has (taken|claimed)|taken its place|fenced", re.I)


class Feeder(threading.Thread):
    """Writes events, the same for the same seed, as fast as asked for, until it is told to stop."""

    def __init__(self, trial, seed, rate=RATE, speed=SPEED, count=None, late=0.0, poison=0.0):
        super().__init__(daemon=True)
        self.trial, self.random, self.rate, self.speed, self.count = trial, random.Random(seed), rate, speed, count
        self.late, self.poison = late, poison
        self.done, self.error, self.sent = threading.Event(), None, 0
        self.start_micros = (int(time.time()) // 86_400 - 2) * 86_400 * MICROS

    def run(self):
        try:
            # For ever, over outages; partitions that come are written to at once.
            patience = {"message.timeout.ms": 0, "topic.metadata.refresh.interval.ms": 1000}
            producer = Producer({"bootstrap.servers": self.trial.bootstrap, "enable.idempotence": True, "linger.ms": 10, **patience})
            began = time.monotonic()
            while not self.done.is_set() and (self.count is None or self.sent < self.count):
                ahead = self.sent / self.rate - (time.monotonic() - began) if self.rate else 0
                if ahead > 0:
                    time.sleep(min(ahead, 0.01))
                    continue
                self.write(producer)
            check(producer.flush(60) == 0, "the feeder's events were not all written")
        except Exception as error:
            self.error = error

    def write(self, producer):
        now = self.start_micros + self.sent * MICROS * self.speed // (self.rate or RATE)
        user = self.random.randrange(1000, 1200)
        behind = self.random.randrange(DISORDER * MICROS)
        if self.random.random() < self.late:
            behind += self.random.randrange(DISORDER, 300) * MICROS
        at = now - behind
        kind = self.random.choices(["view", "add_to_cart", "purchase"], [6, 2, 2])[0]
        cents = self.random.randrange(1000, 200_001) if kind == "purchase" and self.random.random() > 0.3 else None
        event_id = uuid.UUID(int=self.random.getrandbits(128), version=4)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // MICROS))
        price = "null" if cents is None else f"{cents // 100}.{cents % 100:02}"
        value = (
            f'{{"event_id":"{event_id}","user_id":{user},"event_type":"{kind}","product_id":"{self.random.choice(PRODUCTS)}",'
            f'"timestamp":"{moment}.{at % MICROS:06}Z","price":{price}}}'
        )
        if self.random.random() < self.poison:
            value = self.random.choice([None, value[:50], "[1]", value.replace('"timestamp"', '"time"')])
        for _ in range(2 if self.random.random() < 0.001 else 1):  # at least once, upstream
            while True:
                try:
                    producer.produce(self.trial.topic, value, str(user), timestamp=at // 1000, on_delivery=self.delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
        self.sent += 1
        producer.poll(0)

    def delivered(self, error, _):
        if error is not None:
            self.error = error

    def finish(self):
        if self.count is None:
            self.done.set()
        self.join(600)
        check(self.error is None and not self.is_alive(), f"the feeder: {self.error}")


class Watch(threading.Thread):
    """Looks at a group's committed offsets all the time: they and the watermarks in them may only grow.

    By kafka-python: confluent-kafka 2.16.1 hands out what lies in memory behind the metadata too."""

    def __init__(self, trial, group, topic, partitions):
        super().__init__(daemon=True)
        self.admin, self.group = KafkaAdminClient(bootstrap_servers=trial.bootstrap), group
        self.topic, self.partitions = topic, partitions
        self.offsets, self.marks, self.wrong, self.looks, self.done = {}, {}, None, 0, threading.Event()
        self.start()

    def run(self):
        while not self.done.is_set():
            try:
                self.look(self.admin.list_group_offsets(self.group)[self.group])
                self.looks += 1
            except KafkaError as error:
                self.wrong = self.wrong if error.retriable else f"{self.group}: {error}"
            time.sleep(0.03)
        self.admin.close()

    def look(self, committed):
        for name, found in committed.items():
            if name.topic != self.topic or found.offset < 0:
                continue
            marks = {}
            if found.metadata:
                metadata = json.loads(found.metadata)
                marks = {mark: metadata[mark] for mark in ("wm", "max_ts") if isinstance(metadata.get(mark), int)}
            for mark, value in {"offset": found.offset, **marks}.items():
                before = self.marks.get((name.partition, mark), value)
                if value < before and self.wrong is None:
                    self.wrong = f"{self.group}: {mark} of partition {name.partition} went back from {before} to {value}"
                self.marks[name.partition, mark] = max(before, value)
            self.offsets[name.partition] = found.offset

    def progress(self):
        """The offsets as of now or later: what a process had committed that is gone by now is in it."""
        looks, deadline = self.looks, time.monotonic() + 30
        while self.looks < looks + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        return dict(self.offsets)


class Member:
    """One process of a stage."""

    number = 0

    def __init__(self, trial, stage, *extra):
        Member.number += 1
        self.trial, self.stage, self.name = trial, stage, f"{stage.name}-{Member.number}"
        self.log = trial.directory / f"{self.name}.log"
        self.out = trial.directory / f"{self.name}.out"
        self.before = None
        self.started = time.monotonic()
        self.may_fail = False
        command = [trial.milena, stage.command, "-b", trial.bootstrap, "-t", trial.topic, "-X", f"client.id={self.name}", *stage.arguments, *extra]
        environment = {**os.environ, "NO_COLOR": "1"}
        with open(self.log, "w") as log, open(self.out, "w") as out:
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=log)
        trial.members.append(self)

    def wait_commit(self, timeout=90, all_partitions=False):
        """Until its group's offsets have moved since it was started; how long that took."""
        deadline = time.monotonic() + timeout
        if self.before is None:
            # The last commit of whoever was killed before it may still have been under way.
            time.sleep(max(0, self.started + 0.25 - time.monotonic()))
            self.before = self.stage.watch.progress()
        while time.monotonic() < deadline:
            self.check_alive()
            now = dict(self.stage.watch.offsets)
            moved = [p for p, offset in now.items() if offset > self.before.get(p, -1)]
            if moved and (not all_partitions or len(moved) == self.stage.watch.partitions):
                return time.monotonic() - self.started
            time.sleep(0.01)
        raise Wrong(f"{self.name}: no commit in {timeout} s: {self.tail()}")

    def wait_assigned(self, timeout=60):
        """Until the group has given it a partition."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.check_alive()
            found = self.trial.admin.describe_consumer_groups([self.stage.group])[self.stage.group].result(20)
            if any(m.client_id == self.name and m.assignment.topic_partitions for m in found.members):
                return
            time.sleep(0.1)
        raise Wrong(f"{self.name}: no partition in {timeout} s: {self.tail()}")

    def check_alive(self):
        code = self.process.poll()
        check(code is None or self.may_fail, f"{self.name} ended by itself with {code}: {self.tail()}")

    def send(self, number):
        self.check_alive()
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()
            self.trial.members.remove(self)

    def ends(self, timeout=120):
        """Waits for an orderly end; its receipt."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{self.name} did not end in {timeout} s: {self.tail()}") from None
        self.trial.members.remove(self)
        check(code == 0, f"{self.name} ended with {code}: {self.tail()}")
        receipt = json.loads(self.out.read_text().splitlines()[-1])
        check(receipt["balanced"], f"{self.name}: {receipt}")
        return receipt

    def terminate(self):
        self.send(signal.SIGTERM)
        return self.ends(30)

    def says(self, pattern, since, timeout=20):
        """Waits for a line of the log that matches, in what was written after `since` bytes."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace")[since:].splitlines():
                if pattern.search(line):
                    return line.strip()
            time.sleep(0.1)
        raise Wrong(f"{self.name} was woken and did not say that it had lost its partitions: {self.tail()}")

    def tail(self):
        return f"{self.log}\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])


class Stage:
    def __init__(self, trial, name, command, group, topic, partitions, arguments=(), writes=None):
        self.trial, self.name, self.command, self.group = trial, name, command, group
        self.arguments, self.writes = list(arguments), writes
        self.watch = Watch(trial, group, topic, partitions)
        trial.stages.append(self)


class Trial:
    """A topic, what is written into it, and the processes at work on it."""

    def __init__(self, options, name, windows="gmv_10s,gmv_1m,views_1m"):
        self.began = time.monotonic()
        self.options, self.name, self.windows = options, name, windows.split(",")
        self.milena, self.bootstrap = options.milena, options.bootstrap
        self.random = random.Random(f"{options.seed} {name}")
        self.topic = f"crashes-{name}-{uuid.uuid4().hex[:8]}"
        self.directory = pathlib.Path(options.work) / self.topic
        self.directory.mkdir()
        self.members, self.stages = [], []
        self.postgres = self.database() if options.postgres else None
        self.to = self.postgres or f"embedded:{self.directory}/purchases.redb"
        self.to_windows = self.postgres or f"embedded:{self.directory}/windows.redb"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        # Event times are days ago. What is downstream exists, so that its group can be watched from the start.
        config = {"retention.ms": "-1"}
        topics = [NewTopic(self.topic, PARTITIONS, config=config), NewTopic(f"{self.topic}.windows", 1, config=config)]
        topics.append(NewTopic(f"{self.topic}.final", 1, config=config))
        for made in self.admin.create_topics(topics).values():
            made.result(30)
        arguments = ["--windows", windows, "--bound", f"{BOUND}s"]
        self.aggregate = Stage(self, "aggregate", "aggregate", f"{self.topic}.aggregate", self.topic, PARTITIONS, arguments, f"{self.topic}.windows")
        self.merge = Stage(self, "merge", "merge", f"{self.topic}.merge", f"{self.topic}.windows", 1, writes=f"{self.topic}.final")
        self.sink = Stage(self, "sink", "sink", f"{self.topic}.sink", self.topic, PARTITIONS, ["--to", self.to])
        arguments = ["--to", self.to_windows, "--what", "windows"]
        self.sink_windows = Stage(self, "sink-windows", "sink", f"{self.topic}.sink.windows", f"{self.topic}.final", 1, arguments)

    def database(self):
        """One of its own: window_results has no topic in its key."""
        import psycopg

        name = f"trial_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(self.options.postgres, autocommit=True) as db:
            db.execute(f"create database {name}")
        return self.options.postgres.rsplit("/", 1)[0] + f"/{name}"

    def tell(self, sentence):
        print(f"{time.monotonic() - self.began:6.1f} {self.name}: {sentence}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for stage in self.stages:
            stage.watch.done.set()
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.process.send_signal(signal.SIGKILL)
                member.process.wait()

    def kill_again_and_again(self, stage, kills, static=False):
        """kill -9 at random instants, half of them while it has a transaction open; each after a commit of the victim."""
        extra = ["--instance", f"{stage.name}-0"] if static else []
        waits = []
        for _ in range(kills):
            victim = Member(self, stage, *extra)
            waits.append(victim.wait_commit())
            self.pause()
            if self.random.random() < 0.5:
                self.wait_for_work(stage)
                time.sleep(self.random.uniform(0, 0.004))
            victim.send(signal.SIGKILL)
        last = Member(self, stage, *extra)
        waits.append(last.wait_commit())
        self.tell(f"{kills} x kill -9 of {stage.name}; first commit after {min(waits):.1f} to {max(waits):.1f} s")

    def pause(self):
        time.sleep(self.random.uniform(0, 2))

    def wait_for_work(self, stage):
        """Until the stage has a transaction open: the topic that it writes grows, or the database says so."""
        grown, close = self.watch_topic(stage.writes) if stage.writes else self.watch_database()
        deadline = time.monotonic() + 5
        while not grown() and time.monotonic() < deadline:
            time.sleep(0.001)
        close()

    def watch_topic(self, topic):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "rows", "isolation.level": "read_uncommitted"})
        end = lambda: consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
        first = end()
        return lambda: end() > first, consumer.close

    def watch_database(self):
        if not self.postgres:
            return lambda: True, lambda: None
        import psycopg

        db = psycopg.connect(self.postgres, autocommit=True)
        query = "select 1 from pg_stat_activity where datname = current_database() and backend_xid is not null"
        return lambda: db.execute(query).fetchone(), db.close

    def wake(self, zombie, others):
        """SIGSTOP for twice the session timeout, while the others take over; then the woken one has to notice and to say so."""
        zombie.wait_assigned()
        self.pause()
        for other in others:
            other.before = zombie.stage.watch.progress()
        self.wait_for_work(zombie.stage)
        zombie.send(signal.SIGSTOP)
        time.sleep(2 * SESSION)
        for other in others:
            other.wait_commit()
        since = len(zombie.log.read_text(errors="replace"))
        zombie.send(signal.SIGCONT)
        line = zombie.says(LOST, since)
        self.tell(f"{zombie.name} woke and said: {line[:200]}")

    def finish(self, feeder, judge_aside=False):
        """The orderly end, and the judgement of everything."""
        feeder.finish()
        for member in list(self.members):
            member.terminate()
        for stage in (self.aggregate, self.merge, self.sink, self.sink_windows):
            # The end may be interrupted by a kill, and come in company.
            victim = Member(self, stage, "--until-end")
            time.sleep(self.random.uniform(0, 1))
            if victim.process.poll() is None:
                victim.send(signal.SIGKILL)
            else:
                victim.ends()
            company = [Member(self, stage, "--until-end") for _ in range(2 if self.postgres or stage.command != "sink" else 1)]
            for member in company:
                member.ends(600)
        for stage in self.stages:
            check(stage.watch.wrong is None, stage.watch.wrong)
        batch = Batch(self.bootstrap, self.topic, self.windows, BOUND)
        check(feeder.late or not batch.late, f"the feeder kept to the bound, and {len(batch.late)} are late")
        rows = batch.judge_windows(self.bootstrap, self.topic)
        finals = batch.judge_finals(self.bootstrap, self.topic)
        late, dead = batch.judge_aside(self.bootstrap, self.topic)
        purchases = self.judge_sinks(batch)
        aborted = sum(
            len(records(self.bootstrap, f"{self.topic}.{topic}", "read_uncommitted")[0]) - len(settled(self.bootstrap, f"{self.topic}.{topic}"))
            for topic in ("windows", "final")
        )
        self.tell(
            f"{batch.records} events; {rows} partial and {finals} final rows right and once, {late} late, {dead} dead, "
            f"{purchases} purchases once; {aborted} records of aborted transactions on the topics"
        )

    def judge_sinks(self, batch):
        if self.postgres:
            return batch.judge_postgres(self.postgres, self.bootstrap, self.topic)
        query = lambda path: subprocess.run([self.milena, "query", path], capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        files = [query(f"{self.directory}/{name}.redb") for name in ("purchases", "windows")]
        return batch.judge_embedded(*files, self.bootstrap, self.topic)


def kill_stages(options, name, stages, kills, static=False, **feed):
    with Trial(options, name) as trial:
        feeder = Feeder(trial, options.seed, **feed)
        feeder.start()
        killers = []
        failures = []

        def killer(stage, stage_kills):
            try:
                trial.kill_again_and_again(stage, stage_kills, static)
            except Exception as error:
                failures.append(error)

        for stage in (trial.aggregate, trial.merge, trial.sink, trial.sink_windows):
            # The neighbours of the victim run undisturbed: without them nothing comes in, or nobody is there to see it.
            if stage.name in stages:
                killers.append(threading.Thread(target=killer, args=(stage, kills), daemon=True))
            else:
                Member(trial, stage)
        for thread in killers:
            thread.start()
        for thread in killers:
            thread.join()
        if failures:
            raise failures[0]
        trial.finish(feeder)


def grow(options, name, kills):
    with Trial(options, name) as trial:
        feeder = Feeder(trial, options.seed)
        feeder.start()
        for stage in trial.stages:
            if stage.name.startswith("sink"):
                Member(trial, stage)
        for _ in range(3):
            for stage in (trial.aggregate, trial.merge):
                trial.kill_again_and_again(stage, max(1, kills // 6), static=True)
            if trial.aggregate.watch.partitions == PARTITIONS:
                new = NewPartitions(trial.topic, 2 * PARTITIONS)
                trial.admin.create_partitions([new])[trial.topic].result(30)
                for stage in (trial.aggregate, trial.sink):
                    stage.watch.partitions = 2 * PARTITIONS
            for member in [m for m in trial.members if not m.stage.name.startswith("sink")]:
                member.send(signal.SIGKILL)
        trial.finish(feeder)


def scaling(options, name, stages=("aggregate",)):
    with Trial(options, name) as trial:
        feeder = Feeder(trial, options.seed)
        feeder.start()
        for stage in trial.stages:
            if stage.name not in stages:
                Member(trial, stage)
        for _ in range(1 if options.short else 2):
            for stage in [stage for stage in trial.stages if stage.name in stages]:
                (scale if stage.watch.partitions > 1 else replace)(trial, stage)
        trial.finish(feeder)


def scale(trial, stage):
    """1 -> 3 -> 2 -> 1, by every way to come and go."""
    first = next((m for m in trial.members if m.stage is stage), None) or Member(trial, stage)
    first.wait_commit()
    second, third = Member(trial, stage), Member(trial, stage)
    trial.wake(second, [first])  # 3, and one of them a zombie
    third.terminate()  # 2
    trial.pause()
    first.send(signal.SIGKILL)  # 1: the one that was woken
    second.before = stage.watch.progress()
    second.wait_commit(all_partitions=True)
    fourth = Member(trial, stage)
    fourth.wait_assigned()
    trial.pause()
    fourth.send(signal.SIGSTOP)  # stopped, and killed as it is
    time.sleep(2 * SESSION)
    second.before = stage.watch.progress()
    second.wait_commit(all_partitions=True)
    fourth.process.send_signal(signal.SIGKILL)
    fourth.process.wait()
    trial.members.remove(fourth)


def replace(trial, stage):
    """A stage with one partition: 1 -> 2 -> 1, the owner stopped and woken, its successor killed."""
    first = next((m for m in trial.members if m.stage is stage), None) or Member(trial, stage)
    first.wait_commit()
    second = Member(trial, stage)
    trial.wake(first, [second])
    second.send(signal.SIGKILL)
    first.before = stage.watch.progress()
    first.wait_commit()


def twins(options, name):
    """The successor of a stopped static member fences it: the woken one must not go on, and must say why."""
    with Trial(options, name) as trial:
        feeder = Feeder(trial, options.seed)
        feeder.start()
        for stage in (trial.aggregate, trial.merge, trial.sink):
            old = Member(trial, stage, "--instance", "twin")
            old.wait_commit()
            old.send(signal.SIGSTOP)
            new = Member(trial, stage, "--instance", "twin")
            trial.tell(f"the successor's first commit came after {new.wait_commit():.1f} s")
            since = len(old.log.read_text(errors="replace"))
            old.may_fail = True
            old.send(signal.SIGCONT)
            trial.tell(f"{old.name} woke and said: {old.says(LOST, since)[:200]}")
            time.sleep(3)
            check(old.process.poll() not in (None, 0), f"{old.name} has a successor of its name and is still there ({old.process.poll()})")
            trial.members.remove(old)
            new.before = stage.watch.progress()
            new.wait_commit()
        trial.finish(feeder)


def outage(options, name):
    """Every call's time runs out. Afterwards all go on by themselves."""
    check(options.broker, "this trial needs --broker PID")
    with Trial(options, name) as trial:
        feeder = Feeder(trial, options.seed)
        feeder.start()
        members = [Member(trial, stage) for stage in trial.stages]
        for member in members:
            member.wait_commit()
        for seconds in (15, 90):
            os.kill(options.broker, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(options.broker, signal.SIGCONT)
            began = time.monotonic()
            for member in members:
                member.before = dict(member.stage.watch.offsets)
            for member in members:
                member.wait_commit()
                trial.tell(f"{member.name} commits again {time.monotonic() - began:.1f} s after {seconds} s without a broker")
            time.sleep(5)
        trial.finish(feeder)


def replay(options, name):
    """With a 30-minute window open at 2,000 events/s: from a restart to the first commit."""
    events = options.events or (100_000 if options.short else 1_000_000)
    with Trial(options, name, "users_30m") as trial:
        # Half an hour of event time, less a minute, so that the window of its beginning stays open.
        feeder = Feeder(trial, options.seed, rate=None, speed=fractions.Fraction(1740 * RATE, events), count=events)
        feeder.start_micros = feeder.start_micros // (1800 * MICROS) * 1800 * MICROS + 30 * MICROS
        feeder.start()
        feeder.finish()
        member = Member(trial, trial.aggregate)
        deadline = time.monotonic() + 300
        while sum(trial.aggregate.watch.offsets.values()) < events and time.monotonic() < deadline:
            member.check_alive()
            time.sleep(0.1)
        trial.tell(f"{events} events read the first time in {time.monotonic() - member.started:.1f} s")
        member.send(signal.SIGKILL)
        more = Feeder(trial, options.seed + 1)
        more.start_micros = feeder.start_micros + 1740 * MICROS
        more.speed = 1
        member = Member(trial, trial.aggregate, "--instance", "replay")
        more.start()
        trial.tell(f"after kill -9, the first commit came {member.wait_commit(300):.1f} s after the start (session timeout {SESSION} s included)")
        member.send(signal.SIGKILL)
        member = Member(trial, trial.aggregate, "--instance", "replay")
        trial.tell(f"with --instance {member.wait_commit(300):.1f} s after the start, {events} events read again")
        trial.finish(more)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("milena")
    parser.add_argument("bootstrap")
    parser.add_argument("--postgres")
    parser.add_argument("--broker", type=int, help="the broker's process, for `outage`")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--events", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("trials", nargs="*")
    options = parser.parse_intermixed_args()
    kills = options.kills or (3 if options.short else 20)
    everything = ["aggregate", "merge", "sink", "sink-windows"]
    trials = {
        "aggregate": lambda name: kill_stages(options, name, ["aggregate"], kills),
        "aggregate-static": lambda name: kill_stages(options, name, ["aggregate"], kills, static=True),
        "aside": lambda name: kill_stages(options, name, ["aggregate"], kills, static=True, late=0.01, poison=0.01),
        "grow": lambda name: grow(options, name, kills),
        "merge": lambda name: kill_stages(options, name, ["merge"], kills, static=True),
        "sink": lambda name: kill_stages(options, name, ["sink", "sink-windows"], kills),
        "all": lambda name: kill_stages(options, name, everything, kills, static=True),
        "scaling": lambda name: scaling(options, name),
        "scaling-all": lambda name: scaling(options, name, [stage for stage in everything if options.postgres or "sink" not in stage]),
        "outage": lambda name: outage(options, name),
        "twins": lambda name: twins(options, name),
        "replay": lambda name: replay(options, name),
    }
    unknown = set(options.trials) - set(trials)
    if unknown:
        parser.error(f"there is no trial {', '.join(sorted(unknown))}; there are {', '.join(trials)}")
    options.work = tempfile.mkdtemp(prefix="pipeline-crashes.")
    wrong = []
    for name in options.trials or (["all", "scaling"] if options.short else list(trials)):
        began = time.monotonic()
        try:
            trials[name](name)
            print(f"{name}: right, after {time.monotonic() - began:.0f} s", flush=True)
        except Wrong as error:
            wrong.append(name)
            print(f"{name}: WRONG after {time.monotonic() - began:.0f} s: {error}", flush=True)
    if wrong or options.keep:
        sys.exit(f"wrong: {', '.join(wrong) or 'nothing'}; logs in {options.work}")
    subprocess.run(["rm", "-rf", options.work], check=True)


main()
