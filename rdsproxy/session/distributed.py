"""XA transactions, as far as they belong to a connection: from XA START to XA COMMIT, ROLLBACK or, on MySQL, PREPARE.

The status flags are not enough: a deadlock rolls the transaction back and clears them, but the connection takes no
other statement than XA ROLLBACK after that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from rdsproxy.protocol import capabilities as cap
from rdsproxy.session.pinning import PinReason

if TYPE_CHECKING:
    from rdsproxy.session.session import Session

_PART: Final = rb"(?:'[^'\\]*'|X'[0-9A-F]*'|0x[0-9A-F]+)"
_XID: Final = rb"(" + _PART + rb"(?:\s*,\s*" + _PART + rb"(?:\s*,\s*\d+)?)?)"
_BEGINS: Final = re.compile(rb"\s*XA\s+(?:START|BEGIN)\s*" + _XID + rb"\s*;?\s*", re.IGNORECASE)
_ENDS: Final = re.compile(
    rb"\s*XA\s+(?:COMMIT|ROLLBACK|PREPARE)\s*" + _XID + rb"(?:\s+ONE\s+PHASE)?\s*;?\s*", re.IGNORECASE
)
_NEITHER: Final = re.compile(rb"\s*XA\s+(?:END\s*" + _XID + rb"|RECOVER\b[^;]*)\s*;?\s*", re.IGNORECASE)
_SPACE: Final = re.compile(rb"\s+")


class Step(NamedTuple):
    """What an XA statement does to the connection, if it succeeds."""

    begins: bool
    xid: bytes
    """As it is written, but for spaces; empty: the statement neither begins a transaction nor ends one."""


def step_of(sql: bytes) -> Step | None:
    """Read an XA statement; None for one of another form."""
    if found := _BEGINS.fullmatch(sql):
        return Step(True, _written(found[1]))
    if found := _ENDS.fullmatch(sql):
        return Step(False, _written(found[1]))
    return Step(False, b"") if _NEITHER.fullmatch(sql) else None


def _written(xid: bytes) -> bytes:
    # Spaces in a name count: two names that differ in them only must not be taken for one.
    return b"'".join(
        part if number % 2 else _SPACE.sub(b"", part) for number, part in enumerate(xid.split(b"'"))
    )


def spoils_connection(session: Session) -> bool:
    """Tell that no reset brings the session's connection back, on one server or the other: it has to be closed.

    Neither of them comes back from an XA transaction that is prepared, nor MySQL from one that an error rolled back.
    """
    if session.pins & PinReason.XA_TRANSACTION:
        return session.xa_prepared or session.unprobed or not session.status & cap.SERVER_STATUS_IN_TRANS
    return bool(session.pins & PinReason.XA)
