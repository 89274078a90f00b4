"""What a session has left behind on connections that it gave back, and finds there again or has fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.session.leaving import Left
from rdsproxy.session.session import Session

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


class Behind:
    """The traces of one session on the connections that it has used."""

    __slots__ = ("_key", "_session", "last", "left")

    def __init__(self, key: PoolKey, session: Session) -> None:
        self._key = key
        self._session = session
        self.last: DatabaseConnection | None = None
        """The connection that the session gave back last."""
        self.left: Left | None = None
        """What is left on the session's last connection, as far as nobody has taken it."""

    def take(self) -> DatabaseConnection | None:
        """Lend the connection on which the session has left something, if it is idle and in the session's state."""
        left = self.left
        assert left is not None
        if left.taken:
            self.left = None
            return None
        connection: DatabaseConnection = left.connection
        if (
            connection.left is left
            and connection.state is self._session.state
            and connection.pool.take_this(self._key, connection)
        ):
            return connection
        if not left.lasts:
            left.outdated()
        return None

    @property
    def must_fetch(self) -> bool:
        """What is left elsewhere is wanted before the next statement, whatever that is."""
        left = self.left
        return left is not None and not left.taken and left.lasts

    def take_last(self, relay: Relay) -> DatabaseConnection | None:
        """Lend the connection that the session had last, if nothing else has run there."""
        last = self.last
        if (
            last is None
            or last.last_borrower not in (relay, self)
            or last.state is not self._session.state
            or not last.pool.take_this(self._key, last)
        ):
            return None
        return last

    # Has a twin in shortcut/sending.c.
    def arrived(self, connection: DatabaseConnection) -> None:
        """Begin to use a connection: find on it what the session has left there."""
        session, left = self._session, self.left
        session.borrowed()
        if left is None:
            return
        if connection.left is left:
            connection.left = self.left = None
            session.insert_id_here = left.here
            session.diagnostics.found_rows_here = left.found_rows_here
            session.insert_id_moved = left.insert_id
        else:
            left.outdated()
            if left.insert_id and not left.taken:
                session.insert_id_here = False

    async def fetch(self) -> None:
        """Wait until what the session has left elsewhere is known."""
        left = self.left
        if left is None:
            return
        connection: DatabaseConnection = left.connection
        if left.taken:
            self.left = None
        elif connection.left is left and connection.pool.take_this(self._key, connection):
            try:
                await connection.ask_after_left([])
            except ConnectionLostError:
                return  # as it would be lost with a connection of the client's own
            except BaseException:
                connection.pool.discard(connection)
                raise
            connection.pool.give_back(connection)
        else:
            # Another session has the connection, and asks for it first of all.
            taken: Deferred[None] = Deferred()
            left.whens.append(lambda: taken.callback(None))
            await taken

    def leave(self, connection: DatabaseConnection) -> None:
        """Remember a connection that is about to be given back, and what the session may still ask for there."""
        session, left = self._session, self.left
        diagnostics = session.diagnostics
        self.last = connection
        if not (
            session.insert_id_moved
            or (diagnostics.remarks and diagnostics.unread)
            or (diagnostics.found_rows is None and session.must_ask_found_rows)
        ):
            if left is not None and left.taken:
                self.left = None
            return
        if left is not None:
            left.outdated()
            if session.insert_id_moved:
                left.abandoned()
        connection.left = self.left = Left(session, connection)
        session.insert_id_moved = False

    def forget(self) -> None:
        """The session has ended, or begins anew."""
        self.last = None
        left, self.left = self.left, None
        if left is not None:
            left.abandoned()
