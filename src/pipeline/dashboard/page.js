// Asks /numbers.json twice a second and puts what has changed into nodes that stay: nothing is made anew, nothing flickers.
"use strict";

const EVERY = 500;
const KEPT = 240; // two minutes
const BARS = 15;
const STAGES = ["clickstream", "aggregate", "merge", "sink"];
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function attribute(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}
function drawn(parent, name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return parent.appendChild(node);
}
const clock = (ms, digits = 16) => new Date(ms).toISOString().slice(11, digits);
const dollars = (cents) => money.format(cents / 100);
const seconds = (n) => (n === undefined ? "–" : `${tenth.format(n)} s`);

// Numbers of one metric, those whose labels are these.
function samples(numbers, name, labels = {}) {
  const wanted = Object.entries(labels);
  return (numbers.metrics[name] || []).filter((sample) => wanted.every(([key, value]) => sample[key] === value));
}
function sum(numbers, name, labels) {
  return samples(numbers, name, labels).reduce((total, sample) => total + sample.value, 0);
}
function most(numbers, name, labels) {
  const values = samples(numbers, name, labels).map((sample) => sample.value);
  return values.length ? Math.max(...values) : undefined;
}

// A list whose nodes are kept: `make` is called for what is new, `fill` for all.
function keep(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, at) => {
    if (!parent.children[at]) parent.appendChild(make());
    fill(parent.children[at], item);
  });
}

// Bars of one kind of window; the open ones look it.
class Bars {
  constructor(name, digits, step) {
    Object.assign(this, { name, digits, step });
    this.svg = byId(name);
    for (const y of [20, 85, 150]) drawn(this.svg, "line", { class: "grid", x1: 0, x2: 640, y1: y, y2: y });
    this.top = drawn(this.svg, "text", { x: 0, y: 14 });
    const width = 640 / BARS;
    this.bars = Array.from({ length: BARS }, (_, at) => {
      const rect = drawn(this.svg, "rect", { x: at * width + 4, width: width - 8, y: 150, height: 0, rx: 3 });
      const title = drawn(rect, "title");
      // The newest one's text is longer than its bar is wide: it ends where the chart does.
      const last = at === BARS - 1;
      const place = last ? { x: 636, "text-anchor": "end" } : { x: at * width + width / 2, "text-anchor": "middle" };
      const text = drawn(this.svg, "text", { ...place, y: 170 });
      return { rect, title, text };
    });
  }
  show(windows) {
    // One bar an interval, also where there was nothing; the newest at the right.
    const byStart = new Map(windows.map((row) => [row.start_ms, row]));
    const newest = Math.max(...byStart.keys());
    const rows = this.bars.map((_, at) => byStart.get(newest - (BARS - 1 - at) * this.step));
    const top = Math.max(1, ...rows.map((row) => (row ? row.sum_cents : 0)));
    put(this.top, whole.format(top / 100));
    this.bars.forEach(({ rect, title, text }, at) => {
      const row = rows[at];
      const height = row ? Math.max(1, (130 * row.sum_cents) / top) : 0;
      attribute(rect, "y", (150 - height).toFixed(1));
      attribute(rect, "height", height.toFixed(1));
      attribute(rect, "class", row && row.is_final ? "final" : "open");
      put(title, row ? this.sentence(row) : "");
      put(text, row && at % 3 === 1 ? clock(row.start_ms, this.digits) : "");
    });
    const last = [...rows].reverse().find((row) => row && row.is_final) || rows[BARS - 1];
    put(byId(`${this.name}-now`), last ? dollars(last.sum_cents) : "–");
    put(byId(`${this.name}-note`), last ? `${clock(last.start_ms, this.digits)} UTC, ${whole.format(last.count)} purchases, ${last.is_final ? "final" : "still open"}` : "");
  }
  sentence(row) {
    const state = row.is_final ? "final" : "still open";
    return `${clock(row.start_ms, 19)} UTC: ${dollars(row.sum_cents)} of ${row.count} purchases, ${state}`;
  }
}

