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
from rdsproxy.session.identity import FIRST_ID, Kill, parse_kill, with_own_id

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay

NO_SUCH_THREAD: Final = 1094
_MAX_STATEMENT: Final = 1 << 20  # bytes; a longer one is not looked into


def run_kill(relay: Relay, packets: bytes) -> bool:
    """Carry out a COM_QUERY that is a KILL. False: it is for the server, who knows the ids in it or refuses them."""
    sql = commands.text_of(packets)
    if sql is None or len(packets) > _MAX_STATEMENT:
        return False
    session = relay.session
    kill = parse_kill(sql, relay.client.id, session.state, session.states)
    return kill is not None and begin_kill(relay, kill)


def name_client(relay: Relay, packets: bytes) -> bytes:
    """Write the client's id into a statement that asks for it."""
    if len(packets) > _MAX_STATEMENT or packets[HEADER_SIZE] not in (commands.QUERY, commands.STMT_PREPARE):
        return packets
    session = relay.session
    sql = packets[HEADER_SIZE + 1 :]
    changed = with_own_id(sql, relay.client.id, session.state, session.states)
    if changed is sql:
        return packets
    return frame(packets[HEADER_SIZE : HEADER_SIZE + 1] + changed)


def begin_kill(relay: Relay, kill: Kill) -> bool:
    """Carry out a KILL of `relay`'s client, and answer it. False: the id is none of the proxy's."""
    facts = relay.pool.facts
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
        connection = victim.interrupt()
        if connection is None:
            relay.answer(None)
        else:
            relay.begin(_answered(relay, _kill_query(victim, connection, kill)))
    return True


def _kill_query(victim: Relay, connection: DatabaseConnection, kill: Kill) -> Deferred[Err | None]:
    """Have the server end the statement that runs on `connection`. Whoever asked may leave before it is done."""
    victim.keep(connection)
    answer: Deferred[Err | None] = Deferred()

    def killed(err: Err | None) -> None:
        victim.release(connection)
        # A thread that is gone has nothing left to interrupt.
        answer.callback(None if err is not None and err.code == NO_SUCH_THREAD else err)

    def failed(failure: Failure) -> None:
        victim.release(connection)
        if isinstance(failure.value, LoginError) and failure.value.err is not None:
            answer.callback(failure.value.err)
            return
        if not failure.check(CancelledError, *KILL_FAILURES):
            log_unexpected(victim.client.log, failure)
        answer.callback(errors.NOT_KILLED)

    victim.pool.killer.run(victim.key, kill.of(connection.thread_id)).addCallbacks(killed, failed)
    return answer


async def _answered(relay: Relay, answer: Deferred[Err | None]) -> None:
    holds = relay.connection is not None
    err = await answer
    if holds and relay.connection is None:
        relay.lost_meanwhile()
    relay.answer(err)
