"""Large statements, rows, results and files: whole, and never kept in the proxy."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pymysql.constants import CLIENT
from pymysql.cursors import SSCursor

from rdsproxy.protocol.framing import frame
from tests.integration.network import until, wait_until_stuck
from tests.integration.packets import DEPRECATE_EOF, Packets, is_last
from tests.integration.proxy import BACKEND_ID, NATIVE, Proxy, one, rows, run
from tests.integration.targets import TargetProxy
from tests.servers import Certificates, DatabaseServer

MEGABYTE = 1 << 20
ALLOWED = 8 * MEGABYTE
"""By how much the proxy may grow, at any moment, whatever passes through it."""

QUERY = b"\x03"

ROW_OF_A_MEGABYTE = b"\xfd" + MEGABYTE.to_bytes(3, "little") + b"x" * MEGABYTE


def rows_of_a_megabyte(number: int) -> str:
    return (
        f"WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {number})"
        f" SELECT REPEAT('x', {MEGABYTE}) FROM n"
    )


@contextmanager
def bounded(proxy: Proxy) -> Iterator[None]:
    """See that the proxy does not grow, not even for a moment, while the block runs."""
    before = proxy.memory()
    Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")  # forget the peak
    yield
    grown = proxy.memory(peak=True) - before
    print(f"grown by {grown / MEGABYTE:.1f} MiB")
    assert grown <= ALLOWED, f"{grown / MEGABYTE:.1f} MiB"


def wait_for_rest(proxy: Proxy) -> None:
    """Return when the proxy has nothing to do: its CPU time stands still."""
    before, looks = -1, 0

    def rests() -> bool:
        nonlocal before, looks
        fields = Path(f"/proc/{proxy.pid}/stat").read_text().rsplit(")", 1)[1].split()
        used = int(fields[11]) + int(fields[12])
        looks = looks + 1 if used == before else 0
        before = used
        return looks == 20

    until(rests, "the proxy comes to rest")


@pytest.fixture(scope="module")
def proxies(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Proxy]]:
    """Two proxies with one connection each to the database, without TLS and with it, that have worked before."""
    with ExitStack() as stack:
        started: list[Proxy] = []
        for mode in ("DISABLED", "REQUIRED"):
            folder = tmp_path_factory.mktemp("streaming")
            proxy = TargetProxy(server, folder, mode=mode, max_connections=1, tls=certificates)
            started.append(stack.enter_context(proxy))
            for tls in (False, True):
                with proxy.connect(tls=tls) as session:
                    assert len(one(session, "SELECT REPEAT('x', 1000000)")) == 1_000_000
        yield started


@pytest.fixture
def plain(proxies: list[Proxy]) -> Proxy:
    """The one without TLS toward the database."""
    return proxies[0]


both_sides = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
"""TLS on both sides, or on none."""


# -- results -----------------------------------------------------------------------------------------------------------


def test_a_gigabyte_for_a_slow_client(plain: Proxy) -> None:
    """It passes through at the client's pace: when that stops reading, so does the proxy."""
    with Packets(plain.host, plain.port) as client, bounded(plain):
        client.send(QUERY + rows_of_a_megabyte(1000).encode())
        for number in range(1003):
            if number in (0, 100, 500):
                wait_for_rest(plain)
            payload = client.packet()[1]
            assert number < 3 or payload == ROW_OF_A_MEGABYTE
        assert is_last(client.packet()[1])


@both_sides
def test_several_results_for_a_slow_client(proxies: list[Proxy], tls: bool) -> None:
    proxy = proxies[tls]
    sql = ";".join([rows_of_a_megabyte(50)] * 3)
    with (
        proxy.connect(tls=tls, cursorclass=SSCursor, client_flag=CLIENT.MULTI_STATEMENTS) as session,
        session.cursor() as cursor,
        bounded(proxy),
    ):
        cursor.execute(sql)
        for _ in range(3):
            wait_for_rest(proxy)
            for _ in range(50):
                assert cursor.fetchone() == ("x" * MEGABYTE,)
            assert cursor.fetchone() is None
            cursor.nextset()


def test_a_client_that_leaves_in_the_middle(plain: Proxy, server: DatabaseServer) -> None:
    """Its connection, in mid-reply, is closed and never lent again."""
    with Packets(plain.host, plain.port) as client:
        client.send(QUERY + rows_of_a_megabyte(1000).encode())
        client.packet()
        wait_for_rest(plain)
        ((number,),) = [[process.id] for process in server.processlist(NATIVE.name) if "REPEAT" in (process.info or "")]
    with plain.connect() as session:
        for value in range(10):
            ((given, connection),) = rows(session, f"SELECT %s, {BACKEND_ID}", value)
            assert given == value
            assert connection != number
    until(lambda: number not in [process.id for process in server.processlist()], "the server notices")


