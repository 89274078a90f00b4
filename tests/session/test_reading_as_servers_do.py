"""What real servers make of odd quoting and comments: whatever changes the session there, the lexer must have seen."""

from __future__ import annotations

import random
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT
from pymysql.converters import encoders

from rdsproxy.session.statements import Lexers, Trait
from tests.servers import DatabaseServer

STATEMENTS = 2_000  # in each mode, on each server

TRIGGERS = [
    (b"@v:=1", Trait.USER_VARIABLE),
    (b"GET_LOCK(0x76,0)", Trait.LOCK),
    (b"get_lock ( 0x76 , 0 )", Trait.LOCK),
    (b"LAST_INSERT_ID(777)", Trait.INSERT_ID),
]
MODES = [
    (b"", b"utf8mb4"),
    (b"ANSI_QUOTES", b"utf8mb4"),
    (b"NO_BACKSLASH_ESCAPES", b"utf8mb4"),
    (b"ANSI_QUOTES,NO_BACKSLASH_ESCAPES", b"latin1"),
    (b"", b"gbk"),
    (b"", b"sjis"),
]
PIECES = [
    b"'", b'"', b"`", b"\\", b"\\'", b'\\"', b"''", b'""', b"/*", b"*/", b"/*!", b"/*M!", b"/*!00000", b"/*!50000 ",
    b"/*!99999 ", b"/*M!100000 ", b"--", b"-- ", b"--\t", b"#", b"\n", b" ", b"1", b",", b"+", b";", b"$$", b"$a$",
    b"\x95\\", b"\x81'", b"\xe5\\", b"\0", b"--1", b"x", b"*", b"!", b"@", b"(", b")",
]  # fmt: skip
FRAMES = [
    b"'%s'", b'"%s"', b"/*%s*/1", b"1/* %s */", b"1-- %s\n", b"1 # %s\n", b"/*!%s*/", b"/*!50000 %s*/",
    b"/*!99999 %s*/1", b"/*M!%s*/", b"/*M!100000 %s*/", b"1--%s", b"%s", b"`%s`", b"(%s)", b"1,%s",
    b"_utf8mb4'%s'", b"N'%s'", b"$$%s$$",
]  # fmt: skip


def expression(chance: random.Random, trigger: bytes) -> bytes:
    """Give an expression that may have the trigger in it, or around what looks like one."""
    inner = chance.choices(PIECES, k=chance.randrange(3))
    if chance.random() < 0.6:
        inner.insert(chance.randrange(len(inner) + 1), trigger)
    text = b"".join(inner)
    if chance.random() < 0.3:
        text = chance.choice(FRAMES).replace(b"%s", text)
    return chance.choice(FRAMES).replace(b"%s", text or b"1")


def statement(chance: random.Random, trigger: bytes) -> bytes:
    """Give a SELECT, or two of them."""
    columns = b", ".join(expression(chance, trigger) for _ in range(chance.randint(1, 3)))
    return b"SELECT " + columns if chance.random() < 0.9 else b"SELECT 1; SELECT " + columns


def run(cursor: Any, sql: bytes) -> bool:
    """Run it; tell whether the server took it."""
    try:
        cursor.execute(sql)
        while cursor.nextset():
            pass
    except pymysql.MySQLError:
        return False
    return True


@pytest.mark.parametrize(("sql_mode", "character_set"), MODES, ids=lambda value: value.decode() or "-")
def test_what_the_server_does_the_lexer_has_seen(
    database: DatabaseServer, sql_mode: bytes, character_set: bytes
) -> None:
    chance = random.Random(f"{sql_mode!r} {character_set!r}")
    lexer = Lexers().choose(sql_mode, character_set)
    connection = pymysql.connect(
        unix_socket=str(database.socket),
        user="root",
        client_flag=CLIENT.MULTI_STATEMENTS,
        use_unicode=False,
        conv=dict[Any, Any](encoders),  # results stay bytes
    )
    # With these in it, or where a character may hold a backslash, the lexer is to see more than there is.
    doubtful = (b"@", b"/*!", b"/*M!", b"$", b"`", *([b'"'] if b"ANSI_QUOTES" in sql_mode else []))
    exact = character_set in (b"utf8mb4", b"latin1")
    done = hidden = 0
    with connection, connection.cursor() as cursor:
        run(cursor, b"SET sql_mode='" + sql_mode + b"', character_set_client=" + character_set)
        for _ in range(STATEMENTS):
            trigger, trait = chance.choice(TRIGGERS)
            sql = statement(chance, trigger)
            worked = run(cursor, sql)
            cursor.execute("SELECT @v, IS_USED_LOCK(0x76), LAST_INSERT_ID()")
            (row,) = cursor.fetchall()
            changed = row[0] is not None or row[1] is not None or row[2] != b"0"
            if changed:
                done += 1
                assert lexer.traits(sql) & trait, sql
                cursor.execute("SELECT @v:=NULL, RELEASE_ALL_LOCKS(), LAST_INSERT_ID(0)")
            elif worked and exact and not any(sign in sql.replace(trigger, b"") for sign in doubtful):
                hidden += trigger in sql
                assert not lexer.traits(sql) & trait, sql
    # It is worth something only if there were enough of both kinds.
    assert done > STATEMENTS / 20
    assert hidden > STATEMENTS / 100 or not exact
