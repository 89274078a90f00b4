"""Clients that log in to the proxy by a token: real drivers, TLS and database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import mysql.connector
import pymysql
import pytest

from rdsproxy.protocol.responses import parse_err
from tests.iam.proxy import IAMProxy, asked_for_token, by_connector
from tests.iam.tokens import BAD, HOST, SECRET, sign
from tests.integration.proxy import NATIVE, SHA2, Account, one, refused
from tests.servers import Certificates, DatabaseServer

DENIED = "Access denied for user '{}'@'127.0.0.1' (using password: {})"


def with_token(token: str, name: str = NATIVE.name) -> Account:
    return replace(NATIVE, name=name, password=token)


@pytest.fixture(scope="module")
def shared(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IAMProxy]:
    with IAMProxy(server, tmp_path_factory.mktemp("iam"), [NATIVE], accounts=[SHA2], tls=certificates) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared: IAMProxy) -> Iterator[IAMProxy]:
    """One user has tokens, another one a password; no token is in its log afterwards."""
    yield shared
    shared.check_log()


def test_a_token(proxy: IAMProxy) -> None:
    account = with_token(sign(NATIVE.name))
    for _ in range(2):  # as with RDS, until it expires
        with proxy.connect(account, tls=True) as connection:
            assert one(connection, "SELECT SUBSTRING_INDEX(USER(), '@', 1)") == NATIVE.name


def test_connector_python(proxy: IAMProxy, certificates: Certificates) -> None:
    token = sign(NATIVE.name)
    with by_connector(proxy, NATIVE.name, token, certificates, auth_plugin="mysql_clear_password") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 6 * 7")
        assert cursor.fetchall() == [(42,)]


def test_others_have_their_passwords(proxy: IAMProxy) -> None:
    with proxy.connect(SHA2, tls=True) as connection:
        assert one(connection, "SELECT 6 * 7") == 42
    with refused(1045, DENIED.format(SHA2.name, "YES")):
        proxy.connect(with_token(sign(SHA2.name), SHA2.name), tls=True)


def test_change_user(proxy: IAMProxy, certificates: Certificates) -> None:
    """To a user with tokens, by a token, and not by the password."""
    with by_connector(proxy, SHA2.name, SHA2.password, certificates) as connection:
        connection.cmd_change_user(NATIVE.name, sign(NATIVE.name), "app")
        cursor = connection.cursor()
        cursor.execute("SELECT SUBSTRING_INDEX(USER(), '@', 1)")
        assert cursor.fetchall() == [(NATIVE.name,)]
        with pytest.raises(mysql.connector.Error) as caught:
            connection.cmd_change_user(NATIVE.name, NATIVE.password, "app")
        assert caught.value.errno == 1873


def test_the_password_is_not_a_token(proxy: IAMProxy) -> None:
    with refused(1045, DENIED.format(NATIVE.name, "YES")):
        proxy.connect(NATIVE, tls=True)


def test_without_tls_no_token_is_asked_for(proxy: IAMProxy) -> None:
    with refused(3159, "This RDS Proxy requires TLS connections."):
        proxy.connect(with_token(sign(NATIVE.name)))


@pytest.mark.parametrize("what", BAD)
def test_a_bad_token(proxy: IAMProxy, what: str) -> None:
    make, reason = BAD[what]
    token = make(NATIVE.name)
    seen = len(proxy.log)
    with pytest.raises(pymysql.MySQLError) as caught:
        proxy.connect(with_token(token), tls=True)
    assert caught.value.args == (1045, DENIED.format(NATIVE.name, "YES" if token else "NO"))
    line = proxy.wait_for_log(lambda line: line["event"] == "login failed" and line in proxy.log[seen:])
    assert reason in str(line["reason"])
    # Neither the host that it is signed for nor the token stands in any line.
    assert HOST not in json.dumps(proxy.log[seen:])


def test_who_is_not_known_is_asked_as_others_are(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with IAMProxy(server, tmp_path_factory.mktemp("only"), [NATIVE], tls=certificates) as proxy:
        for name in (NATIVE.name, "nobody"):
            with refused(3159):
                proxy.connect(with_token("x", name))
            with refused(1045, DENIED.format(name, "YES")):
                proxy.connect(with_token(sign(name, secret=SECRET + "x"), name), tls=True)
        # Proven, but not a user here.
        with refused(1045, DENIED.format("nobody", "YES")):
            proxy.connect(with_token(sign("nobody"), "nobody"), tls=True)
        proxy.check_log()


def test_who_guesses_tokens_is_refused(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the right one too, for a minute, and at once; whoever comes from another address is not."""
    folder, settings = tmp_path_factory.mktemp("guessed"), {"max_failed_logins": 3}
    with IAMProxy(server, folder, [NATIVE], tls=certificates, proxy=settings) as proxy:
        clients = [asked_for_token(proxy, certificates) for _ in range(5)]
        codes = []
        for client in clients:
            client.send(b"guess\0")
            codes.append(parse_err(client.receive()).code)
            client.socket.close()
        assert codes == [1045, 1045, 1045, 1040, 1040]
        account = with_token(sign(NATIVE.name))
        with refused(1040, "IAM authentication rate limit exceeded"):
            proxy.connect(account, tls=True)
        with proxy.connect(account, tls=True, bind_address="127.0.0.2") as elsewhere:
            assert one(elsewhere, "SELECT 1") == 1
