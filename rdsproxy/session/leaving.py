"""What a session leaves on a connection that it gives back: LAST_INSERT_ID(), warnings, FOUND_ROWS().

None of them can be known from replies alone, nor all be written back. So they stay where they are. The session finds
them there if it is the next to use the connection; before any other session does, they are asked for on its behalf.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.results import Result, number
from rdsproxy.session.diagnostics import Diagnostics, system_text
from rdsproxy.session.user_variables import ask_values

if TYPE_CHECKING:
    from rdsproxy.session.session import Session

Question = tuple[bytes, Callable[[Result], None]]
"""A command, and who takes its result; it raises ProtocolError for one that is no answer."""


class EvenAnError(partial[None]):
    """Takes the result of a command that the server may refuse."""


SHOW_WARNINGS: Final = commands.query(b"SHOW WARNINGS")
# MariaDB keeps warnings through every statement that uses no table. This uses one, and leaves FOUND_ROWS() alone.
QUIET: Final = commands.query(b"SHOW CREATE TABLE information_schema.CHARACTER_SETS")
ASK_FOUND_ROWS: Final = commands.query(b"SELECT FOUND_ROWS() LIMIT 1")
# Also makes the connection forget, so that no other session ever sees the value.
TAKE_INSERT_ID: Final = commands.query(b"SELECT LAST_INSERT_ID(), LAST_INSERT_ID(0) LIMIT 1")

MOST_CONDITIONS: Final = 64  # MariaDB's max_error_count
ITEMS: Final = (
    b"CLASS_ORIGIN SUBCLASS_ORIGIN RETURNED_SQLSTATE MESSAGE_TEXT MYSQL_ERRNO CONSTRAINT_CATALOG CONSTRAINT_SCHEMA"
    b" CONSTRAINT_NAME CATALOG_NAME SCHEMA_NAME TABLE_NAME COLUMN_NAME CURSOR_NAME".split()
)
# In a statement of its own, the last: only MariaDB 10.7 and later know it.
ROW_NUMBER: Final = b"ROW_NUMBER"
_NUMBERS: Final = frozenset((b"MYSQL_ERRNO", ROW_NUMBER))


def seed_found_rows(count: int) -> bytes:
    """Give the statement behind which FOUND_ROWS() is that number."""
    if not count:
        return commands.query(b"SELECT 1 FROM (SELECT 1) AS t WHERE 0 LIMIT 1")
    # LIMIT counts the rows that it leaves out.
    ten = b"(SELECT 1" + b" UNION ALL SELECT 1" * 9 + b")"
    tables = b", ".join(ten + b" AS t%d" % place for place in range(len(b"%d" % (count - 1))))
    return commands.query(b"SELECT 1 FROM " + tables + b" LIMIT %d, 1" % (count - 1))


def ask_diagnostics(session: Session, whose: Callable[[], Diagnostics | None], *, found_rows: bool) -> list[Question]:
    """Ask for the warnings, if they are not known, and for FOUND_ROWS(); `whose`: who is told, in the end."""
    diagnostics, states = session.diagnostics, session.states
    questions: list[Question] = []
    behind: list[Question] = []

    def told_warnings(result: Result) -> None:
        if (owner := whose()) is not None:
            owner.told_warnings(result)

    def told_found_rows(result: Result) -> None:
        if (owner := whose()) is not None:
            owner.found_rows = number(result.row(1)[0])
            owner.found_rows_here = False

    # What leaves the others alone comes first.
    if diagnostics.unread:
        questions.append((SHOW_WARNINGS, told_warnings))
        count = min(diagnostics.conditions, MOST_CONDITIONS)
        if count and states.asks_conditions.on:
            states.asks_conditions.asked()
            asking, behind = _ask_conditions(count, whose, row_numbers=states.quiet_errors)
            questions += asking
    if found_rows or (behind and diagnostics.found_rows is None and diagnostics.found_rows_here):
        if not diagnostics.counting:
            states.asks_found_rows.asked()
        questions.append((ASK_FOUND_ROWS, told_found_rows))
    return questions + behind


def _ask_conditions(
    count: int, whose: Callable[[], Diagnostics | None], *, row_numbers: bool
) -> tuple[list[Question], list[Question]]:
    """Ask for the items of that many conditions; gives what to ask first, and what may come later.

    They go through user variables of the proxy's own, which are NULL before and afterwards.
    """
    places = range(1, count + 1)
    items = [*ITEMS, ROW_NUMBER] if row_numbers else ITEMS
    names = {(place, item): b"rdsproxy.%d.%b" % (place, item) for place in places for item in items}

    def get(place: int, *items: bytes) -> Question:
        parts = b", ".join(b"@`%b` = %b" % (names[place, item], item) for item in items)
        return commands.query(b"GET DIAGNOSTICS CONDITION %d " % place + parts), nothing

    def told_values(result: Result) -> None:
        row = result.row(4 * len(names))
        conditions: dict[int, dict[bytes, bytes]] = {}
        for at, (place, item) in enumerate(names):
            value = row[4 * at]
            if value is not None:
                is_text = item not in _NUMBERS
                sql = system_text(value) if is_text else b"CAST(%d AS UNSIGNED)" % number(value.replace(b"\0", b""))
                conditions.setdefault(place, {})[item] = sql
        if (owner := whose()) is not None:
            owner.told_conditions(conditions)

    first = [get(place, *ITEMS) for place in places]
    if row_numbers:
        first += [get(place, ROW_NUMBER) for place in places]
    forget = commands.query(b"SET " + b", ".join(b"@`%b` = NULL" % name for name in names.values()))
    return first, [(ask_values(names.values()), told_values), (forget, nothing)]


class Left:
    """What one session has left on one connection, until somebody takes it."""

    __slots__ = (
        "_current",
        "_remarks",
        "_session",
        "asked",
        "connection",
        "found_rows",
        "found_rows_here",
        "here",
        "insert_id",
        "taken",
        "whens",
    )

    def __init__(self, session: Session, connection: Any) -> None:
        diagnostics = session.diagnostics
        self.connection = connection
        self.insert_id = session.insert_id_moved
        """LAST_INSERT_ID() may have changed on this connection."""
        self.here = session.insert_id_here
        """It was the session's own there."""
        self.asked = False
        """The questions have been asked."""
        self.taken = False
        """There is nothing any more to be found on the connection."""
        self.whens: list[Callable[[], None]] = []
        """Called once it is taken."""
        self.found_rows_here = diagnostics.found_rows_here
        self.found_rows = session.must_ask_found_rows
        self._session: Session | None = session
        self._remarks = diagnostics.unread
        self._current = True

    @property
    def lasts(self) -> bool:
        """Some of it may last through the session's next statement, wherever that runs: to be fetched before it."""
        session = self._session
        return self.found_rows or (self._remarks and session is not None and session.states.quiet_errors)

    def outdated(self) -> None:
        """The session has run another statement elsewhere, so that only LAST_INSERT_ID() is still of use."""
        self._current = False

    def abandoned(self) -> None:
        """The session has ended, or has another LAST_INSERT_ID() by now."""
        self._session = None

    def questions(self) -> list[Question]:
        """Give what to ask on the connection, in this order, before any other session runs something there."""
        self.asked = True
        questions: list[Question] = []
        if self._session is not None and self._current:
            questions = ask_diagnostics(self._session, self._diagnostics, found_rows=self.found_rows)
        if self.insert_id:
            questions.append((TAKE_INSERT_ID, self._told_insert_id))
        if self._remarks:
            questions.append((QUIET, nothing))
        return questions

    def done(self) -> None:
        """It has been taken, or is lost with its connection."""
        self.taken = True
        whens, self.whens = self.whens, []
        for when in whens:
            when()

    def _diagnostics(self) -> Diagnostics | None:
        return self._session.diagnostics if self._session is not None and self._current else None

    def _told_insert_id(self, result: Result) -> None:
        value = number(result.row(2)[0])
        if self._session is not None and (value or self.here):
            self._session.insert_id = value


def nothing(result: Result) -> None:
    """Take what tells nothing, and may fail."""
