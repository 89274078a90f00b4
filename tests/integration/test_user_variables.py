"""User variables go with their session from one database connection to another, and never to another session."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.proxy import BACKEND_ID, Proxy, backend, look, one, refused, rows, run, vanish

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer


class Pair:
    """A session twice: direct, and through a proxy with one connection, which another session uses in between."""

    def __init__(self, proxy: Proxy, direct: Connection) -> None:
        self._proxy = proxy
        self._direct = direct
        self.session = proxy.connect()
        self.other = proxy.connect()

    def run(self, sql: str) -> None:
        """Run a statement on both; then let the other session use the connection."""
        assert look(self.session, sql) == look(self._direct, sql), sql
        run(self.other, "SET @nobody_elses = 1, @a = 'not yours'")
        assert rows(self.other, "SELECT @a, @nobody_elses") == [("not yours", 1)]

    def see(self, name: str = "@a") -> None:
        """The variable is the same in every way that there is to see."""
        sql = f"SELECT {name}, HEX({name}), CHARSET({name}), COLLATION({name}), COERCIBILITY({name}), {name} / 3"
        assert self._look(self.session, sql) == self._look(self._direct, sql)
        run(self.other, "SET @a = 7")

    def _look(self, connection: Connection, sql: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.description, cursor.fetchall()


@pytest.fixture
def pair(narrow: Proxy, direct: Connection) -> Iterator[Pair]:
    """A session through the proxy and one beside it."""
    pair = Pair(narrow, direct)
    yield pair
    pair.session.close()
    pair.other.close()


VALUES = [
    "5", "-5", "CAST(5 AS UNSIGNED)", "18446744073709551615", "-9223372036854775808", "TRUE", "0x41 + 0",
    "1.50", "CAST(5 AS DECIMAL(10,0))", "-.5", "123456789012345678901234567890", "1/3",
    "1e0", "-1.5e0", "1e100", "0.1e0 + 0.2e0", "PI()", "CAST(1.5 AS DOUBLE)",
    "''", "'abc'", "'Zoë'", "'😀'", "_latin1 X'e9' COLLATE latin1_bin", "X'00FF27'", "_binary 'a'", "b'101'",
    "'a\\'b\\\\'", "TIMESTAMP'2001-02-03 04:05:06'", "TIME'01:02:03.25'", "JSON_OBJECT('a', 1)", "UNHEX('00ff')",
    "_utf8mb4 'a' COLLATE utf8mb4_unicode_ci", "CONVERT('ä' USING latin2)", "CONVERT('a' USING gbk)",
    "NULL", "REPEAT('x', 8000)",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_keeps_type_character_set_and_collation(pair: Pair, value: str) -> None:
    before = backend(pair.session)
    pair.run(f"SET @a = {value}")
    pair.see()
    pair.run("SET @b = 'still'")  # another loan
    pair.see()
    pair.see("@b")
    assert backend(pair.session) == before


TYPED = [
    "5", "CAST(5 AS UNSIGNED)", "1.5", "1e0", "'a'", "_latin1 'a' COLLATE latin1_german1_ci", "_binary 'a'",
]  # fmt: skip


@pytest.mark.parametrize("value", TYPED)
@pytest.mark.parametrize("settings", ["", "SET character_set_results = utf16, sql_mode = 'ANSI'"])
def test_a_null_keeps_the_type_of_the_value_before(pair: Pair, value: str, settings: str) -> None:
    if settings:
        pair.run(settings)
    pair.run(f"SET @a = {value}")
    pair.run("SET @a = NULL")
    pair.run("SET NAMES utf8mb4")
    pair.see()
    pair.run("SET @a = COALESCE(@a, 3)")
    pair.see()


def test_random_doubles(narrow: Proxy) -> None:
    """Every bit of them, or the session keeps its connection."""
    random.seed(7)
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(40):
            (number,) = struct.unpack("<d", struct.pack("<Q", random.getrandbits(64) & ~(1 << 62)))
            run(session, f"SET @a = {number!r}e0" if "e" not in repr(number) else f"SET @a = {number!r}")
            if one(session, f"SELECT @a = {number!r}{'' if 'e' in repr(number) else 'e0'}") != 1:
                raise AssertionError(number)
            run(session, "SET @a = NULL")
            assert one(other, "SELECT 1") == 1


MODES = ["ANSI,NO_BACKSLASH_ESCAPES", "TRADITIONAL", "PAD_CHAR_TO_FULL_LENGTH"]


@pytest.mark.parametrize("settings", [
    *(f"sql_mode = '{mode}'" for mode in MODES),
    "character_set_results = utf16", "character_set_results = NULL", "NAMES latin1",
    "collation_connection = utf16_general_ci", "sql_select_limit = 0", "autocommit = 0",
])  # fmt: skip
def test_under_all_settings(narrow: Proxy, settings: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"SET {settings}")
        run(session, "SET @a = _latin1 'abc', @b = 1.50, @c = 5e-1, @d = -7")
        assert rows(other, "SELECT @a, @b") == [(None, None)]
        run(session, "SET NAMES utf8mb4, sql_select_limit = DEFAULT")
        assert rows(session, "SELECT @a, CHARSET(@a), @b, @c, @d") == [("abc", "latin1", 1.50, 0.5, -7)]


ASSIGNING = [
    "SET @a = 3",
    "SET @a := 3, @b = 4",
    "SET @A = 3",
    "SET @`a` = 3",
    "SELECT @a := 3",
    "SELECT 3, 4 INTO @a, @b",
    "SELECT 3 INTO @a FROM {t} LIMIT 1",
    "UPDATE {t} SET value = (@a := value + 2)",
    "INSERT INTO {t} (value) VALUES (@a := 3)",
    "DO @a := 3",
    "SELECT 1 /*! , @a := 3 */",
    "SET @a = 3, time_zone = '+01:00'",
    "SELECT @a := @a + 1 FROM (SELECT @a := 2) x",
]


@pytest.mark.parametrize("statement", ASSIGNING)
def test_ways_to_set_one(narrow: Proxy, table: str, statement: str) -> None:
    """Each leaves the connection to others, and the values to the session."""
    start = len(narrow.log)
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, statement.format(t=table))
        expected = [(3, 4)] if "@b" in statement else [(3, None)]
        assert rows(other, "SELECT @a, @b") == [(None, None)]
        assert rows(session, "SELECT @a, @b") == expected
    assert not [line for line in narrow.log[start:] if line.get("client") == session.thread_id()]


def test_load_data_sets_one(narrow: Proxy, table: str, tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_text("5\n6\n")
    with narrow.connect(local_infile=True) as session, narrow.connect() as other:
        run(session, f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} (@a) SET value = @a * 2")
        run(other, "SET @a = 0")
        assert one(session, "SELECT @a") == "6"


def test_after_a_failure(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET @a = 1")
        run(session, f"INSERT INTO {table} (id) VALUES (1), (2)")
        with refused(1242):
            rows(session, f"SELECT (@a := @a + 1), (SELECT id FROM {table})")
        run(other, "SET @a = 9")
        seen = one(session, "SELECT @a")
        with refused(1062):
            run(session, f"INSERT INTO {table} (id) VALUES (@a := 20), (@a := @a + 1), (1)")
        run(other, "SET @a = 9")
        assert seen in (1, 2)
        assert one(session, "SELECT @a") == 21


def test_in_a_transaction(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        session.begin()
        run(session, f"INSERT INTO {table} (value) VALUES (3)")
        run(session, f"SELECT value INTO @a FROM {table}")
        assert one(session, "SELECT @a") == 3
        run(session, "SET @a = @a + 1")
        session.commit()
        run(other, "SET @a = 9")
        assert one(session, "SELECT @a") == 4
        session.begin()
        run(session, "SET @a = @a + 1")
        session.rollback()
        run(other, "SET @a = 9")
        assert one(session, "SELECT @a") == 5


def test_others_see_none(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET @a = 1, @b = 'x'")
        number = backend(session)
        assert rows(other, f"SELECT @a, @b, {BACKEND_ID}") == [(None, None, number)]
    with narrow.connect() as session:
        run(session, "SET @a = 1")
        vanish(session)
    with narrow.connect() as later:
        assert one(later, "SELECT @a") is None


def test_a_reset_forgets_them(narrow: Proxy) -> None:
    with narrow.connect() as session:
        run(session, "SET @a = 1")
        session._execute_command(0x1F, b"")  # type: ignore[attr-defined]
        session._read_ok_packet()  # type: ignore[attr-defined]
        assert one(session, "SELECT @a") is None


@pytest.fixture(scope="module")
def routines(server: DatabaseServer) -> None:
    """A function and a trigger that set a variable and tell nobody."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "DROP FUNCTION IF EXISTS app.set_silently",
        "CREATE FUNCTION app.set_silently() RETURNS INT BEGIN SELECT 5 INTO @a; RETURN 1; END",
        "DROP TABLE IF EXISTS app.triggering",
        "CREATE TABLE app.triggering (value INT)",
        "CREATE TRIGGER app.silent BEFORE INSERT ON app.triggering FOR EACH ROW SELECT NEW.value INTO @a",
    )


