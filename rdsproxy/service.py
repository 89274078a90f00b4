"""The composition root: the one file that knows every part."""

from __future__ import annotations

from typing import Any

import structlog
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from rdsproxy import shortcut
from rdsproxy.admin.pages import pages_of
from rdsproxy.admin.site import AdminSite
from rdsproxy.aws import require_boto3_for
from rdsproxy.backend.known import Known
from rdsproxy.certificates import RenewedCertificate
from rdsproxy.config import Config
from rdsproxy.credentials.building import Secrets
from rdsproxy.errors import StartError
from rdsproxy.frontend.accounts import Accounts
from rdsproxy.frontend.door import Door, Entrance
from rdsproxy.frontend.networks import Networks
from rdsproxy.hub import Hub
from rdsproxy.iam.building import Tokens
from rdsproxy.iam.database import Show
from rdsproxy.iam.errors import TokenUndecidedError
from rdsproxy.iam.minting import Mint
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.listening import listen
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.tls import backend_tls
from rdsproxy.topology.building import build_group, connectors_of
from rdsproxy.topology.group import Group
from rdsproxy.wire import Wires

_log = structlog.get_logger("rdsproxy.service")


class ProxyService(MultiService):
    """A whole proxy, as a Twisted service: start it, stop it, or make it part of another application.

    Nothing is shared between two of them. `credentials` replaces the secrets of `[[proxy.auth]]`; to start and to stop
    it is up to whoever made it.

    Starting raises StartError for what the configuration promised and the machine does not have: a port that is in
    use, a certificate that cannot be read, secrets of which none can be used. One bad secret among others, or a store
    that does not answer, is logged: the proxy serves the users that it knows, and goes on to ask.
    """

    def __init__(self, config: Config, *, reactor: Any, credentials: ICredentialProvider | None = None) -> None:
        super().__init__()
        self.config = config
        self._reactor = reactor
        self._credentials = credentials
        self.targets: Group | None = None
        """The databases behind it, while it runs."""
        self._known: Known | None = None
        self._door: Door | None = None
        self._wires: Wires | None = None
        self._secrets: Secrets | None = None
        self._mint: Mint | None = None
        self._tokens: Tokens | None = None
        self._ports: list[IListeningPort] = []
        self._admin: AdminSite | None = None
        self._admin_ports: list[IListeningPort] = []

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
        shortcut.install()
        config = self.config
        proxy, group = config.proxy, config.target_group
        reactor = self._reactor
        client_tls = RenewedCertificate(proxy.tls) if proxy.tls is not None else None
        # Read once, so that what is wrong with it is known before anything listens.
        backend_tls(group.tls.mode, group.some_host, group.tls.ca)
        require_boto3_for(config)
        if proxy.default_auth_scheme == "IAM_AUTH":
            self._mint = Mint(reactor)
            self._mint.start()
        secrets = Secrets(config, self._credentials, reactor)
        tokens = Tokens(config, secrets, self._database, reactor) if proxy.iam is not None else None
        secrets.start()
        wires = Wires(Hub.of(reactor), reactor)
        known = Known()
        connector = connectors_of(config, secrets.users, wires, self._mint, reactor)
        targets = build_group(config, connector, secrets.users, secrets.monitors, known, reactor)
        door = Door(
            known=known,
            accounts=Accounts(secrets.users, tokens.verifier if tokens is not None else None),
            keys=RSAKeyPair.generate(),
            tls=client_tls,
            require_tls=proxy.require_tls,
            max_connections=proxy.max_client_connections,
            max_connection_rate=proxy.max_connection_rate,
            max_failed_logins=proxy.max_failed_logins,
            handshake_timeout=proxy.handshake_timeout,
            idle_timeout=proxy.idle_client_timeout,
            debug=proxy.debug_logging,
            wires=wires,
            reactor=reactor,
        )
        try:
            for endpoint in proxy.endpoints:
                route = targets.writers if endpoint.target_role == "READ_WRITE" else targets.readers
                networks = Networks(endpoint.allow_cidrs)
                for description in endpoint.listen:
                    entrance = Entrance(door, route, networks, behind_balancer=description.startswith("haproxy:"))
                    listen(description, entrance, self._ports, reactor, entrance.opened)
            if config.admin is not None:
                self._admin = AdminSite(pages_of(door, targets), reactor)
                listen(config.admin.listen, self._admin, self._admin_ports, reactor)
        except StartError:
            self._close_ports()
            wires.close()
            secrets.stop()
            self._stop_minting()
            raise
        self._door, self._wires, self._known, self._secrets = door, wires, known, secrets
        self._tokens = tokens
        if tokens is not None:
            tokens.start()
        self.targets = targets
        targets.start()
        admin = self.admin_port
        _log.info(
            "listening",
            proxy=proxy.name,
            listen=[str(port.getHost()) for port in self._ports],
            **({} if admin is None else {"admin": str(admin.getHost())}),
        )

    def _database(self, host: str, port: int) -> Show | None:
        """Give what shows clients' tokens to the database that is called `host`, as the verifier of tokens wants it."""
        targets, config = self.targets, self.config
        if targets is None:
            raise TokenUndecidedError("the proxy is about to stop")
        target = targets.named(host, port)
        if target is None:
            # Names that lead to the writer, whichever that is.
            names = [target.host.lower() for target in config.target_group.targets]
            if config.proxy.iam is not None and config.proxy.iam.host is not None:
                names.append(config.proxy.iam.host.lower())
            if host not in names:
                return None
            target = targets.writer
            if target is None:
                raise TokenUndecidedError("there is no writer at the moment")
        return target.connector.show if target.place.port == port else None

    def stopService(self) -> Deferred[None]:
        """Stop listening, send the clients away, close the database connections. Fires when all is closed."""
        return Deferred.fromCoroutine(self._stop(super().stopService()))

    async def _stop(self, children: Deferred[Any] | None) -> None:
        door, self._door = self._door, None
        closing = self._close_ports()
        if door is not None:
            assert self.targets is not None
            assert self._known is not None
            assert self._wires is not None
            assert self._secrets is not None
            targets, known, wires, secrets = self.targets, self._known, self._wires, self._secrets
            self.targets = self._known = self._wires = self._secrets = None
            door.close()
            targets.stop()
            known.stop()
            secrets.stop()
            self._stop_minting()
            tokens, self._tokens = self._tokens, None
            if tokens is not None:
                tokens.stop()
            await wires.when_empty()
            wires.close()
        for port in closing:
            await port
        if children is not None:
            await children

    def _stop_minting(self) -> None:
        mint, self._mint = self._mint, None
        if mint is not None:
            mint.stop()

    def _close_ports(self) -> list[Deferred[Any]]:
        ports = [*self._ports, *self._admin_ports]
        self._ports, self._admin_ports = [], []
        closing = []
        if self._admin is not None:
            closing.append(self._admin.close())
            self._admin = None
        for port in ports:
            stopping = port.stopListening()
            if stopping is not None:
                closing.append(stopping)
        return closing

    @property
    def ports(self) -> tuple[IListeningPort, ...]:
        """Where clients connect, in the order of the configuration: for callers that asked for port 0."""
        return tuple(self._ports)

    @property
    def admin_port(self) -> IListeningPort | None:
        """Where the admin endpoint listens, if there is one."""
        return self._admin_ports[0] if self._admin_ports else None
