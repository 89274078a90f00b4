"""Transports without a socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure


class ClosingTransport(StringTransport):
    """Notes what is written, and closes on the next turn of the reactor."""

    def __init__(self, wire: Any, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wire = wire
        self.clock = clock

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.wire.connectionLost, Failure(ConnectionDone()))

    abortConnection = loseConnection
