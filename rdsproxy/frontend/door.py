"""What all clients' connections of one proxy have in common: who may come in, how many, and on what terms."""

from __future__ import annotations

from itertools import count
from secrets import randbelow
from typing import Any

from twisted.internet.protocol import Factory

from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.pool.pool import Pool
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.session.identity import FIRST_ID
from rdsproxy.wire import Wires


class Door(Factory):
    """Makes a `ClientConnection` for each client and counts them."""

    noisy = False

    def __init__(
        self,
        *,
        pool: Pool,
        accounts: Accounts,
        keys: RSAKeyPair,
        tls: Any,
        require_tls: bool,
        max_connections: int,
        handshake_timeout: float,
        idle_timeout: float,
        debug: bool,
        wires: Wires,
        reactor: Any,
    ) -> None:
        self.pool = pool
        self.debug = debug
        """Log each login."""
        self.wires = wires
        self.accounts = accounts
        self.keys = keys
        self.tls = tls
        """A context factory, or None: TLS is not offered."""
        self.require_tls = require_tls
        self.max_connections = max_connections
        self.handshake_timeout = handshake_timeout
        """Seconds."""
        self.idle_timeout = idle_timeout
        """Seconds."""
        self.reactor = reactor
        self.clients: set[ClientConnection] = set()
        # Not the same ones as another proxy before the same database: a KILL that a balancer takes there must not hit.
        self._ids = count(FIRST_ID + randbelow(FIRST_ID))

    def next_id(self) -> int:
        """Give a connection id that no other client of this proxy has."""
        number = next(self._ids)
        if number >> 32:
            self._ids = count(FIRST_ID)
            number = next(self._ids)
        return number

    def find(self, number: int) -> ClientConnection | None:
        """Give the client with this connection id, if it has logged in."""
        # Searched for, since few ever ask: to keep an index would cost each client that connects.
        return next((client for client in self.clients if client.id == number and client.is_logged_in), None)

    def buildProtocol(self, addr: object) -> ClientConnection:
        """Make the connection of one client."""
        return ClientConnection(self)

    def close(self) -> None:
        """Send every client away."""
        for client in list(self.clients):
            client.shut_down()