@pytest.mark.parametrize("statement", ["SELECT set_silently()", "INSERT INTO triggering VALUES (5)"])
def test_what_is_set_in_silence(narrow: Proxy, routines: None, statement: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET @a = 1")
        run(session, statement)
        assert one(other, "SELECT 1") == 1
        assert one(session, "SELECT @a") == 5
        run(session, "SET @a = 1")
    with narrow.connect() as session:
        run(session, statement)
    with narrow.connect() as other:
        assert one(other, "SELECT @a") is None


PINNING = [
    ("SET @é = 1", "by other characters"),
    ("SET @`a b` = 1", "by other characters"),
    ("SET @a = REPEAT('x', 20000)", "cannot be written back"),
    ("SET @a = REPEAT('x', 12000), @b = REPEAT('x', 12000)", "more than 16 KiB"),
    ("SET @a = CONVERT('中' USING gbk)", "cannot be written back"),
    ("SET @a = CONVERT('a' USING utf16)", "cannot be written back"),
]


@pytest.mark.parametrize(("statement", "reason"), PINNING)
def test_what_still_pins(narrow: Proxy, statement: str, reason: str) -> None:
    start = len(narrow.log)
    with narrow.connect() as session:
        run(session, statement)
        pinned = narrow.wait_for_log(lambda line: "was pinned to" in line["event"], after=start)
        assert reason in pinned["event"]
        assert one(session, "SELECT @a IS NULL") in (0, 1)


def test_a_value_that_pins_until_it_is_another(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET @a = REPEAT('x', 40000), @b = 2")
        assert one(session, "SELECT LENGTH(@a)") == 40000
        run(session, "SET @a = 'short'")
        assert rows(other, "SELECT 1") == [(1,)]
        assert rows(session, "SELECT @a, @b") == [("short", 2)]


def test_the_same_connection_again_costs_nothing(narrow: Proxy, server: DatabaseServer) -> None:
    """No statement but the session's own reaches the server, as long as no other session comes between."""
    with narrow.connect() as session:
        run(session, "SET @a = 1")
        one(session, "SELECT @a")

        with server.admin() as admin:
            before = int(rows(admin, "SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])
            for turn in range(10):
                assert rows(session, "SELECT @a, 1 + %s", turn) == [(1, 1 + turn)]
            after = int(rows(admin, "SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])
        assert after - before == 10 + 1  # the count itself
