"""Statements inside of statements: what SQL's EXECUTE runs, where the text that was prepared is known.

Source: "PREPARE Statement" and "EXECUTE Statement" in the manuals. Names of prepared statements are compared without
regard to letter case. Only literals are read: what a variable or an expression held, nobody knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rdsproxy.session.statements import Lexer

_NAME: Final = rb"(`[\w$]+`|[A-Za-z_$][\w$]*)"
_SINGLE: Final = {True: rb"'(?:[^'\\]|\\.|'')*'", False: rb"'(?:[^']|'')*'"}
_DOUBLE: Final = {True: rb'"(?:[^"\\]|\\.|"")*"', False: rb'"(?:[^"]|"")*"'}
_VALUE: Final = rb"(?:@[\w.$]+|-?\d+(?:\.\d+)?)"
_USING: Final = rb"(?:\s+USING\s+(" + _VALUE + rb"(?:\s*,\s*" + _VALUE + rb")*))?"
_VARIABLE: Final = re.compile(rb"@([\w.$]+)")
_ESCAPED: Final = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"}
_KEPT: Final = frozenset((b"%", b"_"))
"""Behind these a backslash stays."""

_EXECUTE: Final = re.compile(rb"\s*EXECUTE\s+" + _NAME + _USING + rb"\s*;?\s*", re.IGNORECASE)


class Text(NamedTuple):
    """A statement that was prepared, and what its meaning depends on: the schema, and how strings are read."""

    sql: bytes
    schema: bytes
    ansi_quotes: bool
    escapes: bool


class Execution(NamedTuple):
    """What an EXECUTE runs."""

    sql: bytes
    using: frozenset[bytes]
    """User variables that are its parameters, in lower case. CALL may assign to them."""


def prepared(sql: bytes, lexer: Lexer, schema: bytes) -> Text | None:
    """Give the text of a PREPARE from a literal, which is sure to be one; None for any other."""
    return _literal(sql, rb"\s*PREPARE\s+" + _NAME + rb"\s+FROM\s*", rb"\s*;?\s*", lexer, schema)[0]


def executed(sql: bytes, lexer: Lexer, schema: bytes, texts: dict[bytes, Text]) -> Execution | None:
    """Give what `sql` executes: one of `texts` (by name, as `name_of` gives it), or a literal in it.

    None: not known, or it may mean something else by now.
    """
    if not lexer.is_sure(sql):
        return None
    found = _EXECUTE.fullmatch(sql)
    if found is not None:
        text = texts.get(name_of(found[1]))
        if text is None or text[1:] != (schema, lexer.reading.ansi_quotes, lexer.reading.escapes):
            return None
    else:
        text, found = _literal(sql, rb"\s*EXECUTE\s+(IMMEDIATE)\s*", _USING + rb"\s*;?\s*", lexer, schema)
        if text is None or found is None:
            return None
    using = _VARIABLE.findall(found[found.re.groups] or b"")
    return Execution(text.sql, frozenset(name.lower() for name in using))


def name_of(name: bytes) -> bytes:
    """Give the name under which a text is kept."""
    return name.replace(b"`", b"").lower()


def _literal(
    sql: bytes, before: bytes, behind: bytes, lexer: Lexer, schema: bytes
) -> tuple[Text | None, re.Match[bytes] | None]:
    strings = _SINGLE[lexer.reading.escapes]
    if not lexer.reading.ansi_quotes:
        strings += b"|" + _DOUBLE[lexer.reading.escapes]
    found = re.fullmatch(before + b"(" + strings + b")" + behind, sql, re.IGNORECASE | re.DOTALL)
    if found is None:
        return None, None
    doubled = found[2][:1] * 2
    text = re.sub((rb"\\.|" if lexer.reading.escapes else b"") + doubled, _character, found[2][1:-1], flags=re.DOTALL)
    return Text(text, schema, lexer.reading.ansi_quotes, lexer.reading.escapes), found


def _character(found: re.Match[bytes]) -> bytes:
    """Give what an escape, or a doubled quote, stands for."""
    written = found[0]
    if written[:1] == b"\\":
        return written if written[1:] in _KEPT else _ESCAPED.get(written[1:], written[1:])
    return written[1:]
