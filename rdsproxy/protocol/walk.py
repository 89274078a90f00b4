"""Step over whole packets that need no look inside, and deal with the most common commands and replies of all.

These are the loops whose length grows with the size of a result, and what is done for each command, so they have
compiled twins in `_walk`, used when it could be built. Both pass the same tests.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, unpack_header

__all__ = [
    "LASTING",
    "command_of",
    "command_of_python",
    "rows_told",
    "walk",
    "walk_python",
    "whole",
    "whole_python",
    "with_id",
    "with_id_python",
]

_ID_AT: Final = HEADER_SIZE + 1  # behind the command
_ID_END: Final = _ID_AT + 4
_OK_SIZE: Final = 11  # an OK of small numbers, without insert id, with its header
_UNUSUAL: Final = (
    cap.SERVER_SESSION_STATE_CHANGED | cap.SERVER_STATUS_CURSOR_EXISTS | cap.SERVER_MORE_RESULTS_EXISTS
)
LASTING: Final = (
    cap.SERVER_STATUS_IN_TRANS
    | cap.SERVER_STATUS_AUTOCOMMIT
    | cap.SERVER_STATUS_NO_BACKSLASH_ESCAPES
    | cap.SERVER_STATUS_IN_TRANS_READONLY
    | cap.SERVER_STATUS_ANSI_QUOTES
)
"""Status flags that outlast a statement. The others, told of an earlier one, would mislead: with CURSOR_EXISTS a client
asks for rows that are on their way already."""
_eof = Struct("<IBHH")
_ok_end = Struct("<IBBBHH")


def rows_told(count: int) -> int:
    """Give the number of rows in a result as one that no count of affected rows is, and no ROW_COUNT(): below -1.

    It is its own inverse.
    """
    return -2 - count


def command_of_python(data: bytes) -> int:
    """Give the command in `data`, if that is all of one command; otherwise -1.

    Also for one that is out of order, empty, or continued in another packet.
    """
    size = len(data) - HEADER_SIZE
    return data[HEADER_SIZE] if 0 < size < MAX_PAYLOAD and unpack_header(data)[0] == size else -1


def with_id_python(packet: bytes, statement_id: bytes) -> bytes:
    """Give a command on a prepared statement with another id, of four bytes. Raises ValueError if it has none."""
    if len(packet) < _ID_END or len(statement_id) != _ID_END - _ID_AT:
        raise ValueError("no command on a prepared statement")
    return b"".join((packet[:_ID_AT], statement_id, packet[_ID_END:]))


def walk_python(buffer: bytes | bytearray, position: int, end: int, shift: int, limit: int) -> tuple[int, int]:
    """Step over at most `limit` packets (any number if negative) from `position`, adding `shift` to sequence ids.

    Stops before a packet that is not whole before `end`, that is empty or continued in the next, or whose first
    payload byte is 0xFE or 0xFF: those are for the caller to understand. `buffer` must be writable if `shift` is
    not 0. Gives the new position and the number of packets stepped over.
    """
    walked = 0
    while walked != limit and end - position > 4:
        length = unpack_header(buffer, position)[0] & MAX_PAYLOAD
        following = position + 4 + length
        if following > end or not length or length == MAX_PAYLOAD or buffer[position + 4] >= 0xFE:
            break
        if shift:
            buffer[position + 3] = (buffer[position + 3] + shift) & 0xFF  # type: ignore[index]
        position = following
        walked += 1
    return position, walked


def whole_python(data: bytes, eof: bool, status: int) -> tuple[bytes, int, int, int, int] | None:
    """Adapt a reply that is all in `data` and simple: one OK, or one result set, without trackers or insert id.

    `eof`: for a client without DEPRECATE_EOF, for which `status` is shown behind the column definitions. Gives the
    client's bytes, the final status flags, the warnings, the number of the server's packets, and the rows affected, or
    `rows_told` of the rows in it; None for every other reply.
    """
    size = len(data)
    start = size - _OK_SIZE
    if start < 0:
        return None
    head, first, affected, insert_id, final_status, warnings = _ok_end.unpack_from(data, start)
    if head & MAX_PAYLOAD != 7 or insert_id or final_status & _UNUSUAL:
        return None
    if not start:
        return (data, final_status, warnings, 1, affected) if first == 0 and affected < 0xFB else None
    if first != 0xFE or affected or unpack_header(data)[0] & MAX_PAYLOAD != 1 or not 0 < data[4] < 0xFB:
        return None
    columns = data[4]
    after_columns, walked = walk(data, 5, start, 0, columns)
    if walked != columns:
        return None
    rows = bytearray(data[after_columns:start]) if eof else data
    base = 0 if eof else after_columns
    reached, counted = walk(rows, base, len(rows) if eof else start, int(eof), -1)
    if reached != (len(rows) if eof else start):
        return None
    packets = columns + counted + 2
    if not eof:
        return data, final_status, warnings, packets, rows_told(counted)
    out = b"".join(
        (
            data[:after_columns],
            _eof.pack(5 | (columns + 2 & 0xFF) << 24, 0xFE, 0, status & LASTING),
            rows,
            _eof.pack(5 | (packets + 1 & 0xFF) << 24, 0xFE, warnings, final_status),
        )
    )
    return out, final_status, warnings, packets, rows_told(counted)


try:
    from rdsproxy.protocol._walk import command_of, walk, whole, with_id
except ImportError:
    command_of = command_of_python
    walk = walk_python
    whole = whole_python
    with_id = with_id_python
