"""Replies as a server writes them, and as clients must get them: two writers that share no code with the proxy.

A reply is a list of parts. `server_bytes` writes it as a server does on a connection with DEPRECATE_EOF and
SESSION_TRACK; `client_bytes` writes it as a server would have done for a client of another form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rdsproxy.protocol import reply

FULL = 0xFFFFFF  # the payload of a packet that goes on in the next one

AUTOCOMMIT = 0x0002
MORE_RESULTS = 0x0008
CURSOR_EXISTS = 0x0040
LAST_ROW_SENT = 0x0080
STATE_CHANGED = 0x4000
LASTING = 0x0001 | 0x0002 | 0x0200 | 0x2000 | 0x8000
"""In a transaction, autocommit, no backslash escapes, in a read-only transaction: true beyond one statement."""


@dataclass(frozen=True)
class Form:
    """What a client asked for."""

    eof: bool
    track: bool
    local_files: bool


@dataclass(frozen=True)
class OkPart:
    """An OK packet by itself. `status` is without MORE_RESULTS and STATE_CHANGED: those follow from the rest."""

    affected: int = 0
    insert_id: int = 0
    status: int = AUTOCOMMIT
    warnings: int = 0
    info: bytes = b""
    changes: bytes = b""
    header: int = 0x00


@dataclass(frozen=True)
class ErrPart:
    """An ERR packet."""

    code: int = 1064
    message: bytes = b"You have an error"


@dataclass(frozen=True)
class ResultSet:
    """Column definitions, rows, and what ends them."""

    columns: tuple[bytes, ...] = (b"\x03def",)
    rows: tuple[bytes, ...] = ()
    end: OkPart | ErrPart = OkPart(header=0xFE)
    counted: bool = True
    """There is a count before the columns; not so for COM_FIELD_LIST and COM_STMT_FETCH, which are all rows."""


@dataclass(frozen=True)
class Upload:
    """A LOCAL INFILE request, and the packets that a client sends for it (the empty one at the end included)."""

    name: bytes = b"/etc/passwd"
    files: tuple[bytes, ...] = (b"1,2\n", b"")


@dataclass(frozen=True)
class Prepared:
    """The reply to COM_STMT_PREPARE."""

    parameters: tuple[bytes, ...] = ()
    columns: tuple[bytes, ...] = ()
    warnings: int = 0


@dataclass(frozen=True)
class Text:
    """The reply to COM_STATISTICS."""

    text: bytes = b"Uptime: 1"


Part = OkPart | ErrPart | ResultSet | Upload | Prepared | Text
Parts = Sequence[Part]


@dataclass
class Expected:
    """What must come of a reply."""

    pieces: list[bytes] = field(default_factory=lambda: [b""])
    """For the client, cut where the server waits for a file."""
    failed: bool = False
    row_count: int = -1
    """Rows affected, or -2 less the rows of the last result set."""
    status: int = AUTOCOMMIT
    warnings: int = 0
    insert_id: int = 0
    changes: list[bytes] = field(default_factory=list)


INFILE_REFUSED = ErrPart(reply.INFILE_REFUSED.code, reply.INFILE_REFUSED.message.encode())
"""What a client gets that did not offer to send files. The text is the proxy's own."""


