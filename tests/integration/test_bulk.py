"""MariaDB's COM_STMT_BULK_EXECUTE: one statement with many rows of parameters, on connections that sessions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rdsproxy.protocol.framing import MAX_PAYLOAD, frame
from tests.integration.packets import BULK_OPERATIONS, DEPRECATE_EOF, SESSION_TRACK, error_code
from tests.integration.prepared import LAST, Client, Indicator, PreparedError, types_of
from tests.integration.proxy import Proxy, cut, rows
from tests.servers import DatabaseServer

BULK = 0xFA
TYPES = types_of([0, ""])
SWAPPED = types_of(["", 0])
MALFORMED, ARGUMENTS, NOT_PREPARED, UNKNOWN_COMMAND = 1835, 1210, 1295, 1047

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_mysql = pytest.mark.parametrize("database", ["mysql"], indirect=True)
FORMS = {"plain": 0, "no EOF": DEPRECATE_EOF, "trackers": DEPRECATE_EOF | SESSION_TRACK}


def client_of(to: Proxy | DatabaseServer, **more: Any) -> Client:
    return Client(to.host, to.port, extended=BULK_OPERATIONS, **more)


@pytest.fixture
def clients(narrow: Proxy) -> Iterator[list[Client]]:
    """Three sessions on one connection; nothing pins them."""
    begin = len(narrow.log)
    with ExitStack() as stack:
        yield [stack.enter_context(client_of(narrow)) for _ in range(3)]
    assert not [line for line in narrow.log[begin:] if "pinned" in str(line.get("event"))]


def content(server: DatabaseServer, table: str) -> list[tuple[Any, ...]]:
    with server.admin() as admin:
        return rows(admin, f"SELECT value, text FROM app.{table} ORDER BY id")


# -- what is offered ---------------------------------------------------------------------------------------------------


@on_mysql
def test_mysql_does_not_know_it(narrow: Proxy, server: DatabaseServer) -> None:
    for to in (narrow, server):
        with client_of(to) as client:
            number = client.prepare("DO ?")
            assert error_code(client.command(BULK, client.bulk(number, [[1]], TYPES[:2])[1:])) == UNKNOWN_COMMAND
            assert client.one("SELECT 1") == "1"


@on_mariadb
def test_who_did_not_ask_for_it(narrow: Proxy, server: DatabaseServer) -> None:
    for to in (narrow, server):
        with Client(to.host, to.port) as client:
            number = client.prepare("DO ?")
            assert error_code(client.command(BULK, client.bulk(number, [[1]], TYPES[:2])[1:])) == NOT_PREPARED
            assert client.one("SELECT 1") == "1"


# -- as on a connection of one's own -----------------------------------------------------------------------------------


READ_BEHIND = ("SHOW WARNINGS", "SELECT ROW_COUNT()", "SELECT @@warning_count", "SELECT LAST_INSERT_ID()")
BY_ROW = (6, 7, 9)
"""Which of the bulks below are not run at once."""


@on_mariadb
@pytest.mark.parametrize("form", FORMS)
def test_every_answer_is_the_server_s_own(server: DatabaseServer, narrow: Proxy, table: str, form: str) -> None:
    """Between any two commands another session uses the connection, and leaves there what it can."""
    server.execute(f"ALTER TABLE app.{table} ADD UNIQUE (value), MODIFY text VARCHAR(5) DEFAULT 'none'")
    server.execute("CREATE OR REPLACE TABLE app.others (id INT PRIMARY KEY AUTO_INCREMENT, value INT)")
    with ExitStack() as stack:
        through, direct = (stack.enter_context(client_of(to, flags=FORMS[form])) for to in (narrow, server))
        other = stack.enter_context(client_of(narrow))
        insert = other.prepare("INSERT INTO others (value) VALUES (?)")

        def disturb() -> None:
            other.execute_bulk(insert, [[1], [2], [3]], TYPES[:2])
            other.query("SET time_zone = '+01:00'")
            other.query("SELECT CAST('x' AS SIGNED)")

        for behind_it in READ_BEHIND:
            found, stored = _answers(through, table, behind_it, disturb), content(server, table)
            server.execute(f"TRUNCATE TABLE app.{table}")
            direct_answers = _answers(direct, table, behind_it, lambda: None)
            for number, (answer, expected) in enumerate(zip(found, direct_answers, strict=True)):
                # Of the rows of an UPDATE or DELETE MariaDB counts the last one alone, which its answer does not tell.
                gone = number // 2 in BY_ROW and "ROW_COUNT" in behind_it and error_code(answer[0]) == 1105
                assert gone or answer == expected, (number, behind_it)
            assert stored == content(server, table)
            server.execute(f"TRUNCATE TABLE app.{table}")
    server.execute("DROP TABLE app.others")


def _answers(client: Client, table: str, behind_it: str, disturb: Callable[[], None]) -> list[list[bytes]]:
    client.query("SET sql_mode = ''")
    insert = f"INSERT INTO {table} (value, text) VALUES (?, ?)"
    plain, returning = client.prepare(insert), client.prepare(f"{insert} RETURNING id, value, text")
    update = client.prepare(f"UPDATE {table} SET text = ? WHERE value = ?")
    delete = client.prepare(f"DELETE FROM {table} WHERE value = ?")
    either = client.prepare(f"{insert} ON DUPLICATE KEY UPDATE text = VALUES(text)")
    client.prepare(insert.replace("INSERT", "  replace"))
    answers: list[list[bytes]] = []
    bulks = [
        client.bulk(plain, [[1, "a"], [2, None], [3, Indicator.DEFAULT]], TYPES),
        client.bulk(plain, [[4, "d"], [5, "e"]]),
        client.bulk(plain, [[6, "too long"], [7, "longer still"]]),
        client.bulk(plain, [[8, "h"], [4, "there already"], [9, "i"]]),
        client.bulk(returning, [[10, "j"], [None, "k"], [12, "l"]], TYPES),
        client.bulk(returning, [[13, "m"], [10, "there already"]]),
        client.bulk(update, [["A", 1], ["far too long", 2], ["Z", 999]], SWAPPED),
        client.bulk(update, [["B", 1], [Indicator.IGNORE, 2]]),
        client.bulk(either, [[1, "x"], [14, "y"]], TYPES),
        client.bulk(delete, [[12], [13], [999]], TYPES[:2]),
        client.bulk(LAST, [[15, "z"], [1, "far too long"]], TYPES),
    ]
    for payload in bulks:
        disturb()
        client.send(payload)
        answers.append(client.reply_to_execute(cursor=False))
        disturb()
        # Counts that are told from memory may have fewer digits in their definitions.
        answers.append([one for one in client.query(behind_it) if not one.startswith(b"\x03def")])
    return answers


@on_mariadb
def test_types_told_once_are_told_again_elsewhere(clients: list[Client], table: str) -> None:
    """Told by a bulk or by an execution, for the one or the other."""
    sql = f"INSERT INTO {table} (value, text) VALUES (?, ?)"
    numbers = [client.prepare(sql) for client in clients]
    clients[0].execute_bulk(numbers[0], [[1, "one"], [2, "two"]], TYPES)
    clients[1].execute_bulk(numbers[1], [["3", 3], ["4", 4]], SWAPPED)
    clients[0].execute_bulk(numbers[0], [[5, "five"], [None, "six"]])
    clients[1].execute(numbers[1], ["7", 7], types=False)
    clients[2].execute(numbers[2], [8, "eight"])
    clients[2].execute_bulk(numbers[2], [[9, "nine"]])
    clients[0].execute(numbers[0], [10, "ten"], types=False)
    assert clients[0].one(f"SELECT GROUP_CONCAT(IFNULL(value, 'null'), text ORDER BY id) FROM {table}") == (
        "1one,2two,33,44,5five,nullsix,77,8eight,9nine,10ten"
    )


@on_mariadb
def test_in_a_transaction_on_a_new_connection(
    clients: list[Client], narrow: Proxy, server: DatabaseServer, table: str
) -> None:
    client = clients[0]
    number = client.prepare(f"INSERT INTO {table} (value, text) VALUES (?, ?)")
    client.execute_bulk(number, [[1, "one"]], TYPES)
    for end in ("ROLLBACK", "COMMIT"):
        cut(narrow)
        client.query("BEGIN")
        client.execute_bulk(number, [[2, "two"], [3, "three"]])
        with pytest.raises(PreparedError) as caught:
            client.execute_bulk(number, [[4, "four"], [5, "x" * 201]])
        assert caught.value.code == 1406
        client.query(end)
    assert content(server, table) == [(1, "one"), (2, "two"), (3, "three")]


@on_mariadb
def test_the_statement_prepared_last(clients: list[Client], server: DatabaseServer, table: str) -> None:
    """MariaDB's clients send PREPARE and the bulk at once."""
    client = clients[0]
    for sql, refused_by in ((f"INSERT INTO {table} (value, text) VALUES (?, ?)", 0), ("INSERT INTO", 1064)):
        client.send(b"\x16" + sql.encode())
        client.send(client.bulk(LAST, [[1, "one"], [2, "two"]], TYPES))
        if not refused_by:
            client.prepared()
            assert client.packet()[1][:2] == b"\0\2"
            continue
        with pytest.raises(PreparedError) as caught:
            client.prepared()
        assert caught.value.code == refused_by
        assert error_code(client.packet()[1]) == 1243
    assert content(server, table) == [(1, "one"), (2, "two")]


