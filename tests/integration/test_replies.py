"""Replies, packet by packet: a client gets what the server itself would have sent to it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest
from pymysql.constants import CLIENT

from tests.integration.packets import DEPRECATE_EOF, SESSION_TRACK, Packets, error_code
from tests.integration.proxy import NATIVE, Proxy, one, run

if TYPE_CHECKING:
    from tests.servers import DatabaseServer

STATE_CHANGED = 0x4000

# What a client may offer; each changes the form of replies, or what they say.
FLAGS = {
    "": 0,
    "eof": DEPRECATE_EOF,
    "track": SESSION_TRACK,
    "both": DEPRECATE_EOF | SESSION_TRACK,
    "multi": CLIENT.MULTI_STATEMENTS,
    "multi-both": CLIENT.MULTI_STATEMENTS | DEPRECATE_EOF | SESSION_TRACK,
    "found-rows": CLIENT.FOUND_ROWS,
}

# {t} is a table with rows 1 to 3 and an odd one.
STATEMENTS = [
    "SELECT 1",
    "SELECT 1, NULL, '', 'text', 1.5, NOW() > 0",
    "SELECT * FROM {t} ORDER BY id",
    "SELECT * FROM {t} WHERE id < 0",
    "SELECT REPEAT('x', 250), REPEAT('x', 251), REPEAT('x', 65535), REPEAT('x', 65536), REPEAT('y', 300000)",
    "SELECT " + ", ".join(str(number) for number in range(300)),
    "SELECT " + ", ".join("NULL" for _ in range(251)),
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, REPEAT('z', i) FROM n",
    "SELECT '\\xff\\xfe', X'FE', X'FF00', X'FB'",
    "SELECT X'FE00000000000000000000' AS a",
    "SELECT CAST('1x' AS SIGNED)",
    "SELECT * FROM no_such_table",
    "SELECTX",
    "",
    ";",
    "SELECT (SELECT id FROM {t})",
    "SELECT id, EXP(id * 1000) FROM {t}",
    "INSERT INTO {t} (value) VALUES (1), (2)",
    "UPDATE {t} SET value = value + 1",
    "UPDATE {t} SET value = value",
    "DELETE FROM {t} WHERE id > 3",
    "SET time_zone = '+01:00'",
    "SET @x = 1",
    "BEGIN",
    "INSERT INTO {t} (value) VALUES (3)",
    "SELECT COUNT(*) FROM {t}",
    "ROLLBACK",
    "SHOW VARIABLES LIKE 'version_c%'",
    "SHOW TABLES LIKE 'no such table'",
    "SHOW WARNINGS",
    "DESCRIBE {t}",
    "EXPLAIN SELECT 1",
    "CHECK TABLE {t}",
    "CALL replies_several()",
    "CALL replies_failing()",
    "CALL replies_none()",
    "SELECT 1; SELECT 2; SELECT 3 WHERE FALSE",
    "SELECT 1; UPDATE {t} SET value = 9; SELECT 2; SET @y = 1; SELECT bogus; SELECT 3",
    "DO 1; DO 2",
    "CALL replies_several(); CALL replies_none(); SELECT 4",
    "USE app",
    "ALTER TABLE {t} COMMENT 'changed'",
    "LOCK TABLES {t} READ",
    "INSERT INTO {t} (value) VALUES (1)",
    "UNLOCK TABLES",
    "PREPARE s FROM 'SELECT ? + 1'",
    "EXECUTE s USING @x",
    "DEALLOCATE PREPARE s",
    "SELECT SLEEP(0)",
    "KILL QUERY 4000000000",
    "SELECT 'after all'",
]


@pytest.fixture(scope="module", autouse=True)
def routines(server: DatabaseServer) -> None:
    """What the statements above call."""
    server.execute(
        "DROP PROCEDURE IF EXISTS app.replies_several",
        "CREATE PROCEDURE app.replies_several() BEGIN SELECT 1; SELECT 2, 3; SELECT 4 FROM DUAL WHERE FALSE; END",
        "DROP PROCEDURE IF EXISTS app.replies_failing",
        "CREATE PROCEDURE app.replies_failing() BEGIN SELECT 1; SELECT bogus; SELECT 2; END",
        "DROP PROCEDURE IF EXISTS app.replies_none",
        "CREATE PROCEDURE app.replies_none() SET @z = 1",
    )


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
def test_every_packet(proxy: Proxy, server: DatabaseServer, table: str, flags: int) -> None:
    """The reply to each statement is the server's own, except for trackers: the proxy asks for more of them."""
    fill = f"REPLACE INTO {table} (id, value, text) VALUES (1, 1, 'a'), (2, NULL, ''), (3, -1, 'ä')"
    wrong = []
    found: dict[str, list[bytes]] = {}
    expected: dict[str, list[bytes]] = {}
    for host, port, replies in (
        (server.host, server.port, expected),
        (proxy.host, proxy.port, found),
    ):
        server.execute(f"TRUNCATE app.{table}")
        with server.admin("app") as admin:
            run(admin, fill)
        with Packets(host, port, flags=flags) as client:
            client.query("SET NAMES utf8mb4, sql_mode = ''")
            for number, statement in enumerate(STATEMENTS):
                reply = client.query(statement.format(t=table))
                replies[f"{number}: {statement[:100]}"] = comparable(reply, flags)
    for statement, reply in expected.items():
        if found[statement] != reply:
            wrong.append((statement, reply[:12], found[statement][:12]))
    assert not wrong, "\n".join(map(str, wrong))


