"""Active roles (SET ROLE) are the session's: they go with it from connection to connection, and to no other session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.integration.proxy import Account, Proxy, backend, connect, look, one, refused, rows, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

POOR = Account("through_roles", "Roles-Password-3", "MYSQL_NATIVE_PASSWORD")
"""May do nothing but what a role lets it do."""
NAMES = ("poor_one", "poor_two", "poor `odd``", 'poor "one"', "poor_rôle")


def quoted(name: str) -> str:
    """Write a role's name down for SET ROLE, whatever sql_mode is."""
    return "`" + name.replace("`", "``") + "`"


@pytest.fixture(scope="module")
def account(server: DatabaseServer) -> Iterator[Account]:
    """The account, its roles, and a schema that only one of them may use."""
    server.create_user(POOR.name, POOR.password, grants=["SELECT ON app.*"])
    server.execute("DROP DATABASE IF EXISTS roles_only", "CREATE DATABASE roles_only")
    server.execute("CREATE TABLE roles_only.t (a INT)")
    for name in NAMES:
        server.execute(f"CREATE ROLE {quoted(name)}", f"GRANT {quoted(name)} TO '{POOR.name}'@'%'")
    server.execute("GRANT ALL PRIVILEGES ON roles_only.* TO poor_one")
    yield POOR
    server.execute(f"DROP ROLE {', '.join(map(quoted, NAMES))}", "DROP DATABASE roles_only")


@pytest.fixture
def single(server: DatabaseServer, account: Account, folder: Path) -> Iterator[Proxy]:
    """A proxy with one connection of that account."""
    with Proxy(server, folder, max_connections=1, accounts=[account]) as proxy:
        yield proxy


@pytest.fixture
def alone(server: DatabaseServer, account: Account) -> Iterator[Connection]:
    """A connection to the server itself."""
    with connect(server.host, server.port, account, server.certificates) as connection:
        yield connection


def test_a_role_follows_its_session(single: Proxy, account: Account) -> None:
    with single.connect(account) as session, single.connect(account) as other:
        none = one(other, "SELECT CURRENT_ROLE()")
        run(session, "SET ROLE poor_one")
        for _ in range(2):
            assert one(other, "SELECT CURRENT_ROLE()") == none
            assert "poor_one" in one(session, "SELECT CURRENT_ROLE()")
        assert backend(session) == backend(other)
        with refused(1142):
            run(other, "INSERT INTO roles_only.t VALUES (1)")
        run(session, "INSERT INTO roles_only.t VALUES (1)")
        run(session, "SET ROLE NONE")
        assert one(other, "SELECT CURRENT_ROLE()") == none
        with refused(1142):
            run(session, "INSERT INTO roles_only.t VALUES (1)")
    assert not [line for line in single.log if "pinned" in line["event"]]


def test_a_schema_is_entered_with_the_role_that_may(single: Proxy, account: Account) -> None:
    with single.connect(account) as session, single.connect(account) as other:
        run(session, "SET ROLE poor_one")
        run(session, "USE roles_only")
        for _ in range(2):
            assert one(other, "SELECT DATABASE()") == "app"
            assert one(session, "SELECT DATABASE()") == "roles_only"
            rows(session, "SELECT * FROM t")
        # Nobody else may, though somebody has been there.
        with refused(1044):
            single.connect(account, database="roles_only")


FORMS = {
    "mariadb": [quoted(name) for name in NAMES] + ["'poor_two'", "NONE", "'NONE'"],
    "mysql": [
        *map(quoted, NAMES),
        "NONE",
        "DEFAULT",
        "ALL",
        "ALL EXCEPT poor_one, poor_two",
        "poor_two, `poor_one`@'%'",
        ", ".join(map(quoted, NAMES)),
    ],
}
SETTINGS = [
    "sql_mode = ''",
    "sql_mode = 'ANSI'",
    "sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES', NAMES latin1",
    "sql_quote_show_create = 0",
    "sql_quote_show_create = 0, sql_mode = 'ANSI', NAMES gbk",
]


def test_all_forms(single: Proxy, alone: Connection, account: Account, server: DatabaseServer) -> None:
    with single.connect(account) as session, single.connect(account) as other:
        for settings in SETTINGS:
            for form in FORMS[server.kind]:
                for each in (alone, session):
                    run(each, f"SET {settings}, NAMES utf8mb4")
                    run(each, f"SET ROLE {form}")
                    run(each, f"SET {settings}")
                assert one(other, "SELECT CURRENT_ROLE()") in (None, "NONE")
                active = "SELECT CAST(CURRENT_ROLE() AS BINARY)"
                assert one(session, active) == one(alone, active), (settings, form)
    assert not [line for line in single.log if "pinned" in line["event"]]


