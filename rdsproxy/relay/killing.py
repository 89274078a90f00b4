"""KILL with a connection id of the proxy's: end another client's statement, or its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.backend.login import LoginError
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.killing import KILL_FAILURES
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE, frame
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors
from rdsproxy.relay.settling import settle
from rdsproxy.session.identity import FIRST_ID, Kill, parse_kill, with_own_id
from rdsproxy.session.pinning import PinReason

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay

NO_SUCH_THREAD: Final = 1094
_MAX_STATEMENT: Final = 1 << 20  # bytes; a longer one is not looked into


def run_kill(relay: Relay, packets: bytes) -> bool:
    """Carry out a COM_QUERY that is a KILL. False: it is for the server, who knows the ids in it or refuses them."""
    sql = commands.text_of(packets)
    if sql is None or len(packets) > _MAX_STATEMENT:
        return False
    kill = parse_kill(sql, relay.client.id, relay.session.state)
    return kill is not None and begin_kill(relay, kill)


def name_client(relay: Relay, packets: bytes) -> bytes:
    """Write the client's id into a statement that asks for it."""
    if len(packets) > _MAX_STATEMENT or packets[HEADER_SIZE] not in (commands.QUERY, commands.STMT_PREPARE):
        return packets
    sql = packets[HEADER_SIZE + 1 :]
    changed = with_own_id(sql, relay.client.id, relay.session.state)
    if changed is sql:
        return packets
    return frame(packets[HEADER_SIZE : HEADER_SIZE + 1] + changed)


def begin_kill(relay: Relay, kill: Kill) -> bool:
    """Carry out a KILL of `relay`'s client, and answer it. False: the id is none of the proxy's."""
    facts = relay.route.known.facts
    assert facts is not None
    if not FIRST_ID <= kill.thread < 2 * FIRST_ID or (kill.how and not facts.is_mariadb):
        return False
    victim = relay.client.sibling(kill.thread)
    if victim is None:
        relay.answer(errors.unknown_thread(kill.thread))
    elif victim.key.user != relay.key.user:
        relay.answer(errors.not_owner(kill.thread))
    elif not kill.query:
        if victim is relay:
            relay.client.cut(errors.KILLED if facts.is_mariadb else errors.INTERRUPTED)
        else:
            victim.client.cut()
            relay.answer(None)
    elif victim is relay:
        relay.answer(errors.INTERRUPTED)
    else:
        connection = _interrupt(victim)
        if connection is None:
            relay.answer(None)
        else:
            relay.begin(_answered(relay, _kill_query(victim, connection, kill)))
    return True


def _interrupt(victim: Relay) -> DatabaseConnection | None:
    """End a command that waits for a connection; give the connection of one that only the server can end.

    None also where nothing is under way, or where the client's command has not been sent yet: a KILL QUERY that
    comes a moment before its statement has no effect on a server either.
    """
    if victim.waiting:
        victim.route.forget(victim)
        victim.refused(errors.INTERRUPTED)
    elif victim.borrowing:
        work, victim.work = victim.work, None
        assert work is not None
        work.cancel()
        connection, victim.connection = victim.connection, None
        if connection is not None:
            connection.pool.discard(connection)
        victim.refuse(errors.INTERRUPTED)
    elif victim.busy and victim.work is None:
        return victim.connection
    return None


def _keep(victim: Relay, connection: DatabaseConnection) -> None:
    """Keep the connection until `release`: a KILL QUERY for it is on its way, and must not hit another session."""
    connection.targeted += 1
    victim.session.pins |= PinReason.KILL
    victim.pin_log.logged |= PinReason.KILL


def _release(victim: Relay, connection: DatabaseConnection) -> None:
    """End one `keep`. A command that is under way ends it with its reply."""
    connection.targeted -= 1
    if not connection.targeted and victim.connection is connection and not victim.busy:
        victim.busy = True
        settle(victim)


def _kill_query(victim: Relay, connection: DatabaseConnection, kill: Kill) -> Deferred[Err | None]:
    """Have the server end the statement that runs on `connection`. Whoever asked may leave before it is done."""
    _keep(victim, connection)
    answer: Deferred[Err | None] = Deferred()

    def killed(err: Err | None) -> None:
        _release(victim, connection)
        # A thread that is gone has nothing left to interrupt.
        answer.callback(None if err is not None and err.code == NO_SUCH_THREAD else err)

    def failed(failure: Failure) -> None:
        _release(victim, connection)
        refused = failure.value if isinstance(failure.value, LoginError) else None
        # A denial's text says from which of the proxy's addresses the database sees it coming.
        if refused is not None and refused.err is not None and not refused.is_denial:
            answer.callback(refused.err)
            return
        if not failure.check(CancelledError, *KILL_FAILURES):
            log_unexpected(victim.client.log, failure)
        answer.callback(errors.NOT_KILLED)

    connection.pool.killer.run(victim.key, kill.of(connection.thread_id)).addCallbacks(killed, failed)
    return answer


async def _answered(relay: Relay, answer: Deferred[Err | None]) -> None:
    holds = relay.connection is not None
    err = await answer
    if holds and relay.connection is None:
        # It broke while the proxy did this for the client: that is told with the next command.
        relay.lost = errors.SESSION_LOST
    relay.answer(err)