def comparable(reply: list[bytes], flags: int) -> list[bytes]:
    """Blank what may differ: trackers, and the status flags that the EOF behind the columns tells ahead of time."""
    out = []
    eofs = 0
    for payload in reply:
        if len(payload) == 5 and payload[0] == 0xFE and not flags & DEPRECATE_EOF:
            eofs += 1
            if eofs % 2:
                out.append(b"EOF behind columns")
                continue
        elif payload[0] == 0xFF:
            eofs = 0
        out.append(without_trackers(payload))
    return out


def without_trackers(payload: bytes) -> bytes:
    """Take session trackers, and the flag that announces them, out of an OK; blank what belongs to the connection."""
    if payload[0] == 0xFF:
        return re.sub(rb"statement \(\d+\)", b"statement (N)", payload)
    if payload[0] not in (0x00, 0xFE) or len(payload) < 7 or len(payload) > 1000:
        return payload
    position = 1
    for _ in range(2):
        position += {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(payload[position], 1)
    status = int.from_bytes(payload[position : position + 2], "little")
    head = payload[:position] + (status & ~STATE_CHANGED).to_bytes(2, "little") + payload[position + 2 : position + 4]
    rest = payload[position + 4 :]
    if not status & STATE_CHANGED:
        return head + rest.removesuffix(b"\0") if rest == b"\0" else head + rest
    info = rest[: 1 + rest[0]] if rest else b""
    return head + (b"" if info == b"\0" else info)


def test_trackers_reach_a_client_that_asks_for_them(proxy: Proxy) -> None:
    with Packets(proxy.host, proxy.port, flags=SESSION_TRACK) as client:
        (reply,) = client.query("SET time_zone = '+07:00'")
        assert b"time_zone\x06+07:00" in reply
        (reply,) = client.query("USE app")
        assert b"\x01\x04\x03app" in reply
    with Packets(proxy.host, proxy.port) as client:
        for statement in ("SET time_zone = '+07:00'", "USE app", "BEGIN", "SET @x = 1"):
            (reply,) = client.query(statement)
            assert len(reply) == 7, "an OK without trackers"
            assert not int.from_bytes(reply[3:5], "little") & STATE_CHANGED


@pytest.mark.parametrize("size", [0xFFFFFF - 5, 0xFFFFFF - 4, 0xFFFFFF - 3, 0xFFFFFF, 0xFFFFFF + 1, 2 * 0xFFFFFF - 4])
def test_rows_around_sixteen_megabytes(proxy: Proxy, size: int) -> None:
    """A row of 0xFFFFFF bytes and more comes in several packets, the last of them maybe empty."""
    with proxy.connect() as session:
        value = one(session, f"SELECT REPEAT('a', {size - 9})") + one(session, f"SELECT REPEAT('b', {9})")
        assert len(value) == size
        assert value.count("a") == size - 9
        assert one(session, f"SELECT LENGTH('{'c' * (size - 20)}')") == size - 20


def test_multi_statements_are_the_client_s_own_choice(narrow: Proxy) -> None:
    """On one and the same connection the server refuses a second statement to who did not ask for them."""
    with (
        Packets(narrow.host, narrow.port, flags=CLIENT.MULTI_STATEMENTS) as trusting,
        Packets(narrow.host, narrow.port) as careful,
    ):
        for _ in range(3):
            assert [payload for payload in trusting.query("SELECT 1; SELECT 2") if error_code(payload)] == []
            (refusal,) = careful.query("SELECT 1; SELECT 2")
            assert error_code(refusal) == 1064
        # COM_SET_OPTION changes that, for the session alone.
        assert error_code(careful.command(0x1B, b"\0\0")) == 0
        assert error_code(trusting.command(0x1B, b"\1\0")) == 0
        for _ in range(3):
            assert error_code(careful.query("SELECT 1; SELECT 2")[0]) == 0
            assert error_code(trusting.query("SELECT 1; SELECT 2")[0]) == 1064
        assert error_code(careful.command(0x1B, b"\2\0")) == 1047
        assert error_code(careful.query("SELECT 1; SELECT 2")[0]) == 0


COMMANDS = {
    "ping": b"\x0e",
    "init db": b"\x02app",
    "init unknown db": b"\x02no_such_schema",
    "option off": b"\x1b\1\0",
    "option on": b"\x1b\0\0",
    "reset": b"\x1f",
    "execute nothing": b"\x17\x01\0\0\0\0\x01\0\0\0",
    "reset nothing": b"\x1a\x01\0\0\0",
    "fetch nothing": b"\x1c\x01\0\0\0\x01\0\0\0",
}


@pytest.mark.parametrize("flags", [0, DEPRECATE_EOF], ids=["eof packets", "no eof packets"])
def test_small_commands(proxy: Proxy, server: DatabaseServer, flags: int) -> None:
    with (
        Packets(proxy.host, proxy.port, flags=flags) as client,
        Packets(server.host, server.port, flags=flags) as judge,
    ):
        wrong = []
        for _, (name, payload) in itertools.product(range(2), COMMANDS.items()):
            answers: list[tuple[int, bytes]] = []
            for side in (client, judge):
                side.send(payload)
                sequence, answer = side.packet()
                # Not the count of warnings: the server repeats that of a command before.
                shown = without_trackers(answer)
                answers.append((sequence, shown if shown[0] == 0xFF else shown[:1] if shown[0] == 0xFE else shown[:5]))
            if answers[0] != answers[1]:
                wrong.append((name, *answers))
        assert not wrong, "\n".join(map(str, wrong))
        client.send(b"\x09")
        sequence, text = client.packet()
        assert sequence == 1
        assert b"Uptime: " in text
        assert error_code(client.query("SELECT 1")[0]) == 0


@pytest.mark.parametrize("flags", [0, DEPRECATE_EOF], ids=["eof packets", "no eof packets"])
def test_field_list(proxy: Proxy, server: DatabaseServer, table: str, flags: int) -> None:
    with (
        Packets(proxy.host, proxy.port, flags=flags) as client,
        Packets(server.host, server.port, flags=flags) as judge,
    ):
        for name in (table, "no_such_table"):
            replies = []
            for side in (client, judge):
                side.send(b"\x04" + name.encode() + b"\0")
                reply = [side.packet()]
                while reply[-1][1][0] not in (0xFE, 0xFF):
                    reply.append(side.packet())
                replies.append([(sequence, without_trackers(payload)) for sequence, payload in reply])
            assert replies[0] == replies[1]
        assert error_code(client.query("SELECT 1")[0]) == 0


@pytest.mark.parametrize("flags", [0, DEPRECATE_EOF], ids=["eof packets", "no eof packets"])
def test_prepared_statements(proxy: Proxy, server: DatabaseServer, flags: int) -> None:
    """Prepare, execute with a cursor, fetch, long data, reset, close: as the server answers itself."""
    sides = []
    for host, port in ((proxy.host, proxy.port), (server.host, server.port)):
        log: list[object] = []
        with Packets(host, port, flags=flags) as client:
            for sql in ("SELECT ?, 2 UNION ALL SELECT 3, 4 UNION ALL SELECT 5, 6", "DO 1", "SELECT bogus", "SELECT 7"):
                client.send(b"\x16" + sql.encode())
                head = client.packet()
                log.append((head[0], head[1][:1] + head[1][5:] if head[1][0] == 0 else head[1]))
                if head[1][0] == 0xFF:
                    continue
                number = head[1][1:5]
                columns, parameters = (int.from_bytes(head[1][at : at + 2], "little") for at in (5, 7))
                for count in (parameters, columns):
                    log += [client.packet() for _ in range(count + (0 if flags or not count else 1))]
                if parameters:
                    client.send(b"\x18" + number + b"\0\0" + b"long ")
                    client.send(b"\x18" + number + b"\0\0" + b"data")
                bound = (b"\0" + b"\x01\xfe\0") if parameters else b""
                for cursor in (0, 1):
                    client.send(b"\x17" + number + bytes((cursor,)) + b"\1\0\0\0" + bound)
                    reply = client.reply_to_execute(cursor=bool(cursor))
                    log += [(len(reply), [without_trackers(payload) for payload in reply])]
                    if cursor and columns:
                        for _ in range(3):
                            client.send(b"\x1c" + number + b"\2\0\0\0")
                            fetched = [client.packet()]
                            while fetched[-1][1][0] not in (0xFE, 0xFF):
                                fetched.append(client.packet())
                            log += [(sequence, without_trackers(payload)) for sequence, payload in fetched]
                client.send(b"\x1a" + number)
                log.append(client.packet())
                client.send(b"\x19" + number)
                client.send(b"\x17" + number + b"\0\1\0\0\0")
                answer = client.packet()
                log.append((answer[0], error_code(answer[1])))
        sides.append(log)
    assert sides[0] == sides[1]
    with proxy.connect(NATIVE) as later:
        assert one(later, "SELECT 1") == 1
