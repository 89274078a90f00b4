"""Many clients, few connections; and what the proxy does when connections cannot be had or break."""

from __future__ import annotations

from tests.integration.proxy import Proxy, one


def test_a_killed_idle_connection_is_replaced(narrow: Proxy) -> None:
    with narrow.connect() as session:
        before = one(session, "SELECT CONNECTION_ID()")
        narrow.server.execute(f"KILL {before}")
        assert one(session, "SELECT CONNECTION_ID()") != before
