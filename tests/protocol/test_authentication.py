"""Logins without sockets: scrambles, the client's side against the server's, and what must not get in."""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Callable, Sequence
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pymysql import _auth as pymysql_auth

from rdsproxy.protocol.authentication import (
    CACHING_SHA2,
    CLEAR,
    ED25519,
    NATIVE,
    ClientAuthentication,
    RSAKeyPair,
    ServerAuthentication,
    Verifier,
    ed25519,
    fresh_nonce,
    scrambles,
)
from rdsproxy.protocol.authentication.rsa import encrypt_password
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.handshake import AuthMoreData, AuthSwitchRequest, Greeting

PASSWORD = "s3cr\u00e9t"
THE_SAME = "the client's"
NONCE = b"=j$m|I6r\\UulA@Y!6-~V"
FAST_OK, FULL = b"\x01\x03", b"\x01\x04"
KEYS = RSAKeyPair.generate()
DECOYS = {plugin: Verifier.decoy(plugin) for plugin in (NATIVE, CACHING_SHA2)}


def greeting(plugin: str) -> Greeting:
    return Greeting("8.4.0", 1, NONCE, 0xFFFFFFFF, 45, 2, plugin)


def server(
    verifier: Verifier | None = None,
    response: bytes = b"",
    plugin: str | None = CACHING_SHA2,
    *,
    secure: bool = False,
    default: str = CACHING_SHA2,
    offered: str | None = THE_SAME,
) -> ServerAuthentication:
    """Log in with what the client answered to a greeting that offered its plugin, unless another is given."""
    if offered == THE_SAME:
        offered = plugin or CACHING_SHA2
    return ServerAuthentication(
        verifier,
        DECOYS[default],
        greeting=None if offered is None else greeting(offered),
        plugin=plugin,
        response=response,
        secure=secure,
        keys=KEYS,
    )


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class TestScrambles:
    """Against PyMySQL's, written by others."""

    @given(st.binary(max_size=80), st.binary(min_size=20, max_size=20))
    def test_native(self, password: bytes, nonce: bytes) -> None:
        scramble = scrambles.native_scramble(password, nonce)
        assert scramble == pymysql_auth.scramble_native_password(password, nonce)
        assert scrambles.native_matches(scrambles.native_stored(password), nonce, scramble) == bool(password)

    @given(st.binary(max_size=80), st.binary(min_size=20, max_size=20))
    def test_caching_sha2(self, password: bytes, nonce: bytes) -> None:
        scramble = scrambles.caching_sha2_scramble(password, nonce)
        assert scramble == pymysql_auth.scramble_caching_sha2(password, nonce)
        stored = scrambles.caching_sha2_stored(password)
        assert scrambles.caching_sha2_matches(stored, nonce, scramble) == bool(password)

    @given(st.binary(max_size=80), st.binary(min_size=32, max_size=32))
    def test_ed25519(self, password: bytes, nonce: bytes) -> None:
        assert ed25519.sign(password, nonce) == pymysql_auth.ed25519_password(password, nonce)

    @pytest.mark.parametrize(
        ("password", "public"),
        [
            ("secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"),
            (PASSWORD, "4Bz2pSzJq99p1OAQbuJ2yIMyLqIINbWgkJerISbH22E"),
        ],
    )
    def test_ed25519_signs_for_the_key_that_mariadb_stores(self, password: str, public: str) -> None:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public + "="))
        nonce = secrets.token_bytes(32)
        key.verify(ed25519.sign(password.encode(), nonce), nonce)

    @given(st.binary(max_size=200), st.binary(min_size=20, max_size=20))
    def test_rsa(self, password: bytes, nonce: bytes) -> None:
        theirs = pymysql_auth.sha2_rsa_encrypt(password, nonce, KEYS.public_pem)
        assert KEYS.decrypt(theirs, nonce) == password
        assert KEYS.decrypt(encrypt_password(password, nonce, KEYS.public_pem), nonce) == password

    @given(st.binary(max_size=300))
    def test_rsa_gives_no_reason_for_a_refusal(self, ciphertext: bytes) -> None:
        assert KEYS.decrypt(ciphertext, NONCE) is None
        assert KEYS.decrypt(secrets.token_bytes(256), NONCE) is None

    def test_rsa_needs_the_nul_at_the_end(self) -> None:
        other = bytes(reversed(NONCE))
        assert KEYS.decrypt(encrypt_password(b"abc", NONCE, KEYS.public_pem), other) is None

    def test_nonces(self) -> None:
        nonces = [fresh_nonce() for _ in range(500)]
        assert len(set(nonces)) == 500
        assert {len(nonce) for nonce in nonces} == {20}
        assert set(b"".join(nonces)) == set(range(0x21, 0x7F)) - {ord("$")}


