"""Prepared statements on behalf of a client: each command goes to a copy on whatever connection the session has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection
from rdsproxy.pool.pool import BorrowError
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, frame
from rdsproxy.protocol.reply import FIRST, PREPARED, ROWS
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors
from rdsproxy.relay.client import Client
from rdsproxy.relay.killing import name_client
from rdsproxy.relay.restoring import run_all
from rdsproxy.session import restore
from rdsproxy.session.prepared import MAX_STATEMENTS, Copy, Statement, opens_cursor, renumbered, statement_id
from rdsproxy.session.session import Session
from rdsproxy.session.statements import Trait

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Relay

TOO_MANY: Final = 1461
"""ER_MAX_PREPARED_STMT_COUNT_REACHED"""


class PrepareError(Exception):
    """The database does not prepare a statement again. `err` is what it says, and what the client is told."""

    def __init__(self, err: Err) -> None:
        super().__init__(err.message)
        self.err = err


def prepare(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_PREPARE: always the server's, so that its errors and definitions are of this moment."""
    session = relay.session
    if len(session.statements) >= MAX_STATEMENTS:
        client.send_error(
            Err(TOO_MANY, "42000", f"Can't create more than {MAX_STATEMENTS} prepared statements in one session")
        )
        client.ready()
        return
    if session.state.lexer.traits(payload[1:]) & Trait.CONNECTION_ID:
        packets = name_client(relay, packets)
        payload = packets[HEADER_SIZE:]
    text = payload[1:]
    number = session.statements.begin()

    def launch(connection: DatabaseConnection) -> None:
        connection.run(packets, PREPARED, relay.form)
        connection.reply.prepared_as = number

    def prepared() -> None:
        connection = relay.connection
        assert connection is not None
        reply = connection.reply
        state = session.state
        statement = Statement(number, text, state.settings, state.lexer.traits(text), reply.parameters)
        if session.pins:
            # What holds the session may be a temporary table, or anything else that the statement was read with.
            statement.keep_to_itself()
        session.statements.add(statement)
        connection.add_copy(statement.key, reply.statement_id)

    relay.run(packets, PREPARED, Trait.NONE, prepared, launch)


