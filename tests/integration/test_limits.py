"""What the proxy refuses, and how."""

from __future__ import annotations

from tests.integration.packets import Packets, error_code
from tests.integration.proxy import Proxy


def test_unknown_commands_are_refused(proxy: Proxy) -> None:
    with Packets(proxy.host, proxy.port) as client:
        assert error_code(client.command(0x12)) == 1047
