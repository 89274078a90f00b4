"""What stands between a client that compresses and its connection, as TLS does: neither knows of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure

from rdsproxy.protocol.compression import Frames
from rdsproxy.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from rdsproxy.frontend.connection import ClientConnection


class Compressing:
    """The transport to `client`, the protocol to its transport.

    Frames are opened one by one, when the client's turn has come: what nobody reads yet takes no more memory than it
    took on the wire, and a reply is numbered after the command that it answers.
    """

    def __init__(self, client: ClientConnection, frames: Frames) -> None:
        self._client = client
        self._frames = frames
        self._transport = client.transport
        self._opening = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # Whatever else the client wants of its transport: closing, back-pressure, addresses.
        return getattr(self._transport, name)

    # -- from the client's side of the network -------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take frames."""
        self._frames.feed(data)
        self.open()

    def connectionLost(self, reason: Failure) -> None:
        """Pass the end on."""
        self._client.connectionLost(reason)

    # -- from the proxy's side -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send what the client is told."""
        frames = self._frames.wrap_packets(data)
        if frames:
            self._transport.write(frames)

    def open(self) -> None:
        """Hand on what has come, as far as it is wanted now."""
        client = self._client
        if self._opening:
            return
        self._opening = True
        try:
            while not client.lost and client.takes_input:
                data = self._frames.next()
                if data is None:
                    break
                client.dataReceived(data)
        except ProtocolError as error:
            client.refuse_frame(str(error))
        finally:
            self._opening = False
        client.keep_unopened(self._frames.pending)
