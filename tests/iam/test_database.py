"""Clients that log in by a token which the database is shown once: real drivers, TLS, and a database that verifies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
import pytest

from rdsproxy.iam.errors import TokenError
from rdsproxy.iam.keys import AccessKey, KeyVerifier
from tests.iam.database import TokenDatabase
from tests.iam.proxy import IAMProxy, by_connector
from tests.iam.sts import sign_sts
from tests.iam.test_sts import CANNOT, DENIED, reason_after
from tests.iam.tokens import KEY_ID, REGION, SECRET, outcome, sign
from tests.integration.proxy import NATIVE, Account, one, refused
from tests.servers import Certificates, DatabaseServer, make_certificates

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

CLUSTER = "orders.cluster.example.com"


@dataclass
class Scene:
    """A database that verifies tokens, and a proxy before it."""

    database: TokenDatabase
    proxy: IAMProxy

    def token(self, user: str = NATIVE.name, **other: Any) -> str:
        """Sign one for the database, as it stands."""
        return sign(user, **{"host": "127.0.0.1", "port": self.database.port, **other})

    def shown(self, token: str) -> int:
        """Give how often the database has been shown it."""
        return [shown for _, shown in self.database.shown].count(token.encode())

    def connect(self, token: str) -> Any:
        """Log in to the proxy."""
        return self.proxy.connect(replace(NATIVE, password=token), tls=True)


def takes(server: DatabaseServer) -> Callable[[str, bytes], bool]:
    """Give how the database judges: by passwords, which the proxy has, and by tokens for either of its names."""
    keys = {KEY_ID: AccessKey(SECRET, frozenset((NATIVE.name,)))}
    verifiers = [KeyVerifier(lambda: keys, host, REGION, time.time) for host in ("127.0.0.1", CLUSTER)]

    def take(user: str, shown: bytes) -> bool:
        if shown.decode() in (NATIVE.password, server.user.password):
            return True
        for verifier in verifiers:
            try:
                outcome(verifier.verify(shown, user, ""))
            except TokenError:
                continue
            return True
        return False

    return take


@pytest.fixture(scope="module")
def shared(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    passwords = {NATIVE.name: NATIVE.password, server.user.name: server.user.password}
    with (
        TokenDatabase(server, certificates, passwords, takes(server)) as database,
        IAMProxy(
            server,
            tmp_path_factory.mktemp("database"),
            [NATIVE],
            accounts=[],
            tls=certificates,
            verify={"verify": "database", "host": CLUSTER},
            target_group={"tls.mode": "VERIFY_IDENTITY", "tls.ca": str(certificates.ca)},
            targets=[{"host": "127.0.0.1", "port": database.port}],
        ) as proxy,
    ):
        yield Scene(database, proxy)


@pytest.fixture
def scene(shared: Scene, certificates: Certificates) -> Iterator[Scene]:
    """No token is in the proxy's log afterwards."""
    yield shared
    shared.database.prove_by(certificates)
    shared.proxy.check_log()


def test_a_token(scene: Scene) -> None:
    """The database is shown it once. That connection ends; the sessions have others, of the proxy's own."""
    token = scene.token(expires=700)
    with scene.connect(token) as first, scene.connect(token) as second:
        for connection in (first, second):
            connection.begin()
            assert one(connection, "SELECT SUBSTRING_INDEX(USER(), '@', 1)") == NATIVE.name
        assert scene.shown(token) == 1
        assert scene.database.ended.get(timeout=20) == token.encode()
        assert scene.shown(NATIVE.password) >= 2


def test_connector_python_and_another_name_of_the_writer(scene: Scene, certificates: Certificates) -> None:
    with by_connector(scene.proxy, NATIVE.name, scene.token(host=CLUSTER), certificates) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 6 * 7")
        assert cursor.fetchall() == [(42,)]
        fresh = scene.token(expires=701)
        connection.cmd_change_user(NATIVE.name, fresh, "app")
        assert scene.shown(fresh) == 1


