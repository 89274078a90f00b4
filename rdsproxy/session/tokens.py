"""The tokens of a statement, as the server reads them in a session's state: for the few statements that are changed.

Most statements are never taken apart: `statements` decides by a search whether one is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from rdsproxy.session.state import State, States

# Characters of two bytes whose second may be a backslash or a backtick.
_PAIRS: Final = {
    b"big5": rb"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]",
    b"gbk": rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]",
    b"gb18030": rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]",
    b"sjis": rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]",
    b"cp932": rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]",
}


class Token(NamedTuple):
    """A word, a string, or a single character of anything else, and where it stands."""

    text: bytes
    """In upper case; a quoted identifier without its quotes; b"''" for a string."""
    start: int
    end: int
    quoted: bool = False
    """An identifier in quotes, which is no keyword."""


def tokens(sql: bytes, state: State, states: States) -> Iterator[Token]:
    """Give the tokens of `sql`, read in `state`. What stands in an executable comment counts as code."""
    lexer = state.lexer
    pattern = _pattern(lexer.ansi_quotes, lexer.escapes, _PAIRS.get(states.character_set_client(state), b""))
    for match in pattern.finditer(sql):
        kind = match.lastgroup
        if kind == "skip":
            continue
        text = match[0]
        if kind == "string":
            text = b"''"
        elif kind == "quoted":
            text = text[1:-1]
        yield Token(text.upper(), match.start(), match.end(), kind == "quoted")


@lru_cache
def _pattern(ansi_quotes: bool, escapes: bool, pair: bytes) -> re.Pattern[bytes]:
    pair = pair + b"|" if pair else b""
    escape = rb"\\.|" if escapes else b""
    backslash = rb"\\" if escapes else b""

    def string(quote: bytes) -> bytes:
        return quote + b"(?:" + pair + escape + b"[^" + quote + backslash + b"])*" + quote

    strings, quoted = string(b"'"), b"`(?:" + pair + b"[^`])*`"
    if ansi_quotes:
        quoted += b'|"(?:' + pair + b'[^"])*"'
    else:
        strings += b"|" + string(b'"')
    return re.compile(
        rb"(?P<skip>\s+|/\*M?!\d*|\*/|/\*.*?(?:\*/|\Z)|#[^\n]*|--(?=[\x00-\x20]|\Z)[^\n]*)"
        rb"|(?P<string>" + strings + rb")|(?P<quoted>" + quoted + rb")"
        rb"|(?P<word>(?:" + pair + rb"[\w$\x80-\xff])+)|(?P<other>.)",
        re.DOTALL,
    )
