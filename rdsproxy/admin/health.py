"""Whether the proxy can be used."""

from __future__ import annotations

from rdsproxy.frontend.door import Door
from rdsproxy.topology.group import Group


def why_unhealthy(door: Door, targets: Group) -> str | None:
    """Give the reason why a client that connects now could not work; None: it could."""
    if door.known.facts is None:
        return "the database has not been reached yet"
    if targets.is_paused:
        return "paused"
    if not (targets.writers.is_open or targets.readers.is_open):
        return "no target is available"
    # Who has not logged in would give way.
    if len(door.clients) - len(door.strangers) >= door.max_connections:
        return "there are max_client_connections clients already"
    return None
