"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.bench.contestant import Contestant, first_line
from tests.bench.plan import ROWS, TABLES
from tests.servers import DatabaseServer

# In addition to what all test servers have: see tests/servers/base.py.
SERVER_OPTIONS = {"innodb-buffer-pool-size": "256M", "back-log": "1024", "max-prepared-stmt-count": "65536"}
SERVER_CONNECTIONS = 700


def describe(
    servers: Iterable[DatabaseServer], contestants: Iterable[Contestant], rounds: int, seconds: int
) -> dict[str, str]:
    """Return names and values for the head of a report."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    found = {
        "machine": f"{cores} cores ({processor()}), Linux {platform.release()}, load {load:.1f} at the start",
        "shared": f"sysbench, proxy and database share the {cores} cores and talk over 127.0.0.1",
        "rounds": f"{rounds} rounds of {seconds} s for each; contestants alternate; medians",
        "tables": f"{TABLES} of {ROWS:,} rows, all in memory; sysbench's 'special' distribution",
        "commit": commit(),
        "sysbench": first_line(["sysbench", "--version"]),
    }
    for server in servers:
        found[server.kind] = (
            f"{server.version}, max_connections {SERVER_CONNECTIONS}, buffer pool "
            f"{SERVER_OPTIONS['innodb-buffer-pool-size']}, innodb_flush_log_at_trx_commit=2, no binary log, "
            "no doublewrite buffer, performance_schema off, no TLS"
        )
    found |= {contestant.name: contestant.version() for contestant in contestants if contestant.version()}
    return found


def processor() -> str:
    """Return the name of the machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return what of rdsproxy is measured."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "rdsproxy") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed
