"""A Twisted application of another kind with the proxy in it, run as a process of its own; tells what is left behind.

`python -m tests.integration.embedding SCENARIO SETTINGS` prints one line of JSON. SETTINGS is JSON too: `server`
(host, port), `folder`, `users`, a list of names and passwords, and `tls` and `ca`, the proxy's certificate and who
signed it.
"""

from __future__ import annotations

import gc
import http.client
import json
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pymysql
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from rdsproxy import ProxyService, StartError
from rdsproxy.config import AdminSettings, Config, from_dict
from rdsproxy.wire import Wire
from tests.integration.network import until, wait_until_read

SETTINGS: dict[str, Any] = {}
HOST = "127.0.0.1"

Report = dict[str, Any]
"""What there was `before`, what there is `after` each stop, and `answers` in between."""


class Application:
    """What the process does besides the proxy."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.parent = MultiService()
        self.parent.startService()

    def run(self, work: Callable[[Application], Coroutine[Deferred[Any], Any, Report]]) -> Report:
        """Run `work` inside the reactor; give what it gives."""
        results: list[Any] = []

        def begin() -> None:
            # Twisted's own spare file, which it keeps from the first port to the end of the process.
            self.reactor.listenTCP(0, Factory(), interface=HOST).stopListening()
            done: Deferred[Any] = deferLater(self.reactor, 0)
            done.addCallback(lambda _: Deferred.fromCoroutine(work(self)))
            done.addBoth(results.append)
            done.addBoth(lambda _: self.reactor.stop())

        self.reactor.callWhenRunning(begin)
        self.reactor.run()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: Report = results[0]
        return result

    def start(self, service: Any) -> None:
        """Make a service a part of the application, which runs: that starts it."""
        service.setServiceParent(self.parent)

    def stop(self, service: Any) -> Deferred[None]:
        """Take a service out of the application, which stops it."""
        stopped: Deferred[None] = service.disownServiceParent()
        return stopped

    def holds(self) -> dict[str, list[str]]:
        """Give what is there now: delayed calls, sockets being watched, threads, open files."""
        gc.collect()
        return {
            "delayed calls": sorted(map(str, self.reactor.getDelayedCalls())),
            "readers": sorted(type(reader).__name__ for reader in self.reactor.getReaders()),
            "writers": sorted(type(writer).__name__ for writer in self.reactor.getWriters()),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "files": sorted(filter(None, map(target, os.listdir("/proc/self/fd")))),  # noqa: PTH208
        }

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run `work` in a thread that is gone when the Deferred fires."""
        done: Deferred[Any] = Deferred()

        def finish(fire: Callable[[Any], None], result: object) -> None:
            thread.join()
            fire(result)

        def body() -> None:
            try:
                result = work(*arguments)
            except Exception:
                self.reactor.callFromThread(finish, done.errback, Failure())
            else:
                self.reactor.callFromThread(finish, done.callback, result)

        thread = threading.Thread(target=body)
        thread.start()
        return done


def target(fd: str) -> str:
    """Give what an open file is, without what differs from one of its kind to the next; empty for the listing's own."""
    try:
        name = str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""
    return "" if name.startswith("/proc/") else name.split(":[")[0]


def configuration(user: int = 0, port: int = 0, tls: bool = False, **target_group: Any) -> Config:
    """Give the configuration for one of the users, with TLS on both sides or without."""
    username, password = SETTINGS["users"][user]
    secret = Path(SETTINGS["folder"]) / f"{username}.json"
    secret.write_text(json.dumps({"username": username, "password": password}))
    host, database_port = SETTINGS["server"]
    return from_dict(
        {
            "proxy": {
                "tls": SETTINGS["tls"] if tls else None,
                "endpoints": [{"listen": [f"tcp:{port}:interface={HOST}"]}],
                "auth": [{"secret": f"file:{secret}", "client_password_auth_type": "MYSQL_NATIVE_PASSWORD"}],
            },
            "target_group": {
                "targets": [{"host": host, "port": database_port}],
                "tls": {"mode": "REQUIRED" if tls else "DISABLED"},
                **target_group,
            },
        }
    )


