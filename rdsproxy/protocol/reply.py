"""Where does the reply to this command end, and which bytes of it does the client get?

The database connection always speaks DEPRECATE_EOF and SESSION_TRACK. A client that does is given the bytes as they
came, but for trackers that it did not ask for (`telling`). For one that does not, an EOF packet is put behind the
column definitions (so that the sequence ids behind it grow by one), the final OK becomes an EOF, and the trackers are
taken out.

Source: page_protocol_com_query_response and its neighbours in the MySQL internals manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.datatypes import read_lenenc_int
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, MAX_PAYLOAD, frame, unpack_header
from rdsproxy.protocol.responses import Err, Ok, build_eof, build_ok, parse_ok
from rdsproxy.protocol.telling import Telling
from rdsproxy.protocol.walk import LASTING, rows_told, walk, whole

# What the next packet is.
FIRST: Final = 0  # OK, ERR, a LOCAL INFILE request or a column count
COLUMNS: Final = 1  # column definitions that were counted
ROWS: Final = 2  # rows up to an EOF, OK or ERR
PREPARED: Final = 3  # the head of a reply to COM_STMT_PREPARE
STATISTICS: Final = 4  # a single packet of text
DONE: Final = 5
UPLOADING: Final = 6  # the server waits for a file from the client

_CHANGED: Final = cap.SERVER_SESSION_STATE_CHANGED >> 8


@dataclass(frozen=True, slots=True)
class ClientForm:
    """What the client offered in its handshake, as far as replies depend on it."""

    eof: bool
    """It did not offer DEPRECATE_EOF."""
    track: bool
    """It offered SESSION_TRACK."""
    local_files: bool
    """It offered LOCAL_FILES."""
    telling: Telling | None = None
    """Which trackers it is told, if it offered SESSION_TRACK; None: all."""


class Reply:
    """Follows one reply after another on one database connection; `begin` before each command."""

    __slots__ = (
        "_form",
        "_fresh",
        "_heads",
        "_left",
        "_marked",
        "_mute",
        "_need",
        "_ok",
        "_pending_eof",
        "_refusal",
        "_refuse_infile",
        "_split",
        "_tail",
        "changes",
        "err",
        "failed",
        "insert_id",
        "packets",
        "parameters",
        "plain",
        "prepared_as",
        "refusal",
        "rest",
        "row_count",
        "shift",
        "state",
        "statement_id",
        "status",
        "warnings",
    )

    def __init__(self) -> None:
        self.state = DONE
        self.status = cap.SERVER_STATUS_AUTOCOMMIT
        """Status flags of the last packet that had any; an ERR has none."""
        self._form = ClientForm(eof=False, track=True, local_files=True)
        self._marked = True
        """More is left of the last reply than `begin` always puts right."""
        self.plain = False
        """The reply is complete, and tells nothing but status flags and a number of rows."""
        self._ok = Ok(0, 0, 0, 0)
        """The last OK that was not of the simplest kind."""
        self.begin(FIRST, self._form)
        self.state = DONE

    # Has a twin in shortcut/sending.c.
    def begin(self, state: int, form: ClientForm) -> None:
        """Expect the reply that begins in `state` (FIRST, ROWS, PREPARED or STATISTICS), for a client of `form`."""
        self.state = state
        self._form = form
        self._fresh = state == FIRST
        """Nothing of the reply has come, and its packets are not numbered anew."""
        self.packets = 0
        """Packets of the reply so far, modulo nothing: the server's next sequence id is one more."""
        if self._marked:
            self._forget()

    def follow(self, sequence: int, expected: int) -> None:
        """Number the packets of the reply from `sequence` on, those for the client from `expected` on.

        For a command of several packets, right behind `begin`. What was put into it may have made it one packet more.
        """
        self._marked = True
        self._fresh = False
        self.packets = sequence - 1 & 0xFF
        self.shift = expected - sequence

    def _forget(self) -> None:
        self._marked = False
        self.failed = False
        """The reply ended in an ERR, so neither status flags nor trackers were told."""
        self.err = b""
        """The payload of that ERR."""
        self.changes: list[bytes] | None = None
        """Session-track blocks, in order; None when there were none."""
        self.insert_id = 0
        """The last insert id that is not 0."""
        self.warnings = 0
        self.shift = 0
        """What is added to the server's sequence ids for this client."""
        self.rest: bytes = b""
        """Bytes behind the end of the reply."""
        self.statement_id = 0
        """The server's id of the statement that was prepared; 0: none was."""
        self.parameters = 0
        """How many parameters it has."""
        self.row_count = -1
        """The rows affected; `rows_told` of those in the last result set; -1 where there are neither."""
        self.prepared_as = 0
        """The id that the client is told in its place; 0: the server's."""
        self.refusal: bytes = b""
        """The ERR by which the server says that it takes no statement of this kind, which it has not run. The client
        has not been given it."""
        self._tail: bytes = b""
        self._left = 0
        self._need = 0
        self._heads = 0  # packets of the reply that are no rows, or the rest of one
        self._pending_eof = False
        self._split = False
        self._mute = False
        self._refuse_infile = False
        self._refusal: bytes = b""

    @property
    def done(self) -> bool:
        """The reply is complete."""
        return self.state == DONE

    @property
    def at_boundary(self) -> bool:
        """The client has been given whole packets only."""
        return not self._left and not self._split

    @property
    def next_sequence(self) -> int:
        """The sequence id of the packet that the client expects next."""
        return (self.packets + 1 + self.shift) & 0xFF

    # Has a twin in shortcut/replies.c.
    def feed(self, data: bytes) -> bytes | bytearray:
        """Take bytes of the server, give bytes for the client.

        Raises ProtocolError for what no server sends.
        """
        if self._fresh:
            form = self._form
            if form.telling is None or not form.telling.due:
                simple = whole(data, form.eof, self.status)
                if simple is not None:
                    out, self.status, warnings, self.packets, self.row_count = simple
                    self.warnings = warnings
                    self.plain = not warnings
                    self.state = DONE
                    return out
            self._fresh = False
        if self._tail:
            data = self._tail + data
            self._tail = b""
        self._marked = True
        self.plain = False
        end = len(data)
        position = self._left
        if position >= end:
            self._left = position - end
            return b"" if self._mute else data
        self._left = 0
        buffer: bytes | bytearray = bytearray(data) if self._form.eof or self.shift else data
        pieces: list[bytes | bytearray] = []
        mark = 0  # what lies before it is in `pieces`
        state = self.state
        while position < end:
            if state == ROWS:
                if not self._pending_eof and not self._split:
                    position, walked = walk(buffer, position, end, self.shift, -1)
                    self.packets += walked
                available = end - position - HEADER_SIZE
                if available < 1 and not (self._split and available == 0):
                    break
                length = unpack_header(buffer, position)[0] & MAX_PAYLOAD
                if length == 0 and not self._split:
                    raise ProtocolError("empty packet among the rows of a reply")
                following = position + HEADER_SIZE + length
                first = 0 if self._split else buffer[position + HEADER_SIZE]
                if first == 0xFF or (first == 0xFE and length < MAX_PAYLOAD):
                    if following > end:
                        break
                    pieces.append(buffer[mark:position])
                    pieces.append(self._final(buffer, position, following))
                    position = mark = following
                    state = self.state
                    continue
                if self._pending_eof:
                    self._pending_eof = False
                    pieces.append(buffer[mark:position])
                    pieces.append(self._eof_of_columns(self.status))
                    mark = position
                    continue
                self.packets += 1
                if self.shift:
                    buffer[position + 3] = (buffer[position + 3] + self.shift) & 0xFF  # type: ignore[index]
                self._heads += self._split
                self._split = length == MAX_PAYLOAD
                position = following
            elif state == COLUMNS:
                position, walked = walk(buffer, position, end, self.shift, self._need)
                self.packets += walked
                self._need -= walked
                if self._need:
                    self._refuse_odd(buffer, position, end)
                    break
                self._heads = self.packets
                state = self.state = ROWS
            elif state == DONE:
                break
            elif state == UPLOADING:
                raise ProtocolError("the server speaks while it waits for a file")
            else:
                if end - position < HEADER_SIZE:
                    break
                length = unpack_header(buffer, position)[0] & MAX_PAYLOAD
                following = position + HEADER_SIZE + length
                if length == MAX_PAYLOAD:
                    raise ProtocolError("packet of 16 MiB where the reply should begin")
                if following > end:
                    break
                if not length and state != STATISTICS:
                    raise ProtocolError("empty packet where the reply should begin")
                if state == PREPARED and buffer[position + HEADER_SIZE] == 0:
                    # Not worth a state of its own: the two groups of definitions come at once or nearly so.
                    prepared = self._prepared(buffer, position, end, following)
                    if prepared is None:
                        break
                    pieces.append(buffer[mark:position])
                    pieces.append(prepared[0])
                    position = mark = prepared[1]
                elif state == FIRST and buffer[position + HEADER_SIZE] not in (0x00, 0xFB, 0xFE, 0xFF):
                    self._need = self._column_count(buffer, position, following)
                    self._pending_eof = self._form.eof
                    self.packets += 1
                    if self.shift:
                        buffer[position + 3] = (buffer[position + 3] + self.shift) & 0xFF  # type: ignore[index]
                    self.state = COLUMNS
                    position = following
                else:
                    pieces.append(buffer[mark:position])
                    pieces.append(self._single(buffer, position, following))
                    position = mark = following
                state = self.state
        if position > end:
            self._left = position - end
            position = end
        elif position < end:
            if state == DONE:
                self.rest = bytes(data[position:])
            else:
                self._tail = bytes(data[position:])
        if self._mute:
            refusal, self._refusal = self._refusal, b""
            return refusal
        if not pieces:
            return buffer if position == end else buffer[:position]
        if mark < position:
            pieces.append(buffer[mark:position])
        return b"".join(pieces)

    # -- the packets that mean something ---------------------------------------------------------------------------

    def _final(self, buffer: bytes | bytearray, start: int, following: int) -> bytes | bytearray:
        """The OK, EOF or ERR that ends rows."""
        pending, self._pending_eof = self._pending_eof, False
        status = self.status
        before = b""
        if buffer[start + HEADER_SIZE] == 0xFF:
            # Without it some clients take the ERR for a column definition.
            if pending:
                before = self._eof_of_columns(status)
            return before + self._err(buffer, start, following)
        self._note_ok(bytes(buffer[start + HEADER_SIZE : following]))
        self.row_count = rows_told(self.packets - self._heads)
        if not self._form.eof:
            return self._ok_for_client(buffer, start, following)
        if pending and not self.status & cap.SERVER_STATUS_CURSOR_EXISTS:
            # An open cursor has no rows here: the EOF behind the columns is also the last one.
            before = self._eof_of_columns(status)
        return before + self._eof_for_client()

    def _single(self, buffer: bytes | bytearray, start: int, following: int) -> bytes | bytearray:
        """A packet that is a reply, or a member of a chain of replies, by itself."""
        if self.state == STATISTICS:
            self.row_count = -1
            self.warnings = 0
            self.state = DONE
            self.packets += 1
            return buffer[start:following]
        first = buffer[start + HEADER_SIZE]
        if first == 0xFF:
            return self._err(buffer, start, following)
        if self.state == PREPARED:
            raise ProtocolError("reply to COM_STMT_PREPARE begins with neither OK nor ERR")
        if first == 0xFB:
            if self._form.local_files:
                self.state = UPLOADING
                self.packets += 1
                return self._shifted(buffer, start, following)
            self.state = UPLOADING
            self.packets += 1
            self._refuse_infile = True
            return b""
        if first == 0xFE and following - start - HEADER_SIZE < 7:
            # The old EOF, as some servers still answer COM_SET_OPTION.
            if following - start - HEADER_SIZE < 5:
                raise ProtocolError("EOF packet ends before its status flags")
            self.status = int.from_bytes(buffer[start + 7 : start + 9], "little")
            self.row_count = -1
            self.warnings = 0
            self.packets += 1
            self.state = DONE
            return self._shifted(buffer, start, following)
        self._note_ok(bytes(buffer[start + HEADER_SIZE : following]))
        if first == 0xFE and self._form.eof:
            return self._eof_for_client()
        return self._ok_for_client(buffer, start, following)

    def _note_ok(self, payload: bytes) -> None:
        try:
            simple = payload[1] < 251 and payload[2] < 251 and len(payload) == 7 and not payload[4] & _CHANGED
        except IndexError:
            raise ProtocolError("OK packet ends before its status flags") from None
        if simple:
            self.row_count = payload[1]
            self.status = status = payload[3] | payload[4] << 8
            self.warnings = payload[5] | payload[6] << 8
            if payload[2]:
                self.insert_id = payload[2]
        else:
            self._ok = ok = parse_ok(payload)
            self.row_count = ok.affected_rows
            self.status = status = ok.status
            self.warnings = ok.warnings
            if ok.insert_id:
                self.insert_id = ok.insert_id
            if ok.changes:
                if self.changes is None:
                    self.changes = [ok.changes]
                else:
                    self.changes.append(ok.changes)
        self.state = FIRST if status & cap.SERVER_MORE_RESULTS_EXISTS else DONE

    def _eof_for_client(self) -> bytes:
        """The EOF in place of the OK just noted, whose trackers have to wait for another OK."""
        telling = self._form.telling
        if telling is not None and self.status & cap.SERVER_SESSION_STATE_CHANGED:
            telling.hold(self._ok.changes)
        self.packets += 1
        return frame(build_eof(self.warnings, self.status), self.packets + self.shift)

    def _ok_for_client(self, buffer: bytes | bytearray, start: int, following: int) -> bytes | bytearray:
        """The OK just noted, with those trackers that the client asked for."""
        if self._refuse_infile:
            self._refuse_infile = False
            self.failed = True
            sequence = self.packets + 1 + self.shift
            self.packets += 1
            refusal = frame(INFILE_REFUSED.build(), sequence)
            if self.state != DONE and not self._mute:
                # The results behind it are not the client's any more: to it the error is the end.
                self._mute = True
                self._refusal = refusal
            return refusal
        self.packets += 1
        block = self._ok.changes if self.status & cap.SERVER_SESSION_STATE_CHANGED else None
        told = None
        if self._form.track:
            telling = self._form.telling
            told = block if telling is None or (block is None and not telling.due) else telling.tell(block)
        if told == block:
            return self._shifted(buffer, start, following)
        ok = parse_ok(bytes(buffer[start + HEADER_SIZE : following])) if block is None else self._ok
        payload = build_ok(ok.with_changes(told), header=buffer[start + HEADER_SIZE])
        return frame(payload, buffer[start + 3] + self.shift)

    def _err(self, buffer: bytes | bytearray, start: int, following: int) -> bytes | bytearray:
        self.state = DONE
        self.failed = True
        self.err = bytes(buffer[start + HEADER_SIZE : following])
        self.row_count = -1
        self.warnings = 0
        self.packets += 1
        packet = self._shifted(buffer, start, following)
        if self.packets == 1 and _refuses(buffer[start + HEADER_SIZE : following]):
            self.refusal = bytes(packet)
            return b""
        return packet

    def _eof_of_columns(self, status: int) -> bytes:
        """The EOF behind the column definitions, for a client that expects one; `status` as told before this reply."""
        sequence = self.packets + 1 + self.shift
        self.shift += 1
        return frame(build_eof(0, status & LASTING), sequence)

    def _shifted(self, buffer: bytes | bytearray, start: int, following: int) -> bytes | bytearray:
        packet = buffer[start:following]
        if self.shift:
            packet = bytearray(packet)
            packet[3] = (packet[3] + self.shift) & 0xFF
        return packet

    def _column_count(self, buffer: bytes | bytearray, start: int, following: int) -> int:
        count, after = read_lenenc_int(buffer, start + HEADER_SIZE)
        if after != following:
            raise ProtocolError("reply begins with neither OK, ERR nor a column count")
        return count

    def _refuse_odd(self, buffer: bytes | bytearray, position: int, end: int) -> None:
        """Raise if what stopped the walk over column definitions is not just a lack of bytes."""
        if end - position > HEADER_SIZE:
            length = unpack_header(buffer, position)[0] & MAX_PAYLOAD
            if not length or length == MAX_PAYLOAD or buffer[position + HEADER_SIZE] >= 0xFE:
                raise ProtocolError("something else where a column definition should be")

    def _prepared(
        self, buffer: bytes | bytearray, start: int, end: int, following: int
    ) -> tuple[bytes, int] | None:
        """The whole reply to COM_STMT_PREPARE and where it ends, or None when it is not all there."""
        if following - start < HEADER_SIZE + 9:
            raise ProtocolError("reply to COM_STMT_PREPARE is too short")
        columns = int.from_bytes(buffer[start + 9 : start + 11], "little")
        parameters = int.from_bytes(buffer[start + 11 : start + 13], "little")
        number = buffer[start + 5 : start + 9]
        told = self.prepared_as.to_bytes(4, "little") if self.prepared_as else number
        pieces: list[bytes | bytearray] = [buffer[start : start + 5], told, buffer[start + 9 : following]]
        position = following
        packets = self.packets + 1
        shift = 0
        for count in (parameters, columns):
            group, walked = walk(buffer, position, end, shift, count)
            if walked < count:
                self._refuse_odd(buffer, group, end)
                if end - start > MAX_PAYLOAD:
                    raise ProtocolError("more than 16 MiB of definitions in the reply to COM_STMT_PREPARE")
                return None
            packets += count
            pieces.append(buffer[position:group])
            position = group
            if count and self._form.eof:
                pieces.append(frame(build_eof(0, self.status & LASTING), packets + 1 + shift))
                shift += 1
        self.packets = packets
        self.statement_id = int.from_bytes(number, "little")
        self.parameters = parameters
        self.row_count = -1
        self.warnings = int.from_bytes(buffer[start + 14 : min(start + 16, following)], "little")
        self.state = DONE
        return b"".join(pieces), position

    # -- uploads ---------------------------------------------------------------------------------------------------

    @property
    def refuses_upload(self) -> bool:
        """The server asks for a file that this client did not offer to send: answer with `refused_upload()`."""
        return self.state == UPLOADING and self._refuse_infile

    def refused_upload(self) -> bytes:
        """Give the empty packet that tells the server there is no file; the client will get an ERR instead of OK."""
        sequence = self.packets + 1
        self.packets += 1
        # The client saw neither the request nor this answer.
        self.shift -= 2
        self.state = FIRST
        return frame(b"", sequence)

    def uploaded(self, packets: int) -> None:
        """The client has sent its file in so many packets (the empty one included); the reply goes on."""
        self.packets += packets
        self.state = FIRST


_OPTION_PREVENTS_STATEMENT: Final = 1290
_READ_ONLY_MODE: Final = 1836


def _refuses(payload: bytes | bytearray) -> bool:
    """Tell whether an ERR says that the server, not the user or the transaction, is read-only."""
    code = int.from_bytes(payload[1:3], "little")
    # 1290 is for all options; these are --read-only, --super-read-only and, of MariaDB, read_only.
    return code == _READ_ONLY_MODE or (
        code == _OPTION_PREVENTS_STATEMENT and (b"read-only" in payload or b"read_only" in payload)
    )


INFILE_REFUSED: Final = Err(
    1148, "42000", "The used command is not allowed: this client did not offer to send local files"
)
