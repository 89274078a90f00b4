"""The end of a session whose client stays: COM_RESET_CONNECTION, and COM_CHANGE_USER as far as the old session goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from rdsproxy.backend.connection import ConnectionLostError
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.relay.recalling import keep_diagnostics
from rdsproxy.relay.returning import recycle

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def reset(relay: Relay, then: Callable[[], None]) -> None:
    """Do what COM_RESET_CONNECTION does, then call `then`."""
    relay.begin(_reset(relay, then))


async def _reset(relay: Relay, then: Callable[[], None]) -> None:
    relay.lost = None
    if _can_learn_found_rows(relay):
        await keep_diagnostics(relay, found_rows=True)
    connection, relay.connection = relay.connection, None
    if connection is not None:
        # Its locks are gone and its transaction is rolled back before the client hears of it.
        await recycle(relay, connection)
    relay.session.reset()
    if connection is not None and relay.pin_log.logged:
        relay.pin_log.note(connection)
    relay.behind.forget()
    relay.work = None
    then()
    relay.done()


def _can_learn_found_rows(relay: Relay) -> bool:
    return relay.session.diagnostics.found_rows is None and (relay.behind.left is None or relay.route.is_open)


def learn_found_rows(relay: Relay, then: Callable[[], None]) -> None:
    """Call `then` once FOUND_ROWS() is known, or cannot be: the session ends."""
    if _can_learn_found_rows(relay):
        relay.begin(_learn_found_rows(relay, then))
    else:
        then()


async def _learn_found_rows(relay: Relay, then: Callable[[], None]) -> None:
    with suppress(ConnectionLostError, BorrowError, ProtocolError):
        await keep_diagnostics(relay, found_rows=True)
    relay.work = None
    relay.busy = False
    then()