def port_of(service: ProxyService) -> int:
    """Give the port that a started service listens on, the last one."""
    address: Any = service.ports[-1].getHost()
    port: int = address.port
    return port


def connect(port: int, user: int = 0, ca: str | None = None) -> pymysql.Connection[Any]:
    """Connect to a service, under one of the users."""
    username, password = SETTINGS["users"][user]
    return pymysql.connect(
        host=HOST,
        port=port,
        user=username,
        password=password,
        ssl_ca=ca,
        ssl_disabled=ca is None,
        database="app",
        read_timeout=20,
    )


def ask(port: int, user: int = 0) -> str:
    """Connect, ask who one is, leave; or give the error's code."""
    try:
        with connect(port, user) as connection:
            return one(connection, "SELECT CURRENT_USER()")
    except pymysql.MySQLError as error:
        return str(error.args[0])


def one(connection: pymysql.Connection[Any], sql: str) -> str:
    """Run a query; give the one value of its one row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return str(cursor.fetchone()[0])


def ending(connection: pymysql.Connection[Any], sql: str) -> str:
    """Run a query; give its one value, or the error's code."""
    try:
        return one(connection, sql)
    except pymysql.MySQLError as error:
        return str(error.args[0])


def wait_for_statement(text: str) -> None:
    """Return when the server runs a statement with `text` in it."""
    host, port = SETTINGS["server"]
    username, password = SETTINGS["users"][0]
    with (
        pymysql.connect(host=host, port=port, user=username, password=password, ssl_disabled=True) as connection,
        connection.cursor() as cursor,
    ):

        def runs() -> bool:
            cursor.execute("SHOW PROCESSLIST")
            return any(text in (line[7] or "") for line in cursor.fetchall())

        until(runs, f"a statement with {text}")


async def start_and_stop(app: Application) -> Report:
    """Serve, stop, both once more, and stop at once after a start."""
    before = app.holds()
    service = ProxyService(configuration(), reactor=app.reactor)
    answers, after = [], []
    for _ in range(2):
        app.start(service)
        answers.append(await app.in_thread(ask, port_of(service)))
        await app.stop(service)
        after.append(app.holds())
    service.startService()
    await service.stopService()
    after.append(app.holds())
    await service.stopService()
    after.append(app.holds())
    return {"before": before, "after": after, "answers": answers}


async def with_clients(app: Application) -> Report:
    """Stop while clients are there: silent, idle, in a transaction, in a statement, waiting for a connection."""
    before = app.holds()
    service = ProxyService(configuration(max_connections=2), reactor=app.reactor)
    app.start(service)
    port = port_of(service)
    silent = socket.create_connection((HOST, port))
    clients = [await app.in_thread(connect, port) for _ in range(4)]
    idle, holds, sleeps, waits = clients
    await app.in_thread(holds.begin)
    await app.in_thread(holds.query, "DO 1")
    endings = [app.in_thread(ending, sleeps, "SELECT SLEEP(60)")]
    await app.in_thread(wait_for_statement, "SLEEP(60)")
    endings.append(app.in_thread(ending, waits, "SELECT 'waits'"))
    await app.in_thread(wait_until_read, waits._sock)
    await app.stop(service)
    delayed = app.holds()["delayed calls"]
    answers = [await each for each in endings]
    answers += [await app.in_thread(ending, connection, "SELECT 1") for connection in (idle, holds)]
    for connection in clients:
        connection._force_close()
    silent.close()
    after = app.holds()
    return {"before": before, "after": [after, {**after, "delayed calls": delayed}], "answers": answers}


