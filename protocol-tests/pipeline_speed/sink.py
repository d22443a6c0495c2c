"""Three sinks side by side, on one Kafka and one PostgreSQL: milena's, and sink_python.py's three.

  sink.py MILENA BOOTSTRAP [ROWS]        # POSTGRES_URL names the database

Two inputs: purchases only, and clickstream's mix with its tenth of purchases. Rows per second are those of the tables:
`created_at` is when each row's transaction began, so joining the group is nobody's time, and the last transaction's rows
are not counted. CPU is the program's own, start and end included, and the database's (of a server on this machine), which
other work beside it leaves as it is. Ends with 1 if milena's sink is not at least 50,000 rows
per second and a hundred times the original on purchases, whose commits are waited for; without that wait it is only told.
"""
import json, os, random, resource, subprocess, sys, time, uuid
import psycopg2

MILENA, BOOTSTRAP, URL = *sys.argv[1:3], os.environ["POSTGRES_URL"]
RECORDS = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
HERE = os.path.dirname(os.path.abspath(__file__))
TABLES = "DROP TABLE IF EXISTS purchase_orders, kafka_sink_offsets"
DDL = """CREATE TABLE purchase_orders(id SERIAL PRIMARY KEY, kafka_offset BIGINT NOT NULL, event_id VARCHAR(50) UNIQUE NOT NULL,
  user_id INT NOT NULL, product_id VARCHAR(20) NOT NULL, price DECIMAL(10,2) NOT NULL, purchase_time TIMESTAMPTZ NOT NULL,
  created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP); CREATE INDEX ON purchase_orders(purchase_time)"""
RATE = """SELECT count(*), extract(epoch FROM max(created_at) - min(created_at))::float8,
  count(*) FILTER (WHERE created_at < (SELECT max(created_at) FROM purchase_orders)) FROM purchase_orders"""


def milena(*args, **options):
    return subprocess.run([MILENA, *args], check=True, **options)


def make_purchases(topic):
    numbers, now = random.Random(7), time.time()
    feeder = subprocess.Popen([MILENA, "clickstream", "-b", BOOTSTRAP, "-t", topic, "--file", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, text=True)
    for at in range(RECORDS):
        instant = now - (RECORDS - at) / 1000
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant)) + f".{int(instant * 1e6) % 1_000_000:06}Z"
        feeder.stdin.write(f'{{"event_id":"{uuid.UUID(int=numbers.getrandbits(128), version=4)}","user_id":{numbers.randint(1000, 9999)},'
                           f'"event_type":"purchase","product_id":"Laptop_X1","timestamp":"{timestamp}",'
                           f'"price":{numbers.randint(1000, 200_000) / 100:.2f}}}\n')
    feeder.stdin.close()
    assert feeder.wait() == 0, "the input was not written"


def query(sql):
    connection = psycopg2.connect(URL)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone() if cursor.description else None
    connection.close()
    return row


def database_cpu():
    """Seconds of CPU of the server and what it has started; 0 if it is another machine's."""
    postmaster = int(query("SELECT pg_read_file('postmaster.pid')")[0].split()[0])
    ticks = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if postmaster in (int(pid), int(fields[1])):
            ticks += sum(map(int, fields[11:15] if int(pid) == postmaster else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(name, command):
    query(TABLES)
    query(DDL)
    query("CHECKPOINT")
    database = database_cpu()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    database = database_cpu() - database
    rows, seconds, counted = query(RATE)
    rate = counted / seconds if seconds else 0.0
    cost = lambda seconds: round(seconds / max(rows, 1) * 1e6, 2)
    print(json.dumps({"sink": name, "rows": rows, "rows_per_s": round(rate), "cpu_us_per_row": cost(cpu),
                      "database_cpu_us_per_row": cost(database)}), flush=True)
    return rate


def main():
    run = int(time.time())
    pure, mix = f"sink-speed-{run}-purchases", f"sink-speed-{run}-mix"
    for topic in (pure, mix):
        milena("topics", "-b", BOOTSTRAP, "create", topic, "--partitions", "6", "-c", "retention.ms=-1", stdout=subprocess.DEVNULL)
    make_purchases(pure)
    milena("clickstream", "-b", BOOTSTRAP, "-t", mix, "--count", str(RECORDS * 2), "--seed", "5", stdout=subprocess.DEVNULL)

    def ours(topic):
        return [MILENA, "sink", "-b", BOOTSTRAP, "-t", topic, "--to", URL, "--until-end"]

    def theirs(mode, topic, rows, *rest):
        return [sys.executable, f"{HERE}/sink_python.py", mode, BOOTSTRAP, topic, URL, str(rows), *rest]

    fast = measure("milena, purchases", ours(pure))
    batched = measure("batched Python, purchases", theirs("batch", pure, RECORDS))
    original = measure("original Python, purchases", theirs("record", pure, RECORDS, "20"))
    unwaited = measure("original Python, Kafka's commits not waited for", theirs("unwaited", pure, RECORDS, "20"))
    measure("milena, mix", ours(mix))
    in_mix = query("SELECT count(*) FROM purchase_orders")[0]
    measure("batched Python, mix", theirs("batch", mix, in_mix))
    measure("original Python, mix", theirs("record", mix, in_mix, "20"))
    for topic in (pure, mix):
        milena("topics", "-b", BOOTSTRAP, "delete", topic, stdout=subprocess.DEVNULL)
        milena("topics", "-b", BOOTSTRAP, "delete", f"{topic}.dlq", stdout=subprocess.DEVNULL)
    print(f"milena's sink: {fast:,.0f} rows/s, {fast / original:,.0f} times the original ({fast / unwaited:,.0f} times without the wait "
          f"for Kafka's commits), {fast / batched:.1f} times the batched one")
    sys.exit(fast < 50_000 or fast < 100 * original)


main()
