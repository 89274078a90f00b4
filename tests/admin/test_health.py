"""When the proxy calls itself healthy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rdsproxy.admin.health import why_unhealthy


def test_health() -> None:
    door: Any = SimpleNamespace(known=SimpleNamespace(facts=None), clients=set(), strangers={}, max_connections=2)
    closed, opened = SimpleNamespace(is_open=False), SimpleNamespace(is_open=True)
    targets: Any = SimpleNamespace(is_paused=False, writers=closed, readers=closed)
    assert why_unhealthy(door, targets) == "the database has not been reached yet"
    door.known.facts = object()
    assert why_unhealthy(door, targets) == "no target is available"
    targets.readers = opened
    assert why_unhealthy(door, targets) is None
    targets.is_paused = True
    assert why_unhealthy(door, targets) == "paused"
    targets.is_paused = False
    door.clients = {1}
    assert why_unhealthy(door, targets) is None
    door.clients, door.strangers = {1, 2}, {2: None}
    assert why_unhealthy(door, targets) is None
    door.strangers = {}
    assert why_unhealthy(door, targets) == "there are max_client_connections clients already"
