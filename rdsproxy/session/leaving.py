"""What a session leaves on a connection that it gives back: LAST_INSERT_ID(), warnings, FOUND_ROWS().

None of them can be known from replies alone, nor be written back. So they stay where they are. The session finds them
there if it is the next to use the connection; before any other session does, they are asked for on its behalf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.results import Result, number

if TYPE_CHECKING:
    from rdsproxy.session.session import Session

Question = tuple[bytes, Callable[[Result], None]]
"""A command, and who takes its result; it raises ProtocolError for one that is no answer."""

SHOW_WARNINGS: Final = commands.query(b"SHOW WARNINGS")
# MariaDB keeps warnings through every statement that uses no table.
QUIET: Final = commands.query(b"DO (SELECT 0 FROM (SELECT 0) AS t LIMIT 1)")
ASK_FOUND_ROWS: Final = commands.query(b"SELECT FOUND_ROWS() LIMIT 1")
# Also makes the connection forget, so that no other session ever sees the value.
TAKE_INSERT_ID: Final = commands.query(b"SELECT LAST_INSERT_ID(), LAST_INSERT_ID(0) LIMIT 1")


class Left:
    """What one session has left on one connection, until somebody takes it."""

    __slots__ = (
        "_current",
        "_found_rows",
        "_remarks",
        "_session",
        "connection",
        "found_rows_here",
        "here",
        "insert_id",
        "on_taken",
        "taken",
    )

    def __init__(self, session: Session, connection: Any) -> None:
        self.connection = connection
        self.insert_id = session.insert_id_moved
        """LAST_INSERT_ID() may have changed on this connection."""
        self.here = session.insert_id_here
        """It was the session's own there."""
        self.taken = False
        """There is nothing any more to be found on the connection."""
        self.on_taken: Callable[[], None] | None = None
        self._session: Session | None = session
        self._remarks = session.remarks and session.captured is None
        self.found_rows_here = session.found_rows_here
        self._found_rows = session.reads_found_rows and session.found_rows_here
        self._current = True

    def outdated(self) -> None:
        """The session has run another statement elsewhere, so that only LAST_INSERT_ID() is still of use."""
        self._current = False

    def abandoned(self) -> None:
        """The session has ended, or has another LAST_INSERT_ID() by now."""
        self._session = None

    def questions(self) -> list[Question]:
        """Give what to ask on the connection, in this order, before any other session runs something there."""
        questions: list[Question] = []
        if self._session is not None and self._current:
            # These leave the warnings alone only if they come first.
            if self._remarks:
                questions.append((SHOW_WARNINGS, self._told_warnings))
            if self._found_rows:
                questions.append((ASK_FOUND_ROWS, self._told_found_rows))
        if self.insert_id:
            questions.append((TAKE_INSERT_ID, self._told_insert_id))
        if self._remarks:
            questions.append((QUIET, _nothing))
        return questions

    def done(self) -> None:
        """It has been taken, or is lost with its connection."""
        self.taken = True
        on_taken, self.on_taken = self.on_taken, None
        if on_taken is not None:
            on_taken()

    def _told_warnings(self, result: Result) -> None:
        if self._session is not None and self._current:
            self._session.told_warnings(result)

    def _told_found_rows(self, result: Result) -> None:
        if self._session is not None and self._current:
            self._session.found_rows = number(result.row(1)[0])

    def _told_insert_id(self, result: Result) -> None:
        value = number(result.row(2)[0])
        if self._session is not None and (value or self.here):
            self._session.insert_id = value


def _nothing(result: Result) -> None:
    pass
