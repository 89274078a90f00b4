"""Prepared statements on behalf of a client: each command goes to a copy on whatever connection the session has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.attributes import split_execution, with_count
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.framing import HEADER_SIZE, frame, payload_of
from rdsproxy.protocol.reply import FIRST, PREPARED, ROWS
from rdsproxy.protocol.responses import Err
from rdsproxy.protocol.walk import with_id
from rdsproxy.relay import errors
from rdsproxy.relay.client import Client
from rdsproxy.relay.killing import name_client
from rdsproxy.relay.restoring import run_all
from rdsproxy.relay.settling import settle
from rdsproxy.relay.signalling import signal
from rdsproxy.session import restore
from rdsproxy.session.prepared import (
    BULK_HEAD,
    FLAGS_AT,
    MAX_STATEMENTS,
    Charset,
    Copy,
    Statement,
    opens_cursor,
    renumbered,
    statement_id,
)
from rdsproxy.session.session import Session
from rdsproxy.session.statements import UNCOUNTED, Trait
from rdsproxy.session.transactions import recreate

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Launch, Relay

ExecutionOf = Callable[[bytes, Copy, Charset], bytes | None]
"""`Statement.execution` or its like."""

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
        message = f"Cannot create more than {MAX_STATEMENTS} prepared statements in one session"
        signal(relay, Err(TOO_MANY, "42000", message))
        return
    if session.state.lexer.traits(payload[1:]) & Trait.CONNECTION_ID:
        packets = name_client(relay, packets)
        payload = packets[HEADER_SIZE:]
    text = payload[1:]
    number = session.statements.begin()

    def launch(relay: Relay, connection: DatabaseConnection, packets: bytes) -> None:
        connection.run(packets, PREPARED, relay.form)
        connection.reply.prepared_as = number

    def prepared() -> None:
        connection = relay.connection
        assert connection is not None
        reply = connection.reply
        state = session.state
        statement = Statement(number, text, state.settings, state.lexer.all_traits(text), reply.parameters)
        if session.pins:
            # What holds the session may be a temporary table, or anything else that the statement was read with.
            statement.keep_to_itself()
        elif not statement.traits or statement.traits is UNCOUNTED:
            statement.run_again_by(Again(statement).launch)
        session.statements.add(statement)
        connection.add_copy(statement.key, reply.statement_id)

    relay.run(packets, PREPARED, Trait.NONE, prepared, launch)


# Has a twin in shortcut/commands.c.
def execute(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_EXECUTE: on the connection's copy, which is made first where there is none."""
    client.queries += 1
    statement = relay.session.statements.by_id.get(payload[1:5])
    if (
        statement is not None
        and statement.again_at < len(payload)
        and not payload[statement.again_at]
        and not payload[FLAGS_AT]
    ):
        relay.run(packets, FIRST, statement.traits, None, statement.again)
    else:
        _execute(client, relay, packets, payload, None)


