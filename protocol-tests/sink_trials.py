"""The sink through everything that may befall it, judged from outside: the tables must be what the input says.

  sink_trials.py MILENA [--bootstrap B] [--kills N] [TRIAL...]

Trials (all by default):
  outage   PostgreSQL is away for 30 s, longer than max.poll.interval.ms (10 s): no rebalance, memory flat, goes on by itself
  commit   a proxy cuts the connection after COMMIT was sent: before it is carried out, and after, without its answer
  zombie   a sink is stopped for twice its session timeout while a second one takes over: woken it writes nothing and says why
  kills    kill -9 N times at random instants, each after a commit: purchases and windows, PostgreSQL and embedded
PostgreSQL is postgres.sh's; without a bootstrap address `milena broker` is started. Needs confluent-kafka and psycopg2
(protocol-tests/venv).
"""
import argparse, json, os, random, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time, uuid
from decimal import Decimal
import psycopg2
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HERE = os.path.dirname(os.path.abspath(__file__))
PARTITIONS = 6
SESSION = 6  # seconds: the sink's own default


def fail(text):
    raise AssertionError(text)


def wait(what, condition, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            fail(f"waited {seconds} s for {what}")
        time.sleep(0.05)


class World:
    """A broker, a database, and what is started in a trial."""

    def __init__(self, milena, bootstrap):
        self.milena, self.bootstrap, self.started = milena, bootstrap, []
        self.work = tempfile.mkdtemp(prefix="sink-trials.")
        os.chmod(self.work, 0o755)
        self.env = dict(os.environ, PG_DIR=f"{self.work}/pg", RUST_LOG="milena=info", NO_COLOR="1")
        if not bootstrap:
            broker = subprocess.Popen([milena, "broker", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
            self.started.append(broker)
            self.bootstrap = broker.stdout.readline().strip().removeprefix("BOOTSTRAP=")
        self.url = self.postgres("start").strip()

    def postgres(self, *args):
        # To a file: the server that it starts would keep a pipe open.
        with open(f"{self.work}/postgres.out", "w+") as out:
            subprocess.run([f"{HERE}/postgres.sh", *args], env=self.env, stdout=out, check=True)
            out.seek(0)
            return out.read()

    def query(self, sql, *args):
        connection = psycopg2.connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall()
        finally:
            connection.close()

    def topic(self, name, partitions):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(name, partitions, 1, config={"retention.ms": "-1"})]).values():
            future.result()

    def sink(self, topic, to, *args):
        log = tempfile.NamedTemporaryFile("w", prefix="sink.", suffix=".log", dir=self.work, delete=False)
        command = [self.milena, "sink", "-b", self.bootstrap, "-t", topic, "--to", to, *args]
        sink = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=self.env, text=True)
        sink.log = log.name
        self.started.append(sink)
        return sink

    def to_the_end(self, topic, to, *args):
        """A last run, which finds what is left and ends; its receipt."""
        sink = self.sink(topic, to, "--until-end", *args)
        out, _ = sink.communicate(timeout=120)
        if sink.returncode:
            fail(f"--until-end gave {sink.returncode}: {log(sink)}")
        return json.loads(out.splitlines()[-1])

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
        subprocess.run([f"{HERE}/postgres.sh", "wipe"], env=self.env, check=False)
        shutil.rmtree(self.work, ignore_errors=True)


def log(sink):
    with open(sink.log) as lines:
        return lines.read()


