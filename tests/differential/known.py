"""What the proxy does not do yet: left out of the scripts, or held longer than there is cause."""

from __future__ import annotations

from typing import Final

KNOWN: Final[dict[str, str]] = {
    "diagnostics that may be gone": "FOUND_ROWS() is another connection's behind a statement that leaves it alone",
}
"""Kinds of commands that are left out, and why."""

ONLY_BEHIND_STATEMENTS: Final[dict[str, str]] = {
    "diagnostics": "ROW_COUNT() of a new session is -1, not 0; what the proxy answers itself changes nothing",
}
"""Kinds that are left out where the session has just begun, or its last command was no statement, and why."""

LASTING: Final[frozenset[str]] = frozenset(
    (
        "definition",
        "function",
        "odd variable",
        "prepared text",
        "routine",
        "set for a statement",
        "several",
        "unscoped set",
        "volatile",
        "xa",
    )
)
"""Kinds that keep the connection until the session is reset."""
