"""User variables (`@x`): which of them a statement names, and how their values are asked for and written down.

No tracker tells their values. The names are taken from the text; the values are asked for before the connection goes to
anyone else, in a way that tells their types, character sets and collations whatever the session's settings are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from pymysql.constants import FIELD_TYPE

from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.results import UNSIGNED, Column, Row

LARGEST: Final = 1 << 14
"""Bytes of one value that is kept by the session; as SQL, all together may have twice that."""

# A name is compared as the server's own character set does it, in which other letters may equal these: no others here.
_NAME: Final = re.compile(rb"[A-Za-z0-9_.$]{1,64}")
_MENTION: Final = re.compile(rb"(?<![@'`\"])@(?!@)(?:`([^`]*)`|\"([^\"]*)\"|([A-Za-z0-9_.$]*))([\x80-\xff]?)")
_IDENTIFIER: Final = re.compile(rb"`[^`]*`|\"[^\"]*\"")
_PUNCTUATION: Final = re.compile(rb"[;@=:,()]")
_INTO: Final = re.compile(rb"\bINTO\s*(?:@[\w.$`\"]+\s*,?\s*)+", re.IGNORECASE)
_INNER: Final = re.compile(rb"\([^()]*\)")
_DEEPEST: Final = 32
_SET: Final = re.compile(rb"\s*SET\b", re.IGNORECASE)
_GET: Final = re.compile(rb"\s*GET\s+(?:CURRENT\s+)?DIAGNOSTICS\b[^;()]*;?\s*", re.IGNORECASE)
_TAKEN: Final = re.compile(rb"@[\w.$`\"]+(?=\s*=)")
_LOAD: Final = re.compile(rb"\s*LOAD\b", re.IGNORECASE)
_TARGET_OF_SET: Final = re.compile(rb"\s*@[\w.$`\"]+\s*:?=")
_LONGEST: Final = 0xFFFFFF
"""The length of a binary string that was set: one that was not has another."""
UNSET: Final = b"NULL"
"""The value of a variable that a connection does not have, in place of the SQL that sets it."""
_ASSIGNED: Final = re.compile(rb"\s*:=")

_STRINGS: Final = frozenset(
    (
        FIELD_TYPE.VARCHAR,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
        FIELD_TYPE.BLOB,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.STRING,
    )
)
_INTEGER: Final = re.compile(rb"-?\d{1,20}")
_DECIMAL: Final = re.compile(rb"-?\d{1,65}(?:\.(\d{1,38}))?")
_DOUBLE: Final = re.compile(rb"-?\d+(?:\.\d+)?(e[-+]?\d+)?")
_CHARSET: Final = re.compile(rb"[a-z0-9_]{1,64}")
_UTF8: Final = frozenset((b"utf8mb4", b"utf8mb3", b"utf8"))
# In these a byte is not always a character: bytes above ASCII may be refused as malformed.
_MULTI_BYTE: Final = frozenset(b"big5 cp932 eucjpms euckr gb18030 gb2312 gbk sjis ujis".split())
_WIDE: Final = frozenset(b"ucs2 utf16 utf16le utf32".split())


class Mentions(NamedTuple):
    """The user variables that a statement names, in lower case."""

    names: frozenset[bytes]
    assigned: frozenset[bytes]
    """Those that it assigns for certain."""
    read: frozenset[bytes]
    """Those whose value of before it may use."""
    nothing_else: bool
    """It sets user variables and nothing else."""
    diagnostics: bool = False
    """It is one GET DIAGNOSTICS."""


def mentions(code: bytes, *, certain: bool = True) -> Mentions | None:
    """Give what a statement names; `code` is its text without strings and comments.

    Not `certain`: where they begin and end cannot be told. None when there is a name that the session cannot keep.
    """
    names = set()
    assigned = set()
    read = set()
    gets = certain and _GET.fullmatch(code) is not None
    exact = certain and not any(_PUNCTUATION.search(identifier) for identifier in _IDENTIFIER.findall(code))
    nothing_else = exact
    for statement in code.split(b";") if exact else [code]:
        into = [found.span() for found in _INTO.finditer(statement)] if exact else []
        if gets:
            into += [found.span() for found in _TAKEN.finditer(statement)]
        into.sort(reverse=True)
        flat = _flat(statement)
        sets = exact and flat is not None and _SET.match(statement) is not None
        loads = exact and _LOAD.match(statement) is not None
        targets = set()
        if sets and flat is not None:
            for part in flat[_end(_SET, flat) :].split(b","):
                target = _TARGET_OF_SET.match(part)
                if target is None:
                    nothing_else = False
                else:
                    targets.add(target[0].strip(b" \t\r\n@`\":=").lower())
        elif statement.strip():
            nothing_else = False
        seen: dict[bytes, int] = {}
        free = set()
        for found in _MENTION.finditer(statement):
            name = (found[1] or found[2] or found[3] or b"").lower()
            if found[4] or not _NAME.fullmatch(name):
                return None
            names.add(name)
            seen[name] = seen.get(name, 0) + 1
            start, end = found.span()
            while into and into[-1][1] <= start:
                into.pop()
            if (exact and _ASSIGNED.match(statement, end)) or loads or (into and into[-1][0] <= start):
                assigned.add(name)
            else:
                free.add(name)
        # The one mention of a name that a SET begins a part with is what is set.
        once = {name for name in targets if seen.get(name) == 1}
        assigned |= targets & seen.keys()
        read |= free - once
    return Mentions(frozenset(names), frozenset(assigned), frozenset(read), nothing_else, gets)


def _flat(statement: bytes) -> bytes | None:
    """Give a statement without what is in parentheses; None if they stand too deep in one another."""
    for _ in range(_DEEPEST):
        if statement == (statement := _INNER.sub(b"", statement)):
            return statement
    return None


def _end(pattern: re.Pattern[bytes], text: bytes) -> int:
    found = pattern.match(text)
    return found.end() if found else 0


def ask_types(names: Iterable[bytes]) -> bytes:
    """Give the query whose columns have the types of these variables."""
    # LIMIT holds against sql_select_limit too.
    return commands.query(b"SELECT " + b", ".join(b"@`%b`" % name for name in names) + b" LIMIT 0")


def ask_values(names: Iterable[bytes]) -> bytes:
    """Give the query for what `literal` takes: four values of each variable.

    As binary strings they come as they are, whatever the character sets of results and of the connection.
    """
    return commands.query(
        b"SELECT "
        + b", ".join(
            b"IF(LENGTH(@`%b`) > %d, NULL, CAST(@`%b` AS BINARY)), CAST(LENGTH(@`%b`) AS BINARY), "
            b"CAST(CHARSET(@`%b`) AS BINARY), CAST(COLLATION(@`%b`) AS BINARY)"
            % (name, LARGEST, name, name, name, name)
            for name in names
        )
        + b" LIMIT 1"
    )


def ask_doubles(values: dict[bytes, bytes]) -> bytes:
    """Give the query whether these values, written as SQL, are the very numbers that the variables have.

    MySQL shortens what it converts to a string.
    """
    same = b", ".join(b"CAST(@`%b` = %b AS BINARY)" % (name, sql) for name, sql in values.items())
    return commands.query(b"SELECT " + same + b" LIMIT 1")


def is_double(column: Column, answer: Row) -> bool:
    """Tell whether the variable is a DOUBLE, and not NULL."""
    return column.kind == FIELD_TYPE.DOUBLE and answer[1] is not None


def literal(name: bytes, column: Column, answer: Row) -> bytes | None:
    """Give the SQL that sets the variable to this value, in its type, character set and collation; None: there is none.

    `answer`: the four values of `ask_values`. Raises ProtocolError for what no server answers.
    """
    value, length, charset, collation = answer
    if length is None:
        return _null(name, column, charset, collation)
    if value is None or charset is None or collation is None:
        return None  # too long
    if column.kind not in _STRINGS:
        value = value.replace(b"\0", b"")  # MySQL writes numbers in the connection's character set, such as UTF-16
    if column.kind == FIELD_TYPE.LONGLONG:
        _check(_INTEGER, value)
        # A number alone is signed as long as it can be.
        return b"CAST(%b AS UNSIGNED)" % value if column.flags & UNSIGNED else value
    if column.kind == FIELD_TYPE.NEWDECIMAL:
        found = _check(_DECIMAL, value)
        return value if found[1] else value + b"."
    if column.kind == FIELD_TYPE.DOUBLE:
        found = _check(_DOUBLE, value)
        return value if found[1] else value + b"e0"
    if column.kind not in _STRINGS or not _well_formed(value, charset):
        return None
    _check(_CHARSET, charset)
    _check(_CHARSET, collation)
    text = b"_%b X'%b'" % (charset, value.hex().encode("ascii"))
    return text if charset == b"binary" else text + b" COLLATE " + collation


def _null(name: bytes, column: Column, charset: bytes | None, collation: bytes | None) -> bytes:
    """Give the SQL of a NULL. A variable that becomes NULL keeps the type of the value before, so that is set first."""
    if column.kind in _STRINGS:
        if charset is None or collation is None or (charset == b"binary" and column.length != _LONGEST):
            return UNSET
        typed = literal(name, column, (b"", b"0", charset, collation))
    else:
        typed = literal(name, column, (b"0", b"1", charset or b"", collation or b""))
    return UNSET if typed is None else _nulled(name, typed)


def _nulled(name: bytes, typed: bytes) -> bytes:
    return b"%b, @`%b`=NULL" % (typed, name)


def unset(name: bytes) -> bytes:
    """Give the SQL that makes the variable as it is when its first value is NULL: nothing makes it as it was before."""
    return _nulled(name, b"_binary X''")


def _check(pattern: re.Pattern[bytes], value: bytes) -> re.Match[bytes]:
    found = pattern.fullmatch(value)
    if found is None:
        raise ProtocolError("the value of a user variable is not what its type says")
    return found


def _well_formed(value: bytes, charset: bytes) -> bool:
    """Tell for certain that the server takes these bytes for a string of that character set."""
    if charset in _WIDE:
        return False
    if charset in _UTF8:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return charset == b"utf8mb4" or not text or max(text) <= "\uffff"
    return charset not in _MULTI_BYTE or value.isascii()