class Feed(threading.Thread):
    """Purchases among other events, some of them twice, at a steady rate; knows what the tables must hold."""

    def __init__(self, world, topic, rate=2000, seed=1):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": world.bootstrap, "acks": "all", "linger.ms": 5})
        self.topic, self.rate, self.numbers = topic, rate, random.Random(seed)
        self.expected, self.sent, self.over = {}, 0, threading.Event()

    def run(self):
        began = time.monotonic()
        while not self.over.is_set():
            while self.sent < (time.monotonic() - began) * self.rate:
                self.one()
            self.producer.poll(0)
            time.sleep(0.005)
        self.producer.flush()

    def one(self):
        n = self.numbers
        kind, price = n.choices(["purchase", "view"], [7, 3])[0], Decimal(n.randint(1000, 200_000)) / 100
        if kind == "view" or n.random() < 0.1:
            price = None
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1e6) % 1_000_000:06}Z"
        event, user = str(uuid.UUID(int=n.getrandbits(128), version=4)), n.randint(1000, 9999)
        value = (f'{{"event_id":"{event}","user_id":{user},"event_type":"{kind}","product_id":"Laptop_X1","timestamp":"{stamp}",'
                 f'"price":{"null" if price is None else price}}}')
        for _ in range(2 if n.random() < 0.01 else 1):
            self.producer.produce(self.topic, value, str(user), partition=user % PARTITIONS)
            self.sent += 1
        if price is not None:
            self.expected[event] = price

    def stop(self):
        self.over.set()
        self.join()


class Windows(Feed):
    """Rows of T.final; a window may come again, and the last one counts."""

    def one(self):
        n = self.numbers
        window, start, key = "views_1m", n.randint(0, 2000) * 60_000, n.choice(["Laptop_X1", "Phone_Y2", None])
        count, cents = n.randint(1, 1000), n.randint(0, 10**9)
        row = {"job": "g", "window": window, "start_ms": start, "end_ms": start + 60_000, "key": key, "count": count, "sum_cents": cents}
        self.producer.produce(self.topic, json.dumps(row), f"{window}|{start}|{key or ''}", partition=0)
        self.sent += 1
        self.expected[(window, start, key or "")] = (count, cents)


def tables(world, to, what):
    """What the tables hold, and the sum of the positions."""
    if to.startswith("embedded:"):
        out = subprocess.run([world.milena, "query", to.removeprefix("embedded:")], check=True, capture_output=True, text=True).stdout
        rows, position = {}, 0
        for line in map(json.loads, out.splitlines()):
            row = line.get("row", {})
            if line["table"] == "purchase_orders" and row:
                rows[row["event_id"]] = Decimal(row["price"])
            elif line["table"] == "window_results" and row:
                rows[(row["window_name"], row["start_ms"], row["key"])] = (row["count"], row["sum_cents"])
            elif line["table"] == "kafka_sink_offsets" and row:
                position += row["next_offset"]
        return rows, position
    if what == "purchases":
        rows = dict(world.query("SELECT event_id, price FROM purchase_orders"))
    else:
        rows = {row[:3]: row[3:] for row in world.query("SELECT window_name, start_ms, key, count, sum_cents FROM window_results")}
    return rows, int(world.query("SELECT coalesce(sum(next_offset), 0) FROM kafka_sink_offsets")[0][0])


def judge(world, feed, to, what="purchases"):
    rows, position = tables(world, to, what)
    missing, foreign = feed.expected.keys() - rows.keys(), rows.keys() - feed.expected.keys()
    if missing or foreign or rows != feed.expected:
        wrong = sum(rows.get(key) != value for key, value in feed.expected.items())
        fail(f"{len(missing)} rows are missing, {len(foreign)} nobody sent, {wrong} are wrong")
    if position != feed.sent:
        fail(f"the positions are at {position} of {feed.sent}")


def fresh(world, name):
    world.query("SELECT 1")
    connection = psycopg2.connect(world.url)
    connection.autocommit = True
    connection.cursor().execute("DROP TABLE IF EXISTS purchase_orders, window_results, kafka_sink_offsets")
    connection.close()
    topic = f"sink-trial-{name}-{int(time.time())}"
    world.topic(topic, PARTITIONS)
    return topic


def position(world):
    try:
        return int(world.query("SELECT coalesce(sum(next_offset), 0) FROM kafka_sink_offsets")[0][0])
    except psycopg2.Error:
        return 0


def owners(world):
    return sorted(row[0] for row in world.query("SELECT owner FROM kafka_sink_offsets"))


