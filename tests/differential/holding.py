"""Which session holds a database connection, as far as a script needs to know.

The proxy has two connections for eight sessions. One may be held; the other is for all who hold none. So before a
session comes to hold one, whoever holds it now is made to let go. In doubt a session counts as holding.
"""

from __future__ import annotations

from collections.abc import Iterator

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.responses import Err, Ok
from tests.differential import commands
from tests.differential.client import Result, Rows
from tests.differential.commands import RESET, Command, Query
from tests.differential.known import LASTING

_TRANSACTION = "transaction"
_IN_TRANSACTION = cap.SERVER_STATUS_IN_TRANS | cap.SERVER_STATUS_IN_TRANS_READONLY

# Kinds whose statements may begin to hold, and what ends that.
_ENDS: dict[str, tuple[str, ...]] = {
    "flushed tables": ("UNLOCK TABLES",),
    "handler": ("HANDLER t{n} CLOSE", "HANDLER h CLOSE"),
    "lock": ("DO RELEASE_ALL_LOCKS()",),
    "locked tables": ("UNLOCK TABLES",),
    "next transaction": ("START TRANSACTION", "COMMIT"),
    "prepared text": ("DEALLOCATE PREPARE a", "DEALLOCATE PREPARE b"),
    "temporary": (
        "DROP TEMPORARY TABLE IF EXISTS diff1.temp{n}, diff1.t{n}",
        "DROP TEMPORARY TABLE IF EXISTS diff2.temp{n}, diff2.t{n}",
    ),
    "xa": ("XA END 'x{n}'", "XA ROLLBACK 'x{n}'"),
}
_NEXT = "next transaction"
# These are all that is done in a transaction until another statement follows: others may have its connection.
_BEGINS = frozenset(
    ("BEGIN", "BEGIN WORK", "START TRANSACTION", "START TRANSACTION READ ONLY", "START TRANSACTION READ WRITE")
)
_MAY_BEGIN = frozenset((_TRANSACTION, "autocommit", "several", "call", "routine", "prepared text", "prepared"))
_OF_SLOT = commands.Prepare | commands.Execute | commands.ResetStatement | commands.CloseStatement


class Holder:
    """What one session holds its connection for."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.was_reset = False
        """Since it has entered its schema."""
        self._autocommit = True
        self._unused = False
        """A transaction has been begun, and nothing more."""
        self._set = False
        """Something is set for the next transaction, which does not hold unless a statement fails."""
        self._reasons: set[str] = set()
        self._slots: set[int] = set()
        """Prepared statements with a cursor or with long data."""

    @property
    def holds(self) -> bool:
        """It holds, or may hold, a connection."""
        return bool(self._reasons or self._slots)

    def may_come_to_hold(self, command: Command) -> bool:
        """Tell whether this command may make it hold a connection."""
        kind = command.kind
        if isinstance(command, Query) and command.sql in _BEGINS and self._autocommit and not self._set:
            return self._unused
        if self._unused or self._set:
            return True
        return not self._autocommit or (kind in _ENDS and kind != _NEXT) or kind in LASTING or kind in _MAY_BEGIN

    def ran(self, command: Command, results: tuple[Result, ...]) -> None:
        """Take what a command came to."""
        if command == RESET or isinstance(command, commands.ChangeUser):
            self.__init__(self._number)  # type: ignore[misc]
            self.was_reset = command == RESET
            return
        kind = command.kind
        if kind in ("use", "schema") and not _error(results[-1]):
            self.was_reset = False
        if kind in LASTING or (kind in _ENDS and kind != _NEXT):
            self._reasons.add(kind)
        was_unused = self._unused
        begins = isinstance(command, Query) and command.sql in _BEGINS
        self._unused = begins and self._autocommit and not self._reasons
        self._set = self._set or kind == _NEXT
        if isinstance(command, _OF_SLOT):
            self._slots.discard(command.slot)
        if isinstance(command, commands.LongData):
            self._slots.add(command.slot)
        for result in results:
            self._learn(result)
            if isinstance(command, commands.Execute) and _opens_cursor(result):
                self._slots.add(command.slot)
        if results and _error(results[-1]):
            # The server did not say; but a transaction that was begun is used now.
            if was_unused or not self._autocommit or kind in _MAY_BEGIN or kind == _NEXT:
                self._reasons.add(_TRANSACTION)
            if self._set:
                self._reasons.add(_NEXT)

    def _learn(self, result: Result) -> None:
        end = result.end if isinstance(result, Rows) else result
        if not isinstance(end, Ok):
            return
        self._autocommit = bool(end.status & cap.SERVER_STATUS_AUTOCOMMIT)
        if end.status & _IN_TRANSACTION:
            self._set = False
            if not self._unused:
                self._reasons.add(_TRANSACTION)
            self._reasons.discard(_NEXT)
        else:
            self._unused = False
            self._reasons.discard(_TRANSACTION)

    def let_go(self, commit: bool) -> Iterator[Command]:
        """Give commands that end all of this, asking again after each whether it still holds."""
        if not self._reasons & LASTING:
            for slot in sorted(self._slots):
                yield commands.ResetStatement("release", slot)
            if _TRANSACTION in self._reasons:
                yield Query("release", "COMMIT" if commit else "ROLLBACK")
            for reason in sorted(self._reasons):
                for sql in _ENDS.get(reason, ()):
                    yield Query("release", sql.replace("{n}", str(self._number)))
                if reason in _ENDS:
                    self._reasons.discard(reason)
        if self.holds:
            yield RESET


def _opens_cursor(result: Result) -> bool:
    end = result.end if isinstance(result, Rows) else None
    return isinstance(end, Ok) and bool(end.status & cap.SERVER_STATUS_CURSOR_EXISTS)


def _error(result: Result) -> bool:
    return isinstance(result, Err) or (isinstance(result, Rows) and isinstance(result.end, Err))
