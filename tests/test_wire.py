"""What a connection writes: at once where the socket takes it, otherwise by its transport, and always in order."""

from __future__ import annotations

import gc
import socket
import weakref

from twisted.internet import unix

from rdsproxy.wire import Wire, Wires
from tests.sockets import received


class Transport(unix.Server):
    """A plain socket's, which keeps what it is given until the test lets it go."""

    def __init__(self, own: socket.socket) -> None:
        self.socket = own
        self.fileno = own.fileno
        self.dataBuffer = b""
        self._tempDataBuffer: list[bytes] = []

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Not of interest here."""

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)

    def take(self) -> bytes:
        """Give what it has kept."""
        kept, self._tempDataBuffer = b"".join(self._tempDataBuffer), []
        return kept


def test_what_is_written_behind_a_full_socket_waits_its_turn() -> None:
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    with own, other:
        wire = Wire(Wires(None, None))
        transport = Transport(own)
        wire.makeConnection(transport)  # type: ignore[no-untyped-call]
        wire.write(b"at once")
        assert other.recv(100) == b"at once"
        large = bytes(range(256)) * (1 << 16)
        wire.write(large)
        # There is room again, but the transport has the rest yet.
        taken = b"".join(iter(lambda: received(other), b""))
        wire.write(b"behind")
        assert received(other) == b""
        assert taken + transport.take() == large + b"behind"
        # It has none any more.
        wire.write(b"at once again")
        assert received(other) == b"at once again"
        assert transport.take() == b""
        # And once more, from the beginning.
        wire.write(large)
        assert transport.take()
        write = wire.write
        wire.connectionLost()
        for late in (wire.write, write):
            late(b"too late")
            assert transport.take() == b"too late"


def test_a_closed_connection_is_freed_at_once() -> None:
    """Not by a collection: what it holds may be large, and the next one far off."""
    own, other = socket.socketpair()
    with own, other:
        wire = Wire(Wires(None, None))
        wire.makeConnection(Transport(own))  # type: ignore[no-untyped-call]
        left = weakref.ref(wire)
        wire.connectionLost()
        gc.disable()
        try:
            del wire
            assert left() is None
        finally:
            gc.enable()
