"""Put values in the place of expressions in the text of a statement, with the column names that these would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rdsproxy.session.reading import Token

_BEFORE_AN_ITEM: Final = frozenset((b"SELECT", b"ALL", b"DISTINCT", b"DISTINCTROW"))
_AFTER_THE_ITEMS: Final = frozenset(
    b"FROM INTO WHERE GROUP HAVING WINDOW ORDER LIMIT FOR LOCK UNION EXCEPT INTERSECT MINUS PROCEDURE".split()
)
_AFTER_AN_ITEM: Final = frozenset((b"", b",", b";", b")")) | _AFTER_THE_ITEMS
_END: Final = Token(b"", -1, -1)
# What these define outlives the statement, and is read by others.
_DEFINITIONS: Final = frozenset((b"CREATE", b"ALTER"))


class Value(NamedTuple):
    """What stands in place of some tokens."""

    length: int
    sql: bytes


Find = Callable[[Sequence[Token], int, bool], Value | None]
"""Gives the value of the expression that begins at a token; the last parameter: the statement is a SET."""


def substitute(sql: bytes, found: Sequence[Token], find: Find) -> bytes:
    """Give `sql`, of which `found` are the tokens, with the values that `find` has, but for definitions."""
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
        value = find(found, position, sets)
        if value is not None:
            end = found[position + value.length - 1].end
            following = found[position + value.length] if position + value.length < len(found) else _END
            replacement = value.sql
            if item and following.text in _AFTER_AN_ITEM:
                replacement += b" AS `" + sql[token.start : end].replace(b"`", b"``") + b"`"
            parts += [sql[done : token.start], replacement]
            done = end
            position += value.length
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


def texts(found: Sequence[Token], start: int, count: int) -> list[bytes]:
    """Give the texts of so many tokens."""
    return [token.text for token in found[max(start, 0) : start + count]]


def call(found: Sequence[Token], start: int, name: bytes) -> int:
    """Give how many tokens a call of `name`, without arguments, has at `start`; 0 if there is none."""
    if found[start].text != name or texts(found, start + 1, 2) != [b"(", b")"]:
        return 0
    return 3 if start == 0 or found[start - 1].text != b"." else 0


def variable(found: Sequence[Token], start: int, name: bytes) -> int:
    """Give how many tokens the system variable `name`, of the session or without a scope, has at `start`, or 0."""
    if found[start].text != b"@":
        return 0
    scope = texts(found, start + 2, 2)
    length = 5 if scope in ([b"SESSION", b"."], [b"LOCAL", b"."]) else 3
    words = texts(found, start, length)
    return length if words[:2] == [b"@", b"@"] and words[-1] == name else 0
