"""Ways around a password that have worked on servers: none is let in, and no command behind one is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymysql import _auth

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import ChangeUser, HandshakeResponse
from tests.integration.logins import CAPABILITIES, WRONG, Login
from tests.integration.packets import error_code
from tests.integration.proxy import NATIVE, SHA2, Account, Proxy, one
from tests.servers import Certificates, DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

SCRAMBLES = {"empty": b"", "one": b"\0", "19": bytes(19), "zeros": bytes(20), "32": bytes(32), "200": bytes(200)}
OF = {NATIVE.plugin: "mysql_native_password", SHA2.plugin: "caching_sha2_password"}
Proof = Callable[[Login], bytes]
PLUGINS = ("mysql_native_password", "caching_sha2_password", "mysql_clear_password", "auth_socket", "x")


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("account", [NATIVE, SHA2], ids=["native", "sha2"])
def test_scrambles_of_no_password(proxy: Proxy, table: str, account: Account, plugin: str) -> None:
    """Whatever the client says its plugin is, and in answer to whatever it is asked."""
    insert = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
    for name, scramble in SCRAMBLES.items():
        with Login(proxy.host, proxy.port) as login:
            answer = login.respond(account.name, scramble, plugin)
            for _ in range(3):
                if answer[:1] == b"\xff":
                    break
                assert answer[:1] in (b"\xfe", b"\x01"), name
                assert answer != b"\x01\x03", name
                login.socket.sendall(frame(scramble, login.sequence) + insert)
                answer = login.receive()
            assert error_code(answer) in (1045, 1835), name
            assert login.ended(), name
    with proxy.connect() as session:
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0


def answered(proxy: Proxy, account: Account, says: str, proof: Proof, behind: bytes = b"") -> bytes:
    """Log in with `proof` of the nonce that is given last, whatever is asked; give the last packet that comes.

    `behind` is sent in one write with each answer, as by a client that does not wait.
    """
    with Login(proxy.host, proxy.port) as login:
        answer = login.respond(account.name, proof(login), says)
        for _ in range(3):
            if answer[:1] in (b"\0", b"\xff"):
                break
            if answer[:1] == b"\xfe":
                login.nonce = answer[-21:-1]
            login.socket.sendall(frame(proof(login), login.sequence) + behind)
            answer = login.receive()
        return answer


@pytest.mark.parametrize("account", [NATIVE, SHA2], ids=["native", "sha2"])
def test_answers_that_are_almost_right(proxy: Proxy, table: str, account: Account) -> None:
    """A part of the right scramble, or the right one with more, in another's form, or the password itself."""
    plugin, other = (OF[account.plugin], OF[NATIVE.plugin if account is SHA2 else SHA2.plugin])
    insert = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
    proofs: dict[str, Proof] = {
        "short": lambda login: login.scramble(plugin, account.password)[:-1],
        "one byte": lambda login: login.scramble(plugin, account.password)[:1],
        "long": lambda login: login.scramble(plugin, account.password) + b"\0",
        "one bit": lambda login: bytes([login.scramble(plugin, account.password)[0] ^ 1])
        + login.scramble(plugin, account.password)[1:],
        "other plugin": lambda login: login.scramble(other, account.password),
        "nonce": lambda login: login.nonce,
        "password": lambda login: account.password.encode() + b"\0",
        "ok": lambda login: b"\0\0\0\2\0\0\0",
        "fast": lambda login: b"\x01\x03",
    }
    for says in (plugin, other, "mysql_clear_password"):
        for name, proof in proofs.items():
            assert error_code(answered(proxy, account, says, proof, insert)) in (1045, 1835), (says, name)
    with proxy.connect() as session:
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0


@pytest.mark.parametrize("account", [NATIVE, SHA2], ids=["native", "sha2"])
def test_replay(proxy: Proxy, account: Account) -> None:
    """What has let a client in, to the greeting or to a switch, lets nobody else in: each nonce is used once."""
    plugin = OF[account.plugin]
    captured = []

    def right(login: Login) -> bytes:
        captured.append(login.scramble(plugin, account.password))
        return captured[-1]

    for says in (plugin, "x"):
        assert answered(proxy, account, says, right)[:2] in (b"\0\0", b"\x01\x03")
    for says in (plugin, "x"):
        for scramble in captured:

            def again(_: Login, old: bytes = scramble) -> bytes:
                return old

            assert error_code(answered(proxy, account, says, again)) == 1045


def test_replay_of_an_encrypted_password(proxy: Proxy) -> None:
    """It is mixed with the nonce of its login before it is encrypted with the proxy's key."""
    sent = b""
    with Login(proxy.host, proxy.port) as login:
        assert login.respond(SHA2.name, WRONG) == b"\x01\x04"
        login.send(b"\x02")
        sent = _auth.sha2_rsa_encrypt(SHA2.password.encode(), login.nonce, login.receive()[1:])
        login.send(sent)
        assert login.receive()[:1] == b"\0"
    with Login(proxy.host, proxy.port) as login:
        assert login.respond(SHA2.name, WRONG) == b"\x01\x04"
        login.send(sent)
        assert error_code(login.receive()) == 1045