# -- files -------------------------------------------------------------------------------------------------------------


@both_sides
def test_a_large_file(proxies: list[Proxy], table: str, folder: Path, tls: bool) -> None:
    proxy = proxies[tls]
    megabytes = 60 if tls else 200
    lines = [random.Random(number).randbytes(MEGABYTE // 2).hex() for number in range(4)]
    file = folder / "lines.txt"
    file.write_text("".join(f"{line}\n" for line in lines * (megabytes // 4)))
    with proxy.connect(local_infile=True, tls=tls, read_timeout=60) as session, bounded(proxy):
        run(session, f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} (@line) SET text = CRC32(@line)")
        found = [int(text) for (text,) in rows(session, f"SELECT text FROM {table} ORDER BY id")]
        file.unlink()
        assert found == [zlib.crc32(line.encode()) for line in lines] * (megabytes // 4)


def test_a_file_for_a_slow_server(plain: Proxy, server: DatabaseServer, table: str) -> None:
    """When the server stops reading, so does the proxy, and the client has to wait."""
    with (
        Packets(plain.host, plain.port, flags=CLIENT.LOCAL_FILES) as client,
        ThreadPoolExecutor(1) as thread,
        bounded(plain),
    ):
        client.send(QUERY + f"LOAD DATA LOCAL INFILE 'x' INTO TABLE {table} (@line) SET value = LENGTH(@line)".encode())
        assert client.packet() == (1, b"\xfbx")

        def send_file() -> None:
            for number in range(100):
                client.send(b"x" * (MEGABYTE - 1) + b"\n", number + 2)
            client.send(b"", 102)

        server.pause()
        try:
            sending = thread.submit(send_file)
            wait_until_stuck(client.socket)
        finally:
            server.resume()
        sending.result()
        sequence, payload = client.packet()
        assert (sequence, payload[:2]) == (103, b"\x00\x64")


# -- packets of 16 MiB and more ----------------------------------------------------------------------------------------

FULL = 0xFFFFFF
SIZES = [FULL - 1, FULL, FULL + 1, 2 * FULL]

sizes = pytest.mark.parametrize(("tls", "size"), [*((False, size) for size in SIZES), (True, 21 * MEGABYTE)])


@sizes
def test_large_statements(proxies: list[Proxy], tls: bool, size: int) -> None:
    """`size` is that of the payload: the last packet may be full, or empty."""
    proxy = proxies[tls]
    begin, end = b"SELECT CRC32('", b"')"
    text = random.Random(size).randbytes(size // 2 + 1).hex().encode()[: size - len(QUERY + begin + end)]
    payload = QUERY + begin + text + end
    assert len(payload) == size
    with Packets(proxy.host, proxy.port) as client:
        # Another command right behind it, in the same write.
        client.socket.sendall(frame(payload) + frame(QUERY + b"SELECT 5"))
        packets = 1 + size // FULL
        value = str(zlib.crc32(text)).encode()
        wanted = [b"\x01", None, None, bytes((len(value),)) + value, None]
        for number, expected in enumerate(wanted):
            sequence, packet = client.packet()
            assert sequence == packets + number
            assert expected in (None, packet)
        assert client.reply()[-2] == b"\x015"


@pytest.mark.parametrize("flags", [0, DEPRECATE_EOF], ids=["EOF", "no EOF"])
@sizes
def test_large_rows(proxies: list[Proxy], tls: bool, size: int, flags: int) -> None:
    """`size` is that of the row's payload, which comes in packets as the server makes them, between smaller rows."""
    proxy = proxies[tls]
    length = size - 4 if size - 4 < 1 << 24 else size - 9
    head = b"\xfd" + length.to_bytes(3, "little") if length < 1 << 24 else b"\xfe" + length.to_bytes(8, "little")
    row = head + b"y" * length
    assert len(row) == size
    pieces = [row[start : start + FULL] for start in range(0, size + 1, FULL)]
    sql = f"SELECT 'a' UNION ALL SELECT REPEAT('y', {length}) UNION ALL SELECT 'b'"
    with Packets(proxy.host, proxy.port, flags=flags) as client:
        client.send(QUERY + sql.encode())
        packets = [client.packet() for _ in range(2 + (not flags) + 1 + len(pieces) + 2)]
        assert [number for number, _ in packets] == list(range(1, len(packets) + 1))
        payloads = [payload for _, payload in packets]
        assert is_last(payloads[-1])
        assert payloads[2 + (not flags) : -1] == [b"\x01a", *pieces, b"\x01b"]
        assert client.query("SELECT 5")[-2] == b"\x015"
