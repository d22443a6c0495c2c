"""Runs the demo, presses its buttons in a browser, and holds what the page shows against /metrics and the topics.

    trial.py MILENA PORT DIRECTORY-FOR-SCREENSHOTS
"""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from browser import Browser

TOPIC = "user-behavior-events"


def check(holds, what):
    if not holds:
        raise AssertionError(what)
    print(f"ok: {what}", flush=True)


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read().decode()


def status(url, method, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def samples(text):
    """Of Prometheus's text: (name, labels, value) of each line."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
    return found


def total(text, metric, **labels):
    wanted = labels.items()
    return sum(value for name, has, value in samples(text) if name == metric and wanted <= has.items())


def most(text, metric, **labels):
    wanted = labels.items()
    return max((value for name, has, value in samples(text) if name == metric and wanted <= has.items()), default=0)


def number(text):
    return float(text.replace(",", ""))


class Demo:
    def __init__(self, milena, port):
        command = [milena, "demo", "--json", "--rate", "400", "--http", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{port}/"
        self.milena = milena
        started = time.monotonic()
        while True:
            try:
                if "pipeline_records_total" in get(self.url + "metrics"):
                    break
            except OSError:
                pass
            if self.process.poll() is not None:
                raise AssertionError(f"the demo ended at once: {self.process.stderr.read()}")
            if time.monotonic() - started > 20:
                raise AssertionError("no numbers within 20 s")
            time.sleep(0.05)
        print(f"first numbers after {time.monotonic() - started:.1f} s", flush=True)

    def metrics(self):
        return get(self.url + "metrics")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=120)
        return json.loads(out.splitlines()[-1]), self.process.returncode, err


class Page:
    def __init__(self, browser):
        self.browser = browser

    def number(self, name):
        return number(self.browser.run(f"document.getElementById('{name}').textContent"))

    def snapshot(self):
        """What the page shows, and what it was made of, at one moment."""
        return self.browser.run("""(async () => {
            const text = (id) => document.getElementById(id).textContent;
            const [json, metrics] = await Promise.all(['/numbers.json', '/metrics'].map(async (path) => (await fetch(path)).text()));
            show(JSON.parse(json));
            const list = (id) => [...document.getElementById(id).children].map((node) => [...node.children].map((part) => part.textContent));
            return {
                json, metrics,
                read: text('read'), late: text('late'), dead: text('dead'), rows: text('rows'), lag: text('lag'), delay: text('delay'),
                db: text('db'), gmv: text('gmv-now'), gmv10: text('gmv10-now'), products: list('products'), users: list('users'),
                partitions: list('partitions'),
                stages: [...document.getElementById('stages').children].map((node) => node.textContent),
            };
        })()""")


def equal_to_metrics(page):
    """Two answers are of two moments: tried until nothing was committed in between."""
    for _ in range(50):
        shown = page.snapshot()
        text = shown["metrics"]
        dead = total(text, "pipeline_dlq_records_total")
        pairs = {
            "records": (number(shown["read"]), total(text, "pipeline_records_total", stage="aggregate")),
            "late events": (number(shown["late"]), most(text, "pipeline_late_records_total")),
            "dead letters": (number(shown["dead"]), dead),
            "rows": (number(shown["rows"]), total(text, "pipeline_sink_rows_total", result="written")),
            "lag": (number(shown["lag"]), sum(v for n, l, v in samples(text) if n == "kafka_consumergroup_group_lag" and "aggregate" in l["group"])),
            "the minute's GMV": (number(shown["gmv"]) * 100, most(text, "pipeline_window_sum_cents", window="gmv_1m", state="final") or most(text, "pipeline_window_sum_cents", window="gmv_1m", state="open")),
            "the ten seconds' GMV": (number(shown["gmv10"]) * 100, most(text, "pipeline_window_sum_cents", window="gmv_10s", state="final")),
        }
        for name, window in (("products", "views_10s"), ("users", "users_10s")):
            on_page = {key.removeprefix("user "): number(count) for key, count in shown[name]}
            pairs[f"top {name}"] = (on_page, {has["key"]: v for n, has, v in samples(text) if n == "pipeline_window_top" and has["window"] == window})
        for partition, records, *_ in shown["partitions"]:
            pairs[f"partition {partition}"] = (number(records), total(text, "pipeline_records_total", stage="aggregate", partition=partition))
        if all(abs(one - other) < 0.5 if isinstance(one, float) else one == other for one, other in pairs.values()):
            check(len(shown["partitions"]) == 6 and len(shown["products"]) == 3 and len(shown["users"]) == 10, "six partitions, three products, ten users")
            for name, (value, _) in pairs.items():
                print(f"ok: {name} as in /metrics: {value}")
            return shown
    raise AssertionError(f"the page and /metrics differ: {pairs}")


def consumed(demo, topic, isolation="read_committed"):
    bootstrap = json.loads(get(demo.url + "numbers.json"))["demo"]["bootstrap"]
    command = [demo.milena, "consume", "-b", bootstrap, "-t", topic, "--json", "--from-beginning", "-e", "-X", f"isolation.level={isolation}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return [json.loads(line) for line in lines]


def equal_to_topics(demo, page):
    """What is final on the page is on T.final, byte for byte."""
    shown = json.loads(page.snapshot()["json"])
    on_topic = {}
    for record in consumed(demo, f"{TOPIC}.final"):
        row = json.loads(record["payload"])
        if row.get("key", "") is None:
            on_topic[row["window"], row["start_ms"]] = (row["count"], row["sum_cents"])
    finals = [row for row in shown["windows"] if row["is_final"]]
    check(finals and all(on_topic.get((row["window"], row["start_ms"])) == (row["count"], row["sum_cents"]) for row in finals), f"{len(finals)} final windows of the page as on {TOPIC}.final")
    tops = {}
    for record in consumed(demo, f"{TOPIC}.final"):
        if record["key"].endswith("#top"):
            row = json.loads(record["payload"])
            tops[row["window"], row["start_ms"]] = row["top"]
    check(all(tops[top["window"], top["start_ms"]] == top["top"] for top in shown["tops"]), "the lists of greatest counts as on the topic")
    for _ in range(20):
        before = total(demo.metrics(), "pipeline_dlq_records_total")
        records = len(consumed(demo, f"{TOPIC}.dlq"))
        if total(demo.metrics(), "pipeline_dlq_records_total") == before == records:
            break
    check(before == records, f"{records} dead letters on the page and on {TOPIC}.dlq")


def main():
    milena, port, pictures = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    demo = Demo(milena, port)
    browser = Browser()
    try:
        trial(demo, browser, pictures)
    finally:
        browser.close()
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def trial(demo, browser, pictures):
    page = Page(browser)
    browser.look(1280)
    opened = time.monotonic()
    browser.open(demo.url)
    browser.until("document.getElementById('read').textContent !== '–' && document.getElementById('read').textContent !== '0'", what="numbers move")
    print(f"numbers on the page {time.monotonic() - opened:.1f} s after it was opened")
    checked = subprocess.run(["promtool", "check", "metrics"], input=demo.metrics(), text=True, capture_output=True)
    check(checked.returncode == 0, f"promtool check metrics {checked.stdout}{checked.stderr}")
    browser.until("document.querySelectorAll('#users li').length === 10 && document.querySelectorAll('#products li').length === 3", 60, "a closed window's lists")
    # The nodes that are there now have to be there at the end: nothing is made anew.
    browser.run("window.kept = [...document.querySelectorAll('#users li, #partitions td, #gmv rect, #stages li, dd')]; true")
    equal_to_metrics(page)

    check(status(demo.url + "demo/kill", "POST") == 403, "a kill without an origin is refused")
    check(status(demo.url + "demo/kill", "POST", Origin="http://evil.example") == 403, "and from another page")
    for kill in (1, 2, 3):
        before = page.number("read")
        browser.run("document.getElementById('kill').click(); true")
        is_dead = f"fetch('/numbers.json').then((answer) => answer.json()).then((numbers) => numbers.demo.kills === {kill})"
        browser.until(is_dead, what=f"kill {kill}")
        browser.until(f"Number(document.getElementById('read').textContent.replaceAll(',', '')) > {before + 200}", 60, "a new aggregator goes on")
        check(page.number("read") >= before, f"kill {kill}: the numbers go on from {before:.0f}")
    equal_to_metrics(page)

    rows = page.number("rows")
    browser.run("document.getElementById('away').focus(); document.getElementById('away').click(); true")
    browser.until("document.getElementById('db').textContent === 'database away'", 30)
    check(browser.run("document.getElementById('away').getAttribute('aria-checked')") == "true", "the switch says so")
    check(status(demo.url + "readyz", "GET") == 503, "/readyz says that the database is away")
    check("database does not answer" in body(demo.url + "readyz"), "and why")
    check(status(demo.url + "healthz", "GET") == 200, "/healthz does not ask for a restart")
    away = page.number("rows")
    browser.screenshot(f"{pictures}/database-away.png")
    time.sleep(2)
    check(page.number("rows") == away >= rows, "no row is written meanwhile")
    browser.run("document.getElementById('away').click(); true")
    browser.until("document.getElementById('db').textContent === 'database up'", 30)
    browser.until(f"Number(document.getElementById('rows').textContent.replaceAll(',', '')) > {away}", 30, "rows go on")
    check(status(demo.url + "readyz", "GET") == 200, "/readyz is content")

    equal_to_topics(demo, page)
    check(browser.run("window.kept.every((node) => node.isConnected)"), "all nodes are those that were there before")
    for width in (1280, 360):
        for dark in (False, True):
            browser.look(width, 1000, dark)
            time.sleep(0.6)
            name = f"{'dark' if dark else 'light'}-{width}"
            check(browser.run("document.documentElement.scrollWidth") <= width, f"{name}: nothing sticks out")
            check(not contrasts(browser), f"{name}: text can be read {contrasts(browser)}")
            browser.screenshot(f"{pictures}/{name}.png")
    check(not unlabelled(browser), f"everything that can be pressed or is a picture has a name {unlabelled(browser)}")
    order = tabs(browser)
    check(order[:2] == ["kill", "away"], f"the keyboard reaches the buttons first: {order}")

    receipt, code, said = demo.end()
    print(json.dumps(receipt))
    check(receipt["balanced"] and code == 0, "the receipt balances")
    # What the page had last is what was true then.
    check(page.number("read") <= receipt["read"], "the page never showed more than there was")
    browser.until("document.getElementById('phase').textContent.includes('ended')", 20)
    foreign = [url for url in browser.requests if not url.startswith((demo.url, "data:"))]
    check(not foreign, f"no request goes elsewhere {foreign}")
    # The server is gone: that is told once by the browser for each attempt.
    console = [line for line in browser.console if "ERR_CONNECTION_REFUSED" not in line and "Failed to fetch" not in line]
    check(not console, f"the console is silent {console}")
    logged = [line for line in said.splitlines() if " WARN " in line or " ERROR " in line]
    print("\n".join(logged))
    check("panicked" not in said and len(logged) <= 12, "the demo's log is short")


def body(url):
    """Of any status."""
    try:
        return get(url)
    except urllib.error.HTTPError as error:
        return error.read().decode()


def contrasts(browser):
    """Texts whose contrast to what is behind them is below 4.5 (WCAG AA)."""
    return browser.run("""(() => {
        const parse = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
        const behind = (node) => { for (; node; node = node.parentElement) { const color = parse(getComputedStyle(node).backgroundColor); if (color.length === 3 || color[3] > 0) return color; } return [255, 255, 255]; };
        const poor = [];
        for (const node of document.querySelectorAll('h1, h2, p, dt, dd, li, th, td, button, a, span')) {
            if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) || !node.getClientRects().length) continue;
            const [one, other] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
            const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            if (ratio < 4.5) poor.push(`${node.tagName} ${node.id} ${node.textContent.slice(0, 20)}: ${ratio.toFixed(2)}`);
        }
        return poor;
    })()""")


def unlabelled(browser):
    return browser.run("""[...document.querySelectorAll('button, a, svg, section, [role=region]')]
        .filter((node) => !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby') && !node.textContent.trim())
        .map((node) => node.outerHTML.slice(0, 80))""")


def tabs(browser):
    # From the top of the page on, wherever the focus was last.
    browser.run("const head = document.querySelector('h1'); head.tabIndex = -1; head.focus(); true")
    order = []
    for _ in range(5):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        order.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
    return order


if __name__ == "__main__":
    main()
