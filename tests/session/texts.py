"""Statements put together from pieces of which it is known what a server takes for code, for hypothesis."""

from __future__ import annotations

from typing import Final, NamedTuple

from hypothesis import strategies as st

from rdsproxy.session.reading import PAIRS, Reading, Token
from rdsproxy.session.statements import Trait

CODE: Final = {
    b"GET_LOCK(0x76,0)": Trait.LOCK,
    b"get_lock ( 0x76 , 0 )": Trait.LOCK,
    b"`get_lock`(0x76,0)": Trait.LOCK,
    b"@v:=1": Trait.USER_VARIABLE,
    b"(SELECT@v:=1)": Trait.USER_VARIABLE,
    b"LAST_INSERT_ID(777)": Trait.INSERT_ID,
}
"""Select items by which a session can be seen to change, and the trait of each."""

_WORDS: Final = (*CODE, b"; SET ROLE r", b"; CALL p()", b"ROW_COUNT()", b"/*!50000 @v:=1", b"SET sql_mode=ANSI_QUOTES;")
_SIGNS: Final = (
    b"/*", b"*/", b"#", b"--", b"-- ", b"$$", b"$2y$10$a", b";", b"\n", b"\0", b"%", b"\x01", b"x", b"0", b" "
)  # fmt: skip


class Way(NamedTuple):
    """A way to read statements."""

    ansi_quotes: bool
    escapes: bool
    character_set: bytes

    @property
    def sql_mode(self) -> bytes:
        """The server's setting for it."""
        modes = [b"ANSI_QUOTES"] * self.ansi_quotes + [b"NO_BACKSLASH_ESCAPES"] * (not self.escapes)
        return b",".join(modes)

    @property
    def reading(self) -> Reading:
        """The same in the proxy."""
        return Reading(ansi_quotes=self.ansi_quotes, escapes=self.escapes, character_set=self.character_set)


class Text(NamedTuple):
    """A SELECT, and what is known of it."""

    sql: bytes
    items: int
    traits: Trait


CHARACTER_SETS: Final = (*PAIRS, b"latin1", b"utf8mb4", b"euckr")
ways: Final = st.builds(Way, st.booleans(), st.booleans(), st.sampled_from(CHARACTER_SETS))


@st.composite
def texts(draw: st.DrawFn, way: Way, *, executable: bool = True) -> Text:
    """Give a SELECT of strings, comments, names and code."""
    items: list[bytes] = []
    traits = Trait.NONE
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("string", "name", "code", "comment")))
        if kind == "string":
            item = draw(_strings(way))
        elif kind == "name":
            item = b"1 AS " + draw(_names(way))
        elif kind == "comment":
            item = draw(st.sampled_from((b"1 %s", b"%s1", b"1\n%s"))).replace(b"%s", draw(_comments()))
        else:
            item = draw(st.sampled_from(sorted(CODE)))
            traits |= CODE[item]
            if executable:
                frame = draw(st.sampled_from((b"%s", b"%s", b"/*!%s*/", b"/*! %s /* it's */ */", b"/*!40000 %s*/")))
                item = frame.replace(b"%s", item)
        items.append(item)
    return Text(b"SELECT " + b", ".join(items), len(items), traits)


@st.composite
def _strings(draw: st.DrawFn, way: Way) -> bytes:
    quote = b"'" if way.ansi_quotes else draw(st.sampled_from((b"'", b'"')))
    others = b"`\"'".replace(quote, b"")
    units = [*_WORDS, *_SIGNS, *(others[i : i + 1] for i in range(2)), quote * 2]
    units = [unit.replace(quote, b"") or b"x" if unit in _WORDS else unit for unit in units]
    units += [b"\\" + tail for tail in (quote, b"\\", b"n", others[:1], b"\x95", b"\xe5")] if way.escapes else [b"\\"]
    units += _characters(way)
    body = b"".join(draw(st.lists(st.sampled_from(units), max_size=6)))
    # Its last byte may be the first of a character that does not end.
    body += draw(st.sampled_from((b"", b"", b"\x95", b"\xa1")))
    return b"_binary" + quote + body + quote


def _characters(way: Way) -> list[bytes]:
    """Give what has a meaning of its own in a character set only."""
    if way.character_set not in PAIRS:
        return [b"\xe9", b"\xa0", b"\x80"]
    first = b"\xa1" if way.character_set == b"big5" else b"\x95"
    found = [first + tail for tail in (b"\\", b"`", b"@", b"A", b"\xa1")]
    # These two do not go together.
    found += [first + tail for tail in (b" ", b"0", b"*")]
    if way.character_set == b"gb18030":
        found.append(b"\x81\x30\x81\x30")
    return found


@st.composite
def _names(draw: st.DrawFn, way: Way) -> bytes:
    quote = draw(st.sampled_from((b"`", b'"'))) if way.ansi_quotes else b"`"
    others = b"`\"'".replace(quote, b"")
    units = [unit.replace(quote, b"") for unit in (*_WORDS, *_SIGNS, b"\\", others[:1], others[1:])]
    units = [unit.replace(b"\0", b"") for unit in units] + [quote * 2]
    return quote + b"".join(draw(st.lists(st.sampled_from(units), max_size=4))) + b"x" + quote


@st.composite
def _comments(draw: st.DrawFn) -> bytes:
    units = [b"'", b'"', b"`", b"\\", *_WORDS, *_SIGNS]
    body = b"".join(draw(st.lists(st.sampled_from(units), max_size=5)))
    if draw(st.booleans()):
        return b"/* " + body.replace(b"*/", b"").replace(b"*", b"") + b" */"
    start = draw(st.sampled_from((b"# ", b"-- ", b"--\t")))
    return start + body.replace(b"\n", b"").replace(b"\0", b"") + b"\n"


def count_items(found: list[Token] | None) -> int | None:
    """Give how many select items a SELECT has; None if that cannot be told."""
    if found is None:
        return None
    depth = 0
    items = 1
    for token in found:
        if not token.quoted:
            depth += {b"(": 1, b")": -1}.get(token.text, 0)
            items += token.text == b"," and not depth
    return items
