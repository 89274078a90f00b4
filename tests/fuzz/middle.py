"""Stands between the proxy and a real server, hands on what both say, and spoils what the server says now and then."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from typing import Self

from tests.fuzz.streams import mutated, random_stream
from tests.servers import User

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST


class Middle:
    """``with Middle(host, port, spared=control) as middle: ...`` listens at ``middle.port``.

    Of each connection one reply is spoiled, then it is closed. Greetings and logins rarely: the proxy waits after
    such a failure, as it should. Nothing is done to the user ``spared``, nor before ``begin``.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int, spared: User) -> None:
        self.port = 0
        self.user = spared
        """Who may look at the server as often as it likes."""
        self.server = (host, port)
        self.spared = spared.name.encode() + b"\0"
        self.spoiling = False
        self.done: Counter[str] = Counter()
        """How many replies were spoiled, by kind."""
        self.connections = 0
        """Open ones."""
        self._chance = random.Random(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(lambda: FromProxy(self), self.host, 0), self._loop
        )
        self._listener = listening.result()
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        async def close() -> None:
            self._listener.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self) -> None:
        """Spoil from here on."""
        self.spoiling = True

    def end(self) -> None:
        """Hand on everything as it is again."""
        self.spoiling = False

    def choose(self) -> int:
        """Give the number of the reply that is spoiled: 0 is the greeting, 1 and 2 belong to the login."""
        if self._chance.random() < 0.02:
            return self._chance.randrange(3)
        return self._chance.choice((3, 3, 4, 4, 5, 6, 8, 12))

    def spoil(self, data: bytes) -> bytes:
        """Give something else in place of a reply."""
        if self._chance.random() < 0.5:
            self.done["random"] += 1
            sequence = data[3] if len(data) > 3 else 1
            return random_stream(self._chance, sequence)
        self.done["mutated"] += 1
        return mutated(self._chance, data)

    def close_by_reset(self) -> bool:
        """Tell how to close."""
        return self._chance.random() < 0.3


class FromProxy(asyncio.Protocol):
    """A connection that the proxy has made."""

    def __init__(self, middle: Middle) -> None:
        self.middle = middle
        self.transport: asyncio.Transport
        self.server: ToServer | None = None
        self.early = b""
        self.spared = False
        self._knows_user = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server as well."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.middle.connections += 1
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(loop.create_connection(lambda: ToServer(self), *self.middle.server))

    def data_received(self, data: bytes) -> None:
        """Hand on a command."""
        if not self._knows_user:
            self._knows_user = True
            self.spared = self.middle.spared in data
        assert self.server is not None  # it speaks first
        self.server.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy has closed."""
        self.middle.connections -= 1
        self._connecting.cancel()
        if self.server is not None:
            self.server.transport.abort()

    def close(self, reset: bool) -> None:
        """Close toward the proxy, behind what was written."""
        if reset:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.close()


class ToServer(asyncio.Protocol):
    """The other half of a connection."""

    def __init__(self, proxy: FromProxy) -> None:
        self.proxy = proxy
        self.middle = proxy.middle
        self.transport: asyncio.Transport
        self._replies = 0
        self._spoiled = self.middle.choose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to be written to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.proxy.server = self

    def data_received(self, data: bytes) -> None:
        """Hand on a reply, or something else."""
        number = self._replies
        self._replies += 1
        proxy = self.proxy
        if self.middle.spoiling and number >= self._spoiled and not proxy.spared:
            proxy.transport.write(self.middle.spoil(data))
            proxy.close(self.middle.close_by_reset())
            self.transport.abort()
        else:
            proxy.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has closed, or was closed here."""
        if not self.proxy.transport.is_closing():
            self.proxy.transport.close()
