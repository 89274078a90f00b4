"""What a statement leaves for the next one to read: ROW_COUNT(), FOUND_ROWS(), warnings and errors.

All of it is on the connection that ran the statement, as long as nothing else runs there. What is known of it without
that connection is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.reply import Reply
from rdsproxy.protocol.results import Result, Row, payloads_of
from rdsproxy.protocol.walk import rows_told
from rdsproxy.session.statements import UNCOUNTED, Trait

_VEIL: Final = b"65534"  # an error code that no server has

VEIL: Final = commands.query(b"SIGNAL SQLSTATE '01000' SET MYSQL_ERRNO = %b, MESSAGE_TEXT = 'rdsproxy'" % _VEIL)
"""Stands for the warnings that a session brings along to a connection. Is it still there behind the next statement?"""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to SHOW WARNINGS: the payloads of its packets, and the values of its rows (level, code, message)."""

    head: tuple[bytes, ...]
    rows: tuple[bytes, ...]
    end: bytes
    values: tuple[Row, ...]
    conditions: Mapping[int, Mapping[bytes, bytes]]
    """The items of GET DIAGNOSTICS CONDITION, as SQL, of those conditions that were asked for."""
    here: int
    """How many, the last ones, are on the connection that was asked last; for the others there is VEIL."""

    @classmethod
    def of(cls, result: Result) -> Told:
        """Take the answer."""
        payloads = tuple(payloads_of(result.raw))
        first = 1 + len(result.definitions)
        return cls(payloads[:first], payloads[first:-1], payloads[-1], tuple(result.rows), {}, len(result.rows))

    @property
    def is_veil(self) -> bool:
        """The first is VEIL's."""
        return bool(self.values) and _ascii(self.values[0][1]) == _VEIL

    def behind(self, earlier: Told) -> Told:
        """Give those that VEIL stood for, and those that came behind it."""
        return replace(
            earlier,
            rows=earlier.rows + self.rows[1:],
            values=earlier.values + self.values[1:],
            here=len(self.rows) - 1,
        )

    def with_conditions(self, conditions: Mapping[int, Mapping[bytes, bytes]]) -> Told:
        """Add what GET DIAGNOSTICS gives of those that are on the connection, by their numbers there."""
        before = len(self.rows) - self.here
        veil = int(bool(before))
        more = {place - veil + before: items for place, items in conditions.items() if place > veil}
        return replace(self, conditions={**self.conditions, **more})

    @property
    def errors(self) -> list[int]:
        """Which of the rows are errors."""
        return [number for number, row in enumerate(self.values) if _ascii(row[0]) == b"Error"]


def system_text(value: bytes) -> bytes:
    """Give the SQL for a text in the server's own character set, in which its messages are; `value` is in UTF-8.

    MySQL would warn of an introducer for it.
    """
    return b"CONCAT(LEFT(VERSION(), 0), _utf8mb4 X'" + value.hex().encode("ascii") + b"')"


def _ascii(value: bytes | None) -> bytes:
    # The client's character set of results may be UTF-16 or UTF-32.
    return (value or b"").replace(b"\0", b"")


_ENTERS: Final = Trait.USES | Trait.DIAGNOSTICS
"""Of COM_INIT_DB."""


