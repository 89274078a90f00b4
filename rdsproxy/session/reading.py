"""How the servers read a statement's text: what of it is code, and what strings, names and comments.

As sql_lex.cc of MySQL and MariaDB does it; tests/session/test_reading_as_servers_do.py tries it on the servers. Bytes
are read one by one, but for the characters of a few character sets, whose second byte may look like a backslash or a
backtick. What only some servers take for code is marked. Where a server alone can tell, reading ends: from there on
everything counts as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

ENTER: Final = b"\x01"
LEAVE: Final = b"\x02"
GAP: Final = rb"(?:[\s\xa0\xff\x02]|\x01(?:[^\x02]*\x02)?)"
"""One step between two words of code: a space, or an executable comment, taken for code or passed over.

0xA0 is a space in latin1 and its kin, 0xFF in cp852 and cp866; anywhere else they end in a syntax error.
"""

# Characters of two bytes whose second may be a backslash or a backtick: the first bytes and the second. None of these
# is a quote, and a first byte that none of them follows is read by itself. Nothing more has to be known of the
# characters of four bytes in gb18030: every other byte of them is a digit, which is none of the second.
PAIRS: Final = {
    b"big5": (rb"\xa1-\xf9", rb"\x40-\x7e\xa1-\xfe"),
    b"cp932": (rb"\x81-\x9f\xe0-\xfc", rb"\x40-\x7e\x80-\xfc"),
    b"gb18030": (rb"\x81-\xfe", rb"\x40-\x7e\x80-\xfe"),
    b"gbk": (rb"\x81-\xfe", rb"\x40-\x7e\x80-\xfe"),
    b"sjis": (rb"\x81-\x9f\xe0-\xfc", rb"\x40-\x7e\x80-\xfc"),
}

_COMMENT: Final = rb"/\*(?!M?!)(?:[^*]++|\*(?!/))*+\*/|#[^\n]*+|--(?=[\x00-\x20]|\Z)[^\n]*+"
_UNFINISHED: Final = rb"['\"`]|/\*"
# Which other bytes begin a comment behind two hyphens depends on the character set. A dollar at the beginning of a word
# begins a string in MySQL 9, a name elsewhere; before the next dollar stands what may stand in a name, in swe7 that is
# some punctuation too.
_ODD: Final = rb"--[\x7f-\xff]|(?<![\w$])\$[\w\[-^{-~\x80-\xff]*+\$"
# The name of a user or system variable is read byte by byte.
_ODD_NAME: Final = rb"|@[\w.$]*+[\x80-\xff]"

_EXECUTABLE: Final = re.compile(rb"/\*M?!\d*")
# How a server passes over an executable comment that is not meant for it. It may hold another comment, but for MySQL
# not in one of MariaDB's.
_PASSED_OVER: Final = re.compile(
    rb"/\*!(?:[^*/]++|\*(?!/)|/(?!\*)|/\*(?:[^*]++|\*(?!/))*+\*/)*+\*/|/\*M!(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/"
)
_NOT_CODE: Final = frozenset(("string", "plain", "name", "comment"))

# What changes how the statements behind it are read, and to character sets of which kind.
_SET: Final = re.compile(rb"\bSET\b", re.IGNORECASE)
_MODE: Final = re.compile(rb"\bSQL_MODE\b", re.IGNORECASE)
_CHARACTERS: Final = re.compile(rb"\b(?:NAMES|CHARSET|CHARACTER|CHARACTER_SET_CLIENT)\b", re.IGNORECASE)
_OF_SINGLE_BYTES: Final = re.compile(rb"\b(?:UTF\d(?:MB\d)?|LATIN\d|ASCII|BINARY)\b", re.IGNORECASE)
_PERHAPS_OF_PAIRS: Final = re.compile(rb"\b(?:BIG\d|CP\d+|GB\d+|GBK|SJIS|DEFAULT)\b|[@(]", re.IGNORECASE)
_NOTHING_MORE: Final = re.compile(rb"[;\s]*\Z")
_BLANK: Final = b" \t\n\r\f\v\xa0\xff"
_ASCII: Final = bytes(range(128))

_Piece = tuple[str, int, int]


class Code(NamedTuple):
    """What of a text is code."""

    text: bytes
    """Without comments, and with two quotes in place of each string. Quoted names that no function of a server's has
    are `?`. What is in an executable comment stands between `ENTER` and `LEAVE`, if it is more than blanks."""
    executable: bool
    """There are executable comments in it."""
    doubtful: bool
    """From some point on it is the text as it was, since it cannot be told how a server reads it; but each begin of an
    executable comment is a space."""


class Token(NamedTuple):
    """A word, a string, or a single character of anything else, and where it stands."""

    text: bytes
    """In upper case; a quoted name without its quotes; b"''" for a string."""
    start: int
    end: int
    quoted: bool = False
    """A name in quotes, which is no keyword."""


class Reading:
    """One way to read statements.

    `ansi_quotes`: a double quote begins a name, not a string. `escapes`: a backslash escapes what follows it in a
    string. `character_set`: the client's, in lower case.
    """

    def __init__(self, *, ansi_quotes: bool = False, escapes: bool = True, character_set: bytes = b"") -> None:
        first, second = PAIRS.get(character_set, (b"", b""))
        pair = b"[" + first + b"][" + second + b"]" if first else b""
        pair_or = pair + b"|" if first else b""
        self.ansi_quotes = ansi_quotes
        self.escapes = escapes
        self.pairs = bool(first)

        def quoted(quote: bytes, escapes: bool) -> bytes:
            inner = b"[^" + quote + first + (rb"\\" if escapes else b"") + b"]++|" + quote * 2
            if first:
                inner += b"|" + pair + b"|[" + first + b"]"
            return quote + b"(?:" + inner + (rb"|\\." if escapes else b"") + b")*+" + quote

        string, name, plain_name = quoted(b"'", escapes), quoted(b"`", False), rb"`[\w$]*+`(?!`)"
        if ansi_quotes:
            name += b"|" + quoted(b'"', False)
            plain_name += rb'|"[\w$]*+"(?!")'
        else:
            string += b"|" + quoted(b'"', escapes)
        pieces = (
            rb"(?P<string>" + string + rb")|(?P<plain>" + plain_name + rb")|(?P<name>" + name + rb")"
            rb"|(?P<comment>" + _COMMENT + rb")|(?P<executable>/\*M?!\d*)|(?P<unfinished>" + _UNFINISHED + rb")"
            rb"|(?P<odd>" + _ODD + (_ODD_NAME if first else b"") + rb")|(?P<end>;)"
        )
        of_pairs = b"@" + first if first else b""
        pairs = b"|(?P<pair>" + pair + b")" if first else b""
        words = rb"|(?P<word>(?:" + pair_or + rb"[\w$\x80-\xff])++)|(?P<other>\S)"
        self._pieces = re.compile(rb"[^'\"`#/\-$;" + of_pairs + rb"]*+(?:" + pieces + pairs + rb"|.)", re.DOTALL)
        self._tokens = re.compile(rb"\s*+(?:" + pieces + words + rb")", re.DOTALL)
        self._code = re.compile(
            string + b"|" + _COMMENT + b"|(" + name + rb"|/\*M?!|(?:" + _UNFINISHED + rb").*+"
            rb"|[^'\"`#/\-" + first + rb"]++|--|" + pair_or + b".)",
            re.DOTALL,
        )

    def sketch(self, text: bytes) -> bytes:
        """Give what is code of `text`, in a fraction of the time that `code` takes, for a search of single words.

        Not if there is an executable comment, a dollar or two hyphens in the code that is given.
        """
        return b" ".join(self._code.findall(text))

    def code(self, text: bytes) -> Code:
        """Give what is code of `text`."""
        parts: list[bytes] = []
        done = entered = 0
        executable = doubtful = False
        for kind, start, end in self._scan(self._pieces, text):
            if kind == "string":
                put = text[start : start + 1] * 2
            elif kind == "comment":
                put = b" "
            elif kind == "name":
                put = b"`?`"
            elif kind == "pair":
                put = b"\x80\x80"
            elif kind == "enter":
                put = ENTER
                executable = True
            elif kind == "leave":
                parts.append(text[done:start])
                done = start
                put = LEAVE
                if not b"".join(parts[entered:]).strip(_BLANK):
                    del parts[entered - 1 :]  # without its begin
                    put = b" "
            else:
                doubtful = doubtful or kind == "odd"
                continue
            parts += (text[done:start], put)
            done = end
            if kind == "enter":
                entered = len(parts)
        rest = text[done:]
        parts.append(_EXECUTABLE.sub(b" ", rest) if doubtful else rest)
        return Code(b"".join(parts), executable, doubtful)

    def without_comments(self, text: bytes) -> bytes:
        """Give `text` with a space in place of each comment; executable ones stay."""
        parts: list[bytes] = []
        done = 0
        for kind, start, end in self._scan(self._pieces, text):
            if kind == "comment":
                parts += (text[done:start], b" ")
                done = end
        parts.append(text[done:])
        return b"".join(parts)

    def tokens(self, text: bytes) -> list[Token] | None:
        """Give the tokens of `text`, those in executable comments too; None if they cannot be told."""
        found = []
        for kind, start, end in self._scan(self._tokens, text):
            if kind == "string":
                found.append(Token(b"''", start, end))
            elif kind in ("plain", "name"):
                found.append(Token(text[start + 1 : end - 1].upper(), start, end, quoted=True))
            elif kind in ("word", "other", "end"):
                found.append(Token(text[start:end].upper(), start, end))
            elif kind in ("odd", "unfinished"):
                return None
        return found

    def _scan(self, pattern: re.Pattern[bytes], text: bytes) -> Iterator[_Piece]:
        """Give kind, begin and end of each piece of `text` that `pattern` knows.

        An executable comment is an "enter", what is in it, and a "leave". Where reading ends, the last piece is an
        "odd" one, or one that is "unfinished": what has no end is an error to every server.
        """
        at = begun = 0
        changes: _Changes | None = None
        while (found := pattern.match(text, at)) is not None:
            at = found.end()
            kind = found.lastgroup
            if kind is None:
                continue
            start = found.start(kind)
            if kind == "executable":
                inside = _inside(pattern, text, start, at)
                if inside is not None:
                    yield from inside
                    at = inside[-1][2]
                    continue
                kind = "odd"
            elif kind == "end":
                if changes is None:
                    changes = _Changes(text, self)
                if changes.by(begun, start):
                    kind = "odd"
                begun = at
            yield kind, start, at
            if kind in ("odd", "unfinished"):
                return


def _inside(pattern: re.Pattern[bytes], text: bytes, start: int, at: int) -> list[_Piece] | None:
    """Give the pieces of the executable comment at `start`, whose content begins `at`.

    None if it does not end at one and the same place for a server that runs it and for one that passes over it, or
    if it ends a statement and is not the end of all.
    """
    passed_over = _PASSED_OVER.match(text, start)
    if passed_over is None:
        return None
    end = passed_over.end() - 2
    statements = False
    pieces = [("enter", start, at)]
    done = at
    while (found := pattern.match(text, at, end)) is not None:
        at = found.end()
        kind = found.lastgroup
        if kind is None:
            continue
        begin = found.start(kind)
        if kind in ("executable", "odd", "unfinished"):
            return None
        if kind == "end" and not statements:
            changes = _MODE.search(text, start, end) or _CHARACTERS.search(text, start, end)
            if changes or not _NOTHING_MORE.match(text, end + 2):
                return None
            statements = True
        if kind in _NOT_CODE:
            # A comment to the end of the line goes on behind what would be the end.
            if b"*/" in text[done:begin] or (at == end and text[begin] in b"#-"):
                return None
            done = at
        pieces.append((kind, begin, at))
    if b"*/" in text[done:end]:
        return None
    pieces.append(("leave", end, end + 2))
    return pieces


class _Changes:
    """Which statements of a text may change how the ones behind them are read."""

    def __init__(self, text: bytes, reading: Reading) -> None:
        self._text = text
        self._reading = reading
        self._last_by_mode = max(text.rfind(b'"'), text.rfind(b"\\"))
        self._last_by_characters = len(text.rstrip(_ASCII)) - 1

    def by(self, start: int, end: int) -> bool:
        """Tell whether the statement from `start` to `end` does."""
        statement = self._text[start:end]
        mode = self._last_by_mode > end and _MODE.search(statement)
        characters = self._last_by_characters > end and _CHARACTERS.search(statement)
        if not mode and not characters:
            return False
        code = self._reading.code(statement).text
        if not _SET.search(code):
            return False
        if mode and _MODE.search(code):
            return True
        if not characters or not _CHARACTERS.search(code):
            return False
        of_single_bytes = _OF_SINGLE_BYTES.search(statement) and not _PERHAPS_OF_PAIRS.search(statement)
        return self._reading.pairs or not of_single_bytes
