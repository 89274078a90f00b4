"""A name server for failovers: addresses change, and it can answer wrongly, with old answers, or not at all."""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from twisted.names import dns

from tests.servers import free_port

_LENGTH = struct.Struct("!H")  # before each message over TCP


class Behaviour(Enum):
    """How a name server answers."""

    WELL = auto()
    OLD = auto()
    """With what was there before the last change of the name."""
    SERVFAIL = auto()
    SILENT = auto()


@dataclass(frozen=True)
class _Records:
    values: tuple[str, ...]
    ttl: int


class NameServer:
    """``with NameServer() as names: ...`` answers over UDP and TCP at ``names.host`` and ``names.port``.

    Of names that it was not told it says that they do not exist. Every change is there for the next question.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        self.behaviour = Behaviour.WELL
        self.queries: Counter[tuple[str, str]] = Counter()
        """How often was asked, also without an answer: by name and type (``"A"``, ``"AAAA"``)."""
        self._names: dict[str, list[_Records]] = {}
        self._servers: list[socketserver.BaseServer] = []

    def set(self, name: str, *values: str, ttl: int = 1) -> None:
        """Give ``name`` addresses, of IPv4 or IPv6, or another name that it is an alias of; ``ttl`` is in seconds.

        Without values it exists and has none.
        """
        self._names.setdefault(name, []).append(_Records(values, ttl))

    def __enter__(self) -> Self:
        for tries_left in reversed(range(5)):
            self.port = free_port()
            try:
                self._servers.append(_Tcp(self))
                self._servers.append(_Udp(self))
                break
            except OSError:
                self._close()
                if not tries_left:
                    raise
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self._servers:
            server.shutdown()
        self._close()

    def _close(self) -> None:
        for server in self._servers:
            server.server_close()
        self._servers.clear()

    def answer(self, question: bytes) -> bytes | None:
        """Give the answer to a message; None for none."""
        asked = dns.Message()
        asked.fromStr(question)
        (query,) = asked.queries
        name = query.name.name.decode().lower()
        self.queries[name, dns.QUERY_TYPES.get(query.type, str(query.type))] += 1
        reply = dns.Message(asked.id, answer=True, auth=True, recDes=asked.recDes)
        reply.queries = asked.queries
        match self.behaviour:
            case Behaviour.SILENT:
                return None
            case Behaviour.SERVFAIL:
                reply.rCode = dns.ESERVER
            case _ if name not in self._names:
                reply.rCode = dns.ENAME
            case _:
                reply.answers = list(self._answers(name, query.type))
        message: bytes = reply.toStr()
        return message

    def _answers(self, name: str, wanted: int) -> Iterator[dns.RRHeader]:
        versions = self._names.get(name, [_Records((), 0)])
        records = versions[max(-2, -len(versions))] if self.behaviour is Behaviour.OLD else versions[-1]
        for value in records.values:
            payload = _payload(value)
            if payload.TYPE in (wanted, dns.CNAME):
                yield dns.RRHeader(name, payload.TYPE, ttl=records.ttl, payload=payload, auth=True)
            if payload.TYPE == dns.CNAME:
                yield from self._answers(value, wanted)


def _payload(value: str) -> dns.Record_A | dns.Record_AAAA | dns.Record_CNAME:
    try:
        version = ipaddress.ip_address(value).version
    except ValueError:
        return dns.Record_CNAME(value)
    return dns.Record_A(value) if version == 4 else dns.Record_AAAA(value)


class _Udp(socketserver.UDPServer):
    def __init__(self, names: NameServer) -> None:
        self.names = names
        super().__init__((names.host, names.port), _UdpHandler)


class _UdpHandler(socketserver.BaseRequestHandler):
    server: _Udp
    request: tuple[bytes, socket.socket]

    def handle(self) -> None:
        question, sock = self.request
        answer = self.server.names.answer(question)
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, names: NameServer) -> None:
        self.names = names
        super().__init__((names.host, names.port), _TcpHandler)


class _TcpHandler(socketserver.StreamRequestHandler):
    server: _Tcp

    def handle(self) -> None:
        while len(head := self.rfile.read(_LENGTH.size)) == _LENGTH.size:
            (size,) = _LENGTH.unpack(head)
            answer = self.server.names.answer(self.rfile.read(size))
            if answer is not None:
                self.wfile.write(_LENGTH.pack(len(answer)) + answer)
