"""Look at one target, on a connection of its own that is kept between two looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection
from rdsproxy.backend.connector import Connector
from rdsproxy.backend.login import NO_SECRET, LoginError
from rdsproxy.interfaces import ICredentialProvider
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.results import Result
from rdsproxy.topology.health import Health, Reason, Role, State

# By name, so that one query serves every version: MariaDB has no super_read_only.
ASK_ROLE: Final = commands.query(
    b"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'innodb_read_only')"
)
ASK_REPLICA: Final = commands.query(b"SHOW REPLICA STATUS")
ASK_REPLICA_BEFORE: Final = commands.query(b"SHOW SLAVE STATUS")
"""MySQL before 8.0.22, MariaDB before 10.5."""

_LAGS: Final = frozenset((b"Seconds_Behind_Master", b"Seconds_Behind_Source"))
_RUNNING: Final = frozenset((b"Slave_SQL_Running", b"Replica_SQL_Running"))

_UNKNOWN: Final = 1064  # ER_PARSE_ERROR
_NOT_LET_IN: Final = frozenset((1044, 1045, 1130, 1698, 1862, 3118))

_FULL: Final = frozenset((1040, 1203, 1226))  # ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED

FAILURES: Final = (
    LoginError,
    AuthenticationError,
    ProtocolError,
    ConnectionLostError,
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    OSError,
)
"""What a connection to a database fails with."""


class Probe:
    """Asks one target for its health."""

    def __init__(
        self, connector: Connector, users: ICredentialProvider, timeout: float, reactor: Any
    ) -> None:
        self._connector = connector
        self._users = users
        """Tried in turn until the target lets one in."""
        self._denied: list[str] = []
        """Of these, those who were not, the last one last."""
        self._timeout = timeout
        self._reactor = reactor
        self._connection: DatabaseConnection | None = None
        self._ask_replica = ASK_REPLICA
        self.on_lost: Callable[[], None] = _nothing
        """Called when the connection is lost between two looks."""

    def look(self) -> Deferred[Health]:
        """Give the target's health within the timeout. Never fails, but for CancelledError when it is cancelled."""
        looking = Deferred.fromCoroutine(self._look())
        looking.addTimeout(self._timeout, self._reactor)
        return looking.addErrback(self._failed)

    async def _look(self) -> Health:
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._log_in()
        # From here on it is this object's to close.
        self._connection = connection
        return await self._ask(connection)

    async def _ask(self, connection: DatabaseConnection) -> Health:
        variables, replica = await connection.ask([ASK_ROLE, self._ask_replica])
        if replica.err is not None and replica.err.code == _UNKNOWN and self._ask_replica is ASK_REPLICA:
            self._ask_replica = ASK_REPLICA_BEFORE
            (replica,) = await connection.ask([self._ask_replica])
        return _health(role_in(variables), replica)

    async def _log_in(self) -> DatabaseConnection:
        names = self._users.usernames()
        if not names:
            raise LoginError("no secret of a user who may look at it can be used", NO_SECRET)
        *others, last = sorted(names, key=lambda name: self._denied.index(name) if name in self._denied else -1)
        for name in others:
            try:
                return await self._connector.log_in_as(self._users, name, self._lost)
            except LoginError as error:
                if error.err is None or error.err.code not in _NOT_LET_IN:
                    raise
                # The next time this one comes last.
                self._denied = [denied for denied in self._denied if denied != name] + [name]
        return await self._connector.log_in_as(self._users, last, self._lost)

    def _failed(self, failure: Failure) -> Health:
        self._drop()
        if failure.check(CancelledError):
            failure.raiseException()
        detail = failure.getErrorMessage()
        if failure.check(TimeoutError):
            return Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE, detail="no answer in time")
        if failure.check(LoginError, AuthenticationError):
            err = getattr(failure.value, "err", None)
            if err is not None and err.code in _FULL:
                return Health(State.AVAILABLE, detail="it has no connection left for the monitor")
            denied = failure.check(AuthenticationError) or (err is not None and err.code in _NOT_LET_IN)
            reason = Reason.AUTH_FAILURE if denied else Reason.CONNECTION_FAILED
            return Health(State.UNAVAILABLE, reason=reason, detail=detail)
        reason = Reason.UNREACHABLE if failure.check(ConnectError) else Reason.CONNECTION_FAILED
        if not failure.check(*FAILURES):
            detail = f"{failure.type.__name__ if failure.type else 'failure'}: {detail}"
        return Health(State.UNAVAILABLE, reason=reason, detail=detail)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _lost(self, connection: DatabaseConnection, why: str) -> None:
        if connection is self._connection:
            self.on_lost()

    def stop(self) -> None:
        """Close the connection."""
        self._drop()


def role_in(variables: Result) -> Role:
    """Read the answer to ``ASK_ROLE``. Raises LoginError, ProtocolError."""
    if variables.err is not None:
        raise LoginError(f"the monitor's query failed: {variables.err.code}", variables.err)
    rows = variables.table(2)
    if not rows:
        raise ProtocolError("a server without read_only")
    writes = all(value in (b"OFF", b"0") for _, value in rows)
    return Role.READ_WRITE if writes else Role.READ_ONLY


def _health(role: Role, replica: Result) -> Health:
    if replica.err is not None or not replica.rows:
        return Health(State.AVAILABLE, role)
    names = [column.name for column in replica.columns(len(replica.rows[0]))]
    row = dict(zip(names, replica.rows[0], strict=True))
    lags = [value for name, value in row.items() if name in _LAGS]
    lag = float(lags[0]) if lags and lags[0] is not None else None
    stopped = any(value != b"Yes" for name, value in row.items() if name in _RUNNING)
    if role is Role.READ_ONLY and stopped:
        return Health(
            State.AVAILABLE, role, lag, Reason.INVALID_REPLICATION_STATE, "its replication does not run"
        )
    return Health(State.AVAILABLE, role, lag)


def _nothing() -> None:
    pass