def memory(sink):
    with open(f"/proc/{sink.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) // 1024


def end_in_order(sink):
    sink.send_signal(signal.SIGTERM)
    sink.wait(timeout=30)
    if sink.returncode:
        fail(f"SIGTERM is an orderly end, and it gave {sink.returncode}: {log(sink)}")


def outage(world, _):
    topic = fresh(world, "outage")
    feed = Feed(world, topic)
    feed.start()
    sink = world.sink(topic, world.url, "-X", "max.poll.interval.ms=10000")
    wait("a sink at work", lambda: position(world) > 10_000)
    before, most = memory(sink), 0
    world.postgres("stop", "immediate")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        most = max(most, memory(sink))
        time.sleep(0.5)
    if sink.poll() is not None:
        fail(f"the sink ended with the database: {log(sink)}")
    world.postgres("start")
    wait("the sink to go on by itself", lambda: position(world) > feed.sent - 5_000)
    world.postgres("restart", "immediate")  # in mid batch
    was = feed.sent
    wait("the sink to go on again", lambda: position(world) > was)
    feed.stop()
    wait("the rest", lambda: position(world) == feed.sent)
    after, told = memory(sink), log(sink)
    end_in_order(sink)
    judge(world, feed, world.url)
    if owners(world) != [1] * PARTITIONS:
        fail(f"there was a rebalance: the partitions were claimed {owners(world)} times")
    if max(most, after) > before + 64:
        fail(f"memory grew from {before} MB to {most} MB in the outage, {after} MB after it")
    lines = [line for line in told.splitlines() if "the database" in line]
    if not 2 <= len(lines) <= 8:
        fail(f"two outages are a few lines in the log, not {len(lines)}: {told}")
    return f"{len(feed.expected):,} rows, no rebalance, {before} MB before, {most} MB in the outage, {after} MB after"


class Proxy(threading.Thread):
    """Between sink and database: cuts some connections at a COMMIT, before it is carried out or without its answer."""

    def __init__(self, url, seed=3):
        super().__init__(daemon=True)
        self.to = int(re.search(r":(\d+)/", url).group(1))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self.to}/", f":{self.listener.getsockname()[1]}/")
        self.numbers, self.cuts, self.honest = random.Random(seed), {"before": 0, "after": 0}, threading.Event()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(("127.0.0.1", self.to))
        silent = threading.Event()

        def answers():
            while data := receive(server):
                if silent.is_set():
                    break  # COMMIT's answer: it has been carried out
                client.sendall(data)
            close(client, server)

        threading.Thread(target=answers, daemon=True).start()
        try:
            server.sendall(message(client, startup=True))
            while data := message(client):
                if data[:1] == b"Q" and data[5:-1] == b"COMMIT" and not self.honest.is_set() and self.numbers.random() < 0.3:
                    if self.numbers.random() < 0.5:
                        self.cuts["before"] += 1
                        break
                    self.cuts["after"] += 1
                    silent.set()
                server.sendall(data)
        except OSError:
            pass
        if not silent.is_set():
            close(client, server)


def receive(source, most=65536):
    try:
        return source.recv(most)
    except OSError:
        return b""


def message(source, startup=False):
    """One message of a client; its first has no type."""
    head = exactly(source, 4 if startup else 5)
    return head and head + exactly(source, struct.unpack("!I", head[-4:])[0] - 4)


def exactly(source, n):
    data = b""
    while len(data) < n:
        more = receive(source, n - len(data))
        if not more:
            return b""
        data += more
    return data


def close(*sockets):
    for end in sockets:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


def commit(world, _):
    topic, proxy = fresh(world, "commit"), Proxy(world.url)
    proxy.start()
    feed = Feed(world, topic)
    feed.start()
    proxy.honest.set()
    sink = world.sink(topic, proxy.url, "--batch", "200")
    wait("a sink at work", lambda: position(world) > 0)  # a claim whose answer is lost is made again
    proxy.honest.clear()
    wait("enough cuts", lambda: min(proxy.cuts.values()) >= 15, 180)
    feed.stop()
    proxy.honest.set()
    wait("the rest", lambda: position(world) == feed.sent)
    end_in_order(sink)
    receipt = json.loads(sink.stdout.read().splitlines()[-1])
    judge(world, feed, world.url)
    if owners(world) != [1] * PARTITIONS:
        fail(f"there was a rebalance: the partitions were claimed {owners(world)} times")
    if not receipt["balanced"] or receipt["kept"] != len(feed.expected) or receipt["read"] != feed.sent:
        fail(f"the receipt does not count as the input does ({len(feed.expected)} of {feed.sent}): {receipt}")
    return f"{len(feed.expected):,} rows and a balanced receipt over {proxy.cuts['before']} commits lost and {proxy.cuts['after']} answers lost"


