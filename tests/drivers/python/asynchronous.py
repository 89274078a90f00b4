"""aiomysql or asyncmy: two clients with one interface, over a pool of theirs with one connection."""

from __future__ import annotations

import asyncio
import importlib
import ssl
import sys
from typing import Any

from tests.drivers.python.steps import CA, COLUMNS, HOST, PASSWORD, PORT, ROWS, SCHEMA, TABLE, USER, digest, pause, show

driver = importlib.import_module(sys.argv[1])


async def run(connection: Any, sql: str, *values: Any) -> Any:
    """Run a statement; give its rows, or the count of rows and the insert id."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, values or None)
        return list(await cursor.fetchall()) if cursor.description else [cursor.rowcount, cursor.lastrowid]


async def main() -> None:
    """Do what a program does in a day."""
    settings: dict[str, Any] = {"host": HOST, "port": PORT, "user": USER, "password": PASSWORD, "db": SCHEMA}
    if CA:
        settings["ssl"] = ssl.create_default_context(cafile=CA)
    async with driver.create_pool(minsize=1, maxsize=1, charset="utf8mb4", **settings) as pool:
        async with pool.acquire() as connection:
            await connection.ping()
            session = "SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode"
            show("session", await run(connection, session))
            await connection.commit()
            pause()
            show("id", await run(connection, "SELECT CONNECTION_ID()") == [(connection.thread_id(),)])
            await run(connection, "SET time_zone = '+05:00'")
        pause()
        async with pool.acquire() as connection:
            show("time zone", await run(connection, "SELECT @@time_zone, FROM_UNIXTIME(0)"))
            await connection.rollback()
        pause()
        # As digits, since aiomysql cannot write bytes with today's PyMySQL.
        insert = f"INSERT INTO {TABLE} ({COLUMNS}) VALUES ({'%s, ' * 6} UNHEX(%s))"
        for finish in ("rollback", "commit"):
            async with pool.acquire() as connection:
                await connection.begin()
                for *row, data in ROWS:
                    show("insert", await run(connection, insert, *row, None if data is None else data.hex()))
                await getattr(connection, finish)()
                pause()
                show("last insert id", await run(connection, "SELECT LAST_INSERT_ID()"))
                show("rows", finish, await run(connection, f"SELECT * FROM {TABLE} ORDER BY id"))
                await connection.commit()
            pause()
        async with pool.acquire() as connection:
            for sql in (f"INSERT INTO {TABLE} (id) VALUES (6)", "SELECT * FROM missing", "SELECT 1 FROM"):
                try:
                    show("no error", await run(connection, sql))
                except driver.MySQLError as error:
                    show("error", error.args[0])
                await connection.rollback()
                pause()
            show("many rows", digest(await run(connection, "SELECT * FROM numbers")))
            await connection.commit()
            pause()
            blob = (bytes(range(256)) * 4096).hex()
            show("large value", await run(connection, f"UPDATE {TABLE} SET data = UNHEX(%s) WHERE id = 6", blob))
            show("large value", digest(await run(connection, f"SELECT data FROM {TABLE} WHERE id = 6")))
            await connection.commit()
            pause()
            async with connection.cursor(importlib.import_module(f"{sys.argv[1]}.cursors").SSCursor) as cursor:
                await cursor.execute("SELECT id FROM numbers")
                show("streamed", sum([row[0] async for row in cursor]))
            await connection.commit()


asyncio.run(main())
