"""A proxy whose secrets change, are broken, or cannot be read."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT

from tests.credentials.proxy import ManagedProxy
from tests.credentials.secrets_manager import SecretsManager
from tests.integration.logins import Login
from tests.integration.network import until
from tests.integration.packets import error_code
from tests.integration.proxy import NATIVE, SHA2, Account, LogLine, Proxy, one, refused, run
from tests.servers import DatabaseServer

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

SELDOM = {"refresh_interval": 3600}
"""The interval is no part of what is tested."""
NOT_YET = "the proxy cannot read all of its secrets at the moment"


def managed(password: str, name: str = "managed") -> Account:
    return Account(name, password, "MYSQL_CACHING_SHA2_PASSWORD")


def value_of(account: Account) -> dict[str, str]:
    return {"username": account.name, "password": account.password}


FIRST, SECOND, THIRD = (managed(f"Managed-{number}") for number in (1, 2, 3))


@pytest.fixture
def user(server: DatabaseServer) -> Account:
    """A user whose secret is in Secrets Manager."""
    server.create_user(FIRST.name, FIRST.password, grants=["ALL PRIVILEGES ON *.*"])
    return FIRST


def alter(server: DatabaseServer, account: Account) -> None:
    """Give the user its new password."""
    server.execute(f"ALTER USER '{account.name}'@'%' IDENTIFIED BY '{account.password}'")


def event(text: str, **fields: object) -> Callable[[LogLine], bool]:
    return lambda line: line["event"] == text and all(line.get(name) == value for name, value in fields.items())


def log_in_at_the_database(proxy: Proxy, account: Account) -> None:
    """Have the proxy open a connection: all that it has of this user are closed by the server."""
    for process in proxy.server.processlist(account.name):
        proxy.server.execute(f"KILL {process.id}")
    until(lambda: not proxy.server.processlist(account.name), "the connections are closed")
    with proxy.connect(account) as connection:
        assert one(connection, "SELECT 6 * 7") == 42


# -- the store is away, or a secret is broken --------------------------------------------------------------------------


@on_mariadb
def test_secrets_manager_is_away_at_the_start(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
    with ManagedProxy(server, tmp_path, [arn], accounts=(NATIVE,)) as proxy:
        proxy.wait_for_log(event("secret cannot be used", secret=arn))
        with proxy.connect(NATIVE) as connection:
            assert one(connection, "SELECT 6 * 7") == 42
        for account in (user, managed("Wrong-1"), managed("x", "nobody"), managed("Wrong-2", NATIVE.name)):
            # Who is known and who is not is not told by this either.
            with refused(3168, NOT_YET):
                proxy.connect(account)
        with manager.running():
            proxy.wait_for_log(event("secret can be used again", secret=arn))
            with proxy.connect(user) as connection:
                assert one(connection, "SELECT 6 * 7") == 42
            with refused(1045, "Access denied for user"):
                proxy.connect(managed("x", "nobody"))


@on_mariadb
def test_secrets_manager_takes_connections_and_does_not_answer(
    server: DatabaseServer, user: Account, tmp_path: Path, manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for its threads but who was denied, for a while; nor does the end."""
    with manager.running():
        arn = manager.create("app", value_of(user))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with ManagedProxy(server, tmp_path, [arn], accounts=(NATIVE,)) as proxy:
            silent.accept()  # and so there is a thread that waits
            with proxy.connect(NATIVE) as connection, ThreadPoolExecutor(1) as thread:
                denied = thread.submit(proxy.connect, user)
                while not denied.done():
                    assert one(connection, "SELECT 6 * 7") == 42
                with refused(3168, NOT_YET):
                    denied.result()


