"""Where a statement asks for the connection id, and what is a KILL of one thread."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdsproxy.session.identity import Kill, parse_kill, with_own_id
from rdsproxy.session.state import CHARACTER_SET_CLIENT, SQL_MODE, State, States
from rdsproxy.session.statements import Lexers, Trait

ID = 0x80000102
STATES = States({SQL_MODE: b"STRICT_TRANS_TABLES", CHARACTER_SET_CLIENT: b"utf8mb4"}, {}, Lexers())
PLAIN = STATES.fresh
ANSI = STATES.with_variables(PLAIN, {SQL_MODE: b"ANSI_QUOTES"})
NO_ESCAPES = STATES.with_variables(PLAIN, {SQL_MODE: b"NO_BACKSLASH_ESCAPES"})
GBK = STATES.with_variables(PLAIN, {CHARACTER_SET_CLIENT: b"gbk"})
SJIS = STATES.with_variables(PLAIN, {CHARACTER_SET_CLIENT: b"sjis"})

CAST = b"CAST(2147483906 AS UNSIGNED)"
VARIABLE = b"INET_ATON('128.0.1.2')"


def named(sql: bytes, state: State = PLAIN) -> bytes:
    """Give what becomes of a statement; one that changes must have shown its trait."""
    changed = with_own_id(sql, ID, state)
    assert changed is sql or state.lexer.traits(sql) & Trait.CONNECTION_ID
    return changed


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT CONNECTION_ID()", b"SELECT # AS `CONNECTION_ID()`"),
        (b"select connection_id();", b"select # AS `connection_id()`;"),
        (b"SELECT connection_id ( ) FROM dual", b"SELECT # AS `connection_id ( )` FROM dual"),
        (b"SELECT `connection_id`(), 1", b"SELECT # AS ```connection_id``()`, 1"),
        (b"SELECT CONNECTION_ID() AS id", b"SELECT # AS id"),
        (b"SELECT CONNECTION_ID() id", b"SELECT # id"),
        (b"SELECT CONNECTION_ID()+1", b"SELECT #+1"),
        (b"SELECT 1, CONNECTION_ID(), @@version", b"SELECT 1, # AS `CONNECTION_ID()`, @@version"),
        (b"SELECT f(1, CONNECTION_ID()) FROM t", b"SELECT f(1, #) FROM t"),
        (b"SELECT `from`, CONNECTION_ID()", b"SELECT `from`, # AS `CONNECTION_ID()`"),
        (
            b"SELECT 1 FROM t WHERE a IN (2, CONNECTION_ID()) ORDER BY b, CONNECTION_ID()",
            b"SELECT 1 FROM t WHERE a IN (2, #) ORDER BY b, #",
        ),
        (b"SELECT (SELECT CONNECTION_ID()), 2", b"SELECT (SELECT # AS `CONNECTION_ID()`), 2"),
        (b"(SELECT CONNECTION_ID()) UNION SELECT 1", b"(SELECT # AS `CONNECTION_ID()`) UNION SELECT 1"),
        (b"SELECT DISTINCT CONNECTION_ID()", b"SELECT DISTINCT # AS `CONNECTION_ID()`"),
        (b"INSERT INTO t VALUES (CONNECTION_ID(), 'CONNECTION_ID()')", b"INSERT INTO t VALUES (#, 'CONNECTION_ID()')"),
        (b"UPDATE t SET a = CONNECTION_ID()", b"UPDATE t SET a = #"),
        (b"SET @id = CONNECTION_ID()", b"SET @id = #"),
        (
            b"/* CONNECTION_ID() */ DO CONNECTION_ID() -- CONNECTION_ID()",
            b"/* CONNECTION_ID() */ DO # -- CONNECTION_ID()",
        ),
        (b"/*!50000 SELECT CONNECTION_ID() */", b"/*!50000 SELECT # AS `CONNECTION_ID()` */"),
        (b"SELECT 'it''s', \"CONNECTION_ID()\", '\\'CONNECTION_ID()'", None),
        # Where it cannot be told what is a string, none is changed.
        (b"SELECT 2*/* ' */1, ' CONNECTION_ID() '", None),
        (b"SELECT /*!99999 ' */ CONNECTION_ID(), ''", None),
        (b"SELECT $$ CONNECTION_ID() $$", None),
        (b"SELECT app.CONNECTION_ID()", None),
        (b"SELECT connection_id FROM t", None),
        (b"SELECT 1; SELECT CONNECTION_ID()", b"SELECT 1; SELECT # AS `CONNECTION_ID()`"),
        (b"CREATE VIEW v AS SELECT CONNECTION_ID()", None),
        (
            b"SELECT CONNECTION_ID(); CREATE PROCEDURE p() BEGIN SELECT 1; SELECT CONNECTION_ID(); END",
            b"SELECT # AS `CONNECTION_ID()`; CREATE PROCEDURE p() BEGIN SELECT 1; SELECT CONNECTION_ID(); END",
        ),
        (b"SELECT * FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()", None),
        (b"SELECT IS_USED_LOCK('a') = CONNECTION_ID()", None),
        (b"SELECT @@pseudo_thread_id", b"SELECT ~ AS `@@pseudo_thread_id`"),
        (b"SELECT @@session.pseudo_thread_id x", b"SELECT ~ x"),
        (b"SELECT 1 WHERE @@local . pseudo_thread_id = 1", b"SELECT 1 WHERE ~ = 1"),
        (b"SELECT @@global.pseudo_thread_id", None),
        (b"SET @@session.pseudo_thread_id = 5", None),
        (b"SET @@pseudo_thread_id := 5, @a = @@pseudo_thread_id", b"SET @@pseudo_thread_id := 5, @a = ~"),
    ],
)
def test_statements(sql: bytes, expected: bytes | None) -> None:
    wanted = sql if expected is None else expected.replace(b"#", CAST).replace(b"~", VARIABLE)
    assert named(sql) == wanted


def test_strings_end_where_the_server_ends_them() -> None:
    call = b"CONNECTION_ID()"
    # A double quote, with and without ANSI_QUOTES.
    assert named(b'SELECT "CONNECTION_ID"()', ANSI) == b'SELECT %s AS `"CONNECTION_ID"()`' % CAST
    assert named(b'SELECT "CONNECTION_ID"()') == b'SELECT "CONNECTION_ID"()'
    # A backslash.
    assert named(b"SELECT '\\', CONNECTION_ID(), '\\'") == b"SELECT '\\', CONNECTION_ID(), '\\'"
    assert named(b"SELECT '\\', CONNECTION_ID()", NO_ESCAPES) == b"SELECT '\\', %s AS `%s`" % (CAST, call)
    # ... which is the second half of a character.
    text = "SELECT '表', CONNECTION_ID(), 'x'".encode("shift_jis")
    assert b"\\'" in text
    assert named(text, SJIS) == text.replace(call, b"%s AS `%s`" % (CAST, call))
    assert named(text) == text
    text = b"SELECT '\xd5\\', CONNECTION_ID(), 'x'"
    assert named(text, GBK) == text.replace(call, b"%s AS `%s`" % (CAST, call))


PARTS = ["'", '"', "`", "\\", "CONNECTION_ID()", "SELECT ", ", ", "/*", "*/", "-- ", "#", "(", ")", "\n", "é"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS)))
def test_any_text(parts: list[str]) -> None:
    """Whatever stands there, nothing but the calls is changed."""
    sql = "".join(parts).encode()
    changed = with_own_id(sql, ID, PLAIN)
    back = changed.replace(b"%s AS `CONNECTION_ID()`" % CAST, b"CONNECTION_ID()").replace(CAST, b"CONNECTION_ID()")
    assert back == sql


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"KILL 5", Kill(5, query=False)),
        (b"kill query 2147483999 ;", Kill(2147483999, query=True)),
        (b"/* tool */ KILL CONNECTION\n5 -- now", Kill(5, query=False)),
        (b"KILL HARD QUERY 5", Kill(5, query=True, how=b"HARD")),
        (b"KILL SOFT 5", Kill(5, query=False, how=b"SOFT")),
        (b"KILL CONNECTION_ID()", Kill(ID, query=False)),
        (b"KILL QUERY connection_id( )", Kill(ID, query=True)),
        (b"KILL 5; SELECT 1", None),
        (b"KILL QUERY ID 5", None),
        (b"KILL USER root", None),
        (b"KILL 5 + 1", None),
        (b"KILL '5'", None),
        (b"KILL", None),
        (b"KILL QUERY", None),
        (b"KILL 99999999999", None),
        (b"", None),
    ],
)
def test_kills(sql: bytes, expected: Kill | None) -> None:
    assert parse_kill(sql, ID, PLAIN) == expected
    if expected is not None:
        assert PLAIN.lexer.traits(sql) & Trait.KILL


def test_a_kill_of_another_thread_is_of_the_same_kind() -> None:
    assert Kill(5, query=True).of(7) == b"KILL QUERY 7"
    assert Kill(5, query=False).of(7) == b"KILL CONNECTION 7"
    assert Kill(5, query=True, how=b"SOFT").of(7) == b"KILL SOFT QUERY 7"
