"""Prepared statements: a client's own ids, and where a database connection has the same statement.

A statement belongs to its session, a prepared copy of it to a database connection. A copy serves every session that
has prepared the same text in the same state, as long as it keeps nothing between two commands. A cursor or long data
is something that it keeps: a statement that is used so gets copies of its own.

Source: page_protocol_com_stmt_execute and its neighbours in the MySQL internals manual, "COM_STMT_BULK_EXECUTE" of
MariaDB's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from struct import Struct
from typing import Any, Final
from weakref import WeakValueDictionary

from pymysql.constants import FIELD_TYPE

from rdsproxy.protocol import commands
from rdsproxy.protocol.attributes import COUNTED
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State
from rdsproxy.session.statements import Trait

LAST: Final = 0xFFFFFFFF
"""The id by which MariaDB's clients mean the statement that they prepared last."""
MAX_STATEMENTS: Final = 16382
"""Statements of one session; the default of the servers' max_prepared_stmt_count."""

_EXECUTE: Final = bytes((commands.STMT_EXECUTE,))
_BULK_EXECUTE: Final = bytes((commands.STMT_BULK_EXECUTE,))
_id: Final = Struct("<I")
FLAGS_AT: Final = 5
NEVER: Final = 1 << 32
"""Behind the end of every payload."""
_NULLS_AT: Final = 10  # behind the command, the id, the flags and the iteration count
_NULL: Final = FIELD_TYPE.NULL

Charset = tuple[bytes | None, ...]
"""`State.charset`."""
BULK_HEAD: Final = 7
"""Bytes of a COM_STMT_BULK_EXECUTE before its types and rows: the command, the id, the flags."""
_TELLS_TYPES: Final = 0x80  # of the first byte of a bulk's flags
_ONLY_TYPES: Final = b"\x80\0"
_AT_ONCE: Final = re.compile(rb"\s*(?:INSERT|REPLACE)\b", re.IGNORECASE)


class Told:
    """Types of parameters, as they stand in packets, and under which character set they were told.

    Equal ones are one object.
    """

    __slots__ = ("__weakref__", "charset", "types")

    def __init__(self, types: bytes, charset: Charset) -> None:
        self.types = types
        self.charset = charset

    @staticmethod
    def of(types: bytes, charset: Charset) -> Told:
        """Give the one for these."""
        told = _told.get((types, charset))
        if told is None:
            told = _told[types, charset] = Told(types, charset)
        return told


_told: WeakValueDictionary[tuple[bytes, Charset], Told] = WeakValueDictionary()
_NOTHING_TOLD: Final = Told.of(b"", ())


class Key:
    """What statements must have in common to share copies. Equal ones are one object: to find one is to compare ids."""

    __slots__ = ("__weakref__", "state", "text", "types")

    def __init__(self, text: bytes, state: State, types: bytes) -> None:
        self.text = text
        self.state = state
        self.types = types

    @staticmethod
    def of(text: bytes, state: State, types: bytes) -> Key:
        """Give the key for this text, read in this state, and first executed with these types (empty: not yet)."""
        key = _keys.get((text, state, types))
        if key is None:
            key = _keys[text, state, types] = Key(text, state, types)
        return key


_keys: WeakValueDictionary[tuple[bytes, State, bytes], Key] = WeakValueDictionary()


