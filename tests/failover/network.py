"""A TCP relay that fails as networks do: it freezes, resets, refuses, stays silent, or leads elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.servers import free_port

Result = TypeVar("Result")

_BY_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST
_PIECE = 1 << 16  # bytes


class TcpRelay:
    """``with TcpRelay(host, port) as relay: ...`` listens at ``relay.host`` and ``relay.port``.

    Each method has had its effect when it returns. It relays in a thread of its own. ``rewrite`` is given each piece
    that a client says, and gives what the server gets instead.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rewrite: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.host = host
        self.port = port or free_port()
        self.accepted = 0
        """How many connections were made so far, without those that were refused."""
        self._target = (target_host, target_port)
        self._rewrite = rewrite
        self._silent = False
        self._accepting: asyncio.Task[None]
        self._open: dict[socket.socket, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._listener = self._listen()
        self._thread.start()
        self._do(self._begin)
        return self

    def __exit__(self, *exc: object) -> None:
        async def end() -> None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
            await self._reset()

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections of clients are open."""
        return len(self._open)

    def freeze(self) -> None:
        """Let no byte pass, nor the end of a connection, as if every packet were lost.

        Connections stay open; new ones are made, by the kernel, and stay silent until ``thaw``. (Of what is being
        written at this moment up to 64 KiB may still arrive.)
        """
        self._do(lambda: self._flowing.clear())

    def thaw(self) -> None:
        """Let everything pass again, also what was sent meanwhile."""
        self._do(lambda: self._flowing.set())

    def reset(self) -> None:
        """End all connections by RST, in both directions."""
        self._wait(self._reset())

    def refuse(self) -> None:
        """Refuse new connections, as a host does on which nobody listens. Open ones go on."""

        async def refuse() -> None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
            # Nobody else gets the port meanwhile.
            self._listener = self._bound()

        self._wait(refuse())

    def silence(self) -> None:
        """Accept new connections and never say a word on them. Open ones go on."""
        self._silent = True

    def accept(self) -> None:
        """Treat new connections well again, after ``refuse`` or ``silence``; silent ones stay silent."""

        def accept() -> None:
            self._silent = False
            if self._accepting.done():
                self._listener.listen(128)
                self._accepting = self._loop.create_task(self._accept())

        self._do(accept)

    def lead_to(self, host: str, port: int) -> None:
        """Lead new connections to another server. Open ones stay where they are."""
        self._target = (host, port)

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _do(self, work: Callable[[], object]) -> None:
        async def do() -> None:
            work()

        self._wait(do())

    def _bound(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.setblocking(False)
        return listener

    def _listen(self) -> socket.socket:
        listener = self._bound()
        listener.listen(128)
        return listener

    def _begin(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._accepting = self._loop.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            self._open[near] = self._loop.create_task(self._serve(near, self._silent))

    async def _serve(self, near: socket.socket, silent: bool) -> None:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far = socket.socket()
        far.setblocking(False)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if silent:
                await asyncio.Event().wait()
            await self._flowing.wait()
            await self._loop.sock_connect(far, self._target)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pass_on(near, far))
                directions.create_task(self._pass_on(far, near))
        except* (OSError, asyncio.CancelledError):
            # A side that was reset, or cannot be reached: the other learns it in the same way.
            for sock in (near, far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BY_RESET)
        finally:
            near.close()
            far.close()
            del self._open[near]

    async def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        while True:
            data = await self._when_flowing(self._loop.sock_recv(source, _PIECE))
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(sink, self._rewrite(data) if source in self._open else data)

    async def _when_flowing(self, work: Awaitable[Result]) -> Result:
        """Hand out the result, or the error, when bytes may pass."""
        try:
            result = await work
        except OSError:
            await self._flowing.wait()
            raise
        await self._flowing.wait()
        return result

    async def _reset(self) -> None:
        ending = dict(self._open)
        for task in ending.values():
            task.cancel()
        await asyncio.gather(*ending.values(), return_exceptions=True)
        for near in ending:
            if near in self._open:
                # Accepted just now: its task has ended before it began.
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BY_RESET)
                near.close()
                del self._open[near]
