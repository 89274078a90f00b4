"""Open connections to one target for the pool, and make used ones like new."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from pymysql.constants import ER
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import (
    LoginError,
    TLSPolicy,
    ask,
    first_error,
    log_in,
    log_in_again,
    setup_packets,
)
from rdsproxy.backend.target import Facts, learn_baseline, learn_facts
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.pool.pool import Pool
from rdsproxy.protocol import commands
from rdsproxy.protocol.responses import Err
from rdsproxy.session.prepared import Copies
from rdsproxy.session.state import States
from rdsproxy.session.statements import Lexers
from rdsproxy.wire import Wires

CONNECT_TIMEOUT: Final = 10.0  # seconds, from the first packet to the first loan
_NO_SCHEMA: Final = frozenset((ER.DBACCESS_DENIED_ERROR, ER.BAD_DB_ERROR))


class Connector:
    """Connections to the server at `host` and `port`, under the users that `credentials` knows."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: TLSPolicy,
        init_query: str,
        credentials: ICredentialProvider,
        wires: Wires,
        reactor: Any,
        *,
        pin_untracked_sets: bool = True,
    ) -> None:
        self._wires = wires
        self._endpoint = _endpoint(reactor, host, port)
        self._tls = tls
        self._init_query = init_query
        self._credentials = credentials
        self._reactor = reactor
        self._pin_untracked_sets = pin_untracked_sets
        self._lexers = Lexers()
        self._facts: Facts | None = None
        self._roles: dict[PoolKey, bytes | None] = {}
        """The role with which each key's connections begin."""

    def connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> Deferred[DatabaseConnection]:
        """Open a connection and log in.

        Fails with LoginError, AuthenticationError, ProtocolError, ConnectionLostError or the transport's errors.
        """
        return ensureDeferred(self._connect(pool, key, on_lost))

    async def _connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> DatabaseConnection:
        credential = self._credentials.lookup(key.user)
        if credential is None:
            raise LoginError("the proxy has no secret for this user", Err(1045, "28000", "no secret"))
        connection = DatabaseConnection(self._wires, key, self._reactor.seconds(), on_lost)
        await self._endpoint.connect(_Once(connection))
        deadline = self._reactor.callLater(CONNECT_TIMEOUT, connection.time_out)
        try:
            greeting = await log_in(connection, credential.username, credential.password, self._tls)
            facts = self._facts
            if facts is None or facts.version != greeting.server_version:
                facts = self._facts = await learn_facts(connection, greeting.server_version, greeting.charset)
            await ask(connection, setup_packets(facts.tracked, self._init_query))
            if key not in self._roles:
                (where,) = await ask(connection, [self._ask_where()])
                self._roles[key] = where.row(2)[1]
            states = pool.states.get(key)
            if states is None:
                baseline = MappingProxyType(await learn_baseline(connection))
                states = pool.states.get(key)
                if states is None:
                    states = States(
                        baseline,
                        facts.collations,
                        self._lexers,
                        facts.defaults,
                        reset_keeps_charset=facts.is_mariadb,
                        quiet_errors=facts.is_mariadb,
                        pin_untracked_sets=self._pin_untracked_sets,
                    )
                    pool.learned(key, facts, states)
            connection.states = states
            connection.state = states.fresh
            connection.copies = Copies(pool.prepared_statements(key))
            connection.join_hub(after=1)
        except BaseException:
            connection.abandon()
            raise
        finally:
            if deadline.active():
                deadline.cancel()
        return connection

    def reset(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, except for the schema, which COM_RESET_CONNECTION keeps."""
        return ensureDeferred(self._reset(connection))

    async def _reset(self, connection: DatabaseConnection) -> None:
        assert self._facts is not None
        # Nobody waits for most of these: a server that does not answer must not keep the connection for ever.
        deadline = self._reactor.callLater(CONNECT_TIMEOUT, connection.time_out)
        try:
            results = await connection.ask(
                [
                    commands.RESET_CONNECTION_PACKET,
                    commands.set_option(multi_statements=True),
                    *setup_packets(self._facts.tracked, self._init_query),
                    self._ask_where(),
                ]
            )
        finally:
            if deadline.active():
                deadline.cancel()
        err = first_error(results)
        schema = b""
        connection.copies.forget()
        if err is None:
            name, role = results[-1].row(2)
            if role != self._roles[connection.key]:
                # Neither COM_RESET_CONNECTION nor, on MariaDB, COM_CHANGE_USER ends a role.
                raise LoginError("a reset connection has kept a role")
            schema = name or b""
            if schema:
                # The schema was kept, but not its default character set, which LOAD DATA goes by.
                err = first_error(await connection.ask([commands.init_db(schema)]))
                if err is not None and err.code in _NO_SCHEMA:
                    # It was dropped, or taken from this user. Only another login leaves a connection without one.
                    await self._start_over(connection)
                    return
        if err is not None:
            raise LoginError(f"a reset connection could not be set up: {err.code}", err)
        fresh = connection.states.fresh
        connection.state = connection.states.with_schema(fresh, schema)

    def _ask_where(self) -> bytes:
        """Give a query for the schema and the role that are in force."""
        assert self._facts is not None
        return commands.query(b"SELECT DATABASE(), " + (b"CURRENT_ROLE()" if self._facts.knows_roles else b"NULL"))

    def start_over(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, its schema too. A failure leaves it of no use."""
        return ensureDeferred(self._start_over(connection))

    async def _start_over(self, connection: DatabaseConnection) -> None:
        assert self._facts is not None
        credential = self._credentials.lookup(connection.key.user)
        if credential is None:
            raise ConnectionLostError("the proxy has no secret for this user any more")
        connection.state = None
        connection.copies.forget()
        await log_in_again(connection, credential.username, credential.password, connection.secure)
        await ask(
            connection,
            [commands.set_option(multi_statements=True), *setup_packets(self._facts.tracked, self._init_query)],
        )
        connection.state = connection.states.fresh


class _Once(Factory):
    """Gives the one protocol of one attempt. Twisted's own such factory logs each start and stop."""

    noisy = False

    def __init__(self, connection: DatabaseConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> DatabaseConnection:
        """Give the connection."""
        return self._connection


def _endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    # Only a name needs the resolver, and with it the reactor's thread pool.
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, timeout=CONNECT_TIMEOUT)
    return endpoint