class TestClient:
    def login(
        self, plugin: str = CACHING_SHA2, *, secure: bool = False, key: bytes | None = None
    ) -> ClientAuthentication:
        client = ClientAuthentication(PASSWORD, secure, key)
        client.first_response(plugin, NONCE)
        return client

    @pytest.mark.parametrize("nonce", [NONCE, NONCE + b"\0"])
    def test_native(self, nonce: bytes) -> None:
        client = ClientAuthentication(PASSWORD, secure=False)
        expected = pymysql_auth.scramble_native_password(PASSWORD.encode(), NONCE)
        assert client.first_response(NATIVE, nonce) == expected
        assert client.plugin == NATIVE

    @pytest.mark.parametrize("nonce", [NONCE, NONCE + b"\0"])
    def test_caching_sha2_fast(self, nonce: bytes) -> None:
        client = ClientAuthentication(PASSWORD, secure=False)
        expected = pymysql_auth.scramble_caching_sha2(PASSWORD.encode(), NONCE)
        assert client.first_response(CACHING_SHA2, nonce) == expected
        assert client.receive(FAST_OK) is None

    @pytest.mark.parametrize("plugin", ["sha256_password", CLEAR, ED25519, "auth_gssapi_client", ""])
    def test_a_default_that_is_not_answered_shows_no_password(self, plugin: str) -> None:
        client = ClientAuthentication(PASSWORD, secure=True)
        expected = pymysql_auth.scramble_caching_sha2(PASSWORD.encode(), NONCE)
        assert client.first_response(plugin, NONCE) == expected
        assert client.plugin == CACHING_SHA2

    def test_caching_sha2_in_full_over_a_secure_channel(self) -> None:
        assert self.login(secure=True).receive(FULL) == PASSWORD.encode() + b"\0"

    def test_caching_sha2_in_full_asks_for_the_key(self) -> None:
        client = self.login()
        assert client.receive(FULL) == b"\x02"
        ciphertext = client.receive(b"\x01" + KEYS.public_pem)
        assert ciphertext is not None
        assert KEYS.decrypt(ciphertext, NONCE) == PASSWORD.encode()

    def test_caching_sha2_in_full_with_a_known_key(self) -> None:
        ciphertext = self.login(key=KEYS.public_pem).receive(FULL)
        assert ciphertext is not None
        assert KEYS.decrypt(ciphertext, NONCE) == PASSWORD.encode()

    def test_switches(self) -> None:
        client = self.login()
        nonce, long_nonce = b"m" * 20, b"m" * 31 + b"\0"
        password = PASSWORD.encode()
        native = client.receive(AuthSwitchRequest(NATIVE, nonce + b"\0").build())
        assert native == pymysql_auth.scramble_native_password(password, nonce)
        signature = client.receive(AuthSwitchRequest(ED25519, long_nonce).build())
        assert signature == pymysql_auth.ed25519_password(password, long_nonce)
        sha2 = client.receive(AuthSwitchRequest(CACHING_SHA2, nonce + b"\0").build())
        assert sha2 == pymysql_auth.scramble_caching_sha2(password, nonce)
        assert client.receive(FULL) == b"\x02"
        ciphertext = client.receive(b"\x01" + KEYS.public_pem)
        assert ciphertext is not None
        assert KEYS.decrypt(ciphertext, nonce) == password

    def test_a_database_cannot_ask_for_ever(self) -> None:
        client = self.login()
        request = AuthSwitchRequest(NATIVE, NONCE).build()
        for _ in range(8):
            assert client.receive(request)
        with pytest.raises(ProtocolError, match="one too many"):
            client.receive(request)

    def test_clear_text_over_a_secure_channel_only(self) -> None:
        request = AuthSwitchRequest(CLEAR, b"").build()
        assert self.login(secure=True).receive(request) == PASSWORD.encode() + b"\0"
        with pytest.raises(AuthenticationError, match=r"mysql_clear_password.*use TLS") as caught:
            self.login(key=KEYS.public_pem).receive(request)
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize("plugin", ["mysql_old_password", "sha256_password", "dialog", "parsec", "x" * 5000])
    def test_plugins_that_are_not_supported(self, plugin: str) -> None:
        with pytest.raises(AuthenticationError, match=plugin[:64] + r".*give the user") as caught:
            self.login(secure=True).receive(AuthSwitchRequest(plugin, NONCE).build())
        assert len(str(caught.value)) < 300

    def test_old_passwords_are_refused(self) -> None:
        with pytest.raises(AuthenticationError, match="mysql_old_password"):
            self.login().receive(b"\xfe")

    def test_a_second_factor_is_refused(self) -> None:
        with pytest.raises(AuthenticationError, match="second factor"):
            self.login().receive(b"\x02authentication_webauthn\0")

    @pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2, ED25519, CLEAR])
    def test_an_empty_password_has_an_empty_response(self, plugin: str) -> None:
        client = ClientAuthentication("", secure=True)
        assert client.first_response(plugin, NONCE) == b""
        assert client.receive(AuthSwitchRequest(plugin, NONCE + bytes(12)).build()) == b""
        with pytest.raises(ProtocolError, match="unexpected"):
            client.receive(FULL)

    @pytest.mark.parametrize(("plugin", "size"), [(NATIVE, 19), (CACHING_SHA2, 19), (ED25519, 31), (NATIVE, 0)])
    def test_a_short_nonce(self, plugin: str, size: int) -> None:
        with pytest.raises(ProtocolError, match=f"nonce of {size} bytes"):
            self.login().receive(AuthSwitchRequest(plugin, b"n" * size).build())
        if plugin != ED25519:
            with pytest.raises(ProtocolError, match=f"nonce of {size} bytes"):
                self.login(plugin).first_response(plugin, b"n" * size)

    @pytest.mark.parametrize(
        "packets",
        [
            [b"\x01\x05"],
            [b"\x01"],
            [FAST_OK, FAST_OK],
            [FAST_OK, FULL],
            [FULL, b"\x01" + KEYS.public_pem, b"\x01" + KEYS.public_pem],
            [AuthSwitchRequest(NATIVE, NONCE).build(), FULL],
        ],
    )
    def test_more_data_out_of_turn(self, packets: list[bytes]) -> None:
        client = self.login()
        for packet in packets[:-1]:
            client.receive(packet)
        with pytest.raises(ProtocolError, match="AuthMoreData: unexpected"):
            client.receive(packets[-1])

    @pytest.mark.parametrize("payload", [b"", b"\0", b"\xff\x15\x04", b"\x03", b"\x0a"])
    def test_packets_that_are_no_part_of_it(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match="during authentication"):
            self.login().receive(payload)

    @pytest.mark.parametrize(
        ("pem", "message"),
        [
            (b"", "cannot be read"),
            (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
            (public_pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
            (public_pem(ec.generate_private_key(ec.SECP256R1())), "2048 bits"),
        ],
    )
    def test_public_keys_that_would_expose_the_password(self, pem: bytes, message: str) -> None:
        client = self.login()
        client.receive(FULL)
        with pytest.raises(AuthenticationError, match=message):
            client.receive(b"\x01" + pem)

    def test_a_password_too_long_for_the_key(self) -> None:
        client = ClientAuthentication("long" * 80, False, KEYS.public_pem)
        client.first_response(CACHING_SHA2, NONCE)
        with pytest.raises(AuthenticationError, match="too long"):
            client.receive(FULL)

    @given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
    def test_random_packets(self, packets: list[bytes], secure: bool) -> None:
        client = self.login(secure=secure)
        for packet in packets:
            with contextlib.suppress(ProtocolError, AuthenticationError):
                client.receive(packet)

    @given(
        st.sampled_from([b"\xfe", b"\x01"]), st.sampled_from([NATIVE, CACHING_SHA2, ED25519]), st.binary(max_size=60)
    )
    def test_the_password_never_leaves_an_open_connection(self, kind: bytes, plugin: str, data: bytes) -> None:
        client = self.login()
        for packet in (kind + data, AuthSwitchRequest(plugin, data).build(), FULL, b"\x01" + data, FULL):
            with contextlib.suppress(ProtocolError, AuthenticationError):
                assert PASSWORD.encode() not in (client.receive(packet) or b"")

    def test_text_that_cannot_be_encoded_stays_out_of_the_message(self) -> None:
        for make in (lambda text: ClientAuthentication(text, secure=True), lambda text: Verifier(text, NATIVE)):
            with pytest.raises(ValueError, match="not Unicode") as caught:
                make("secret\ud800")
            assert "secret" not in str(caught.value)
            assert not isinstance(caught.value, UnicodeError)


def converse(
    client: ClientAuthentication, default: str, make: Callable[[str, bytes], ServerAuthentication]
) -> list[str]:
    """Let both sides talk, and give what kinds of packets passed."""
    response = client.first_response(default, NONCE)
    login = make(client.plugin, response)
    seen = [f"response {len(response)}"]
    packets: Sequence[bytes] = login.start()
    while login.verdict is None:
        assert len(packets) == 1
        answer = client.receive(packets[0])
        assert answer is not None
        seen += [describe(packets[0]), f"answer {len(answer)}"]
        packets = login.receive(answer)
    for packet in packets:
        assert login.verdict
        assert client.receive(packet) is None
        seen.append(describe(packet))
    return [*seen, str(login.verdict)]


def describe(payload: bytes) -> str:
    if payload[0] == 0xFE:
        return AuthSwitchRequest.parse(payload).plugin
    return f"more {len(AuthMoreData.parse(payload).data)}"


COMBINATIONS = list(product([NATIVE, CACHING_SHA2], [NATIVE, CACHING_SHA2, "dialog"], [False, True], [False, True]))


class TestBothSides:
    @pytest.mark.parametrize(("plugin", "default", "secure", "has_key"), COMBINATIONS)
    @pytest.mark.parametrize("given_password", ["", PASSWORD, "s3cret", PASSWORD * 10])
    @pytest.mark.parametrize("expected", ["", PASSWORD, PASSWORD * 10])
    def test_the_right_password_and_no_other(
        self, plugin: str, default: str, secure: bool, has_key: bool, given_password: str, expected: str
    ) -> None:
        verifier = Verifier(expected, plugin)
        client = ClientAuthentication(given_password, secure, KEYS.public_pem if has_key else None)
        seen = converse(
            client, default, lambda name, data: server(verifier, data, name, secure=secure, offered=default)
        )
        assert seen[-1] == str(given_password == expected)

    @pytest.mark.parametrize(("plugin", "default", "secure", "has_key"), COMBINATIONS)
    @pytest.mark.parametrize("password", ["", "wrong"])
    def test_unknown_users_look_like_wrong_passwords(
        self, plugin: str, default: str, secure: bool, has_key: bool, password: str
    ) -> None:
        seen = []
        for verifier in (Verifier(PASSWORD, plugin), None):
            client = ClientAuthentication(password, secure, KEYS.public_pem if has_key else None)

            def make(name: str, data: bytes, verifier: Verifier | None = verifier) -> ServerAuthentication:
                return server(verifier, data, name, secure=secure, default=plugin, offered=default)

            seen.append(converse(client, default, make))
        assert seen[0] == seen[1]
        assert seen[0][-1] == "False"

    def test_whole_transcripts(self) -> None:
        def transcript(plugin: str, default: str, password: str, secure: bool = False) -> list[str]:
            verifier = Verifier(PASSWORD, plugin)
            client = ClientAuthentication(password, secure)
            return converse(
                client, default, lambda name, data: server(verifier, data, name, secure=secure, offered=default)
            )

        assert transcript(NATIVE, NATIVE, PASSWORD) == ["response 20", "True"]
        assert transcript(CACHING_SHA2, CACHING_SHA2, PASSWORD) == ["response 32", "more 1", "True"]
        assert transcript(NATIVE, CACHING_SHA2, PASSWORD) == ["response 32", NATIVE, "answer 20", "True"]
        assert transcript(CACHING_SHA2, NATIVE, PASSWORD) == [
            "response 20",
            CACHING_SHA2,
            "answer 32",
            "more 1",
            "True",
        ]
        assert transcript(CACHING_SHA2, CACHING_SHA2, "no", True) == ["response 32", "more 1", "answer 3", "False"]
        key = f"more {len(KEYS.public_pem)}"
        full = ["response 32", "more 1", "answer 1", key, "answer 256", "False"]
        assert transcript(CACHING_SHA2, CACHING_SHA2, "no") == full


class TestServer:
    verifiers = {plugin: Verifier(PASSWORD, plugin) for plugin in (NATIVE, CACHING_SHA2)}

    def test_full_over_a_secure_channel_accepts_the_password(self) -> None:
        login = server(self.verifiers[CACHING_SHA2], b"out of date", secure=True)
        assert login.start() == [FULL]
        assert login.verdict is None
        assert login.receive(PASSWORD.encode() + b"\0") == []
        assert login.verdict is True

    @pytest.mark.parametrize("asks", [True, False])
    def test_full_by_rsa_accepts_the_password(self, asks: bool) -> None:
        login = server(self.verifiers[CACHING_SHA2], b"out of date")
        assert login.start() == [FULL]
        if asks:
            assert login.receive(b"\x02") == [b"\x01" + KEYS.public_pem]
        login.receive(encrypt_password(PASSWORD.encode(), NONCE, KEYS.public_pem))
        assert login.verdict is True

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\0",
            b"\x02",
            PASSWORD.encode(),
            PASSWORD.encode() + b"\1",
            PASSWORD.encode() + b"\0\0",
            PASSWORD[:-1].encode() + b"\0",
        ],
    )
    def test_full_over_a_secure_channel_denies(self, payload: bytes) -> None:
        login = server(self.verifiers[CACHING_SHA2], b"out of date", secure=True)
        login.start()
        assert login.receive(payload) == []
        assert login.verdict is False

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\x02",
            PASSWORD.encode() + b"\0",
            bytes(256),
            encrypt_password(b"", NONCE, KEYS.public_pem),
            encrypt_password(PASSWORD.encode(), NONCE[::-1], KEYS.public_pem),
            encrypt_password(PASSWORD.encode(), NONCE, RSAKeyPair.generate().public_pem),
        ],
    )
    def test_full_by_rsa_denies(self, payload: bytes) -> None:
        login = server(self.verifiers[CACHING_SHA2], b"out of date")
        login.start()
        login.receive(b"\x02")
        assert login.receive(payload) == []
        assert login.verdict is False

    @pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
    @pytest.mark.parametrize("response", [b"", b"\0"])
    def test_no_password_is_not_a_password(self, plugin: str, response: bytes) -> None:
        login = server(self.verifiers[plugin], response, plugin)
        assert login.start() == []
        assert login.verdict is False
        assert not login.used_password

    @pytest.mark.parametrize("response", [b"", b"\0"])
    def test_users_without_password(self, response: bytes) -> None:
        login = server(Verifier("", CACHING_SHA2), response)
        assert login.start() == []
        assert login.verdict is True
        assert not login.used_password

    def test_an_unreadable_password_is_not_an_empty_one(self) -> None:
        for secure, payload in [(False, bytes(256)), (False, b""), (True, b""), (True, b"x")]:
            login = server(Verifier("", CACHING_SHA2), b"out of date", secure=secure)
            login.start()
            login.receive(payload)
            assert login.verdict is False

    @pytest.mark.parametrize("size", [1, 19, 20, 21, 31, 33, 255])
    def test_responses_of_other_lengths(self, size: int) -> None:
        native = server(self.verifiers[NATIVE], b"r" * size, NATIVE)
        assert native.start() == []
        assert native.verdict is False
        assert native.used_password
        sha2 = server(self.verifiers[CACHING_SHA2], b"r" * size)
        assert sha2.start() == [FULL]
        assert sha2.verdict is None

    @pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
    def test_a_response_of_the_other_plugin_is_not_looked_at(self, plugin: str) -> None:
        other = NATIVE if plugin == CACHING_SHA2 else CACHING_SHA2
        scramble = scrambles.native_scramble if plugin == NATIVE else scrambles.caching_sha2_scramble
        login = server(self.verifiers[plugin], scramble(PASSWORD.encode(), NONCE), other)
        (packet,) = login.start()
        assert AuthSwitchRequest.parse(packet).plugin == plugin
        assert login.verdict is None

    @pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
    def test_a_switch_has_a_nonce_of_its_own(self, plugin: str) -> None:
        scramble = scrambles.native_scramble if plugin == NATIVE else scrambles.caching_sha2_scramble
        replayed = scramble(PASSWORD.encode(), NONCE)
        nonces = set()
        for _ in range(20):
            login = server(self.verifiers[plugin], replayed, "")
            (packet,) = login.start()
            data = AuthSwitchRequest.parse(packet).data
            assert len(data) == 21
            assert data.endswith(b"\0")
            nonces.add(data)
            login.receive(replayed)
            assert not login.verdict
        assert len(nonces | {NONCE + b"\0"}) == 21

    def test_an_empty_response_for_a_plugin_that_was_not_offered_is_none(self) -> None:
        # The mysql command line of version 9, with a password, on a greeting that offers native.
        login = server(self.verifiers[CACHING_SHA2], b"", CACHING_SHA2, offered=NATIVE)
        (packet,) = login.start()
        request = AuthSwitchRequest.parse(packet)
        assert request.plugin == CACHING_SHA2
        assert login.receive(scrambles.caching_sha2_scramble(PASSWORD.encode(), request.data[:20])) == [FAST_OK]
        assert login.verdict is True

    @pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
    def test_a_spent_nonce_makes_it_ask_again(self, plugin: str) -> None:
        scramble = scrambles.native_scramble if plugin == NATIVE else scrambles.caching_sha2_scramble
        login = server(self.verifiers[plugin], scramble(PASSWORD.encode(), NONCE), plugin, offered=None)
        (packet,) = login.start()
        request = AuthSwitchRequest.parse(packet)
        assert request.plugin == plugin
        login.receive(scramble(PASSWORD.encode(), request.data[:20]))
        assert login.verdict is True

    def test_clients_without_plugins(self) -> None:
        scramble = scrambles.native_scramble(PASSWORD.encode(), NONCE)
        for verifier, offered, verdict in [
            (self.verifiers[NATIVE], NATIVE, True),
            (self.verifiers[NATIVE], CACHING_SHA2, True),
            (self.verifiers[NATIVE], None, False),
            (self.verifiers[CACHING_SHA2], CACHING_SHA2, False),
            (Verifier("other", NATIVE), NATIVE, False),
        ]:
            login = server(verifier, scramble, None, offered=offered)
            assert login.start() == []
            assert login.verdict is verdict

    def test_using_password_is_about_the_last_response(self) -> None:
        login = server(self.verifiers[NATIVE], b"", CACHING_SHA2)
        login.start()
        login.receive(b"r" * 20)
        assert login.used_password
        login = server(self.verifiers[NATIVE], b"r" * 32, CACHING_SHA2)
        assert login.used_password
        login.start()
        login.receive(b"")
        assert not login.used_password

    def test_nothing_is_taken_out_of_turn(self) -> None:
        login = server(self.verifiers[NATIVE], b"", NATIVE)
        with pytest.raises(ProtocolError, match="nothing asked for"):
            login.receive(b"")
        login.start()
        assert login.verdict is False
        with pytest.raises(ProtocolError, match="begun already"):
            login.start()
        right = scrambles.native_scramble(PASSWORD.encode(), NONCE)
        with pytest.raises(ProtocolError, match="nothing asked for"):
            login.receive(right)
        assert login.verdict is False

    def test_a_denial_is_not_undone_by_another_full_attempt(self) -> None:
        login = server(self.verifiers[CACHING_SHA2], b"wrong", secure=True)
        login.start()
        login.receive(b"wrong\0")
        with pytest.raises(ProtocolError, match="nothing asked for"):
            login.receive(PASSWORD.encode() + b"\0")
        assert login.verdict is False

    def test_unknown_users_are_denied_even_with_the_password_of_the_decoy(self) -> None:
        for plugin in (NATIVE, CACHING_SHA2):
            scramble = scrambles.native_scramble if plugin == NATIVE else scrambles.caching_sha2_scramble
            decoy = Verifier(PASSWORD, plugin)
            response = scramble(PASSWORD.encode(), NONCE)
            login = ServerAuthentication(
                None, decoy, greeting=greeting(plugin), plugin=plugin, response=response, secure=True, keys=KEYS
            )
            if login.start():
                login.receive(PASSWORD.encode() + b"\0")
            assert login.verdict is False

    @given(
        plugin=st.sampled_from([NATIVE, CACHING_SHA2]),
        named=st.sampled_from([None, "", NATIVE, CACHING_SHA2, CLEAR, ED25519]) | st.text(max_size=10),
        response=st.binary(max_size=40) | st.binary(min_size=32, max_size=32) | st.binary(min_size=20, max_size=20),
        packets=st.lists(st.binary(max_size=300) | st.just(b"\x02"), max_size=4),
        secure=st.booleans(),
        known=st.booleans(),
        offered=st.sampled_from([None, NATIVE, CACHING_SHA2]),
    )
    def test_random_packets_never_get_in(
        self,
        plugin: str,
        named: str | None,
        response: bytes,
        packets: list[bytes],
        secure: bool,
        known: bool,
        offered: str | None,
    ) -> None:
        verifier = self.verifiers[plugin] if known else None
        login = server(verifier, response, named, secure=secure, default=plugin, offered=offered)
        login.start()
        for packet in packets:
            if login.verdict is not None:
                with pytest.raises(ProtocolError):
                    login.receive(packet)
            else:
                login.receive(packet)
        assert not login.verdict

    @pytest.mark.parametrize("plugin", [CLEAR, ED25519, "", "mysql_old_password"])
    def test_plugins_that_clients_are_not_offered(self, plugin: str) -> None:
        with pytest.raises(ValueError, match="clients cannot log in by"):
            Verifier(PASSWORD, plugin)