def execute_with_attributes(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_EXECUTE of a client with CLIENT_QUERY_ATTRIBUTES."""
    client.queries += 1
    statement = relay.session.statements.find(statement_id(payload))
    as_sent = None
    if statement is not None:
        try:
            payload, as_sent = split_execution(payload, statement.parameters)
        except ProtocolError:
            client.send_error(errors.MALFORMED)
            client.ready()
            return
    _execute(client, relay, packets, payload, as_sent)


def _execute(client: Client, relay: Relay, packets: bytes, payload: bytes, as_sent: bytes | None) -> None:
    """Execute a statement. `as_sent`: in place of `payload`, for connections with CLIENT_QUERY_ATTRIBUTES."""
    session = relay.session
    number = statement_id(payload)
    statement = session.statements.find(number)
    if statement is None or statement.refused is not None:
        _refuse_execution(client, relay, statement, number)
        return
    charset = session.state.charset
    statement.bind(payload, charset)
    traits, after_ok = statement.traits, None
    if opens_cursor(payload):
        statement.keep_to_itself()
        traits |= UNCOUNTED
        after_ok = partial(_opened, session, statement)
    if (session.cursors or session.long_data) and statement.id in session.cursors | session.long_data:
        # Whatever comes of it, it closes the cursor and uses up the long data.
        session.end_statement(statement.id)
    launch = Execution(relay, statement, statement.execution, payload, charset, as_sent)
    relay.run(packets, FIRST, traits, after_ok, launch)


class Again:
    """Executes a statement by packets that bring nothing new: where its copy is as it must be, only the id is another.

    This is what clients do most, so it is without whatever can be left out.
    """

    __slots__ = ("_statement",)

    def __init__(self, statement: Statement) -> None:
        self._statement = statement

    # Has a twin in shortcut/sending.c.
    def launch(self, relay: Relay, connection: DatabaseConnection, packets: bytes) -> None:
        """Execute it on this connection."""
        statement = self._statement
        copy = connection.copies.find(statement.key)
        # Of a statement that shares its copies none had a cursor, or was told another text.
        if copy is not None and copy.told is statement.told:
            packets = with_id(packets, copy.id)
            if connection.has_attributes:
                packets = frame(with_count(payload_of(packets), statement.parameters))
            connection.run(packets, FIRST, relay.form)
        else:
            charset = relay.session.state.charset
            execution = Execution(relay, statement, statement.execution, payload_of(packets), charset, None)
            execution(relay, connection, packets)


def _opened(session: Session, statement: Statement) -> None:
    if session.status & cap.SERVER_STATUS_CURSOR_EXISTS:
        session.open_cursor(statement.id)


def execute_bulk(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_BULK_EXECUTE of MariaDB: as COM_STMT_EXECUTE, with many rows of parameters."""
    if len(payload) < BULK_HEAD:
        client.send_error(errors.MALFORMED)
        client.ready()
        return
    session = relay.session
    number = statement_id(payload)
    statement = session.statements.find(number)
    if statement is None or statement.refused is not None:
        _refuse_execution(client, relay, statement, number)
        return
    charset = session.state.charset
    statement.bind_bulk(payload, charset)
    launch = Execution(relay, statement, statement.bulk_execution, payload, charset, None)
    counted = session.counted_by_row if statement.runs_by_row else None
    # Without parameters the server refuses it, whatever it would do.
    traits = statement.traits if statement.parameters else Trait.NONE
    relay.run(packets, FIRST, traits | UNCOUNTED, counted, launch)


class Execution:
    """Launches one execution of a statement, by a copy that is made first where there is none."""

    __slots__ = ("as_sent", "charset", "execution_of", "payload", "relay", "statement")

    def __init__(
        self,
        relay: Relay,
        statement: Statement,
        execution_of: ExecutionOf,
        payload: bytes,
        charset: Charset,
        as_sent: bytes | None,
    ) -> None:
        self.relay = relay
        self.statement = statement
        self.execution_of = execution_of
        self.payload = payload
        self.charset = charset
        self.as_sent = as_sent

    def __call__(self, relay: Relay, connection: DatabaseConnection, packets: bytes) -> None:
        """Execute it on this connection."""
        copy = self.statement.find(connection.copies)
        execution = None if copy is None else self.execution_of(self.payload, copy, self.charset)
        if execution is None:
            relay.begin(self._prepare_and_run())
        else:
            self.run(connection, execution)

    def run(self, connection: DatabaseConnection, execution: bytes) -> None:
        """Send `execution`, the payload for a copy that this connection has."""
        if connection.has_attributes:
            if self.as_sent is None:
                execution = with_count(execution, self.statement.parameters)
            else:
                execution = execution[:5] + self.as_sent[5:]
        connection.run(frame(execution), FIRST, self.relay.form)

    async def _prepare_and_run(self) -> None:
        relay = self.relay
        connection = relay.connection
        assert connection is not None
        try:
            copy = await make_copy(connection, self.statement, relay.session)
        except PrepareError as error:
            relay.answer_error(error.err)
            return
        execution = self.execution_of(self.payload, copy, self.charset)
        if execution is None:
            relay.answer_error(errors.TYPES_GONE)
            return
        relay.go_on(connection)
        self.run(connection, execution)


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


async def launch_of(connection: DatabaseConnection, execution: Execution, sql: bytes) -> Launch:
    """Have a statement prepared as if its text were `sql`; give what executes it, this once. Raises as `make_copy`.

    `execution`: of a COM_STMT_EXECUTE.
    """
    relay, statement = execution.relay, execution.statement
    payload, charset = execution.payload, execution.charset
    retold = statement if sql == statement.text else statement.retold_as(sql)
    # A copy that is kept under the statement's key has the statement's own text.
    copy = statement.find(connection.copies) if retold is statement else None
    packets = None if copy is None else retold.execution(payload, copy, charset)
    if packets is None:
        copy = await make_copy(connection, retold, relay.session)
        copy.retold = retold is not statement
        packets = retold.execution(payload, copy, charset)
        if packets is None:
            raise PrepareError(errors.TYPES_GONE)
    executing = packets
    return lambda relay, connection, packets: execution.run(connection, executing)


def _ways(session: Session, statement: Statement) -> tuple[list[bytes], list[bytes]]:
    """Give the packets that lead from the session's state to the statement's, and those that lead back."""
    states = session.states
    here, there = states.with_transaction(session.state, b""), statement.state
    if here.settings is there:
        return [], []
    if not there.schema:
        # A statement that was prepared without a schema names none that depends on it; and none cannot be entered.
        there = states.with_schema(there, here.schema)
    # What is set for the next transaction may have been ended on the way.
    back = [*(restore.plan(there, here, states) or []), *recreate(session.state.transaction)]
    return restore.plan(here, there, states) or [], back


def fetch(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_FETCH: rows of a cursor, which is on the connection that the session keeps."""
    session, connection = relay.session, relay.connection
    number = statement_id(payload)
    statement = session.statements.find(number)
    copy = None if statement is None or connection is None else connection.copies.find(statement.key)
    if statement is None:
        _refuse_unknown(relay, number, "fetch")
        return
    if relay.tell_lost():
        return
    if copy is None or statement.id not in session.cursors:
        end = "" if is_mariadb(relay) else "."
        signal(relay, Err(1421, "HY000", f"The statement ({statement.id}) has no open cursor{end}"))
        return

    def fetched() -> None:
        if session.status & cap.SERVER_STATUS_LAST_ROW_SENT:
            session.end_statement(statement.id)

    relay.run(renumbered(payload, copy), ROWS, UNCOUNTED, fetched)


def reset(client: Client, relay: Relay, packets: bytes, payload: bytes) -> None:
    """COM_STMT_RESET: the server's, as far as it has something to forget."""
    session, connection = relay.session, relay.connection
    number = statement_id(payload)
    statement = session.statements.find(number)
    if statement is None:
        _refuse_unknown(relay, number, "reset")
        return
    statement.refused = None
    copy = None if connection is None else connection.copies.find(statement.key)
    if copy is not None and (statement.id in session.cursors or statement.id in session.long_data):
        relay.run(renumbered(payload, copy), FIRST, Trait.NONE, lambda: session.end_statement(statement.id))
    else:
        relay.counted(0)
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
            settle(relay)
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
    settle(relay)


def _refuse_execution(client: Client, relay: Relay, statement: Statement | None, number: int) -> None:
    if statement is None or statement.refused is None:
        _refuse_unknown(relay, number, "execute")
        return
    err, statement.refused = statement.refused, None
    relay.failed()
    client.send_error(err)
    client.ready()


def _refuse_unknown(relay: Relay, number: int, command: str) -> None:
    where = f"mysqld_stmt_{command}" if is_mariadb(relay) else "mysql_stmt_precheck"
    signal(relay, Err(1243, "HY000", f"Unknown prepared statement handler ({number}) given to {where}"))


def is_mariadb(relay: Relay) -> bool:
    """Tell whether the server is MariaDB, whose errors are worded otherwise."""
    facts = relay.route.known.facts
    return facts is not None and facts.is_mariadb
