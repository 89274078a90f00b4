"""Clients that compress: real drivers, and frames of our own."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest

from rdsproxy.protocol.compression import HEADER_SIZE, Algorithm, Frames, Zlib, Zstd
from rdsproxy.protocol.framing import frame
from tests.integration.node.install import DriversMissingError
from tests.integration.node.process import Node
from tests.integration.packets import BULK_OPERATIONS, DEPRECATE_EOF, SESSION_TRACK, Packets, error_code
from tests.integration.prepared import Client, types_of
from tests.integration.proxy import SHA2, Proxy, one, run
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from pathlib import Path

COMPRESS = 1 << 5
ZSTD = 1 << 26
QUERY = b"\x03"
PING = frame(b"\x0e")
OK = 0x00
LARGE = 1 << 20  # bytes
BOMB = zlib.compress(bytes(LARGE))


class Compressed:
    """A client that shows each frame."""

    def __init__(self, proxy: Proxy, algorithm: Algorithm, *, extended: int = 0) -> None:
        flags = (COMPRESS if isinstance(algorithm, Zlib) else ZSTD) | DEPRECATE_EOF | SESSION_TRACK
        self.packets = Packets(proxy.host, proxy.port, flags=flags, extended=extended)
        self.algorithm = algorithm
        self.frames = Frames(algorithm)
        self.read: Any = self.packets._read
        self.received = 0
        """Bytes on the wire."""

    def frame(self) -> tuple[int, int, bytes]:
        """Give the next frame: its sequence id, the length before compression, what is in it."""
        header = self.read(HEADER_SIZE)
        body = self.read(int.from_bytes(header[:3], "little"))
        size = int.from_bytes(header[4:], "little")
        self.received += HEADER_SIZE + len(body)
        return header[3], size, self.algorithm.decompress(body, size) if size else body

    def reply(self, last: bytes = b"\xfe") -> tuple[list[int], bytes]:
        """Give the numbers of the frames of a reply, up to the packet that begins with `last`, and all in it."""
        numbers, data = [], b""
        while True:
            sequence, _, content = self.frame()
            numbers.append(sequence)
            data += content
            position = 0
            while position + 4 <= len(data):
                end = position + 4 + int.from_bytes(data[position : position + 3], "little")
                if end == len(data) and data[position + 4 : position + 5] == last:
                    return numbers, data
                position = end

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.packets.socket.sendall(data)

    def command(self, payload: bytes) -> None:
        """Send a command."""
        self.frames.sequence = 0
        self.send(self.frames.wrap(frame(payload)))


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Compressed]:
    """A client that compresses by zlib."""
    client = Compressed(proxy, Zlib())
    yield client
    client.packets.close()


def test_frames(client: Compressed) -> None:
    """Short ones are as they are; a reply is numbered behind its command; long ones are worth it."""
    client.command(b"\x0e")
    sequence, size, content = client.frame()
    assert (sequence, size, content[4]) == (1, 0, OK)
    client.command(QUERY + b"SELECT REPEAT('x', 100000)")
    numbers, data = client.reply()
    assert numbers == list(range(1, 1 + len(numbers)))
    assert len(data) > 100_000 > 10 * client.received


def test_a_command_in_several_frames(client: Compressed) -> None:
    packet = frame(QUERY + b"SELECT LENGTH('" + b"x" * 500 + b"')")
    client.frames.sequence = 0
    client.send(b"".join(client.frames.wrap(packet[start : start + 100]) for start in range(0, len(packet), 100)))
    numbers, data = client.reply()
    assert numbers[0] == client.frames.sequence == 6
    assert b"\x03500" in data


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("algorithm", [Zlib(), Zstd(0)], ids=["zlib", "zstd"])
def test_a_bulk(proxy: Proxy, server: DatabaseServer, table: str, algorithm: Algorithm) -> None:
    """The second is of more than one packet, in many frames."""
    server.execute(f"ALTER TABLE app.{table} MODIFY text LONGTEXT")
    client = Compressed(proxy, algorithm, extended=BULK_OPERATIONS)
    client.command(b"\x16" + f"INSERT INTO {table} (value, text) VALUES (?, ?)".encode())
    number = int.from_bytes(client.frame()[2][5:9], "little")
    bulks: list[list[list[int | str | None]]] = [[[1, "one"], [2, None]], [[n, "x" * 1_000_000] for n in range(17)]]
    for rows in bulks:
        client.command(Client.bulk(number, rows, types_of([1, ""])))
        assert client.frame()[2][4:6] == bytes((OK, len(rows)))
    client.command(QUERY + f"SELECT SUM(LENGTH(text)) FROM {table}".encode())
    assert b"\x0817000003" in client.reply()[1]
    client.packets.close()


def test_byte_by_byte(client: Compressed) -> None:
    client.packets.socket.setsockopt(6, 1, 1)  # TCP_NODELAY
    for byte in client.frames.wrap(frame(QUERY + b"SELECT 'long enough to be compressed: aaaaaaaaaaaaaaaaaaaaa'")):
        client.send(bytes((byte,)))
    assert b"long enough" in client.reply()[1]


def test_commands_sent_ahead(client: Compressed) -> None:
    """Each reply is numbered after its own command, whether frames or one frame carry them."""
    client.send(b"".join(Frames(Zlib()).wrap(frame(QUERY + b"SELECT %d" % number)) for number in range(20)))
    for number in range(20):
        numbers, data = client.reply()
        assert numbers[0] == 1
        assert b"\x01%d" % number in data or b"\x02%d" % number in data
    client.send(Frames(Zlib()).wrap(PING + frame(QUERY + b"SELECT 'together'")))
    assert client.frame()[2][4] == OK
    assert b"together" in client.reply()[1]


@pytest.mark.parametrize(
    "said",
    [
        b"\x05\0\0\x01\0\0\0" + PING,
        b"\x05\0\0\0\x64\0\0" + PING,
        len(BOMB).to_bytes(3, "little") + b"\0\x64\0\0" + BOMB,
    ],
    ids=["out of order", "not compressed", "more than it says"],
)
def test_broken_frames(client: Compressed, said: bytes) -> None:
    """Told so, and closed."""
    client.send(said)
    assert error_code(client.frame()[2][4:]) == 1156
    with pytest.raises(EOFError):
        client.frame()


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_connector_python(proxy: Proxy, certificates: Certificates, table: str, folder: Path, with_tls: bool) -> None:
    tls: dict[str, Any] = {"ssl_ca": str(certificates.ca)} if with_tls else {"ssl_disabled": True}
    settings: dict[str, Any] = {"user": SHA2.name, "password": SHA2.password, "database": "app", **tls}
    file = folder / "rows.txt"
    file.write_text("".join(f"{number}\t{'text ' * 10}\n" for number in range(5000)))
    with (
        mysql.connector.connect(
            host=proxy.host, port=proxy.port, compress=True, allow_local_infile=True, use_pure=True, **settings
        ) as session,
        session.cursor() as cursor,
    ):
        text = os.urandom(LARGE // 2).hex()
        for value in ("short", text, "y" * LARGE):
            cursor.execute("SELECT %s, %s", (value, 1))
            assert cursor.fetchall() == [(value, 1)]
        cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} (value, text)")
        cursor.execute(f"SELECT COUNT(*), SUM(value) FROM {table}")
        assert cursor.fetchall() == [(5000, 5000 * 4999 // 2)]
        session.cmd_reset_connection()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_node(proxy: Proxy, certificates: Certificates, table: str, with_tls: bool) -> None:
    try:
        node = Node()
    except DriversMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with node:
        for driver in ("mysql2", "mariadb"):
            with node.connect(driver, proxy, tls=certificates if with_tls else None, compress=True) as session:
                assert session.rows("SELECT REPEAT('x', 300000), 5") == [["x" * 300_000, 5]]
                if driver == "mariadb":
                    results = session.do("insertMany", table=table, rows=[[row, "x" * 100] for row in range(1000)])
                    assert sum(result["affected"] for result in results) == 1000
                    continue  # its changeUser refuses MySQL
                session.do("changeUser", options={"user": SHA2.name, "password": SHA2.password, "database": "mysql"})
                assert session.rows("SELECT DATABASE(), REPEAT('y', 300000)") == [["mysql", "y" * 300_000]]


def test_others_are_not_compressed(proxy: Proxy, table: str) -> None:
    with proxy.connect() as session:
        run(session, f"INSERT INTO {table} (text) VALUES ('x')")
        assert one(session, f"SELECT text FROM {table}") == "x"
