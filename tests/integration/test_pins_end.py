"""What holds a session on its connection ends by the session's own statements; the log tells both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import LogLine, Proxy, backend, look, one, run

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Way:
    """Statements that pin, those that end it, and a look that shows what the first left."""

    name: str
    begin: tuple[str, ...]
    end: tuple[str, ...]
    reason: str


WAYS = [
    Way("temporary-table", ("CREATE TEMPORARY TABLE end_a (b INT DEFAULT 1, PRIMARY KEY (b)) ENGINE = InnoDB",),
        ("DROP TEMPORARY TABLE end_a",), "there is a temporary table"),
    Way("temporary-tables", ("CREATE TEMPORARY TABLE end_a (b INT)", "CREATE TEMPORARY TABLE app.`end_b` LIKE end_a"),
        ("DROP TABLE IF EXISTS end_b", "DROP TABLE app.end_a"), "there is a temporary table"),
    Way("filled-table", ("CREATE TEMPORARY TABLE end_a AS (SELECT 1 AS b)",), ("DROP TABLE end_a",),
        "there is a temporary table"),
    Way("prepare", ("PREPARE s FROM 'SELECT 1'", "PREPARE s FROM 'SELECT 2'", "PREPARE t FROM \"SELECT 3\""),
        ("DEALLOCATE PREPARE s", "DROP PREPARE t"), "a text was prepared"),
    Way("handler", ("HANDLER {t} OPEN", "HANDLER {t} OPEN AS h", "HANDLER h READ FIRST"),
        ("HANDLER {t} CLOSE", "HANDLER h CLOSE"), "a HANDLER is open"),
    Way("lock", ("SELECT GET_LOCK('end 1', 0)", "DO GET_LOCK('end 1', 0)", "SELECT GET_LOCK('end_2', 5.5) AS `x`"),
        ("SELECT RELEASE_LOCK('end 1'), RELEASE_LOCK('end 1')", "DO RELEASE_LOCK('end_2')"), "a lock is held"),
    Way("all-locks", ("SELECT GET_LOCK('end 1', 0)", "SELECT GET_LOCK('end_2', 0)"),
        ("SELECT RELEASE_ALL_LOCKS()",), "a lock is held"),
    Way("lock-with-comments", ("SELECT /* x */ GET_LOCK('end 1', 0) AS `t` /*application:shop*/",),
        ("SELECT RELEASE_LOCK('end 1') /*application:shop*/",), "a lock is held"),
    Way("read-lock", ("FLUSH TABLES WITH READ LOCK",), ("UNLOCK TABLES",), "locked by FLUSH TABLES"),
    Way("read-lock-of-tables", ("FLUSH TABLES {t} WITH READ LOCK",), ("UNLOCK TABLES",), "locked by FLUSH TABLES"),
    Way("value", ("SET @a = REPEAT('x', 20000)",), ("SET @a = NULL",), "cannot be written back"),
]  # fmt: skip


def event(proxy: Proxy, word: str, after: int) -> LogLine:
    """Wait for a line of the log."""
    return proxy.wait_for_log(lambda line: word in line["event"], after=after)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_pin_that_ends(narrow: Proxy, table: str, way: Way) -> None:
    start = len(narrow.log)
    with narrow.connect() as session, narrow.connect() as other:
        for statement in way.begin:
            run(session, statement.format(t=table))
        number = backend(session)
        pinned = event(narrow, "was pinned to", start)
        assert way.reason in pinned["event"]
        assert "until its cause ends" in pinned["event"]
        for statement in way.end:
            assert not [line for line in narrow.log[start:] if "no longer" in line["event"]]
            run(session, statement.format(t=table))
        assert backend(other) == number
        ended = event(narrow, "is no longer pinned to", start)
        assert way.reason in ended["event"]
        assert (ended["backend"], ended["client"]) == (number, session.thread_id())
        # All over again, as if it never had been.
        for statement in (*way.begin, *way.end):
            run(session, statement.format(t=table))
        run(other, f"INSERT INTO {table} (value) VALUES (1)")


LASTING = [
    ("not-all-dropped", ["CREATE TEMPORARY TABLE end_a (b INT)", "CREATE TEMPORARY TABLE end_b (b INT)",
                         "DROP TABLE end_a"], "SELECT * FROM end_b", []),
    ("renamed", ["CREATE TEMPORARY TABLE end_a (b INT)", "ALTER TABLE end_a RENAME TO end_b",
                 "DROP TEMPORARY TABLE IF EXISTS end_a"], "SELECT * FROM end_b", []),
    ("another-schema", ["CREATE TEMPORARY TABLE end_a (b INT)", "DROP TEMPORARY TABLE IF EXISTS mysql.end_a"],
     "SELECT * FROM end_a", []),
    ("drop-fails", ["CREATE TEMPORARY TABLE end_a (b INT)", "DROP TABLE end_a, end_b, nowhere.end_c x"],
     "SELECT * FROM end_a", []),
    ("filled", ["CREATE TEMPORARY TABLE end_a SELECT 1 AS b", "DROP TABLE IF EXISTS end_b"], "SELECT * FROM end_a",
     [(1,)]),
    ("odd", ["CREATE /*! TEMPORARY */ TABLE end_a SELECT 1 AS b", "DROP TABLE IF EXISTS end_b"], "SELECT * FROM end_a",
     [(1,)]),
    ("prepared-twice", ["PREPARE s FROM 'SELECT 1'", "PREPARE t FROM 'SELECT 2'", "DEALLOCATE PREPARE s"],
     "EXECUTE t", [(2,)]),
    ("taken-twice", ["DO GET_LOCK('end', 0)", "DO GET_LOCK('end', 0)", "DO RELEASE_LOCK('end')"],
     "SELECT IS_USED_LOCK('end') = CONNECTION_ID()", [(1,)]),
    ("taken-by-another-form", ["SELECT GET_LOCK(CONCAT('e', 'nd'), 0)", "DO RELEASE_LOCK('else')"],
     "SELECT IS_USED_LOCK('end') = CONNECTION_ID()", [(1,)]),
    ("handler-again", ["HANDLER {t} OPEN", "HANDLER {t} OPEN AS h", "HANDLER {t} CLOSE"], "HANDLER h READ FIRST", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "statements", "sql", "seen"), LASTING, ids=[name for name, *_ in LASTING])
def test_a_pin_that_lasts(proxy: Proxy, table: str, name: str, statements: list[str], sql: str, seen: object) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        for statement in statements:
            look(session, statement.format(t=table))
        number = backend(session)
        for _ in range(3):
            assert backend(other) != number
            assert look(session, sql) == seen


def test_a_lock_that_was_not_got(proxy: Proxy) -> None:
    start = len(proxy.log)
    with proxy.connect() as holder, proxy.connect() as session:
        assert one(holder, "SELECT GET_LOCK('end', 0)") == 1
        assert one(session, "SELECT GET_LOCK('end', 0)") == 0
        run(session, "DO 1")
        assert not [line for line in proxy.log[start:] if line.get("client") == session.thread_id()]


def test_a_reset_ends_a_pin(narrow: Proxy) -> None:
    start = len(narrow.log)
    with narrow.connect() as session:
        run(session, "CREATE TEMPORARY TABLE end_a (b INT)")
        session._execute_command(0x1F, b"")  # type: ignore[attr-defined]
        session._read_ok_packet()  # type: ignore[attr-defined]
        event(narrow, "is no longer pinned to", start)
        assert look(session, "SELECT * FROM end_a") == 1146
