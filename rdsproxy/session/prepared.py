"""Prepared statements: a client's own ids, and where a database connection has the same statement.

A statement belongs to its session, a prepared copy of it to a database connection. A copy serves every session that
has prepared the same text in the same state, as long as it keeps nothing between two commands. A cursor or long data
is something that it keeps: a statement that is used so gets copies of its own.

Source: page_protocol_com_stmt_execute and its neighbours in the MySQL internals manual.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from struct import Struct
from typing import Final

from pymysql.constants import FIELD_TYPE

from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State
from rdsproxy.session.statements import Trait

LAST: Final = 0xFFFFFFFF
"""The id by which MariaDB's clients mean the statement that they prepared last."""
MAX_STATEMENTS: Final = 16382
"""Statements of one session; the default of the servers' max_prepared_stmt_count."""

_EXECUTE: Final = bytes((commands.STMT_EXECUTE,))
_id: Final = Struct("<I")
_FLAGS_AT: Final = 5
_NULLS_AT: Final = 10  # behind the command, the id, the flags and the iteration count
_NULL: Final = FIELD_TYPE.NULL


class Statement:
    """What a client has prepared, and what it takes to prepare it again on another connection."""

    __slots__ = ("_types", "_types_at", "id", "key", "parameters", "refused", "state", "text", "traits")

    def __init__(self, number: int, text: bytes, state: State, traits: Trait, parameters: int) -> None:
        self.id = number
        """As the client knows it."""
        self.text = text
        self.state = state
        """In which the server has read it."""
        self.traits = traits
        self.parameters = parameters
        self.key: Hashable = (text, state, b"")
        """Copies on database connections are kept under it."""
        self.refused: Err | None = None
        """Why some of its long data could not be sent: nobody waits for an answer to these, so its execution tells."""
        self._types = b""
        self._types_at = _NULLS_AT + (parameters + 7) // 8
        """Where the flag stands that types follow."""

    def keep_to_itself(self) -> None:
        """From here on have copies that no other statement uses."""
        self.key = self

    def bind(self, payload: bytes) -> None:
        """Note the types of parameters that a COM_STMT_EXECUTE tells.

        MySQL gives a parameter without a type of its own, as in SELECT ?, that of the first execution. So a copy
        serves only sessions that began with the same types, and a statement that changes them has copies of its own.
        """
        at = self._types_at
        if not self.parameters or len(payload) <= at or not payload[at]:
            return
        types = payload[at + 1 : at + 1 + 2 * self.parameters]
        if self.key is not self:
            if self._types and _differ(self._types, types):
                self.keep_to_itself()
            elif not self._types:
                self.key = (self.text, self.state, types)
        self._types = types

    def find(self, copies: Copies) -> Copy | None:
        """Give the copy that executes this statement as `bind` has noted it, if there is one."""
        copy = copies.find(self.key)
        if copy is None and self.key is not self and self._types:
            # Prepared, by this session or another, and not yet executed.
            copy = copies.rename((self.text, self.state, b""), self.key)
        return copy

    def execution(self, payload: bytes, copy: Copy) -> bytes | None:
        """Give the packets that execute `copy` as `payload` asks for this statement, after `bind`.

        None: a new copy is needed. This one had a cursor, and is to give rows without one, for which MySQL 9.7 sends a
        reply without rows and without a proper end.
        """
        if opens_cursor(payload):
            copy.had_cursor = True
        elif copy.had_cursor:
            return None
        head = _EXECUTE + copy.id
        at = self._types_at
        if self.parameters and len(payload) > at and copy.types != self._types:
            copy.types = self._types
            if not payload[at] and self._types:
                return frame(b"".join((head, payload[_FLAGS_AT:at], b"\x01", self._types, payload[at + 1 :])))
        return frame(head + payload[_FLAGS_AT:])