@on_mariadb
def test_statements_without_parameters(clients: list[Client], server: DatabaseServer) -> None:
    """The server refuses them. What they would have read is not looked for, and cannot be missed."""
    client, other = clients[:2]
    with client_of(server) as direct:
        for session in (client, direct):
            number = session.prepare("SELECT ROW_COUNT(), FOUND_ROWS()")
            session.query("SELECT CAST('1x' AS SIGNED); SELECT SQL_CALC_FOUND_ROWS 1")
            other.query("SELECT 2")
            with pytest.raises(PreparedError) as caught:
                session.execute_bulk(number, [[1]], TYPES[:2])
            assert caught.value.code == NOT_PREPARED


# -- packets out of the ordinary ---------------------------------------------------------------------------------------


@on_mariadb
def test_more_than_one_packet(clients: list[Client], server: DatabaseServer, table: str) -> None:
    server.execute(f"ALTER TABLE app.{table} MODIFY text LONGTEXT")
    client, other = clients[:2]
    number = client.prepare(f"INSERT INTO {table} (value, text) VALUES (?, ?)")
    for types in (TYPES, b""):
        client.socket.sendall(frame(client.bulk(number, [[row, "x" * 1_000_000] for row in range(20)], types)))
        sequence, answer = client.packet()
        assert (sequence, answer[:2]) == (2, b"\0\x14")
        assert other.one("SELECT 'other'") == "other"
    assert client.one(f"SELECT CONCAT(COUNT(*), ' ', SUM(LENGTH(text))) FROM {table}") == "40 40000000"


