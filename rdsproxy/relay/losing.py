"""A connection that is lost while a session has it: what becomes of the session, and of the command under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.protocol.reply import DONE
from rdsproxy.relay import errors
from rdsproxy.relay.repeating import error_for, is_harmless, warnings_survive
from rdsproxy.session.pinning import PinReason
from rdsproxy.session.session import IN_TRANSACTION
from rdsproxy.session.transactions import begins_bare

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay


def lose(relay: Relay, why: str) -> None:
    """Take in that the connection on loan is gone: send the command again, or tell the client now or later."""
    connection, relay.connection = relay.connection, None
    session = relay.session
    unsure = bool(session.doubtful or session.unread or session.unread_role)
    # A reply that was not learned from is that of a statement still.
    unsent = not unsure and (not relay.busy or relay.work is not None)
    lost = errors.SESSION_LOST if session.reasons else errors.ROLLED_BACK
    command = relay.command
    err = error_for(session, command)
    # What its text means depends on the session as it was.
    bare = begins_bare(session)
    harmless = command is not None and bare and is_harmless(session, command, relay.traits)
    survive = session.diagnostics.surviving() if warnings_survive(session, command, relay.traits) else None
    held = session.holds
    session.lost(unsent=unsent)
    kept = bool(session.state.transaction)
    held = held and not kept
    # What was meant for a transaction is not to run outside of it.
    relay.survive = survive if bare or kept else None
    relay.client.resume_input()
    relay.pin_log.logged = PinReason.NONE
    if relay.slow_client and connection is not None:
        relay.slow_client = False
    if relay.settling and (held or unsure):
        relay.lost = errors.SESSION_LOST if unsure else lost
    if relay.busy and connection is not None:
        connection.pool.doubt()
    if relay.work is not None or connection is None:
        return  # whoever asked the connection something is told by its failure
    if not relay.busy:
        if held:
            relay.lost = lost
        return
    if relay.uploading is not None:
        return  # the client is told when its file has ended: until then it does not listen
    reply = connection.reply
    if reply.state == DONE:
        # The client has its reply, but the server said more than that, and so nothing was learned from it.
        if held or relay.traits or reply.failed or reply.changes is not None or reply.status & IN_TRANSACTION:
            relay.lost = errors.STATE_LOST
        relay.done()
        return
    if reply.failed:
        # The error for a refused upload was the client's last; of what the server went on to say it heard nothing.
        relay.lost = errors.STATE_LOST
        relay.done()
        return
    if not reply.at_boundary:
        relay.client.fail("the database was lost in the middle of a packet")
        return
    if harmless and not reply.packets and survive is not None and relay.repeating.again(command):
        survive()
        relay.repeat()
        return
    relay.client.log.warning("database lost during a statement", backend=connection.thread_id, reason=why)
    relay.route.counts.lost += 1
    relay.client.send_error(err, reply.next_sequence)
    relay.done()
