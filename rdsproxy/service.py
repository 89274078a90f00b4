"""The composition root: the one file that knows every part."""

from __future__ import annotations

from typing import Any

import structlog
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from rdsproxy.backend.connection import PoolKey
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import TLSPolicy
from rdsproxy.config import Config
from rdsproxy.credentials.file import FileCredentials
from rdsproxy.errors import StartError
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.door import Door
from rdsproxy.hub import Hub
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.tls import backend_tls, proxy_tls
from rdsproxy.wire import Wires

BACKLOG = 4096
"""Connections that the kernel completes before they are accepted.

Of a crowd above Twisted's 50, some would be connected as far as they know, and wait for a greeting until they give up.
"""

_log = structlog.get_logger("rdsproxy.service")


class ProxyService(MultiService):
    """A whole proxy, as a Twisted service: start it, stop it, or make it part of another application.

    Nothing is shared between two of them. `credentials` replaces the secrets of `[[proxy.auth]]`.

    Starting raises StartError for what the configuration promised and the machine does not have: a port that is in
    use, a certificate or secret that cannot be read.
    """

    def __init__(self, config: Config, *, reactor: Any, credentials: ICredentialProvider | None = None) -> None:
        super().__init__()
        self.config = config
        self._reactor = reactor
        self._credentials = credentials
        self._pool: Pool | None = None
        self._door: Door | None = None
        self._wires: Wires | None = None
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Read secrets and certificates and begin to listen, before privileges are dropped."""
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """Begin to serve."""
        super().startService()
        self._open()

    def _open(self) -> None:
        if self._door is not None:
            return
        config = self.config
        proxy, group = config.proxy, config.target_group
        reactor = self._reactor
        credentials = self._credentials
        if credentials is None:
            credentials = FileCredentials.read(proxy.auth)
        target = group.targets[0]
        mode = group.tls.mode
        client_tls = proxy_tls(proxy.tls) if proxy.tls is not None else None
        target_tls = TLSPolicy(
            backend_tls(mode, target.host, group.tls.ca), required=mode not in ("DISABLED", "PREFERRED")
        )
        wires = Wires(Hub.of(reactor), reactor)
        connector = Connector(
            target.host,
            target.port,
            target_tls,
            proxy.init_query,
            credentials,
            wires,
            reactor,
            pin_untracked_sets="EXCLUDE_VARIABLE_SETS" not in group.session_pinning_filters,
        )
        limits = Limits(
            group.max_connections_percent,
            group.max_connections,
            group.max_idle_connections_percent,
            group.connection_borrow_timeout,
            group.max_prepared_statements,
        )
        pool = Pool(limits, connector, reactor)
        door = Door(
            pool=pool,
            accounts=Accounts(credentials),
            keys=RSAKeyPair.generate(),
            tls=client_tls,
            require_tls=proxy.require_tls,
            max_connections=proxy.max_client_connections,
            handshake_timeout=proxy.handshake_timeout,
            idle_timeout=proxy.idle_client_timeout,
            debug=proxy.debug_logging,
            wires=wires,
            reactor=reactor,
        )
        try:
            for endpoint in proxy.endpoints:
                for description in endpoint.listen:
                    self._listen(description, door)
        except StartError:
            self._close_ports()
            wires.close()
            raise
        self._pool, self._door, self._wires = pool, door, wires
        pool.start([PoolKey(credential.username, found_rows=False) for credential in credentials])
        _log.info("listening", proxy=proxy.name, listen=[str(port.getHost()) for port in self._ports])

    def _listen(self, description: str, door: Door) -> None:
        """Listen on one endpoint. Twisted's own endpoints do so at once, so that a failure is known here."""
        failures: list[Failure] = []
        try:
            listening = serverFromString(self._reactor, _with_backlog(description)).listen(door)
        except Exception as error:
            # Parsers of endpoint strings raise what they like: IndexError for a systemd socket that was not passed.
            raise StartError(f"cannot listen on {description}: {type(error).__name__}: {error}") from None
        listening.addCallbacks(self._ports.append, failures.append)
        if failures:
            failed = failures[0].value
            reason = failed.socketError if isinstance(failed, CannotListenError) else failed
            raise StartError(f"cannot listen on {description}: {reason}")

    def stopService(self) -> Deferred[None]:
        """Stop listening, send the clients away, close the database connections. Fires when all is closed."""
        return Deferred.fromCoroutine(self._stop(super().stopService()))

    async def _stop(self, children: Deferred[Any] | None) -> None:
        door, self._door = self._door, None
        closing = self._close_ports()
        if door is not None:
            assert self._pool is not None
            assert self._wires is not None
            pool, wires = self._pool, self._wires
            self._pool = self._wires = None
            door.close()
            pool.stop()
            await wires.when_empty()
            wires.close()
        for port in closing:
            await port
        if children is not None:
            await children

    def _close_ports(self) -> list[Deferred[Any]]:
        ports, self._ports = self._ports, []
        closing = []
        for port in ports:
            stopping = port.stopListening()
            if stopping is not None:
                closing.append(stopping)
        return closing

    @property
    def ports(self) -> tuple[IListeningPort, ...]:
        """Where it listens, in the order of the configuration: for callers that asked for port 0."""
        return tuple(self._ports)


def _with_backlog(description: str) -> str:
    kind, _, arguments = description.removeprefix("haproxy:").partition(":")
    if kind not in ("tcp", "tcp6", "unix") or "backlog=" in arguments:
        return description
    return f"{description}:backlog={BACKLOG}"
