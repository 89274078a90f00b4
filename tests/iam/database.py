"""A database whose users have tokens: TLS and mysql_clear_password in front of a real server."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.clear import ASK
from rdsproxy.protocol.authentication.client import ClientAuthentication
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import Greeting, HandshakeResponse
from rdsproxy.protocol.responses import Err
from tests.servers import Certificates, DatabaseServer


class TokenDatabase:
    """Lets in who shows what it `takes` by mysql_clear_password, which `shown` keeps, and leads on to `server`.

    By default it takes anything.
    """

    def __init__(
        self,
        server: DatabaseServer,
        certificates: Certificates,
        passwords: Mapping[str, str],
        takes: Callable[[str, bytes], bool] = lambda user, shown: True,
    ) -> None:
        self._server = server
        self._passwords = passwords
        self._takes = takes
        self.prove_by(certificates)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.shown: list[tuple[str, bytes]] = []
        """Users and what they have shown."""
        self.failed_handshakes = threading.Semaphore(0)
        """Released when a client does not like the certificate."""
        self.ended: queue.Queue[bytes] = queue.Queue()
        """What those had shown who have been let in and have left."""

    def prove_by(self, certificates: Certificates) -> None:
        """Show clients these from now on."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate, certificates.private_key)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let nobody in any more."""
        with suppress(OSError):
            # Or the thread that waits for one would let it in.
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        server = socket.create_connection((self._server.host, self._server.port))
        greeting = Greeting.parse(_receive(server))
        plain.sendall(frame(replace(greeting, capabilities=greeting.capabilities | cap.CLIENT_SSL).build(), 0))
        try:
            _receive(plain)  # SSLRequest
            client = self._context.wrap_socket(plain, server_side=True)
            response = HandshakeResponse.parse(_receive(client))
        except (OSError, EOFError):
            self.failed_handshakes.release()
            return
        user = response.user.decode()
        client.sendall(frame(ASK, 3))
        shown = _receive(client).removesuffix(b"\0")
        self.shown.append((user, shown))
        if not self._takes(user, shown):
            client.sendall(frame(Err(1045, "28000", f"Access denied, having been shown {shown.decode()}").build(), 5))
            client.close()
            server.close()
            return
        proof = ClientAuthentication(self._passwords[user], secure=False)
        answer = proof.first_response(greeting.auth_plugin, greeting.nonce)
        capabilities = response.capabilities & ~cap.CLIENT_SSL
        login = replace(response, capabilities=capabilities, auth_response=answer, auth_plugin=proof.plugin)
        server.sendall(frame(login.build(), 1))
        number, reply = 3, _receive(server)
        while reply[0] not in (0x00, 0xFF):
            more = proof.receive(reply)
            if more is not None:
                server.sendall(frame(more, number))
            number += 2
            reply = _receive(server)
        client.sendall(frame(reply, 5))
        threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
        _pass_on(client, server)
        self.ended.put(shown)


def _receive(connection: socket.socket) -> bytes:
    header = _exactly(connection, 4)
    return _exactly(connection, int.from_bytes(header[:3], "little"))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side has ended it
