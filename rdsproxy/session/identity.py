"""The client's connection id in the text of its statements.

A client is known to itself and to others by the proxy's id, the one of its greeting. The server would give the id of
whichever connection runs the statement. So where a statement asks for it, the answer is written into the statement,
with the type and the column name that it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rdsproxy.session.state import State, States
from rdsproxy.session.tokens import Token, tokens

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
# What these define outlives the statement, and is read by others.
_DEFINITIONS: Final = frozenset((b"CREATE", b"ALTER"))

_BEFORE_AN_ITEM: Final = frozenset((b"SELECT", b"ALL", b"DISTINCT", b"DISTINCTROW"))
_AFTER_THE_ITEMS: Final = frozenset(
    b"FROM INTO WHERE GROUP HAVING WINDOW ORDER LIMIT FOR LOCK UNION EXCEPT INTERSECT MINUS PROCEDURE".split()
)
_AFTER_AN_ITEM: Final = frozenset((b"", b",", b";", b")")) | _AFTER_THE_ITEMS
_END: Final = Token(b"", -1, -1)


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


def parse_kill(sql: bytes, own_id: int, state: State, states: States) -> Kill | None:
    """Read a statement that is one KILL of a number or of CONNECTION_ID(), and nothing else."""
    words = [token.text for token in tokens(sql, state, states)]
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


def with_own_id(sql: bytes, own_id: int, state: State, states: States) -> bytes:
    """Give `sql` with `own_id` in place of CONNECTION_ID() and @@pseudo_thread_id, where it reads them.

    Left as they are: definitions (CREATE, ALTER), and statements that look at the server's own list of threads.
    """
    found = list(tokens(sql, state, states))
    if any(token.text in _OF_THE_SERVER for token in found):
        return sql
    address = b".".join(b"%d" % byte for byte in own_id.to_bytes(4, "big"))
    parts: list[bytes] = []
    done = 0
    lists = [False]  # for each open parenthesis: in a list of select items
    item = False  # an item of such a list begins here
    sets = False  # the statement is a SET
    begins = True
    position = 0
    while position < len(found):
        token = found[position]
        word = b"" if token.quoted else token.text
        if word in _DEFINITIONS:
            break
        end = length = 0
        if token.text == b"CONNECTION_ID" and _texts(found, position + 1, 2) == [b"(", b")"]:
            length = 3 if _texts(found, position - 1, 1) != [b"."] else 0
            # Both have the type of CONNECTION_ID(), and of @@pseudo_thread_id: INT or BIGINT, never NULL or perhaps.
            value = b"CAST(%d AS UNSIGNED)" % own_id
        elif word == b"@":
            length = _variable(found, position)
            value = b"INET_ATON('" + address + b"')"
            if length and sets and _texts(found, position + length, 1) in ([b"="], [b":"]):
                length = 0
        if length:
            end = found[position + length - 1].end
            following = found[position + length] if position + length < len(found) else _END
            if item and following.text in _AFTER_AN_ITEM:
                value += b" AS `" + sql[token.start : end].replace(b"`", b"``") + b"`"
            parts += [sql[done : token.start], value]
            done = end
            position += length
            item = begins = False
            continue
        if begins:
            sets = word == b"SET"
        begins = word == b";"
        if begins:
            lists = [False]
        elif word == b"(":
            lists.append(False)
        elif word == b")":
            if len(lists) > 1:
                lists.pop()
        elif word == b"SELECT":
            lists[-1] = True
        elif word in _AFTER_THE_ITEMS:
            lists[-1] = False
        item = lists[-1] and (word == b"," or word in _BEFORE_AN_ITEM)
        position += 1
    if not parts:
        return sql
    parts.append(sql[done:])
    return b"".join(parts)


def _texts(found: Sequence[Token], start: int, count: int) -> list[bytes]:
    return [token.text for token in found[max(start, 0) : start + count]]


def _variable(found: Sequence[Token], start: int) -> int:
    """Give how many tokens a @@pseudo_thread_id at `start` has, 0 if it is none."""
    scope = _texts(found, start + 2, 2)
    length = 5 if scope in ([b"SESSION", b"."], [b"LOCAL", b"."]) else 3
    texts = _texts(found, start, length)
    return length if texts[:2] == [b"@", b"@"] and texts[-1] == b"PSEUDO_THREAD_ID" else 0
