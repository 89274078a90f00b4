"""Run statements that read what the one before them has left: warnings, ROW_COUNT(), FOUND_ROWS()."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE
from rdsproxy.relay import errors
from rdsproxy.relay.preparing import Execution, launch_of
from rdsproxy.relay.recalling import keep_diagnostics
from rdsproxy.session.retelling import GET, SHOW, SHOW_COUNT, GoneError, reading_of, retold, shown

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Launch, Relay


class Read:
    """One such statement, on its way to a connection or answered from memory.

    `packets`: a COM_QUERY, a COM_STMT_EXECUTE or a COM_STMT_BULK_EXECUTE. `text`: the statement, None if it is not
    known. `executed`: what the COM_QUERY has EXECUTE run.
    """

    def __init__(
        self, relay: Relay, packets: bytes, text: bytes | None, launch: Launch | None, *, executed: bool
    ) -> None:
        session = relay.session
        self._relay = relay
        command = packets[HEADER_SIZE]
        self._execution: Execution | None = None
        if command == commands.STMT_EXECUTE and isinstance(launch, Execution):
            self._execution = launch
        self._fixed = text is None or executed or (command != commands.QUERY and self._execution is None)
        """Nothing can be put in its place."""
        self.reading = reading_of(text, session.state)
        self.packets = packets
        self.launch = launch
        self.memory = False
        """It is not answered by what is on the connection alone."""
        self._sql = self.reading.sql
        diagnostics = session.diagnostics
        if self.reading.found_rows and diagnostics.found_rows is None and not diagnostics.counting:
            session.states.asks_found_rows.read()
        if self.reading.kind == GET:
            session.states.asks_conditions.read()

    @property
    def all_here(self) -> bool:
        """The held connection has all that the statement reads."""
        relay = self._relay
        connection, diagnostics = relay.connection, relay.session.diagnostics
        return (
            connection is not None
            and connection.last_borrower is relay
            and not diagnostics.veiled
            and (diagnostics.found_rows_here or not self.reading.found_rows)
            and (self._execution is None or self._execution.statement.find(connection.copies) is not None)
        )

    def counts(self, may: bool) -> bool:
        """Tell whether it reads FOUND_ROWS(), or may change it; `may`: as its traits say."""
        return self.reading.found_rows or (may and self.reading.kind not in (SHOW, GET))

    async def from_memory(self) -> bool:
        """Learn all that it reads, and make it a statement that says so. False: the client has its answer."""
        relay, reading = self._relay, self.reading
        session = relay.session
        diagnostics = session.diagnostics
        self.memory = True
        await keep_diagnostics(relay, found_rows=reading.found_rows)
        try:
            if reading.found_rows and diagnostics.found_rows is None:
                raise GoneError
            binary = self._execution is not None
            reply = None
            if not self._fixed:
                reply = shown(reading, diagnostics, relay.form, session.status, binary=binary)
            if reply is None:
                self._sql = retold(reading, diagnostics, session.state, quoted=session.states.quiet_errors)
                if self._fixed and self._sql != reading.sql:
                    raise GoneError
        except GoneError:
            self.gone()
            return False
        if reply is not None:
            relay.counted(-1)
            if reading.kind == SHOW_COUNT:
                diagnostics.found_rows, diagnostics.found_rows_here = 1, False
            relay.answer_with(reply)
            return False
        if self._execution is None and self._sql is not reading.sql:
            self.packets = commands.query(self._sql)
        return True

    def gone(self) -> None:
        """Tell the client that what it reads is not known any more."""
        relay = self._relay
        if self.reading.found_rows:
            # As behind the SELECT that it is, most likely: from here on it is known again.
            relay.session.diagnostics.found_rows = 1
        relay.refuse(errors.DIAGNOSTICS_GONE)

    async def make_ready(self, connection: DatabaseConnection) -> None:
        """Have a prepared statement on the connection, before what it reads is brought there.

        Raises PrepareError, and as `preparing.make_copy`.
        """
        if self._execution is not None and self.memory:
            self.launch = await launch_of(connection, self._execution, self._sql)

    def keep_what_it_leaves(self) -> None:
        """See to it that what the statement leaves alone is known as it was."""
        relay, reading = self._relay, self.reading
        diagnostics = relay.session.diagnostics
        if self._fixed or not reading.alone:
            return
        if reading.kind == SHOW:
            relay.then(diagnostics.keeping(row_count=False))
        elif reading.kind == GET:
            as_it_is = self._sql is reading.sql
            keep_all = diagnostics.keeping(warnings=not as_it_is)
            add_one = diagnostics.adding()

            def got() -> None:
                connection = relay.connection
                assert connection is not None
                if as_it_is and connection.reply.warnings:
                    # There is no such condition, which is an error though the answer is OK.
                    add_one()
                else:
                    keep_all()
                if not as_it_is:
                    connection.last_borrower = relay.behind

            relay.then(got)
