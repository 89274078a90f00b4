"""Stop what connections of the pool do, by the server's KILL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectError, ConnectionDone

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import LoginError
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.responses import Err

if TYPE_CHECKING:
    from rdsproxy.pool.pool import Connector, Pool

KILL_FAILURES: Final = (
    LoginError,
    ConnectionLostError,
    AuthenticationError,
    ProtocolError,
    ConnectError,
    ConnectionDone,
    OSError,
)
"""What `Killer.run` fails with where the database is at fault."""

_TIMEOUT: Final = 10.0  # seconds for an answer


class Killer:
    """Runs KILL statements on a connection of the pool that is idle, or on one of its own.

    That one is beyond the pool's limit, since a KILL is wanted most where all connections are busy and clients wait.
    There is at most one for each key, and only while there is something to kill.
    """

    def __init__(self, pool: Pool, connector: Connector, reactor: Any) -> None:
        self._pool = pool
        self._connector = connector
        self._reactor = reactor
        self._queues: dict[PoolKey, list[tuple[bytes, Deferred[Err | None]]]] = {}
        self._serving: set[Deferred[None]] = set()
        self.own: set[DatabaseConnection] = set()
        """Its own connections."""

    def run(self, key: PoolKey, statement: bytes) -> Deferred[Err | None]:
        """Run a KILL as the user of `key`; gives the server's error if it answered by one.

        Fails with KILL_FAILURES, or CancelledError when the proxy stops.
        """
        connection = self._pool.take_any(key)
        if connection is not None:
            return ensureDeferred(self._run_idle(connection, statement))
        answered: Deferred[Err | None] = Deferred()
        queue = self._queues.get(key)
        if queue is not None:
            queue.append((statement, answered))
            return answered
        self._queues[key] = [(statement, answered)]
        serving = ensureDeferred(self._serve(key))
        self._serving.add(serving)
        serving.addErrback(self._fail, key)
        serving.addBoth(lambda _: self._serving.discard(serving))
        return answered

    async def _run_idle(self, connection: DatabaseConnection, statement: bytes) -> Err | None:
        (err,) = await self._ask(connection, [statement])
        self._pool.give_back(connection)
        return err

    async def _serve(self, key: PoolKey) -> None:
        connection = await self._connector.connect(self._pool, key, lambda connection, why: None)
        self.own.add(connection)
        try:
            queue = self._queues[key]
            while queue:
                batch = list(queue)
                errs = await self._ask(connection, [statement for statement, _ in batch])
                del queue[: len(batch)]
                for (_, answered), err in zip(batch, errs, strict=True):
                    answered.callback(err)
            del self._queues[key]
        except BaseException:
            self.own.discard(connection)
            connection.discard()
            raise
        connection.retire(lambda: self.own.discard(connection))

    async def _ask(self, connection: DatabaseConnection, statements: list[bytes]) -> list[Err | None]:
        deadline = self._reactor.callLater(_TIMEOUT, connection.time_out)
        try:
            results = await connection.ask_after_left([commands.query(statement) for statement in statements])
        finally:
            if deadline.active():
                deadline.cancel()
        return [result.err for result in results]

    def _fail(self, failure: Any, key: PoolKey) -> None:
        for _, answered in self._queues.pop(key, []):
            answered.errback(failure)

    def stop(self) -> None:
        """Close the own connections; whoever waits for an answer gets none."""
        for serving in list(self._serving):
            serving.cancel()
        for connection in list(self.own):
            connection.abort()