class Diagnostics:
    """ROW_COUNT(), FOUND_ROWS() and the warnings of one session.

    `lasting`: warnings last through statements that use no table and have none of their own, as on MariaDB.
    """

    __slots__ = (
        "_lasting",
        "_new",
        "carried",
        "conditions",
        "counting",
        "err",
        "errors",
        "found_rows",
        "found_rows_here",
        "remarks",
        "row_count",
        "told",
        "veiled",
        "warnings",
    )

    def __init__(self, *, lasting: bool) -> None:
        self._lasting = lasting
        self.begin()

    def begin(self) -> None:
        """Know what a new connection has."""
        self.row_count: int | None = 0
        """As `Reply.row_count` told it; None: that is known to the connection alone, or to none."""
        self.found_rows: int | None = 0
        """What FOUND_ROWS() gives; None: that is known to the connection alone, or to none."""
        self.found_rows_here = False
        """FOUND_ROWS() of the session's connection is the session's own."""
        self.counting = False
        """The last statement had SQL_CALC_FOUND_ROWS: its number will be read."""
        self.no_remarks()

    def no_remarks(self) -> None:
        """Know that there is neither warning nor error."""
        self.remarks = False
        """There are, or may be, warnings or errors."""
        self.told: Told | None = None
        """Those that are known. They are not on the connection, but for VEIL."""
        self.veiled = False
        """VEIL was put on the connection, and one statement has run since."""
        self.carried = False
        """VEIL is to be put on the connection before the next statement, whatever that is."""
        self.warnings = 0
        """How many there were as a reply told; with a small `max_error_count` the server does not keep so many."""
        self.errors = 0
        """How many of them were errors."""
        self._new = False
        """That was the last reply."""
        self.conditions = 0
        """How many there may be to ask for."""
        self.err = b""
        """The payload of the ERR that the statement ended in."""

    @property
    def unread(self) -> bool:
        """The connection has warnings of the session, or may have, which are not known."""
        return self.remarks and (self.told is None or self.veiled)

    def answered_by(self, reply: Reply, traits: Trait) -> None:
        """Take what the reply to a statement tells of what it leaves behind."""
        failed = reply.failed
        if not reply.statement_id:
            # Neither is changed by COM_STMT_PREPARE.
            self.row_count = reply.row_count
            self._count(reply, traits)
        lasting = self.remarks and (self._lasting or bool(traits & Trait.DIAGNOSTICS))
        # MySQL's COM_INIT_DB leaves the warnings that there are, and counts them: VEIL's are not new.
        enters = traits & _ENTERS == _ENTERS and self.veiled
        self._new = failed or (bool(reply.warnings) and not enters)
        if self._new:
            self.warnings = max(failed, reply.warnings)
            self.errors = int(failed)
            self.conditions = max(2 * failed, reply.warnings)
            self.err = reply.err
            self.veiled = False
        if not self.veiled:
            self.told = None
        self.carried = False
        self.remarks = self._new or lasting
        if not self.remarks:
            self.no_remarks()

    def _count(self, reply: Reply, traits: Trait) -> None:
        if reply.failed:
            # A statement that fails before its first packet has not come to count.
            if traits & UNCOUNTED or reply.packets > 1:
                self.found_rows = None
        elif traits & UNCOUNTED:
            self.found_rows = None
            self.counting = bool(traits & Trait.COUNTS_ROWS)
        elif reply.row_count < -1:
            self.found_rows = rows_told(reply.row_count)
            self.found_rows_here = True

    def counted_by_row(self) -> None:
        """Note that the last reply told sums: the server keeps what the last row gave."""
        self.row_count = None
        self.warnings = 0

    def reset(self) -> None:
        """Know what COM_RESET_CONNECTION leaves: FOUND_ROWS() is as it was."""
        found_rows = self.found_rows
        self.begin()
        self.found_rows = found_rows

    def lost(self) -> None:
        """Know what is left when the connection is lost: the client was told by an error."""
        self.begin()
        self.row_count = -1

    def failed(self) -> None:
        """Note an error to something that the proxy did for the client: nobody can read it there any more."""
        self.row_count = -1
        self.no_remarks()
        self.remarks = True

    def told_warnings(self, result: Result) -> None:
        """Take the answer to SHOW WARNINGS, after which they may be gone from the connection."""
        told = Told.of(result)
        if self.veiled and told.is_veil:
            assert self.told is not None
            told = told.behind(self.told)
        self.veiled = False
        self.told = told
        if not told.rows and not self._new:
            self.warnings = self.errors = 0
        self.remarks = bool(told.rows)
        self.carried = self._lasting and self.remarks

    def told_conditions(self, conditions: Mapping[int, Mapping[bytes, bytes]]) -> None:
        """Take what GET DIAGNOSTICS gave of the conditions that SHOW WARNINGS has told."""
        if self.told is not None:
            self.told = self.told.with_conditions(conditions)

    def veil(self) -> None:
        """Note that VEIL is run on the connection, right before the next statement."""
        self.veiled = True
        self.carried = False

    def keeping(self, *, row_count: bool = True, warnings: bool = False) -> Callable[[], None]:
        """Give what puts FOUND_ROWS() back as it is now, ROW_COUNT() and the warnings too if asked to."""
        found_rows, here = self.found_rows, self.found_rows_here
        affected = self.row_count
        remarks, told, count, errors = self.remarks, self.told, self.warnings, self.errors

        def put_back() -> None:
            self.found_rows, self.found_rows_here = found_rows, here
            if row_count:
                self.row_count = affected
            if warnings:
                self.remarks, self.told, self.warnings, self.errors = remarks, told, count, errors
                self.veiled = False
                self.carried = self._lasting and told is not None and bool(told.rows)

        return put_back

    def surviving(self) -> Callable[[], None]:
        """Give what puts back, behind `lost`, all that is known as it is now without the lost connection."""
        put_back = self.keeping(warnings=True)

        def survive() -> None:
            put_back()
            self.found_rows_here = False
            if self.remarks and self.told is None:
                self.no_remarks()

        return survive

    def adding(self) -> Callable[[], None]:
        """Give what puts all back as it is now, but for the one error that a GET DIAGNOSTICS then has added."""
        put_back = self.keeping()
        veiled, warnings, errors = self.veiled, self.warnings, self.errors
        told = self.told if veiled else None
        conditions = 1 if veiled else self.conditions

        def add() -> None:
            put_back()
            self.row_count = -1
            self.told, self.veiled = told, veiled
            self.warnings, self.errors = warnings + 1, errors + 1
            self.conditions = conditions + 1

        return add
