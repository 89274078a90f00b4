"""A client's program as a process: what it prints, and where it pauses.

A program finds out where to connect from DB_HOST, DB_PORT, DB_USER, DB_PASSWORD, DB_SCHEMA and DB_TABLE (a table of
its own); DB_CA is the file of an authority, if it shall use TLS. It prints a line of JSON for each thing it has seen.
The line ``"pause"`` is none of these: there it waits for a line on its standard input. No transaction is open then.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rdsproxy.demo.server import tied_to_us
from tests.integration.network import Forwarder
from tests.integration.proxy import ROOT, Account, Proxy
from tests.servers import DatabaseServer

PAUSE = '"pause"\n'


class Program:
    """``with Program(command, to, account, table, ca) as program: ...`` runs it; leaving the block kills it."""

    def __init__(
        self,
        command: Sequence[str],
        to: Proxy | DatabaseServer | Forwarder,
        account: Account,
        table: str,
        ca: Path | None,
    ) -> None:
        self.seen: list[str] = []
        """The lines that it has printed."""
        self._command = command
        self._environment = {
            **os.environ,
            "DB_HOST": to.host,
            "DB_PORT": str(to.port),
            "DB_USER": account.name,
            "DB_PASSWORD": account.password,
            "DB_SCHEMA": "app",
            "DB_TABLE": table,
            "DB_CA": str(ca or ""),
            "LC_ALL": "C.UTF-8",
        }

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [*tied_to_us("KILL"), *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            env=self._environment,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def go_on(self, pauses: int = 1) -> None:
        """Let it pass its next ``pauses`` pauses."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n" * pauses)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; check_end says how

    def reach_pause(self) -> bool:
        """Wait for the next pause, or the end: False."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == PAUSE:
                return True
            self.seen.append(line)
        return False

    def check_end(self) -> None:
        """Wait for the end, and fail if it was not a good one."""
        while self.reach_pause():
            pass
        code = self._process.wait()
        self._errors.seek(0)
        assert code == 0, f"{self._command[-1]}: exit status {code}\n{self._errors.read()[-3000:]}"
