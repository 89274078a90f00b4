"""When are two answers the same? When all of their bytes are, but for what cannot be."""

from __future__ import annotations

import re
from typing import Final

from rdsproxy.protocol.datatypes import read_lenenc_bytes
from tests.differential.client import Result, Rows

_COUNTS: Final = re.compile(rb"ROW_COUNT\(|FOUND_ROWS\(|@@(?:warning|error)_count|@@session\.(?:warning|error)_count")

_UTF8MB4: Final = tuple(number.to_bytes(2, "little") for number in (45, 46, 224, 255))


def same(expected: tuple[Result, ...], found: tuple[Result, ...]) -> bool:
    """Compare the results of one command on both sides."""
    return len(expected) == len(found) and all(map(_same, expected, found))


def _same(expected: Result, found: Result) -> bool:
    if not (isinstance(expected, Rows) and isinstance(found, Rows)):
        return expected == found
    if expected == found:
        return True
    if expected.rows != found.rows or expected.end != found.end or len(expected.columns) != len(found.columns):
        return False
    # A user variable that was never set has a type of its own, which one that was set does not get back.
    # Counts that are told from memory may be shown in fewer digits.
    read = _nulls_of_binary if expected.binary else _nulls
    nulls = [read(row) for row in expected.rows]
    return all(
        _with_one_id(one) == _with_one_id(other)
        or (_name(one) == _name(other) and (_COUNTS.search(one) or all(position in row for row in nulls)))
        for position, (one, other) in enumerate(zip(expected.columns, found.columns, strict=True))
    )


def _with_one_id(column: bytes) -> bytes:
    """Give a column's definition with the same id for all collations of utf8mb4.

    On MySQL it is that with which character_set_results was set, which no variable shows (docs/architecture.md).
    """
    at = len(_name(column)) + 1
    return column[:at] + _UTF8MB4[0] + column[at + 2 :] if column[at : at + 2] in _UTF8MB4 else column


def _nulls(row: bytes) -> set[int]:
    """Give the positions of the NULLs in a row of the text protocol."""
    found: set[int] = set()
    position = number = 0
    while position < len(row):
        if row[position] == 0xFB:
            found.add(number)
            position += 1
        else:
            _, position = read_lenenc_bytes(row, position)
        number += 1
    return found


def _nulls_of_binary(row: bytes) -> set[int]:
    """Give the positions of the NULLs in a row of the binary protocol: a bit mask behind a zero byte, from bit 2 on."""
    mask = int.from_bytes(row[1:], "little") >> 2
    return {number for number in range(4096) if mask >> number & 1}


def _name(column: bytes) -> bytes:
    """Give catalogue, schema, tables and names of a column, in front of its type."""
    position = 0
    for _ in range(6):
        _, position = read_lenenc_bytes(column, position)
    return column[:position]
