"""Behind a command: ask what must be known about the session; then it keeps its connection, or gives it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.relay import errors
from rdsproxy.relay.returning import give_back, give_back_clean, recycle
from rdsproxy.session.leaving import EvenAnError, Question, nothing
from rdsproxy.session.pinning import STAINED, UNUSED_TRANSACTION, PinReason
from rdsproxy.session.questions import PROBES, questions_of

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def settle(relay: Relay) -> None:
    """Ask what must be known; then keep the connection or give it back."""
    session = relay.session
    connection = relay.connection
    assert connection is not None
    if session.pins & PinReason.KILL and not connection.targeted:
        session.pins &= ~PinReason.KILL
    # A connection that is kept for good answers for itself, once it has the session's own LAST_INSERT_ID().
    if (
        not session.lasting_pins
        or session.tracking.in_force
        or session.unread_role
        or (session.insert_id_moved and not session.insert_id_here)
    ):
        questions = questions_of(session)
        if questions:
            if relay.slow_client:
                # The reply is complete: what the client has not read of it yet must not hold up the answers.
                relay.slow_client = False
                connection.read_again()
            relay.settling = True
            relay.begin(_ask(relay, connection, questions))
            return
    if session.reasons != relay.pin_log.logged:
        relay.pin_log.note(connection)
    if session.holds:
        connection.state = None
        if session.pins & UNUSED_TRANSACTION:
            connection.pool.spares.offer(connection)
    elif session.pins & STAINED:
        give_back_clean(relay, connection)
    else:
        give_back(relay, connection)
    relay.done()


async def _ask(relay: Relay, connection: DatabaseConnection, questions: list[Question]) -> None:
    """Settle with the answers. The client has its reply: a failure here is told with its next command."""
    try:
        await relay.behind.fetch()
        for (_, take), result in zip(
            questions, await connection.ask([packet for packet, _ in questions]), strict=True
        ):
            if result.err is None or isinstance(take, EvenAnError):
                take(result)
            elif take is not nothing:
                raise BorrowError(result.err)
        if questions[0][0] in PROBES:
            # It leaves alone what the statement before it has left behind, but for ROW_COUNT().
            connection.last_borrower = relay.behind
        else:
            relay.session.diagnostics.found_rows_here = False
    except ConnectionLostError:
        settled = False
    except (BorrowError, ProtocolError) as error:
        settled = False
        relay.lost = errors.STATE_LOST
        relay.connection = None
        if isinstance(error, BorrowError):
            recycle(relay, connection)
        else:
            connection.pool.discard(connection)
        relay.session.lost()
    else:
        settled = True
    relay.work = None
    relay.settling = False
    if settled:
        settle(relay)
    else:
        relay.done()
