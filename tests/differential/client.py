"""A client that runs the commands of a script and gives all there is in the answers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

from pymysql import _auth
from pymysql.constants import CLIENT

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands as codes
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2
from rdsproxy.protocol.datatypes import lenenc_bytes, lenenc_int
from rdsproxy.protocol.handshake import AuthSwitchRequest, ChangeUser
from rdsproxy.protocol.responses import Err, Ok, parse_err, parse_ok
from tests.differential import commands
from tests.differential.commands import Command, Value
from tests.integration.packets import Packets, column_count, in_order, is_last
from tests.integration.proxy import Account

NO_STATEMENT = 0x7F000000
"""An id that no statement has."""
_CURSOR = 1  # CURSOR_TYPE_READ_ONLY
_COUNTED = 8  # PARAMETER_COUNT_AVAILABLE
_ATTRIBUTE = b"\xfe\0\1n"
"""Its type and name."""
_CHARACTER_SETS = ("names", "several")
"""Kinds of statements that may set one."""


@dataclass(frozen=True)
class Rows:
    """A result set: the payloads of its columns and rows as they came, and what ended it."""

    columns: tuple[bytes, ...]
    rows: tuple[bytes, ...]
    end: Ok | Err
    binary: bool


@dataclass(frozen=True)
class Prepared:
    """The answer to COM_STMT_PREPARE, but for the statement's id."""

    parameters: tuple[bytes, ...]
    columns: tuple[bytes, ...]
    warnings: int


Result = Ok | Err | Rows | Prepared | str
"""A str says what happened to the connection."""


@dataclass
class _Statement:
    id: int
    parameters: int
    types: bytes = b""
    """The types that the server knows from an earlier execute."""
    long_data: bool = False
    """The first parameter has been sent ahead."""


def tracks(number: int) -> bool:
    """Tell whether the session of this number is told changes of its state."""
    return number % 4 < 2


