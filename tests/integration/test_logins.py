"""How clients log in: each plugin in each form, wrong passwords, TLS that is tampered with, and change of user."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import pytest

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, NATIVE
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import AuthSwitchRequest, ChangeUser, HandshakeResponse
from tests.integration.logins import WRONG, Login, client_context
from tests.integration.packets import Packets, error_code
from tests.integration.proxy import NATIVE as NATIVE_USER
from tests.integration.proxy import SHA2 as SHA2_USER
from tests.integration.proxy import Account, Proxy, one, refused, rows, run
from tests.servers import Certificates, DatabaseServer

OK, ERR = 0x00, 0xFF
FULL = b"\x01\x04"
FAST = b"\x01\x03"

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

both_ways = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


class SocketProxy(Proxy):
    """A proxy that listens on a Unix socket too."""

    path = ""

    def _config(self) -> str:
        self.path = str(self._folder / "mysql.sock")
        return re.sub(r'listen = \[("tcp:.*?")\]', rf'listen = [\1, "unix:{self.path}"]', super()._config())


@pytest.fixture(scope="module")
def proxy(
    server: DatabaseServer,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SocketProxy]:
    """A proxy with a user of each plugin: its greeting offers the newer one."""
    with SocketProxy(
        server,
        tmp_path_factory.mktemp("logins"),
        tls=certificates,
        accounts=(NATIVE_USER, SHA2_USER),
    ) as proxy:
        yield proxy


def login(proxy: Proxy, certificates: Certificates, tls: bool) -> Login:
    connection = Login(proxy.host, proxy.port)
    if tls:
        connection.start_tls(certificates)
    return connection


def works(connection: Login, user: Account) -> bool:
    """Tell whether the session is the user's."""
    assert connection.command(b"\x03SELECT CURRENT_USER()")[0] == 1
    connection.receive()
    row = connection.receive()
    connection.receive()
    return row[1:].startswith(user.name.encode() + b"@")


@on_mariadb
@both_ways
@pytest.mark.parametrize("account", [NATIVE_USER, SHA2_USER], ids=["native", "sha2"])
@pytest.mark.parametrize("begin", [NATIVE, CACHING_SHA2, "client_ed25519", ""])
def test_each_plugin(proxy: Proxy, certificates: Certificates, account: Account, begin: str, tls: bool) -> None:
    """Whatever plugin the client begins with, it ends with its user's."""
    plugin = NATIVE if account is NATIVE_USER else CACHING_SHA2
    with login(proxy, certificates, tls) as client:
        first = client.scramble(begin, account.password) if begin == client.greeting.auth_plugin else b""
        answer = client.respond(account.name, first, begin or "no_such_plugin")
        if not client.greeting.auth_plugin == plugin == begin:
            client.switch(answer, plugin)
            client.send(client.scramble(plugin, account.password))
            answer = client.receive()
        if plugin == CACHING_SHA2:
            assert answer == FAST
            answer = client.receive()
        assert answer[0] == OK
        assert works(client, account)


@on_mariadb
@both_ways
@pytest.mark.parametrize("password", [SHA2_USER.password, SHA2_USER.password + "x", "", "\N{PILE OF POO}" * 40])
def test_sha2_in_full(proxy: Proxy, certificates: Certificates, tls: bool, password: str) -> None:
    """After a scramble that does not fit, the password itself decides: in TLS as it is, else under the proxy's key."""
    with login(proxy, certificates, tls) as client:
        answer = client.respond(SHA2_USER.name, WRONG, CACHING_SHA2)
        if client.greeting.auth_plugin != CACHING_SHA2:
            client.switch(answer, CACHING_SHA2)
            client.send(WRONG)
            answer = client.receive()
        assert answer == FULL
        answer = client.full(password, encrypted=not tls)
        if password == SHA2_USER.password:
            assert answer[0] == OK
            assert works(client, SHA2_USER)
        else:
            assert error_code(answer) == 1045
            assert client.ended()


