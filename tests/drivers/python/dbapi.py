"""PyMySQL, mysqlclient, mysql-connector-python or MariaDB's mariadb, with what they have in common: PEP 249."""

from __future__ import annotations

import importlib
import sys
from typing import Any

if sys.argv[1] == "connector-c":
    # Before Python's own ssl: it comes with a newer OpenSSL, and the first one that is loaded is everybody's.
    importlib.import_module("_mysql_connector")

from tests.drivers.python.steps import CA, COLUMNS, HOST, PASSWORD, PORT, ROWS, SCHEMA, TABLE, USER, digest, pause, show

DRIVER = sys.argv[1]
settings: dict[str, Any] = {"host": HOST, "port": PORT, "user": USER, "password": PASSWORD, "charset": "utf8mb4"}
HAS_PREPARED = DRIVER.startswith("connector") or DRIVER == "mariadb"
if DRIVER.startswith("connector"):
    module = "mysql.connector"
    settings |= {"database": SCHEMA, "use_pure": DRIVER == "connector-pure"}
    settings |= {"ssl_ca": CA, "ssl_verify_cert": True} if CA else {"ssl_disabled": True}
elif DRIVER == "mariadb":
    module = "mariadb"
    del settings["charset"]  # always utf8mb4
    settings |= {"database": SCHEMA, "ssl_ca": CA, "ssl_verify_cert": True} if CA else {"database": SCHEMA}
elif DRIVER == "mysqlclient":
    module = "MySQLdb"
    settings |= {"database": SCHEMA, "ssl": {"ca": CA}} if CA else {"database": SCHEMA, "ssl_mode": "DISABLED"}
else:
    module = "pymysql"
    settings |= {"database": SCHEMA, "ssl": {"ca": CA}} if CA else {"database": SCHEMA, "ssl_disabled": True}
driver = importlib.import_module(module)
connection: Any = driver.connect(**settings)
PREPARED = [False, True] if HAS_PREPARED else [False]


def run(sql: str, values: tuple[Any, ...] = (), **kind: bool) -> Any:
    """Run a statement; give its rows, or the count of rows and the insert id."""
    cursor = connection.cursor(**kind)
    try:
        cursor.execute(sql, values) if values else cursor.execute(sql)
        return [list(row) for row in cursor.fetchall()] if cursor.description else [cursor.rowcount, cursor.lastrowid]
    finally:
        cursor.close()


def end() -> None:
    """End the transaction that PEP 249 has begun, and let others have the connection."""
    connection.commit()
    pause()


show("session", run("SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode"))
number = connection.connection_id if HAS_PREPARED else connection.thread_id()
show("id", run("SELECT CONNECTION_ID()") == [[number]])
end()
run("SET time_zone = '+05:00'")
end()
show("time zone", run("SELECT @@time_zone, FROM_UNIXTIME(0)"))
end()

insert = f"INSERT INTO {TABLE} ({COLUMNS}) VALUES ({', '.join(['%s'] * 7)})"
for row in ROWS:
    show("insert", run(insert, row))
connection.rollback()
pause()
show("rolled back", run(f"SELECT * FROM {TABLE}"))
end()
for row in ROWS:
    show("insert", run(insert, row))
end()
show("last insert id", run("SELECT LAST_INSERT_ID()"))
show("rows", run(f"SELECT * FROM {TABLE} ORDER BY id"))
end()

if len(PREPARED) > 1:
    cursor = connection.cursor(prepared=True)
    for row in ROWS:
        cursor.execute(insert, row)
        show("prepared insert", cursor.rowcount, cursor.lastrowid)
        end()
    cursor.close()
    cursor = connection.cursor(prepared=True)
    for number in (4, 5, 6, 100):
        cursor.execute(f"SELECT * FROM {TABLE} WHERE id = %s", (number,))
        show("prepared select", cursor.fetchall())
        end()
    cursor.close()
    cursor = connection.cursor(prepared=True)
    for value in (1, "ä€😀", None, 2.5, 3):
        cursor.execute("SELECT CONCAT(%s, 1)", (value,))
        show("type", cursor.fetchall())
        end()
    cursor.close()

cursor = connection.cursor()
for _ in range(2):
    # A bulk, where driver and server know such a thing.
    cursor.executemany(insert, ROWS)
    show("many", cursor.rowcount)
    show("in the transaction", run(f"SELECT COUNT(*) FROM {TABLE}"))
    end()
cursor.close()

for prepared in PREPARED:
    kind: dict[str, Any] = {"prepared": True} if prepared else {}
    for sql in (f"INSERT INTO {TABLE} (id) VALUES (1)", "SELECT * FROM missing", "SELECT 1 FROM"):
        try:
            run(sql, **kind)
        except driver.Error as error:
            show("error", getattr(error, "errno", error.args[0]))
        end()
show("after errors", run("SELECT 1"))
show("numbers", digest(run("SELECT * FROM numbers")))
end()
for prepared in PREPARED:
    kind = {"prepared": True} if prepared else {}
    show("many rows", digest(run("SELECT id, text FROM numbers WHERE id > %s", (5,), **kind)))
    end()
    blob = bytes(range(256)) * 4096
    show("large value", run(f"UPDATE {TABLE} SET data = %s WHERE id = %s", (blob, 1), **kind))
    show("large value", digest(run(f"SELECT data FROM {TABLE} WHERE id = %s", (1,), **kind)))
    end()
connection.close()
