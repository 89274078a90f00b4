"""What the proxy does not do yet: left out of the scripts, or held longer than there is cause."""

from __future__ import annotations

from typing import Final

KNOWN: Final[dict[str, str]] = {}
"""Kinds of commands that are left out, and why."""

ONLY_WHILE_HELD: Final[dict[str, str]] = {
    "diagnostics": "error 1105 once another session, or a question of the proxy's, has used the connection",
}
"""Kinds that are left out where the session holds no connection, and why."""

LASTING: Final[frozenset[str]] = frozenset(
    (
        "definition",
        "diagnostics",
        "flushed tables",
        "function",
        "handler",
        "lock",
        "prepared text",
        "routine",
        "set for a statement",
        "several",
        "temporary",
        "unscoped set",
        "variable",
        "volatile",
        "xa",
    )
)
"""Kinds that keep the connection until the session is reset."""
