"""The client's connection id in the text of its statements.

A client is known to itself and to others by the proxy's id, the one of its greeting. The server would give the id of
whichever connection runs the statement. So where a statement asks for it, the answer is written into the statement,
with the type and the column name that it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rdsproxy.session.reading import Token
from rdsproxy.session.state import State
from rdsproxy.session.substitution import Value, call, substitute, texts, variable

FIRST_ID: Final = 1 << 31
"""The lowest of the proxy's ids. Servers count their own connections from 1."""

# Beside these an id is compared with the server's own: there the server's own is right.
_OF_THE_SERVER: Final = frozenset(
    (
        b"INNODB_LOCKS",
        b"INNODB_LOCK_WAITS",
        b"INNODB_TRX",
        b"IS_USED_LOCK",
        b"METADATA_LOCK_INFO",
        b"PERFORMANCE_SCHEMA",
        b"PROCESSLIST",
        b"PS_THREAD_ID",
        b"SYS",
    )
)


class Kill(NamedTuple):
    """A KILL of one thread, by its number."""

    thread: int
    query: bool
    """The statement under way, not the connection."""
    how: bytes = b""
    """MariaDB's HARD or SOFT."""

    def of(self, thread: int) -> bytes:
        """Give the statement that does the same to another thread."""
        how = self.how + b" " if self.how else b""
        return b"KILL " + how + (b"QUERY " if self.query else b"CONNECTION ") + b"%d" % thread


def parse_kill(sql: bytes, own_id: int, state: State) -> Kill | None:
    """Read a statement that is one KILL of a number or of CONNECTION_ID(), and nothing else."""
    words = [token.text for token in state.lexer.reading.tokens(sql) or ()]
    if words[-1:] == [b";"]:
        del words[-1]
    if not words or words.pop(0) != b"KILL":
        return None
    how = words.pop(0) if words[:1] in ([b"HARD"], [b"SOFT"]) else b""
    query = words[:1] == [b"QUERY"]
    if words[:1] in ([b"QUERY"], [b"CONNECTION"]):
        del words[0]
    if words == [b"CONNECTION_ID", b"(", b")"]:
        return Kill(own_id, query, how)
    # One longer than any id would not be read as that number by every server.
    if len(words) == 1 and words[0].isdigit() and len(words[0]) <= 10:
        return Kill(int(words[0]), query, how)
    return None


def with_own_id(sql: bytes, own_id: int, state: State) -> bytes:
    """Give `sql` with `own_id` in place of CONNECTION_ID() and @@pseudo_thread_id, where it reads them.

    Left as they are: definitions (CREATE, ALTER), statements that look at the server's own list of threads, and those
    of which it cannot be told what is a string.
    """
    found = state.lexer.reading.tokens(sql)
    if found is None or any(token.text in _OF_THE_SERVER for token in found):
        return sql
    # Both have the type of CONNECTION_ID(), and of @@pseudo_thread_id: INT or BIGINT, never NULL or perhaps.
    of_function = b"CAST(%d AS UNSIGNED)" % own_id
    of_variable = b"INET_ATON('" + b".".join(b"%d" % byte for byte in own_id.to_bytes(4, "big")) + b"')"

    def find(found: Sequence[Token], position: int, sets: bool) -> Value | None:
        if length := call(found, position, b"CONNECTION_ID"):
            return Value(length, of_function)
        if length := variable(found, position, b"PSEUDO_THREAD_ID"):
            is_set = sets and texts(found, position + length, 1) in ([b"="], [b":"])
            return None if is_set else Value(length, of_variable)
        return None

    return substitute(sql, found, find)