@on_mariadb
def test_sha2_in_full_with_rubbish(proxy: Proxy, certificates: Certificates) -> None:
    """What was not encrypted with the proxy's key, or for another nonce, is a wrong password and nothing worse."""
    for rubbish in (b"", b"\x02", b"x", bytes(256), b"\xff" * 256, b"x" * 300, SHA2_USER.password.encode() + b"\0"):
        with Login(proxy.host, proxy.port) as client:
            answer = client.respond(SHA2_USER.name, WRONG, CACHING_SHA2)
            if answer != FULL:
                client.switch(answer, CACHING_SHA2)
                client.send(WRONG)
                assert client.receive() == FULL
            client.send(b"\x02")
            assert client.receive().startswith(b"\x01-----BEGIN")
            client.send(rubbish)
            assert error_code(client.receive()) == 1045
            assert client.ended()


@on_mariadb
def test_over_a_unix_socket(proxy: SocketProxy) -> None:
    """Nobody else can read it: the password itself may be sent."""
    with Login("", 0, proxy.path) as client:
        answer = client.respond(SHA2_USER.name, WRONG, CACHING_SHA2)
        if answer != FULL:
            client.switch(answer, CACHING_SHA2)
            client.send(WRONG)
            assert client.receive() == FULL
        assert client.full(SHA2_USER.password, encrypted=False)[0] == OK
        assert works(client, SHA2_USER)
    with proxy.connect(unix_socket=proxy.path) as session:
        assert one(session, "SELECT REPEAT('x', 20000000)") == "x" * 20_000_000


# -- refusals ----------------------------------------------------------------------------------------------------------


def refusal(proxy: Proxy, certificates: Certificates, tls: bool, user: str, password: str) -> list[tuple[int, bytes]]:
    """Log in with a wrong password in every form; give all that the proxy sends, but for random and given parts."""
    with login(proxy, certificates, tls) as client:
        plugin = client.greeting.auth_plugin
        answer = client.respond(user, client.scramble(plugin, password) if password else b"", plugin)
        if answer[0] == 0xFE:
            plugin = AuthSwitchRequest.parse(answer).plugin
            client.switch(answer, plugin)
            client.send(client.scramble(plugin, password) if password else b"")
            answer = client.receive()
        if answer == FULL:
            answer = client.full(password, encrypted=not tls)
        assert answer[0] == ERR
        assert client.ended()
        return [
            (number, payload.replace(f"'{user}'@".encode(), b"'USER'@").replace(client.nonce, b"NONCE"))
            for number, payload in client.seen
        ]


@on_mariadb
@both_ways
@pytest.mark.parametrize("password", ["wrong", ""], ids=["wrong", "none"])
def test_unknown_users_look_like_wrong_passwords(
    proxy: Proxy, certificates: Certificates, tls: bool, password: str
) -> None:
    # An unknown user has the plugin that the greeting offers.
    known = SHA2_USER.name
    wrong = refusal(proxy, certificates, tls, known, password)
    # Of the same length, and one that is not: neither numbers nor lengths may tell.
    for unknown in (known[:-1] + "_", "x"):
        assert refusal(proxy, certificates, tls, unknown, password) == wrong
    using = "YES" if password else "NO"
    assert wrong[-1][1][3:].decode() == f"#28000Access denied for user 'USER'@'127.0.0.1' (using password: {using})"


def test_a_schema_that_does_not_exist(proxy: Proxy) -> None:
    with refused(1049, "nowhere"):
        proxy.connect(database="nowhere")
    with proxy.connect() as session:
        with refused(1049, "nowhere"):
            session.select_db("nowhere")
        assert one(session, "SELECT DATABASE()") == "app"


# -- TLS ---------------------------------------------------------------------------------------------------------------


@on_mariadb
def test_a_client_hello_right_behind_the_request(proxy: Proxy, certificates: Certificates) -> None:
    """A client need not wait for anything between the request for TLS and its beginning."""
    with Login(proxy.host, proxy.port) as client:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context(certificates).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client.socket.sendall(client.ssl_request() + outgoing.read())
        while True:
            incoming.write(client.socket.recv(1 << 16))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.socket.sendall(outgoing.read())
        response = HandshakeResponse(
            client.capabilities | cap.CLIENT_SSL,
            1 << 24,
            45,
            NATIVE_USER.name.encode(),
            b"",
            auth_plugin="no_such_plugin",
        )
        tls.write(frame(response.build(), 2))
        client.socket.sendall(outgoing.read())
        answer = b""
        while b"mysql_native_password" not in answer:
            incoming.write(client.socket.recv(1 << 16))
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                continue
        assert answer[3:5] == b"\x03\xfe"