FORM = "does not begin with HOST:PORT"
REFUSED = "the database refuses it: error 1045"
ELSEWHERE = "for another host or port than the database's"
# What is wrong, how to make it, and a part of the reason that the log gives.
BAD: dict[str, tuple[Callable[[Scene], str], str]] = {
    "empty": (lambda scene: "", "characters that no token has, or none"),
    "the password": (lambda scene: NATIVE.password, FORM),
    "for STS": (lambda scene: sign_sts(NATIVE.name), FORM),
    "another host": (lambda scene: scene.token(host="db.example.com"), ELSEWHERE),
    "another port": (lambda scene: scene.token(port=3306), ELSEWHERE),
    "another port of the other name": (lambda scene: scene.token(host=CLUSTER, port=3306), ELSEWHERE),
    "another user": (lambda scene: scene.token("other"), "for another user"),
    "another service": (lambda scene: scene.token(service="sts"), "another service"),
    "another action": (lambda scene: scene.token(action="Connect"), "Action"),
    "expired": (lambda scene: scene.token(age=960), "expired"),
    "of the future": (lambda scene: scene.token(age=-600), "in the future"),
    "lives a day": (lambda scene: scene.token(expires=86400), "lifetime"),
    "half": (lambda scene: scene.token().partition("&X-Amz-Date")[0], "perhaps it is cut off"),
    # From here on the database is asked.
    "user altered": (
        lambda scene: scene.token("other").replace("DBUser=other", f"DBUser={NATIVE.name}"),
        REFUSED,
    ),
    "another secret": (lambda scene: scene.token(secret="Planted-other"), REFUSED),
    "unknown key": (lambda scene: scene.token(key_id="AKIAUNKNOWN"), REFUSED),
    "temporary": (lambda scene: scene.token(session="Planted-session"), REFUSED),
    "another region": (lambda scene: scene.token(region="us-east-1"), REFUSED),
    "POST": (lambda scene: scene.token(method="POST"), REFUSED),
    "signature of zeros": (lambda scene: scene.token()[:-64] + "0" * 64, REFUSED),
}


@on_mariadb
@pytest.mark.parametrize("what", BAD)
def test_a_bad_token(scene: Scene, what: str) -> None:
    make, reason = BAD[what]
    token, seen = make(scene), len(scene.proxy.log)
    with pytest.raises(pymysql.MySQLError) as caught:
        scene.connect(token)
    assert caught.value.args == (1045, DENIED.format(NATIVE.name, "YES" if token else "NO"))
    assert reason in reason_after(scene.proxy, seen)
    if token != NATIVE.password:
        # Only what may be good is shown.
        assert scene.shown(token) == (reason == REFUSED)
    assert "having been shown" not in json.dumps(scene.proxy.log[seen:])


@on_mariadb
def test_the_same_text_is_asked_about_for_each_user(scene: Scene) -> None:
    """That one user was let in by a token says nothing of another."""
    token = scene.token(expires=702)
    scene.connect(token).close()
    with refused(1045):
        scene.proxy.connect(Account("other", token, NATIVE.plugin), tls=True)


@on_mariadb
def test_no_token_for_a_certificate_that_is_not_trusted(scene: Scene, tmp_path: Path) -> None:
    token, seen = scene.token(expires=703), len(scene.proxy.log)
    scene.database.prove_by(make_certificates(tmp_path))
    with refused(3168, CANNOT):
        scene.connect(token)
    assert "certificate is refused" in reason_after(scene.proxy, seen)
    assert scene.shown(token) == 0


@on_mariadb  # MySQL has no passwords of that length
def test_a_password_like_a_token_is_none(server: DatabaseServer, certificates: Certificates, tmp_path: Path) -> None:
    """What counts is that the database asks for the token itself, and not for a proof of knowing it."""
    user = "like_a_token"
    token = sign(user, host=server.host, port=server.port)
    server.create_user(user, token, grants=["ALL PRIVILEGES ON app.*"])
    account = Account(user, token, NATIVE.plugin)
    assert server.certificates is not None
    with IAMProxy(
        server,
        tmp_path,
        [account],
        accounts=[NATIVE],
        tls=certificates,
        verify={"verify": "database"},
        target_group={"tls.mode": "VERIFY_IDENTITY", "tls.ca": str(server.certificates.ca)},
    ) as proxy:
        with refused(3168, CANNOT):
            proxy.connect(account, tls=True)
        assert "and not by what mysql_clear_password shows" in reason_after(proxy, 0)


@on_mariadb
def test_while_there_is_no_database(server: DatabaseServer, certificates: Certificates, tmp_path: Path) -> None:
    """Who was let in before is let in; others are told to come again."""
    passwords = {NATIVE.name: NATIVE.password, server.user.name: server.user.password}
    database = TokenDatabase(server, certificates, passwords, takes(server))
    with (
        database,
        IAMProxy(
            server,
            tmp_path,
            [NATIVE],
            accounts=[],
            tls=certificates,
            verify={"verify": "database"},
            target_group={"tls.mode": "VERIFY_IDENTITY", "tls.ca": str(certificates.ca)},
            targets=[{"host": "127.0.0.1", "port": database.port}],
        ) as proxy,
    ):
        scene = Scene(database, proxy)
        known = scene.token(expires=704)
        scene.connect(known).close()
        database.close()
        scene.connect(known).close()
        with refused(3168, CANNOT):
            scene.connect(scene.token(expires=705))
        assert "the database cannot be asked: ConnectionRefusedError" in reason_after(proxy, 0)
