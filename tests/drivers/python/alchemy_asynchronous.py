"""SQLAlchemy's asynchronous engine, over asyncmy or aiomysql."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

from sqlalchemy import exc, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from tests.drivers.python.steps import CA, HOST, PASSWORD, PORT, SCHEMA, TABLE, USER, digest, pause, show

INSERT = text(f"INSERT INTO {TABLE} (number, text) VALUES (:number, :text)")
SELECT = text(f"SELECT id, number, text FROM {TABLE} ORDER BY id")
COUNT = 5


async def main() -> None:
    """Do what a program does in a day."""
    settings: dict[str, Any] = {"ssl": ssl.create_default_context(cafile=CA)} if CA else {}
    url = URL.create(f"mysql+{sys.argv[1]}", USER, PASSWORD, HOST, PORT, SCHEMA, {"charset": "utf8mb4"})
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=settings)
    for number in range(COUNT):
        async with engine.begin() as connection:
            result = await connection.execute(INSERT, {"number": number, "text": f"ä€😀 {number}"})
            show("inserted", result.rowcount, result.lastrowid)
        pause()
    async with engine.connect() as connection:
        await connection.execute(INSERT, {"number": 100, "text": None})
        show("rows", [list(row) for row in await connection.execute(SELECT)])
        await connection.rollback()
        pause()
        show("rows", [list(row) for row in await connection.execute(SELECT)])
        await connection.rollback()
        pause()
        try:
            await connection.execute(text(f"INSERT INTO {TABLE} (id) VALUES (1)"))
        except exc.IntegrityError as error:
            show("error", error.orig.args[0] if error.orig else None)
        await connection.rollback()
        pause()
        result = await connection.execute(INSERT, [{"number": number, "text": ""} for number in range(10)])
        show("many", result.rowcount)
        await connection.commit()
        pause()
    async with engine.connect() as connection:
        many = await connection.stream(text("SELECT * FROM numbers"))
        show("streamed", digest([list(row) async for row in many]))
    pause()
    await engine.dispose()


asyncio.run(main())
