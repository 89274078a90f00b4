"""What the proxy does not do yet: left out of the scripts, or held longer than there is cause."""

from __future__ import annotations

from typing import Final

KNOWN: Final[dict[str, str]] = {}
"""Kinds of commands that are left out, and why."""

ONLY_WHILE_HELD: Final[dict[str, str]] = {
    "diagnostics that may be gone": "error 1105 once another session has used the connection",
}
"""Kinds that are left out where the session holds no connection, and why."""

NOT_AT_FIRST: Final[dict[str, str]] = {
    "diagnostics": "ROW_COUNT() of a session that has run nothing yet is -1, not 0",
}
"""Kinds that are left out where the session has run no statement since its login or reset, and why."""

LASTING: Final[frozenset[str]] = frozenset(
    (
        "definition",
        "flushed tables",
        "function",
        "handler",
        "lock",
        "odd variable",
        "prepared text",
        "routine",
        "set for a statement",
        "several",
        "temporary",
        "unscoped set",
        "volatile",
        "xa",
    )
)
"""Kinds that keep the connection until the session is reset."""
