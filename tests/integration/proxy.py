"""A proxy as a process of its own, its log, and connections through it."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pymysql
import pytest
from pymysql.constants import SERVER_STATUS

from rdsproxy.demo.server import tied_to_us
from tests import planted
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    Connection = pymysql.Connection[pymysql.cursors.Cursor]  # no generic class when it runs

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 60.0  # seconds
LOG_TIMEOUT = 30.0

Plugin = Literal["MYSQL_NATIVE_PASSWORD", "MYSQL_CACHING_SHA2_PASSWORD"]


@dataclass(frozen=True)
class Account:
    """A database user and how its clients prove their password to the proxy."""

    name: str
    password: str
    plugin: Plugin


NATIVE = Account("through_native", "Native-Password-7", "MYSQL_NATIVE_PASSWORD")
SHA2 = Account("through_sha2", "Sha2-Passwörd-8", "MYSQL_CACHING_SHA2_PASSWORD")
ACCOUNTS = (NATIVE, SHA2)

# Beside a function that gives ids of the server's, CONNECTION_ID() is not replaced by the client's own.
BACKEND_ID = "IFNULL(IS_USED_LOCK('nobody'), CONNECTION_ID())"

# These never may stand in a log: what is wrong in the proxy, and what is none of the log's business.
FORBIDDEN = ("Traceback", "Unhandled", '"exception"', "Internal error", "SELECT ", "INSERT ", "UPDATE ", "SET @")

HELPERS = ("rdsproxy._sender", "rdsproxy._serve", "rdsproxy.protocol._walk", "rdsproxy.shortcut._twins")
NOT_COMPILED = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({HELPERS}))
runpy.run_module("twisted", run_name="__main__", alter_sys=True)
"""
"""Runs twist without the compiled helpers."""

LogLine = dict[str, Any]