class TestChanges:
    """A password that has changed, or is found to have."""

    @pytest.mark.parametrize(("plugin", "default", "secure", "has_key"), COMBINATIONS)
    def test_the_password_before_is_as_good(self, plugin: str, default: str, secure: bool, has_key: bool) -> None:
        verifier = Verifier("new", plugin, previous=PASSWORD)
        for word, verdict in (("new", True), (PASSWORD, True), ("newer", False), ("", False)):
            client = ClientAuthentication(word, secure, KEYS.public_pem if has_key else None)
            seen = converse(
                client, default, lambda name, data: server(verifier, data, name, secure=secure, offered=default)
            )
            assert seen[-1] == str(verdict), word

    def test_an_empty_password_before_proves_nothing(self) -> None:
        verifier = Verifier("new", CACHING_SHA2, previous="")
        assert not verifier.is_empty
        assert not verifier.accepts_password(b"")

    @pytest.mark.parametrize(("plugin", "default", "secure", "has_key"), COMBINATIONS)
    @pytest.mark.parametrize("known", [True, False])
    def test_a_denied_client_is_judged_again_by_what_it_has_shown(
        self, plugin: str, default: str, secure: bool, has_key: bool, known: bool
    ) -> None:
        for word, verdict in ((PASSWORD, True), ("wrong", False), ("", False)):
            logins: list[ServerAuthentication] = []

            def make(name: str, data: bytes, logins: list[ServerAuthentication] = logins) -> ServerAuthentication:
                verifier = Verifier("old", plugin) if known else None
                logins.append(server(verifier, data, name, secure=secure, default=plugin, offered=default))
                return logins[-1]

            client = ClientAuthentication(word, secure, KEYS.public_pem if has_key else None)
            assert converse(client, default, make)[-1] == "False"
            (login,) = logins
            login.reconsider(Verifier(PASSWORD, plugin))
            assert login.verdict is verdict, word
            login.reconsider(None)
            assert login.verdict is False

    def test_what_was_shown_to_one_plugin_proves_nothing_to_another(self) -> None:
        login = server(None, b"\x55" * 32, secure=True)
        login.start()
        login.receive(PASSWORD.encode() + b"\0")
        login.reconsider(Verifier(PASSWORD, NATIVE))
        assert login.verdict is False
