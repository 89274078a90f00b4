"""Step over whole packets that need no look inside, and adapt whole replies that hold nothing unusual.

These are the loops whose length grows with the size of a result, and the most common reply of all, so they have
compiled twins in `_walk`, used when it could be built. Both pass the same tests.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.framing import MAX_PAYLOAD, unpack_header

__all__ = ["LASTING", "rows_told", "walk", "walk_python", "whole", "whole_python"]

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
    from rdsproxy.protocol._walk import walk, whole
except ImportError:
    walk = walk_python
    whole = whole_python
