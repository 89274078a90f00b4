"""Prepared statements of many sessions on few connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.integration.network import until
from tests.integration.prepared import LAST, LONGLONG, Client, PreparedError
from tests.integration.proxy import Proxy, cut
from tests.servers import DatabaseServer


@pytest.fixture
def clients(narrow: Proxy) -> Iterator[list[Client]]:
    """Three sessions on one connection; nothing pins them."""
    begin = len(narrow.log)
    with ExitStack() as stack:
        yield [stack.enter_context(Client(narrow.host, narrow.port)) for _ in range(3)]
    assert not [line for line in narrow.log[begin:] if "pinned" in str(line.get("event"))]


@pytest.fixture
def pair(narrow: Proxy) -> Iterator[list[Client]]:
    """Two sessions on one connection."""
    with ExitStack() as stack:
        yield [stack.enter_context(Client(narrow.host, narrow.port)) for _ in range(2)]


def prepared_count(server: DatabaseServer) -> int:
    """Give how many prepared statements the server holds."""
    with server.admin() as admin, admin.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
        row = cursor.fetchone()
    assert row is not None
    return int(row[1])


def test_sessions_take_turns(clients: list[Client], table: str) -> None:
    numbers = [client.prepare(f"SELECT ? + {turn}") for turn, client in enumerate(clients)]
    # Each session counts for itself.
    assert numbers == [1, 1, 1]
    for _ in range(3):
        for turn, (client, number) in enumerate(zip(clients, numbers, strict=True)):
            assert client.execute(number, [10]) == [(10 + turn,)]
    inserts = [client.prepare(f"INSERT INTO {table} (value, text) VALUES (?, ?)") for client in clients]
    for turn, (client, number) in enumerate(zip(clients, inserts, strict=True)):
        client.execute(number, [turn, f"of {turn}"])
    assert clients[0].one(f"SELECT GROUP_CONCAT(value, text ORDER BY value) FROM {table}") == "0of 0,1of 1,2of 2"


def test_types_told_once_are_told_again_elsewhere(clients: list[Client]) -> None:
    numbers = [client.prepare("SELECT ?, ?") for client in clients]
    clients[0].execute(numbers[0], [1, "one"])
    clients[1].execute(numbers[1], ["two", 2])
    for _ in range(2):
        assert clients[0].execute(numbers[0], [3, "three"], types=False) == [(3, "three")]
        assert clients[1].execute(numbers[1], ["four", 4], types=False) == [("four", 4)]
    clients[0].execute(numbers[0], ["five", 5])
    assert clients[0].execute(numbers[0], [None, 6], types=False) == [(None, 6)]


def test_the_first_types_of_others_do_not_count(clients: list[Client]) -> None:
    """MySQL gives a bare parameter the type of the first execution, and reads later strings as numbers then."""
    numbers = [client.prepare("SELECT ?") for client in clients]
    assert clients[0].execute(numbers[0], [1]) == [(1,)]
    assert clients[1].execute(numbers[1], ["abc"]) == [("abc",)]
    assert clients[2].execute(numbers[2], ["def"]) == [("def",)]
    assert clients[0].execute(numbers[0], [2]) == [(2,)]


def test_types_never_told_are_not_those_of_others(clients: list[Client], server: DatabaseServer) -> None:
    number = clients[0].prepare("SELECT ?")
    clients[0].execute(number, ["text"])
    with Client(server.host, server.port) as direct:
        answers: list[object] = []
        for client in (clients[1], direct):
            try:
                answers.append(client.execute(client.prepare("SELECT ?"), [1], types=False))
            except PreparedError as error:
                answers.append(error.code)
        assert answers[0] == answers[1]


def test_types_that_the_server_has_not_taken_are_nobody_s(
    clients: list[Client], narrow: Proxy, server: DatabaseServer, table: str
) -> None:
    """MySQL takes none from a packet that is cut short. Sessions that have told the same ones share a copy."""
    sql = f"INSERT INTO {table} (value, text) VALUES (?, ?)"
    careless, careful = clients[:2]
    first, second = careless.prepare(sql), careful.prepare(sql)
    careful.execute(second, [1, "one"])
    cut(narrow)
    careless.send(careless.execution(first, [2, ""])[:-3])
    with pytest.raises(PreparedError):
        careless.rows()
    careful.execute(second, [3, "three"], types=False)
    assert careful.one(f"SELECT GROUP_CONCAT(value, text ORDER BY id) FROM {table}") == "1one,3three"


def test_each_session_s_parameters_are_in_its_own_character_set(clients: list[Client]) -> None:
    """Servers remember with the types in which character set parameters are. Copies are shared."""
    sql = "SELECT HEX(CONVERT(? USING utf8mb4)), 1"
    first, second, third = (client.prepare(sql) for client in clients)
    utf8, latin1 = [("C3A9", 1)], [("C383C2A9", 1)]
    assert clients[0].execute(first, ["é"]) == utf8
    clients[1].query("SET NAMES latin1")
    assert clients[1].execute(second, ["é"]) == latin1
    clients[2].query("SET NAMES cp850")
    clients[2].execute(third, ["é"])
    for _ in range(2):
        assert clients[0].execute(first, ["é"], types=False) == utf8
        assert clients[1].execute(second, ["é"], types=False) == latin1


def test_types_told_under_another_character_set(
    clients: list[Client], narrow: Proxy, server: DatabaseServer
) -> None:
    """They go on to mean that one, as long as the connection knows them. On another they cannot be told again."""
    sql = "SELECT HEX(CONVERT(? USING utf8mb4)), 1"
    with Client(server.host, server.port) as direct:
        numbers = []
        for client in (direct, clients[0]):
            numbers.append(number := client.prepare(sql))
            assert client.execute(number, ["é"]) == [("C3A9", 1)]
            client.query("SET NAMES latin1")
            assert client.execute(number, ["é"], types=False) == [("C3A9", 1)]
        cut(narrow)
        with pytest.raises(PreparedError) as caught:
            clients[0].execute(numbers[1], ["é"], types=False)
        assert caught.value.code == 1105
        for client, number in zip((direct, clients[0]), numbers, strict=True):
            for types in (True, False):
                assert client.execute(number, ["é"], types=types) == [("C383C2A9", 1)]
        clients[0].query("SET NAMES utf8mb4")
        clients[0].execute(numbers[1], ["é"])
        cut(narrow)
        assert clients[0].execute(numbers[1], ["é"], types=False) == [("C3A9", 1)]


def test_many_parameters(clients: list[Client]) -> None:
    count = 300
    numbers = [client.prepare("SELECT CONCAT_WS(',', " + ", ".join("?" * count) + ")") for client in clients]
    for turn, (client, number) in enumerate(zip(clients, numbers, strict=True)):
        values = [None if at % 7 == turn else at for at in range(count)]
        told = ",".join(str(value) for value in values if value is not None)
        for types in (True, False):
            assert client.execute(number, values, types=types) == [(told,)]


def test_the_statement_is_prepared_again_in_the_state_it_was_prepared_in(
    pair: list[Client], narrow: Proxy, server: DatabaseServer, schema: str
) -> None:
    server.execute(f"CREATE TABLE {schema}.place (name VARCHAR(20))")
    server.execute(f"INSERT INTO {schema}.place VALUES ('{schema}')")
    client = pair[0]
    assert client.command(0x02, schema.encode())[0] == 0
    client.query("SET sql_mode = 'ANSI_QUOTES'")
    number = client.prepare('SELECT name, "name" FROM place')
    assert client.execute(number) == [(schema, schema)]
    client.command(0x02, b"app")
    client.query("SET sql_mode = ''")
    cut(narrow)
    assert client.one("SELECT CONCAT(DATABASE(), @@sql_mode)") == "app"
    assert client.execute(number) == [(schema, schema)]
    assert client.one("SELECT CONCAT(DATABASE(), @@sql_mode)") == "app"


def test_a_statement_outlives_its_connection(clients: list[Client], narrow: Proxy) -> None:
    number = clients[0].prepare("SELECT ?")
    clients[0].execute(number, [1])
    cut(narrow)
    assert clients[0].execute(number, [2], types=False) == [(2,)]


def test_in_a_transaction_on_a_new_connection(clients: list[Client], narrow: Proxy, table: str) -> None:
    number = clients[0].prepare(f"INSERT INTO {table} (value) VALUES (?)")
    cut(narrow)
    clients[0].query("BEGIN")
    clients[0].execute(number, [1])
    clients[0].execute(number, [2])
    clients[0].query("ROLLBACK")
    assert clients[1].one(f"SELECT COUNT(*) FROM {table}") == "0"


def test_what_cannot_be_prepared_again_is_told_and_spares_the_transaction(
    clients: list[Client], narrow: Proxy, server: DatabaseServer, table: str
) -> None:
    server.execute("CREATE TABLE app.passing (a INT)")
    number = clients[0].prepare("SELECT * FROM passing")
    cut(narrow)
    server.execute("DROP TABLE app.passing")
    clients[0].query("BEGIN")
    clients[0].query(f"INSERT INTO {table} (value) VALUES (7)")
    with pytest.raises(PreparedError) as caught:
        clients[0].execute(number)
    assert caught.value.code == 1146
    clients[0].query("COMMIT")
    assert clients[1].one(f"SELECT value FROM {table}") == "7"
    # As on a server, it works again when the table is back.
    server.execute("CREATE TABLE app.passing (a INT)")
    try:
        assert clients[0].execute(number) == []
    finally:
        server.execute("DROP TABLE app.passing")


def test_a_table_that_changes(clients: list[Client], server: DatabaseServer, table: str) -> None:
    server.execute(f"INSERT INTO app.{table} (value) VALUES (1)")
    numbers = [client.prepare(f"SELECT * FROM {table}") for client in clients]
    assert [client.execute(number) for client, number in zip(clients, numbers, strict=True)] == [[(1, 1, None)]] * 3
    server.execute(f"ALTER TABLE app.{table} ADD COLUMN more INT DEFAULT 5")
    assert [client.execute(number) for client, number in zip(clients, numbers, strict=True)] == [[(1, 1, None, 5)]] * 3


def test_unknown_statements(clients: list[Client], server: DatabaseServer) -> None:
    other = clients[1].prepare("SELECT 1")
    with Client(server.host, server.port) as direct:
        told = []
        for client in (clients[0], direct):
            errors = []
            number = client.prepare("SELECT 1")
            for attempt in (
                partial(client.execute, other + 1000),
                partial(client.reset, other + 1000),
                partial(client.fetch, other + 1000, 1),
                partial(client.fetch, number, 1),
                partial(client.prepare, "SELECT 1 FROM"),
            ):
                with pytest.raises(PreparedError) as caught:
                    attempt()
                errors.append(caught.value.args)
            client.close_statement(other + 1000)
            client.send_long(other + 1000, 0, b"nobody's")
            assert client.one("SELECT 1") == "1"
            told.append(errors)
    # Ids differ: 1421 names the statement's.
    assert [[error[0] for error in errors] for errors in told] == [[1243, 1243, 1243, 1421, 1064]] * 2
    assert told[0][:3] == told[1][:3]


def test_what_unknown_statements_leave(clients: list[Client], server: DatabaseServer) -> None:
    client = clients[0]
    with Client(server.host, server.port) as direct:
        left: list[list[tuple[str, list[bytes]]]] = []
        for session in (client, direct):
            left.append([])
            for attempt in (
                partial(session.execute, 77),
                partial(session.reset, 77),
                partial(session.fetch, 77, 1),
                partial(session.fetch, session.prepare("SELECT 1"), 1),
            ):
                for look in ("SHOW WARNINGS", "SELECT ROW_COUNT()", "SELECT @@error_count", "SHOW ERRORS"):
                    assert session.one("SELECT 1") == "1"
                    with pytest.raises(PreparedError):
                        attempt()
                    # Ids differ, and may in length: 1421 names the statement's.
                    rows = [re.sub(rb"(?s).The statement \(\d+\)", b"", row) for row in session.query(look)]
                    left[-1].append((look, rows))
    assert left[0] == left[1]


def test_ids_of_others_are_of_no_use(clients: list[Client]) -> None:
    number = clients[0].prepare("SELECT 'secret'")
    with pytest.raises(PreparedError) as caught:
        clients[1].execute(number)
    assert caught.value.code == 1243


def test_closed_and_reset(clients: list[Client]) -> None:
    client = clients[0]
    first, second = client.prepare("SELECT 1"), client.prepare("SELECT 1")
    client.close_statement(first)
    with pytest.raises(PreparedError):
        client.execute(first)
    assert client.execute(second) == [(1,)]
    client.reset(second)
    assert client.execute(second) == [(1,)]
    assert client.command(0x1F)[0] == 0
    with pytest.raises(PreparedError) as caught:
        client.execute(second)
    assert caught.value.code == 1243


def test_the_statement_prepared_last(clients: list[Client], server: DatabaseServer) -> None:
    """MariaDB's clients send PREPARE and EXECUTE at once; MySQL knows no such id, but its clients do not ask either."""
    client = clients[0]
    client.socket.sendall(packet(b"\x16SELECT ? * 2") + packet(client.execution(LAST, [21])))
    client.prepared()
    assert client.rows() == [(42,)]
    client.socket.sendall(packet(b"\x16SELECT FROM") + packet(client.execution(LAST)))
    with pytest.raises(PreparedError) as caught:
        client.prepared()
    assert caught.value.code == 1064
    with pytest.raises(PreparedError) as caught:
        client.rows()
    assert caught.value.code == 1243


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


