"""Which session trackers a client is told, of those that its database connection tells the proxy.

A connection tracks all that the proxy must know; a client sees what it would see on a connection of its own, by its
own settings. A block that has nothing else in it stays as it is. Measured on MariaDB 10.11 and MySQL 9.7:

- an OK in which nothing of interest has changed has neither the flag nor a block. A transaction whose characteristics
  changed shows with `session_track_transaction_info = STATE` as the flag and an empty block;
- with OFF, MySQL still tells the begin and the end of explicit transactions;
- MySQL writes a variable's name as the client has written it in its list, and sorts by that. MariaDB's order is that
  of a hash of addresses;
- what changes during a statement that ends in an ERR, or in an EOF, is told later: by MySQL in the next OK, by MariaDB
  in the next OK that tells something of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from rdsproxy.protocol.datatypes import lenenc_bytes, read_lenenc_bytes
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.responses import (
    TRACK_CHARACTERISTICS,
    TRACK_GTIDS,
    TRACK_SCHEMA,
    TRACK_STATE_CHANGE,
    TRACK_TRANSACTION_STATE,
    TRACK_VARIABLE,
)

ALL: Final = b"*"
_LIST: Final = b"session_track_system_variables"
_ORDER: Final = {
    TRACK_VARIABLE: 0,
    TRACK_SCHEMA: 1,
    TRACK_STATE_CHANGE: 2,
    TRACK_GTIDS: 3,
    TRACK_TRANSACTION_STATE: 4,
    TRACK_CHARACTERISTICS: 5,
}
_OF_TRANSACTIONS: Final = (TRACK_TRANSACTION_STATE, TRACK_CHARACTERISTICS)
_NO_TRANSACTION: Final = b"________"


class Settings(NamedTuple):
    """The values of the variables `session_track_...`, as SELECT shows them."""

    system_variables: bytes
    schema: bytes
    state_change: bytes
    transaction_info: bytes


EVERYTHING: Final = Settings(ALL, b"1", b"1", b"CHARACTERISTICS")
NOTHING: Final = Settings(b"", b"0", b"0", b"OFF")


class _Change(NamedTuple):
    kind: int
    name: bytes
    """Of a variable."""
    value: bytes
    """Of a transaction's state or characteristics."""
    raw: bytes


class _Kept(NamedTuple):
    block: bytes | None
    """None: neither a block nor the flag."""
    state: bytes | None
    """The state of the transaction that the server told, unless it is of no interest."""
    characteristics: bytes | None


class Telling:
    """What one client is told. `mariadb`: by that server's rules, else by MySQL's."""

    __slots__ = ("_characterised", "_held", "_mariadb", "_state", "_told", "due", "own", "settings")

    def __init__(self, settings: Settings, *, mariadb: bool) -> None:
        self._mariadb = mariadb
        self.settings = settings
        self.own = False
        """The client's own settings are in force: an empty block is for the client."""
        self.due = False
        """Something is held that goes with the next OK, whatever that tells."""
        self._held = b""
        """A block that could not be told yet."""
        self._told = _NO_TRANSACTION
        """The state of the transaction that the client was told last."""
        self._state = _NO_TRANSACTION
        """What it is, for a client that is told explicit transactions only."""
        self._characterised = False
        """The next transaction has characteristics of its own."""

    def begin_again(self, settings: Settings) -> None:
        """Go on as a new session with these settings."""
        self.settings = settings
        self.due = False
        self._held = b""
        self.forget_transaction()

    def forget_transaction(self) -> None:
        """Take it that no transaction is open: the server tells no more of the one that was."""
        self._told = self._state = _NO_TRANSACTION
        self._characterised = False

    def tell(self, block: bytes | None) -> bytes | None:
        """Give the block of an OK for the client; None, as for `block`, if the OK has none and not the flag either."""
        try:
            told, state = (None, None) if block is None else self._keep(block)
            if self._held and not (told is None and self._mariadb):
                return self._tell_held(told)
        except ProtocolError:
            return block  # the session, which learns from it too, ends with it
        if state is not None:
            self._told = state
        return told

    def hold(self, block: bytes, *, transactions: bool = True) -> None:
        """Take the block of an OK that the client does not get: it is told with a later one.

        `transactions`: also what it tells of these.
        """
        try:
            if not transactions:
                block = b"".join(change.raw for change in _changes(block) if change.kind not in _OF_TRANSACTIONS)
            kept, _ = self._keep(block)
            if kept:
                self._held = _joined(_merged(self._held, kept), by_name=not self._mariadb)
                self.due = not self._mariadb
        except ProtocolError:
            pass

    def _tell_held(self, told: bytes | None) -> bytes | None:
        changes = _merged(self._held, told or b"")
        self._held = b""
        self.due = False
        state = changes.get((TRACK_TRANSACTION_STATE, b""))
        if state is not None:
            if state.value == self._told:
                del changes[TRACK_TRANSACTION_STATE, b""]
            self._told = state.value
        return _joined(changes, by_name=not self._mariadb) if changes or told is not None else None

    def _keep(self, block: bytes) -> tuple[bytes | None, bytes | None]:
        """Give what the settings leave of a block, and the state of the transaction that is told in it."""
        if self.own and not block:
            return block, None
        kept = _kept(block, self.settings, self._mariadb)
        if (kept.state is not None or kept.characteristics is not None) and self.settings.transaction_info == b"OFF":
            return self._with_explicit(kept)
        return kept.block, kept.state

    def _with_explicit(self, kept: _Kept) -> tuple[bytes | None, bytes | None]:
        """Add what MySQL tells of transactions even with OFF: that explicit ones begin and end."""
        characteristics = kept.characteristics
        state = self._state
        begun = False
        if characteristics is not None:
            begun = b"START " in characteristics
            if begun:
                state = b"T_R_____" if b"CONSISTENT SNAPSHOT" in characteristics else b"T_______"
            elif not characteristics and kept.state is None:
                begun = not self._characterised  # in a routine, where it has ended too
            self._characterised = bool(characteristics) and not begun
        if kept.state is not None and not kept.state.startswith(b"T"):
            state = _NO_TRANSACTION
        changed, self._state = state != self._state, state
        if self.settings == NOTHING or not (begun or changed):
            return kept.block, None
        told = kept.block or b""
        if not changed:
            return told, None
        return told + bytes((TRACK_TRANSACTION_STATE,)) + lenenc_bytes(lenenc_bytes(state)), state


