"""What the tests want of a private server: speed, TLS, accounts, and a look at who is connected."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rdsproxy.demo.certificates import LOCAL_NAMES, make_certificates
from rdsproxy.demo.server import Server
from tests.servers.cache import cache_folder, locked, made_whole

# Nothing here has to survive a power cut, but a commit does survive kill -9 of the server.
FAST = {
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-buffer-pool-size": "64M",
    "innodb-doublewrite": "0",
    "performance-schema": "OFF",
    "skip-log-bin": None,
    "local-infile": "1",
    "max-allowed-packet": "128M",
}


@dataclass(frozen=True)
class User:
    """An account: its name and its password."""

    name: str
    password: str


@dataclass(frozen=True)
class Process:
    """A line of SHOW PROCESSLIST. ``seconds`` counts since the last change of state."""

    id: int
    user: str
    database: str | None
    command: str
    seconds: int
    state: str | None
    info: str | None

    @property
    def sleeps(self) -> bool:
        """It is in SLEEP(). A KILL between the moment when its statement is shown and this one MariaDB forgets."""
        return self.state == "User sleep"


class DatabaseServer(Server):
    """A private server in a temporary folder, with TLS, a database ``app`` and an account for it.

    It has ``certificates``, ``ca_path`` (who signed its certificate), ``user`` (may do anything in
    ``app``) and all that ``Server`` has. Its folder vanishes with ``close`` or the end of a ``with`` block.
    """

    default_plugin: ClassVar[str]
    database: ClassVar[str] = "app"
    user: ClassVar[User] = User("app", "app-password")

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        inside: Sequence[str] = (),
        max_connections: int = 1000,
        options: Mapping[str, str | None] | None = None,
        tls_names: Sequence[str] = LOCAL_NAMES,
        tls_days: int = 3650,
    ) -> None:
        """Describe a server; nothing runs before ``start``.

        It listens at ``host`` alone, an address of this machine or of the namespace that the command
        ``inside`` enters. ``options`` are more options of the server (None: one without a value). Its
        certificate is for ``tls_names`` and ends in ``tls_days`` days.
        """
        # Short: a unix socket's path has at most 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix=f"rdsproxy-{self.kind}-", ignore_cleanup_errors=True)
        directory = Path(self._folder.name)
        files = make_certificates(directory / "tls", tls_names, days=tls_days)
        self.certificates = files
        self.ca_path = files.ca
        settings = {
            **FAST,
            **self.own_options(),
            "ssl-ca": str(files.ca),
            "ssl-cert": str(files.certificate),
            "ssl-key": str(files.private_key),
            "max-connections": str(max_connections),
            **(options or {}),
        }
        super().__init__(directory, port=port, options=arguments(settings), on_orphaned="KILL")
        self.host = host
        self.inside = inside

    @abstractmethod
    def own_options(self) -> dict[str, str | None]:
        """Return the options that this kind of server needs in the tests."""

    @abstractmethod
    def create_tables(self, data: Path) -> None:
        """Fill the empty folder ``data`` with the server's own tables."""

    @abstractmethod
    def create_user_statement(self, user: User, plugin: str) -> str:
        """Return the CREATE USER statement for an account that is checked by ``plugin``."""

    @abstractmethod
    def setup_statements(self) -> list[str]:
        """Return what else every new server of this kind runs once."""

    @abstractmethod
    def program_version(self) -> str:
        """Return what the server's program says with --version."""

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the server and delete its folder: nothing of it is wanted any more."""
        self.kill()
        self._folder.cleanup()

    def initialise(self, data: Path) -> None:
        """Copy a data folder that was filled once for this version of the server."""
        setup = [
            f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4",
            *self.setup_statements(),
            *self._user_statements(self.user, self.default_plugin),
        ]
        recipe = json.dumps([self.program_version(), setup, FAST, self.own_options()])
        name = f"data-{self.kind}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
        template = cache_folder() / name
        with locked(name):
            if not template.exists():
                self._make_template(template, setup)
        # cp knows sparse files and copy-on-write; shutil does not.
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", template, data], check=True)

    def _make_template(self, template: Path, setup: Sequence[str]) -> None:
        with made_whole(template) as data:
            self.create_tables(data)
            maker = type(self)()
            try:
                maker.data = data
                maker.start()
                maker.execute(*setup)
                maker.stop()  # in order: a copy needs no recovery
            finally:
                maker.close()
            # Each MySQL server of a replication has to have its own.
            (data / "auto.cnf").unlink(missing_ok=True)

    def create_user(
        self,
        name: str,
        password: str,
        plugin: str = "",
        *,
        grants: Sequence[str] = ("ALL PRIVILEGES ON app.*",),
    ) -> User:
        """Create an account for every host, in place of one with this name, and return it.

        ``plugin`` is how its password is checked: mysql_native_password or ed25519 on MariaDB,
        caching_sha2_password on MySQL; empty for the kind's default.
        """
        user = User(name, password)
        self.execute(f"DROP USER IF EXISTS '{name}'@'%'")
        self.execute(*self._user_statements(user, plugin or self.default_plugin, grants))
        return user

    def _user_statements(
        self, user: User, plugin: str, grants: Sequence[str] = ("ALL PRIVILEGES ON app.*",)
    ) -> list[str]:
        return [
            self.create_user_statement(user, plugin),
            *(f"GRANT {grant} TO '{user.name}'@'%'" for grant in grants),
        ]

    def processlist(self, user: str = "") -> list[Process]:
        """Return the clients' connections, of ``user`` alone if given, without the one that asks."""
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW FULL PROCESSLIST")
            processes = [
                Process(row[0], row[1], row[3], row[4], int(row[5] or 0), row[6], row[7]) for row in cursor.fetchall()
            ]
            own: int = connection.thread_id()
        return [
            process
            for process in processes
            if process.id != own
            and process.user not in ("system user", "event_scheduler")
            and user in ("", process.user)
        ]


def arguments(settings: Mapping[str, str | None]) -> list[str]:
    """Return a command line for settings; None is an option without a value."""
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in settings.items()]