# -- what holds the connection -----------------------------------------------------------------------------------------


def numbers_table(server: DatabaseServer, table: str) -> None:
    server.execute(f"INSERT INTO app.{table} (value) VALUES (1), (2), (3), (4), (5)")


def pins(proxy: Proxy, since: int) -> list[str]:
    """Give the reasons of the pins in the log, of which there is one at least."""
    proxy.wait_for_log(lambda line: "was pinned" in line["event"], after=since)
    return [line["event"].partition("Reason: ")[2] for line in proxy.log[since:] if "was pinned" in line["event"]]


CURSOR = "a prepared statement has an open cursor"
LONG_DATA = "a prepared statement was sent a part of its parameters (COM_STMT_SEND_LONG_DATA)"


@pytest.mark.parametrize("end", ["read", "reset", "close", "execute"])
def test_a_cursor_holds_the_connection_until_it_is_closed(
    pair: list[Client], narrow: Proxy, server: DatabaseServer, table: str, end: str
) -> None:
    numbers_table(server, table)
    client, other = pair
    since = len(narrow.log)
    number = client.prepare(f"SELECT value FROM {table} ORDER BY value")
    assert client.execute(number, cursor=True) == []
    assert client.fetch(number, 2) == [(1,), (2,)]
    # The one connection there is is taken: the other session has to wait.
    other.send(b"\x03SELECT 'other'")
    assert client.fetch(number, 1) == [(3,)]
    if end == "read":
        assert client.fetch(number, 5) == [(4,), (5,)]
    elif end == "reset":
        client.reset(number)
    elif end == "close":
        client.close_statement(number)
    else:
        assert len(client.execute(number)) == 5
    assert other.reply()[-2] == b"\x05other"
    if end != "close":
        assert len(client.execute(number)) == 5
    assert pins(narrow, since) == [CURSOR]