@pytest.mark.parametrize("account", [NATIVE, SHA2], ids=["native", "sha2"])
def test_changing_the_user_by_an_old_scramble(proxy: Proxy, table: str, account: Account) -> None:
    """Neither the answer to the greeting nor one to an earlier change is taken; what is behind it is not run."""
    plugin = OF[account.plugin]
    insert = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
    with Login(proxy.host, proxy.port) as login:
        old = [login.scramble(plugin, account.password)]
        answer = login.respond(account.name, old[0], plugin)
        if answer[:1] == b"\xfe":
            login.switch(answer, plugin)
            old.append(login.scramble(plugin, account.password))
            login.send(old[-1])
            answer = login.receive()
        while answer[:1] != b"\0":
            answer = login.receive()
        # With the old one in the command itself, and then in answer to the switch that comes in any case.
        change = ChangeUser(account.name.encode(), old[-1], b"app", 45, plugin)
        login.switch(login.command(change.build(CAPABILITIES)), plugin)
        login.socket.sendall(frame(old[-1], login.sequence) + insert)
        answer = login.receive()
        if answer == b"\x01\x04":
            login.socket.sendall(frame(b"\x02", login.sequence) + insert)
            answer = login.receive()
        assert error_code(answer) in (1873, 1835) or answer.startswith(b"\x01-----BEGIN")
    with proxy.connect() as session:
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0


@pytest.mark.parametrize("name", ["Through_native", "through_native ", "through_native\x01", "through", "%", "", "'"])
def test_names_that_are_almost_a_user_s(proxy: Proxy, name: str) -> None:
    """MySQL's users are told apart by each byte."""
    login = Account(name, NATIVE.password, NATIVE.plugin)
    for plugin in PLUGINS[:2]:
        proof: Proof = lambda login: login.scramble(OF[NATIVE.plugin], NATIVE.password)  # noqa: E731
        assert error_code(answered(proxy, login, plugin, proof)) in (1045, 1835)


def test_tls_that_is_stripped(
    server: DatabaseServer, certificates: Certificates, folder: Path, table: str
) -> None:
    """A client that asks for TLS, or says that it has it, and then goes on in plain text: right password or not."""
    insert = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
    with Proxy(server, folder, tls=certificates, proxy={"require_tls": True}) as proxy:
        for says in (CAPABILITIES, CAPABILITIES | cap.CLIENT_SSL):
            with Login(proxy.host, proxy.port) as login:
                login.capabilities = says
                scramble = login.scramble(OF[NATIVE.plugin], NATIVE.password)
                assert error_code(login.respond(NATIVE.name, scramble)) == 3159
        with Login(proxy.host, proxy.port) as login:
            login.socket.sendall(login.ssl_request())
            login.sequence += 1
            login.capabilities |= cap.CLIENT_SSL
            with pytest.raises((EOFError, ConnectionResetError)):
                _until_end(login, insert)
        line = proxy.wait_for_log(lambda line: line.get("reason", "").startswith("TLS: "))
        assert line["event"] == "login failed"
        with proxy.connect(tls=True) as session:
            assert one(session, f"SELECT COUNT(*) FROM {table}") == 0


def _until_end(login: Login, behind: bytes) -> None:
    """Answer the greeting in plain text, and look for an answer in plain text."""
    scramble = login.scramble(OF[NATIVE.plugin], NATIVE.password)
    response = HandshakeResponse(login.capabilities, 1 << 24, 45, NATIVE.name.encode(), scramble, b"app", PLUGINS[0])
    login.socket.sendall(frame(response.build(), login.sequence) + behind)
    while True:
        data = login.socket.recv(1 << 16)
        if not data:
            raise EOFError
        # A TLS alert, and no packet.
        assert data[:1] == b"\x15", data


@pytest.mark.parametrize("account", [NATIVE, SHA2], ids=["native", "sha2"])
def test_commands_that_do_not_wait_for_ok(proxy: Proxy, table: str, account: Account) -> None:
    """They are run when the password was right, behind the OK, and not at all when it was wrong."""
    plugin = OF[account.plugin]
    insert = frame(f"\x03INSERT INTO {table} (value) VALUES (1)".encode())
    with Login(proxy.host, proxy.port) as login:
        answer = login.respond(account.name, b"", "x")
        login.switch(answer, plugin)
        login.socket.sendall(frame(login.scramble(plugin, account.password), login.sequence) + insert)
        payloads = [login.receive() for _ in range(2 if account is NATIVE else 3)]
        assert [payload[:1] for payload in payloads[-2:]] == [b"\0", b"\0"]
        assert login.seen[-1][0] == 1
    with Login(proxy.host, proxy.port) as login:
        login.switch(login.respond(account.name, b"", "x"), plugin)
        login.socket.sendall(frame(login.scramble(plugin, "wrong"), login.sequence) + insert)
        assert login.receive()[:1] in (b"\xff", b"\x01")
        assert login.ended() or account is SHA2
    with proxy.connect() as session:
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 1