class Statement:
    """What a client has prepared, and what it takes to prepare it again on another connection."""

    __slots__ = (
        "_types_at",
        "again",
        "again_at",
        "id",
        "key",
        "parameters",
        "refused",
        "state",
        "text",
        "told",
        "traits",
    )

    def __init__(self, number: int, text: bytes, state: State, traits: Trait, parameters: int) -> None:
        self.id = number
        """As the client knows it."""
        self.text = text
        self.state = state
        """In which the server has read it."""
        self.traits = traits
        self.parameters = parameters
        self.key: Key | Statement = Key.of(text, state, b"")
        """Copies on database connections are kept under it."""
        self.refused: Err | None = None
        """Why some of its long data could not be sent: nobody waits for an answer to these, so its execution tells."""
        self.told = _NOTHING_TOLD
        """Types of the parameters, as the client has told them."""
        self._types_at = _NULLS_AT + (parameters + 7) // 8
        """Where the flag stands that types follow."""
        self.again: Any = None
        """What launches executions of it that bring nothing new."""
        self.again_at = NEVER
        """Where such an execution has a zero: the flag that no types follow, or the end of the iteration count."""

    @property
    def runs_by_row(self) -> bool:
        """MariaDB runs a bulk of it row by row, as it does for all but INSERT and REPLACE."""
        return not _AT_ONCE.match(self.text)

    def keep_to_itself(self) -> None:
        """From here on have copies that no other statement uses."""
        self.key = self
        self.again_at = NEVER

    def run_again_by(self, launch: Any) -> None:
        """Have executions that bring nothing new launched by this, as long as its copies are others' too."""
        if self.key is not self:
            self.again = launch
            self.again_at = self._types_at if self.parameters else _NULLS_AT - 1

    def bind(self, payload: bytes, charset: Charset) -> None:
        """Note the types of parameters that a COM_STMT_EXECUTE tells in a session with this character set.

        MySQL gives a parameter without a type of its own, as in SELECT ?, that of the first execution. So a copy
        serves only sessions that began with the same types, and a statement that changes them has copies of its own.
        """
        at = self._types_at
        if self.parameters and len(payload) > at and payload[at]:
            self._bind(payload[at + 1 : at + 1 + 2 * self.parameters], charset)

    def bind_bulk(self, payload: bytes, charset: Charset) -> None:
        """Do as `bind`, for a COM_STMT_BULK_EXECUTE of BULK_HEAD bytes at least."""
        # With any other flag the server refuses it before it reads types.
        if self.parameters and payload[FLAGS_AT:BULK_HEAD] == _ONLY_TYPES:
            self._bind(payload[BULK_HEAD : BULK_HEAD + 2 * self.parameters], charset)

    def _bind(self, types: bytes, charset: Charset) -> None:
        known = self.told.types
        if types == known and charset is self.told.charset:
            return
        if len(types) != 2 * self.parameters:
            return  # cut short, which the server will refuse
        if self.key is not self:
            if known and _differ(known, types):
                self.keep_to_itself()
            elif not known:
                self.key = Key.of(self.text, self.state, types)
        self.told = Told.of(types, charset)

    def retold_as(self, text: bytes) -> Statement:
        """Give a statement of another text that takes this one's place for one execution."""
        self.keep_to_itself()
        statement = Statement(self.id, text, self.state, self.traits, self.parameters)
        statement.key = self
        statement.told = self.told
        return statement

    def find(self, copies: Copies) -> Copy | None:
        """Give the copy that executes this statement as `bind` has noted it, if there is one."""
        copy = copies.find(self.key)
        if copy is not None and copy.retold:
            return None
        if copy is None and self.key is not self and self.told.types:
            # Prepared, by this session or another, and not yet executed.
            copy = copies.rename(Key.of(self.text, self.state, b""), self.key)
        return copy

    def execution(self, payload: bytes, copy: Copy, charset: Charset) -> bytes | None:
        """Give the payload that executes `copy` as `payload` asks for this statement, after `bind`.

        None: this copy cannot. It had a cursor, and is to give rows without one, for which MySQL 9.7 sends a reply
        without rows and without a proper end. Or, of a new copy too, it has to be told types under a character set
        that the session does not have any more: servers go on to read parameters as that.
        """
        if opens_cursor(payload):
            copy.had_cursor = True
        elif copy.had_cursor:
            return None
        head = _EXECUTE + copy.id
        at = self._types_at
        if self.parameters and len(payload) > at and copy.told is not self.told:
            told = self.told
            if not payload[at] and told.types:
                if told.charset != charset:
                    return None
                copy.told = told
                return b"".join((head, payload[FLAGS_AT:at], b"\x01", told.types, payload[at + 1 :]))
            copy.told = told
        return head + payload[FLAGS_AT:]

    def bulk_execution(self, payload: bytes, copy: Copy, charset: Charset) -> bytes | None:
        """Do as `execution`, for a COM_STMT_BULK_EXECUTE, after `bind_bulk`."""
        head = _BULK_EXECUTE + copy.id
        if self.parameters and copy.told is not self.told:
            told = self.told
            if not payload[FLAGS_AT] & _TELLS_TYPES and told.types:
                if told.charset != charset:
                    return None
                copy.told = told
                flags = bytes((payload[FLAGS_AT] | _TELLS_TYPES, payload[FLAGS_AT + 1]))
                return b"".join((head, flags, told.types, payload[BULK_HEAD:]))
            copy.told = told
        return head + payload[FLAGS_AT:]


