"""Transactions that have not begun, or in which nothing has been done: the SQL that makes them again elsewhere.

Source: "Server Tracking of Client Session State" in MySQL's manual; MariaDB tells the same. With
session_track_transaction_info=CHARACTERISTICS each change of what the next transaction will be like, and each begin of
one, is told as the statements that recreate it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.session.pinning import UNUSED_TRANSACTION, PinReason

if TYPE_CHECKING:
    from rdsproxy.session.session import Session

_NEXT: Final = (
    rb"(?:SET TRANSACTION ISOLATION LEVEL (?:READ UNCOMMITTED|READ COMMITTED|REPEATABLE READ|SERIALIZABLE); ?)?"
    rb"(?:SET TRANSACTION READ (?:ONLY|WRITE); ?)?"
)
_SET: Final = re.compile(_NEXT)
_BEGUN: Final = re.compile(_NEXT + rb"START TRANSACTION(?: READ (?:ONLY|WRITE))?;")

UNTOUCHED: Final = b"T_______"
"""The tracked state of a transaction that was begun by a statement, and has read and written nothing."""
LEFT_OPEN: Final = b";"
"""Of a connection, in place of what recreates its transaction: there is one, and nobody wants it."""
END: Final = commands.query(b"ROLLBACK AND NO CHAIN NO RELEASE")
"""Ends what was begun, or set for the next transaction, whatever `completion_type` is."""


def is_set(characteristics: bytes) -> bool:
    """Tell whether this is what was set for the next transaction, if anything."""
    return _SET.fullmatch(characteristics) is not None


def is_begun(characteristics: bytes) -> bool:
    """Tell whether this begins a transaction, by nothing that has a lasting effect already."""
    return _BEGUN.fullmatch(characteristics) is not None


def recreate(characteristics: bytes) -> list[bytes]:
    """Give the packets that set or begin this again."""
    return [commands.query(part) for part in map(bytes.strip, characteristics.split(b";")) if part]


def give_up(session: Session) -> bool:
    """Let the session leave its connection, if only an unused transaction holds it.

    It has to be begun again on the next one.
    """
    if session.pins != UNUSED_TRANSACTION or session.tracking.in_force:
        return False
    session.pins = PinReason.NONE
    session.state = session.states.with_transaction(session.state, session.characteristics)
    return True


def begun_again(session: Session) -> None:
    """Note that the connection has all of the state, with the transaction that was begun before."""
    if is_begun(session.state.transaction):
        session.characteristics = session.state.transaction
        session.state = session.states.with_transaction(session.state, b"")
        session.pins |= UNUSED_TRANSACTION


def begins_bare(session: Session) -> bool:
    """Tell that nothing has been begun, or set, that a statement sent now would be a part of or would use up."""
    in_transaction = session.status & (cap.SERVER_STATUS_IN_TRANS | cap.SERVER_STATUS_IN_TRANS_READONLY)
    return not in_transaction and not session.state.transaction
