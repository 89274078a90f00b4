"""Make sure, before a login succeeds, that the schema it names exists and may be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol import commands
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors
from rdsproxy.relay.restoring import run_all

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def enter_schema(relay: Relay, then: Callable[[Err | None], None]) -> None:
    """Bring a connection into the session's schema, unless the pool knows it already; `then` is told why not."""
    schema = relay.session.state.schema
    if not schema or schema in relay.route.known.schemas[relay.key]:
        then(None)
        return

    def entered(_: None) -> None:
        relay.end_work()
        then(None)

    def not_entered(failure: Failure) -> None:
        relay.end_work(broken=True)
        if failure.check(CancelledError):
            return
        if isinstance(failure.value, BorrowError):
            then(failure.value.err)
            return
        if not failure.check(ConnectionLostError, *errors.BROKEN):
            log_unexpected(relay.client.log, failure)
        then(errors.LOST)

    def unforeseen(failure: Failure) -> None:
        log_unexpected(relay.client.log, failure)
        relay.client.fail("internal error")

    relay.work_on(_enter(relay, schema)).addCallbacks(entered, not_entered).addErrback(unforeseen)


async def _enter(relay: Relay, schema: bytes) -> None:
    await relay.borrow()
    assert relay.connection is not None
    # Whoever used the connection last may have entered it with a role that let it.
    await run_all(relay.connection, [commands.init_db(schema)])
