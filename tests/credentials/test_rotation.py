"""Passwords that change while clients are at work: nobody is dropped, no query fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import pytest
from botocore.exceptions import ClientError
from pymysql.constants import CLIENT

from tests.credentials.proxy import ManagedProxy
from tests.credentials.secrets_manager import SecretsManager
from tests.integration.proxy import NATIVE, Account, one
from tests.servers import DatabaseServer

ROTATIONS = {"mariadb": 20, "mysql": 5}
"""Each takes one or two seconds, and what a rotation is made of is the same on both."""
PATIENCE = 60.0  # seconds
USER = "rotated"


class Load:
    """Applications at work, each in a thread; counts what they do and keeps what fails."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._done: dict[str, int] = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, turn: Callable[[], object]) -> None:
        """Let another one take turns."""
        self._done[name] = 0

        def work() -> None:
            while not self._stop.is_set():
                try:
                    turn()
                except BaseException as error:
                    with self._news:
                        self.failures.append(error)
                        self._news.notify_all()
                    return
                with self._news:
                    self._done[name] += 1
                    self._news.notify_all()

        self._threads.append(threading.Thread(target=work, name=name))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, turns: int = 2) -> None:
        """Wait until each has taken as many turns that began after this."""
        with self._news:
            wanted = {name: done + turns + 1 for name, done in self._done.items()}

            def enough() -> bool:
                return bool(self.failures) or all(self._done[name] >= turns for name, turns in wanted.items())

            assert self._news.wait_for(enough, PATIENCE), self._done
            assert not self.failures, self.failures


class Applications:
    """Ways of using the proxy with a secret that is rotated."""

    def __init__(self, proxy: ManagedProxy, manager: SecretsManager, arn: str) -> None:
        self._proxy = proxy
        self._manager = manager
        self._arn = arn
        self._remembered = self.account()
        self._held = {number: self.connect() for number in range(3)}

    def account(self) -> Account:
        """Read the secret."""
        while True:
            try:
                value = self._manager.read(self._arn)
            except ClientError as error:
                # moto moves a label in two steps; the API does it in one.
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                continue
            return Account(value["username"], value["password"], "MYSQL_CACHING_SHA2_PASSWORD")

    def connect(self, **more: Any) -> pymysql.Connection[Any]:
        """Log in as an application does that reads the secret for each connection."""
        return self._proxy.connect(self.account(), **more)

    def come_and_go(self, **more: Any) -> None:
        """Connect, ask something, write something, leave."""
        with self.connect(**more) as connection:
            query(connection)

    def remember(self) -> None:
        """Read the secret as an application does that keeps what it has read."""
        self._remembered = self.account()

    def come_with_what_is_remembered(self) -> None:
        """Connect as such an application."""
        with self._proxy.connect(self._remembered) as connection:
            query(connection)

    def stay(self, number: int) -> None:
        """Go on with a connection that has been there from the start."""
        query(self._held[number])

    def close(self) -> None:
        """Leave."""
        for connection in self._held.values():
            connection.close()


def query(connection: pymysql.Connection[Any]) -> None:
    """Do something outside of a transaction, and inside of one."""
    assert one(connection, "SELECT 6 * 7") == 42
    connection.begin()
    assert one(connection, "SELECT 6 * 8") == 48
    connection.commit()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("alternate", [False, True], ids=["single-user", "alternating-users"])
def test_no_query_fails_while_passwords_are_rotated(
    server: DatabaseServer, manager: SecretsManager, tmp_path: Path, alternate: bool
) -> None:
    """The pool is small for its keys, so that all the time connections are closed and new ones log in."""
    for name in (USER, f"{USER}_clone"):
        server.create_user(name, "Rotated-0", grants=["ALL PRIVILEGES ON *.*"])
    with manager.running():
        arn = manager.create("rotated", {"username": USER, "password": "Rotated-0", "engine": "mysql"})
        with ManagedProxy(server, tmp_path, [arn], accounts=(NATIVE,), max_connections=3) as proxy:
            applications = Applications(proxy, manager, arn)
            load = Load()
            load.add("native", lambda: query_as_another(proxy))
            load.add("come and go", applications.come_and_go)
            load.add("found rows", lambda: applications.come_and_go(client_flag=CLIENT.FOUND_ROWS))
            load.add("remember", applications.come_with_what_is_remembered)
            load.add("no schema", lambda: applications.come_and_go(database=None))
            for number in range(3):
                load.add(f"stay {number}", partial(applications.stay, number))
            with load:
                for _ in range(ROTATIONS[server.kind]):
                    load.go_on()
                    applications.remember()
                    manager.rotate(arn, server, load.go_on, alternate=alternate)
                load.go_on()
            assert not load.failures
            applications.close()
            changes = [line for line in proxy.log if line["event"] == "secret changed"]
            assert len(changes) == ROTATIONS[server.kind]
            denied = [line for line in proxy.log if line["event"] == "database connection failed"]
            assert not denied


def query_as_another(proxy: ManagedProxy) -> None:
    """A user whose secret does not change."""
    with proxy.connect(NATIVE) as connection:
        query(connection)
