"""The state in which a client's session begins, from what its handshake asked for."""

from __future__ import annotations

from typing import Final

from rdsproxy.protocol import capabilities as cap
from rdsproxy.session.session import Session
from rdsproxy.session.state import SQL_MODE, State, States

_SETTINGS: Final = cap.CLIENT_MULTI_STATEMENTS | cap.CLIENT_IGNORE_SPACE | cap.CLIENT_INTERACTIVE
_REMEMBERED: Final = 1024


def open_session(states: States, schema: bytes, collation: int, capabilities: int) -> Session:
    """Begin a session with a schema (empty: none), a collation id and the client's capabilities."""
    form = (schema, collation, capabilities & _SETTINGS)
    state = states.openings.get(form)
    if state is None:
        if len(states.openings) >= _REMEMBERED:
            states.openings.clear()
        state = states.openings[form] = _opening_state(states, schema, collation, capabilities)
    return Session(states, state, track=bool(capabilities & cap.CLIENT_SESSION_TRACK))


def _opening_state(states: States, schema: bytes, collation: int, capabilities: int) -> State:
    state = states.of_client(schema, bool(capabilities & cap.CLIENT_MULTI_STATEMENTS), collation)
    variables = {}
    # Two capabilities are settings of the session, as the server sees them.
    if capabilities & cap.CLIENT_IGNORE_SPACE:
        modes = states.baseline.get(SQL_MODE, b"").split(b",")
        if b"IGNORE_SPACE" not in modes:
            variables[SQL_MODE] = b",".join([*filter(None, modes), b"IGNORE_SPACE"])
    if capabilities & cap.CLIENT_INTERACTIVE and b"interactive_timeout" in states.baseline:
        variables[b"wait_timeout"] = states.baseline[b"interactive_timeout"]
    if variables:
        state = states.with_variables(state, variables)
    return state
