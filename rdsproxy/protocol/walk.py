"""Step over whole packets that need no look inside: rows and column definitions.

This is the one loop whose length grows with the size of a result, so it has a compiled twin, `_walk`, used when it
could be built. Both pass the same tests.
"""

from __future__ import annotations

from rdsproxy.protocol.framing import MAX_PAYLOAD, unpack_header


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


try:
    from rdsproxy.protocol._walk import walk  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    walk = walk_python
