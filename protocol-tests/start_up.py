#!/usr/bin/env python3
"""What a binary weighs and how soon it is there: its size, the wall-clock time of `milena --version`, and of `milena broker` from
the start of the process until a client has connected to the port that it named; least and median of so many runs.

    start_up.py BINARY [RUNS]"""

import os, socket, statistics, subprocess, sys, time


def version(binary):
    start = time.perf_counter()
    subprocess.run([binary, "--version"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def broker(binary):
    start = time.perf_counter()
    with subprocess.Popen([binary, "broker", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            said = next(line for line in process.stdout if line.startswith("BOOTSTRAP="))
            host, port = said.strip().removeprefix("BOOTSTRAP=").split(":")
            socket.create_connection((host, int(port))).close()
            took = time.perf_counter() - start
            with open(f"/proc/{process.pid}/status") as status:
                resident = next(line for line in status if line.startswith("VmRSS:")).split()[1]
            return took, int(resident)
        finally:
            process.kill()


binary, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
print(f"{os.path.getsize(binary):,} bytes")
times = sorted(version(binary) for _ in range(runs))
print(f"milena --version: {1000 * times[0]:.1f} ms, median {1000 * statistics.median(times):.1f} ms")
times, resident = zip(*sorted(broker(binary) for _ in range(runs)))
print(f"milena broker, until it takes a connection: {1000 * times[0]:.1f} ms, median {1000 * statistics.median(times):.1f} ms, "
      f"{statistics.median(resident) / 1024:.1f} MiB resident")
