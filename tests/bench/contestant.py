"""What may stand between sysbench and the database."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.bench.plan import Workload
from tests.bench.processes import Child
from tests.bench.sysbench import Login
from tests.servers import DatabaseServer, User, free_port

# The listen queue of every proxy and database: 512 clients may knock at once.
BACKLOG = 1024
# What the sharing proxies may keep open at the database.
POOL = 20


class Contestant(ABC):
    """A way to the database."""

    name: ClassVar[str]
    # What to install before it can be measured; empty if nothing.
    missing: str = ""

    @abstractmethod
    def version(self) -> str:
        """Return its version in a few words."""

    @abstractmethod
    def setting(self, workload: Workload) -> str:
        """Return in a few words how it is set up for a load."""

    @abstractmethod
    @contextmanager
    def running(
        self, folder: Path, server: DatabaseServer, workload: Workload, clients: int
    ) -> Iterator[tuple[Login, Child | None]]:
        """Start it for one cell; give where to connect, and its process if it has one.

        ``folder`` is made for its files. Raises BenchError if it does not start.
        """
        yield Login(0, User("", ""), ""), None


class Direct(Contestant):
    """Straight to the database: what a proxy costs is measured against this."""

    name = "direct"

    def version(self) -> str:
        """It is the database's."""
        return ""

    def setting(self, workload: Workload) -> str:
        """Every client has a connection."""
        return "one database connection per client"

    @contextmanager
    def running(
        self, folder: Path, server: DatabaseServer, workload: Workload, clients: int
    ) -> Iterator[tuple[Login, Child | None]]:
        """Give the database's own address."""
        yield Login(server.port, server.user, server.database), None


class Proxy(Contestant):
    """A program that is started for each cell anew, so that none inherits another's connections."""

    @abstractmethod
    def command(self, folder: Path, port: int, server: DatabaseServer, workload: Workload, clients: int) -> list[str]:
        """Write its configuration into ``folder`` and return the command line."""

    def user(self, server: DatabaseServer) -> User:
        """Return the account that its clients use."""
        return server.user

    @contextmanager
    def running(
        self, folder: Path, server: DatabaseServer, workload: Workload, clients: int
    ) -> Iterator[tuple[Login, Child | None]]:
        """Start it, and stop it in the end."""
        folder.mkdir(parents=True)
        port = free_port()
        command = self.command(folder, port, server, workload, clients)
        child = Child(command, folder / f"{self.name}.log", directory=folder)
        try:
            child.wait_for_port(port)
            yield Login(port, self.user(server), server.database), child
        finally:
            child.stop()


def first_line(command: Sequence[str]) -> str:
    """Return the first line that a program writes."""
    return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0].strip()
