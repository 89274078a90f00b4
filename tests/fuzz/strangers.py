"""Clients who do not know any password, at a door without a network: what must hold for whatever they send.

In one process and without sockets, so that there can be a million of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rdsproxy.backend.known import Known
from rdsproxy.backend.target import Facts
from rdsproxy.credentials import StaticCredentials
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.frontend.login import CAPABILITIES, MAX_PACKET
from rdsproxy.interfaces import ClientPlugin, Credential
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, NATIVE
from rdsproxy.protocol.authentication.scrambles import caching_sha2_scramble, native_scramble
from rdsproxy.protocol.handshake import AuthSwitchRequest, Greeting, HandshakeResponse, SSLRequest
from rdsproxy.wire import Wires
from tests.doors import door
from tests.fuzz.streams import SESSIONS, mutated, packet, random_stream

PASSWORD = "Strangers-Password-5"
USERS: dict[bytes, ClientPlugin] = {
    b"native": "mysql_native_password",
    b"sha2": "caching_sha2_password",
    b"token": "mysql_clear_password",
}
NAMES = (*USERS, b"nobody", b"", b"\xff")
PLUGINS = (NATIVE, CACHING_SHA2, "mysql_clear_password", "dialog", None)
TIMEOUT = 10.0
AMPLIFIED = 2_000
"""Bytes that a stranger is sent at most: a greeting, a switch, a key, an error."""


class Transport(StringTransport):
    """What is sent, and TLS without the cipher: what comes behind `startTLS` is what was encrypted."""

    TLS = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.protocol: Any = self
        self.left = b""

    def sent(self) -> list[bytes]:
        """Give the payloads that the proxy has sent. It sends whole packets."""
        data: bytes = self.value()  # type: ignore[no-untyped-call]
        payloads = []
        while data:
            size = int.from_bytes(data[:3], "little")
            assert len(data) >= 4 + size, "half a packet"
            payloads.append(data[4 : 4 + size])
            data = data[4 + size :]
        return payloads

    def startTLS(self, context: Any) -> None:
        """Begin."""
        assert not self.TLS, "TLS in TLS"
        self.TLS = True

    def dataReceived(self, data: bytes) -> None:
        """Take what came in plain text behind the request for TLS: a handshake, as far as TLS is concerned."""
        self.left += data

    def getPeerCertificate(self) -> None:
        """There is none."""


class _NoWay:
    """A way to databases that nobody here may take."""

    def borrow(self, *_: object) -> Any:
        """Somebody has been let in."""
        raise AssertionError("a stranger has been let in")

    take = wait = borrow


class Street:
    """A door, and who comes to it, one after the other."""

    def __init__(self, *, tls: bool, default: ClientPlugin) -> None:
        self.clock = Clock()
        known = Known()
        known.learned(Facts("8.4.0", CAPABILITIES, 45, 100, 1 << 24, b"", {}, {}))
        users = StaticCredentials([Credential(name.decode(), PASSWORD, plugin) for name, plugin in USERS.items()])
        users.default_plugin = default
        self.door = door(
            known,
            Accounts(users),
            Wires(None, self.clock),
            tls=object() if tls else None,
            handshake_timeout=TIMEOUT,
        )
        self.deepest = 0
        """Packets of the proxy that the one who came furthest has seen."""
        self._old = {NATIVE: bytes(20), CACHING_SHA2: bytes(32)}
        """What would have been right for the one before."""
        self._nonce = bytes(20)

    def visit(self, seed: int) -> None:
        """Have one come, send what it likes, and leave. AssertionError if anything is not as it must be."""
        chance = random.Random(seed)
        transport = Transport()
        client = ClientConnection(self.door, _NoWay(), behind_balancer=False)  # type: ignore[arg-type]
        client.makeConnection(transport)  # type: ignore[no-untyped-call]
        for _ in range(chance.choice((1, 2, 3, 5, 7))):
            if transport.disconnecting or transport.disconnected or transport.left:
                break
            packets = transport.sent()
            said = self._next(chance, packets, transport)
            cuts = sorted(chance.randrange(len(said) + 1) for _ in range(chance.randrange(3)))
            before = transport.TLS
            for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
                # What follows the request for TLS in plain text is for TLS to make nothing of.
                if start < end and transport.TLS is before:
                    client.dataReceived(said[start:end])
            login = client._login
            assert login is None or login._reader.pending <= MAX_PACKET + len(said)
        packets = transport.sent()
        self.deepest = max(self.deepest, len(packets))
        assert client.relay is None
        assert not client.is_logged_in
        assert sum(map(len, packets)) <= AMPLIFIED, "more was sent than there is to say"
        assert all(payload[:1] in b"\x0a\xfe\x01\xff" and payload != b"\x01\x03" for payload in packets), packets
        if chance.random() < 0.5:
            self.clock.advance(2 * TIMEOUT)
            assert transport.disconnecting or transport.disconnected, "it may stay"
        word, nonce = PASSWORD.encode(), self._nonce
        self._old = {NATIVE: native_scramble(word, nonce), CACHING_SHA2: caching_sha2_scramble(word, nonce)}
        client.connectionLost(Failure(ConnectionDone()))
        assert not self.door.clients
        assert not self.door.strangers
        assert not self.clock.getDelayedCalls()

    def _next(self, chance: random.Random, packets: list[bytes], transport: Transport) -> bytes:
        """Give what is due, or what is not."""
        kind = chance.random()
        sequence = (2 if transport.TLS else 1) + 2 * (len(packets) - 1)
        if kind < 0.1:
            return random_stream(chance, sequence)
        if kind < 0.12:
            return packet(bytes(chance.choice((MAX_PACKET - 1, MAX_PACKET, MAX_PACKET + 1))), sequence)
        said = self._due(chance, packets, transport, sequence)
        if kind < 0.5:
            said = mutated(chance, said)
        if chance.random() < 0.15:
            said += b"".join(chance.choice(SESSIONS))
        if chance.random() < 0.05:
            said += said
        return said

    def _due(self, chance: random.Random, packets: list[bytes], transport: Transport, sequence: int) -> bytes:
        last = packets[-1]
        if last[:1] == b"\x0a":
            greeting = Greeting.parse(last)
            if not transport.TLS and self.door.tls is not None and chance.random() < 0.3:
                return packet(SSLRequest(CAPABILITIES, 1 << 24, 45).build(), sequence)
            proof = self.proof(chance, greeting.auth_plugin, greeting.nonce)
            capabilities = CAPABILITIES & ~chance.choice((0, 0, cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA))
            response = HandshakeResponse(
                capabilities & ~(cap.CLIENT_PLUGIN_AUTH | cap.CLIENT_CONNECT_ATTRS | cap.CLIENT_CONNECT_WITH_DB),
                1 << 24,
                45,
                chance.choice(NAMES),
                proof,
                chance.choice((b"app", b"", None)),
                chance.choice(PLUGINS),
                chance.choice(({}, {b"program_name": b"x\x1b[2J"})),
            )
            return packet(response.build(), sequence)
        if last[:1] == b"\xfe":
            switch = AuthSwitchRequest.parse(last)
            return packet(self.proof(chance, switch.plugin, switch.data[:20]), sequence)
        if last == b"\x01\x04":
            # Some do not ask for the key.
            return packet(b"\x02" if chance.random() < 0.9 else chance.randbytes(chance.choice((1, 8, 256))), sequence)
        return packet(chance.randbytes(256 if chance.random() < 0.2 else chance.choice((0, 1, 255, 257))), sequence)

    def proof(self, chance: random.Random, plugin: str, nonce: bytes) -> bytes:
        """Give what is not right: by chance, nothing, a part of what was right before, or that itself."""
        size = 20 if plugin == NATIVE else 32
        old = self._old.get(plugin, b"token")
        self._nonce = nonce
        return chance.choice((old, chance.randbytes(size), bytes(size), b"", b"\0", old[:-1], nonce))


@contextmanager
def nothing_unexpected() -> Iterator[None]:
    """Fail at once if anything is logged as an error. The rest is not wanted."""

    def watch(_: Any, level: str, event: Any) -> Any:
        assert level not in ("error", "critical"), event
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[watch], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def visits(first: int, count: int, street: type[Street] = Street) -> int:
    """Have so many come to each kind of door, by seeds from `first` on; give how deep one came at most."""
    plugins: tuple[ClientPlugin, ...] = ("mysql_native_password", "caching_sha2_password")
    streets = [street(tls=tls, default=plugin) for tls in (False, True) for plugin in plugins]
    with nothing_unexpected():
        for seed in range(first, first + count):
            try:
                streets[seed % len(streets)].visit(seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return min(door.deepest for door in streets)
