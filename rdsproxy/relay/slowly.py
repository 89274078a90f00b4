"""Run a statement that reads or changes what a session has beside its state, or that begins a pin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE
from rdsproxy.protocol.results import number
from rdsproxy.relay.preparing import PrepareError
from rdsproxy.relay.reading import Read
from rdsproxy.relay.recalling import fetch_left, keep_diagnostics
from rdsproxy.relay.restoring import run_all
from rdsproxy.session.calls import ask_definition
from rdsproxy.session.diagnostics import VEIL
from rdsproxy.session.foresight import executed_by
from rdsproxy.session.leaving import QUIET, seed_found_rows
from rdsproxy.session.questions import ASK_INSERT_ID
from rdsproxy.session.statements import UNCOUNTED, Trait

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Launch, Relay

READS_INSERT_ID: Final = Trait.INSERT_ID | Trait.ROUTINE
_STATEMENTS: Final = (commands.QUERY, commands.STMT_EXECUTE, commands.STMT_BULK_EXECUTE)
OF_IDS: Final = Trait.CONNECTION_ID | Trait.KILL
"""Of statements that get or give ids of connections, which are looked at before all others."""


async def run_slowly(relay: Relay, packets: bytes, expect: int, traits: Trait, launch: Launch | None) -> None:
    """Do as `Relay.run`, for a statement of these traits, once all that it may read is where it runs."""
    session = relay.session
    text = session.text_of(packets)
    execution = executed_by(session, traits, text)
    if execution is None:
        clean = session.foresee(traits, text)
    else:
        text = execution.sql
        traits = relay.traits = (session.state.lexer.all_traits(text) | UNCOUNTED) & ~OF_IDS
        clean = session.foresee(traits, text, execution.using)
    counts = bool(traits & Trait.COUNTS_ROWS or (traits & UNCOUNTED and session.states.asks_found_rows.on))
    fresh = relay.connection is None and not clean
    if relay.connection is None and (
        traits & Trait.DIAGNOSTICS or session.diagnostics.carried or counts or not clean
    ):
        _borrow_last(relay)
    await fetch_left(relay)
    read = None
    if traits & Trait.DIAGNOSTICS and (text is not None or packets[HEADER_SIZE] in _STATEMENTS):
        read = Read(relay, packets, text, launch, executed=execution is not None)
        counts = read.counts(counts)
        lacks = _lacks_insert_id(relay, traits) or (counts and _lacks_found_rows(relay))
        if (lacks or not read.all_here) and not await read.from_memory():
            return
    if relay.connection is None:
        await relay.borrow_interruptibly(clean)
    connection = relay.connection
    assert connection is not None
    if session.foreseen.called is not None:
        await _ask_definition(relay, connection, session.foreseen.called, fresh)
        counts = True
    if read is not None:
        try:
            await read.make_ready(connection)
        except PrepareError as error:
            relay.answer_error(error.err)
            return
        packets, launch = read.packets, read.launch
    moved = session.insert_id_moved
    session.sent(traits)
    if moved and _lacks_insert_id(relay, traits):
        await keep_diagnostics(relay, found_rows=False)
        (result,) = await connection.ask([ASK_INSERT_ID])
        session.diagnostics.found_rows_here = False
        if result.err is None:
            session.answered_insert_id(number(result.row(1)[0]))
            session.sent(traits)
    await _bring_what_is_read(relay, connection, traits, read, counts=counts)
    if read is not None:
        if read.reading.found_rows and not session.diagnostics.found_rows_here:
            read.gone()
            return
        read.keep_what_it_leaves()
    if session.tracking.named:
        await run_all(connection, [session.tracking.own()])
        session.tracking.own_in_force()
    relay.launch(connection, packets, expect, launch)


async def _ask_definition(relay: Relay, connection: DatabaseConnection, name: bytes, fresh: bool) -> None:
    """Ask what the procedure that is about to be called does.

    `fresh`: if it may read what others have left on the connection, that has to be cleaned.
    """
    session = relay.session
    await keep_diagnostics(relay, found_rows=True)
    packets = [ask_definition(name)]
    if session.insert_id_moved:
        packets.append(ASK_INSERT_ID)
    results = await connection.ask(packets)
    session.diagnostics.found_rows_here = False
    if results[0].err is not None:
        # The error is not one of the client's.
        await run_all(connection, [QUIET])
    if session.begin_call(results[0]) or not fresh:
        return
    if session.insert_id_moved and results[1].err is None:
        session.answered_insert_id(number(results[1].row(1)[0]))
    await relay.clean(connection)


def _borrow_last(relay: Relay) -> None:
    """Hold the connection that the session had last, if nothing else has run there."""
    last = relay.behind.take_last(relay)
    if last is not None:
        diagnostics = relay.session.diagnostics
        last_borrower, found_rows_here = last.last_borrower, diagnostics.found_rows_here
        relay.borrowed(last)
        last.last_borrower, diagnostics.found_rows_here = last_borrower, found_rows_here


def _lacks_insert_id(relay: Relay, traits: Trait) -> bool:
    session = relay.session
    return not session.insert_id_here and bool(traits & READS_INSERT_ID or session.lasting_pins)


def _lacks_found_rows(relay: Relay) -> bool:
    diagnostics = relay.session.diagnostics
    return not diagnostics.found_rows_here and diagnostics.found_rows is not None


async def _bring_what_is_read(
    relay: Relay, connection: DatabaseConnection, traits: Trait, read: Read | None, *, counts: bool
) -> None:
    """Have on the connection what the statement may read, or may leave as it is, as if the last one had run there."""
    session = relay.session
    diagnostics = session.diagnostics
    seed = None
    if counts and _lacks_found_rows(relay):
        assert diagnostics.found_rows is not None
        seed = seed_found_rows(diagnostics.found_rows)
        await keep_diagnostics(relay, found_rows=False)
    first = []
    if read is not None and read.memory and read.reading.warnings:
        first.append(QUIET)  # there may be warnings of what the proxy itself has run
    if _lacks_insert_id(relay, traits):
        first.append(commands.query(b"SET last_insert_id=%d" % session.insert_id))
        session.insert_id_here = True
    if seed is not None:
        first.append(seed)
    veil = diagnostics.told is not None and bool(diagnostics.told.rows) and not diagnostics.veiled
    if veil and (diagnostics.carried or traits & Trait.DIAGNOSTICS):
        first.append(VEIL)
        diagnostics.veil()
    if not first:
        return
    for packet, result in zip(first, await connection.ask(first), strict=True):
        if packet is seed:
            # It fails where `max_join_size` is too small.
            diagnostics.found_rows_here = result.err is None
        elif result.err is not None:
            raise BorrowError(result.err)
