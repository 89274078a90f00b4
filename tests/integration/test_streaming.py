"""Large statements, rows, results and files: whole, and never kept in the proxy."""

from __future__ import annotations

from tests.integration.proxy import Proxy, one


def test_a_large_value(proxy: Proxy) -> None:
    with proxy.connect() as session:
        assert len(one(session, "SELECT REPEAT('x', 20000000)")) == 20_000_000
