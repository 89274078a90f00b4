"""Running sysbench and reading what it reports."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

from rdsproxy.demo.server import tied_to_us
from tests.bench.plan import ROWS, TABLES, Workload
from tests.bench.processes import HOST, BenchError
from tests.servers import User

# For connections to be made before the clock starts, and for the last transactions afterwards.
_GRACE_SECONDS = 60
_SIZE = (f"--tables={TABLES}", f"--table-size={ROWS}")


@dataclass(frozen=True)
class Login:
    """Where sysbench connects to, and as whom."""

    port: int
    user: User
    database: str

    def arguments(self) -> list[str]:
        """Return sysbench's options for it; without a password the option is left out."""
        password = [f"--mysql-password={self.user.password}"] if self.user.password else []
        return [
            f"--mysql-host={HOST}",
            f"--mysql-port={self.port}",
            f"--mysql-user={self.user.name}",
            f"--mysql-db={self.database}",
            *password,
        ]


@dataclass(frozen=True)
class Report:
    """What sysbench says about one run.

    ``p95`` is in milliseconds and of an event; ``errors`` are those after which sysbench went on
    with the next event (deadlocks).
    """

    queries: int
    qps: float
    p95: float
    errors: int


def parse(text: str) -> Report:
    """Return what a report of sysbench says; BenchError when it is none, with what is there instead."""
    queries = re.search(r"^ *queries: +(\d+) ", text, re.MULTILINE)
    seconds = re.search(r"^ *total time: +([\d.]+)s", text, re.MULTILINE)
    p95 = re.search(r"^ *95th percentile: +([\d.]+)", text, re.MULTILINE)
    errors = re.search(r"^ *ignored errors: +(\d+) ", text, re.MULTILINE)
    if not (queries and seconds and p95 and errors):
        fatal = re.search(r"^(?:FATAL|ERROR): (.*)$", text, re.MULTILINE)
        raise BenchError(f"sysbench: {fatal[1] if fatal else text.strip()[-300:] or 'no report'}")
    # sysbench's own rate divides by the seconds asked for, not by those that were needed.
    count = int(queries[1])
    return Report(count, count / float(seconds[1]), float(p95[1]), int(errors[1]))


def prepare(login: Login) -> None:
    """Make the tables and fill them; BenchError if that fails."""
    command = ["sysbench", "oltp_read_write", *login.arguments(), *_SIZE, "--threads=2", "prepare"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"sysbench prepare failed: {(done.stdout + done.stderr)[-500:]}")


def run(
    login: Login, workload: Workload, clients: int, seconds: int, on_started: Callable[[], None] = lambda: None
) -> Report:
    """Run a load for ``seconds`` and return the report; BenchError when sysbench fails or hangs.

    ``on_started`` is called when all clients are connected and the clock starts.
    """
    command = [
        *tied_to_us("KILL"),
        "sysbench",
        workload.script,
        *login.arguments(),
        *_SIZE,
        *workload.arguments,
        f"--threads={clients}",
        f"--time={seconds}",
        "--percentile=95",
        "run",
    ]
    # Its own process group, as for all children: see Child.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    text = ""
    hangs = threading.Timer(seconds + _GRACE_SECONDS, process.kill)
    hangs.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Threads started!"):
                on_started()
            text += line
        if process.wait() == -signal.SIGKILL:
            raise BenchError(f"sysbench did not end {_GRACE_SECONDS} s after its time")
    finally:
        hangs.cancel()
        process.kill()
        process.wait()
    return parse(text)