def _differ(some: bytes, others: bytes) -> bool:
    """Tell whether types differ where neither is that of a NULL."""
    return some != others and any(
        some[at : at + 2] != others[at : at + 2] and _NULL not in (some[at], others[at])
        for at in range(0, len(some), 2)
    )


def opens_cursor(payload: bytes) -> bool:
    """Tell whether a COM_STMT_EXECUTE asks for a cursor."""
    return len(payload) > _FLAGS_AT and payload[_FLAGS_AT] != 0


def statement_id(payload: bytes) -> int:
    """Read the id that follows the command; `LAST - 1`, which is none, if it is cut short."""
    return int.from_bytes(payload[1:5], "little") if len(payload) >= 5 else LAST - 1


def renumbered(payload: bytes, copy: Copy) -> bytes:
    """Give the packets of a command on a statement, for this copy of it."""
    return frame(payload[:1] + copy.id + payload[5:])


class Statements:
    """The prepared statements of one session."""

    __slots__ = ("_by_id", "_last", "_latest")

    def __init__(self) -> None:
        self._by_id: dict[int, Statement] = {}
        self._last = 0
        self._latest = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def begin(self) -> int:
        """Give the id that the statement will have that is about to be prepared. Until it is, there is no last one."""
        self._latest = 0
        self._last = self._last % (LAST - 1) + 1
        return self._last

    def add(self, statement: Statement) -> None:
        """Note a statement that has been prepared."""
        self._by_id[statement.id] = statement
        self._latest = statement.id

    def find(self, number: int) -> Statement | None:
        """Give the statement of that id, or the last one for `LAST`."""
        return self._by_id.get(self._latest if number == LAST else number)

    def close(self, number: int) -> Statement | None:
        """Forget the statement of that id, and give it, if there is one."""
        return self._by_id.pop(number, None)

    def clear(self) -> None:
        """Forget all."""
        self._by_id.clear()
        self._last = self._latest = 0


class Copy:
    """A statement as one database connection has it."""

    __slots__ = ("had_cursor", "id", "types")

    def __init__(self, number: int) -> None:
        self.id = _id.pack(number)
        """The server's id, as it stands in packets."""
        self.had_cursor = False
        self.types = b""
        """Types of the parameters, as executed last."""


class Copies:
    """The prepared statements of one database connection, at most `limit`; those unused for longest make room."""

    __slots__ = ("_copies", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._copies: OrderedDict[Hashable, Copy] = OrderedDict()

    def __len__(self) -> int:
        return len(self._copies)

    def find(self, key: Hashable) -> Copy | None:
        """Give the copy for a statement's key, which counts as its use."""
        copy = self._copies.get(key)
        if copy is not None:
            self._copies.move_to_end(key)
        return copy

    def add(self, key: Hashable, number: int) -> tuple[Copy, list[bytes]]:
        """Note what the server has just prepared; gives also the packets that close what it replaces or drives out."""
        closing = [self._copies.pop(key)] if key in self._copies else []
        added = self._copies[key] = Copy(number)
        while len(self._copies) > self._limit:
            closing.append(self._copies.popitem(last=False)[1])
        return added, [_close(copy) for copy in closing]

    def rename(self, key: Hashable, new: Hashable) -> Copy | None:
        """Keep the copy of one key under another, and give it, if there is one."""
        copy = self._copies.pop(key, None)
        if copy is not None:
            self._copies[new] = copy
        return copy

    def remove(self, key: Hashable) -> list[bytes]:
        """Give up a copy; gives the packets that close it."""
        copy = self._copies.pop(key, None)
        return [] if copy is None else [_close(copy)]

    def drop(self) -> list[bytes]:
        """Give up all; gives the packets that close them."""
        closing = [_close(copy) for copy in self._copies.values()]
        self._copies.clear()
        return closing

    def forget(self) -> None:
        """Note that the server has forgotten all."""
        self._copies.clear()


def _close(copy: Copy) -> bytes:
    return frame(bytes((commands.STMT_CLOSE,)) + copy.id)