// A line of the last two minutes.
class Line {
  constructor(name, text) {
    this.area = drawn(byId(`${name}-line`), "path", { class: "area" });
    this.line = drawn(byId(`${name}-line`), "path", { class: "line" });
    this.most = byId(`${name}-most`);
    this.text = text;
    this.points = [];
  }
  add(value) {
    this.points.push(value);
    if (this.points.length > KEPT) this.points.shift();
    const known = this.points.filter((point) => point !== undefined);
    if (!known.length) return;
    const top = Math.max(...known, 1e-9) * 1.1;
    const step = 320 / (KEPT - 1);
    const from = KEPT - this.points.length;
    const first = ((from + this.points.findIndex((point) => point !== undefined)) * step).toFixed(1);
    const path = this.points
      .map((point, at) => (point === undefined ? "" : `${((from + at) * step).toFixed(1)},${(90 - (84 * point) / top).toFixed(1)}`))
      .filter(Boolean);
    attribute(this.line, "d", `M${path.join("L")}`);
    attribute(this.area, "d", `M${first},90L${path.join("L")}L320,90Z`);
    put(this.most, this.text(Math.max(...known)));
  }
}

const gmv = new Bars("gmv", 16, 60_000);
const gmv10 = new Bars("gmv10", 19, 10_000);
const rateLine = new Line("rate", (n) => whole.format(n));
const delayLine = new Line("delay", seconds);
let reads = []; // [time, total] of the last five seconds
let seen = []; // stages that have ever been there

function rate(numbers) {
  const read = sum(numbers, "pipeline_records_total", { stage: reading(numbers) });
  reads.push([numbers.now_ms, read]);
  while (reads.length > 2 && numbers.now_ms - reads[1][0] >= 5_000) reads.shift();
  const [[since, before]] = reads;
  const passed = (numbers.now_ms - since) / 1000;
  return { read, per_second: passed > 2 ? Math.max(0, (read - before) / passed) : undefined };
}

// Whose records are counted: the first stage here that reads.
function reading(numbers) {
  const here = ["aggregate", "merge", "sink"].find((stage) => samples(numbers, "pipeline_records_total", { stage }).length);
  return here || "aggregate";
}

function showStages(numbers) {
  for (const { stage } of numbers.stages) if (!seen.includes(stage)) seen.push(stage);
  const known = STAGES.filter((stage) => seen.includes(stage));
  keep(byId("stages"), known, () => document.createElement("li"), (node, name) => {
    const stage = numbers.stages.find((other) => other.stage === name);
    let [kind, text] = ["", name];
    if (!stage) [kind, text] = ["gone", name === "clickstream" ? `${name} done` : `${name} stopped`];
    else if (stage.db_up === false) [kind, text] = ["waits", `${name}: no database`];
    else if (!stage.joined && name !== "clickstream") [kind, text] = ["waits", `${name} joins`];
    attribute(node, "class", kind);
    put(node, text);
  });
}

function showTiles(numbers) {
  const { read, per_second } = rate(numbers);
  const stage = reading(numbers);
  put(byId("read"), whole.format(read));
  put(byId("rate"), per_second === undefined ? "–" : whole.format(per_second));
  rateLine.add(per_second);
  const group = (samples(numbers, "kafka_consumergroup_group_lag").find(({ group }) => group.includes(stage)) || {}).group;
  const labels = group ? { group } : {};
  put(byId("lag"), whole.format(sum(numbers, "kafka_consumergroup_group_lag", labels)));
  put(byId("lag-seconds"), seconds(most(numbers, "kafka_consumergroup_group_lag_seconds", labels)));
  const delay = most(numbers, "pipeline_watermark_delay_seconds");
  put(byId("delay"), seconds(delay));
  delayLine.add(delay);
  const late = most(numbers, "pipeline_late_records_total") || 0;
  put(byId("late"), whole.format(late));
  put(byId("late-share"), read ? `${((100 * late) / read).toFixed(2)} %` : "–");
  const dead = samples(numbers, "pipeline_dlq_records_total");
  put(byId("dead"), whole.format(dead.reduce((total, sample) => total + sample.value, 0)));
  const reasons = new Map();
  for (const { reason, value } of dead) reasons.set(reason, (reasons.get(reason) || 0) + value);
  const first = [...reasons].sort((one, other) => other[1] - one[1]).slice(0, 2);
  put(byId("dead-why"), first.length ? first.map(([reason, n]) => `${reason} ${whole.format(n)}`).join(", ") : "none");
  put(byId("rows"), whole.format(sum(numbers, "pipeline_sink_rows_total", { result: "written" })));
  const db = samples(numbers, "pipeline_sink_db_up");
  const up = db.every((sample) => sample.value === 1);
  attribute(byId("db"), "class", db.length ? `state ${up ? "up" : "away"}` : "state");
  put(byId("db"), db.length ? (up ? "database up" : "database away") : "no sink here");
}

