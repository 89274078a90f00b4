"""Access keys that change while the proxy runs: with a clock, from a file, and from Secrets Manager."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from twisted.internet.task import Clock

from rdsproxy.credentials import SecretUnavailableError
from rdsproxy.iam.errors import TokenUndecidedError
from rdsproxy.iam.kept_keys import KeptKeys
from rdsproxy.interfaces import SecretVersions
from tests.credentials.conftest import manager  # noqa: F401 - a fixture
from tests.credentials.secrets_manager import SecretsManager
from tests.credentials.test_store import INTERVAL, Source
from tests.iam.proxy import IAMProxy
from tests.iam.test_sts import DENIED, on_mariadb, reason_after, with_token
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET, sign
from tests.integration.proxy import NATIVE, refused
from tests.servers import Certificates, DatabaseServer

MAX_AGE = 3600.0


def text(key_id: str = KEY_ID) -> str:
    return json.dumps({key_id: {"secret_access_key": SECRET, "users": [NATIVE.name]}})


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        self.source = Source("keys.json")
        self.keys = KeptKeys(self.source, MAX_AGE, self.clock)
        self.keys.start()


def test_they_are_read_again() -> None:
    scene = Scene()
    with pytest.raises(TokenUndecidedError, match="cannot be read"):
        scene.keys.now()
    scene.source.give(SecretVersions(text()))
    assert list(scene.keys.now()) == [KEY_ID]
    scene.clock.advance(INTERVAL)
    scene.source.give(SecretVersions(text("AKIAOTHER")))
    assert list(scene.keys.now()) == ["AKIAOTHER"]
    scene.keys.stop()
    assert scene.clock.getDelayedCalls() == []


@pytest.mark.parametrize("broken", [SecretVersions("Planted-1"), SecretUnavailableError("keys.json", "down")])
def test_what_was_read_before_is_kept_but_not_for_ever(broken: SecretVersions | Exception) -> None:
    scene = Scene()
    scene.source.give(SecretVersions(text()))
    scene.clock.advance(INTERVAL)
    with capture_logs() as log:
        scene.source.give(broken)
        reads = len(scene.source.reads)
        scene.clock.advance(1.25)
        assert len(scene.source.reads) == reads + 1
        scene.source.give(broken)
    assert [line["event"] for line in log] == ["access keys cannot be read"]
    assert "Planted" not in str(log)
    assert list(scene.keys.now()) == [KEY_ID]
    scene.clock.advance(MAX_AGE)
    with pytest.raises(TokenUndecidedError):
        scene.keys.now()
    scene.source.give(SecretVersions(text()))
    assert list(scene.keys.now()) == [KEY_ID]


@on_mariadb
def test_a_key_is_taken_out_of_the_file(server: DatabaseServer, certificates: Certificates, tmp_path: Path) -> None:
    """Until then a token is good for clients at one address."""
    with IAMProxy(server, tmp_path, [NATIVE], tls=certificates, accounts=[], reuse="SAME_ADDRESS") as proxy:
        account = with_token(sign(NATIVE.name))
        for _ in range(2):
            proxy.connect(account, tls=True).close()
        with refused(1045, DENIED.format(NATIVE.name, "YES").replace("127.0.0.1", "127.0.0.2")):
            proxy.connect(account, tls=True, bind_address="127.0.0.2")
        assert "first used from another address" in reason_after(proxy, 0)
        (tmp_path / "new.json").write_text(text("AKIAOTHER"))
        (tmp_path / "new.json").rename(tmp_path / "keys.json")
        proxy.wait_for_log(lambda line: line["event"] == "access keys changed")
        seen = len(proxy.log)
        with refused(1045):
            proxy.connect(account, tls=True)
        assert "access key is not known" in reason_after(proxy, seen)


@on_mariadb
def test_keys_in_secrets_manager(
    server: DatabaseServer, certificates: Certificates, tmp_path: Path, manager: SecretsManager  # noqa: F811
) -> None:
    """While it cannot be asked, clients are told to come again; with the same token, which has not been used then."""
    with manager.running():
        arn = manager.create("keys", text())
    verify = {"verify": "keys", "keys_arn": arn, "host": HOST, "region": REGION}
    account = with_token(sign(NATIVE.name))
    with IAMProxy(
        server, tmp_path, [NATIVE], tls=certificates, accounts=[], verify=verify, reuse="REFUSED"
    ) as proxy:
        proxy.wait_for_log(lambda line: line["event"] == "access keys cannot be read")
        with refused(3168):
            proxy.connect(account, tls=True)
        with manager.running():
            proxy.wait_for_log(lambda line: line["event"] == "access keys can be read again")
        proxy.connect(account, tls=True).close()
        seen = len(proxy.log)
        with refused(1045, DENIED.format(NATIVE.name, "YES")):
            proxy.connect(account, tls=True)
        assert "used before" in reason_after(proxy, seen)
