"""A crowd at the port is let in bit by bit, in as many turns of the reactor as that takes."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from rdsproxy.frontend.accepting import AT_ONCE, accept_few


class Counting(Factory):
    """Has each connection closed."""

    def __init__(self) -> None:
        self.accepted = 0

    def buildProtocol(self, addr: Any) -> None:
        self.accepted += 1


def test_few_in_each_turn() -> None:
    reactor, factory = SelectReactor(), Counting()
    port: Any = reactor.listenTCP(0, factory, backlog=100, interface="127.0.0.1")
    accept_few(port)
    with ExitStack() as crowd:
        for _ in range(5 * AT_ONCE):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port.getHost().port)))
        for turn in range(1, 7):
            port.doRead()
            assert factory.accepted == min(turn, 5) * AT_ONCE
    port.connectionLost(Failure(ConnectionDone()))


def test_other_ports_are_left_alone() -> None:
    """Endpoints may be anybody's: not all are sockets of Twisted's."""
    accept_few(object())