@on_mariadb
def test_no_secret_is_known_at_the_start(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    """Then the server's version is not known either, so that nobody can be greeted."""
    with manager.running():
        arn = manager.create("app", value_of(user))
    with ManagedProxy(server, tmp_path, [arn], monitor=arn, proxy={"handshake_timeout": 0.5}) as proxy:
        with refused(3168, NOT_YET):
            proxy.connect(user)
        # boto3 tries a few times before it gives up.
        proxy.wait_for_log(event("secret cannot be used", secret=arn))
        with manager.running():
            proxy.wait_for_log(event("secret can be used again", secret=arn))
            proxy.wait_for_log(event("target known"))
            with proxy.connect(user) as connection:
                assert one(connection, "SELECT 6 * 7") == 42


@on_mariadb
def test_broken_secrets_hurt_their_own_users(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        broken = {
            "not JSON (line 1 column 2)": manager.create("text", "{Planted-1"),
            'has no "password"': manager.create("keys", {"username": "keys", "passwort": "Planted-2"}),
            '"password" must be text': manager.create("type", {"username": "type", "password": [{"a": "Planted-3"}]}),
            "is binary; must be the text of a JSON object with username and password": manager.create(
                "binary", b"Planted-4\0\xff"
            ),
        }
        good = manager.create("good", value_of(user))
        with ManagedProxy(server, tmp_path, [*broken.values(), good], secrets=SELDOM) as proxy:
            for reason, arn in broken.items():
                proxy.wait_for_log(event("secret cannot be used", secret=arn, reason=reason))
            with proxy.connect(user) as connection:
                assert one(connection, "SELECT 6 * 7") == 42
            with refused(1045, "Access denied for user"):
                proxy.connect(managed("Planted-2", "keys"))
            # One that is repaired is found when its user comes.
            manager.put(broken['has no "password"'], value_of(user) | {"username": "repaired"})
            with pytest.raises(pymysql.OperationalError):
                proxy.connect(managed(user.password, "repaired"))
            proxy.wait_for_log(event("database connection failed", user="repaired"))


class HalfFile(Proxy):
    """A proxy whose second user's file ends too early when it starts."""

    def _config(self) -> str:
        config = super()._config()
        path = self._folder / "secret-1.json"
        path.write_text(path.read_text()[:-5])
        return config


@on_mariadb
def test_a_broken_file_hurts_its_own_user(server: DatabaseServer, tmp_path: Path) -> None:
    path = tmp_path / "secret-1.json"
    with HalfFile(server, tmp_path, accounts=(NATIVE, SHA2)) as proxy:
        proxy.wait_for_log(event("secret cannot be used", secret=str(path)))
        with proxy.connect(NATIVE):
            pass
        with refused(1045):
            proxy.connect(SHA2)
        path.write_text(json.dumps(value_of(SHA2)))
        proxy.wait_for_log(event("secret can be used again", secret=str(path)))
        path.write_text("{")
        proxy.wait_for_log(event("secret cannot be read; what was read before is kept", secret=str(path)))
        with proxy.connect(SHA2):
            pass


def test_a_secret_that_is_too_old(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    soon = {"refresh_interval": 1, "max_age": 1.5}
    with ExitStack() as stack:
        stack.enter_context(manager.running())
        arn = manager.create("app", value_of(user))
        proxy = stack.enter_context(ManagedProxy(server, tmp_path, [arn], accounts=(NATIVE,), secrets=soon))
        client = stack.enter_context(proxy.connect(user))
        manager.stop()
        proxy.wait_for_log(event("secret is too old to be used", secret=arn))
        assert one(client, "SELECT 6 * 7") == 42, "connections that are there go on"
        for process in server.processlist(user.name):
            server.execute(f"KILL {process.id}")
        proxy.wait_for_log(event("database connection lost"))
        with refused(1045, "no secret of this user that can be used"):
            one(client, "SELECT 6 * 7")
        with refused(3168, NOT_YET):
            proxy.connect(user)
        with proxy.connect(NATIVE):
            pass


# -- changes -----------------------------------------------------------------------------------------------------------


@on_mariadb
def test_a_change_is_noticed_in_time(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets={"refresh_interval": 1}) as proxy:
            with proxy.connect(user):
                pass  # so the secret has been read
            manager.put(arn, value_of(SECOND))
            proxy.wait_for_log(event("secret changed", secret=arn, user=user.name))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_client_may_know_a_new_password_before_the_proxy(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path, certificates: Any, tls: bool
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets=SELDOM, tls=certificates) as proxy:
            with proxy.connect(user, tls=tls) as connection:
                alter(server, SECOND)
                manager.put(arn, value_of(SECOND))
                for account in (SECOND, user):
                    with proxy.connect(account, tls=tls) as other:
                        assert one(other, "SELECT 6 * 7") == 42
                assert one(connection, "SELECT 6 * 7") == 42
            log_in_at_the_database(proxy, SECOND)
            with refused(1045):
                proxy.connect(THIRD, tls=tls)


@on_mariadb
def test_a_new_password_by_the_older_plugin(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets=SELDOM, native=True) as proxy:
            alter(server, SECOND)
            manager.put(arn, value_of(SECOND))
            for account in (SECOND, user):
                with proxy.connect(account) as connection:
                    assert one(connection, "SELECT 6 * 7") == 42
            with refused(1045):
                proxy.connect(THIRD)


@on_mariadb
def test_without_grace_the_old_password_is_refused(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets={**SELDOM, "previous_grace": 0}) as proxy:
            with proxy.connect(user):
                pass
            alter(server, SECOND)
            manager.put(arn, value_of(SECOND))
            with proxy.connect(SECOND):
                pass
            with refused(1045):
                proxy.connect(user)


@on_mariadb
def test_a_user_who_is_new(server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path) -> None:
    """As the second of two users who alternate is, the first time."""
    other = managed("Other-1", "managed_clone")
    server.create_user(other.name, other.password, grants=["ALL PRIVILEGES ON *.*"])
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets=SELDOM) as proxy:
            with refused(1045):
                proxy.connect(other)
            manager.put(arn, value_of(other))
            with proxy.connect(other) as connection:
                assert one(connection, "SELECT 6 * 7") == 42


def test_the_database_is_ahead_of_the_secret(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets=SELDOM) as proxy:
            version = manager.put(arn, value_of(SECOND), "AWSPENDING")
            alter(server, SECOND)
            for _ in range(3):
                log_in_at_the_database(proxy, user)
            with refused(1045):
                proxy.connect(SECOND)
            manager.finish(arn, version)
            for account in (SECOND, user):
                log_in_at_the_database(proxy, account)
            failed = [line for line in proxy.log if line["event"] == "database connection failed"]
            # One that is on its way may be killed with the others.
            assert {line["reason"] for line in failed} <= {"the database closed the connection"}


def test_the_secret_is_ahead_of_the_database(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        with ManagedProxy(server, tmp_path, [arn], secrets=SELDOM) as proxy:
            manager.put(arn, value_of(SECOND))
            for account in (SECOND, user):
                log_in_at_the_database(proxy, account)
            alter(server, SECOND)
            for account in (SECOND, user):
                log_in_at_the_database(proxy, account)


def test_a_connection_that_cannot_log_in_again_gives_way_to_a_new_one(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    """A session without a schema, on a connection that has one, takes COM_CHANGE_USER. Here all have one."""
    with manager.running():
        arn = manager.create("app", value_of(user))
        with (
            ManagedProxy(server, tmp_path, [arn], secrets=SELDOM, max_connections=5) as proxy,
            proxy.connect(user, database=None) as without,
            ExitStack() as stack,
        ):
            others = [stack.enter_context(proxy.connect(user)) for _ in range(5)]
            for other in others:
                other.begin()
                run(other, "SELECT 1")
            for other in others:
                other.commit()
            manager.put(arn, value_of(SECOND), "AWSPENDING")
            alter(server, SECOND)
            assert one(without, "SELECT DATABASE()") is None
            lost = event("database connection lost", reason="the database does not let the user log in again")
            assert len([line for line in proxy.log if lost(line)]) == 1


@on_mariadb
def test_a_file_that_changes(server: DatabaseServer, user: Account, tmp_path: Path) -> None:
    with ManagedProxy(server, tmp_path, [], accounts=(user,)) as proxy, proxy.connect(user) as connection:
        path = tmp_path / "secret-0.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(value_of(SECOND)))
        new.replace(path)
        proxy.wait_for_log(event("secret changed", secret=str(path)))
        for account in (SECOND, user):
            log_in_at_the_database(proxy, account)
        alter(server, SECOND)
        for account in (SECOND, user):
            log_in_at_the_database(proxy, account)
        assert one(connection, "SELECT 6 * 7") == 42


@on_mariadb
def test_a_secret_in_the_environment(
    server: DatabaseServer, user: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGED_SECRET", json.dumps(value_of(user)))
    with ManagedProxy(server, tmp_path, ["env:MANAGED_SECRET"]) as proxy, proxy.connect(user) as connection:
        assert one(connection, "SELECT 6 * 7") == 42


@on_mariadb
def test_a_secret_that_the_database_refuses(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(SECOND))
        with ManagedProxy(server, tmp_path, [arn], accounts=(NATIVE,), secrets=SELDOM) as proxy:
            for _ in range(2):
                with refused(1045, "Access denied at the database"):
                    proxy.connect(SECOND)
                with proxy.connect(NATIVE, client_flag=CLIENT.FOUND_ROWS) as connection:
                    assert one(connection, "SELECT 6 * 7") == 42
            manager.put(arn, value_of(user))
            with proxy.connect(user) as connection:
                assert one(connection, "SELECT 6 * 7") == 42


def test_the_monitors_secret_changes(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("monitor", value_of(user))
        often = {"check_interval": 0.1}
        with ManagedProxy(
            server, tmp_path, [], accounts=(NATIVE,), secrets=SELDOM, monitor=arn, topology=often
        ) as proxy:
            proxy.wait_for_log(event("target", state="AVAILABLE"))
            seen = len(proxy.log)
            (before,) = server.processlist(user.name)
            alter(server, SECOND)
            manager.put(arn, value_of(SECOND))
            server.execute(f"KILL {before.id}")

            def is_back() -> bool:
                return [process.id for process in server.processlist(user.name)] not in ([], [before.id])

            until(is_back, "the monitor logs in")
            assert not [line for line in proxy.log[seen:] if line.get("reason") == "AUTH_FAILURE"]


@on_mariadb
def test_a_client_that_leaves_while_secrets_are_read_again(
    server: DatabaseServer, manager: SecretsManager, user: Account, tmp_path: Path
) -> None:
    with manager.running():
        arn = manager.create("app", value_of(user))
        proxy = ManagedProxy(server, tmp_path, [arn], secrets=SELDOM)
        with proxy, proxy.connect(user):
            for _ in range(5):
                with Login(proxy.host, proxy.port) as login:
                    login.respond(user.name, b"\x55" * 32)
                    login.send(b"wrong\0")
            with Login(proxy.host, proxy.port) as login:
                login.respond(user.name, b"\x55" * 32)
                assert error_code(login.full("wrong", encrypted=True)) == 1045