@on_mariadb
@pytest.mark.parametrize("with_response", [False, True])
def test_plain_text_behind_the_request_for_tls(
    proxy: Proxy, certificates: Certificates, table: str, with_response: bool
) -> None:
    """Whoever sits on the path cannot put commands in front of the client's encrypted ones."""
    with proxy.connect() as other, Login(proxy.host, proxy.port) as client:
        injected = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
        if with_response:
            response = HandshakeResponse(
                client.capabilities | cap.CLIENT_SSL,
                1 << 24,
                45,
                NATIVE_USER.name.encode(),
                client.scramble(NATIVE, NATIVE_USER.password),
                b"app",
                NATIVE,
            )
            injected = frame(response.build(), 2) + injected
        client.socket.sendall(client.ssl_request() + injected)
        context = client_context(certificates)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(client.socket, server_hostname="127.0.0.1")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


# -- another user ------------------------------------------------------------------------------------------------------


def change_user(client: Packets, account: Account, password: str, database: str = "app") -> list[bytes]:
    """Send COM_CHANGE_USER and answer what is asked; give the answers, of which the last is OK or ERR."""
    capabilities = client.connection.client_flag
    request = ChangeUser(account.name.encode(), b"", database.encode(), 45, NATIVE)
    client.send(request.build(capabilities))
    sequence, payload = client.packet()
    payloads = [payload]
    steps = Login.__new__(Login)
    if payload[0] == 0xFE:
        switch = AuthSwitchRequest.parse(payload)
        steps.nonce = switch.data[:20]
        client.send(steps.scramble(switch.plugin, password), sequence + 1)
        sequence, payload = client.packet()
        payloads.append(payload)
    if payload == FULL:
        client.send(b"\x02", sequence + 1)
        sequence, payload = client.packet()
        client.send(b"x", sequence + 1)
    if payload in (FULL, FAST) or payload[:2] == b"\x01-":
        sequence, payload = client.packet()
        payloads.append(payload)
    return payloads


def text(client: Packets, sql: str) -> str:
    """Run a query; give the one value of its one row."""
    row = client.query(sql)[-2]
    return row[1:].decode()


def test_change_of_user(proxy: Proxy, table: str) -> None:
    """A new session begins, for another user, then for the first again: nothing of the one before is left."""
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as other:
        for account in (SHA2_USER, NATIVE_USER, NATIVE_USER, SHA2_USER):
            client.query("SET SESSION sql_mode = 'ANSI', @mine = 'mine'")
            client.query("BEGIN")
            client.query(f"INSERT INTO {table} (value) VALUES (1)")
            assert change_user(client, account, account.password)[-1][0] == OK
            assert text(client, "SELECT CURRENT_USER()").split("@")[0] == account.name
            assert "ANSI" not in text(client, "SELECT @@sql_mode")
            assert client.query("SELECT @mine")[-2] == b"\xfb"
            assert text(client, "SELECT DATABASE()") == "app"
        client.query("COMMIT")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


@on_mariadb
def test_change_of_user_without_a_schema(proxy: Proxy) -> None:
    with Packets(proxy.host, proxy.port) as client:
        assert change_user(client, NATIVE_USER, NATIVE_USER.password, "")[-1][0] == OK
        assert client.query("SELECT DATABASE()")[-2] == b"\xfb"


@on_mariadb
@pytest.mark.parametrize("account", [NATIVE_USER, SHA2_USER, Account("nobody", "", "MYSQL_NATIVE_PASSWORD")])
def test_change_of_user_with_a_wrong_password(proxy: Proxy, table: str, account: Account) -> None:
    """It ends the connection, and with it what the session had open."""
    with proxy.connect() as other:
        run(other, f"INSERT INTO {table} VALUES (1, 0, '')")
        with Packets(proxy.host, proxy.port) as client:
            client.query("BEGIN")
            client.query(f"UPDATE {table} SET value = 1")
            answer = change_user(client, account, "wrong")[-1]
            assert error_code(answer) == 1873
            assert account.name.encode() in answer
            with pytest.raises(EOFError):
                client.packet()
        run(other, f"UPDATE {table} SET value = value + 10")
        assert rows(other, f"SELECT value FROM {table}") == [(10,)]
