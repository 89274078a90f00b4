"""The life of one private database server: a process of our own, its folder, its port and its socket."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket as sockets
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import pymysql
from pymysql.cursors import Cursor

_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7), without the closing NUL
_PORT_TRIES = 5


class ServerError(RuntimeError):
    """A database server did not start or did not do its work; the message says what to do."""


class ServerMissingError(ServerError):
    """A database server is not installed; the message says how to install it."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on.

    It lies below the range from which the kernel takes ports for outgoing connections, so that a
    server which is stopped and started again finds its own port still free.
    """
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        if is_free(port):
            return port
    raise ServerError("no free TCP port between 15000 and 32000 on 127.0.0.1")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this TCP port of 127.0.0.1."""
    with sockets.socket() as probe:
        # As servers do: connections of an earlier one that are still closing are not in the way.
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tied_to_us(signal_name: Literal["TERM", "KILL"]) -> list[str]:
    """Return what to put before a command: the kernel signals it when the thread that started it ends.

    Raises ServerMissingError without setpriv, which every Linux has (util-linux).
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServerMissingError("setpriv is missing (Debian package util-linux)")
    return [setpriv, "--pdeathsig", signal_name]


class Server(ABC):
    """One database server in a folder of its own, listening on 127.0.0.1 (``host``) and on a unix socket.

    The account ``root@localhost`` has no password and can be reached through the unix socket alone,
    which lies in the server's folder (mode 0700).
    """

    kind: ClassVar[Literal["mariadb", "mysql"]]
    host: str = "127.0.0.1"
    inside: Sequence[str] = ()
    """What its command line begins with, such as a program that enters a namespace and then becomes the server."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        options: Sequence[str] = (),
        on_orphaned: Literal["TERM", "KILL"] = "TERM",
    ) -> None:
        """Describe a server; nothing runs before ``start``.

        ``port`` 0 takes a free one. ``options`` are more command line options of the server.
        ``on_orphaned`` is the signal that the kernel sends it when the thread that started it ends.
        """
        self.directory = directory
        self.port = port
        self.options = list(options)
        self.on_orphaned = on_orphaned
        self.version = ""
        self.data = directory / "data"
        self.socket = directory / "server.sock"
        self.log = directory / "server.log"
        self.pid_file = directory / "server.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @abstractmethod
    def command(self) -> list[str]:
        """Return the server's command line, without port, folder and ``options``."""

    @abstractmethod
    def initialise(self, data: Path) -> None:
        """Fill an empty folder with the server's own tables; raise ServerError if that fails."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server's process is there (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server; ServerError if it does not run."""
        if self._process is None:
            raise ServerError(f"{self.kind} is not running")
        return self._process.pid

    def start(self, timeout: float = 60.0) -> None:
        """Start the server and return when it answers; ServerError after ``timeout`` seconds.

        The data folder is filled first if it is empty. Call this from a thread that outlives the
        server (see ``on_orphaned``), as a rule the main one.
        """
        if self.running:
            raise ServerError(f"{self.kind} is running already")
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET_PATH:
            raise ServerError(f"{self.socket}: too long for a unix socket; use a folder with a shorter path")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.data.is_dir() and any(self.data.iterdir())):
            self.initialise(self.data)
        port_is_ours_to_choose = self.port == 0
        for tries_left in reversed(range(_PORT_TRIES)):
            if port_is_ours_to_choose:
                self.port = free_port()
            self._spawn()
            try:
                self._wait_until_ready(timeout)
                return
            except _PortTakenError:
                if not (port_is_ours_to_choose and tries_left):
                    raise

    def _spawn(self) -> None:
        command = [
            *tied_to_us(self.on_orphaned),
            *self.inside,
            *self.command(),
            f"--datadir={self.data}",
            f"--port={self.port}",
            f"--bind-address={self.host}",
            f"--socket={self.socket}",
            f"--pid-file={self.pid_file}",
            # MariaDB, as it starts, deletes the temporary tables that it finds there: in /tmp those of others too.
            f"--tmpdir={self.directory}",
            "--skip-name-resolve",
            *self.options,
        ]
        with self.log.open("ab") as log:
            # Its own process group: Ctrl-C in the terminal goes to us, and we stop the server in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        self._paused = False

    def _wait_until_ready(self, timeout: float) -> None:
        log_start = self.log.stat().st_size
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                said = self.log.read_bytes()[log_start:].decode(errors="replace")
                self._process = None
                if "Address already in use" in said or "Do you already have another" in said:
                    raise _PortTakenError(f"{self.kind}: port {self.port} is in use")
                raise ServerError(f"{self.kind} did not start; the end of {self.log}:\n{said[-2000:]}")
            try:
                with self.admin() as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT VERSION()")
                    (self.version,) = cursor.fetchone() or ("",)
                return
            except pymysql.OperationalError as error:
                if time.monotonic() > deadline:
                    self.kill()
                    raise ServerError(f"{self.kind} did not answer in {timeout} s: {error}") from error
            time.sleep(0.02)  # between two tries; what ends the wait is the server's answer

    def stop(self, timeout: float = 30.0) -> None:
        """Shut the server down in order, by force after ``timeout`` seconds; no error if it does not run."""
        if self._process is None:
            return
        self.resume()
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); no error if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server in order and start it again, on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Until then some of its threads may yet answer.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._paused = True

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        if self._paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def admin(self, database: str | None = None) -> pymysql.Connection[Cursor]:
        """Return a new connection of root through the unix socket, with autocommit."""
        return pymysql.connect(
            unix_socket=str(self.socket),
            ssl_disabled=True,  # or each one would read all the machine's certificates first
            user="root",
            database=database,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=10,
            read_timeout=60,
        )

    def execute(self, *statements: str) -> None:
        """Run statements as root, one after the other; pymysql.MySQLError when one is refused."""
        with self.admin() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


class _PortTakenError(ServerError):
    """Somebody else listens on the port."""