@lru_cache(maxsize=1024)
def _kept(block: bytes, settings: Settings, mariadb: bool) -> _Kept:
    """Give what of a block these settings tell. Remembers: the transactions of a workload bring the same few blocks."""
    kept: list[_Change] = []
    names = _names(settings.system_variables)
    transactions = settings.transaction_info
    told = not block and transactions != b"OFF"
    state = characteristics = None
    for change in _changes(block):
        kind = change.kind
        if kind == TRACK_VARIABLE:
            if names is not None:
                name = names.get(change.name.lower())
                if name is None:
                    continue
                if not mariadb and name != change.name:
                    change = _renamed(change, name)
        elif kind == TRACK_SCHEMA:
            if settings.schema == b"0":
                continue
        elif kind == TRACK_STATE_CHANGE:
            if settings.state_change == b"0":
                continue
        elif kind == TRACK_TRANSACTION_STATE:
            state = change.value
            if transactions == b"OFF":
                continue
        elif kind == TRACK_CHARACTERISTICS:
            characteristics = change.value
            if transactions != b"CHARACTERISTICS":
                told |= transactions == b"STATE"
                continue
        kept.append(change)
    if not mariadb and any(change.name == _LIST for change in kept):
        # MySQL begins to track anew with the list, and has not told this one yet.
        kept = [change for change in kept if change.name != b"statement_id"]
    if names is not None and not mariadb:
        kept.sort(key=lambda change: (_ORDER.get(change.kind, 9), change.name))
    if mariadb and transactions == b"OFF":
        state = characteristics = None
    return _Kept(b"".join(change.raw for change in kept) if kept or told else None, state, characteristics)


def _merged(earlier: bytes, later: bytes) -> dict[tuple[int, bytes], _Change]:
    return {(change.kind, change.name.lower()): change for change in _changes(earlier) + _changes(later)}


def _joined(changes: dict[tuple[int, bytes], _Change], *, by_name: bool) -> bytes:
    ordered = sorted(changes.values(), key=lambda change: (_ORDER.get(change.kind, 9), change.name if by_name else b""))
    return b"".join(change.raw for change in ordered)


def _changes(block: bytes) -> list[_Change]:
    """Take a block apart. Raises ProtocolError."""
    changes = []
    position = 0
    while position < len(block):
        start = position
        kind = block[start]
        data, position = read_lenenc_bytes(block, start + 1)
        name = value = b""
        if kind == TRACK_VARIABLE:
            name, _ = read_lenenc_bytes(data, 0)
        elif kind in _OF_TRANSACTIONS:
            value, _ = read_lenenc_bytes(data, 0)
        changes.append(_Change(kind, name, value, block[start:position]))
    return changes


def _renamed(change: _Change, name: bytes) -> _Change:
    data, _ = read_lenenc_bytes(change.raw, 1)
    _, position = read_lenenc_bytes(data, 0)
    raw = bytes((TRACK_VARIABLE,)) + lenenc_bytes(lenenc_bytes(name) + data[position:])
    return change._replace(name=name, raw=raw)


@lru_cache(maxsize=256)
def _names(system_variables: bytes) -> dict[bytes, bytes] | None:
    """Give the names in a list of variables, by their names in lower case; None: all."""
    if system_variables.strip() == ALL:
        return None
    names: dict[bytes, bytes] = {}
    for item in system_variables.split(b","):
        name = item.strip()
        names.setdefault(name.lower(), name)
    return names