class Proxy:
    """``with Proxy(server, folder, ...) as proxy: ...`` runs one before ``server``, on a free port.

    ``proxy``, ``endpoint``, ``target_group`` and ``topology`` are more settings of these sections, ``admin``
    are those of the admin endpoint. ``targets`` are others than ``server`` alone; ``readers`` adds an endpoint for
    readers, at ``reader_port``. Not ``compiled``, it runs as where there is no compiler. Leaving the block stops it
    and looks at its log.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        server: DatabaseServer,
        folder: Path,
        *,
        max_connections: int = 4,
        tls: Certificates | None = None,
        accounts: Sequence[Account] = ACCOUNTS,
        proxy: Mapping[str, object] | None = None,
        target_group: Mapping[str, object] | None = None,
        topology: Mapping[str, object] | None = None,
        targets: Sequence[Mapping[str, object]] | None = None,
        endpoint: Mapping[str, object] | None = None,
        readers: bool = False,
        admin: Mapping[str, object] | None = None,
        compiled: bool = True,
    ) -> None:
        self.server = server
        self.port = 0
        self.admin_port = 0
        """Where `admin` listens, if that is a TCP port."""
        self.tls = tls
        self.accounts = accounts
        self.secrets = {account.password for account in accounts}
        self._folder = folder
        # Tests of refusals share a proxy, and fail to log in more often than anybody should.
        self._proxy = {"max_failed_logins": 10_000, **(proxy or {})}
        self._target_group = {
            "max_connections": max_connections,
            "connection_borrow_timeout": 10,
            **(target_group or {}),
        }
        self._topology = dict(topology or {})
        self._targets = targets or [{"host": server.host, "port": server.port}]
        self._endpoint = dict(endpoint or {})
        self._readers = readers
        self._admin = admin
        self._program = ("-m", "twisted") if compiled else ("-c", NOT_COMPILED)
        self._process: subprocess.Popen[bytes] | None = None
        self._news = threading.Condition()
        self._ended = True  # of the log: there is none yet
        self._lines: list[LogLine] = []
        self._raw: list[str] = []
        self._begun = b""  # of a line that the proxy has not written to its end
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.check_log()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        config = self._folder / "proxy.toml"
        config.write_text(self._config())
        self._process = subprocess.Popen(
            [*tied_to_us("KILL"), sys.executable, *self._program, "rdsproxy", "--config", str(config)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._ended = False
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        line = self.wait_for_log(lambda line: line.get("event") == "listening", START_TIMEOUT)
        self.port, *more = map(_port_in, line["listen"])
        self.reader_port = more[0] if more else 0
        self.admin_port = _port_in(line.get("admin", ""))

    def stop(self) -> None:
        """Ask the process to end, and see it end well."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the proxy does not stop; its log ends:\n{''.join(self._raw)[-4000:]}") from None
        assert self._reader is not None
        self._reader.join()
        assert process.stdout is not None
        process.stdout.close()

    def _config(self) -> str:
        parts = ["[proxy]", *settings_of(self._proxy)]
        if self.tls is not None:
            parts += [
                "[proxy.tls]",
                *settings_of({"certificate": str(self.tls.certificate), "private_key": str(self.tls.private_key)}),
            ]
        listen = {"listen": [f"tcp:0:interface={self.host}"]}
        parts += ["[[proxy.endpoints]]", *settings_of({**listen, **self._endpoint})]
        if self._readers:
            parts += ["[[proxy.endpoints]]", *settings_of({"name": "readers", "target_role": "READ_ONLY", **listen})]
        for number, account in enumerate(self.accounts):
            secret = self._folder / f"secret-{number}.json"
            secret.write_text(json.dumps({"username": account.name, "password": account.password}))
            parts += [
                "[[proxy.auth]]",
                *settings_of({"secret": f"file:{secret}", "client_password_auth_type": account.plugin}),
            ]
        # Looks at the server under a name of its own, so that the proxy's other connections can be told from that one.
        monitor = self._folder / "monitor.json"
        planted.plant(*self.secrets, self.server.user.password)
        monitor.write_text(json.dumps({"username": self.server.user.name, "password": self.server.user.password}))
        # And seldom, as long as nothing happens: some tests count what the server is asked.
        topology = {"monitor_secret": f"file:{monitor}", "check_interval": 60, **self._topology}
        parts += ["[target_group]", *settings_of(self._target_group)]
        parts += ["[target_group.topology]", *settings_of(topology)]
        for target in self._targets:
            parts += ["[[target_group.targets]]", *settings_of(target)]
        if self._admin is not None:
            parts += ["[admin]", *settings_of(self._admin)]
        return "\n".join(parts) + "\n"

    # -- the log -------------------------------------------------------------------------------------------------------

    @property
    def log(self) -> list[LogLine]:
        """All that the proxy has written until now: what it wrote before it answered is there."""
        with self._news:
            self._take_log()
            return self._lines

    def _read_log(self) -> None:
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        while not self._ended:
            readable.poll()
            with self._news:
                self._take_log()

    def _take_log(self) -> None:
        """Take what is in the pipe. Whoever looks at the log does, since the thread may not have come to it."""
        while not self._ended:
            try:
                data = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                return
            *texts, self._begun = (self._begun + data).split(b"\n")
            for text in texts:
                self._note(text.decode())
            if not data:
                if self._begun:
                    self._note(self._begun.decode())
                planted.keep("log", "".join(self._raw))
                self._ended = True
            self._news.notify_all()

    def _note(self, text: str) -> None:
        self._raw.append(f"{text}\n")
        try:
            self._lines.append(json.loads(text))
        except ValueError:
            self._lines.append({"event": text})

    def wait_for_log(
        self, wanted: Callable[[LogLine], bool], timeout: float = LOG_TIMEOUT, *, after: int = 0
    ) -> LogLine:
        """Give the first line from number ``after`` on that is ``wanted``, as soon as it is there."""
        with self._news:
            found: LogLine | None = None

            def look() -> bool:
                nonlocal found
                found = next((line for line in self.log[after:] if wanted(line)), None)
                return found is not None or self._ended

            self._news.wait_for(look, timeout)
            if found is None:
                raise AssertionError(f"not in the proxy's log, which ends:\n{''.join(self._raw)[-1500:]}")
            return found

    def check_log(self) -> None:
        """Fail if the log has a traceback, an unexpected failure, SQL, or a password."""
        with self._news:
            text = "".join(self._raw)
        print(f"The proxy's log ends:\n{text[-3000:]}")  # pytest shows it where a test fails
        for word in [*FORBIDDEN, *self.secrets]:
            # A password may stand there as JSON writes it.
            for form in {word, json.dumps(word)[1:-1]}:
                position = text.find(form)
                assert position < 0, f"{word!r} in the proxy's log:\n{text[max(0, position - 2000) : position + 3000]}"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def memory(self, *, peak: bool = False) -> int:
        """Give the resident memory in bytes, now or at its highest so far."""
        name = "VmHWM:" if peak else "VmRSS:"
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def connect(self, account: Account = NATIVE, *, tls: bool = False, **more: Any) -> Connection:
        """Connect through the proxy: schema app, utf8mb4, autocommit, unless `more` says otherwise."""
        return connect(self.host, self.port, account, self.tls if tls else None, **more)

    def http(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask the admin endpoint, on a connection of its own."""
        answer = ask(http.client.HTTPConnection(self.host, self.admin_port, timeout=20), path, method, **headers)
        planted.keep("http", f"{answer.headers}\n{answer.text}")
        return answer

    def metrics(self) -> dict[str, float]:
        """Scrape: give each value by its name, `rdsproxy_sessions_pinned{reason="CURSOR"}`."""
        answer = self.http("/metrics")
        assert answer.status == 200, answer
        lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def backends(self) -> list[int]:
        """Give the server's ids of the connections that the proxy holds."""
        names = {account.name for account in self.accounts}
        return [process.id for process in self.server.processlist() if process.user in names]


@dataclass(frozen=True)
class Answer:
    """Of an HTTP server. Headers by their names in small letters."""

    status: int
    text: str
    headers: dict[str, str]


def ask(server: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request and give the answer."""
    with closing(server):
        server.request(method, path, headers=headers)
        response = server.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.read().decode(), named)


def connect(host: str, port: int, account: Account, tls: Certificates | None = None, **more: Any) -> Connection:
    """Connect with PyMySQL: schema app, utf8mb4, autocommit, unless `more` says otherwise."""
    settings: dict[str, Any] = {
        "user": account.name,
        "password": account.password.encode(),  # PyMySQL would encode text as Latin-1
        "database": "app",
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": 20,
        "read_timeout": 20,
        **more,
    }
    if tls is not None:
        settings["ssl"] = {"ca": str(tls.ca), "check_hostname": True}
    else:
        settings["ssl_disabled"] = True
    connection: Connection = pymysql.connect(host=host, port=port, **settings)
    return connection


def hold(connection: Connection) -> None:
    """Begin a transaction that keeps its database connection, since something is done in it."""
    connection.begin()
    run(connection, "DO 1")


def run(connection: Connection, sql: str, *arguments: object) -> int:
    """Run a statement; give the affected rows."""
    with connection.cursor() as cursor:
        return cursor.execute(sql, arguments or None)


def rows(connection: Connection, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Run a query; give its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        return list(cursor.fetchall())


def look(connection: Connection, sql: str) -> list[tuple[Any, ...]] | int:
    """Give the rows of a query, or the code of its error."""
    try:
        return rows(connection, sql)
    except pymysql.MySQLError as error:
        code: int = error.args[0]
        return code


def one(connection: Connection, sql: str, *arguments: object) -> Any:
    """Run a query; give the one value of its one row."""
    ((value,),) = rows(connection, sql, *arguments)
    return value


def status(connection: Connection) -> int:
    """Give the status flags of the last reply."""
    flags: int = connection.server_status  # type: ignore[attr-defined]
    return flags


def in_transaction(connection: Connection) -> bool:
    """Tell what the last reply said."""
    return bool(status(connection) & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


def backend(connection: Connection) -> int:
    """Give the server's own id of the connection that runs this."""
    number: int = one(connection, f"SELECT {BACKEND_ID}")
    return number


def cut(proxy: Proxy) -> None:
    """Have the server close the connection that the proxy lends, so that all copies of statements are gone."""
    since = len(proxy.log)
    with proxy.connect() as connection:
        number = backend(connection)
    proxy.server.execute(f"KILL {number}")
    proxy.wait_for_log(lambda line: "database connection lost" in line["event"], after=since)


def vanish(connection: Connection) -> None:
    """End the connection as a killed process does."""
    connection._force_close()  # type: ignore[attr-defined]


@contextmanager
def refused(code: int, text: str = "") -> Iterator[None]:
    """Expect MySQL's error ``code`` with ``text`` in its message."""
    with pytest.raises(pymysql.MySQLError) as caught:
        yield
    assert caught.value.args[0] == code, caught.value
    assert text in str(caught.value.args[1]), caught.value


def _port_in(address: str) -> int:
    # Twisted's name of one: IPv4Address(type='TCP', host='127.0.0.1', port=12345)
    return int(address.rpartition("port=")[2].rstrip(")")) if "port=" in address else 0


def settings_of(values: Mapping[str, object]) -> list[str]:
    """Write the lines of a section of TOML."""
    # JSON's strings, numbers, truth values and lists are TOML's too.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