def number(value: int) -> bytes:
    """Write a length-encoded integer."""
    if value <= 250:
        return bytes([value])
    for mark, size in ((0xFC, 2), (0xFD, 3)):
        if value < 1 << 8 * size:
            return bytes([mark]) + value.to_bytes(size, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def string(value: bytes) -> bytes:
    """Write a length-encoded string."""
    return number(len(value)) + value


class Writer:
    """Puts payloads into packets, numbered from 1."""

    def __init__(self) -> None:
        self.sequence = 1
        self.pieces = [b""]

    def put(self, payload: bytes) -> None:
        """Write a payload, in as many packets as it needs."""
        parts = []
        while True:
            piece, payload = payload[:FULL], payload[FULL:]
            parts += [len(piece).to_bytes(3, "little"), bytes([self.sequence % 256]), piece]
            self.sequence += 1
            if len(piece) < FULL:
                break
        self.pieces[-1] = b"".join([self.pieces[-1], *parts])

    def other_side(self, packets: int) -> None:
        """Count packets that came from the other side, and begin another piece."""
        self.sequence += packets
        self.pieces.append(b"")


def ok_payload(ok: OkPart, more: bool, track: bool = True) -> bytes:
    """Write an OK for a client with or without SESSION_TRACK."""
    status = ok.status | (MORE_RESULTS if more else 0) | (STATE_CHANGED if ok.changes and track else 0)
    payload = bytes([ok.header]) + number(ok.affected) + number(ok.insert_id)
    payload += status.to_bytes(2, "little") + ok.warnings.to_bytes(2, "little")
    changes = ok.changes if track else b""
    if ok.info or changes:
        # As all servers do it; the manual has it otherwise for clients without SESSION_TRACK.
        payload += string(ok.info)
    if changes:
        payload += string(changes)
    return payload


def eof_payload(status: int, warnings: int = 0) -> bytes:
    """Write an EOF."""
    return b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little")


def err_payload(err: ErrPart) -> bytes:
    """Write an ERR."""
    return b"\xff" + err.code.to_bytes(2, "little") + b"#42000" + err.message


def prepared_head(part: Prepared) -> bytes:
    """Write the first packet of the reply to COM_STMT_PREPARE."""
    counts = len(part.columns).to_bytes(2, "little") + len(part.parameters).to_bytes(2, "little")
    return b"\x00" + (7).to_bytes(4, "little") + counts + b"\0" + part.warnings.to_bytes(2, "little")


def has_more(parts: Parts, index: int) -> bool:
    """Tell whether the part at `index` announces another result."""
    return index + 1 < len(parts)


def server_pieces(parts: Parts, local_files: bool = True) -> list[bytes]:
    """Write a reply as the server does, cut where it waits for a file.

    Without `local_files` it gets no file, but the one empty packet that says so.
    """
    out = Writer()
    for index, part in enumerate(parts):
        more = has_more(parts, index)
        match part:
            case OkPart():
                out.put(ok_payload(part, more))
            case ErrPart():
                out.put(err_payload(part))
            case ResultSet():
                if part.counted:
                    out.put(number(len(part.columns)))
                    for column in part.columns:
                        out.put(column)
                for row in part.rows:
                    out.put(row)
                end = part.end
                out.put(err_payload(end) if isinstance(end, ErrPart) else ok_payload(end, more))
            case Upload():
                out.put(b"\xfb" + part.name)
                out.other_side(len(part.files) if local_files else 1)
            case Prepared():
                out.put(prepared_head(part))
                for definition in (*part.parameters, *part.columns):
                    out.put(definition)
            case Text():
                out.put(part.text)
    return out.pieces


def server_bytes(parts: Parts) -> bytes:
    """Write a reply without uploads as the server does."""
    (piece,) = server_pieces(parts)
    return piece


def expected(parts: Parts, form: Form, status: int = AUTOCOMMIT) -> Expected:
    """Tell what must come of a reply, for a client of `form`, when the last status flags were `status`."""
    out = Writer()
    result = Expected(status=status)
    refused = muted = False
    for index, part in enumerate(parts):
        more = has_more(parts, index)
        before = result.status & LASTING
        ok = part if isinstance(part, OkPart) else None
        if ok is not None:
            result.row_count = ok.affected
        if isinstance(part, ResultSet) and isinstance(part.end, OkPart):
            ok = part.end
            result.row_count = -2 - len(part.rows)
        if ok is not None:
            result.status = ok.status | (MORE_RESULTS if more else 0) | (STATE_CHANGED if ok.changes else 0)
            result.warnings = ok.warnings
            result.insert_id = ok.insert_id or result.insert_id
            if ok.changes:
                result.changes.append(ok.changes)
        if isinstance(part, ErrPart) or (isinstance(part, ResultSet) and ok is None):
            result.failed = True
        if muted:
            if isinstance(part, Upload):
                out.other_side(0)
            continue
        match part:
            case OkPart() if refused:
                out.put(err_payload(INFILE_REFUSED))
                result.failed = muted = True
            case OkPart():
                put_ok(out, part, more, form)
            case ErrPart():
                out.put(err_payload(part))
            case ResultSet():
                put_result_set(out, part, more, form, before)
            case Upload() if form.local_files:
                out.put(b"\xfb" + part.name)
                out.other_side(len(part.files))
            case Upload():
                out.other_side(0)
                refused = True
            case Prepared():
                out.put(prepared_head(part))
                result.warnings = part.warnings
                for group in (part.parameters, part.columns):
                    for definition in group:
                        out.put(definition)
                    if group and form.eof:
                        out.put(eof_payload(before))
            case Text():
                out.put(part.text)
    result.pieces = out.pieces
    return result


def put_ok(out: Writer, ok: OkPart, more: bool, form: Form) -> None:
    """Write an OK, or the EOF that it is for an older client."""
    if ok.header == 0xFE and form.eof:
        out.put(eof_payload(ok.status | (MORE_RESULTS if more else 0), ok.warnings))
    else:
        out.put(ok_payload(ok, more, form.track))


def put_result_set(out: Writer, part: ResultSet, more: bool, form: Form, before: int) -> None:
    """Write a result set."""
    end = part.end
    if part.counted:
        out.put(number(len(part.columns)))
        for column in part.columns:
            out.put(column)
        # An open cursor's rows come later: the EOF behind the columns is the last one.
        is_cursor = isinstance(end, OkPart) and end.status & CURSOR_EXISTS and not part.rows
        if form.eof and not is_cursor:
            out.put(eof_payload(before))
    for row in part.rows:
        out.put(row)
    if isinstance(end, ErrPart):
        out.put(err_payload(end))
    else:
        put_ok(out, end, more, form)