class Session:
    """One logged-in client. ``number`` decides which capabilities it offers."""

    def __init__(self, host: str, port: int, account: Account, number: int, schema: str) -> None:
        flags = CLIENT.MULTI_STATEMENTS if number != 5 else 0
        flags |= cap.CLIENT_DEPRECATE_EOF if number % 2 == 0 else 0
        flags |= cap.CLIENT_SESSION_TRACK if tracks(number) else 0
        flags |= cap.CLIENT_QUERY_ATTRIBUTES if number % 3 == 1 else 0
        self._account = account
        extended = cap.MARIADB_CLIENT_STMT_BULK_OPERATIONS if number % 3 else 0
        self._packets = Packets(host, port, account, flags=flags, extended=extended, database=schema)
        connection: Any = self._packets.connection
        self._capabilities: int = connection.client_flag & connection.server_capabilities
        self._salt: bytes = connection.salt
        self._plugin: str = connection._auth_plugin_name
        self._eof = not self._capabilities & cap.CLIENT_DEPRECATE_EOF
        self._attribute = lenenc_bytes(b"%d" % number) if self._packets.attributes else b""
        """The value of the attribute that each statement has, if it can have any: its name is n."""
        self._statements: dict[int, _Statement] = {}
        self._sequence = 0
        self._binary = False
        self._over = ""

    def close(self) -> None:
        """Leave without a word."""
        self._packets.close()

    def run(self, command: Command) -> tuple[Result, ...]:
        """Run a command; give its results, none if it has no answer."""
        if self._over:
            return (self._over,)
        self._sequence = 1
        self._binary = isinstance(command, commands.Execute | commands.Bulk | commands.Fetch)
        try:
            return self._run(command)
        except EOFError:
            self._over = "the connection has ended"
        except TimeoutError:
            self._over = "there was no answer"
        return (self._over,)

    def _run(self, command: Command) -> tuple[Result, ...]:
        match command:
            case commands.Query(kind=kind, sql=sql):
                attributes = b"\1\1\0\1" + _ATTRIBUTE + self._attribute if self._attribute else b""
                self._send(codes.QUERY, attributes + sql.encode())
                if kind in _CHARACTER_SETS:
                    # A server knows with the types in which character set text is, and goes on to read it so.
                    for statement in self._statements.values():
                        statement.types = b""
            case commands.InitDb(schema=schema):
                self._send(codes.INIT_DB, schema.encode())
            case commands.Plain(code=code, body=body):
                self._send(code, body)
                if code == codes.RESET_CONNECTION:
                    self._statements.clear()
            case commands.ChangeUser(schema=schema, collation=collation):
                return (self._change_user(schema, collation),)
            case commands.Prepare(slot=slot, sql=sql):
                if slot in self._statements:
                    self._send(codes.STMT_CLOSE, self._id(slot))
                return (self._prepare(slot, sql),)
            case commands.Execute(cursor=cursor):
                self._send(codes.STMT_EXECUTE, self._execution(command))
                return self._results(cursor)
            case commands.Bulk():
                self._send(codes.STMT_BULK_EXECUTE, self._bulk(command))
                return self._results()
            case commands.LongData(slot=slot, data=data):
                if slot in self._statements and self._statements[slot].parameters:
                    self._statements[slot].long_data = True
                    self._send(codes.STMT_SEND_LONG_DATA, self._id(slot) + b"\0\0" + data)
                return ()
            case commands.Fetch(slot=slot, rows=rows):
                self._send(codes.STMT_FETCH, self._id(slot) + rows.to_bytes(4, "little"))
                return (self._rows(()),)
            case commands.ResetStatement(slot=slot):
                self._send(codes.STMT_RESET, self._id(slot))
                if slot in self._statements:
                    self._statements[slot].long_data = False
            case commands.CloseStatement(slot=slot):
                self._send(codes.STMT_CLOSE, self._id(slot))
                self._statements.pop(slot, None)
                return ()
            case _:
                raise NotImplementedError(command)
        results = self._results()
        if not isinstance(command, commands.Query):
            # MySQL counts the warnings of the statement before. The proxy, which answers some of these, does not.
            results = tuple(replace(one, warnings=0) if isinstance(one, Ok) else one for one in results)
        return results

    # -- answers -------------------------------------------------------------------------------------------------------

    def _send(self, code: int, body: bytes) -> None:
        self._packets.send(bytes((code,)) + body)

    def _packet(self) -> bytes:
        sequence, payload = self._packets.packet()
        assert sequence == self._sequence, f"packet {self._sequence} is numbered {sequence}: {payload!r}"
        self._sequence = (sequence + 1) & 0xFF
        return payload

    def _results(self, cursor: bool = False) -> tuple[Result, ...]:
        results: list[Result] = []
        while True:
            result = self._result(cursor)
            results.append(result)
            end = result.end if isinstance(result, Rows) else result
            if not (isinstance(end, Ok) and end.status & cap.SERVER_MORE_RESULTS_EXISTS):
                return tuple(results)

    def _result(self, cursor: bool) -> Ok | Err | Rows:
        first = self._packet()
        if first[0] in (0x00, 0xFE, 0xFF):
            return self._end(first)
        columns = tuple(self._packet() for _ in range(column_count(first)))
        if self._eof:
            # Only what the last packet tells is compared: in this one a server shows flags that are on their way.
            eof = _end(self._packet())
            if cursor and isinstance(eof, Ok) and eof.status & cap.SERVER_STATUS_CURSOR_EXISTS:
                return Rows(columns, (), eof, self._binary)
        return self._rows(columns)

    def _rows(self, columns: tuple[bytes, ...]) -> Rows:
        rows = []
        while not is_last(payload := self._packet()):
            rows.append(payload)
        return Rows(columns, tuple(rows), self._end(payload), self._binary)

    # -- prepared statements -------------------------------------------------------------------------------------------

    def _id(self, slot: int) -> bytes:
        statement = self._statements.get(slot)
        return (statement.id if statement else NO_STATEMENT).to_bytes(4, "little")

    def _end(self, payload: bytes) -> Ok | Err:
        end = _end(payload)
        if isinstance(end, Err):
            # Its text may have the id of a statement, which is each connection's own.
            for statement in self._statements.values():
                end = replace(end, message=end.message.replace(f"({statement.id})", "(id)"))
        return end

    def _prepare(self, slot: int, sql: str) -> Prepared | Err:
        self._send(codes.STMT_PREPARE, sql.encode())
        head = self._packet()
        if head[0] == 0xFF:
            self._statements.pop(slot, None)
            return parse_err(head)
        number, columns, parameters, warnings = struct.unpack("<xIHHxH", head[:12])
        self._statements[slot] = _Statement(number, parameters)
        return Prepared(self._definitions(parameters), self._definitions(columns), warnings)

    def _definitions(self, count: int) -> tuple[bytes, ...]:
        found = tuple(self._packet() for _ in range(count))
        if count and self._eof:
            assert self._packet()[0] == 0xFE
        return found

    def _execution(self, command: commands.Execute) -> bytes:
        statement = self._statements.get(command.slot)
        flags = (_CURSOR if command.cursor else 0) | (_COUNTED if self._attribute else 0)
        body = self._id(command.slot) + bytes((flags,)) + b"\1\0\0\0"
        if statement is None or not statement.parameters:
            return body + (b"\1\0\1" + _ATTRIBUTE + self._attribute if self._attribute else b"")
        values = _repeated(command.values, statement.parameters)
        if statement.long_data:
            values[0] = b""
        nulls = sum(1 << number for number, value in enumerate(values) if value is None)
        types = b"".join(_type(value) for value in values)
        bind = command.bind or types != statement.types
        statement.types = types
        inline = values[1:] if statement.long_data else values
        statement.long_data = False
        binary = b"".join(_binary(value) for value in inline)
        count = len(values)
        if self._attribute:
            # It comes with types only, as each type comes with a name.
            types = b"".join(types[at : at + 2] + b"\0" for at in range(0, len(types), 2)) + _ATTRIBUTE
            binary += self._attribute if bind else b""
            count += bind
            body += lenenc_int(count)
        body += nulls.to_bytes((count + 7) // 8, "little") + bytes((bind,))
        return body + (types if bind else b"") + binary

    def _bulk(self, command: commands.Bulk) -> bytes:
        statement = self._statements.get(command.slot)
        rows = [_repeated(values, statement.parameters if statement else 0) for values in command.rows]
        # A column has one type, that of its first value which has one; what has another is sent as NULL.
        columns = zip(*rows, strict=True)
        types = [next((_type(value) for value in column if value is not None), _type(None)) for column in columns]
        bind = command.bind or statement is None or b"".join(types) != statement.types
        if statement is not None:
            statement.types = b"".join(types)
        parts = [self._id(command.slot), b"\x80\0" if bind else b"\0\0", *(types if bind else ())]
        for row in rows:
            parts += [
                b"\1" if value is None or _type(value) != kind else b"\0" + _binary(value)
                for value, kind in zip(row, types, strict=True)
            ]
        return b"".join(parts)

    # -- COM_CHANGE_USER -----------------------------------------------------------------------------------------------

    def _change_user(self, schema: str, collation: int) -> Ok | Err:
        self._statements.clear()
        packet = ChangeUser(
            self._account.name.encode(),
            self._scramble(),
            schema.encode() or None,
            collation,
            self._plugin,
            {b"_client_name": b"script"},
        )
        self._packets.send(packet.build(self._capabilities))
        answer = self._packet()
        if answer[0] == 0xFE:
            request = AuthSwitchRequest.parse(answer)
            self._plugin, self._salt = request.plugin, request.data[:20]
            sequence = self._sequence
            self._packets.send(self._scramble(), sequence)
            self._sequence = sequence + 1
            answer = self._packet()
        if answer == b"\x01\x03":  # caching_sha2_password knows the password from the login
            answer = self._packet()
        return _end(answer)

    def _scramble(self) -> bytes:
        password = self._account.password.encode()
        if self._plugin == CACHING_SHA2:
            return bytes(_auth.scramble_caching_sha2(password, self._salt))
        return bytes(_auth.scramble_native_password(password, self._salt))


def _end(payload: bytes) -> Ok | Err:
    if payload[0] == 0xFF:
        return parse_err(payload)
    if payload[0] == 0xFE and len(payload) < 7:
        warnings, status = struct.unpack("<xHH", payload)
        return Ok(0, 0, status & ~cap.SERVER_SESSION_STATE_CHANGED, warnings)
    ok = parse_ok(payload)
    return replace(ok, changes=in_order(ok.changes))


def _repeated(values: tuple[Value, ...], count: int) -> list[Value]:
    return [values[number % len(values)] for number in range(count)]


def _type(value: Value) -> bytes:
    return {int: b"\x08\x00", float: b"\x05\x00", bytes: b"\xfc\x00", str: b"\xfd\x00"}.get(type(value), b"\x06\x00")


def _binary(value: Value) -> bytes:
    match value:
        case None:
            return b""
        case int():
            return value.to_bytes(8, "little", signed=True)
        case float():
            return struct.pack("<d", value)
        case str():
            return lenenc_bytes(value.encode())
    return lenenc_bytes(value)