async def without_collection(app: Application) -> Report:
    """Close clients' and databases' connections, some with half a packet: they are freed, and not by a collection."""
    before = app.holds()
    service = ProxyService(configuration(max_connections=3), reactor=app.reactor)
    app.start(service)
    port = port_of(service)
    clients = [await app.in_thread(connect, port) for _ in range(4)]
    for sql in ("BEGIN", "DO 1", "COMMIT"):
        # All three at a time have one of the database's.
        for client in clients[1:]:
            await app.in_thread(client.query, sql)
    clients[2]._sock.sendall(b"\xff\xff\xff\0\x03SELECT")
    await app.in_thread(wait_until_read, clients[2]._sock)
    connections = [weakref.ref(wire) for wire in gc.get_objects() if isinstance(wire, Wire)]
    gc.collect()
    gc.disable()
    for client in clients:
        await app.in_thread(client._force_close)
    await app.stop(service)
    await deferLater(app.reactor, 0)
    left = [type(wire()).__name__ for wire in connections if wire() is not None]
    gc.enable()
    return {"before": before, "after": [app.holds()], "answers": [len(connections), left]}


async def without_database(app: Application) -> Report:
    """Stop while the database refuses connections, and while it accepts them and says nothing; clients wait."""
    after, answers = [], []
    with socket.socket() as deaf:
        deaf.bind((HOST, 0))
        SETTINGS["server"] = deaf.getsockname()
        before = app.holds()
        for listens in (False, True):
            if listens:
                deaf.listen()
            service = ProxyService(configuration(), reactor=app.reactor)
            app.start(service)
            client = socket.create_connection((HOST, port_of(service)))
            while "Server" not in app.holds()["readers"]:
                await deferLater(app.reactor, 0.01)
            if listens:
                accepted, _ = await app.in_thread(deaf.accept)
            await app.stop(service)
            answers.append(str(await app.in_thread(code, client)))
            client.close()
            if listens:
                accepted.close()
            after.append(app.holds())
    return {"before": before, "after": after, "answers": answers}


def code(client: socket.socket) -> int:
    """Give the code of the error that is sent in place of a greeting."""
    with client.makefile("rb") as file:
        packet = file.read()
    assert packet[4:5] == b"\xff", packet
    return int.from_bytes(packet[5:7], "little")


async def two_services(app: Application) -> Report:
    """Two of them, with one user each: what one does is nothing to the other."""
    before = app.holds()
    services = []
    for user in range(2):
        service = ProxyService(configuration(user, max_connections=1), reactor=app.reactor)
        app.start(service)
        services.append(service)
    ports = [port_of(service) for service in services]
    answers = [await app.in_thread(ask, ports[port], user) for port in range(2) for user in range(2)]
    # The first one's only connection is taken; the second one has its own.
    clients = [await app.in_thread(connect, ports[user], user) for user in range(2)]
    answers += [await app.in_thread(ending, clients[0], "SELECT 1")]
    answers += [await app.in_thread(ending, clients[1], "SELECT 2")]
    await app.stop(services[0])
    answers += [await app.in_thread(ending, client, "SELECT 3") for client in clients]
    answers += [await app.in_thread(ask, ports[1], 1)]
    await app.stop(services[1])
    for client in clients:
        client._force_close()
    return {"before": before, "after": [app.holds()], "answers": answers}


async def with_admin(app: Application) -> Report:
    """Two with an admin endpoint each, which shows its own clients; a kept connection does not outlive a stop."""
    before = app.holds()
    services = []
    for user in range(2):
        config = configuration(user)
        admin = AdminSettings(listen=f"tcp:0:interface={HOST}")
        service = ProxyService(config.model_copy(update={"admin": admin}), reactor=app.reactor)
        app.start(service)
        services.append(service)
    clients = [await app.in_thread(connect, port_of(services[user]), user) for user in (0, 1, 1)]
    answers, kept = [], []
    for service in services:
        assert service.admin_port is not None
        address: Any = service.admin_port.getHost()
        browser = http.client.HTTPConnection(HOST, address.port, timeout=20)
        answers.append(await app.in_thread(client_connections, browser))
        kept.append(browser)
    for service in services:
        await app.stop(service)
        assert service.admin_port is None
    for browser in kept:
        browser.close()
    for client in clients:
        client._force_close()
    return {"before": before, "after": [app.holds()], "answers": answers}


