"""Clients that log in by a token that STS answers: real drivers, TLS and database; an STS that verifies signatures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest
from moto.moto_server.werkzeug_app import create_backend_app

from rdsproxy.protocol.handshake import ChangeUser
from tests.iam.bad_sts import BAD
from tests.iam.proxy import IAMProxy, asked_for_token, by_connector
from tests.iam.sts import (
    ROLE,
    SESSION,
    SESSION_KEY_ID,
    STS,
    STS_HOST,
    Answer,
    Asked,
    answer,
    caller,
    environment,
    refusal,
    sign_sts,
)
from tests.iam.tokens import HOST, KEY_ID, REGION, SECRET
from tests.integration.logins import Login
from tests.integration.proxy import NATIVE, ROOT, SHA2, Account, one, refused
from tests.servers import Certificates, DatabaseServer, make_certificates

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

DENIED = "Access denied for user '{}'@'127.0.0.1' (using password: {})"
CANNOT = "Server isn't available for this user: the proxy cannot verify IAM tokens at the moment; try again later"
VERIFY = {"verify": "sts", "host": HOST, "region": REGION}
PRINCIPALS = {
    ROLE: [NATIVE.name],
    "arn:aws:iam::123456789012:user/team/batch": ["other", NATIVE.name],
    "arn:aws:sts::123456789012:user/moto": [NATIVE.name],
}


def with_token(token: str, name: str = NATIVE.name) -> Account:
    return replace(NATIVE, name=name, password=token)


def sts_proxy(server: DatabaseServer, folder: Path, certificates: Certificates, **more: Any) -> IAMProxy:
    proxy = IAMProxy(
        server, folder, [NATIVE], accounts=[SHA2], tls=certificates, verify=VERIFY, principals=PRINCIPALS, **more
    )
    proxy.secrets |= {SESSION}
    return proxy


@pytest.fixture(scope="module")
def shared_sts() -> Iterator[STS]:
    with STS() as sts:
        yield sts


@pytest.fixture
def sts(shared_sts: STS) -> Iterator[STS]:
    """It verifies signatures, whatever a test has had it say."""
    shared_sts.asked.clear()
    yield shared_sts
    shared_sts.answer = answer
    shared_sts.held.set()


@pytest.fixture(scope="module")
def shared(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory, shared_sts: STS
) -> Iterator[IAMProxy]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment(shared_sts.url).items():
            patched.setenv(name, value)
        with sts_proxy(server, tmp_path_factory.mktemp("sts"), certificates) as proxy:
            yield proxy


@pytest.fixture
def proxy(shared: IAMProxy) -> Iterator[IAMProxy]:
    """One user has tokens, another one a password; no token is in its log afterwards."""
    yield shared
    shared.check_log()


def reason_after(proxy: IAMProxy, seen: int) -> str:
    return str(proxy.wait_for_log(lambda line: line["event"] == "login failed", after=seen)["reason"])


def test_a_token_of_a_role(proxy: IAMProxy, sts: STS) -> None:
    token = sign_sts(NATIVE.name)
    for _ in range(2):  # until it expires
        with proxy.connect(with_token(token), tls=True) as connection:
            assert one(connection, "SELECT SUBSTRING_INDEX(USER(), '@', 1)") == NATIVE.name
    # The second time nobody is asked. What was asked is what the client has signed, as it stands.
    (asked,) = sts.asked
    assert asked.method == "GET"
    assert asked.target == token.removeprefix(f"https://{STS_HOST}")
    assert asked.headers["host"] == STS_HOST


def test_connector_python_with_the_key_of_a_user(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    token = sign_sts(NATIVE.name, key_id=KEY_ID, session=None, sts="sts.amazonaws.com", region="us-east-1")
    with by_connector(proxy, NATIVE.name, token, certificates, auth_plugin="mysql_clear_password") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 6 * 7")
        assert cursor.fetchall() == [(42,)]


@on_mariadb
def test_an_answer_of_moto(proxy: IAMProxy, sts: STS) -> None:
    """It answers in AWS's form, but looks at no signature and has one user for all."""
    app = create_backend_app("sts")

    def ask(asked: Asked) -> Answer:
        said = app.test_client().open(asked.target, method=asked.method, headers=dict(asked.headers))
        return Answer(said.status_code, said.data, {"Content-Type": said.content_type})

    sts.answer = ask
    with proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True) as connection:
        assert one(connection, "SELECT 1") == 1