@on_mariadb
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("spare", [1, 4, 5])
def test_types_that_make_one_more_packet(
    clients: list[Client], narrow: Proxy, server: DatabaseServer, table: str, bulk: bool, spare: int
) -> None:
    """Told again they add 4 bytes. The client's answer is numbered behind what it has sent itself."""
    server.execute(f"ALTER TABLE app.{table} MODIFY text LONGTEXT")
    client = clients[0]
    number = client.prepare(f"INSERT INTO {table} (value, text) VALUES (?, ?) RETURNING value, LENGTH(text)")

    def payload(value: int, text: str, types: bytes = b"") -> bytes:
        if bulk:
            return client.bulk(number, [[value, text]], types)
        return client.execution(number, [value, text], types=bool(types))

    client.send(payload(0, "", TYPES))
    client.reply_to_execute(cursor=False)
    size = MAX_PAYLOAD - spare - len(payload(0, "x" * 0x10000)) + 0x10000
    for turn in range(2):
        if not turn:
            cut(narrow)
        large = payload(turn, "x" * size)
        assert len(large) == MAX_PAYLOAD - spare
        client.send(large)
        *_, row, _ = client.reply_to_execute(cursor=False)  # which asserts the numbers
        assert row == b"\0\0" + turn.to_bytes(4, "little") + size.to_bytes(4, "little")
    assert client.one(f"SELECT COUNT(*) FROM {table}") == "3"


