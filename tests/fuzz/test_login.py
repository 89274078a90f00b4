"""Nonsense from a database while the proxy logs in: the attempt fails, for a reason that is one of the known ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import CAPABILITIES, LoginError, TLSPolicy
from rdsproxy.credentials import StaticCredentials
from rdsproxy.interfaces import Credential
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.handshake import AuthSwitchRequest, Greeting
from rdsproxy.wire import Wires
from tests.fuzz.streams import mutated, packet, random_stream

RANDOM_ANSWERS = 10_000
MUTATED_ANSWERS = 10_000

KEY = PoolKey("app", found_rows=False)
EXPECTED = (LoginError, AuthenticationError, ProtocolError, ConnectionLostError)

NONCE = bytes(range(1, 21))
OK = b"\0\0\0\x02\0\0\0"
DENIED = b"\xff\x15\x04#28000Access denied for user 'app'@'10.0.0.9' (using password: YES)"
FAST = b"\x01\x03"
FULL = b"\x01\x04"


@cache
def public_key() -> bytes:
    """Give what a server sends of its RSA key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"\x01" + pem


def switch(plugin: str) -> bytes:
    """Ask for another plugin."""
    return AuthSwitchRequest(plugin, bytes(32) if plugin == "client_ed25519" else NONCE + b"\0").build()


def greeting(plugin: str, version: str = "5.5.5-10.11.6-MariaDB") -> bytes:
    """Greet."""
    return Greeting(version, 7, NONCE, CAPABILITIES, 45, 2, plugin).build()


Conversation = tuple[str, list[bytes]]
CONVERSATIONS: list[Conversation] = [
    ("mysql_native_password", [OK]),
    ("caching_sha2_password", [FAST, OK]),
    ("caching_sha2_password", [FULL, b"key", OK]),
    ("caching_sha2_password", [switch("mysql_native_password"), OK]),
    ("mysql_native_password", [switch("client_ed25519"), OK]),
    ("mysql_native_password", [switch("caching_sha2_password"), FAST, OK]),
    ("mysql_native_password", [switch("mysql_clear_password"), OK]),
    ("mysql_native_password", [DENIED]),
]
"""What the server says before the first command: the plugin of the greeting, then the payloads."""


def answer(command: bytes) -> bytes:
    """Answer one of the proxy's own commands: any table that fits the question."""
    sql = command[1:]
    if not sql.startswith((b"SELECT", b"SHOW")):
        return packet(OK, 1)
    if sql.startswith(b"SHOW"):
        rows: list[tuple[bytes, ...]] = [(b"sql_mode", b"ANSI_QUOTES"), (b"character_set_client", b"utf8mb4")]
    elif b"COLLATIONS" in sql:
        rows = [(b"45", b"utf8mb4_general_ci", b"utf8mb4"), (b"8", b"latin1_swedish_ci", b"latin1")]
    else:
        rows = [(b"100",) * (sql.count(b",") + 1)]
    payloads = [bytes([len(rows[0])]), *[b"\x03def"] * len(rows[0])]
    payloads += [b"".join(bytes([len(cell)]) + cell for cell in row) for row in rows]
    payloads.append(b"\xfe\0\0\x02\0\0\0")
    return b"".join(packet(payload, 1 + number) for number, payload in enumerate(payloads))


class Server:
    """One server, as one connection attempt of the proxy meets it."""

    def __init__(self, chance: random.Random, conversation: Conversation | None = None) -> None:
        self.chance = chance
        self.conversation = conversation or chance.choice(CONVERSATIONS)
        self.reactor = MemoryReactorClock()
        credentials = StaticCredentials([Credential("app", "password")])
        connector = Connector(
            "127.0.0.1", 3306, TLSPolicy(None, False), "", credentials, Wires(None, self.reactor), self.reactor
        )
        self.pool = Pool(Limits(100, None, 50, 10, 100), connector, self.reactor)
        self.results: list[DatabaseConnection | Failure] = []
        self.lost = 0
        connector.connect(self.pool, KEY, self.on_lost).addBoth(self.results.append)
        factory = self.reactor.tcpClients[-1][2]
        self.transport = StringTransport()
        protocol: Any = factory.buildProtocol(None)
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)
        self.closed = False

    def on_lost(self, connection: DatabaseConnection, why: str) -> None:
        """Count."""
        self.lost += 1

    def say(self, data: bytes) -> None:
        """Send, in up to three pieces."""
        cuts = sorted(self.chance.randrange(len(data) + 1) for _ in range(self.chance.randrange(3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start < end:
                self.protocol.dataReceived(data[start:end])

    def asked(self) -> bytes:
        """Give what the proxy has sent since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def script(self) -> Iterator[bytes]:
        """Give all that a server says, each time in answer to what the proxy sent last."""
        plugin, payloads = self.conversation
        yield packet(greeting(plugin), 0)
        sequence = 0
        for payload in payloads:
            sent = self.asked()
            sequence = sent[3] + 1 if sent else sequence + 1
            yield packet(public_key() if payload == b"key" else payload, sequence)
        while commands := self.asked():
            said = b""
            while commands:
                size = int.from_bytes(commands[:3], "little")
                said += answer(commands[4 : 4 + size])
                commands = commands[4 + size :]
            yield said

    def close(self) -> None:
        """Close the connection, and let the time of the login pass."""
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(60)


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Fail if Twisted logs a failure, as it does for an exception that nobody catches."""
    failures: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not failures, failures[0]


def check_failed(server: Server, seed: int) -> None:
    """The attempt is over, for a known reason, and has left nothing."""
    assert len(server.results) == 1, f"seed {seed}: neither success nor failure"
    result = server.results[0]
    if isinstance(result, Failure):
        assert result.check(*EXPECTED), f"seed {seed}: {result.getTraceback()}"
        assert server.transport.disconnected or server.transport.disconnecting or server.closed
        assert server.lost <= 1
    assert server.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("number", range(len(CONVERSATIONS)))
def test_each_conversation_is_what_a_server_says(number: int) -> None:
    server = Server(random.Random(0), CONVERSATIONS[number])
    for said in server.script():
        server.say(said)
    (result,) = server.results
    if CONVERSATIONS[number][1][-1] == DENIED:
        assert isinstance(result, Failure)
        assert result.check(LoginError)
    elif "mysql_clear_password" in str(CONVERSATIONS[number][1]):
        assert isinstance(result, Failure)
        assert result.check(AuthenticationError)
    else:
        assert isinstance(result, DatabaseConnection), result
        assert server.pool.known.facts is not None
        server.close()
        assert server.lost == 1
    assert server.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("mutate", [False, True], ids=["random", "mutated"])
def test_nonsense_during_the_login(mutate: bool) -> None:
    reached = set()
    with nothing_logged():
        for seed in range(MUTATED_ANSWERS if mutate else RANDOM_ANSWERS):
            chance = random.Random(seed)
            server = Server(chance)
            spoiled = chance.randrange(7)
            for number, said in enumerate(server.script()):
                if number == spoiled:
                    reached.add(number)
                    server.say(mutated(chance, said) if mutate else random_stream(chance, said[3]))
                    if chance.random() < 0.7:
                        break
                    server.asked()  # what it asks now nobody answers
                elif not server.results:
                    server.say(said)
            server.close()
            check_failed(server, seed)
    assert len(reached) >= 6
