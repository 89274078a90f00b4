"""PyMySQL through the proxy."""

from __future__ import annotations

from tests.integration.proxy import Proxy, one


def test_select(proxy: Proxy) -> None:
    with proxy.connect() as c:
        assert one(c, "SELECT 'ä€😀'") == "ä€😀"