@on_mariadb
def test_the_token_of_the_docs(proxy: IAMProxy, sts: STS, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": SESSION_KEY_ID, "SECRET_ACCESS_KEY": SECRET, "SESSION_TOKEN": SESSION}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    page = (ROOT / "docs" / "iam.md").read_text()
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    proxy.connect(with_token(names["token"](HOST.upper(), NATIVE.name, REGION)), tls=True).close()
    assert len(sts.asked) == 1


def test_change_user(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    """To a user with tokens: one question to STS for each fresh token."""
    with by_connector(proxy, SHA2.name, SHA2.password, certificates) as connection:
        for number in (1, 2):
            connection.cmd_change_user(NATIVE.name, sign_sts(NATIVE.name), "app")
            assert len(sts.asked) == number
        cursor = connection.cursor()
        cursor.execute("SELECT SUBSTRING_INDEX(USER(), '@', 1)")
        assert cursor.fetchall() == [(NATIVE.name,)]
        seen = len(proxy.log)
        with pytest.raises(mysql.connector.Error) as caught:
            connection.cmd_change_user(NATIVE.name, sign_sts("other"), "app")
        assert caught.value.errno == 1873
        assert "SignatureDoesNotMatch" in reason_after(proxy, seen)


@on_mariadb
def test_change_user_after_a_token(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    """Each login is one question to the client, and one to STS."""
    with asked_for_token(proxy, certificates) as client:
        client.send(sign_sts(NATIVE.name).encode() + b"\0")
        assert client.receive()[0] == 0
        change = ChangeUser(NATIVE.name.encode(), b"", b"app", 45, "mysql_native_password")
        assert client.command(change.build(client.capabilities)).startswith(b"\xfemysql_clear_password")
        client.send(sign_sts(NATIVE.name).encode() + b"\0")
        assert client.receive()[0] == 0
        assert client.command(b"\x0e")[0] == 0
    assert len(sts.asked) == 2


@on_mariadb
@pytest.mark.parametrize("what", BAD)
def test_a_bad_token(proxy: IAMProxy, sts: STS, what: str) -> None:
    make, reason = BAD[what]
    token = make(NATIVE.name)
    seen = len(proxy.log)
    with pytest.raises(pymysql.MySQLError) as caught:
        proxy.connect(with_token(token), tls=True)
    assert caught.value.args == (1045, DENIED.format(NATIVE.name, "YES" if token else "NO"))
    assert reason in reason_after(proxy, seen)
    assert all(asked.target.startswith("/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-") for asked in sts.asked)
    assert all(asked.headers["host"] == STS_HOST for asked in sts.asked)
    text = json.dumps(proxy.log[seen:])
    assert HOST not in text
    assert "Canonical" not in text


@on_mariadb
def test_a_refusal_is_not_remembered(proxy: IAMProxy, sts: STS) -> None:
    token, seen = sign_sts(NATIVE.name), len(proxy.log)
    sts.answer = lambda asked: refusal(403, "InvalidClientTokenId", asked)
    with refused(1045):
        proxy.connect(with_token(token), tls=True)
    assert "InvalidClientTokenId" in reason_after(proxy, seen)
    sts.answer = answer
    with proxy.connect(with_token(token), tls=True) as connection:
        assert one(connection, "SELECT 1") == 1


# What STS says, if it says anything, that tells nothing of the token.
UNDECIDED = {
    "redirect": (lambda asked: Answer(302, b"", {"Location": f"http://127.0.0.1:1{asked.target}"}), "status 302"),
    "busy": (lambda asked: refusal(400, "Throttling", asked), "status 400, Throttling"),
    "too many": (lambda asked: refusal(429, "TooManyRequestsException", asked), "status 429"),
    "down": (lambda asked: Answer(503, b"<html>"), "status 503"),
    "no code": (lambda asked: Answer(403, b"<html>Forbidden by a gateway"), "status 403"),
    "not XML": (lambda asked: Answer(200, b"<html>"), "not understood"),
    "a refusal with status 200": (lambda asked: replace(refusal(403, "x", asked), status=200), "not understood"),
    "another answer": (
        lambda asked: replace(caller(ROLE), body=caller(ROLE).body.replace(b"GetCallerIdentityR", b"GetSessionTokenR")),
        "not understood",
    ),
    "two callers": (
        lambda asked: replace(
            caller(ROLE), body=caller(ROLE).body.replace(b"</Arn>", b"</Arn><Arn>" + ROLE.encode() + b"</Arn>")
        ),
        "not understood",
    ),
    "an entity": (
        lambda asked: replace(caller(ROLE), body=b'<!DOCTYPE x [<!ENTITY y "z">]>' + caller(ROLE).body),
        "not understood",
    ),
    "too much": (lambda asked: Answer(200, b" " * 70_000 + caller(ROLE).body), "does not answer: ConnectionLost"),
    # Not waited for.
    "far too much": (lambda asked: Answer(200, b" " * 70_000, {"Content-Length": "9" * 12}), "ConnectionLost"),
    "less than promised": (
        lambda asked: Answer(200, b"<", {"Content-Length": "9", "Connection": "close"}),
        "does not answer: ",
    ),
}


@on_mariadb
@pytest.mark.parametrize("what", UNDECIDED)
def test_sts_tells_nothing(proxy: IAMProxy, sts: STS, what: str) -> None:
    """The client is told to come again: this is not its fault."""
    sts.answer, reason = UNDECIDED[what]
    seen = len(proxy.log)
    with pytest.raises(pymysql.MySQLError) as caught:
        proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True)
    assert caught.value.args == (3168, CANNOT)
    assert reason in reason_after(proxy, seen)


@on_mariadb
def test_the_same_token_is_asked_about_once(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    """However many show it at a time, and although the first of them leaves."""
    token = sign_sts(NATIVE.name)
    sts.held.clear()
    clients = [asked_for_token(proxy, certificates) for _ in range(4)]
    for client in clients:
        client.send(token.encode() + b"\0")
    sts.wait_for(1)
    clients[0].socket.close()
    sts.held.set()
    for client in clients[1:]:
        assert client.receive()[0] == 0
        client.socket.close()
    assert len(sts.asked) == 1


@on_mariadb
def test_who_has_left_is_not_asked_about(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    sts.held.clear()
    clients = [asked_for_token(proxy, certificates) for _ in range(17)]
    for client in clients[:16]:
        client.send(sign_sts(NATIVE.name).encode() + b"\0")
    sts.wait_for(16)
    gone = clients.pop()
    gone.send(sign_sts(NATIVE.name).encode() + b"\0")
    gone.socket.close()
    # Several turns of the reactor, in the first of which that was seen.
    proxy.connect(SHA2, tls=True).close()
    sts.held.set()
    for client in clients:
        assert client.receive()[0] == 0
        client.socket.close()
    proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True).close()
    assert len(sts.asked) == 17


@on_mariadb
def test_too_many_at_a_time(proxy: IAMProxy, sts: STS, certificates: Certificates) -> None:
    """The hundred that wait are answered; whoever comes then gets RDS Proxy's error."""
    sts.held.clear()
    clients = [asked_for_token(proxy, certificates) for _ in range(100)]
    for client in clients:
        client.send(sign_sts(NATIVE.name).encode() + b"\0")
    sts.wait_for(16)
    seen = len(proxy.log)
    with refused(1040, "IAM authentication rate limit exceeded"):
        proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True)
    assert "100 others wait" in reason_after(proxy, seen)
    assert len(sts.asked) == 16
    sts.held.set()
    for client in clients:
        assert client.receive()[0] == 0
        client.socket.close()


@on_mariadb
def test_what_verifies_is_verified(
    server: DatabaseServer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's authorities are trusted, and no others: where they do not vouch a token is not shown."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with STS(make_certificates(tmp_path)) as sts:
        for name, value in environment(sts.url).items():
            monkeypatch.setenv(name, value)
        with sts_proxy(server, tmp_path, certificates) as proxy:
            with refused(3168, CANNOT):
                proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True)
            assert reason_after(proxy, 0).endswith("TLS: certificate verify failed")
        assert not sts.asked


@on_mariadb
def test_over_tls_and_then_nobody_there(
    server: DatabaseServer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was let in before is let in again; others are told to come again. How long STS takes is not their fault."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with STS(certificates) as sts:
        for name, value in environment(sts.url).items():
            monkeypatch.setenv(name, value)
        with sts_proxy(server, tmp_path, certificates, proxy={"handshake_timeout": 2}) as proxy:
            known = with_token(sign_sts(NATIVE.name))
            sts.held.clear()
            client = asked_for_token(proxy, certificates)
            client.send(known.password.encode() + b"\0")
            with Login(proxy.host, proxy.port):
                proxy.wait_for_log(lambda line: line.get("reason") == "handshake timeout")
            sts.held.set()
            assert client.receive()[0] == 0
            client.socket.close()
            seen = len(proxy.log)
            sts.close()
            proxy.connect(known, tls=True).close()
            with refused(3168, CANNOT):
                proxy.connect(with_token(sign_sts(NATIVE.name)), tls=True)
            assert "STS does not answer" in reason_after(proxy, seen)


def test_asked_is_what_came() -> None:
    """The STS of these tests would notice what is not."""
    token = sign_sts("app")
    headers = {"host": STS_HOST, "x-rdsproxy-host": HOST, "x-rdsproxy-user": "app"}
    target = token.removeprefix(f"https://{STS_HOST}")
    assert answer(Asked("GET", target, headers)).status == 200
    assert answer(Asked("GET", target, {**headers, "x-rdsproxy-user": "apq"})).status == 403
