"""What all clients' connections of one proxy have in common: who may come in, how many, and on what terms."""

from __future__ import annotations

from itertools import count
from secrets import randbelow
from typing import Any, Final

import structlog
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol

from rdsproxy.backend.known import Known
from rdsproxy.frontend.accepting import post
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.connection import ClientConnection
from rdsproxy.frontend.networks import Networks, is_loopback, source_of
from rdsproxy.frontend.rates import Rate
from rdsproxy.pool.route import Route
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.responses import Err
from rdsproxy.session.identity import FIRST_ID
from rdsproxy.wire import Wires

OF_ONE_ADDRESS: Final = 10
"""How many times `max_failed_logins` may fail at one address, whoever they say they are, until it is blocked."""

_log = structlog.get_logger("rdsproxy.client")


class Door:
    """Knows all clients, whichever endpoint they came to."""

    def __init__(
        self,
        *,
        known: Known,
        accounts: Accounts,
        keys: RSAKeyPair,
        tls: Any,
        require_tls: bool,
        max_connections: int,
        max_connection_rate: int | None,
        max_failed_logins: int,
        handshake_timeout: float,
        idle_timeout: float,
        debug: bool,
        wires: Wires,
        reactor: Any,
    ) -> None:
        self.known = known
        """The database, as far as it is known."""
        self.debug = debug
        """Log each login."""
        self.wires = wires
        self.accounts = accounts
        self.keys = keys
        self.tls = tls
        """A context factory, or None: TLS is not offered."""
        self.require_tls = require_tls
        self.max_connections = max_connections
        self.connection_rate = None if max_connection_rate is None else Rate(max_connection_rate, reactor.seconds)
        self.failed_logins = Rate(max_failed_logins, reactor.seconds)
        self._failed_at = Rate(OF_ONE_ADDRESS * max_failed_logins, reactor.seconds)
        self.handshake_timeout = handshake_timeout
        """Seconds."""
        self.idle_timeout = idle_timeout
        """Seconds."""
        self.reactor = reactor
        self.clients: set[ClientConnection] = set()
        self.strangers: dict[ClientConnection, None] = {}
        """Those of them who have not proved yet who they are, in the order in which they came."""
        # What has happened since the start.
        self.received = 0
        """Clients that have connected."""
        self.refused = 0
        """Clients beyond `max_connections`, and those that had to leave in their place."""
        self.rate_limited = 0
        """Clients beyond `max_connection_rate`."""
        self.blocked = 0
        """Clients from addresses where too many have failed to log in."""
        self.outsiders = 0
        """Connections from addresses that no `allow_cidrs` of their endpoint has."""
        self.setups_succeeded = 0
        """Clients that have logged in."""
        self.setups_failed_auth = 0
        """Clients refused for their user, password or lack of TLS."""
        self.setups_failed_other = 0
        """Clients refused for anything else while they logged in."""
        self.closed = 0
        """Connections that have ended."""
        self.queries_of_closed = 0
        """Queries on these; each client that is there counts its own."""
        self.tls_queries_of_closed = 0
        """Those with TLS."""
        # Not the same ones as another proxy before the same database: a KILL that a balancer takes there must not hit.
        self._ids = count(FIRST_ID + randbelow(FIRST_ID))

    def next_id(self) -> int:
        """Give a connection id that no other client of this proxy has."""
        number = next(self._ids)
        if number >> 32:
            self._ids = count(FIRST_ID)
            number = next(self._ids)
        return number

    def refusal(self, peer: str) -> Err | None:
        """Count a connection from this address (empty: a Unix socket); give the error that it is refused with, if any.

        Which are RDS Proxy's for too many, and MySQL's for an address that makes nothing but trouble.
        """
        if not peer:
            return None
        source = source_of(peer)
        if self._failed_at.is_reached(source):
            self.blocked += 1
            return Err(1129, "HY000", f"Host '{peer}' is blocked for a minute because of many connection errors")
        rate = self.connection_rate
        if rate is None:
            return None
        count = rate.add(source)
        if count <= rate.limit:
            return None
        self.rate_limited += 1
        if count == rate.limit + 1:
            # Once in a minute: a line for each would help those who flood.
            _log.warning("client refused", reason="max_connection_rate", peer=peer)
        return Err(1040, "HY000", f"Connections rate limit exceeded ({rate.limit})")

    def failed(self, peer: str) -> None:
        """Note that somebody at this address has not logged in, and is to blame for it.

        As with MySQL's `max_connect_errors`, one who does log in makes up for them all, and this machine itself is
        never blocked: it may be a tunnel for many.
        """
        rate = self._failed_at
        if not is_loopback(peer) and rate.add(source_of(peer)) == rate.limit:
            _log.warning("address blocked", reason="max_failed_logins", peer=peer)

    def let_in(self, peer: str) -> None:
        """Note that somebody at this address has proved who they are."""
        if len(self._failed_at):
            self._failed_at.forget(source_of(peer))

    def find(self, number: int) -> ClientConnection | None:
        """Give the client with this connection id, if it has logged in."""
        # Searched for, since few ever ask: to keep an index would cost each client that connects.
        return next((client for client in self.clients if client.id == number and client.is_logged_in), None)

    def close(self) -> None:
        """Send every client away."""
        for client in list(self.clients):
            client.shut_down()


class _SentAway(Protocol):
    """Somebody who may not come in, at a port that cannot tell."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def connectionMade(self) -> None:
        """Say why, and close."""
        assert self.transport is not None
        self.transport.write(self._word)
        self.transport.loseConnection()


class Entrance(Factory):
    """Makes a `ClientConnection` for each client of one endpoint."""

    noisy = False

    def __init__(self, door: Door, route: Route, networks: Networks, *, behind_balancer: bool) -> None:
        self._door = door
        self._route = route
        self._networks = networks
        self._behind_balancer = behind_balancer
        self._posted = False

    def opened(self, port: IListeningPort) -> None:
        """Have this port ask whom to let in."""
        self._posted = post(port, self._send_away)

    def _send_away(self, host: str) -> bytes | None:
        """Give what somebody from `host` (empty: a Unix socket) is sent away with; None: they may come in."""
        door = self._door
        if not self._networks.admit(host):
            # Told nothing, not even what this is.
            door.outsiders += 1
            _log.warning("client refused", reason="allow_cidrs", peer=host)
            return b""
        err = None if self._behind_balancer else door.refusal(host)
        if err is None:
            return None
        door.received += 1
        return frame(err.build(with_state=False))

    def buildProtocol(self, addr: Any) -> Protocol:
        """Make the connection of one client."""
        if not self._posted:
            word = self._send_away(getattr(addr, "host", ""))
            if word is not None:
                return _SentAway(word)
        return ClientConnection(self._door, self._route, behind_balancer=self._behind_balancer)
