"""Which procedures are called, and which definitions prove that a CALL leaves nothing behind."""

from __future__ import annotations

import pytest

from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.results import Result, Row
from rdsproxy.session.calls import MOST, Calls, called, definition, is_harmless
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers

STATES = States({b"character_set_results": b"utf8mb4", b"sql_mode": b""}, {}, Lexers())


def row(body: str, sql_mode: str = "", parameters: str = "") -> Row:
    """Give what SHOW CREATE PROCEDURE answers."""
    sql = f"CREATE DEFINER=`ro``ot`@`%` PROCEDURE `p`({parameters})\n{body}"
    return (b"p", sql_mode.encode(), sql.encode(), b"utf8mb4", b"utf8mb4_general_ci", b"utf8mb4_general_ci")


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"CALL p()", b"p"),
        (b"  call `P_1` ( 1, 'x;', f(2) ) ; ", b"p_1"),
        (b"CALL p", b"p"),
        (b"CALL p(@a, ?)", b"p"),
        (b"CALL /* x */ p(1)", b"p"),
        (b"CALL app.p()", None),
        (b"CALL p(); CALL q()", None),
        (b"CALL p() /*!50000 ; CALL q() */", None),
        ("CALL é()".encode(), None),
        (b"SET STATEMENT max_statement_time = 1 FOR CALL p()", None),
        (b"EXECUTE s", None),
    ],
)
def test_the_procedure_that_is_called(sql: bytes, name: bytes | None) -> None:
    assert called(sql, STATES.fresh, STATES) == name


@pytest.mark.parametrize("charset", [b"utf16", b"swe7", b"gbk", b"sjis", b"utf32"])
def test_a_definition_that_could_not_be_read(charset: bytes) -> None:
    state = STATES.with_variables(STATES.fresh, {b"character_set_results": charset})
    assert called(b"CALL p()", state, STATES) is None


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 1",
        "BEGIN END",
        "BEGIN DECLARE x INT DEFAULT 0; SET x = x + 1; SELECT v INTO x FROM t LIMIT 1; END",
        "BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION; COMMIT; END",
        "INSERT INTO t (a, b) VALUES ('@x', \"GET_LOCK\") -- CALL q()",
        "SELECT * FROM t WHERE id = 1 LOCK IN SHARE MODE",
        "BEGIN SAVEPOINT a; RELEASE SAVEPOINT a; END",
        "SELECT @@sql_mode, LAST_INSERT_ID(), ROW_COUNT()",
        "LANGUAGE SQL COMMENT 'CALL' SELECT 1",
        "SET SESSION time_zone = '+01:00'",
        "UPDATE t SET role = 'x', handlers = 1",
    ],
)
def test_harmless(body: str) -> None:
    assert is_harmless(row(body, parameters="IN a INT, OUT b VARCHAR(10)"), STATES)


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 1 INTO @x",
        "BEGIN SELECT @`x` := 5; END",
        "SET @@time_zone = 'SYSTEM'",
        "BEGIN DO 1;CALL q(); END",
        "IF 1 THEN call q; END IF",
        "BEGIN EXECUTE s; END",
        "PREPARE s FROM 'SELECT 1'",
        "CREATE TEMPORARY TABLE x SELECT 1",
        "ALTER TABLE x RENAME TO y",
        "DO GET_LOCK('x', 0)",
        "DO `get_lock`('x', 0)",
        "SELECT RELEASE_ALL_LOCKS()",
        "FLUSH TABLES WITH READ LOCK",
        "SELECT NEXT VALUE FOR s",
        "SELECT nextval(s)",
        "SET ROLE r",
        "SET time_zone = 'SYSTEM', ROLE r",
        "SET RESOURCE GROUP g",
        "XA START 'x'",
        "HANDLER t OPEN",
        "COMMIT RELEASE",
        "SELECT SQL_CALC_FOUND_ROWS * FROM t",
        "SET profiling = 1",
        "LANGUAGE JAVASCRIPT AS $$ x $$",
        "LANGUAGE JAVASCRIPT AS ''",
        "BEGIN /*!50000 DO 1; */ END",
    ],
)
def test_not_harmless(body: str) -> None:
    assert not is_harmless(row(body), STATES)


def test_a_definition_is_read_under_its_own_mode() -> None:
    body = "SELECT '\\', @x := 1, '"
    assert is_harmless(row(body), STATES)
    assert not is_harmless(row(body + "'", "NO_BACKSLASH_ESCAPES"), STATES)
    body = body.replace("'", '"')
    assert is_harmless(row(body), STATES)
    assert not is_harmless(row(body + 'a"', "ANSI_QUOTES"), STATES)
    assert not is_harmless(row("SELECT 1", "PIPES_AS_CONCAT,ORACLE"), STATES)


def test_what_the_server_answers() -> None:
    told = row("SELECT 1")
    assert definition(Result(rows=[told])) == told
    hidden = (*told[:2], None, *told[3:])
    assert definition(Result(rows=[hidden])) is None
    assert definition(Result(err=Err(1305, "42000", "PROCEDURE p does not exist"))) == ()
    assert definition(Result(err=Err(1370, "42000", "denied"))) is None
    assert not is_harmless(None, STATES)
    assert is_harmless((), STATES)


def test_a_call_is_proved_by_the_same_definition_before_and_after_it() -> None:
    calls = Calls()
    one, two = row("SELECT 1"), row("SELECT 2")
    assert calls.begin(b"p", one, STATES)
    assert calls.end({b"p": one})
    assert calls.end({})
    assert calls.begin(b"p", one, STATES)
    assert calls.begin(b"q", two, STATES)
    assert not calls.end({b"p": one, b"q": one})
    assert calls.begin(b"p", one, STATES)
    assert not calls.begin(b"p", two, STATES), "changed since the last time"
    assert not calls.end({b"p": None})
    assert not calls.begin(b"p", row("DO GET_LOCK('x', 0)"), STATES)


def test_too_many_are_not_asked_for() -> None:
    calls = Calls()
    assert all(calls.begin(b"p%d" % number, row("SELECT 1"), STATES) for number in range(MOST))
    assert not calls.begin(b"p", row("SELECT 1"), STATES)
