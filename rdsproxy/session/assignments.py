"""Which variables a SET assigns, from its text: for the few SETs after which the trackers cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rdsproxy.session.reading import Token
from rdsproxy.session.state import (
    CHARACTER_SET_CLIENT,
    CHARACTER_SET_CONNECTION,
    CHARACTER_SET_RESULTS,
    COLLATION_CONNECTION,
)

_OF_NAMES: Final = (CHARACTER_SET_CLIENT, CHARACTER_SET_CONNECTION, CHARACTER_SET_RESULTS, COLLATION_CONNECTION)
# To set the one sets the other too.
_ALONG: Final = {
    CHARACTER_SET_CONNECTION: COLLATION_CONNECTION,
    COLLATION_CONNECTION: CHARACTER_SET_CONNECTION,
    b"max_join_size": b"sql_big_selects",
}
_OF_SESSION: Final = frozenset((b"SESSION", b"LOCAL"))
_OF_SERVER: Final = frozenset((b"GLOBAL", b"PERSIST", b"PERSIST_ONLY"))


def assigned(tokens: Sequence[Token]) -> frozenset[bytes] | None:
    """Give the session variables, in lower case, that the SETs of `tokens` assign; None if that cannot be told.

    User variables and those of the whole server are left out.
    """
    names: set[bytes] = set()
    for statement in split(tokens, b";"):
        if not statement:
            continue
        if statement[0].text != b"SET":
            return None
        of_server = False
        for item in split(statement[1:], b","):
            words = [token.text for token in item]
            if words[:1] == [b"@"] and words[1:2] != [b"@"]:
                continue
            scope = b""
            if words[:2] == [b"@", b"@"]:
                del words[:2]
                if words[1:2] == [b"."]:
                    scope = words[0]
                    del words[:2]
            elif words and words[0] in _OF_SESSION | _OF_SERVER:
                scope = words.pop(0)
            if not scope and (words[:1] in ([b"NAMES"], [b"CHARSET"]) or words[:2] == [b"CHARACTER", b"SET"]):
                names.update(_OF_NAMES)
            elif words[1:2] not in ([b"="], [b":"]):
                return None
            elif scope in _OF_SERVER:
                of_server = True
            elif scope in _OF_SESSION or not (scope or of_server):
                # Behind one of the whole server, some servers take a name without a scope for another such.
                name = words[0].lower()
                names.add(name)
                if name in _ALONG:
                    names.add(_ALONG[name])
            else:
                return None
    return frozenset(names)


def split(tokens: Sequence[Token], separator: bytes) -> list[list[Token]]:
    """Cut tokens at each `separator` that stands outside of parentheses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        text = b"" if token.quoted else token.text
        depth += (text == b"(") - (text == b")")
        if text == separator and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
