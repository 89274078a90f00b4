"""A client that shows each packet: for what drivers hide, or cannot say."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Any, Self

import pymysql

from rdsproxy.protocol.responses import parse_changes
from tests.integration.proxy import NATIVE, Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.proxy import Connection

LONG_PASSWORD = 1
SESSION_TRACK = 1 << 23
DEPRECATE_EOF = 1 << 24
QUERY_ATTRIBUTES = 1 << 27
BULK_OPERATIONS = 1 << 34
TIMEOUT = 20.0  # seconds


class Packets:
    """A logged-in connection; ``flags`` are capabilities besides those that PyMySQL always offers.

    With ``extended`` it asks for capabilities of MariaDB's, as the upper half of 64 bits.
    """

    def __init__(
        self,
        host: str,
        port: int,
        account: Account = NATIVE,
        *,
        flags: int = 0,
        extended: int = 0,
        database: str | None = "app",
    ) -> None:
        self.connection: Connection = pymysql.connect(
            host=host,
            port=port,
            user=account.name,
            password=account.password.encode(),
            database=database,
            client_flag=flags,
            autocommit=None,
            defer_connect=True,
            ssl_disabled=True,
            read_timeout=TIMEOUT,
        )
        # PyMySQL's SET NAMES would read its answer in its own way.
        self.connection.set_character_set = lambda *args, **more: None  # type: ignore[method-assign]
        internals: Any = self.connection
        if extended:
            internals.write_packet = functools.partial(_write_extended, internals, internals.write_packet, extended)
        self.connection.connect()
        self.socket: socket.socket = internals._sock
        self.socket.settimeout(TIMEOUT)
        self._file = internals._rfile
        agreed = self.connection.client_flag & internals.server_capabilities
        self.attributes = b"\0\1" if agreed & QUERY_ATTRIBUTES else b""
        """What stands before the text of statements."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word."""
        self.connection._force_close()  # type: ignore[attr-defined]

    def send(self, payload: bytes, sequence: int = 0) -> None:
        """Send one packet."""
        self.socket.sendall(len(payload).to_bytes(3, "little") + bytes((sequence,)) + payload)

    def packet(self) -> tuple[int, bytes]:
        """Give the next packet: its sequence id and payload. EOFError when the connection has ended."""
        header = self._read(4)
        return header[3], self._read(int.from_bytes(header[:3], "little"))

    def _read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def command(self, code: int, body: bytes = b"") -> bytes:
        """Send a command; give the one packet of its answer, which must be number 1."""
        self.send(bytes((code,)) + body)
        sequence, payload = self.packet()
        assert sequence == 1
        return payload

    def query(self, sql: str) -> list[bytes]:
        """Run statements; give all payloads of the reply, whose packets must be numbered one by one."""
        self.send(b"\x03" + self.attributes + sql.encode())
        return self.reply()

    def reply(self, first_sequence: int = 1) -> list[bytes]:
        """Read the replies to one COM_QUERY to their end; their packets must be numbered from `first_sequence` on."""
        payloads: list[bytes] = []
        deprecate_eof = bool(self.connection.client_flag & DEPRECATE_EOF)

        def take() -> bytes:
            sequence, payload = self.packet()
            expected = len(payloads) + first_sequence & 0xFF
            payloads.append(payload)
            assert sequence == expected, f"packet {len(payloads)} is numbered {sequence}, not {expected}"
            return payload

        while True:
            first = take()
            if first[0] == 0xFF:
                return payloads
            if first[0] == 0x00:
                status = status_of_ok(first)
            else:
                for _ in range(column_count(first)):
                    take()
                if not deprecate_eof:
                    assert take()[0] == 0xFE
                while not is_last(last := take()):
                    pass
                if last[0] == 0xFF:
                    return payloads
                status = status_of_ok(last) if deprecate_eof else int.from_bytes(last[3:5], "little")
            if not status & 8:
                return payloads

    def reply_to_execute(self, *, cursor: bool) -> list[bytes]:
        """Read the reply to COM_STMT_EXECUTE; with an open cursor there are no rows in it."""
        payloads: list[bytes] = []

        def take() -> bytes:
            sequence, payload = self.packet()
            payloads.append(payload)
            assert sequence == len(payloads) & 0xFF, f"packet {len(payloads)} is numbered {sequence}"
            return payload

        first = take()
        if first[0] in (0x00, 0xFF):
            return payloads
        for _ in range(column_count(first)):
            take()
        deprecate_eof = bool(self.connection.client_flag & DEPRECATE_EOF)
        if not deprecate_eof:
            take()
        if not (cursor and not deprecate_eof):
            while not is_last(take()):
                pass
        return payloads


def _write_extended(connection: Any, write: Callable[[bytes], None], extended: int, response: bytes) -> None:
    """Write PyMySQL's HandshakeResponse as MariaDB's own clients do."""
    connection.write_packet = write
    response = (int.from_bytes(response[:4], "little") & ~LONG_PASSWORD).to_bytes(4, "little") + response[4:]
    write(response[:28] + (extended >> 32).to_bytes(4, "little") + response[32:])


def column_count(payload: bytes) -> int:
    """Read the packet at the head of a result set."""
    return int.from_bytes(payload[1:3], "little") if payload[0] == 0xFC else payload[0]


def is_last(payload: bytes) -> bool:
    """Tell whether this ends the rows."""
    return payload[0] == 0xFF or (payload[0] == 0xFE and len(payload) < 0xFFFFFF)


def error_code(payload: bytes) -> int:
    """Give the code of an ERR payload, 0 for any other."""
    return int.from_bytes(payload[1:3], "little") if payload[0] == 0xFF else 0


def status_of_ok(payload: bytes) -> int:
    """Give the status flags of an OK payload, whose affected rows and insert id are numbers of one byte or more."""
    position = 1
    for _ in range(2):
        position += {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(payload[position], 1)
    return int.from_bytes(payload[position : position + 2], "little")


def in_order(block: bytes) -> bytes:
    """Give the changes of a session-track block in a form that is the same where they are.

    MariaDB tells variables in the order of a hash of addresses, which is another one with each start and each list.
    MySQL's `statement_id` is another one with each statement, and so is a timestamp that was set to DEFAULT.
    """
    changes = [change[:2] if _is_of_its_own(change) else change for change in parse_changes(block)]
    return repr(sorted(changes)).encode() if changes else b""


def _is_of_its_own(change: tuple[Any, ...]) -> bool:
    # With a fraction, a timestamp is the clock's.
    return change[1] == b"statement_id" or (change[1] == b"timestamp" and b"." in change[2])
