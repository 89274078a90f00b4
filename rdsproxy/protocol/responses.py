"""OK, ERR and EOF payloads, and the session-track blocks inside an OK.

Source: page_protocol_basic_ok_packet, ..._err_packet, ..._eof_packet of the MySQL internals manual; MariaDB's
"OK_Packet" page agrees. Payloads here are without their 4-byte header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.datatypes import lenenc_bytes, lenenc_int, read_lenenc_bytes, read_lenenc_int
from rdsproxy.protocol.errors import ProtocolError

OK: Final = 0x00
LOCAL_INFILE: Final = 0xFB
EOF: Final = 0xFE
ERR: Final = 0xFF

TRACK_VARIABLE: Final = 0
TRACK_SCHEMA: Final = 1
TRACK_STATE_CHANGE: Final = 2
TRACK_GTIDS: Final = 3
TRACK_CHARACTERISTICS: Final = 4
TRACK_TRANSACTION_STATE: Final = 5

_status_warnings = Struct("<HH")
_NAME: Final = re.compile(rb"[A-Za-z0-9_.]+")


@dataclass(slots=True, frozen=True)
class Ok:
    """An OK payload. `changes` is the undecoded session-track block; see `parse_changes`."""

    affected_rows: int
    insert_id: int
    status: int
    warnings: int
    info: bytes = b""
    changes: bytes = b""

    def with_changes(self, changes: bytes | None) -> Ok:
        """Give the same OK with another session-track block, which may be empty; None: without one."""
        status = self.status & ~cap.SERVER_SESSION_STATE_CHANGED
        if changes is not None:
            status |= cap.SERVER_SESSION_STATE_CHANGED
        return Ok(self.affected_rows, self.insert_id, status, self.warnings, self.info, changes or b"")


@dataclass(slots=True, frozen=True)
class Err:
    """An ERR payload."""

    code: int
    sqlstate: str
    message: str

    def build(self, *, with_state: bool = True) -> bytes:
        """Give the payload. Before the greeting it has no SQL state: clients would take that for the message."""
        state = f"#{self.sqlstate}".encode("ascii") if with_state else b""
        return b"\xff" + self.code.to_bytes(2, "little") + state + self.message.encode("utf-8", "surrogateescape")


def parse_ok(payload: bytes) -> Ok:
    """Read an OK payload (header 0x00 or 0xFE) of a connection that negotiated SESSION_TRACK.

    Raises ProtocolError when it is cut short.
    """
    affected_rows, position = read_lenenc_int(payload, 1)
    insert_id, position = read_lenenc_int(payload, position)
    if len(payload) < position + 4:
        raise ProtocolError("OK packet ends before its status flags")
    status, warnings = _status_warnings.unpack_from(payload, position)
    position += 4
    info = changes = b""
    if position < len(payload):
        info, position = read_lenenc_bytes(payload, position)
        if status & cap.SERVER_SESSION_STATE_CHANGED and position < len(payload):
            changes, position = read_lenenc_bytes(payload, position)
    return Ok(affected_rows, insert_id, status, warnings, info, changes)


def parse_err(payload: bytes) -> Err:
    """Read an ERR payload. HY000 stands in for an SQLSTATE that is absent (before the handshake is over) or is none.

    Raises ProtocolError when it is cut short.
    """
    if len(payload) < 3 or payload[0] != ERR:
        raise ProtocolError("not an ERR packet")
    code = int.from_bytes(payload[1:3], "little")
    if payload[3:4] == b"#" and payload[4:9].isalnum() and len(payload) >= 9:
        sqlstate, text = payload[4:9].decode("ascii"), payload[9:]
    else:
        sqlstate, text = "HY000", payload[3:]
    return Err(code, sqlstate, text.decode("utf-8", "replace"))


def build_ok(ok: Ok, *, header: int = OK) -> bytes:
    """Give the payload of `ok`. Its status flags tell whether it has a session-track block, which may be empty."""
    head = bytes((header,)) + lenenc_int(ok.affected_rows) + lenenc_int(ok.insert_id)
    head += _status_warnings.pack(ok.status, ok.warnings)
    if ok.status & cap.SERVER_SESSION_STATE_CHANGED:
        return head + lenenc_bytes(ok.info) + lenenc_bytes(ok.changes)
    # The manual has a bare string here for clients without SESSION_TRACK. No server writes, and no client reads, that.
    return head + lenenc_bytes(ok.info) if ok.info else head


def build_eof(warnings: int, status: int) -> bytes:
    """Give an EOF payload."""
    status &= ~cap.SERVER_SESSION_STATE_CHANGED
    return b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little")


def schema_change(name: bytes) -> bytes:
    """Give the session-track block that tells a schema."""
    return bytes((TRACK_SCHEMA,)) + lenenc_bytes(lenenc_bytes(name))


@lru_cache(maxsize=512)
def parse_changes(block: bytes) -> tuple[tuple[int, bytes, bytes], ...]:
    """Read a session-track block: (kind, name, value) for each change.

    `name` is empty except for variables; the value of TRACK_STATE_CHANGE is b"1". Raises ProtocolError.
    Remembers: each transaction of a workload brings the same few blocks.
    """
    changes = []
    position = 0
    while position < len(block):
        kind = block[position]
        data, position = read_lenenc_bytes(block, position + 1)
        name = b""
        if kind == TRACK_VARIABLE:
            name, inner = read_lenenc_bytes(data, 0)
            if not _NAME.fullmatch(name):
                raise ProtocolError("a session tracker names a variable by characters that no name has")
            value, _ = read_lenenc_bytes(data, inner)
        elif kind == TRACK_GTIDS:
            value = data[1:]
        elif kind == TRACK_STATE_CHANGE:
            value = data  # one character, without a length of its own
        else:
            value, _ = read_lenenc_bytes(data, 0)
        changes.append((kind, name, value))
    return tuple(changes)
