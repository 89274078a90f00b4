"""What becomes of a command whose database is lost under it, or says that it is not the writer any more.

Sent again is only what provably did not run, or provably changes nothing. Of the rest the client is told what is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rdsproxy.protocol import commands
from rdsproxy.protocol.framing import HEADER_SIZE
from rdsproxy.protocol.reply import PREPARED
from rdsproxy.protocol.responses import Err
from rdsproxy.relay import errors
from rdsproxy.session.session import IN_TRANSACTION, Session
from rdsproxy.session.statements import UNCOUNTED, Trait

if TYPE_CHECKING:
    from rdsproxy.relay.relay import Launch

_ROLLBACK: Final = re.compile(rb"\s*ROLLBACK(?:\s+WORK)?\s*;?\s*", re.IGNORECASE)

MOST: Final = 2
"""How often one command is sent again, at most: it may be what kills the database."""


Command = tuple[bytes, int, "Launch | None", bool]
"""What `Relay.run` was given (packets, the reply's first state, launch), and whether the session held no connection
then, so that nothing of the command depends on one. A plain tuple, since each query makes one."""


class Repeating:
    """Counts how often one command was sent."""

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._last: bytes = b""
        self._count = 0

    def again(self, command: Command | None) -> bool:
        """Tell whether the command may be sent once more, and count it."""
        if command is None or not command[3]:
            return False
        if self._last is not command[0]:
            self._last, self._count = command[0], 0
        self._count += 1
        return self._count <= MOST


def is_harmless(session: Session, command: Command, traits: Trait) -> bool:
    """Tell for certain that the command changes nothing, so that it does not matter whether it has run."""
    packets, expect, *_ = command
    if packets[HEADER_SIZE] == commands.INIT_DB:
        return True
    traits &= ~UNCOUNTED
    if traits & ~Trait.USES:
        return False
    if expect == PREPARED or traits:
        return True
    text = session.text_of(packets)
    return text is not None and session.state.lexer.only_reads(text)


def warnings_survive(session: Session, command: Command | None, traits: Trait) -> bool:
    """Tell for certain that no warnings were lost with the connection that can still be read behind the command."""
    return not session.diagnostics.unread or (
        not session.states.quiet_errors
        and command is not None
        and command[1] != PREPARED
        and not traits & Trait.DIAGNOSTICS
    )


def error_for(session: Session, command: Command | None) -> Err:
    """Give the error for a command that was lost with its connection and is not sent again."""
    if command is not None and session.status & IN_TRANSACTION and not session.reasons:
        text = session.text_of(command[0])
        if text is not None and session.state.lexer.cannot_commit(text):
            return errors.ROLLED_BACK
    return errors.LOST


def is_rollback(packets: bytes) -> bool:
    """Tell a client that wants its transaction rolled back: it need not be told that this has been done."""
    text = commands.text_of(packets)
    return text is not None and _ROLLBACK.fullmatch(text) is not None
