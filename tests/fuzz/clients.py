"""Many raw clients at a time, and the one rule for each: its connection ends within a bound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.scrambles import native_scramble
from rdsproxy.protocol.handshake import Greeting, HandshakeResponse
from tests.fuzz.streams import packet

BOUND = 60.0
"""Seconds: more than anything here can take, less than forever."""
QUIET = 0.05
"""Seconds without an answer, after which a client may leave. Nothing depends on it but how many answers are seen."""
CONCURRENT = 40

CAPABILITIES = (
    cap.CLIENT_LONG_PASSWORD
    | cap.CLIENT_LONG_FLAG
    | cap.CLIENT_CONNECT_WITH_DB
    | cap.CLIENT_PROTOCOL_41
    | cap.CLIENT_TRANSACTIONS
    | cap.CLIENT_SECURE_CONNECTION
    | cap.CLIENT_MULTI_STATEMENTS
    | cap.CLIENT_MULTI_RESULTS
    | cap.CLIENT_PS_MULTI_RESULTS
    | cap.CLIENT_PLUGIN_AUTH
)
FORMS = [
    CAPABILITIES | track | eof | files
    for track in (0, cap.CLIENT_SESSION_TRACK)
    for eof in (0, cap.CLIENT_DEPRECATE_EOF)
    for files in (0, cap.CLIENT_LOCAL_FILES)
]


@dataclass(frozen=True)
class Place:
    """Where the proxy listens, and who may log in there."""

    host: str
    port: int
    user: str
    password: str
    source: str = ""
    """The address of this machine that clients come from; empty: any."""


class RawClient:
    """A socket and nothing more."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def connect(self) -> None:
        """Connect."""
        if self.place.source:
            self._socket.bind((self.place.source, 0))
        await self._loop.sock_connect(self._socket, (self.place.host, self.place.port))

    async def packet(self) -> bytes:
        """Give the payload of the next packet. EOFError when there is none."""
        header = await self._exactly(4)
        return await self._exactly(int.from_bytes(header[:3], "little"))

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._loop.sock_recv(self._socket, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def send(self, data: bytes) -> None:
        """Send; the other side may have gone."""
        with suppress(OSError):
            await self._loop.sock_sendall(self._socket, data)

    async def some(self, timeout: float) -> bytes | None:
        """Give what comes next, b"" at the end, None when nothing comes for a while."""
        try:
            return await asyncio.wait_for(self._loop.sock_recv(self._socket, 1 << 16), timeout)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def leave(self) -> None:
        """Send nothing more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def rest(self) -> int:
        """Read to the end; give how many bytes there were."""
        size = 0
        while data := await self.some(BOUND):
            size += len(data)
        assert data is not None, "the proxy neither answers nor closes"
        return size

    def close(self) -> None:
        """Close."""
        self._socket.close()

    async def greeting(self) -> Greeting:
        """Read the greeting."""
        return Greeting.parse(await self.packet())

    def response(self, greeting: Greeting, capabilities: int, database: bytes = b"app") -> bytes:
        """Give the packet that logs in."""
        response = HandshakeResponse(
            capabilities=capabilities,
            max_packet_size=1 << 24,
            charset=45,
            user=self.place.user.encode(),
            auth_response=native_scramble(self.place.password.encode(), greeting.nonce),
            database=database,
            auth_plugin="mysql_native_password",
        )
        return packet(response.build(), 1)

    async def log_in(self, capabilities: int) -> None:
        """Connect and log in; the greeting's plugin must be mysql_native_password."""
        await self.connect()
        greeting = await self.greeting()
        await self.send(self.response(greeting, capabilities))
        answer = await self.packet()
        assert answer[0] == 0x00, answer


async def in_batches(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all the works, so many at a time. The first that fails ends them all."""
    queue = iter(works)

    async def worker() -> None:
        for work in queue:
            await asyncio.wait_for(work(), 2 * BOUND)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(worker())
