"""A client that takes each step of a login by itself, so that tests can take wrong ones."""

from __future__ import annotations

import socket
import ssl
from typing import Self

from pymysql import _auth

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, NATIVE
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import AuthSwitchRequest, Greeting, HandshakeResponse, SSLRequest
from tests.integration.packets import TIMEOUT
from tests.servers import Certificates

CAPABILITIES = (
    cap.CLIENT_LONG_PASSWORD
    | cap.CLIENT_PROTOCOL_41
    | cap.CLIENT_TRANSACTIONS
    | cap.CLIENT_SECURE_CONNECTION
    | cap.CLIENT_PLUGIN_AUTH
    | cap.CLIENT_DEPRECATE_EOF
)
WRONG = b"\x55" * 32
"""A response of caching_sha2_password that is nobody's."""


class Login:
    """One connection, from its greeting on, over TCP or (`path`) a Unix socket."""

    def __init__(self, host: str, port: int, path: str = "") -> None:
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), TIMEOUT)
        self.sequence = 0
        self.capabilities = CAPABILITIES
        self.seen: list[tuple[int, bytes]] = []
        """All packets but the greeting."""
        self.greeting = Greeting.parse(self.receive())
        self.seen.clear()
        self.nonce = self.greeting.nonce

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, payload: bytes) -> None:
        """Send a packet with the number that is due."""
        self.socket.sendall(frame(payload, self.sequence))
        self.sequence += 1

    def receive(self) -> bytes:
        """Give the payload of the next packet; EOFError when the connection has ended."""
        header = self._read(4)
        self.sequence = header[3] + 1
        payload = self._read(int.from_bytes(header[:3], "little"))
        self.seen.append((header[3], payload))
        return payload

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise EOFError
            data += more
        return data

    def ended(self) -> bool:
        """Wait for the end of the connection; False if anything comes before it."""
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def command(self, payload: bytes) -> bytes:
        """Send a command; give the first packet of its answer."""
        self.sequence = 0
        self.send(payload)
        return self.receive()

    # -- the steps -----------------------------------------------------------------------------------------------------

    def ssl_request(self) -> bytes:
        """Give the packet that asks for TLS."""
        return frame(SSLRequest(self.capabilities, 1 << 24, 45).build(), self.sequence)

    def start_tls(self, certificates: Certificates) -> None:
        """Ask for TLS and begin to speak it."""
        self.socket.sendall(self.ssl_request())
        self.sequence += 1
        self.socket = client_context(certificates).wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.capabilities |= cap.CLIENT_SSL

    def respond(self, user: str, response: bytes, plugin: str | None = None, database: str = "app") -> bytes:
        """Answer the greeting; give what comes next. Without `plugin` it is the greeting's own."""
        self.send(
            HandshakeResponse(
                self.capabilities,
                1 << 24,
                45,
                user.encode(),
                response,
                database.encode(),
                plugin or self.greeting.auth_plugin,
            ).build()
        )
        return self.receive()

    def switch(self, payload: bytes, plugin: str) -> None:
        """Take an AuthSwitchRequest, which must be for `plugin`."""
        request = AuthSwitchRequest.parse(payload)
        assert request.plugin == plugin
        assert len(request.data) == 21
        assert request.data[:20] != self.nonce
        self.nonce = request.data[:20]

    def scramble(self, plugin: str, password: str) -> bytes:
        """Give the response to the nonce that was given last."""
        if plugin == NATIVE:
            return bytes(_auth.scramble_native_password(password.encode(), self.nonce))
        assert plugin == CACHING_SHA2
        return bytes(_auth.scramble_caching_sha2(password.encode(), self.nonce))

    def full(self, password: str, *, encrypted: bool) -> bytes:
        """Go through caching_sha2_password's second form; give what comes next."""
        if not encrypted:
            self.send(password.encode() + b"\0")
        else:
            self.send(b"\x02")
            answer = self.receive()
            assert answer.startswith(b"\x01-----BEGIN PUBLIC KEY-----")
            self.send(_auth.sha2_rsa_encrypt(password.encode(), self.nonce, answer[1:]))
        return self.receive()


def client_context(certificates: Certificates) -> ssl.SSLContext:
    """Give what a client needs that verifies the proxy's certificate."""
    return ssl.create_default_context(cafile=str(certificates.ca))