def zombie(world, _):
    topic = fresh(world, "zombie")
    feed = Feed(world, topic)
    feed.start()
    first = world.sink(topic, world.url, "--batch", "500")
    wait("the first sink", lambda: position(world) > 5_000)
    first.send_signal(signal.SIGSTOP)
    stopped = position(world)
    second = world.sink(topic, world.url, "--batch", "500")
    time.sleep(2 * SESSION)
    wait("the second sink to take over", lambda: position(world) > stopped + 5_000)
    held = dict(world.query("SELECT part, owner FROM kafka_sink_offsets"))
    first.send_signal(signal.SIGCONT)
    wait("the zombie to say why", lambda: re.search("another sink has claimed|not a member|lost|UNKNOWN_MEMBER|unknown member", log(first), re.I), 30)
    was = position(world)
    wait("both to go on", lambda: position(world) > was + 5_000)
    feed.stop()
    wait("the rest", lambda: position(world) == feed.sent)
    end_in_order(first)
    end_in_order(second)
    judge(world, feed, world.url)
    why = next(line for line in log(first).splitlines() if re.search("another sink|member|lost", line, re.I))
    return f"{len(feed.expected):,} rows; owners {sorted(held.values())} before it woke, {owners(world)} at the end; it said: {why[-120:]}"


def committed(world, group, topic, partitions):
    """The offsets in Kafka, which the sink writes behind its commits: how an embedded sink is seen from outside."""
    consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(topic, at) for at in range(partitions)], timeout=10)
        return sum(max(at.offset, 0) for at in found)
    finally:
        consumer.close()


def kills(world, times):
    done = []
    for what in ("purchases", "windows"):
        for to in (world.url, f"embedded:{world.work}/{what}.redb"):
            done.append(kill_again_and_again(world, what, to, times))
    return "; ".join(done)


def kill_again_and_again(world, what, to, times):
    topic, numbers = fresh(world, f"kills-{what}"), random.Random(5)
    partitions = PARTITIONS
    feed = Feed(world, topic)
    if what == "windows":
        world.topic(f"{topic}.final", 1)
        feed, partitions = Windows(world, f"{topic}.final"), 1
    group = f"{topic}.sink" + (".windows" if what == "windows" else "")
    if to.startswith("embedded:"):
        seen = lambda: committed(world, group, feed.topic, partitions)
    else:
        seen = lambda: position(world)
    feed.start()
    for victim in range(times):
        # Most come back under their name, a quarter as strangers that the group has to miss first.
        name = ["--instance", "one"] if victim < times - times // 4 else []
        before = seen()
        sink = world.sink(topic, to, "--what", what, "--batch", "100", *name)
        wait(f"victim {victim} to commit", lambda: seen() > before)
        time.sleep(numbers.random() * 0.5)
        sink.kill()
        sink.wait()
    feed.stop()
    world.to_the_end(topic, to, "--what", what)
    judge(world, feed, to, what)
    return f"{what} in {to.split(':')[0]}: {len(feed.expected):,} rows after {times} kills"


def main():
    trials = {"outage": outage, "commit": commit, "zombie": zombie, "kills": kills}
    parser = argparse.ArgumentParser()
    parser.add_argument("milena")
    parser.add_argument("--bootstrap")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("trials", nargs="*", default=list(trials), choices=list(trials))
    args = parser.parse_args()
    world = World(os.path.abspath(args.milena), args.bootstrap)
    try:
        for name in args.trials:
            began = time.monotonic()
            try:
                said = trials[name](world, args.kills)
            except BaseException:
                for process in world.started:
                    if hasattr(process, "log"):
                        print(f"--- {process.log}\n{log(process)[-3000:]}", file=sys.stderr)
                raise
            print(f"{name} ({time.monotonic() - began:.0f} s): {said}", flush=True)
    finally:
        world.close()


main()