def test_two_cursors(pair: list[Client], server: DatabaseServer, table: str) -> None:
    """Of the same text: each has its own place in the rows."""
    numbers_table(server, table)
    client, other = pair
    sql = f"SELECT value FROM {table} ORDER BY value"
    first, second = client.prepare(sql), client.prepare(sql)
    client.execute(first, cursor=True)
    client.execute(second, cursor=True)
    assert client.fetch(first, 2) == [(1,), (2,)]
    assert client.fetch(second, 1) == [(1,)]
    client.close_statement(first)
    other.send(b"\x03SELECT 'other'")
    assert client.fetch(second, 1) == [(2,)]
    client.reset(second)
    assert other.reply()[-2] == b"\x05other"
    # A third session's copy was never theirs.
    number = other.prepare(sql)
    assert len(other.execute(number)) == 5


def test_a_cursor_on_nothing(pair: list[Client], table: str) -> None:
    client, other = pair
    number = client.prepare(f"UPDATE {table} SET value = 1")
    assert client.execute(number, cursor=True) == []
    assert other.one("SELECT 1") == "1"
    with pytest.raises(PreparedError) as caught:
        client.fetch(number, 1)
    assert caught.value.code == 1421


@pytest.mark.parametrize("end", ["execute", "fail", "reset", "close"])
def test_long_data_holds_the_connection_until_it_is_used(
    pair: list[Client], narrow: Proxy, table: str, end: str
) -> None:
    client, other = pair
    since = len(narrow.log)
    number = client.prepare(f"INSERT INTO {table} (text, id) VALUES (?, ?)")
    client.execute(number, ["first", 1])
    other.one("SELECT 1")
    client.send_long(number, 0, b"long ")
    client.send_long(number, 0, b"data")
    other.send(b"\x03SELECT 'other'")
    if end == "reset":
        client.reset(number)
    elif end == "close":
        client.close_statement(number)
    else:
        client.send(b"\x17" + number.to_bytes(4, "little") + b"\0\1\0\0\0\0\1\xfd\0\x08\0" + (
            (1 if end == "fail" else 2).to_bytes(8, "little")
        ))
        if end == "fail":
            with pytest.raises(PreparedError):
                client.rows()
        else:
            client.rows()
    assert other.reply()[-2] == b"\x05other"
    assert other.one(f"SELECT GROUP_CONCAT(text ORDER BY id) FROM {table}") == (
        "first,long data" if end == "execute" else "first"
    )
    if end != "close":
        client.execute(number, ["plain", 3])
        assert other.one(f"SELECT text FROM {table} WHERE id = 3") == "plain"
    assert pins(narrow, since) == [LONG_DATA]


