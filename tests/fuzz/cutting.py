"""A proxy and its client in one reactor: a session again and again, each time cut in two at another byte.

Run as a program: ``python -m tests.fuzz.cutting PORT SECRET`` with the port of a MariaDB and the file of a secret. It
prints how many cuts were tried, or the first that made a difference.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from rdsproxy import Config, ProxyService
from rdsproxy.protocol.authentication.scrambles import caching_sha2_scramble
from rdsproxy.protocol.handshake import Greeting, HandshakeResponse
from tests.fuzz.clients import CAPABILITIES
from tests.fuzz.streams import EXECUTE, ONE, packet, query

TURNS = 4  # of the reactor between the two parts: for the client to write, the kernel, and the proxy to read

COMMANDS = [
    query("SELECT a, b FROM fuzz WHERE a < 4 ORDER BY a"),
    query("SET NAMES latin1"),
    packet(b"\x0e"),
    query("BEGIN"),
    query("SELECT 1; SELECT 2"),
    query("SELECT nothing"),
    query("ROLLBACK"),
    packet(b"\x02app"),
    packet(b"\x16SELECT a FROM fuzz WHERE a = ?"),
    EXECUTE,
    packet(b"\x19" + ONE) + packet(b"\x0e"),  # closing a statement has no answer
    packet(b"\x1f"),
]
MORE_RESULTS = 8


class Client(Protocol):
    """Collects bytes until somebody has enough of them."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.news: Deferred[None] | None = None
        self.lost = False

    def connectionMade(self) -> None:
        """Let the kernel send each part at once."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data
        self.tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There will be no more."""
        self.lost = True
        self.tell()

    def tell(self) -> None:
        """Wake up who waits."""
        news, self.news = self.news, None
        if news is not None:
            news.callback(None)

    async def answer(self, size_of: Any) -> bytes:
        """Give the next answer, whose end `size_of` finds."""
        while (size := size_of(self.data)) is None:
            if self.lost:
                raise EOFError(self.data)
            self.news = Deferred()
            await self.news
        answer, self.data = self.data[:size], self.data[size:]
        return answer


def packets(data: bytes) -> list[bytes]:
    """Give the payloads that are whole."""
    payloads = []
    while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:3], "little"):
        size = int.from_bytes(data[:3], "little")
        payloads.append(data[4 : 4 + size])
        data = data[4 + size :]
    return payloads


def size_of_reply(data: bytes, prepare: bool = False) -> int | None:
    """Tell where a reply ends, in the form for clients without DEPRECATE_EOF."""
    payloads = packets(data)
    at = 0
    while at < len(payloads):
        first = payloads[at]
        at += 1
        if first[0] == 0xFF:
            break
        if prepare:
            columns, parameters = int.from_bytes(first[5:7], "little"), int.from_bytes(first[7:9], "little")
            at += columns + bool(columns) + parameters + bool(parameters)
            status = 0
        elif first[0] in (0x00, 0xFE):
            status = int.from_bytes(first[3:5], "little")
        else:
            ends = [number for number, payload in enumerate(payloads) if number >= at and payload[0] >= 0xFE]
            if len(ends) < 2 and not (ends and payloads[ends[0]][0] == 0xFF):
                return None
            last = ends[0] if payloads[ends[0]][0] == 0xFF else ends[1]
            at = last + 1
            status = int.from_bytes(payloads[last][3:5], "little") if payloads[last][0] == 0xFE else 0
        if not status & MORE_RESULTS:
            break
    else:
        return None
    return sum(4 + len(payload) for payload in payloads[:at]) if at <= len(payloads) else None


def size_of_login(data: bytes) -> int | None:
    """Tell where the answer to a login ends: with OK or ERR."""
    payloads = packets(data)
    return len(data) if payloads and payloads[-1][0] in (0x00, 0xFF) else None


def size_of_greeting(data: bytes) -> int | None:
    """Tell where the greeting ends."""
    return len(data) if packets(data) else None


class Sessions:
    """One session after another through the proxy at `port`."""

    def __init__(self, reactor: Any, port: int, user: str, password: str) -> None:
        self.reactor = reactor
        self.port = port
        self.user = user
        self.password = password

    async def run(self, cut: int | None) -> tuple[list[bytes], int]:
        """Give the answers, and how many bytes the client has sent in all."""
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port), client)
        greeting = Greeting.parse(packets(await client.answer(size_of_greeting))[0])
        response = HandshakeResponse(
            capabilities=CAPABILITIES,
            max_packet_size=1 << 24,
            charset=45,
            user=self.user.encode(),
            auth_response=caching_sha2_scramble(self.password.encode(), greeting.nonce),
            database=b"app",
            auth_plugin="caching_sha2_password",
        )
        answers = []
        sent = 0
        statement = ONE
        for number, command in enumerate([packet(response.build(), 1), *COMMANDS]):
            prepare = command[4:5] == b"\x16"
            # The server counts the statements of a connection, which may have served others before.
            message = command.replace(ONE, statement, 1) if command[4:5] in (b"\x17", b"\x19") else command
            here = None if cut is None or not sent < cut < sent + len(message) else cut - sent
            if here is not None:
                client.transport.write(message[:here])
                for _ in range(TURNS):
                    await deferLater(self.reactor, 0)
            client.transport.write(message[here or 0 :])
            sent += len(message)
            answer = await client.answer(partial(size_of_reply, prepare=prepare) if number else size_of_login)
            if prepare:
                statement = answer[5:9]
                answer = answer[:5] + ONE + answer[9:]
            answers.append(answer)
        client.transport.loseConnection()
        return answers, sent


async def main(reactor: Any, port: str, secret: str) -> None:
    """Start a proxy, run the session whole, then with each cut."""
    known = json.loads(Path(secret).read_text())
    config = Config.quick(target=f"127.0.0.1:{port}", listen=["tcp:0:interface=127.0.0.1"], secret=f"file:{secret}")
    service = ProxyService(config, reactor=reactor)
    service.startService()
    try:
        address: Any = service.ports[0].getHost()
        sessions = Sessions(reactor, address.port, known["username"], known["password"])
        whole, size = await sessions.run(None)
        assert (await sessions.run(None))[0] == whole, "the session is not the same twice"
        for cut in range(1, size):
            answers, _ = await sessions.run(cut)
            for number, (answer, expected) in enumerate(zip(answers, whole, strict=True)):
                assert answer == expected, f"cut at byte {cut}: answer {number} is {answer!r}, not {expected!r}"
        print(f"{size} bytes, {len(whole)} answers, the same at each cut")
    finally:
        await service.stopService()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])), (), installed_reactor)
