"""CALL of procedures that are proved to leave nothing behind that no tracker tells.

What a procedure does is in its definition, so that is asked for right before the CALL and again before the connection
may go to anyone else. If both answers are the same, and nothing in them is of what the trackers keep to themselves, the
CALL is no more than its statements. Another definition in between, and the first one back, is not a thing that happens
within that time.

The stored functions and triggers of its statements count as they do anywhere else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pymysql.constants import ER

from rdsproxy.protocol import commands
from rdsproxy.protocol.results import Result, Row

if TYPE_CHECKING:
    from rdsproxy.session.state import State, States
    from rdsproxy.session.statements import Lexer

MOST: Final = 16
"""Procedures that are asked for at once."""

# With a schema before it, the name may be that of a package of MariaDB's; and that it is in another is reported as a
# change of state that may be anything.
_CALL: Final = re.compile(rb"\s*CALL\s+(?:`([\w$]+)`|([A-Za-z_$][\w$]*))\s*(?:\([^;]*\))?\s*;?\s*", re.IGNORECASE)

# In these a definition comes as it is written, as far as it is ASCII. Empty: whatever it is written in.
_READABLE: Final = frozenset((b"", b"ascii", b"binary", b"latin1", b"utf8", b"utf8mb3", b"utf8mb4"))

_ACCOUNT: Final = rb"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|\w+)"
_DEFINER: Final = re.compile(rb"\bDEFINER\s*=\s*" + _ACCOUNT + b"@" + _ACCOUNT)

# The words are searched anywhere in the definition: where a statement begins in it is not looked for.
_SILENT: Final = re.compile(
    rb"(?<!@)@(?!@)"  # a user variable
    rb"|@@[^\s=:,;]+\s*:?="
    rb"|\b(?:CALL|EXECUTE|PREPARE|DEALLOCATE|TEMPORARY|ALTER|RENAME|FLUSH|BACKUP|UNLOCK|XA|KILL|GET_LOCK|RELEASE_LOCK"
    rb"|RELEASE_ALL_LOCKS|SERVICE_GET_\w+|NEXTVAL|LASTVAL|SETVAL|SQL_CALC_FOUND_ROWS|PROFILING)\b"
    rb"|\bHANDLER\b(?!\s+FOR\b)|\bLOCK\s+(?:TABLES?|INSTANCE)\b|\bRELEASE\b(?!\s+SAVEPOINT\b)"
    rb"|\b(?:NEXT|PREVIOUS)\s+VALUE\b|(?:\bSET|,)\s*(?:ROLE|RESOURCE)\b(?!\s*:?=)|\bLANGUAGE\s+(?!SQL\b)",
    re.IGNORECASE,
)


def called(sql: bytes, state: State, states: States) -> bytes | None:
    """Give the procedure that a statement calls, in lower case; None if that cannot be told, or proves nothing."""
    found = _CALL.fullmatch(state.lexer.code(sql) or b"")
    if found is None or states.character_set_results(state) not in _READABLE:
        return None
    return (found[1] or found[2]).lower()


def ask_definition(name: bytes) -> bytes:
    """Give the query for a procedure's definition. It does not touch the transaction, nor what is set for the next."""
    return commands.query(b"SHOW CREATE PROCEDURE `%b`" % name)


def definition(result: Result) -> Row | None:
    """Give the definition that was answered; empty for a procedure that does not exist, None where it is not told."""
    if result.err is not None:
        return () if result.err.code == ER.SP_DOES_NOT_EXIST else None
    row = result.row(6)
    return None if row[2] is None else row


def is_harmless(definition: Row | None, states: States) -> bool:
    """Tell that nothing in a definition does what no tracker tells. A procedure that is not there does nothing."""
    if not definition:
        return definition is not None
    sql_mode, sql = definition[1] or b"", definition[2] or b""
    if b"ORACLE" in sql_mode.upper():
        return False  # there a name alone is a call
    lexer: Lexer = states.lexers.choose(sql_mode, b"utf8mb4")
    code = lexer.code(_DEFINER.sub(b"", sql, count=1))
    return code is not None and not _SILENT.search(code)


class Calls:
    """The procedures that a session has called since it took its connection, and what they were before."""

    __slots__ = ("before",)

    def __init__(self) -> None:
        self.before: dict[bytes, Row] = {}

    def begin(self, name: bytes, found: Row | None, states: States) -> bool:
        """Take the definition of a procedure that is about to be called; tells whether the call can be proved."""
        if found is None or self.before.get(name, found) != found or not is_harmless(found, states):
            return False
        self.before[name] = found
        return len(self.before) <= MOST

    def end(self, results: dict[bytes, Row | None]) -> bool:
        """Take the definitions that there are now; tells whether all calls are proved."""
        proved = all(results[name] == found for name, found in self.before.items())
        self.before.clear()
        return proved