def client_connections(browser: http.client.HTTPConnection) -> str:
    """Scrape, and leave the connection open."""
    browser.request("GET", "/metrics")
    text = browser.getresponse().read().decode()
    (line,) = (line for line in text.splitlines() if line.startswith("rdsproxy_client_connections "))
    return line.split()[1]


async def busy_admin_port(app: Application) -> Report:
    """The clients' port is free, the admin endpoint's is not: nothing listens."""
    answers = []
    with socket.create_server((HOST, 0)) as occupant:
        before = app.holds()
        admin = AdminSettings(listen=f"tcp:{occupant.getsockname()[1]}:interface={HOST}")
        service = ProxyService(configuration().model_copy(update={"admin": admin}), reactor=app.reactor)
        try:
            service.startService()
        except StartError as error:
            answers.append(str(error))
        await deferLater(app.reactor, 0)  # a port is closed on the next turn
        after = [app.holds()]
        await service.stopService()
        after.append(app.holds())
    return {"before": before, "after": after, "answers": answers}


async def busy_port(app: Application) -> Report:
    """A start that fails leaves nothing behind, and may be tried again."""
    after, answers = [], []
    with socket.create_server((HOST, 0)) as occupant:
        before = app.holds()
        port = occupant.getsockname()[1]
        config = configuration(port=port)
        # The first endpoint is free, the second is not.
        (endpoint,) = config.proxy.endpoints
        both = endpoint.model_copy(update={"listen": (f"tcp:0:interface={HOST}", *endpoint.listen)})
        proxy = config.proxy.model_copy(update={"endpoints": (both,)})
        service = ProxyService(config.model_copy(update={"proxy": proxy}), reactor=app.reactor)
        for _ in range(2):
            try:
                service.startService()
            except StartError as error:
                answers.append(str(error))
            await deferLater(app.reactor, 0)  # a port is closed on the next turn
            after.append(app.holds())
        await service.stopService()
        after.append(app.holds())
    service.startService()
    answers.append(await app.in_thread(ask, port_of(service)))
    await service.stopService()
    left = app.holds()
    left["files"] = sorted([*left["files"], "socket"])  # the occupant's, which has left
    after.append(left)
    return {"before": before, "after": after, "answers": answers}


async def with_tls(app: Application) -> Report:
    """Stop while a client with TLS is in a transaction on a connection with TLS."""
    before = app.holds()
    service = ProxyService(configuration(tls=True), reactor=app.reactor)
    app.start(service)
    client = await app.in_thread(connect, port_of(service), 0, SETTINGS["ca"])
    await app.in_thread(client.begin)
    answers = [await app.in_thread(ending, client, "SELECT 1")]
    stopped = app.stop(service)
    answers.append(await app.in_thread(ending, client, "SELECT 2"))
    client._force_close()
    await stopped
    return {"before": before, "after": [app.holds()], "answers": answers}


SCENARIOS = {
    work.__name__: work
    for work in (
        start_and_stop,
        with_clients,
        without_collection,
        without_database,
        two_services,
        busy_port,
        with_admin,
        busy_admin_port,
    )
}

if __name__ == "__main__":
    SETTINGS.update(json.loads(sys.argv[2]))
    if sys.argv[1] == "with_tls":
        # Twisted's TLS writes with the help of the global reactor, whatever reactor its connection has.
        from twisted.internet import reactor

        report = Application(reactor).run(with_tls)
    else:
        report = Application(EPollReactor()).run(SCENARIOS[sys.argv[1]])
        # It has kept to the reactor that it was given.
        assert "twisted.internet.reactor" not in sys.modules
    print(json.dumps(report))
