"""What the proxy does not do yet: left out of the scripts, or held longer than there is cause."""

from __future__ import annotations

from typing import Final

KNOWN: Final[dict[str, str]] = {}
"""Kinds of commands that are left out, and why."""

NOT_BEHIND_A_RESET: Final[frozenset[str]] = frozenset(("SET CHARACTER SET latin1", "SET CHARACTER SET DEFAULT"))
"""They set what `character_set_database` is: on MariaDB, from COM_RESET_CONNECTION to USE, that of the server."""

NOT_IF_TRACKED: Final[frozenset[str]] = frozenset(("CALL diffs.fails()",))
"""Left out of sessions that are told changes of state. MariaDB keeps what it has to tell behind an error until
something changes that it tracks, which on the proxy's connections is more."""

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
    )
)
"""Kinds that keep the connection until the session is reset."""
