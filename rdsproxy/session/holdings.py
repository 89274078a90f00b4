"""What a session has on its connection that ends by a statement of its own: told by the text, with names.

Only the plainest forms are understood: in doubt a statement holds the connection for good. A name that is kept too long
does no harm, one that is dropped too early would; so names are compared as they are written, and what a statement of
another form may have ended stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from rdsproxy.protocol import commands
from rdsproxy.session.distributed import step_of
from rdsproxy.session.pinning import PinReason
from rdsproxy.session.texts import Text, name_of, prepared

if TYPE_CHECKING:
    from rdsproxy.session.statements import Lexer

KINDS: Final = (
    PinReason.TEMPORARY_TABLE,
    PinReason.PREPARED_TEXT,
    PinReason.OPEN_HANDLER,
    PinReason.USER_LOCK,
    PinReason.READ_LOCK,
    PinReason.XA_TRANSACTION,
)


class Deed(NamedTuple):
    """What a statement does, if it succeeds."""

    kind: PinReason
    """NONE: nothing."""
    begins: bool = False
    names: frozenset[bytes] = frozenset()
    told: bool = True
    """The server reports it as a change of state, if it reports such things at all."""
    text: Text | None = None
    """What was prepared, if it is known."""


NOTHING: Final = Deed(PinReason.NONE)
_THE_ONE: Final = frozenset((b"",))

_NAME: Final = rb"(?:`[\w$]+`|[A-Za-z_$][\w$]*)"
_TABLE: Final = _NAME + rb"(?:\." + _NAME + rb")?"
_TABLES: Final = _TABLE + rb"(?:\s*,\s*" + _TABLE + rb")*"
_END: Final = rb"\s*;?\s*"


def _form(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\s*" + pattern + _END, re.IGNORECASE | re.DOTALL)


_CREATE: Final = _form(
    rb"CREATE\s+TEMPORARY\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(" + _TABLE + rb")(?![\w$.`])([^;]*)"
)
_TEMPORARY: Final = re.compile(rb"(?>.*?\bCREATE\b).*\bTEMPORARY\b", re.IGNORECASE | re.DOTALL)
_FILLED: Final = re.compile(rb"\b(?:SELECT|TABLE|VALUES|WITH)\b", re.IGNORECASE)
_DROP: Final = _form(rb"DROP\s+(?:TEMPORARY\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(" + _TABLES + rb")")
_PREPARE: Final = _form(rb"PREPARE\s+(" + _NAME + rb")\s+FROM\s*(?:(?:'')+|(?:\"\")+|@[\w$.]+)")
_DEALLOCATE: Final = _form(rb"(?:DEALLOCATE|DROP)\s+PREPARE\s+(" + _NAME + rb")")
_OPEN: Final = _form(rb"HANDLER\s+(?:" + _NAME + rb"\.)?(" + _NAME + rb")\s+OPEN(?:\s+(?:AS\s+)?(" + _NAME + rb"))?")
_CLOSE: Final = _form(rb"HANDLER\s+(" + _NAME + rb")\s+CLOSE")
_READ: Final = _form(rb"HANDLER\s+" + _NAME + rb"\s+READ\b[^;]*")
_FLUSH: Final = _form(
    rb"FLUSH\s+(?:(?:LOCAL|NO_WRITE_TO_BINLOG)\s+)?TABLES\b[^;]*\b(?:WITH\s+READ\s+LOCK|FOR\s+EXPORT)"
)

# These are read in the text as it is: the name of the lock is a string.
_LITERAL: Final = rb"'([\w .:/-]{1,64})'"
_GET_LOCK: Final = _form(
    rb"(?:SELECT|DO)\s+GET_LOCK\s*\(\s*" + _LITERAL + rb"\s*,\s*-?[\d.]+\s*\)(?:\s+(?:AS\s+)?" + _NAME + rb")?"
)


def deed_of(code: bytes, text: bytes, schema: bytes, lexer: Lexer) -> Deed | None:
    """Give what a statement begins or ends; None if that cannot be told.

    `text`: the statement without comments, as `lexer` reads it. `code`: also without strings. `schema`: the one that
    it runs in.
    """
    if found := _CREATE.fullmatch(code):
        # One that is filled at once is not reported; the functions that fill it may have done what is.
        told = not _FILLED.search(found[2])
        return Deed(PinReason.TEMPORARY_TABLE, True, _tables(found[1], schema), told)
    if found := _DROP.fullmatch(code):
        return Deed(PinReason.TEMPORARY_TABLE, False, _tables(found[1], schema))
    if found := _PREPARE.fullmatch(code):
        return Deed(PinReason.PREPARED_TEXT, True, frozenset((_bare(found[1]),)), text=prepared(text, lexer, schema))
    if found := _DEALLOCATE.fullmatch(code):
        return Deed(PinReason.PREPARED_TEXT, False, frozenset((_bare(found[1]),)))
    if found := _OPEN.fullmatch(code):
        return Deed(PinReason.OPEN_HANDLER, True, frozenset((_bare(found[2] or found[1]),)))
    if found := _CLOSE.fullmatch(code):
        return Deed(PinReason.OPEN_HANDLER, False, frozenset((_bare(found[1]),)))
    if _READ.fullmatch(code):
        return NOTHING
    if _FLUSH.fullmatch(code):
        return Deed(PinReason.READ_LOCK, True, _THE_ONE)
    if found := _GET_LOCK.fullmatch(text):
        return Deed(PinReason.USER_LOCK, True, frozenset((found[1],)))
    if step := step_of(text):
        return Deed(PinReason.XA_TRANSACTION, step.begins, frozenset((step.xid,))) if step.xid else NOTHING
    return odd_deed_of(code)


def odd_deed_of(code: bytes) -> Deed | None:
    """Give what a statement of an unknown form may begin without a report: a table, never to be dropped."""
    return SOME_TABLE if _TEMPORARY.match(code) else None


SOME_TABLE: Final = Deed(PinReason.TEMPORARY_TABLE, True, frozenset((b"?",)), False)
UNLOCK_TABLES: Final = Deed(PinReason.READ_LOCK, False, _THE_ONE)


def ask_locks(names: list[bytes]) -> bytes:
    """Give the query which of these locks the connection has: one value for each, "1" or "0"."""
    return commands.query(
        b"SELECT "
        + b", ".join(b"IF(IS_USED_LOCK('%b') <=> CONNECTION_ID(), X'31', X'30')" % name for name in names)
        + b" LIMIT 1"
    )


def _tables(names: bytes, schema: bytes) -> frozenset[bytes]:
    tables = set()
    for name in names.split(b","):
        bare = _bare(name.strip())
        tables.add(bare if b"." in bare else schema + b"." + bare)
    return frozenset(tables)


def _bare(name: bytes) -> bytes:
    return name.replace(b"`", b"")


class Holdings:
    """The names of what a session has on its connection."""

    __slots__ = ("_names", "texts")

    def __init__(self) -> None:
        self._names: dict[PinReason, frozenset[bytes]] = {}
        self.texts: dict[bytes, Text] = {}
        """What SQL's PREPARE has prepared, where it is known, by the name as `name_of` gives it."""

    def of(self, kind: PinReason) -> frozenset[bytes]:
        """Give the names of one kind."""
        return self._names.get(kind, frozenset())

    def do(self, deed: Deed) -> bool:
        """Take what a statement has begun or ended; tells whether anything of its kind is left."""
        names = self.of(deed.kind)
        names = names | deed.names if deed.begins else names - deed.names
        self._names[deed.kind] = names
        if deed.kind == PinReason.PREPARED_TEXT:
            for name in map(name_of, deed.names):
                self.texts.pop(name, None)
                if deed.text is not None:
                    self.texts[name] = deed.text
        return bool(names)

    def clear(self) -> None:
        """Forget all."""
        self._names.clear()
        self.texts.clear()
