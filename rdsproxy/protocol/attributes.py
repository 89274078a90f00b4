"""Query attributes of MySQL: named values that a client sends along with a statement.

With CLIENT_QUERY_ATTRIBUTES a COM_QUERY has them before its text, also where there are none, and a COM_STMT_EXECUTE has
them behind its parameters, which are counted and may have names too. The proxy reads both in their form without. For a
database connection that has the capability, what the client has sent, or that there is nothing, is put in again.

Source: page_protocol_com_query and page_protocol_com_stmt_execute of the MySQL internals manual. Where the text begins
must be clear, since the proxy reads it and the server runs it: types that no client sends are refused.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from pymysql.constants import FIELD_TYPE

from rdsproxy.protocol import commands
from rdsproxy.protocol.datatypes import lenenc_int, read_lenenc_int
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, frame, payload_of

NONE: Final = b"\0\1"
"""No attributes, and the count of sets, which is always 1."""

COUNTED: Final = 0x08
"""PARAMETER_COUNT_AVAILABLE, of the flags of a COM_STMT_EXECUTE."""

_FLAGS_AT: Final = 5
_COUNT_AT: Final = 10  # behind the command, the id, the flags and the iteration count of a COM_STMT_EXECUTE

_query_head: Final = Struct("<IB")
_SIZES: Final = {
    FIELD_TYPE.TINY: 1,
    FIELD_TYPE.SHORT: 2,
    FIELD_TYPE.LONG: 4,
    FIELD_TYPE.FLOAT: 4,
    FIELD_TYPE.LONGLONG: 8,
    FIELD_TYPE.DOUBLE: 8,
}
_TEMPORAL: Final = frozenset((FIELD_TYPE.TIMESTAMP, FIELD_TYPE.DATE, FIELD_TYPE.TIME, FIELD_TYPE.DATETIME))
_VECTOR: Final = 242
_STRINGS: Final = frozenset(
    (
        FIELD_TYPE.DECIMAL,
        FIELD_TYPE.NULL,
        FIELD_TYPE.VARCHAR,
        FIELD_TYPE.BIT,
        _VECTOR,
        FIELD_TYPE.JSON,
        FIELD_TYPE.NEWDECIMAL,
        FIELD_TYPE.ENUM,
        FIELD_TYPE.SET,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
        FIELD_TYPE.BLOB,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.STRING,
        FIELD_TYPE.GEOMETRY,
    )
)


def split_query(payload: bytes) -> tuple[bytes, bytes]:
    """Give the attributes of a COM_QUERY that has them, as they stand there, and its text. Raises ProtocolError."""
    if payload[1:3] == NONE:
        return NONE, payload[3:]
    count, position = read_lenenc_int(payload, 1)
    sets, position = read_lenenc_int(payload, position)
    if sets != 1:
        raise ProtocolError(f"{sets} sets of query attributes")
    if count:
        nulls_at = position
        position = _after_nulls(payload, position, count)
        if not payload[position]:
            raise ProtocolError("query attributes without types")
        types, position = _read_types(payload, position + 1, count)
        for number in range(count):
            if not payload[nulls_at + number // 8] >> number % 8 & 1:
                position = _after_value(payload, position, types[2 * number])
    return payload[1:position], payload[position:]


def with_attributes(packets: bytes, attributes: bytes) -> bytes:
    """Put attributes into the packets of a COM_QUERY that has none; other commands stay as they are."""
    if packets[HEADER_SIZE] != commands.QUERY:
        return packets
    size = len(packets) - HEADER_SIZE + len(attributes)
    if size < MAX_PAYLOAD:
        return _query_head.pack(size, commands.QUERY) + attributes + packets[HEADER_SIZE + 1 :]
    payload = payload_of(packets)
    return frame(payload[:1] + attributes + payload[1:])


def split_execution(payload: bytes, parameters: int) -> tuple[bytes, bytes | None]:
    """Give a COM_STMT_EXECUTE without what the capability adds, for a statement with so many parameters.

    Values of attributes stay behind those of the parameters, where nobody looks. Gives also the payload itself if it
    tells types, and so may have attributes and names of parameters, which are the server's. Raises ProtocolError.
    """
    if len(payload) < _COUNT_AT:
        raise ProtocolError("COM_STMT_EXECUTE ends inside its head")
    flags = payload[_FLAGS_AT]
    head = payload[:_FLAGS_AT] + bytes((flags & ~COUNTED,)) + payload[_FLAGS_AT + 1 : _COUNT_AT]
    if not parameters and not flags & COUNTED:
        return payload, None
    count, nulls_at = read_lenenc_int(payload, _COUNT_AT)
    if count < parameters:
        raise ProtocolError(f"{count} parameters for a statement that has {parameters}")
    if not count:
        return head, None
    flag_at = _after_nulls(payload, nulls_at, count)
    if not payload[flag_at]:
        if count > parameters:
            raise ProtocolError("query attributes without types")
        return head + payload[nulls_at:], None
    types_at = flag_at + 1
    nameless_end = types_at + 3 * count
    if count == parameters and nameless_end <= len(payload):
        types = _without_names(payload[types_at:nameless_end])
        if types is not None:
            return b"".join((head, payload[nulls_at:types_at], types, payload[nameless_end:])), payload
    types, values_at = _read_types(payload, types_at, count)
    if not parameters:
        return head, payload
    nulls = payload[nulls_at : nulls_at + (parameters + 7) // 8]
    return b"".join((head, nulls, b"\1", types[: 2 * parameters], payload[values_at:])), payload


def with_count(payload: bytes, parameters: int) -> bytes:
    """Give a COM_STMT_EXECUTE of a statement with so many parameters as a connection with the capability takes it."""
    if len(payload) < _COUNT_AT:
        return payload  # cut short, which the server will refuse
    if not parameters:
        if payload[_FLAGS_AT] & COUNTED:
            return payload[:_FLAGS_AT] + bytes((payload[_FLAGS_AT] & ~COUNTED,)) + payload[_FLAGS_AT + 1 :]
        return payload
    types_at = _COUNT_AT + (parameters + 7) // 8 + 1
    values_at = types_at + 2 * parameters
    parts = [
        payload[:_FLAGS_AT],
        bytes((payload[_FLAGS_AT] | COUNTED,)),
        payload[_FLAGS_AT + 1 : _COUNT_AT],
        lenenc_int(parameters),
    ]
    if len(payload) >= values_at and payload[types_at - 1]:
        parts += [payload[_COUNT_AT:types_at], _with_names(payload[types_at:values_at]), payload[values_at:]]
    else:
        parts.append(payload[_COUNT_AT:])
    return b"".join(parts)


def _after_nulls(payload: bytes, position: int, count: int) -> int:
    position += (count + 7) // 8
    if position >= len(payload):
        raise ProtocolError("packet ends inside the NULLs of its parameters")
    return position


def _read_types(payload: bytes, position: int, count: int) -> tuple[bytes, int]:
    """Read types with names; gives the types and the position after them."""
    types = bytearray()
    size = len(payload)
    for _ in range(count):
        types += payload[position : position + 2]
        length, position = read_lenenc_int(payload, position + 2)
        position += length
        if position > size:
            raise ProtocolError("packet ends inside the name of a parameter")
    return bytes(types), position


def _after_value(payload: bytes, position: int, kind: int) -> int:
    size = _SIZES.get(kind)
    if size is not None:
        position += size
    elif kind in _TEMPORAL or kind in _STRINGS:
        length, position = read_lenenc_int(payload, position)
        position += length
    else:
        raise ProtocolError(f"a query attribute of type {kind}")
    if position > len(payload):
        raise ProtocolError("packet ends inside a query attribute")
    return position


# Each statement has its own few types, and most are executed often.
@lru_cache(maxsize=100)
def _with_names(types: bytes) -> bytes:
    named = bytearray(len(types) // 2 * 3)
    named[0::3], named[1::3] = types[0::2], types[1::2]
    return bytes(named)


@lru_cache(maxsize=100)
def _without_names(named: bytes) -> bytes | None:
    """Give types without their names, which are all empty; None if one is not."""
    count = len(named) // 3
    if named[2::3] != bytes(count):
        return None
    types = bytearray(2 * count)
    types[0::2], types[1::2] = named[0::3], named[1::3]
    return bytes(types)
