"""What real servers make of odd quoting and comments: whatever changes the session there, the lexer must have seen."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysql.constants import CLIENT
from pymysql.converters import encoders

from rdsproxy.session.reading import GAP, PAIRS, Reading
from rdsproxy.session.statements import Lexer, Lexers, Trait
from tests.servers import DatabaseServer
from tests.session.texts import CHARACTER_SETS, Way, count_items, texts

STATEMENTS = 1_500  # in each mode, on each server

ITEMS = [
    (b"@v:=1", Trait.USER_VARIABLE),
    (b"GET_LOCK(0x76,0)", Trait.LOCK),
    (b"get_lock ( 0x76 , 0 )", Trait.LOCK),
    (b"LAST_INSERT_ID(777)", Trait.INSERT_ID),
]
# Their words may be far apart.
WHOLE = [
    (b"CALL app.lexed()", Trait.ROUTINE),
    (b"EXECUTE lexed", Trait.ROUTINE),
    (b"BEGIN NOT ATOMIC SET @v = 1; END", Trait.ROUTINE),
    (b"SET @v = 1", Trait.USER_VARIABLE),
    (b"SELECT 1 INTO @v", Trait.USER_VARIABLE),
    (b"SET ROLE lexed", Trait.ROLE),
    (b"SET @w = 1, ROLE lexed", Trait.ROLE),
    (b"DO GET_LOCK(0x76,0)", Trait.LOCK),
]
MODES = [
    (b"", b"utf8mb4"),
    (b"ANSI_QUOTES", b"utf8mb4"),
    (b"NO_BACKSLASH_ESCAPES", b"utf8mb4"),
    (b"ANSI_QUOTES,NO_BACKSLASH_ESCAPES", b"latin1"),
    (b"", b"cp866"),
    (b"", b"gbk"),
    (b"NO_BACKSLASH_ESCAPES", b"sjis"),
    (b"ANSI_QUOTES", b"big5"),
    (b"", b"cp932"),
    (b"", b"gb18030"),
]
PIECES = [
    b"'", b'"', b"`", b"\\", b"\\'", b'\\"', b"''", b'""', b"/*", b"*/", b"/*!", b"/*M!", b"/*!00000", b"/*!50000 ",
    b"/*!99999 ", b"/*M!100000 ", b"/*!100300 ", b"/*!080400 ", b"/*+ ", b"--", b"-- ", b"--\t", b"--\x7f", b"--\xa0",
    b"--\0", b"#", b"\n", b"\r", b" ", b"\xa0", b"\xff", b"1", b",", b"+", b";", b"$$", b"$a$", b"\x95\\", b"\x81'",
    b"\xe5\\", b"\xa1`", b"\xa1@", b"\xb1\\", b"\x81\x30\x81\x30", b"\x81\x30", b"\0", b"--1", b"x", b"*", b"!", b"@",
    b"(", b")",
]  # fmt: skip
FRAMES = [
    b"'%s'", b'"%s"', b"/*%s*/1", b"1/* %s */", b"1-- %s\n", b"1 # %s\n", b"/*!%s*/", b"/*!50000 %s*/",
    b"/*!99999 %s*/1", b"/*M!%s*/", b"/*M!100000 %s*/", b"1--%s", b"%s", b"`%s`", b"(%s)", b"1,%s",
    b"_utf8mb4'%s'", b"N'%s'", b"$$%s$$", b"1 `%s`", b"_binary'%s\x95'", b"_binary'\xa1%s'", b"_gbk'%s'", b"x'%s'",
    b"/*+ %s */1", b"1 /*!50000 /* %s */ */", b"1/*!99999 /* */ %s */",
]  # fmt: skip
GAPS = [
    b" ", b"\n", b"\t", b"\x0b", b"\xa0", b"\xff", b"/**/", b"/*!*/", b"/*!50000 */", b"/*!99999 x*/", b"/*!99999 ' */",
    b"/*M!999999 ' */", b"/*M!999999 x */", b"--\n", b"# '\n", b"-- '\n", b"/*!99999 /* ' */ ; */", b"/* ' */",
    b"/*!50000", b"*/", b"/*!", b"--\x7f'\n", b"--\xa0'\n",
]  # fmt: skip
BEFORE = [
    b"SELECT 1;", b"SELECT '%s';", b"/*! SELECT 1 */;", b"/*%s*/", b"-- %s\n", b"/*!99999 %s */", b"/*!99999 SELECT */",
    b"SET sql_mode=ANSI_QUOTES;", b"SET sql_mode=ANSI_QUOTES; SELECT \"%s\" FROM (SELECT 1 \"%s\") x;",
    b"SET sql_mode='';", b"SET @@sql_mode=NO_BACKSLASH_ESCAPES; SELECT '%s';", b"SET NAMES gbk;", b"SET NAMES utf8mb4;",
    b"SET NAMES sjis; SELECT _binary'\x95%s';", b"SET NAMES latin1; SELECT _binary'\x95%s';", b"\xa0", b"(",
    b"SELECT 1 `%s`;",
]  # fmt: skip
BEHIND = [b";", b"; SELECT '%s'", b"-- %s", b"/* %s */", b"#%s"]


def expression(chance: random.Random, trigger: bytes) -> bytes:
    """Give an expression that may have the trigger in it, or around what looks like one."""
    inner = chance.choices(PIECES, k=chance.randrange(3))
    if chance.random() < 0.6:
        inner.insert(chance.randrange(len(inner) + 1), trigger)
    text = b"".join(inner)
    if chance.random() < 0.3:
        text = chance.choice(FRAMES).replace(b"%s", text)
    return chance.choice(FRAMES).replace(b"%s", text or b"1")


def statement(chance: random.Random) -> tuple[bytes, bytes, Trait]:
    """Give a statement, what may change the session in it, and the trait of that."""

    def filled(frames: list[bytes]) -> bytes:
        return chance.choice(frames).replace(b"%s", b"".join(chance.choices(PIECES, k=chance.randrange(3))))

    before = filled(BEFORE) if chance.random() < 0.2 else b""
    if chance.random() < 0.7:
        trigger, trait = chance.choice(ITEMS)
        columns = b", ".join(expression(chance, trigger) for _ in range(chance.randint(1, 3)))
        return before + b"SELECT " + columns, trigger, trait
    trigger, trait = chance.choice(WHOLE)
    words = trigger.split(b" ")
    gaps = [b"".join(chance.choices(GAPS, k=chance.randint(1, 2))) if chance.random() < 0.5 else b" " for _ in words]
    text = words[0] + b"".join(gap + word for gap, word in zip(gaps, words[1:], strict=False))
    if chance.random() < 0.3:
        text = chance.choice((b"/*!%s*/", b"/*!50000 %s*/", b"/*M!100000 %s */", b"/*! %s; */")).replace(b"%s", text)
    return before + text + (filled(BEHIND) if chance.random() < 0.3 else b""), trigger, trait


class Client:
    """A connection that is spoken to in bytes, whatever they are."""

    def __init__(self, server: DatabaseServer) -> None:
        self.connection = pymysql.connect(
            unix_socket=str(server.socket),
            user="root",
            client_flag=CLIENT.MULTI_STATEMENTS,
            use_unicode=False,
            conv=dict[Any, Any](encoders),  # results stay bytes
        )
        self.connection.encoding = "latin-1"  # names of columns are any bytes
        self.cursor: Any = self.connection.cursor()

    def run(self, sql: bytes) -> int | None:
        """Run it; tell how many columns its last result has, None if the server refused it."""
        try:
            self.cursor.execute(sql)
            while self.cursor.nextset():
                pass
        except pymysql.MySQLError:
            return None
        return len(self.cursor.description or ())

    def row(self, sql: bytes) -> tuple[Any, ...]:
        """Run a query that the server takes, and give its first row."""
        self.cursor.execute(sql)
        (row,) = self.cursor.fetchall()
        return tuple(row)

    def changed(self) -> Trait:
        """Tell what is changed in the session, as traits, and change it back."""
        self.run(b"SET character_set_client=latin1, character_set_results=NULL, sql_mode=''")
        variable, called, lock, insert_id, role = self.row(
            b"SELECT @v, @called, IS_USED_LOCK(0x76), LAST_INSERT_ID(), CURRENT_ROLE()"
        )
        found = Trait.NONE
        if variable is not None:
            found |= Trait.USER_VARIABLE
        if called is not None:
            found |= Trait.ROUTINE
        if lock is not None:
            found |= Trait.LOCK
        if insert_id != b"0":
            found |= Trait.INSERT_ID
        if role not in (None, b"NONE"):
            found |= Trait.ROLE
        if found:
            self.run(b"SET @v = NULL, @called = NULL")
            self.run(b"SET ROLE NONE")
            self.run(b"DO RELEASE_ALL_LOCKS(), LAST_INSERT_ID(0)")
        return found


@pytest.fixture
def client(database: DatabaseServer) -> Iterator[Client]:
    """A connection with a procedure, a prepared text and a role."""
    client = Client(database)
    with client.connection:
        for sql in (
            b"CREATE PROCEDURE app.lexed() SET @called = 1",
            b"CREATE ROLE IF NOT EXISTS lexed",
            b"GRANT lexed TO root@localhost",
            b"PREPARE lexed FROM 'SET @called = 1'",
        ):
            client.run(sql)
        yield client
        client.run(b"DROP PROCEDURE app.lexed")
        client.run(b"DROP ROLE lexed")


@pytest.mark.parametrize(("sql_mode", "character_set"), MODES, ids=lambda value: value.decode() or "-")
def test_what_the_server_does_the_lexer_has_seen(client: Client, sql_mode: bytes, character_set: bytes) -> None:
    chance = random.Random(f"{sql_mode!r} {character_set!r}")
    lexer = Lexers().choose(sql_mode, character_set)
    if client.run(b"SET character_set_client=" + character_set) is None:
        pytest.skip("not a character set of this server")
    # With these in it, or with a second statement, the lexer may see more than there is.
    doubtful = (b"@", b"/*!", b"/*M!", b"$", b"--\x7f", b"--\xa0")
    done = hidden = counted = 0
    for _ in range(STATEMENTS):
        client.run(b"SET sql_mode='" + sql_mode + b"', character_set_client=" + character_set)
        sql, trigger, trait = statement(chance)
        columns = client.run(sql)
        changed = client.changed()
        traits = lexer.traits(sql)
        if changed:
            done += 1
            # What takes more than one word is a pin if nothing better is known.
            assert not changed & ~traits or traits & Trait.ROUTINE, sql
            assert not changed & ~(Trait.ROLE | Trait.ROUTINE) & ~traits, sql
        elif columns is not None and not any(sign in sql.replace(trigger, b"") for sign in doubtful):
            hidden += trigger in sql
            if b";" not in sql and sql.startswith(b"SELECT "):
                assert not traits & trait, sql
        if columns and b";" not in sql and b"/*!" not in sql and b"/*M!" not in sql and sql.startswith(b"SELECT "):
            items = count_items(lexer.reading.tokens(sql))
            counted += items is not None
            assert items in (columns, None), sql
    # It is worth something only if there were enough of each kind.
    assert done > STATEMENTS / 10
    assert hidden > STATEMENTS / 100
    assert counted > STATEMENTS / 20


def test_each_byte_in_each_character_set(client: Client) -> None:
    """Which bytes are halves of characters, which are spaces, and which begin a comment behind two hyphens."""
    client.cursor.execute(b"SHOW CHARACTER SET")
    names = {row[0] for row in client.cursor.fetchall()}
    of_pairs = set()
    for name in names:
        if client.run(b"SET character_set_client=" + name) is None:
            continue  # UTF-16 and its kin
        reading = Reading(character_set=name)
        for number in range(1, 256):
            byte = bytes((number,))
            pair, single, escaped = (
                b"SELECT _binary'" + what + b"', 7, 'x'" for what in (byte + b"\\", byte, b"\\" + byte + b"\\")
            )
            for sql in (pair, single, escaped):
                assert client.run(sql) == count_items(reading.tokens(sql)), sql
            if number >= 0x80 and client.run(pair) is not None:
                of_pairs.add(name)
            if byte != b"+" and client.run(b"SELECT" + byte + b"12") and client.cursor.description[0][0] == "12":
                assert re.fullmatch(GAP, byte), byte
            sql = b"SELECT 1--" + byte + b"'\n, GET_LOCK(0x76, 0), ''"
            if client.run(sql) and client.changed():
                assert Lexer(reading).traits(sql) & (Trait.LOCK | Trait.ROUTINE), sql
                client.run(b"SET character_set_client=" + name)
    assert of_pairs == PAIRS.keys() & names


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT EXTRACTVALUE('<a><b>1</b><b>2</b></a>', '/a/b[$@i]')",
        b"SELECT EXTRACTVALUE('<a><b>1</b><b>2</b></a>', '/a/b[$ @ i]')",
        b"SELECT LENGTH(UPDATEXML('<a><b>1</b><b>2</b></a>', '/a/b[$@i]', '')) - 13",
    ],
)
def test_a_variable_in_a_string(client: Client, sql: bytes) -> None:
    client.run(b"SET @i = 2")
    assert client.row(sql) == (b"2",)
    assert Lexer().traits(sql) & Trait.USER_VARIABLE
    assert Lexer().mentions(sql) is None


@pytest.mark.parametrize("number", [b"'1'", b"N'1'", b"1", b"_utf8mb4'1'"])
def test_a_variable_behind_a_quote(client: Client, number: bytes) -> None:
    client.run(b"SELECT no_such_column")
    sql = b"GET DIAGNOSTICS CONDITION " + number + b"@v=MYSQL_ERRNO"
    assert Lexer().traits(sql) & Trait.USER_VARIABLE
    found = Lexer().mentions(sql)
    assert found is None or b"v" in found.names
    assert client.run(sql) is not None
    assert client.changed() & Trait.USER_VARIABLE


@pytest.mark.parametrize("sql", [b"BEGIN SET @v = 1; END", b"DECLARE x INT; BEGIN SET @v = 1; END;"])
def test_blocks_in_the_mode_of_oracle(client: Client, sql: bytes) -> None:
    client.run(b"SET sql_mode = 'ORACLE'")
    assert Lexers().choose(b"ORACLE", b"utf8mb4").traits(sql) & Trait.ROUTINE
    assert client.run(sql) is None or client.changed() & Trait.USER_VARIABLE


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_strings_are_what_the_server_takes_for_strings(client: Client, data: st.DataObject) -> None:
    """What is known by construction is so on the servers."""
    way = data.draw(st.builds(Way, st.booleans(), st.booleans(), st.sampled_from(CHARACTER_SETS)))
    if client.run(b"SET character_set_client=" + way.character_set + b", sql_mode='" + way.sql_mode + b"'") is None:
        return
    text = data.draw(texts(way))
    assert client.run(text.sql) == text.items, text.sql
    assert client.changed() == text.traits