def execute(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_EXECUTE: on the connection's copy, which is made first where there is none."""
    session = relay.session
    number = statement_id(payload)
    statement = session.statements.find(number)
    if statement is None:
        _refuse_unknown(client, relay, number, "execute")
        return
    if statement.refused is not None:
        err, statement.refused = statement.refused, None
        client.send_error(err)
        client.ready()
        return
    keeps = opens_cursor(payload)
    statement.bind(payload)
    if keeps:
        statement.keep_to_itself()

    def launch(connection: DatabaseConnection) -> None:
        copy = statement.find(connection.copies)
        execution = None if copy is None else statement.execution(payload, copy)
        if execution is None:
            relay.begin(_prepare_and_execute(relay, statement, payload))
        else:
            connection.run(execution, FIRST, relay.form)

    def executed() -> None:
        if session.status & cap.SERVER_STATUS_CURSOR_EXISTS:
            session.open_cursor(statement.id)

    if statement.id in session.cursors or statement.id in session.long_data:
        # Whatever comes of it, it closes the cursor and uses up the long data.
        session.end_statement(statement.id)
    relay.run(packets, FIRST, statement.traits, executed if keeps else None, launch)


async def _prepare_and_execute(relay: Relay, statement: Statement, payload: bytes) -> None:
    connection = relay.connection
    assert connection is not None
    if statement.traits & Trait.DIAGNOSTICS:
        # To prepare it would end what it is to read.
        relay.answer_error(errors.DIAGNOSTICS_GONE)
        return
    try:
        copy = await make_copy(connection, statement, relay.session)
    except PrepareError as error:
        relay.answer_error(error.err)
        return
    execution = statement.execution(payload, copy)
    assert execution is not None
    relay.go_on(connection)
    connection.run(execution, FIRST, relay.form)


async def make_copy(connection: DatabaseConnection, statement: Statement, session: Session) -> Copy:
    """Prepare `statement` on a connection that is in the session's state, in the state that the client prepared it in.

    Raises PrepareError with the server's error, BorrowError if the connection could not be brought to the other state
    or back, ConnectionLostError.
    """
    there, back = _ways(session, statement)
    if there:
        await run_all(connection, there)
    packets = [frame(bytes((commands.STMT_PREPARE,)) + statement.text)]
    (result,) = await connection.ask(packets, PREPARED)
    if result.err is not None and result.err.code == TOO_MANY:
        for packet in connection.copies.drop():
            connection.write(packet)
        (result,) = await connection.ask(packets, PREPARED)
    if back:
        await run_all(connection, back)
    if result.err is not None:
        raise PrepareError(result.err)
    return connection.add_copy(statement.key, result.statement_id)


def _ways(session: Session, statement: Statement) -> tuple[list[bytes], list[bytes]]:
    """Give the packets that lead from the session's state to the statement's, and those that lead back."""
    here, there = session.state, statement.state
    if here.settings is there:
        return [], []
    if not there.schema:
        # A statement that was prepared without a schema names none that depends on it; and none cannot be entered.
        there = session.states.with_schema(there, here.schema)
    return restore.plan(here, there, session.states) or [], restore.plan(there, here, session.states) or []


def fetch(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_FETCH: rows of a cursor, which is on the connection that the session keeps."""
    session, connection = relay.session, relay.connection
    number = statement_id(payload)
    statement = session.statements.find(number)
    copy = None if statement is None or connection is None else connection.copies.find(statement.key)
    if statement is None:
        _refuse_unknown(client, relay, number, "fetch")
        return
    if copy is None or statement.id not in session.cursors:
        end = "" if _is_mariadb(relay) else "."
        client.send_error(Err(1421, "HY000", f"The statement ({statement.id}) has no open cursor{end}"))
        client.ready()
        return

    def fetched() -> None:
        if session.status & cap.SERVER_STATUS_LAST_ROW_SENT:
            session.end_statement(statement.id)

    relay.run(renumbered(payload, copy), ROWS, Trait.NONE, fetched)


def reset(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_RESET: the server's, as far as it has something to forget."""
    session, connection = relay.session, relay.connection
    number = statement_id(payload)
    statement = session.statements.find(number)
    if statement is None:
        _refuse_unknown(client, relay, number, "reset")
        return
    statement.refused = None
    copy = None if connection is None else connection.copies.find(statement.key)
    if copy is not None and (statement.id in session.cursors or statement.id in session.long_data):
        relay.run(renumbered(payload, copy), FIRST, Trait.NONE, lambda: session.end_statement(statement.id))
    else:
        client.send_ok()
        client.ready()


def close(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_CLOSE, which has no answer. Copies that others may use stay."""
    session, connection = relay.session, relay.connection
    statement = session.statements.close(statement_id(payload))
    if statement is not None and connection is not None:
        if statement.key is statement:
            for packet in connection.copies.remove(statement):
                connection.write(packet)
        if statement.id in session.cursors or statement.id in session.long_data:
            session.end_statement(statement.id)
            relay.settle()
            return
    client.ready()


def send_long_data(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_SEND_LONG_DATA, which has no answer: from here to the execution the session keeps its connection."""
    session, connection = relay.session, relay.connection
    statement = session.statements.find(statement_id(payload))
    if statement is None or statement.refused is not None:
        client.ready()
        return
    statement.keep_to_itself()
    copy = None if connection is None else connection.copies.find(statement)
    if connection is not None and copy is not None:
        session.begin_long_data(statement.id)
        connection.write(renumbered(payload, copy))
        client.ready()
    else:
        relay.begin(_send_long_data(relay, statement, payload))


async def _send_long_data(relay: Relay, statement: Statement, payload: bytes) -> None:
    session = relay.session
    try:
        if relay.connection is None:
            await relay.borrow()
        connection = relay.connection
        assert connection is not None
        copy = await make_copy(connection, statement, session)
    except (PrepareError, BorrowError, ConnectionLostError, ProtocolError) as error:
        statement.refused = errors.LOST if isinstance(error, ConnectionLostError | ProtocolError) else error.err
        relay.give_up_quietly(broken=not isinstance(error, PrepareError))
        return
    session.begin_long_data(statement.id)
    connection.write(renumbered(payload, copy))
    relay.go_on(connection)
    relay.settle()


def _refuse_unknown(client: Client, relay: Relay, number: int, command: str) -> None:
    where = f"mysqld_stmt_{command}" if _is_mariadb(relay) else "mysql_stmt_precheck"
    client.send_error(Err(1243, "HY000", f"Unknown prepared statement handler ({number}) given to {where}"))
    client.ready()


def _is_mariadb(relay: Relay) -> bool:
    facts = relay.pool.facts
    return facts is not None and facts.is_mariadb
