"""Giving a connection back to its pool: as it is, cleaned of something, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.session.distributed import spoils_connection
from rdsproxy.session.pinning import STAINED
from rdsproxy.session.state import State

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


# Has a twin in shortcut/replies.c.
def give_back(relay: Relay, connection: DatabaseConnection, state: State | None = None) -> None:
    """Give the connection back, in the session's state or another one."""
    session, behind = relay.session, relay.behind
    diagnostics = session.diagnostics
    relay.connection = None
    connection.state = state or session.state
    behind.last = connection
    # Most leave nothing, and that is told here, without a call for each query.
    if behind.left is not None or session.insert_id_moved or diagnostics.remarks or diagnostics.found_rows is None:
        behind.leave(connection)
    if relay.slow_client or relay.pin_log.logged:
        _let_go(relay, connection)
    connection.pool.give_back(connection)


def give_back_clean(relay: Relay, connection: DatabaseConnection) -> None:
    """Give back a connection on which something was set that nobody is to find there."""
    relay.connection = connection.borrower = connection.state = None
    relay.session.pins &= ~STAINED
    relay.behind.leave(connection)
    _let_go(relay, connection)
    taken = connection.ask_after_left([])
    taken.addCallbacks(lambda _: connection.pool.recycle(connection), lambda _: connection.discard())


def _let_go(relay: Relay, connection: DatabaseConnection) -> None:
    if relay.slow_client:
        relay.slow_client = False
        connection.read_again()
    if relay.pin_log.logged:
        relay.pin_log.note(connection)


def recycle(relay: Relay, connection: DatabaseConnection) -> Deferred[None]:
    """Give back a connection that has something of the session; fires once nobody is hindered by it any more."""
    if not spoils_connection(relay.session):
        return connection.pool.recycle(connection)
    connection.pool.discard(connection)
    return succeed(None)