@on_mariadb
def test_malformed(clients: list[Client], server: DatabaseServer, table: str) -> None:
    """Refused as the server refuses it, and forgotten."""
    with client_of(server) as direct:
        for client in (direct, clients[0]):
            number = client.prepare(f"INSERT INTO {table} (value, text) VALUES (?, ?)")
            good = client.bulk(number, [[1, "one"], [2, "two"]], TYPES)
            head, flags = good[:5], good[5:7]
            untyped = head + b"\0\0" + good[7 + len(TYPES) :]
            told = []
            for payload in (
                untyped,
                *(good[:size] for size in range(1, 7 + len(TYPES) + 1)),
                head + b"\x40\x00" + good[7:],
                head + b"\xc0\x00" + good[7:],
                head + b"\x80\x01" + good[7:],
                head + flags + b"\xcc\0\xcc\0" + good[7 + len(TYPES) :],
                head + flags + TYPES + b"\x07" + good[8 + len(TYPES) :],
                client.bulk(number, [], TYPES),
                client.bulk(number + 1000, [[1, ""]], TYPES),
                client.bulk(client.prepare("SELECT ?"), [[1]], TYPES[:2]),
                client.bulk(client.prepare("SET @x = ?"), [[1]], TYPES[:2]),
                client.bulk(client.prepare(f"INSERT INTO {table} (value) VALUES (9)"), []),
            ):
                told.append(error_code(client.command(payload[0], payload[1:])))
                assert client.one("SELECT 'goes on'") == "goes on"
            client.execute_bulk(number, [[3, "three"]], TYPES)
            assert set(told) == {MALFORMED, ARGUMENTS, NOT_PREPARED, 1243}
            assert told[1:7] == [MALFORMED] * 6
            if client is direct:
                expected = told
    assert told == expected
    assert content(server, table) == [(3, "three")] * 2


@on_mariadb
def test_types_that_the_server_has_not_taken_are_nobody_s(
    clients: list[Client], narrow: Proxy, server: DatabaseServer, table: str
) -> None:
    """Sessions that have told the same ones share a copy."""
    sql = f"INSERT INTO {table} (value, text) VALUES (?, ?)"
    careless, careful = clients[:2]
    first, second = careless.prepare(sql), careful.prepare(sql)
    careful.execute_bulk(second, [[1, "one"]], TYPES)
    cut(narrow)
    for flags, error in ((b"\x80\0", ARGUMENTS), (b"\xc0\0", NOT_PREPARED)):
        refused = careless.bulk(first, [[2, "two"]], TYPES)
        # An indicator that there is none of: the types before it have been taken.
        refused = refused[1:5] + flags + refused[7:11] + b"\x07" + refused[12:]
        assert error_code(careless.command(BULK, refused)) == error
    careless.execute_bulk(first, [["4", 4]], SWAPPED)
    refused = careless.bulk(first, [[2, "two"]], TYPES)
    assert error_code(careless.command(BULK, refused[1:5] + b"\xc0\0" + refused[7:])) == NOT_PREPARED
    careless.execute_bulk(first, [["5", 5]])
    careful.execute_bulk(second, [[3, "three"]])
    assert content(server, table) == [(1, "one"), (4, "4"), (5, "5"), (3, "three")]
