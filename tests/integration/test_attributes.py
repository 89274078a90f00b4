"""Query attributes, before MySQL: each statement has those of its own client alone, on connections that are shared."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import mysql.connector
import pytest

from rdsproxy.protocol.datatypes import lenenc_bytes, lenenc_int
from rdsproxy.protocol.framing import MAX_PAYLOAD, frame
from tests.integration.packets import DEPRECATE_EOF, QUERY_ATTRIBUTES, error_code
from tests.integration.prepared import LONGLONG, STRING, Client, Parameter, PreparedError, value_of
from tests.integration.proxy import SHA2, Proxy, cut, one, run
from tests.servers import DatabaseServer
from tests.servers.mysql_install import install_mysql

pytestmark = pytest.mark.parametrize("database", ["mysql"], indirect=True)

NAMED = "mysql_query_attribute_string('{}')"
A, B = NAMED.format("a"), NAMED.format("b")
BOTH = f"SELECT CONCAT_WS(',', IFNULL({A}, '-'), IFNULL({B}, '-'))"
MALFORMED = 1835
NO_ATTRIBUTES: Mapping[str, Parameter] = {}


class Attributed(Client):
    """A client that asked for attributes, and says them packet by packet."""

    def __init__(self, to: Proxy | DatabaseServer, flags: int = 0) -> None:
        super().__init__(to.host, to.port, SHA2, flags=QUERY_ATTRIBUTES | flags)

    def tell(self, sql: str, **attributes: Parameter) -> list[bytes]:
        """Run a statement with attributes."""
        self.attributes = attributes_of(attributes)
        try:
            return self.query(sql)
        finally:
            self.attributes = b"\0\1"

    def read(self, sql: str = BOTH, **attributes: Parameter) -> str:
        """Run a query with attributes; give the one value of its one row."""
        answer = self.tell(sql, **attributes)
        if error_code(answer[0]):
            raise PreparedError(answer[0])
        return answer[-2][1:].decode()

    def perform(
        self, number: int, values: list[Parameter] | None = None, *, types: bool = True, **attributes: Parameter
    ) -> list[tuple[Any, ...]]:
        """Execute a prepared statement with attributes."""
        self.send(execution(number, values or [], attributes, types=types))
        return self.rows()


def attributes_of(attributes: Mapping[str, Parameter]) -> bytes:
    """Give what stands before the text of a COM_QUERY."""
    if not attributes:
        return b"\0\1"
    return lenenc_int(len(attributes)) + b"\1" + _told([*attributes], [*attributes.values()])


def execution(
    number: int,
    values: list[Parameter],
    attributes: Mapping[str, Parameter] = NO_ATTRIBUTES,
    *,
    types: bool = True,
    names: str = "",
) -> bytes:
    """Give the payload of a COM_STMT_EXECUTE. `names`: that of each parameter."""
    head = b"\x17" + number.to_bytes(4, "little") + b"\x08\1\0\0\0"
    every = [*values, *attributes.values()]
    told = _told([*([names] * len(values)), *attributes], every, types=types) if every else b""
    return head + lenenc_int(len(every)) + told


def _told(names: list[str], values: list[Parameter], *, types: bool = True) -> bytes:
    nulls = sum(1 << at for at, value in enumerate(values) if value is None)
    body = nulls.to_bytes((len(values) + 7) // 8, "little") + bytes((types,))
    for name, value in zip(names, values, strict=True):
        if types:
            body += bytes((STRING if isinstance(value, str) else LONGLONG, 0)) + lenenc_bytes(name.encode())
    return body + b"".join(value_of(value) for value in values if value is not None)


@pytest.fixture
def clients(narrow: Proxy) -> Iterator[list[Attributed]]:
    """Three sessions on one connection; nothing pins them."""
    begin = len(narrow.log)
    with ExitStack() as stack:
        yield [stack.enter_context(Attributed(narrow)) for _ in range(3)]
    assert not [line for line in narrow.log[begin:] if "pinned" in str(line.get("event"))]


def test_each_statement_has_its_own(clients: list[Attributed], narrow: Proxy) -> None:
    first, second, third = clients
    with narrow.connect() as plain:
        for _ in range(2):
            assert first.read(a="one", b=1) == "one,1"
            assert one(plain, BOTH) == "-,-"
            assert second.read(b="two") == "-,two"
            assert first.read() == "-,-"
            assert third.read(a=None, b="ä€😀") == "-,ä€😀"
            assert one(plain, BOTH) == "-,-"


def test_those_of_one_who_waits(clients: list[Attributed], narrow: Proxy) -> None:
    """For the one connection, which others use meanwhile; and in another state than it has then."""
    first, second, _ = clients
    second.query("SET time_zone = '+02:00'")
    with narrow.connect() as plain:
        run(plain, "BEGIN")
        first.send(b"\x03" + attributes_of({"a": "waited"}) + BOTH.encode())
        second.send(b"\x03" + attributes_of({"b": "also"}) + BOTH.encode())
        for _ in range(3):
            assert one(plain, BOTH) == "-,-"
        run(plain, "COMMIT")
        assert first.reply()[-2] == b"\x08waited,-"
        assert second.reply()[-2] == b"\x06-,also"
        assert one(plain, BOTH) == "-,-"


def test_statements_that_the_proxy_changes_or_asks_something_before(clients: list[Attributed], table: str) -> None:
    first, second, _ = clients
    number = first.connection.thread_id()
    assert first.read(f"SELECT CONCAT({A}, CONNECTION_ID())", a="id ") == f"id {number}"
    first.tell(f"INSERT INTO {table} (value, text) VALUES (1, {A}), (2, {B})", a="A", b="B")
    second.query("SELECT 1")
    without_quotes = "mysql_query_attribute_string(CHAR(98))"
    assert first.tell(f"SELECT ROW_COUNT(), {without_quotes}", b="told")[-2] == b"\x012\x04told"
    second.query(f"INSERT INTO {table} (value) VALUES (3)")
    assert first.read(f"SELECT CONCAT({A}, LAST_INSERT_ID())", a="from ") == "from 1"
    first.tell("SET @x = 'kept'", a="other")
    second.query("SELECT 1")
    assert first.read(f"SELECT CONCAT(@x, {A})", a=" and new") == "kept and new"
    assert second.one(f"SELECT GROUP_CONCAT(text ORDER BY id) FROM {table}") == "A,B"


def test_what_they_say_is_no_statement(clients: list[Attributed], narrow: Proxy) -> None:
    """Nothing in them pins, and nothing in them hides what does."""
    client = clients[0]
    for text in ("GET_LOCK('x', 1)", "; SET time_zone = '+03:00'", "SELECT @y := 1", "CREATE TEMPORARY TABLE x"):
        assert client.read(a=text, b=text) == f"{text},{text}"
    client.tell("SET time_zone = '+05:00'", a="SELECT 1")
    clients[1].query("SELECT 1")
    assert client.read("SELECT @@time_zone", a="x" * 300) == "+05:00"


@pytest.mark.parametrize("size", [MAX_PAYLOAD - 3, MAX_PAYLOAD - 2, MAX_PAYLOAD - 1, MAX_PAYLOAD])
@pytest.mark.parametrize("form", [0, DEPRECATE_EOF], ids=["EOF", "no EOF"])
def test_large_statements_of_clients_without(narrow: Proxy, size: int, form: int) -> None:
    """Two bytes more on the way to the server may be one packet more: the client's answer is numbered as ever."""
    with Client(narrow.host, narrow.port, flags=form) as client:
        for sql in ("SELECT 'x' /*{}*/", "SELECT 'x', @none /*{}*/", "SELECT 'x' FROM missing /*{}*/"):
            payload = b"\x03" + sql.encode()
            payload = payload.replace(b"{}", b"x" * (size - len(payload) + 2))
            client.socket.sendall(frame(payload))
            answer = client.reply(size // MAX_PAYLOAD + 1)
            assert error_code(answer[0]) == (1146 if "missing" in sql else 0)


@pytest.mark.parametrize("size", [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1])
@pytest.mark.parametrize("long", ["text", "attribute"])
def test_large_statements(clients: list[Attributed], size: int, long: str) -> None:
    """Where the text alone is one packet less, and where it is looked into."""
    client = clients[0]
    for sql in (f"SELECT LENGTH({A}), 1 /**/", f"SELECT LENGTH({A}), IFNULL(@none, 1) /**/"):
        payload = b"\x03" + attributes_of({"a": "x" * (1 << 16)}) + sql.encode()
        more = size - len(payload)
        if long == "text":
            payload = payload.replace(b"/**/", b"/*" + b"x" * more + b"*/")
        else:
            payload = b"\x03" + attributes_of({"a": "x" * ((1 << 16) + more)}) + sql.encode()
        assert len(payload) == size
        client.socket.sendall(frame(payload))
        # The component gives the first 1023 bytes.
        assert client.reply(size // MAX_PAYLOAD + 1)[-2] == b"\x041023\x011"


# -- prepared statements -----------------------------------------------------------------------------------------------


def test_executions(clients: list[Attributed], narrow: Proxy) -> None:
    """Also of clients without, who share the copy; types told once are told again where they have to be."""
    sql = f"SELECT CONCAT_WS(',', IFNULL({A}, '-'), IFNULL({B}, '-')), ?, ?"
    numbers = [client.prepare(sql) for client in clients]
    with Client(narrow.host, narrow.port, SHA2) as plain:
        without = plain.prepare(sql)
        for turn in range(2):
            for client, number in zip(clients, numbers, strict=True):
                assert client.perform(number, [turn, "x"], a="one", b=turn) == [(f"one,{turn}", turn, "x")]
                assert client.perform(number, [None, "y"], b=None) == [("-,-", None, "y")]
                assert plain.execute(without, [turn, "z"], types=not turn) == [("-,-", turn, "z")]
                assert client.perform(number, [turn, "x"], types=False) == [("-,-", turn, "x")]
                cut(narrow)
                assert client.perform(number, [turn, "x"], types=False) == [("-,-", turn, "x")]
                assert client.perform(number, ["t", "x"], a="types") == [("types,-", "t", "x")]
                cut(narrow)
                assert client.perform(number, ["t", "x"], b="first") == [("-,first", "t", "x")]
                assert client.perform(number, [turn, "x"]) == [("-,-", turn, "x")]


def test_executions_without_parameters(clients: list[Attributed], narrow: Proxy) -> None:
    client, other, _ = clients
    number, theirs = client.prepare(BOTH), other.prepare(BOTH)
    with Client(narrow.host, narrow.port, SHA2) as plain:
        without = plain.prepare(BOTH)
        for turn in range(2):
            assert client.perform(number, a="one", b=turn) == [(f"one,{turn}",)]
            assert other.perform(theirs) == plain.execute(without) == [("-,-",)]
            other.send(b"\x17" + theirs.to_bytes(4, "little") + b"\0\1\0\0\0")
            assert other.rows() == [("-,-",)]
            # Without the capability the flag that says that they are counted means nothing.
            plain.send(b"\x17" + without.to_bytes(4, "little") + b"\x08\1\0\0\0")
            assert plain.rows() == [("-,-",)]
            cut(narrow)


def test_a_statement_that_is_not_known(clients: list[Attributed]) -> None:
    client = clients[0]
    assert client.read(a="one") == "one,-"
    with pytest.raises(PreparedError) as caught:
        client.perform(77, [1], a="two")
    assert caught.value.code == 1243
    assert client.read(b="three") == "-,three"


def test_parameters_with_names(clients: list[Attributed]) -> None:
    """A server takes these for attributes too."""
    client, other, _ = clients
    number = client.prepare(f"SELECT {A}, ?")
    client.send(execution(number, [5], names="a"))
    assert client.rows() == [("5", 5)]
    other.query("SELECT 1")
    assert client.perform(number, [6], types=False) == [(None, 6)]


def test_a_cursor_and_long_data(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    server.execute(f"INSERT INTO app.{table} (value) VALUES (1), (2), (3)")
    with Attributed(narrow) as client, narrow.connect() as plain:
        number = client.prepare(f"SELECT value, {A} FROM {table} WHERE value > ? ORDER BY value")
        payload = execution(number, [1], {"a": "here"})
        client.send(payload[:5] + b"\x09" + payload[6:])
        assert client.rows(cursor=True) == []
        assert client.fetch(number, 1) == [(2, "here")]
        client.reset(number)
        number = client.prepare(f"SELECT ?, {A}, ?")
        client.send_long(number, 0, b"long ")
        client.send_long(number, 0, b"data")
        told = execution(number, ["", 7], {"a": "behind"})
        client.send(told.replace(b"\xfc\0\0", b"", 1))
        assert client.rows() == [("long data", "behind", 7)]
        assert one(plain, BOTH) == "-,-"


def test_malformed(clients: list[Attributed]) -> None:
    """Refused, and forgotten."""
    client, other, _ = clients
    number = client.prepare("SELECT ?, ?")
    good = b"\x03" + attributes_of({"a": "one", "b": 2}) + BOTH.encode()
    executed = execution(number, [1, "x"], {"a": "one"})
    text_at, values_at = good.index(b"SELECT"), executed.index(value_of(1))
    for payload in (
        *(good[:size] for size in range(1, text_at)),
        b"\x03SELECT 1",
        b"\x03\0\2SELECT 1",
        good.replace(bytes((STRING, 0)), b"\xf4\0"),
        good.replace(bytes((STRING, 0)), b"\x09\0"),
        *(executed[:size] for size in range(5, values_at)),
        execution(number, [1]),
        execution(number, [1, "x"], {"a": "one"}, types=False),
        # As clients without the capability say it.
        client.execution(number, [1, "x"]),
    ):
        client.send(payload)
        _, answer = client.packet()
        assert error_code(answer) == MALFORMED, payload
        assert client.read(a="goes on") == "goes on,-"
    assert client.perform(number, [1, "x"], a="one") == [(1, "x")]
    assert other.read() == "-,-"


# -- drivers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_connector_python(narrow: Proxy, prepared: bool) -> None:
    settings: dict[str, Any] = {"user": SHA2.name, "password": SHA2.password, "ssl_disabled": True, "use_pure": True}
    with (
        mysql.connector.connect(host=narrow.host, port=narrow.port, database="app", **settings) as session,
        narrow.connect() as plain,
    ):
        kind: dict[str, Any] = {"prepared": True} if prepared else {}
        with session.cursor(**kind) as cursor:
            for _ in range(2):
                cursor.add_attribute("a", "ä€😀")
                cursor.add_attribute("b", 7)
                cursor.execute(f"{BOTH} AS both_of_them, %s", ("parameter",))
                assert cursor.fetchall() == [("ä€😀,7", "parameter")]
                session.commit()
                assert one(plain, BOTH) == "-,-"
                cursor.clear_attributes()
                cursor.execute(BOTH)
                assert cursor.fetchall() == [("-,-",)]
                session.commit()


def test_the_command_line_client(narrow: Proxy) -> None:
    """It has a command for them, at a terminal."""
    ours, its = pty.openpty()
    command = [str(install_mysql() / "bin" / "mysql"), "--no-defaults", "--protocol=tcp", "--ssl-mode=DISABLED"]
    command += [f"--host={narrow.host}", f"--port={narrow.port}", "--get-server-public-key"]
    command += [f"--user={SHA2.name}", f"--password={SHA2.password}", "app"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "dumb"}) as client:
        os.close(its)
        os.write(ours, f"query_attributes a one b 2;\n{BOTH} AS x;\n{BOTH} AS x;\nquit\n".encode())
        said = b""
        with contextlib.suppress(OSError):  # which is how a terminal ends
            while data := os.read(ours, 1 << 16):
                said += data
        os.close(ours)
        assert client.wait() == 0
    assert re.findall(rb"\| (\S+) +\|", said) == [b"x", b"one,2", b"x", b"-,-"], said