def _differ(some: bytes, others: bytes) -> bool:
    """Tell whether types differ where neither is that of a NULL."""
    return some != others and any(
        some[at : at + 2] != others[at : at + 2] and _NULL not in (some[at], others[at])
        for at in range(0, len(some), 2)
    )


def opens_cursor(payload: bytes) -> bool:
    """Tell whether a COM_STMT_EXECUTE asks for a cursor."""
    return len(payload) > FLAGS_AT and payload[FLAGS_AT] & ~COUNTED != 0


def statement_id(payload: bytes) -> int:
    """Read the id that follows the command; `LAST - 1`, which is none, if it is cut short."""
    return int.from_bytes(payload[1:5], "little") if len(payload) >= 5 else LAST - 1


def renumbered(payload: bytes, copy: Copy) -> bytes:
    """Give the packets of a command on a statement, for this copy of it."""
    return frame(payload[:1] + copy.id + payload[5:])


class Statements:
    """The prepared statements of one session."""

    __slots__ = ("_last", "_latest", "by_id")

    def __init__(self) -> None:
        self.by_id: dict[bytes, Statement] = {}
        """By their ids as they stand in packets."""
        self._last = 0
        self._latest = 0

    def __len__(self) -> int:
        return len(self.by_id)

    def begin(self) -> int:
        """Give the id that the statement will have that is about to be prepared. Until it is, there is no last one."""
        self._latest = 0
        self._last = self._last % (LAST - 1) + 1
        return self._last

    def add(self, statement: Statement) -> None:
        """Note a statement that has been prepared."""
        self.by_id[_id.pack(statement.id)] = statement
        self._latest = statement.id

    def find(self, number: int) -> Statement | None:
        """Give the statement of that id, or the last one for `LAST`."""
        return self.by_id.get(_id.pack(self._latest if number == LAST else number))

    def close(self, number: int) -> Statement | None:
        """Forget the statement of that id, and give it, if there is one."""
        return self.by_id.pop(_id.pack(number), None)

    def clear(self) -> None:
        """Forget all."""
        self.by_id.clear()
        self._last = self._latest = 0


class Copy:
    """A statement as one database connection has it."""

    __slots__ = ("had_cursor", "id", "retold", "told")

    def __init__(self, number: int) -> None:
        self.id = _id.pack(number)
        """The server's id, as it stands in packets."""
        self.had_cursor = False
        self.retold = False
        """It has another text than the statement, for one execution."""
        self.told = _NOTHING_TOLD
        """Types of the parameters, as the server knows them."""


class Copies:
    """The prepared statements of one database connection, at most `limit`; those unused for longest make room."""

    __slots__ = ("_copies", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._copies: OrderedDict[Hashable, Copy] = OrderedDict()

    def __len__(self) -> int:
        return len(self._copies)

    # Has a twin in shortcut/sending.c.
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

    def doubt_types(self) -> None:
        """Note that a command has failed: whether the server took the types that it told is not known."""
        for copy in self._copies.values():
            copy.told = _NOTHING_TOLD

    def forget(self) -> None:
        """Note that the server has forgotten all."""
        self._copies.clear()


def _close(copy: Copy) -> bytes:
    return frame(bytes((commands.STMT_CLOSE,)) + copy.id)
