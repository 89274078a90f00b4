"""The packets of the connection phase."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.constants import CLIENT, SERVER_STATUS

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.errors import ProtocolError, ServerRefusedError
from rdsproxy.protocol.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
    Greeting,
    HandshakeResponse,
    SSLRequest,
)

# As read from the sockets of MariaDB 10.11, MySQL 9.7 and MariaDB's command line client.
MARIADB_GREETING = bytes.fromhex(
    "0a352e352e352d31302e31312e31392d4d6172696144422d302b6465623132753100040000003d6a246d7c49367200fef7080200"
    "ff81150000000000001d0000005c55756c41405921362d7e56006d7973716c5f6e61746976655f70617373776f726400"
)
MYSQL_GREETING = bytes.fromhex(
    "0a392e372e342d32000900000014124c1d7b03157a00ffffff0200ffdf15000000000000000000002c4b0d0a7a70057a3b3e6756"
    "0063616368696e675f736861325f70617373776f726400"
)
MARIADB_RESPONSE = bytes.fromhex(
    "8da2bf000000100021000000000000000000000000000000000000000000000061707000201cde3f66476ec2d8f2b725a82e8c5a"
    "ac060ff70432b837638cfbac2356f1505173686f700063616368696e675f736861325f70617373776f7264007e035f6f73054c69"
    "6e75780c5f636c69656e745f6e616d650a6c69626d617269616462045f70696404373335330f5f636c69656e745f76657273696f"
    "6e06332e332e3230095f706c6174666f726d067838365f36340c70726f6772616d5f6e616d65056d7973716c0c5f736572766572"
    "5f686f7374093132372e302e302e31"
)

NO_NUL = st.binary(max_size=40).filter(lambda value: b"\0" not in value)
NAME = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=30)
ATTRIBUTES = st.dictionaries(st.binary(max_size=20), st.binary(max_size=300), max_size=4)
UINT32 = st.integers(0, 2**32 - 1)
# The upper half is told only where MariaDB is meant.
CAPABILITIES = UINT32 | st.integers(0, 2**64 - 1).map(lambda flags: flags & ~cap.CLIENT_LONG_PASSWORD)
BASE = cap.CLIENT_PROTOCOL_41 | cap.CLIENT_SECURE_CONNECTION
PARSERS: list[Callable[[bytes], object]] = [
    Greeting.parse,
    SSLRequest.parse,
    HandshakeResponse.parse,
    AuthSwitchRequest.parse,
    AuthMoreData.parse,
    lambda payload: ChangeUser.parse(payload, 0xFFFFFFFF),
    lambda payload: ChangeUser.parse(payload, 0),
]


def test_flags_agree_with_pymysql() -> None:
    renamed = {"HANDLE_EXPIRED_PASSWORDS": "CAN_HANDLE_EXPIRED_PASSWORDS"}
    for name, value in vars(CLIENT).items():
        if name.isupper() and name != "CAPABILITIES":
            assert getattr(cap, "CLIENT_" + renamed.get(name, name)) == value, name
    for name, value in vars(SERVER_STATUS).items():
        if name.isupper():
            assert getattr(cap, name) == value, name


class TestGreeting:
    def test_mariadb(self) -> None:
        greeting = Greeting.parse(MARIADB_GREETING)
        assert greeting.server_version == "5.5.5-10.11.19-MariaDB-0+deb12u1"
        assert greeting.connection_id == 4
        assert greeting.nonce == b"=j$m|I6r\\UulA@Y!6-~V"
        assert greeting.auth_plugin == "mysql_native_password"
        assert greeting.charset == 8
        assert greeting.status == cap.SERVER_STATUS_AUTOCOMMIT
        assert not greeting.capabilities & cap.CLIENT_LONG_PASSWORD
        assert greeting.capabilities & cap.CLIENT_DEPRECATE_EOF
        # Progress reports, bulks, more in column definitions, definitions left out.
        assert greeting.capabilities >> 32 == 0b11101
        assert greeting.capabilities & cap.MARIADB_CLIENT_STMT_BULK_OPERATIONS
        assert greeting.build() == MARIADB_GREETING

    def test_mysql(self) -> None:
        greeting = Greeting.parse(MYSQL_GREETING)
        assert greeting.server_version == "9.7.4-2"
        assert greeting.auth_plugin == "caching_sha2_password"
        assert greeting.capabilities & cap.CLIENT_MULTI_FACTOR_AUTHENTICATION
        assert greeting.build() == MYSQL_GREETING

    @given(
        NAME,
        UINT32,
        st.binary(min_size=20, max_size=20),
        CAPABILITIES,
        st.integers(0, 255),
        st.integers(0, 65535),
        NAME,
    )
    def test_round_trip(
        self,
        version: str,
        connection_id: int,
        nonce: bytes,
        capabilities: int,
        charset: int,
        status: int,
        plugin: str,
    ) -> None:
        capabilities |= cap.CLIENT_PROTOCOL_41 | cap.CLIENT_PLUGIN_AUTH
        greeting = Greeting(version, connection_id, nonce, capabilities, charset, status, plugin)
        payload = greeting.build()
        assert Greeting.parse(payload) == greeting
        for size in range(len(payload)):
            with pytest.raises(ProtocolError, match=r"^Greeting: "):
                Greeting.parse(payload[:size])

    def test_without_plugins_it_is_native(self) -> None:
        greeting = Greeting("8", 1, b"n" * 20, BASE, 45, 2)
        assert Greeting.parse(greeting.build()) == greeting
        assert greeting.auth_plugin == "mysql_native_password"

    def test_of_a_longer_nonce_the_first_twenty_bytes_count(self) -> None:
        payload = bytearray(Greeting("8", 1, b"n" * 20, BASE | cap.CLIENT_PLUGIN_AUTH, 45, 2).build())
        end = payload.index(b"n\0mysql_native")
        payload[end : end + 1] = b"nabcdefgh"
        payload[23] += 8  # the length of the nonce
        greeting = Greeting.parse(bytes(payload))
        assert greeting.nonce == b"n" * 20
        assert greeting.auth_plugin == "mysql_native_password"

    def test_collations_above_255_show_their_lower_bits(self) -> None:
        built = Greeting("8", 1, b"n" * 20, BASE, 2304 + 7, 2).build()
        assert Greeting.parse(built).charset == 7

    @pytest.mark.parametrize("size", [0, 19, 21])
    def test_the_nonce_has_twenty_bytes(self, size: int) -> None:
        with pytest.raises(ProtocolError, match="nonce"):
            Greeting("8", 1, bytes(size), BASE, 45, 2).build()

    def test_protocol_9(self) -> None:
        with pytest.raises(ProtocolError, match="version 9"):
            Greeting.parse(b"\x093.20\0" + bytes(14))

    def test_a_server_without_protocol_41(self) -> None:
        with pytest.raises(ProtocolError, match=r"does not speak protocol 4.1"):
            Greeting.parse(Greeting("4.0", 1, b"n" * 20, 0, 8, 2).build())

    @pytest.mark.parametrize(
        ("payload", "state"),
        [(b"\xff\x10\x04#08004Too many", "08004"), (b"\xff\x10\x04Too many", "HY000")],
    )
    def test_an_error_in_its_place(self, payload: bytes, state: str) -> None:
        with pytest.raises(ServerRefusedError, match="1040") as caught:
            Greeting.parse(payload)
        assert (caught.value.code, caught.value.sqlstate, caught.value.text) == (1040, state, "Too many")

    def test_an_error_with_half_a_state(self) -> None:
        with pytest.raises(ServerRefusedError) as caught:
            Greeting.parse(b"\xff\x10\x04#080")
        assert (caught.value.sqlstate, caught.value.text) == ("HY000", "#080")

    @pytest.mark.parametrize("payload", [b"\xff", b"\xff\x10"])
    def test_a_short_error_in_its_place(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match="ends inside its error number"):
            Greeting.parse(payload)


    def test_mariadb_s_capabilities_are_for_those_who_look_for_them(self) -> None:
        """Whoever has CLIENT_LONG_PASSWORD may have anything in these bytes."""
        capabilities = BASE | cap.CLIENT_LONG_PASSWORD | cap.CLIENT_SSL | 0xFF << 32
        greeting = Greeting("8", 1, b"n" * 20, capabilities, 45, 2)
        assert Greeting.parse(greeting.build()).capabilities == capabilities & 0xFFFFFFFF
        for packet in (HandshakeResponse(capabilities, 0, 45, b"", b""), SSLRequest(capabilities, 0, 45)):
            payload = packet.build()
            assert payload[28:32] == bytes(4)
            for own in (bytes(4), b"\1\2\3\4"):
                assert type(packet).parse(payload[:28] + own + payload[32:]).capabilities >> 32 == 0

    @pytest.mark.parametrize(
        ("server", "fitted"),
        [
            (cap.CLIENT_LONG_PASSWORD | 0xFF << 32, cap.CLIENT_LONG_PASSWORD | cap.CLIENT_SSL),
            (0xFF << 32, cap.MARIADB_CLIENT_STMT_BULK_OPERATIONS | cap.CLIENT_SSL),
            (0, cap.CLIENT_SSL),
        ],
    )
    def test_what_fits_a_server(self, server: int, fitted: int) -> None:
        assert cap.fitted(cap.CLIENT_LONG_PASSWORD | cap.CLIENT_SSL, server) == fitted


class TestSSLRequest:
    @given(CAPABILITIES, UINT32, st.integers(0, 255))
    def test_round_trip(self, capabilities: int, max_packet_size: int, charset: int) -> None:
        capabilities |= BASE | cap.CLIENT_SSL
        request = SSLRequest(capabilities, max_packet_size, charset)
        payload = request.build()
        assert len(payload) == 32
        assert SSLRequest.matches(payload)
        assert SSLRequest.parse(payload) == request
        for size in range(32):
            assert not SSLRequest.matches(payload[:size])
            with pytest.raises(ProtocolError, match=r"^SSLRequest: "):
                SSLRequest.parse(payload[:size])

    def test_a_response_inside_tls_is_not_a_request(self) -> None:
        payload = HandshakeResponse(BASE | cap.CLIENT_SSL, 0, 45, b"", b"").build()
        assert not SSLRequest.matches(payload)

    def test_without_its_flag(self) -> None:
        payload = BASE.to_bytes(4, "little") + bytes(28)
        assert not SSLRequest.matches(payload)
        with pytest.raises(ProtocolError, match="without the SSL capability"):
            SSLRequest.parse(payload)

    def test_without_protocol_41(self) -> None:
        payload = cap.CLIENT_SSL.to_bytes(4, "little") + bytes(28)
        with pytest.raises(ProtocolError, match=r"does not speak protocol 4.1"):
            SSLRequest.parse(payload)


class TestHandshakeResponse:
    def test_mariadb_client(self) -> None:
        response = HandshakeResponse.parse(MARIADB_RESPONSE)
        assert response.user == b"app"
        assert len(response.auth_response) == 32
        assert response.database == b"shop"
        assert response.auth_plugin == "caching_sha2_password"
        assert response.attributes[b"_client_name"] == b"libmariadb"
        assert response.max_packet_size == 2**20
        assert response.charset == 33
        assert response.build() == MARIADB_RESPONSE

    @given(
        capabilities=CAPABILITIES,
        max_packet_size=UINT32,
        charset=st.integers(0, 255),
        user=NO_NUL,
        auth_response=NO_NUL,
        database=st.none() | NO_NUL.filter(bool),
        auth_plugin=st.none() | NAME,
        attributes=ATTRIBUTES,
    )
    def test_round_trip_and_truncation(
        self,
        capabilities: int,
        max_packet_size: int,
        charset: int,
        user: bytes,
        auth_response: bytes,
        database: bytes | None,
        auth_plugin: str | None,
        attributes: dict[bytes, bytes],
    ) -> None:
        capabilities |= cap.CLIENT_PROTOCOL_41
        for flag, value in [
            (cap.CLIENT_CONNECT_WITH_DB, database),
            (cap.CLIENT_PLUGIN_AUTH, auth_plugin),
            (cap.CLIENT_CONNECT_ATTRS, attributes or None),
        ]:
            capabilities = capabilities | flag if value is not None else capabilities & ~flag
        response = HandshakeResponse(
            capabilities, max_packet_size, charset, user, auth_response, database, auth_plugin, attributes
        )
        payload = response.build()
        assert HandshakeResponse.parse(payload) == response
        level = 3 if capabilities & cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM else 0
        told = dataclasses.replace(response, zstd_level=level)
        assert HandshakeResponse.parse(payload + b"\x03") == told
        assert HandshakeResponse.parse(told.build()) == told
        for size in range(len(payload)):
            with pytest.raises(ProtocolError, match=r"^HandshakeResponse: "):
                HandshakeResponse.parse(payload[:size])

    def test_build_adds_the_capabilities_that_its_fields_need(self) -> None:
        response = HandshakeResponse(cap.CLIENT_SECURE_CONNECTION, 0, 45, b"u", b"r", b"d", "p", {b"k": b"v"})
        parsed = HandshakeResponse.parse(response.build())
        needed = cap.CLIENT_CONNECT_WITH_DB | cap.CLIENT_PLUGIN_AUTH | cap.CLIENT_CONNECT_ATTRS
        assert parsed == dataclasses.replace(response, capabilities=BASE | needed)

    def test_an_empty_schema_is_none(self) -> None:
        response = HandshakeResponse(BASE | cap.CLIENT_CONNECT_WITH_DB, 0, 45, b"u", b"", b"")
        assert HandshakeResponse.parse(response.build()).database is None

    @pytest.mark.parametrize(
        ("flags", "encoded"),
        [
            (cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA, b"\xfc\x2c\x01"),
            (cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA | cap.CLIENT_SECURE_CONNECTION, b"\xfc\x2c\x01"),
            (0, b""),
        ],
    )
    def test_a_long_authentication_response(self, flags: int, encoded: bytes) -> None:
        token = b"t" * 300  # an IAM token is longer still
        response = HandshakeResponse(cap.CLIENT_PROTOCOL_41 | flags, 0, 45, b"u", token)
        payload = response.build()
        assert payload[34:].startswith(encoded + token)
        assert HandshakeResponse.parse(payload) == response

    def test_a_long_authentication_response_does_not_fit_one_byte(self) -> None:
        with pytest.raises(ProtocolError, match="300 bytes, at most 255"):
            HandshakeResponse(BASE, 0, 45, b"u", b"t" * 300).build()

    def test_a_nul_in_the_user_cannot_become_another_field(self) -> None:
        with pytest.raises(ProtocolError, match="NUL"):
            HandshakeResponse(BASE, 0, 45, b"app\0\0root", b"").build()

    @pytest.mark.parametrize("payload", [b"\x05\0\xff\xff\xffold\0secret", bytes(40)])
    def test_a_client_before_4_1(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match=r"older than MySQL 4.1"):
            HandshakeResponse.parse(payload)

    def test_repr_hides_the_authentication_response(self) -> None:
        assert "t0ken" not in repr(HandshakeResponse(BASE, 0, 45, b"u", b"t0ken"))
        assert "t0ken" not in repr(ChangeUser(b"u", b"t0ken"))


class TestAuthSwitchRequest:
    @given(NAME, st.binary(max_size=40))
    def test_round_trip_and_truncation(self, plugin: str, data: bytes) -> None:
        request = AuthSwitchRequest(plugin, data)
        payload = request.build()
        assert AuthSwitchRequest.parse(payload) == request
        for size in range(len(plugin) + 2):
            with pytest.raises(ProtocolError, match=r"^AuthSwitchRequest: "):
                AuthSwitchRequest.parse(payload[:size])

    def test_the_old_form_is_refused(self) -> None:
        with pytest.raises(ProtocolError, match="mysql_old_password"):
            AuthSwitchRequest.parse(b"\xfe")

    def test_a_plugin_name_that_is_none(self) -> None:
        with pytest.raises(ProtocolError, match="Latin-1"):
            AuthSwitchRequest("\u20ac", b"").build()


class TestAuthMoreData:
    @given(st.binary(max_size=40))
    def test_round_trip(self, data: bytes) -> None:
        assert AuthMoreData.parse(AuthMoreData(data).build()) == AuthMoreData(data)

    @pytest.mark.parametrize("payload", [b"", b"\0", b"\xfe"])
    def test_another_packet(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match="AuthMoreData"):
            AuthMoreData.parse(payload)


class TestChangeUser:
    ALL = BASE | cap.CLIENT_PLUGIN_AUTH | cap.CLIENT_CONNECT_ATTRS

    @given(
        user=NO_NUL,
        auth_response=NO_NUL,
        database=st.none() | NO_NUL.filter(bool),
        charset=st.integers(0, 65535),
        auth_plugin=NAME,
        attributes=ATTRIBUTES,
        secure=st.booleans(),
    )
    def test_round_trip_and_truncation(
        self,
        user: bytes,
        auth_response: bytes,
        database: bytes | None,
        charset: int,
        auth_plugin: str,
        attributes: dict[bytes, bytes],
        secure: bool,
    ) -> None:
        capabilities = self.ALL if secure else self.ALL & ~cap.CLIENT_SECURE_CONNECTION
        command = ChangeUser(user, auth_response, database, charset, auth_plugin, attributes)
        payload = command.build(capabilities)
        assert ChangeUser.parse(payload, capabilities) == command
        without_attributes = len(dataclasses.replace(command, attributes={}).build(capabilities))
        may_end = {without_attributes, without_attributes - len(auth_plugin) - 1}
        may_end.add(min(may_end) - 2)
        for size in range(len(payload)):
            if size in may_end:
                assert ChangeUser.parse(payload[:size], capabilities).user == user
            else:
                with pytest.raises(ProtocolError, match=r"^COM_CHANGE_USER: "):
                    ChangeUser.parse(payload[:size], capabilities)

    def test_the_short_form(self) -> None:
        command = ChangeUser(b"app", b"r" * 20)
        payload = command.build(BASE)
        assert payload == b"\x11app\0\x14" + b"r" * 20 + b"\0"
        assert ChangeUser.parse(payload, self.ALL) == command

    def test_without_plugins_attributes_follow_the_charset(self) -> None:
        capabilities = self.ALL & ~cap.CLIENT_PLUGIN_AUTH
        command = ChangeUser(b"app", b"", None, 255, None, {b"a": b"b"})
        assert ChangeUser.parse(command.build(capabilities), capabilities) == command

    @pytest.mark.parametrize(
        ("command", "capabilities"),
        [
            (ChangeUser(b"u", b"", None, None, "p"), ALL),
            (ChangeUser(b"u", b"", None, 45, "p"), BASE),
            (ChangeUser(b"u", b"", None, 45, None, {b"a": b"b"}), ALL),
            (ChangeUser(b"u", b"", None, 45, None, {b"a": b"b"}), BASE),
            (ChangeUser(b"u", b"", None, None, None, {b"a": b"b"}), BASE | cap.CLIENT_CONNECT_ATTRS),
        ],
    )
    def test_fields_that_would_be_read_as_others(self, command: ChangeUser, capabilities: int) -> None:
        with pytest.raises(ProtocolError, match="a field without"):
            command.build(capabilities)


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.data())
def test_random_bytes_raise_protocol_errors_only(parse: Callable[[bytes], object], data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from([b"", b"\x0a", b"\xff", b"\xfe", b"\x01", b"\x11", b"\xff\xff\xff\xff"]))
    filler = data.draw(st.sampled_from([0, 28]))
    payload = prefix + bytes(filler) + data.draw(st.binary(max_size=80))
    with contextlib.suppress(ProtocolError):
        parse(payload)


@pytest.mark.parametrize("parse", PARSERS)
@given(position=st.integers(0, 120), value=st.integers(0, 255))
def test_mutated_packets_raise_protocol_errors_only(
    parse: Callable[[bytes], object], position: int, value: int
) -> None:
    for packet in (MARIADB_GREETING, MARIADB_RESPONSE, ChangeUser(b"a", b"b" * 20).build(BASE)):
        mutated = bytearray(packet)
        mutated[position % len(packet)] = value
        with contextlib.suppress(ProtocolError):
            parse(bytes(mutated))
