"""A connection that is written to at once and read by the hub."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rdsproxy.hub import Hub
from rdsproxy.sender import Sender

_log = Logger()
_LINGER: Final = 5.0  # seconds

_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""After a minute of silence, less than load balancers and firewalls wait for, a peer has half a minute to answer."""


class Wires:
    """The connections of one proxy that are not closed yet, and how they are read."""

    def __init__(self, hub: Hub | None, reactor: Any) -> None:
        self.hub = hub
        self.reactor = reactor
        self._open: set[Wire] = set()
        self._emptied: Deferred[None] | None = None

    def add(self, wire: Wire) -> None:
        """Note a connection that was made. Until it joins the hub it waits in the reactor."""
        self._open.add(wire)
        if self.hub is not None:
            self.hub.outside += 1

    def discard(self, wire: Wire) -> None:
        """Note a connection that is closed."""
        self._open.discard(wire)
        if self.hub is not None:
            self.hub.outside -= 1
        if self._emptied is not None and not self._open:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Fires when all connections are closed."""
        emptied: Deferred[None] = Deferred()
        if self._open:
            self._emptied = emptied
        else:
            emptied.callback(None)
        return emptied

    def close(self) -> None:
        """Let go of the reactor."""
        if self.hub is not None:
            self.hub.close()
            self.hub = None


@implementer(IPushProducer)
class Wire(Protocol):
    """What clients' and databases' connections share.

    Twisted's `transport.write` sends on the next turn of the reactor: two epoll_ctl calls and one more poll for each
    write. Here the socket is tried first, and only what it does not take is left to the transport (measured: 44
    against 67 us of CPU per query). TLS connections go the ordinary way.
    """

    # With more than thirty attributes an instance's dictionary is one of its own, and slow.
    __slots__ = (
        "_fd",
        "_hub",
        "_linger",
        "_queued",
        "_reads_to_hub",
        "_sender",
        "_wires",
        "connected",
        "lost",
        "receive",
        "recv",
        "transport",
        "write",
    )

    transport: Any
    write: Callable[[bytes | bytearray], None]
    """Sends bytes behind everything sent before."""
    recv: Callable[[int], bytes]
    receive: Callable[[bytes], None]
    """Takes what the other side sends, according to what is expected."""

    def __init__(self, wires: Wires) -> None:
        self.connected = 0  # Twisted's
        self.lost = False
        """The connection is closed, or about to be."""
        self._wires = wires
        self._hub: Hub | None = None
        self._fd = -1
        """Of the plain socket; -1: something is above it (TLS, say), or it is closed and others may have its number."""
        self._sender = Sender(self._write_later)
        """Has the plain socket as long as that takes all that it is sent."""
        self._queued = False
        """The plain socket did not take all, and the rest went to the transport."""
        self.write = self._sender
        self._reads_to_hub = 0
        self._linger: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin to write at once where the transport is a plain socket."""
        transport = self.transport
        self._wires.add(self)
        if isinstance(transport, tcp.Connection):
            if not isinstance(transport, unix.Server):
                transport.setTcpNoDelay(True)
                _keep_alive(transport.socket)
            self._fd = self._sender.fd = transport.fileno()
            self.recv = transport.socket.recv
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the other side. Called while the transport reads, not the hub."""
        if self._reads_to_hub:
            self._reads_to_hub -= 1
            if not self._reads_to_hub:
                self._join_hub()
        self.receive(data)

    def join_hub(self, after: int) -> None:
        """Be read by the hub from the `after`th read on: to move there is not worth it for a query or two."""
        self._reads_to_hub = after

    def _join_hub(self) -> None:
        """Be read by the hub from here on, if there is one and the connection is a plain socket."""
        hub = self._wires.hub
        if hub is not None and self._fd >= 0 and not self.lost:
            self.transport.stopReading()
            self._hub = hub
            hub.outside -= 1
            hub.add(self._fd, self)

    def read_failed(self, error: Exception) -> None:
        """Give up a connection whose bytes could not be dealt with: one connection's trouble is not the others'."""
        _log.failure("Unhandled error while reading a connection", Failure(error))
        self.abort()

    def read_ended(self) -> None:
        """Note that the connection is closed or broken: the transport reads the same again and tells which."""
        self._leave_hub()
        self.transport.startReading()
        self.ended()

    def ended(self) -> None:
        """The other side has closed. connectionLost follows, but others may be served before that."""

    def _leave_hub(self) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.outside += 1
            hub.remove(self._fd)

    def stop_reading(self) -> None:
        """Take nothing of the other side until `read_again`."""
        if self._hub is not None:
            self._hub.pause(self._fd)
        else:
            self.transport.pauseProducing()

    def read_again(self) -> None:
        """End `stop_reading`."""
        if self._hub is not None:
            self._hub.resume(self._fd)
        elif not self.lost:
            self.transport.resumeProducing()

    def _write_later(self, data: bytes | bytearray) -> None:
        """Send what the socket did not take, or all where it is not written to at once."""
        transport = self.transport
        # Twisted keeps unsent bytes in these two; no public attribute tells that they are empty.
        if self._queued and not transport.dataBuffer and not transport._tempDataBuffer:
            self._queued = False
            self._sender.fd = self._fd
            self._sender(data)
            return
        # Full or broken: the transport finds out which.
        self._queued = self._fd >= 0
        transport.write(bytes(data))

    def start_tls(self, context: Any, leftover: bytes = b"") -> None:
        """Speak TLS from here on. `leftover` came in the same read as the request for TLS.

        It goes to the TLS layer: to read it as packets would let anyone on the path put commands into the session.
        """
        self._fd = self._sender.fd = -1
        self.transport.unregisterProducer()
        self.transport.startTLS(context)
        self.transport.registerProducer(self, True)
        if leftover:
            self.transport.protocol.dataReceived(leftover)

    def speak_through(self, layer: Any) -> None:
        """Put `layer` above the transport, and above TLS: it is the transport from here on, and gets what is read."""
        transport = self.transport
        self._fd = self._sender.fd = -1
        for holder, name in (
            (transport, "wrappedProtocol"),
            (transport, "protocol"),
            (getattr(transport, "protocol", None), "wrappedProtocol"),
        ):
            if getattr(holder, name, None) is self:
                setattr(holder, name, layer)
        self.transport = layer

    def close(self) -> None:
        """Send what is queued, then close."""
        if not self.lost:
            self.lost = True
            self._leave_hub()
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            if self._sender.fd < 0:
                # TLS waits for the other side to agree, what is queued for it to read: not for ever.
                self._linger = self._wires.reactor.callLater(_LINGER, self.transport.abortConnection)

    def close_later(self, timeout: float = _LINGER) -> None:
        """Leave it to the other side to close, for `timeout` seconds at most."""
        self._linger = self._wires.reactor.callLater(timeout, self.abort)

    def abort(self) -> None:
        """Close at once; what is queued is dropped."""
        if not self.lost:
            self.lost = True
            self._leave_hub()
            self.transport.unregisterProducer()
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that the connection is closed."""
        self.lost = True
        self._leave_hub()
        self._fd = -1
        # The sender leads back to here. Without it all that the connection holds is freed as soon as nobody needs it: a
        # collection may be far off, and half a large row or command be left in many connections until then.
        self.write = self.transport.write
        self._queued = False
        del self._sender
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        self.closed(reason)
        # Last: whoever waits for all connections to be closed may look at once whether anything is left of them.
        self._wires.discard(self)

    def closed(self, reason: Failure) -> None:
        """Leave nothing of the connection behind. Called once, when it is closed."""

    # What the transport calls when the other side reads too slowly, and when it has caught up.

    def pauseProducing(self) -> None:
        """Stop whatever feeds this connection."""

    def resumeProducing(self) -> None:
        """Let it go on."""

    def stopProducing(self) -> None:
        """Nothing to do: connectionLost follows."""


def _keep_alive(sock: socket.socket) -> None:
    """Find out about a peer that is gone without a word (a host that lost its power, a firewall that forgot)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)  # macOS has other names, and hours
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
