"""SQLAlchemy: engine, session and mapper over PyMySQL or mysqlclient."""

from __future__ import annotations

import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    DECIMAL,
    BigInteger,
    LargeBinary,
    String,
    create_engine,
    event,
    exc,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.drivers.python.steps import CA, HOST, PASSWORD, PORT, ROWS, SCHEMA, TABLE, USER, digest, pause, show

DRIVER = sys.argv[1]


class Base(DeclarativeBase):
    """What is mapped."""


class Row(Base):
    """A line of the table."""

    __tablename__ = TABLE
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int | None] = mapped_column(BigInteger)
    amount: Mapped[Decimal | None] = mapped_column(DECIMAL(20, 4))
    ratio: Mapped[float | None]
    day: Mapped[date | None]
    moment: Mapped[datetime | None] = mapped_column(DATETIME(fsp=6))
    text: Mapped[str | None] = mapped_column(String(200))
    data: Mapped[bytes | None] = mapped_column(LargeBinary)


def settings() -> dict[str, Any]:
    """Give what the driver wants of TLS, each in its own words."""
    if DRIVER == "mysqldb":
        return {"ssl": {"ca": CA}} if CA else {"ssl_mode": "DISABLED"}
    return {"ssl": {"ca": CA}} if CA else {"ssl_disabled": True}


names = ["number", "amount", "ratio", "day", "moment", "text", "data"]
values = [dict(zip(names, row, strict=True)) for row in ROWS]
url = URL.create(f"mysql+{DRIVER}", USER, PASSWORD, HOST, PORT, SCHEMA, {"charset": "utf8mb4"})
engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=settings())
show("dialect", engine.dialect.driver)


@event.listens_for(engine, "connect")
def connected(connection: Any, record: object) -> None:
    """Set what applications set on each connection."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'")
        cursor.execute("SET time_zone = '+00:00'")


with Session(engine) as session:
    session.add_all([Row(**each) for each in values])
    session.flush()
    show("flushed", [row.id for row in session.scalars(select(Row).order_by(Row.id))])
    session.rollback()
pause()
for _ in range(2):
    with Session(engine) as session, session.begin():
        session.add_all([Row(**each) for each in values])
    pause()
show("version", engine.dialect.server_version_info)
with Session(engine) as session:
    for row in session.scalars(select(Row).order_by(Row.id)):
        show("row", [getattr(row, name) for name in ["id", *names]])
    session.commit()
    pause()
    row = session.get_one(Row, 4)
    row.text = "changed ä€😀"
    session.commit()
    pause()
    show("refreshed", row.text, row.number)
    with session.begin_nested():
        row.number = 5
    nested = session.begin_nested()
    row.number = 6
    session.flush()
    nested.rollback()
    show("after the savepoint", row.number)
    session.commit()
    pause()
    try:
        session.execute(insert(Row).values(id=4))
    except exc.IntegrityError as error:
        show("error", error.orig.args[0] if error.orig else None)
    session.rollback()
    pause()
    show("locked", session.scalars(select(Row.number).where(Row.id == 4).with_for_update()).all())
    session.commit()
pause()
with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
    show("level", connection.get_isolation_level())
    connection.execute(update(Row).where(Row.id == 5).values(ratio=Row.ratio * 2))
    connection.commit()
    pause()
    show("session", list(connection.execute(text("SELECT @@sql_mode, @@time_zone")).one()))
    connection.rollback()
pause()
with engine.connect() as connection:
    show("level", connection.get_isolation_level())
    result = connection.execute(insert(Row), [{"text": f"many {number}"} for number in range(50)])
    show("many", result.rowcount)
    connection.commit()
    pause()
    show("count", list(connection.execute(select(func.count(), func.max(Row.text))).one()))
    connection.rollback()
    pause()
    many = connection.execution_options(yield_per=500).execute(text("SELECT * FROM numbers"))
    show("streamed", digest([list(row) for row in many]))
    connection.rollback()
pause()
with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
    show("autocommit", connection.scalar(text("SELECT @@autocommit")))
    pause()
    show("autocommit", connection.execute(update(Row).values(number=1)).rowcount)
pause()
show("inspected", [(each["name"], str(each["type"])) for each in inspect(engine).get_columns("numbers")])
pause()
engine.dispose()
