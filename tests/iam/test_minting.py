"""The proxy logs in at a database by tokens that boto3 signs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rdsproxy.iam.keys import AccessKey, KeyVerifier
from tests.iam.database import TokenDatabase
from tests.iam.tokens import KEY_ID, REGION, SECRET, outcome
from tests.integration.proxy import NATIVE, Account, Proxy, one
from tests.servers import Certificates, DatabaseServer, make_certificates

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

# What the proxy's client has is not what the database wants.
CLIENT = Account(NATIVE.name, "Planted-Client-1", NATIVE.plugin)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def proxy_before(database: TokenDatabase, server: DatabaseServer, folder: Path, ca: Path) -> Proxy:
    proxy = Proxy(
        server,
        folder,
        accounts=[CLIENT],
        proxy={"default_auth_scheme": "IAM_AUTH"},
        target_group={"tls.mode": "VERIFY_IDENTITY", "tls.ca": str(ca)},
        targets=[{"host": "127.0.0.1", "port": database.port}],
    )
    proxy.secrets |= {SECRET, "X-Amz-Signature="}
    return proxy


@on_mariadb
def test_a_token_for_each_login(server: DatabaseServer, certificates: Certificates, tmp_path: Path) -> None:
    passwords = {NATIVE.name: NATIVE.password, server.user.name: server.user.password}
    with (
        TokenDatabase(server, certificates, passwords) as database,
        proxy_before(database, server, tmp_path, certificates.ca) as proxy,
    ):
        with proxy.connect(CLIENT) as first, proxy.connect(CLIENT) as second:
            for connection in (first, second):
                connection.begin()
                assert one(connection, "SELECT 6 * 7") == 42
        users = [user for user, _ in database.shown]
        assert users.count(NATIVE.name) >= 2
        verifier = KeyVerifier(
            lambda: {KEY_ID: AccessKey(SECRET, frozenset(passwords))}, "127.0.0.1", REGION, time.time
        )
        for user, shown in database.shown:
            assert f"127.0.0.1:{database.port}/".encode() in shown
            outcome(verifier.verify(shown, user, "127.0.0.1"))


@on_mariadb
def test_no_token_for_a_certificate_that_is_not_trusted(
    server: DatabaseServer, certificates: Certificates, tmp_path: Path
) -> None:
    others = make_certificates(tmp_path)
    with (
        TokenDatabase(server, others, {}) as database,
        proxy_before(database, server, tmp_path, certificates.ca),
    ):
        assert database.failed_handshakes.acquire(timeout=20)
        assert database.shown == []


@on_mariadb
def test_no_token_can_be_made(
    server: DatabaseServer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with (
        TokenDatabase(server, certificates, {}) as database,
        proxy_before(database, server, tmp_path, certificates.ca) as proxy,
    ):
        proxy.wait_for_log(lambda line: "no IAM token can be made: You must specify a region" in str(line))
        assert database.shown == []