def test_long_data_of_a_statement_that_cannot_be_prepared_again(pair: list[Client], server: DatabaseServer) -> None:
    client, other = pair
    server.execute("CREATE TABLE app.leaving (a INT)")
    number = client.prepare("SELECT * FROM leaving WHERE a = ?")
    server.execute("DROP TABLE app.leaving")
    client.send_long(number, 0, b"1")
    client.send_long(number, 0, b"2")
    # Nobody waits for an answer to these. The next that has one tells.
    with pytest.raises(PreparedError) as caught:
        client.execute(number, ["x"])
    assert caught.value.code == 1146
    assert other.one("SELECT 1") == "1"


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_connection_keeps_a_bounded_number(clients: list[Client], server: DatabaseServer) -> None:
    before = prepared_count(server)
    numbers = [clients[at % 3].prepare(f"SELECT {at}") for at in range(240)]
    # COM_STMT_CLOSE has no answer to wait for.
    until(lambda: prepared_count(server) <= before + 100, "more statements are kept")
    for at, number in enumerate(numbers):
        assert clients[at % 3].execute(number) == [(at,)]
    for at, number in enumerate(numbers):
        clients[at % 3].close_statement(number)
    # COM_STMT_CLOSE has no answer to wait for.
    until(lambda: prepared_count(server) <= before + 100, "more statements are kept")


def test_fewer_may_be_kept(server: DatabaseServer, folder: Path) -> None:
    before = prepared_count(server)
    with (
        Proxy(server, folder, max_connections=1, target_group={"max_prepared_statements": 4}) as proxy,
        Client(proxy.host, proxy.port) as client,
    ):
        numbers = [client.prepare(f"SELECT {at}") for at in range(10)]
        until(lambda: prepared_count(server) - before == 4, "more or fewer statements are kept")
        for at, number in enumerate(numbers):
            assert client.execute(number) == [(at,)]


def test_ints_are_read_back(clients: list[Client]) -> None:
    number = clients[0].prepare("SELECT CAST(? AS SIGNED)")
    assert clients[0].execute(number, [-5]) == [(-5,)]
    assert clients[0].types == [LONGLONG]
