"""A server that writes a binary log, as every primary does."""

from __future__ import annotations

from pathlib import Path

import pymysql

from tests.integration.proxy import NATIVE, Proxy, one, rows, run
from tests.servers import DatabaseServer


def settings_written(admin: pymysql.Connection[pymysql.cursors.Cursor]) -> int:
    """Give how many SETs the server has been sent."""
    return int(rows(admin, "SHOW GLOBAL STATUS LIKE 'Com_set_option'")[0][1])


def test_a_write_changes_nothing_of_its_session(database: DatabaseServer, folder: Path) -> None:
    """What the server numbers its writes by is none of the session's settings: nothing has to be written back."""
    with type(database)(options={"log-bin": "binlog", "server-id": "7"}) as server:
        server.create_user(NATIVE.name, NATIVE.password)
        server.execute("CREATE TABLE app.t (a INT)")
        with (
            Proxy(server, folder, max_connections=1, accounts=[NATIVE]) as proxy,
            proxy.connect() as session,
            proxy.connect() as other,
            server.admin() as admin,
        ):
            assert one(admin, "SELECT @@log_bin") == 1
            for connection in (session, other):
                run(connection, "INSERT INTO t VALUES (0)")
            before = settings_written(admin)
            for number in range(5):
                run(session, "INSERT INTO t VALUES (%s)", number)
                run(other, "INSERT INTO t VALUES (%s)", number)
            assert settings_written(admin) == before
            assert one(session, "SELECT COUNT(*) FROM t") == 12
