"""Open connections to one target for the pool, and make used ones like new."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from pymysql.constants import ER
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import (
    NO_SECRET,
    LoginError,
    TLSPolicy,
    ask,
    first_error,
    log_in,
    log_in_again,
    setup_packets,
)
from rdsproxy.backend.target import MEANING, Facts, learn_baseline, learn_facts
from rdsproxy.iam.minting import MintingError
from rdsproxy.interfaces import Credential, ICredentialProvider
from rdsproxy.pool.pool import Pool
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.protocol.results import Result
from rdsproxy.protocol.telling import Settings
from rdsproxy.session import roles
from rdsproxy.session.prepared import Copies
from rdsproxy.session.state import State, States
from rdsproxy.session.tracking import ASK_SETTINGS, read_settings
from rdsproxy.wire import Wires

CONNECT_TIMEOUT: Final = 10.0  # seconds for a login, and for setting up what it has opened
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
        mint: Callable[[str], Deferred[str]] | None = None,
    ) -> None:
        """`mint` gives a user's token, which then takes the place of the password; fails with MintingError."""
        self._mint = mint
        self._wires = wires
        self._endpoint = _endpoint(reactor, host, port)
        self._tls = tls
        self._init_query = init_query
        self._credentials = credentials
        self._reactor = reactor
        self._pin_untracked_sets = pin_untracked_sets
        self._instead: dict[str, tuple[Credential, Credential]] = {}
        """By user: the likeliest credential, which this server has refused, and the one to begin with instead."""
        self._facts: Facts | None = None
        self._fresh: dict[PoolKey, State] = {}
        """What each key's connections begin with, but for roles, in terms of the states that all targets share."""

    def connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> Deferred[DatabaseConnection]:
        """Open a connection and log in.

        Fails with LoginError, AuthenticationError, ProtocolError, ConnectionLostError or the transport's errors.
        """
        pool.counts.openings += 1

        def succeeded(connection: DatabaseConnection) -> DatabaseConnection:
            pool.counts.opened += 1
            return connection

        def failed(failure: Failure) -> Failure:
            if not failure.check(CancelledError):
                pool.counts.not_opened += 1
            return failure

        return ensureDeferred(self._connect(pool, key, on_lost)).addCallbacks(succeeded, failed)

    async def _connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> DatabaseConnection:
        connection, greeting = await self._log_in(self._credentials, key, on_lost)
        try:
            with self._in_time(connection):
                await self._set_up(pool, connection, greeting)
            connection.join_hub(after=1)
        except BaseException:
            connection.abandon()
            raise
        return connection

    async def _set_up(self, pool: Pool, connection: DatabaseConnection, greeting: Greeting) -> None:
        key = connection.key
        facts = self._facts
        if facts is None or facts.version != greeting.server_version:
            facts = self._facts = await learn_facts(connection, greeting)
        *first, last = setup_packets(facts.tracked, self._init_query)
        *_, settings, _, where = await ask(connection, [*first, ASK_SETTINGS, last, self._ask_where()])
        _, role = self._where(where)
        if key not in self._fresh:
            baseline = await learn_baseline(connection, facts)
            states = pool.known.states.get(key) or self._states(pool, facts, baseline, read_settings(settings), role)
            pool.learned(key, facts, states)
            # What it has otherwise than the target whose baseline is everyone's is written back like the rest.
            own: dict[bytes, bytes] = {name: baseline[name] for name in MEANING if name in baseline}
            self._fresh[key] = states.intern(b"", True, own)
        elif pool.facts is None:
            pool.learned(key, facts, pool.known.states[key])
        connection.pool = pool
        connection.states = states = pool.known.states[key]
        connection.fresh = self._fresh[key]
        connection.state = states.with_role(connection.fresh, role)
        connection.copies = Copies(pool.prepared_statements(key))

    def _states(
        self, pool: Pool, facts: Facts, baseline: dict[bytes, bytes], tracking: Settings, role: bytes
    ) -> States:
        return States(
            MappingProxyType(baseline),
            facts.collations,
            pool.known.lexers,
            facts.defaults,
            reset_keeps_charset=facts.is_mariadb,
            quiet_errors=facts.is_mariadb,
            pin_untracked_sets=self._pin_untracked_sets,
            tracking=tracking,
            role=role,
        )

    async def greeting(self) -> Greeting:
        """Connect, give what the server says of itself, and leave. Raises as `connect` fails."""
        connection = await self._connect_for("")
        try:
            with self._in_time(connection):
                return Greeting.parse(await connection.packet())
        finally:
            connection.abandon()

    async def log_in_as(
        self, credentials: ICredentialProvider, username: str, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> DatabaseConnection:
        """Open a connection that belongs to no pool, and is set to nothing. Raises as `connect` fails."""
        connection, _ = await self._log_in(credentials, PoolKey(username, found_rows=False), on_lost)
        return connection

    async def show(self, username: str, token: str) -> None:
        """Log in by a client's `token`, and leave. Raises as `connect` fails."""
        connection = await self._connect_for(username)
        try:
            with self._in_time(connection):
                await log_in(connection, username, token, self._tls, shown=True)
        except BaseException:
            connection.abandon()
            raise
        connection.discard()

    async def _connect_for(self, username: str) -> DatabaseConnection:
        """Connect for something short, of which nobody needs to know how it ends."""
        connection = DatabaseConnection(
            self._wires, PoolKey(username, found_rows=False), self._reactor.seconds(), lambda *_: None
        )
        await self._connected(connection)
        return connection

    async def _log_in(
        self,
        credentials: ICredentialProvider,
        key: PoolKey,
        on_lost: Callable[[DatabaseConnection, str], None],
    ) -> tuple[DatabaseConnection, Greeting]:
        """Open a connection and log in; if the server refuses that, once more with what its store has by now."""
        user = key.user
        known = await credentials.for_database(user)
        if not known:
            raise LoginError("the proxy has no secret for this user", NO_SECRET)
        first = self._likeliest(user, known)
        try:
            return await self._open(first, key, on_lost)
        except LoginError as error:
            if not error.is_denial:
                raise
            denial = error
        other = await self._another(credentials, user, known, first)
        if other is None:
            raise denial
        return await self._open(other, key, on_lost)

    def _likeliest(self, user: str, known: Sequence[Credential]) -> Credential:
        newest, instead = self._instead.get(user, (None, None))
        if instead is not None and newest == known[0] and instead in known:
            return instead
        self._instead.pop(user, None)
        return known[0]

    async def _another(
        self, credentials: ICredentialProvider, user: str, known: Sequence[Credential], refused: Credential
    ) -> Credential | None:
        """Give another credential than the one of `known` that was refused, and begin with that from now on.

        Between the two steps of a rotation, or on a replica that lags, that is not the current one.
        """
        known = await credentials.for_database(user, refused=known)
        other = next((credential for credential in known if credential != refused), None)
        if other is not None:
            self._instead[user] = known[0], other
        return other

    async def _open(
        self, credential: Credential, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> tuple[DatabaseConnection, Greeting]:
        connection = DatabaseConnection(self._wires, key, self._reactor.seconds(), on_lost)
        await self._connected(connection)
        try:
            with self._in_time(connection):
                password = await self._password(credential)
                greeting = await log_in(connection, credential.username, password, self._tls)
        except BaseException:
            connection.abandon()
            raise
        return connection, greeting

    async def _connected(self, connection: DatabaseConnection) -> None:
        try:
            await self._endpoint.connect(_Once(connection))
        except ConnectingCancelledError:
            # An endpoint that is cancelled has an error of its own for it, which nobody would take for that.
            raise CancelledError from None

    async def _password(self, credential: Credential) -> str:
        if self._mint is None:
            return credential.password
        try:
            return await self._mint(credential.username)
        except MintingError as error:
            raise LoginError(str(error)) from None

    @contextmanager
    def _in_time(self, connection: DatabaseConnection) -> Iterator[None]:
        """Give the server `CONNECT_TIMEOUT`: nobody waits for some of this, and it must not go on for ever."""
        deadline = self._reactor.callLater(CONNECT_TIMEOUT, connection.time_out)
        try:
            yield
        finally:
            if deadline.active():
                deadline.cancel()

    def reset(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, except for the schema, which COM_RESET_CONNECTION keeps."""
        return ensureDeferred(self._reset(connection))

    async def _reset(self, connection: DatabaseConnection) -> None:
        assert self._facts is not None
        with self._in_time(connection):
            results = await connection.ask(
                [
                    commands.RESET_CONNECTION_PACKET,
                    commands.set_option(multi_statements=True),
                    *setup_packets(self._facts.tracked, self._init_query),
                    self._ask_where(),
                ]
            )
        err = first_error(results)
        schema = role = b""
        connection.copies.forget()
        if err is None:
            schema, role = self._where(results[-1])
            if schema:
                # The schema was kept, but not its default character set, which LOAD DATA goes by.
                err = first_error(await connection.ask([commands.init_db(schema)]))
                if err is not None and err.code in _NO_SCHEMA:
                    # It was dropped, or taken from this user. Only another login leaves a connection without one.
                    await self._start_over(connection)
                    return
        if err is not None:
            raise LoginError(f"a reset connection could not be set up: {err.code}", err)
        states = connection.states
        connection.state = states.with_role(states.with_schema(connection.fresh, schema), role)

    def _ask_where(self) -> bytes:
        """Give a query for the schema and the role that are in force."""
        assert self._facts is not None
        return commands.query(b"SELECT DATABASE(), " + (roles.CURRENT if self._facts.knows_roles else b"NULL"))

    def _where(self, result: Result) -> tuple[bytes, bytes]:
        """Give the schema and the roles of an answer, as a `State` has them. A reset does not end roles."""
        assert self._facts is not None
        schema, value = result.row(2)
        role: bytes | None = b""
        if self._facts.knows_roles:
            role = roles.clause(value, many=not self._facts.is_mariadb)
            if role is None:
                raise ProtocolError("the name of a role is not understood")
        return schema or b"", role or b""

    def start_over(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, its schema too. A failure leaves it of no use."""
        return ensureDeferred(self._start_over(connection))

    async def _start_over(self, connection: DatabaseConnection) -> None:
        assert self._facts is not None
        user = connection.key.user
        known = await self._credentials.for_database(user)
        if not known:
            raise _lost(connection, "the proxy has no secret for this user any more")
        credential = self._likeliest(user, known)
        connection.state = None
        connection.copies.forget()
        try:
            await log_in_again(connection, credential.username, await self._password(credential), connection.secure)
        except LoginError as error:
            if not error.is_denial:
                raise
            # The password has changed since. What is under way goes on with another connection.
            lost = _lost(connection, "the database does not let the user log in again")
            await self._another(self._credentials, user, known, credential)
            raise lost from None
        results = await ask(
            connection,
            [
                commands.set_option(multi_statements=True),
                *setup_packets(self._facts.tracked, self._init_query),
                self._ask_where(),
            ],
        )
        connection.state = connection.states.with_role(connection.fresh, self._where(results[-1])[1])


class _Once(Factory):
    """Gives the one protocol of one attempt. Twisted's own such factory logs each start and stop."""

    noisy = False

    def __init__(self, connection: DatabaseConnection) -> None:
        self._connection: DatabaseConnection | None = connection

    def buildProtocol(self, addr: object) -> DatabaseConnection | None:
        """Give the connection. Twisted keeps the factory with what it has opened, which keeps its protocol."""
        connection, self._connection = self._connection, None
        return connection


def _lost(connection: DatabaseConnection, why: str) -> ConnectionLostError:
    connection.cut(why)
    return ConnectionLostError(why)


def _endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    # Only a name needs the resolver, and with it the reactor's thread pool.
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, timeout=CONNECT_TIMEOUT)
    return endpoint
