"""The name server: what it answers, and how it can fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from twisted.names import dns

from tests.failover.dns import Behaviour, NameServer
from tests.integration.network import PATIENCE

NAME = "primary.example"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as names:
        names.set(NAME, "127.0.0.2", ttl=7)
        yield names


def over_udp(names: NameServer, question: bytes, timeout: float = PATIENCE) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((names.host, names.port))
        sock.send(question)
        return sock.recv(1 << 16)


def over_tcp(names: NameServer, question: bytes) -> bytes:
    with socket.create_connection((names.host, names.port), PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(len(question).to_bytes(2, "big") + question)
        return file.read(int.from_bytes(file.read(2), "big"))


def question(name: str, kind: int) -> bytes:
    message = dns.Message(id=4711, recDes=True)
    message.addQuery(name.encode(), kind)
    data: bytes = message.toStr()
    return data


def ask(
    names: NameServer,
    name: str = NAME,
    kind: int = dns.A,
    over: Callable[[NameServer, bytes], bytes] = over_udp,
) -> tuple[int, list[tuple[str, int]]]:
    """Give the code of the answer, and each value in it with its TTL."""
    message = dns.Message()
    message.fromStr(over(names, question(name, kind)))
    assert (message.id, message.answer, message.auth) == (4711, True, True)
    return message.rCode, [(value(record), record.ttl) for record in message.answers]


def value(record: dns.RRHeader) -> str:
    payload = record.payload
    if isinstance(payload, dns.Record_A):
        return socket.inet_ntop(socket.AF_INET, payload.address)
    if isinstance(payload, dns.Record_AAAA):
        return socket.inet_ntop(socket.AF_INET6, payload.address)
    assert isinstance(payload, dns.Record_CNAME)
    name: str = payload.name.name.decode()
    return name


@pytest.mark.parametrize("over", [over_udp, over_tcp])
def test_addresses_and_how_they_change(names: NameServer, over: Callable[[NameServer, bytes], bytes]) -> None:
    assert ask(names, over=over) == (dns.OK, [("127.0.0.2", 7)])
    names.set(NAME, "127.0.0.3", "127.0.0.4", "::1", ttl=0)
    assert ask(names, over=over) == (dns.OK, [("127.0.0.3", 0), ("127.0.0.4", 0)])
    assert ask(names, kind=dns.AAAA, over=over) == (dns.OK, [("::1", 0)])
    assert ask(names, name=NAME.upper(), over=over) == (dns.OK, [("127.0.0.3", 0), ("127.0.0.4", 0)])
    assert names.queries == {(NAME, "A"): 3, (NAME, "AAAA"): 1}


def test_an_alias_comes_with_the_addresses_behind_it(names: NameServer) -> None:
    names.set("cluster.example", NAME, ttl=1)
    assert ask(names, "cluster.example") == (dns.OK, [(NAME, 1), ("127.0.0.2", 7)])


def test_names_without_addresses_and_names_that_are_none(names: NameServer) -> None:
    names.set("empty.example")
    assert ask(names, "empty.example") == (dns.OK, [])
    assert ask(names, "nobody.example") == (dns.ENAME, [])


def test_failures(names: NameServer) -> None:
    names.set(NAME, "127.0.0.3")
    names.behaviour = Behaviour.OLD
    assert ask(names) == (dns.OK, [("127.0.0.2", 7)])
    names.behaviour = Behaviour.SERVFAIL
    assert ask(names) == (dns.ESERVER, [])
    names.behaviour = Behaviour.SILENT
    with pytest.raises(TimeoutError):
        over_udp(names, question(NAME, dns.A), 0.2)
    names.behaviour = Behaviour.WELL
    assert ask(names) == (dns.OK, [("127.0.0.3", 1)])
    assert names.queries[NAME, "A"] == 4, "unanswered ones count"
