"""Bring a borrowed connection to the state of the session that will use it."""

from __future__ import annotations

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.protocol.results import Result
from rdsproxy.session import restore
from rdsproxy.session.session import Session
from rdsproxy.session.transactions import begun_again


async def bring_to(connection: DatabaseConnection, session: Session) -> None:
    """Make the connection's state the session's.

    Raises BorrowError with the server's error if it cannot be (the schema was dropped, say), and ConnectionLostError;
    the connection's state is then not known.
    """
    wanted, pool = session.state, connection.pool
    if connection.state is None or (wanted.schema == b"" and connection.state.schema != b""):
        await connection.ask_after_left([])
        await pool.connector.start_over(connection)
    try:
        await _write_back(connection, session)
    except BorrowError:
        # What the last session set may be what cannot be taken back: only from a clean connection on is an error
        # this session's own.
        await pool.connector.start_over(connection)
        await _write_back(connection, session)
    connection.state = wanted
    begun_again(session)
    if wanted.schema and wanted.role == session.states.role:
        pool.known.schemas[connection.key].add(wanted.schema)


async def _write_back(connection: DatabaseConnection, session: Session) -> None:
    assert connection.state is not None
    packets = restore.plan(connection.state, session.state, session.states)
    assert packets is not None
    connection.state = None
    _check(await connection.ask_after_left(packets))


async def run_all(connection: DatabaseConnection, packets: list[bytes]) -> None:
    """Run commands of the proxy's, in one write. Raises BorrowError with the first error, and ConnectionLostError."""
    _check(await connection.ask(packets))


def _check(results: list[Result]) -> None:
    for result in results:
        if result.err is not None:
            raise BorrowError(result.err)
