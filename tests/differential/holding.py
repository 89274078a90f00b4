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
    "counted rows": ("DO 1",),
}
_MAY_BEGIN = frozenset((_TRANSACTION, "autocommit", "several", "routine", "prepared text", "prepared"))
_OF_SLOT = commands.Prepare | commands.Execute | commands.ResetStatement | commands.CloseStatement


class Holder:
    """What one session holds its connection for."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.ran_statement = False
        """Its last command was a statement."""
        self._autocommit = True
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
        return not self._autocommit or kind in _ENDS or kind in LASTING or kind in _MAY_BEGIN

    def ran(self, command: Command, results: tuple[Result, ...]) -> None:
        """Take what a command came to."""
        if command == RESET or isinstance(command, commands.ChangeUser):
            self.__init__(self._number)  # type: ignore[misc]
            return
        kind = command.kind
        unknown = isinstance(command, commands.Execute) and any(_error(result) for result in results)
        self.ran_statement = isinstance(command, commands.Query | commands.Execute) and not unknown
        if kind in LASTING or kind in _ENDS:
            self._reasons.add(kind)
        if isinstance(command, _OF_SLOT):
            self._slots.discard(command.slot)
        if isinstance(command, commands.LongData):
            self._slots.add(command.slot)
        for result in results:
            self._learn(result)
            if isinstance(command, commands.Execute) and _opens_cursor(result):
                self._slots.add(command.slot)
        if results and _error(results[-1]) and (not self._autocommit or kind in _MAY_BEGIN):
            # The server did not say.
            self._reasons.add(_TRANSACTION)
        if kind != "counted rows":
            self._reasons.discard("counted rows")

    def _learn(self, result: Result) -> None:
        end = result.end if isinstance(result, Rows) else result
        if not isinstance(end, Ok):
            return
        self._autocommit = bool(end.status & cap.SERVER_STATUS_AUTOCOMMIT)
        if end.status & _IN_TRANSACTION:
            self._reasons.add(_TRANSACTION)
            self._reasons.discard("next transaction")
        else:
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
