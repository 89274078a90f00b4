"""A short flood: ordinary clients go on without an error, and nothing is left. How fast, `make flood` measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rdsproxy.open_files import allow_open_files
from tests.flood.attackers import KINDS
from tests.flood.process import flooding, until_only
from tests.fuzz.watch import descriptors_beside_the_pool
from tests.integration.network import until
from tests.integration.proxy import NATIVE, SHA2, Proxy, one
from tests.servers import DatabaseServer, make_certificates

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

EACH = 300
"""Attackers of each kind."""
ROUNDS = 20


@pytest.fixture
def proxy(server: DatabaseServer, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy with fewer places than those need who stay in one."""
    allow_open_files(2 * EACH * len(KINDS))
    settings = {"max_client_connections": 2 * EACH - 50, "max_failed_logins": 100}
    admin = {"listen": "tcp:0:interface=127.0.0.1"}
    with Proxy(server, tmp_path, tls=make_certificates(tmp_path / "tls"), proxy=settings, admin=admin) as proxy:
        yield proxy


def test_ordinary_clients_go_on(proxy: Proxy) -> None:
    with proxy.connect() as session:
        one(session, "SELECT 1")
        proxy.metrics()
        files = descriptors_beside_the_pool(proxy)
        with flooding(proxy, SHA2, EACH * len(KINDS), pause=2):
            until(lambda: proxy.metrics()["rdsproxy_client_connections_refused_total"] > 0, "all places are taken")
            for number in range(ROUNDS):
                assert one(session, f"SELECT {number}") == number
                # Not from the attackers' address, which is refused for a while as the user that they guess.
                for account, tls in ((NATIVE, False), (NATIVE, True), (SHA2, True), (SHA2, False)):
                    with proxy.connect(account, tls=tls, bind_address="127.0.0.2") as ordinary:
                        assert one(ordinary, f"SELECT {number}") == number
        until_only(proxy, 1)
        until(lambda: descriptors_beside_the_pool(proxy) <= files, "files are still open")
        found = proxy.metrics()
        assert found["rdsproxy_client_connections_in_setup"] == 0
        assert found["rdsproxy_client_connections_setup_succeeded_total"] == 1 + 4 * ROUNDS
        assert one(session, "SELECT 7") == 7
