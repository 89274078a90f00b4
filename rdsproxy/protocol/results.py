"""The replies to the proxy's own commands, read whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from rdsproxy.protocol.datatypes import read_lenenc_bytes, read_lenenc_int
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD
from rdsproxy.protocol.responses import Err, parse_err, parse_ok

Row = tuple[bytes | None, ...]

UNSIGNED: Final = 32
"""Flag of a column: its numbers are unsigned."""


class Column(NamedTuple):
    """What a column is called, and what it holds."""

    name: bytes
    kind: int
    """As in `pymysql.constants.FIELD_TYPE`."""
    flags: int
    length: int
    """Of the longest value, in bytes."""


@dataclass(slots=True)
class Result:
    """A reply: the rows of all its result sets together, the last status flags, or the error that ended it."""

    rows: list[Row] = field(default_factory=list)
    definitions: list[bytes] = field(default_factory=list)
    """The payloads that define the columns of the last result set."""
    status: int = 0
    changes: list[bytes] = field(default_factory=list)
    err: Err | None = None
    raw: bytes = field(default=b"", compare=False, repr=False)
    """The reply as it came."""
    statement_id: int = 0
    """Of a COM_STMT_PREPARE: the server's id of the statement."""

    def columns(self, width: int) -> list[Column]:
        """Give what the columns hold. Raises ProtocolError if there is another number of them, or one is cut short."""
        if len(self.definitions) != width:
            raise ProtocolError(f"{len(self.definitions)} columns in answer to the proxy's own query, not {width}")
        return [_column(definition) for definition in self.definitions]

    def row(self, width: int) -> Row:
        """Give the one row. Raises ProtocolError if there is another number of rows, or of values in it."""
        if len(self.rows) != 1:
            raise ProtocolError(f"{len(self.rows)} rows in answer to the proxy's own query, not 1")
        return self.table(width)[0]

    def table(self, width: int) -> list[Row]:
        """Give the rows. Raises ProtocolError if one has another number of values than `width`."""
        if any(len(row) != width for row in self.rows):
            raise ProtocolError(f"a row in answer to the proxy's own query has not {width} values")
        return self.rows


def number(value: bytes | None, default: int = 0) -> int:
    """Read a value as an integer; NULL and 0 are `default`. Raises ProtocolError if it is none.

    The client may want all results in UTF-16 or UTF-32: then each digit has zeros around it.
    """
    try:
        return int((value or b"0").replace(b"\0", b"")) or default
    except ValueError:
        raise ProtocolError("not a number in answer to the proxy's own query") from None


def read_result(raw: bytes) -> Result:
    """Read a whole reply of a DEPRECATE_EOF connection, as `Reply` found its end. Raises ProtocolError."""
    result = Result(raw=raw)
    payloads = iter(payloads_of(raw))
    for payload in payloads:
        if payload[0] == 0xFF:
            result.err = parse_err(payload)
        elif payload[0] in (0x00, 0xFE):
            _ok(result, payload)
        else:
            count = read_lenenc_int(payload, 0)[0]
            result.definitions = list(islice(payloads, count))
            if len(result.definitions) < count:
                raise ProtocolError("reply to a command of the proxy ends among its columns")
            _rows(result, payloads)
    return result


def _column(payload: bytes) -> Column:
    position = 0
    name = b""
    for number in range(6):  # the names of the catalog, schema, table (twice) and column (as shown, and its own)
        part, position = read_lenenc_bytes(payload, position)
        if number == 4:
            name = part
    # Behind them: the length of the rest (1), a character set (2), the longest value (4), type (1), flags (2).
    fixed = payload[position : position + 10]
    if len(fixed) < 10:
        raise ProtocolError("a column definition in reply to a command of the proxy is cut short")
    return Column(name, fixed[7], int.from_bytes(fixed[8:10], "little"), int.from_bytes(fixed[3:7], "little"))


def _rows(result: Result, payloads: Iterator[bytes]) -> None:
    for payload in payloads:
        if payload[0] == 0xFF:
            result.err = parse_err(payload)
            return
        if payload[0] == 0xFE:
            _ok(result, payload)
            return
        row: list[bytes | None] = []
        position = 0
        while position < len(payload):
            if payload[position] == 0xFB:
                row.append(None)
                position += 1
            else:
                value, position = read_lenenc_bytes(payload, position)
                row.append(value)
        result.rows.append(tuple(row))


def _ok(result: Result, payload: bytes) -> None:
    if len(payload) < 7:  # an old EOF
        result.status = int.from_bytes(payload[3:5], "little")
        return
    ok = parse_ok(payload)
    result.status = ok.status
    if ok.changes:
        result.changes.append(ok.changes)


def payloads_of(raw: bytes) -> Iterator[bytes]:
    """Give the payloads of a whole reply. Raises ProtocolError for an empty, continued or cut one."""
    position = 0
    while position < len(raw):
        length = int.from_bytes(raw[position : position + 3], "little")
        payload = raw[position + HEADER_SIZE : position + HEADER_SIZE + length]
        if not length or length == MAX_PAYLOAD or len(payload) < length:
            raise ProtocolError("reply to a command of the proxy is cut short or too large")
        position += HEADER_SIZE + length
        yield payload
