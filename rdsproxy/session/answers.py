"""What the server answers to the questions about a session, taken in."""

from __future__ import annotations

from collections.abc import Mapping

from rdsproxy.protocol.results import Column, Result, Row
from rdsproxy.session import calls, roles, user_variables
from rdsproxy.session.holdings import Deed
from rdsproxy.session.pinning import STAINED, UNPROVED_CALLS, UNREAD_VARIABLES, PinReason
from rdsproxy.session.session import Session


def take_role(session: Session, value: bytes | None) -> None:
    """Take what CURRENT_ROLE() gives."""
    session.unread_role = False
    role = roles.clause(value, many=not session.states.quiet_errors)
    if role is None:
        session.pins |= PinReason.ROLE
    else:
        session.state = session.states.with_role(session.state, role)


def take_definitions(session: Session, results: Mapping[bytes, Result]) -> None:
    """Take the definitions of the procedures that were called."""
    session.pins &= ~UNPROVED_CALLS
    if not session.calls.end({name: calls.definition(result) for name, result in results.items()}):
        session.pins |= PinReason.ROUTINE


def take_locks(session: Session, gone: frozenset[bytes]) -> None:
    """Take which locks the session does not have."""
    session.unproven_locks = False
    session.do(Deed(PinReason.USER_LOCK, False, gone))


def take_user_variables(session: Session, columns: Mapping[bytes, Column], rows: Mapping[bytes, Row]) -> None:
    """Take what the unread user variables are; see `user_variables.literal`."""
    session.unwritable.clear()
    found: dict[bytes, bytes] = {}
    for name, row in rows.items():
        value = user_variables.literal(name, columns[name], row)
        if value is None:
            session.unwritable.add(name)
        else:
            found[name] = value
            if user_variables.is_double(columns[name], row):
                session.unproved[name] = value
    _read(session, found)


def take_doubles(session: Session, same: Mapping[bytes, bool]) -> None:
    """Take whether the SQL of the unproved variables has the same value."""
    session.unwritable.update(name for name, proved in same.items() if not proved)
    session.unproved.clear()
    _read(session, {})


def _read(session: Session, found: Mapping[bytes, bytes]) -> None:
    states = session.states
    state = states.with_user_variables(session.state, found)
    if sum(map(len, state.user_variables.values())) > 2 * user_variables.LARGEST:
        session.unwritable.update(found)
    else:
        session.state = state
    if session.unwritable and not states.pin_untracked_sets:
        # Known to be lost with the connection.
        lost = dict.fromkeys(session.unwritable, user_variables.UNSET)
        session.state = states.with_user_variables(session.state, lost)
        session.unwritable.clear()
        session.pins |= STAINED
    session.pin(PinReason.VARIABLE_VALUE, bool(session.unwritable))
    if not session.unproved:
        session.unread.clear()
        session.pins &= ~UNREAD_VARIABLES