function showTop(numbers, name, prefix) {
  const tops = numbers.tops.filter((top) => top.window.startsWith(prefix));
  const top = tops.sort((one, other) => other.start_ms - one.start_ms)[0];
  if (!top) return;
  put(byId(`${name}-note`), `${top.window} from ${clock(top.start_ms, 19)} UTC, final`);
  const first = Math.max(1, ...top.top.map((place) => place.count));
  const make = () => {
    const node = document.createElement("li");
    node.append(Object.assign(document.createElement("span"), { className: "name" }), document.createElement("span"));
    return node;
  };
  keep(byId(name), top.top, make, (node, place) => {
    put(node.children[0], name === "users" ? `user ${place.key}` : place.key);
    put(node.children[1], whole.format(place.count));
    node.style.setProperty("--share", `${((100 * place.count) / first).toFixed(1)}%`);
  });
}

function showPartitions(numbers) {
  const stage = reading(numbers);
  const records = samples(numbers, "pipeline_records_total", { stage }).sort((one, other) => one.partition - other.partition);
  const make = () => {
    const row = document.createElement("tr");
    for (let at = 0; at < 6; at += 1) row.appendChild(document.createElement("td"));
    return row;
  };
  keep(byId("partitions"), records, make, (row, { topic, partition, value }) => {
    const of = (name) => most(numbers, name, { topic, partition });
    const count = (n) => (n === undefined ? "–" : whole.format(n));
    const cells = [
      partition,
      whole.format(value),
      count(of("kafka_consumergroup_group_lag")),
      seconds(of("kafka_consumergroup_group_lag_seconds")),
      seconds(of("pipeline_watermark_delay_seconds")),
      count(of("pipeline_open_windows")),
    ];
    cells.forEach((text, at) => put(row.children[at], text));
  });
  const skew = most(numbers, "pipeline_partition_skew_ratio", { stage });
  put(byId("skew"), skew === undefined ? "" : `The busiest partition has ${skew.toFixed(2)} times the average's records.`);
}

function showDemo(numbers) {
  const demo = numbers.demo;
  byId("demo").hidden = !demo;
  if (!demo) return;
  put(byId("consume"), `milena consume -b ${demo.bootstrap} -t user-behavior-events.final --from-beginning`);
  attribute(byId("away"), "aria-checked", demo.database_away);
  if (demo.kills > 0) {
    const times = demo.kills === 1 ? "once" : `${demo.kills} times`;
    put(byId("demo-said"), `The aggregator was killed ${times}. The numbers didn't change: the end's receipt says so.`);
  }
}

function show(numbers) {
  put(byId("phase"), numbers.phase || "running");
  put(byId("clock"), `${clock(numbers.now_ms, 19)} UTC`);
  showStages(numbers);
  showTiles(numbers);
  const windows = (prefix) => numbers.windows.filter((row) => row.window === prefix);
  for (const [bars, name] of [[gmv, "gmv_1m"], [gmv10, "gmv_10s"]]) {
    const rows = windows(name);
    if (rows.length) bars.show(rows);
  }
  showTop(numbers, "products", "views");
  showTop(numbers, "users", "users");
  showPartitions(numbers);
  showDemo(numbers);
}

async function press(path) {
  const answer = await fetch(path, { method: "POST" });
  if (!answer.ok) put(byId("demo-said"), `That did not work: ${await answer.text()}`);
}
byId("kill").addEventListener("click", () => press("/demo/kill"));
byId("away").addEventListener("click", () => {
  press(byId("away").getAttribute("aria-checked") === "true" ? "/demo/database/back" : "/demo/database/away");
});

let gone = false;
async function turn() {
  try {
    const answer = await fetch("/numbers.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    show(await answer.json());
    gone = false;
  } catch (error) {
    if (!gone) put(byId("phase"), "the pipeline has ended, or can't be reached");
    gone = true;
  }
  setTimeout(turn, gone ? 2_000 : EVERY);
}
turn();
