"""Prepared statements, packet by packet: for what drivers never send, or send in one way only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

from tests.integration.packets import DEPRECATE_EOF, Packets, column_count, error_code

LONGLONG = 8
STRING = 253
LAST = 0xFFFFFFFF

Rows = list[tuple[Any, ...]]


class Indicator(IntEnum):
    """What stands before, or in place of, each value of a bulk."""

    VALUE = 0
    NULL = 1
    DEFAULT = 2
    IGNORE = 3


Parameter = int | str | None


class PreparedError(Exception):
    """The server's ERR."""

    def __init__(self, payload: bytes) -> None:
        self.code = error_code(payload)
        super().__init__(self.code, payload[9:].decode())


class Client(Packets):
    """Prepares statements and executes them in each way that the protocol has."""

    is_open = False
    """The last execution has opened a cursor."""

    def prepare(self, sql: str) -> int:
        """Give the statement's id."""
        self.send(b"\x16" + sql.encode())
        return self.prepared()

    def prepared(self) -> int:
        """Read the answer to COM_STMT_PREPARE."""
        _, head = self.packet()
        if head[0] == 0xFF:
            raise PreparedError(head)
        eof = not self.connection.client_flag & DEPRECATE_EOF
        for at in (5, 7):
            count = int.from_bytes(head[at : at + 2], "little")
            for _ in range(count + eof if count else 0):
                self.packet()
        return int.from_bytes(head[1:5], "little")

    def execute(
        self, number: int, parameters: Sequence[Parameter] = (), *, types: bool = True, cursor: bool = False
    ) -> Rows:
        """Execute; give the rows, of which each value is a number or text. `types`: say what the parameters are."""
        self.send(self.execution(number, parameters, types=types, cursor=cursor))
        return self.rows(cursor=cursor)

    @staticmethod
    def execution(
        number: int, parameters: Sequence[Parameter] = (), *, types: bool = True, cursor: bool = False
    ) -> bytes:
        """Give the payload of a COM_STMT_EXECUTE."""
        body = b"\x17" + number.to_bytes(4, "little") + bytes((cursor,)) + b"\1\0\0\0"
        if not parameters:
            return body
        nulls = sum(1 << at for at, value in enumerate(parameters) if value is None)
        body += nulls.to_bytes((len(parameters) + 7) // 8, "little") + bytes((types,))
        if types:
            body += types_of(parameters)
        return body + b"".join(value_of(value) for value in parameters if value is not None)

    @staticmethod
    def bulk(number: int, rows: Iterable[Sequence[Parameter | Indicator]], types: bytes = b"") -> bytes:
        """Give the payload of a COM_STMT_BULK_EXECUTE. `types`: say that the parameters are these."""
        body = b"\xfa" + number.to_bytes(4, "little") + (128 if types else 0).to_bytes(2, "little") + types
        return body + b"".join(_with_indicator(value) for row in rows for value in row)

    def execute_bulk(self, number: int, rows: Iterable[Sequence[Parameter | Indicator]], types: bytes = b"") -> bytes:
        """Execute in bulk; give the OK."""
        answer = self.command(0xFA, self.bulk(number, rows, types)[1:])
        if answer[0] == 0xFF:
            raise PreparedError(answer)
        return answer

    def rows(self, *, cursor: bool = False) -> Rows:
        """Read the answer to COM_STMT_EXECUTE."""
        self.is_open = False
        _, head = self.packet()
        if head[0] == 0xFF:
            raise PreparedError(head)
        if head[0] == 0:
            return []
        self.types = []
        for _ in range(column_count(head)):
            self.types.append(self.packet()[1][-6])
        _, eof = self.packet()
        assert eof[0] == 0xFE
        self.is_open = cursor and bool(int.from_bytes(eof[3:5], "little") & 0x40)
        return [] if self.is_open else self._rows()

    def fetch(self, number: int, count: int) -> Rows:
        """Fetch rows of a cursor."""
        self.send(b"\x1c" + number.to_bytes(4, "little") + count.to_bytes(4, "little"))
        return self._rows()

    def _rows(self) -> Rows:
        rows: Rows = []
        while True:
            _, payload = self.packet()
            if payload[0] == 0xFF:
                raise PreparedError(payload)
            if payload[0] == 0xFE:
                return rows
            rows.append(self._row(payload))

    def _row(self, payload: bytes) -> tuple[Any, ...]:
        width = len(self.types)
        nulls = int.from_bytes(payload[1 : 1 + (width + 9) // 8], "little") >> 2
        at = 1 + (width + 9) // 8
        row: list[Any] = []
        for column, kind in enumerate(self.types):
            if nulls >> column & 1:
                row.append(None)
            elif kind in (3, LONGLONG):
                size = 4 if kind == 3 else 8
                row.append(int.from_bytes(payload[at : at + size], "little", signed=True))
                at += size
            else:
                size = payload[at]
                at += 1
                if size == 0xFC:
                    size = int.from_bytes(payload[at : at + 2], "little")
                    at += 2
                row.append(payload[at : at + size].decode())
                at += size
        return tuple(row)

    def send_long(self, number: int, parameter: int, data: bytes) -> None:
        """Send a part of a parameter."""
        self.send(b"\x18" + number.to_bytes(4, "little") + parameter.to_bytes(2, "little") + data)

    def reset(self, number: int) -> None:
        """COM_STMT_RESET."""
        answer = self.command(0x1A, number.to_bytes(4, "little"))
        if answer[0] == 0xFF:
            raise PreparedError(answer)

    def close_statement(self, number: int) -> None:
        """COM_STMT_CLOSE."""
        self.send(b"\x19" + number.to_bytes(4, "little"))

    def one(self, sql: str) -> str | None:
        """Run a query as text; give its one value."""
        payloads = self.query(sql)
        if payloads[0][0] == 0xFF:
            raise PreparedError(payloads[0])
        row = payloads[-2]
        return None if row[0] == 0xFB else row[1:].decode()


def types_of(parameters: Sequence[Parameter | Indicator]) -> bytes:
    """Give the types of parameters, as they stand in packets."""
    return b"".join(bytes((STRING if isinstance(value, str) else LONGLONG, 0)) for value in parameters)


def value_of(value: int | str) -> bytes:
    """Give a parameter in the binary protocol."""
    if isinstance(value, str):
        text = value.encode()
        if len(text) <= 0xFFFF:
            return b"\xfc" + len(text).to_bytes(2, "little") + text
        return b"\xfe" + len(text).to_bytes(8, "little") + text
    return value.to_bytes(8, "little", signed=True)


def _with_indicator(value: Parameter | Indicator) -> bytes:
    if value is None:
        value = Indicator.NULL
    if isinstance(value, Indicator):
        return bytes((value,))
    return bytes((Indicator.VALUE,)) + value_of(value)
