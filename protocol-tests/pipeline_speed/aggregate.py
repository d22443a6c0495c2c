"""Three aggregators over one topic, each in a process of its own: the table, and whether the ratios are those asked for.

aggregate.py MILENA BOOTSTRAP [EVENTS]
"""

import json
import os
import subprocess
import sys
import time

binary, bootstrap = sys.argv[1:3]
events = int(sys.argv[3]) if len(sys.argv) > 3 else 2_000_000
here = os.path.dirname(os.path.abspath(__file__))
topic = f"speed-{os.getpid()}"
# A commit a record is slow: the original gets fewer of the same records, and still takes the longest.
few = min(events, 20_000)


def run(*command):
    """Its last line as JSON, and seconds by the clock and of CPU."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - start
    if child.returncode:
        sys.exit(f"{command} exited with {child.returncode}")
    return json.loads(out.splitlines()[-1]), took, usage.ru_utime + usage.ru_stime


def milena(*arguments):
    return run(binary, *arguments, "-b", bootstrap, "-t", topic)


def python(name, count):
    return run(sys.executable, os.path.join(here, f"aggregate_{name}.py"), bootstrap, topic, str(count))


_, wall, cpu = milena("clickstream", "--count", str(events), "--start", "2024-01-15T14:30:00Z", "-X", "compression.type=lz4")
print(f"{'':<22} {'events':>9} {'events/s':>10} {'CPU us/event':>13}   milena is faster, by clock and by CPU")


def line(name, count, wall, cpu, to=None):
    """The times an event takes by the clock and of CPU in microseconds, and how many of ours those are."""
    takes = (wall / count * 1e6, cpu / count * 1e6)
    times = tuple(their / our for their, our in zip(takes, to)) if to else ()
    text = ", ".join(f"{ratio:.1f} times" for ratio in times)
    print(f"{name:<22} {count:>9} {count / wall:>10.0f} {takes[1]:>13.3f}   {text}", flush=True)
    return takes, times


line("clickstream", events, wall, cpu)
ours, wall, cpu = milena("aggregate", "--windows", "gmv_1m,views_1m", "--until-end", "--group", f"{topic}.speed")
our, _ = line("milena aggregate", events, wall, cpu)
batched, wall, cpu = python("batched", events)
_, (to_batched, _) = line("Python, batched", batched["read"], wall, cpu, our)
original, wall, cpu = python("original", few)
_, (to_original, _) = line("Python, the original", original["read"], wall, cpu, our)

cents = ours["gmv"]["gmv_1m"]["stream_cents"]
faults = []
if ours["read"] != events or cents != batched["gmv_cents"]:
    faults.append(f"the sums differ: {cents} of {ours['read']} events, {batched['gmv_cents']} of {batched['read']}")
if our[1] > 2.0:
    faults.append(f"an event costs {our[1]:.2f} us of CPU: more than 2, so less than 500,000 a second and core")
if to_batched < 5:
    faults.append(f"only {to_batched:.1f} times the batched one, and not 5")
if to_original < 20:
    faults.append(f"only {to_original:.1f} times the original, and not 20")
sys.exit("\n".join(faults) or 0)
