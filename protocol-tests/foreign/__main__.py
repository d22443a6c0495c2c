"""Runs the checks of this package against a cluster, several at a time: most of them wait more than they work.

    python -m foreign BOOTSTRAP [--jobs N] [--list] [NAME-OR-PART-OF-ONE ...]

Prints a line per check with its time, and goes on when one fails.
"""

import argparse
import concurrent.futures
import sys
import time
import traceback

from foreign import harness

SUBJECTS = [
    "members", "tools", "applications", "clients", "transactions", "groups", "consumer_groups", "commits", "produce", "fetch", "list_offsets", "topics",
    "configs", "versions", "secured", "sasl_states",
]


def run(check):
    start = time.time()
    try:
        check()
        failure = None
    except BaseException:  # a SystemExit in a check is a failure of it too
        failure = traceback.format_exc()
    print(f"{'FAILED' if failure else 'ok'} {check.__name__} ({time.time() - start:.1f} s)", flush=True)
    return failure and (check.__name__, failure)


def main():
    arguments = argparse.ArgumentParser(prog="foreign")
    arguments.add_argument("bootstrap")
    arguments.add_argument("--jobs", type=int, default=4)
    arguments.add_argument("--list", action="store_true")
    arguments.add_argument("names", nargs="*")
    options = arguments.parse_args()
    harness.start(options.bootstrap)
    for subject in SUBJECTS:
        __import__(f"foreign.{subject}")
    names = [check.__name__ for check in harness.CHECKS]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"two checks of one name: {twice}"
    chosen = [c for c in harness.CHECKS if not options.names or any(part in c.__name__ or c.__module__.endswith(f".{part}") for part in options.names)]
    if options.list:
        print(*(f"{check.__module__.removeprefix('foreign.')}: {check.__name__}" for check in chosen), sep="\n")
        return
    assert chosen, f"no such check: {options.names}"
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        failures = [failure for failure in pool.map(run, chosen) if failure]
    for name, failure in failures:
        print(f"\n--- {name}\n{failure}", flush=True)
    print(f"foreign clients: {len(chosen) - len(failures)} passed, {len(failures)} failed", flush=True)
    sys.exit(bool(failures))


main()
