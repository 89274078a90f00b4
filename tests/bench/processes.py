"""The processes of a benchmark: started, measured by /proc, and gone when the benchmark ends."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rdsproxy.demo.server import tied_to_us

HOST = "127.0.0.1"
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(RuntimeError):
    """Something could not be started or measured; the message says what and why."""


class Child:
    """A process that listens on a port. What it says goes to a log file."""

    def __init__(self, command: Sequence[str], log: Path, *, directory: Path | None = None) -> None:
        """Start it, in ``directory`` if given; the kernel kills it should this process end first."""
        self.log = log
        with log.open("wb") as output:
            # A process group of its own: Ctrl-C in the terminal goes to us, and we stop it.
            self._process = subprocess.Popen(
                [*tied_to_us("KILL"), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                cwd=directory,
            )

    def wait_for_port(self, port: int, timeout: float = 20.0, *, host: str = HOST) -> None:
        """Return when it accepts connections; BenchError if it ends, or does not within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                socket.create_connection((host, port)).close()
                return
            except OSError:
                pass
            status = self._process.poll()
            if status is not None or time.monotonic() > deadline:
                how = f"does not listen after {timeout:.0f} s" if status is None else f"ended with status {status}"
                said = self.log.read_text(errors="replace")[-1500:]
                raise BenchError(f"{self.log.stem} {how}; it said:\n{said or 'nothing'}")
            time.sleep(0.02)  # between two tries; what ends the wait is the answer

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads so far, user and system, in steps of 10 ms."""
        try:
            # The name in brackets may hold spaces. utime and stime are fields 14 and 15 of proc(5).
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            raise BenchError(f"{self.log.stem} has ended") from None
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def stop(self, timeout: float = 10.0) -> None:
        """End it: SIGTERM, and SIGKILL after ``timeout`` seconds."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
