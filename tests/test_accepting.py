"""A crowd at the port is let in bit by bit, in as many turns of the reactor as that takes, or sent away there."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rdsproxy.frontend.accepting import AT_ONCE, post
from rdsproxy.frontend.door import Entrance
from rdsproxy.frontend.networks import Networks
from rdsproxy.listening import listen
from rdsproxy.protocol.responses import Err


class Counting(Factory):
    """Has each connection closed."""

    def __init__(self) -> None:
        self.accepted = 0

    def buildProtocol(self, addr: Any) -> None:
        self.accepted += 1


def anybody(host: str) -> None:
    """May come in."""


def test_few_in_each_turn() -> None:
    reactor, factory = SelectReactor(), Counting()
    ports: list[Any] = []
    listen("tcp:0:interface=127.0.0.1", factory, ports, reactor)
    (port,) = ports
    with ExitStack() as crowd:
        for _ in range(5 * AT_ONCE):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port.getHost().port)))
        for turn in range(1, 7):
            port.doRead()
            assert factory.accepted == min(turn, 5) * AT_ONCE
    port.connectionLost(Failure(ConnectionDone()))


def test_sent_away_at_the_port() -> None:
    """They count toward those of one turn, and cost no transport."""
    reactor, factory = SelectReactor(), Counting()
    port: Any = reactor.listenTCP(0, factory, backlog=100, interface="127.0.0.1")
    assert post(port, lambda host: b"away" if host == "127.0.0.2" else None)
    with ExitStack() as crowd:
        clients = []
        for _ in range(AT_ONCE):
            for source in ("127.0.0.1", "127.0.0.2"):
                address = ("127.0.0.1", port.getHost().port)
                clients.append(crowd.enter_context(socket.create_connection(address, 10, (source, 0))))
        for turn in range(1, 4):
            port.doRead()
            assert factory.accepted == min(turn, 2) * AT_ONCE // 2
        assert [client.makefile("rb").read() for client in clients] == [b"", b"away"] * AT_ONCE
    port.connectionLost(Failure(ConnectionDone()))


def test_other_ports_are_left_alone() -> None:
    """Endpoints may be anybody's: not all are sockets of Twisted's."""
    assert not post(object(), anybody)


def test_others_than_ports_of_twisted_send_away_later() -> None:
    """A port that cannot ask gives the entrance everybody."""
    too_often = Err(1040, "HY000", "too often")
    door: Any = SimpleNamespace(outsiders=0, received=0, refusal=lambda host: too_often)
    route: Any = None
    entrance = Entrance(door, route, Networks(["10.0.0.0/8"]), behind_balancer=False)
    entrance.opened(object())  # type: ignore[arg-type]

    def heard(host: str) -> bytes:
        transport: Any = StringTransport()
        entrance.buildProtocol(IPv4Address("TCP", host, 1)).makeConnection(transport)
        assert transport.disconnecting
        return bytes(transport.value())

    assert heard("192.0.2.1") == b""
    assert heard("10.0.0.1") == b"\x0c\0\0\0\xff\x10\x04too often"
    assert (door.outsiders, door.received) == (1, 1)
