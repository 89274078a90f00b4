"""The certificate that clients see, renewed while the proxy runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pymysql.err import OperationalError

from tests.integration.logins import Login
from tests.integration.proxy import Proxy, one
from tests.servers import Certificates, DatabaseServer, make_certificates

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)


def test_renewal(server: DatabaseServer, folder: Path) -> None:
    """Those who connect see the new one, those who are there stay, and half of a renewal hurts nobody."""
    old, new = make_certificates(folder / "old"), make_certificates(folder / "new")
    shown = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")

    def put(source: Path, place: Path) -> None:
        shutil.copy(source, folder / "part")
        (folder / "part").rename(place)

    put(old.ca, shown.ca)
    put(old.certificate, shown.certificate)
    put(old.private_key, shown.private_key)
    with Proxy(server, folder, tls=shown) as proxy, proxy.connect(tls=True) as early:
        put(new.certificate, shown.certificate)
        with proxy.connect(tls=True) as between:
            assert one(between, "SELECT 1") == 1
        line = proxy.wait_for_log(lambda line: line["event"] == "certificate not renewed")
        assert "not the key of the certificate" in line["reason"]
        put(new.private_key, shown.private_key)
        with pytest.raises(OperationalError, match="certificate verify failed"):
            proxy.connect(tls=True)
        put(new.ca, shown.ca)
        with proxy.connect(tls=True) as late:
            assert one(early, "SELECT 1") == one(late, "SELECT 1") == 1
        shown.certificate.unlink()
        with Login(proxy.host, proxy.port) as login:
            login.start_tls(shown)
        assert sum(line["event"] == "certificate renewed" for line in proxy.log) == 1