@pytest.mark.parametrize("settings", ["", "time_zone = '+01:00', ", "@x = 1, "])
def test_a_role_among_other_settings(
    single: Proxy, account: Account, server: DatabaseServer, settings: str
) -> None:
    if server.kind != "mariadb":
        pytest.skip("only mariadb has it")
    with single.connect(account) as session, single.connect(account) as other:
        run(session, f"SET {settings}ROLE poor_two")
        assert one(other, "SELECT CURRENT_ROLE()") is None
        assert one(session, "SELECT CURRENT_ROLE()") == "poor_two"


def test_a_role_that_is_set_before_an_error(single: Proxy, account: Account) -> None:
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with single.connect(account, client_flag=flags) as session:
        with refused(1146), session.cursor() as cursor:
            cursor.execute("SET ROLE poor_one; SELECT * FROM missing")
            cursor.nextset()
        assert "poor_one" in one(session, "SELECT CURRENT_ROLE()")
    with single.connect(account) as session, single.connect(account) as other:
        assert one(other, "SELECT CURRENT_ROLE()") in (None, "NONE")
        run(session, "SET ROLE poor_one")
        assert look(session, "SET ROLE no_such_role") in (1959, 3530)
        assert one(other, "SELECT CURRENT_ROLE()") in (None, "NONE")
        assert "poor_one" in one(session, "SELECT CURRENT_ROLE()")


def test_a_reset_keeps_the_role(single: Proxy, alone: Connection, account: Account) -> None:
    """As on the servers themselves."""
    with single.connect(account) as session, single.connect(account) as other:
        for each in (alone, session):
            run(each, "SET ROLE poor_two")
            if each is session:
                run(other, "DO 1")
            run(each, "BEGIN")
            each._execute_command(0x1F, b"")  # type: ignore[attr-defined]
            each._read_ok_packet()  # type: ignore[attr-defined]
        assert one(other, "SELECT CURRENT_ROLE()") in (None, "NONE")
        assert one(session, "SELECT CURRENT_ROLE()") == one(alone, "SELECT CURRENT_ROLE()")


def test_a_client_that_leaves_with_a_role(single: Proxy, account: Account) -> None:
    with single.connect(account) as session:
        run(session, "SET ROLE poor_one")
        run(session, "BEGIN")
        rows(session, "SELECT * FROM roles_only.t")
    with single.connect(account) as later:
        assert one(later, "SELECT CURRENT_ROLE()") in (None, "NONE")
        with refused(1142):
            rows(later, "SELECT * FROM roles_only.t")


def test_a_role_that_is_taken_away(single: Proxy, account: Account, server: DatabaseServer) -> None:
    """The session is told once, then it goes on without."""
    with single.connect(account) as session, single.connect(account) as other:
        run(session, "SET ROLE poor_two")
        run(other, "DO 1")
        server.execute(f"REVOKE poor_two FROM '{account.name}'@'%'")
        try:
            run(other, "DO 1")
            assert look(session, "DO 1") in (1959, 3530)
            assert one(session, "SELECT CURRENT_ROLE()") in (None, "NONE")
        finally:
            server.execute(f"GRANT poor_two TO '{account.name}'@'%'")


def test_a_default_role(server: DatabaseServer, account: Account, folder: Path) -> None:
    to = "FOR" if server.kind == "mariadb" else "TO"
    server.execute(f"SET DEFAULT ROLE poor_one {to} '{account.name}'@'%'")
    try:
        with (
            Proxy(server, folder, max_connections=1, accounts=[account]) as proxy,
            proxy.connect(account, database="roles_only") as session,
            proxy.connect(account) as other,
        ):
            run(session, "SET ROLE NONE")
            assert "poor_one" in one(other, "SELECT CURRENT_ROLE()")
            # The schema cannot be entered again without the role: told once.
            with refused(1044):
                run(session, "DO 1")
            run(session, "USE app")
            assert one(session, "SELECT CURRENT_ROLE()") in (None, "NONE")
            with proxy.connect(account, database="roles_only") as later:
                assert "poor_one" in one(later, "SELECT CURRENT_ROLE()")
    finally:
        server.execute(f"SET DEFAULT ROLE NONE {to} '{account.name}'@'%'")
