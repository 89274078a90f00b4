"""What an EXECUTE runs, as far as the text tells."""

from __future__ import annotations

import pytest

from rdsproxy.session.reading import Reading
from rdsproxy.session.statements import Lexer
from rdsproxy.session.texts import Execution, Text, executed, name_of, prepared

PLAIN = Lexer()
ANSI = Lexer(Reading(ansi_quotes=True))
LITERAL = Lexer(Reading(escapes=False))

READ = [
    (PLAIN, rb"PREPARE s FROM 'SELECT 1'", b"SELECT 1"),
    (PLAIN, rb'  prepare `s`  from"SELECT \'1\'" ; ', b"SELECT '1'"),
    (PLAIN, rb"PREPARE s FROM 'SELECT ''a'', \'b\', \\''c'''", rb"SELECT 'a', 'b', \'c'"),
    (PLAIN, rb"PREPARE s FROM '\0\b\n\r\t\Z\%\_\x'", b"\0\b\n\r\t\x1a\\%\\_x"),
    (PLAIN, b"PREPARE s FROM 'SELECT\n1'", b"SELECT\n1"),
    (ANSI, b"PREPARE s FROM 'SELECT \"\"1\"\"'", b'SELECT ""1""'),
    (LITERAL, rb"PREPARE s FROM 'a\n''b'", rb"a\n'b"),
    (LITERAL, rb'PREPARE s FROM "a\""', None),
    (LITERAL, rb'PREPARE s FROM "a\""b"', rb'a\"b'),
    (ANSI, rb'PREPARE s FROM "SELECT 1"', None),
    (PLAIN, rb"PREPARE s FROM 'SELECT' ' 1'", None),
    (PLAIN, rb"PREPARE s FROM @x", None),
    (PLAIN, rb"PREPARE s FROM N'SELECT 1'", None),
    (PLAIN, rb"PREPARE s FROM _utf8'SELECT 1'", None),
    (PLAIN, rb"PREPARE s FROM 'SELECT 1'; SELECT 'x'", None),
    (PLAIN, "PREPARE é FROM 'SELECT 1'".encode(), None),
    (PLAIN, rb"PREPARE s /* x */ FROM 'SELECT 1'", None),
]


@pytest.mark.parametrize(("lexer", "sql", "text"), READ)
def test_the_text_of_a_prepare(lexer: Lexer, sql: bytes, text: bytes | None) -> None:
    found = prepared(sql, lexer, b"app")
    assert found == (None if text is None else Text(text, b"app", lexer.reading.ansi_quotes, lexer.reading.escapes))


def run(sql: bytes, lexer: Lexer = PLAIN, schema: bytes = b"app") -> Execution | None:
    texts = {b"s": Text(b"SELECT 5", b"app", False, True), b"a$1": Text(b"DO ?", b"app", False, True)}
    return executed(sql, lexer, schema, texts)


@pytest.mark.parametrize("sql", [b"EXECUTE s", b"execute `S` ;", b"\tEXECUTE\ns\n"])
def test_what_is_known(sql: bytes) -> None:
    assert run(sql) == Execution(b"SELECT 5", frozenset())


@pytest.mark.parametrize(
    ("sql", "using"),
    [
        (b"EXECUTE a$1 USING @x", {b"x"}),
        (b"EXECUTE a$1 USING @X , @a.b,@x", {b"x", b"a.b"}),
        (b"EXECUTE a$1 USING -1.5, @y", {b"y"}),
        (b"EXECUTE a$1 USING 7", set()),
    ],
)
def test_parameters(sql: bytes, using: set[bytes]) -> None:
    assert run(sql) == Execution(b"DO ?", frozenset(using))


def test_a_text_of_its_own() -> None:
    assert run(b"EXECUTE IMMEDIATE 'SELECT ''x'''") == Execution(b"SELECT 'x'", frozenset())
    assert run(b"EXECUTE IMMEDIATE 'DO ?' USING @q;") == Execution(b"DO ?", frozenset((b"q",)))


@pytest.mark.parametrize(
    "sql",
    [
        b"EXECUTE t",
        b"EXECUTE s; SELECT 1",
        b"EXECUTE s USING @`odd name`",
        b"EXECUTE s USING f()",
        b"EXECUTE IMMEDIATE @x",
        b"EXECUTE IMMEDIATE CONCAT('SELECT', ' 1')",
        b"EXECUTE IMMEDIATE 'SELECT 1' ' + 1'",
        b"EXECUTE s /*! USING @x */",
        b"SET STATEMENT max_statement_time=1 FOR EXECUTE s",
        b"CALL s()",
    ],
)
def test_what_is_not_known(sql: bytes) -> None:
    assert run(sql) is None


def test_what_means_something_else_by_now() -> None:
    assert run(b"EXECUTE s", ANSI) is None
    assert run(b"EXECUTE s", LITERAL) is None
    assert run(b"EXECUTE s", Lexer(Reading(character_set=b"gbk"))) is None
    assert run(b"EXECUTE s", schema=b"other") is None


def test_names_are_compared_as_the_servers_do_it() -> None:
    assert name_of(b"`Ab$1`") == name_of(b"aB$1")
