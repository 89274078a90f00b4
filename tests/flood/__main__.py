"""``make flood``: what ordinary clients have left of their throughput while others flood the proxy."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rdsproxy.open_files import allow_open_files
from tests.bench.plan import WORKLOADS
from tests.bench.sysbench import Login, prepare, run
from tests.flood.attackers import KINDS
from tests.flood.process import flooding, until_only
from tests.integration.proxy import NATIVE, SHA2, Proxy
from tests.servers import MariaDB, User, make_certificates

WARM_UP = 20
"""Seconds of flood before anything is measured: what is made once, and Python's heap, is there afterwards."""
CLIENTS = 8


@dataclass(frozen=True)
class Load:
    """What ordinary clients had in one period, and the seconds of CPU that the proxy took for that and all else."""

    qps: float
    queries: int
    cpu: float


def main() -> int:
    """Measure and print; 1 if it falls short of what is promised."""
    parser = argparse.ArgumentParser(prog="make flood FLOOD_ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="with the flood, and half of it before and after (60)")
    parser.add_argument("--rounds", type=int, default=1, help="on a machine with other work, several short ones (1)")
    parser.add_argument("--count", type=int, default=2000, help="attackers at a time (2000)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds until one that was closed on is back (1)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {','.join(KINDS)} (all)")
    parser.add_argument("--rate", type=int, help="max_connection_rate of the proxy (none)")
    parser.add_argument("--limit", type=int, default=100, help="its max_failed_logins; ten times as many block (100)")
    options = parser.parse_args()
    allow_open_files(2 * options.count)
    # The attackers have one processor for themselves: their own time is not the proxy's.
    cpus = sorted(os.sched_getaffinity(0))
    theirs = str(cpus[-1])
    os.sched_setaffinity(0, set(cpus[:-1]) or set(cpus))
    kinds = options.kinds.split(",")
    with tempfile.TemporaryDirectory() as folder, MariaDB(max_connections=100) as server:
        for account in (NATIVE, SHA2):
            server.create_user(account.name, account.password)
        tls = make_certificates(Path(folder) / "tls")
        settings: dict[str, object] = {"max_failed_logins": options.limit}
        if options.rate:
            settings["max_connection_rate"] = options.rate
        admin = {"listen": "tcp:0:interface=127.0.0.1"}
        with Proxy(server, Path(folder), tls=tls, max_connections=20, proxy=settings, admin=admin) as proxy:
            login = Login(proxy.port, User(NATIVE.name, NATIVE.password), server.database)
            prepare(login)

            def load(seconds: int, what: str) -> Load:
                before = _cpu(proxy.pid)
                report = run(login, WORKLOADS[0], CLIENTS, seconds)
                cpu = _cpu(proxy.pid) - before
                print(
                    f"{what}: {report.qps:.0f} queries/s, p95 {report.p95} ms, {report.errors} errors, proxy"
                    f" {cpu / seconds:.0%} CPU, {proxy.memory() >> 20} MiB",
                    flush=True,
                )
                return Load(report.qps, report.queries, cpu)

            load(2, "warm-up")
            with flooding(proxy, SHA2, options.count, pause=options.pause, kinds=kinds, cpus=theirs):
                load(WARM_UP, "warm-up, flooded")
            until_only(proxy, 0)
            memory = proxy.memory()
            plain, flooded = [], []
            for _ in range(options.rounds):
                plain.append(load(options.seconds // 2, "before"))
                with flooding(proxy, SHA2, options.count, pause=options.pause, kinds=kinds, cpus=theirs) as connected:
                    flooded.append(load(options.seconds, "flooded"))
                    there = proxy.metrics()["rdsproxy_client_connections"]
                    peak = proxy.memory()
                until_only(proxy, 0)
                left = proxy.memory()
                plain.append(load(options.seconds // 2, "after"))
                print(f"attackers: {there:.0f} at the end, connected {connected}", flush=True)
            share = mean(one.qps for one in flooded) / mean(one.qps for one in plain)
            # What else runs on the machine takes from the throughput, but adds little to this.
            query = sum(one.cpu for one in plain) / sum(one.queries for one in plain)
            attack = sum(one.cpu - one.queries * query for one in flooded) / (options.rounds * options.seconds)
            print(f"throughput kept: {share:.0%}; the proxy's CPU for the flood: {attack:.0%}")
            print(f"memory: {memory >> 20} MiB before, {peak >> 20} MiB flooded, {left >> 20} MiB after")
            return not (share >= 0.8 and left <= memory * 1.1)


def _cpu(pid: int) -> float:
    """Give the seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
