"""The packets of the connection phase, and COM_CHANGE_USER, which repeats part of it.

Each class parses and builds payloads, without their 4-byte header. `parse` raises ProtocolError, and nothing
else, for whatever is not that packet; `build` raises it for strings that the packet cannot carry. What people
type (users, schemas, attributes) stays bytes, in the character set of the connection. Plugin names and
versions are text, as Latin-1: every byte has a character there, so nothing is lost.

Source: "Connection Phase" (page_protocol_connection_phase) of the MySQL internals manual, "Connecting" of
MariaDB's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.datatypes import (
    lenenc_bytes,
    nul_bytes,
    read_fixed_bytes,
    read_fixed_int,
    read_lenenc_bytes,
    read_nul_bytes,
)
from rdsproxy.protocol.errors import ProtocolError, ServerRefusedError

NONCE_SIZE = 20
"""Bytes of random data in a greeting, in every plugin that uses it."""

NATIVE = "mysql_native_password"

# Capabilities, max_packet_size, charset, MariaDB's capabilities: all of an SSLRequest, the head of a HandshakeResponse.
_client_head = Struct("<IIB19xI")
# Capabilities (lower half), charset, status, capabilities (upper half), nonce length, MariaDB's capabilities.
_greeting_middle = Struct("<HBHHB6xI")

_NEEDED = "need MySQL 5.7, MariaDB 10.5 or newer"


@dataclass(slots=True, frozen=True)
class Greeting:
    """The server's first packet, Protocol::HandshakeV10."""

    server_version: str
    """As sent: MariaDB before 11.0 puts "5.5.5-" in front of its own."""
    connection_id: int
    nonce: bytes
    capabilities: int
    """64 bits, of which the upper half is told only without CLIENT_LONG_PASSWORD, here and in what clients send."""
    charset: int
    """The id of the default collation, of which a greeting carries the lower 8 bits."""
    status: int
    auth_plugin: str = NATIVE

    @classmethod
    def parse(cls, payload: bytes) -> Greeting:
        """Read a greeting. Raises ServerRefusedError if the server sent an ERR packet in its place."""
        if not payload:
            raise ProtocolError("Greeting: empty packet")
        if payload[0] == 0xFF:
            raise _refusal(payload)
        if payload[0] != 10:
            raise ProtocolError(f"Greeting: protocol version {payload[0]}, {_NEEDED}")
        try:
            version, position = read_nul_bytes(payload, 1)
            connection_id, position = read_fixed_int(payload, position, 4)
            nonce, position = read_fixed_bytes(payload, position, 8)
            position += 1  # a NUL
            middle, position = read_fixed_bytes(payload, position, _greeting_middle.size)
            lower, charset, status, upper, nonce_size, extended = _greeting_middle.unpack(middle)
            capabilities = _with_extended(lower | upper << 16, extended)
            if not capabilities & cap.CLIENT_PROTOCOL_41:
                raise ProtocolError(f"the server does not speak protocol 4.1, {_NEEDED}")
            rest, position = read_fixed_bytes(payload, position, max(13, nonce_size - 8))
            plugin = NATIVE
            if capabilities & cap.CLIENT_PLUGIN_AUTH:
                plugin, position = _read_name(payload, position)
        except ProtocolError as error:
            raise ProtocolError(f"Greeting: {error}") from None
        nonce = (nonce + rest)[:NONCE_SIZE]
        return cls(version.decode("latin-1"), connection_id, nonce, capabilities, charset, status, plugin)

    def build(self) -> bytes:
        """Write the greeting; its nonce must have 20 bytes."""
        if len(self.nonce) != NONCE_SIZE:
            raise ProtocolError(f"Greeting: a nonce of {len(self.nonce)} bytes, need {NONCE_SIZE}")
        upper = self.capabilities >> 16 & 0xFFFF
        has_plugin = self.capabilities & cap.CLIENT_PLUGIN_AUTH
        nonce_size = NONCE_SIZE + 1 if has_plugin else 0
        lower, charset = self.capabilities & 0xFFFF, self.charset & 0xFF
        parts = [
            b"\x0a" + _name(self.server_version) + self.connection_id.to_bytes(4, "little"),
            self.nonce[:8] + b"\0",
            _greeting_middle.pack(lower, charset, self.status, upper, nonce_size, _extended(self.capabilities)),
            self.nonce[8:] + b"\0",
        ]
        if has_plugin:
            parts.append(_name(self.auth_plugin))
        return b"".join(parts)


@dataclass(slots=True, frozen=True)
class SSLRequest:
    """The client asks for TLS; its HandshakeResponse follows inside of it."""

    capabilities: int
    max_packet_size: int
    charset: int

    @staticmethod
    def matches(payload: bytes) -> bool:
        """Tell whether a client's first packet is an SSLRequest: its flag, and nothing behind the head."""
        return len(payload) == _client_head.size and payload[1] & (cap.CLIENT_SSL >> 8) != 0

    @classmethod
    def parse(cls, payload: bytes) -> SSLRequest:
        """Read an SSLRequest."""
        if len(payload) != _client_head.size:
            raise ProtocolError(f"SSLRequest: {len(payload)} bytes, need {_client_head.size}")
        capabilities, max_packet_size, charset, extended = _client_head.unpack(payload)
        if not capabilities & cap.CLIENT_SSL:
            raise ProtocolError("SSLRequest: without the SSL capability")
        if not capabilities & cap.CLIENT_PROTOCOL_41:
            raise _too_old("SSLRequest")
        return cls(_with_extended(capabilities, extended), max_packet_size, charset)

    def build(self) -> bytes:
        """Write the SSLRequest, with the two capabilities that make it one."""
        capabilities = self.capabilities | cap.CLIENT_SSL | cap.CLIENT_PROTOCOL_41
        return _pack_head(capabilities, self.max_packet_size, self.charset)


@dataclass(slots=True, frozen=True)
class HandshakeResponse:
    """The client's answer to the greeting, Protocol::HandshakeResponse41.

    The fields decide: `build` adds the capabilities that they need. An empty schema name is none.
    """

    capabilities: int
    max_packet_size: int
    charset: int
    user: bytes
    auth_response: bytes = field(repr=False)
    database: bytes | None = None
    auth_plugin: str | None = None
    """None: the client knows no plugins, so it answers for mysql_native_password and cannot switch."""
    attributes: dict[bytes, bytes] = field(default_factory=dict)
    zstd_level: int = 0
    """0: not told."""

    @classmethod
    def parse(cls, payload: bytes) -> HandshakeResponse:
        """Read a HandshakeResponse. What follows the last field has no meaning."""
        if len(payload) >= 2 and not int.from_bytes(payload[:2], "little") & cap.CLIENT_PROTOCOL_41:
            raise _too_old("HandshakeResponse")
        if len(payload) < _client_head.size:
            raise ProtocolError(f"HandshakeResponse: {len(payload)} bytes are too few")
        capabilities, max_packet_size, charset, extended = _client_head.unpack_from(payload)
        capabilities = _with_extended(capabilities, extended)
        database = plugin = None
        attributes: dict[bytes, bytes] = {}
        try:
            user, position = read_nul_bytes(payload, _client_head.size)
            if capabilities & cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA:
                response, position = read_lenenc_bytes(payload, position)
            else:
                response, position = _read_auth_response(payload, position, capabilities)
            if capabilities & cap.CLIENT_CONNECT_WITH_DB:
                database, position = read_nul_bytes(payload, position)
            if capabilities & cap.CLIENT_PLUGIN_AUTH:
                plugin, position = _read_name(payload, position)
            if capabilities & cap.CLIENT_CONNECT_ATTRS:
                attributes = _read_attributes(payload, position)
                _, position = read_lenenc_bytes(payload, position)
        except ProtocolError as error:
            raise ProtocolError(f"HandshakeResponse: {error}") from None
        database = database or None
        level = 0
        if capabilities & cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM and position < len(payload):
            level = payload[position]
        return cls(capabilities, max_packet_size, charset, user, response, database, plugin, attributes, level)

    def build(self) -> bytes:
        """Write the HandshakeResponse."""
        capabilities = self.capabilities | cap.CLIENT_PROTOCOL_41
        if self.database:
            capabilities |= cap.CLIENT_CONNECT_WITH_DB
        if self.auth_plugin is not None:
            capabilities |= cap.CLIENT_PLUGIN_AUTH
        if self.attributes:
            capabilities |= cap.CLIENT_CONNECT_ATTRS
        if capabilities & cap.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA:
            response = lenenc_bytes(self.auth_response)
        else:
            response = _auth_response(self.auth_response, capabilities)
        head = _pack_head(capabilities, self.max_packet_size, self.charset)
        parts = [head, nul_bytes(self.user), response]
        if capabilities & cap.CLIENT_CONNECT_WITH_DB:
            parts.append(nul_bytes(self.database or b""))
        if capabilities & cap.CLIENT_PLUGIN_AUTH:
            parts.append(_name(self.auth_plugin or ""))
        if capabilities & cap.CLIENT_CONNECT_ATTRS:
            parts.append(_attributes(self.attributes))
        if capabilities & cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM and self.zstd_level:
            parts.append(bytes((self.zstd_level,)))
        return b"".join(parts)


@dataclass(slots=True, frozen=True)
class AuthSwitchRequest:
    """The server asks for another plugin, or for the same one with a new nonce."""

    plugin: str
    data: bytes
    """As sent: 20 bytes and a NUL for MySQL's plugins, 32 bytes for MariaDB's ed25519."""

    @classmethod
    def parse(cls, payload: bytes) -> AuthSwitchRequest:
        """Read an AuthSwitchRequest."""
        if payload[:1] != b"\xfe":
            raise ProtocolError("AuthSwitchRequest: does not begin with 0xFE")
        if len(payload) == 1:
            raise ProtocolError("AuthSwitchRequest: asks for mysql_old_password, which is refused")
        try:
            plugin, position = _read_name(payload, 1)
        except ProtocolError as error:
            raise ProtocolError(f"AuthSwitchRequest: {error}") from None
        return cls(plugin, payload[position:])

    def build(self) -> bytes:
        """Write the AuthSwitchRequest."""
        return b"\xfe" + _name(self.plugin) + self.data


@dataclass(slots=True, frozen=True)
class AuthMoreData:
    """The server continues the conversation of the current plugin."""

    data: bytes

    @classmethod
    def parse(cls, payload: bytes) -> AuthMoreData:
        """Read an AuthMoreData."""
        if payload[:1] != b"\x01":
            raise ProtocolError("AuthMoreData: does not begin with 0x01")
        return cls(payload[1:])

    def build(self) -> bytes:
        """Write the AuthMoreData."""
        return b"\x01" + self.data


@dataclass(slots=True, frozen=True)
class ChangeUser:
    """COM_CHANGE_USER. Its form depends on the capabilities that the connection agreed on."""

    user: bytes
    auth_response: bytes = field(repr=False)
    database: bytes | None = None
    charset: int | None = None
    """None: as the connection has it. Two bytes here, unlike the one of the handshake."""
    auth_plugin: str | None = None
    attributes: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, payload: bytes, capabilities: int) -> ChangeUser:
        """Read a COM_CHANGE_USER, which may end after any field from the schema on."""
        if payload[:1] != b"\x11":
            raise ProtocolError("COM_CHANGE_USER: does not begin with 0x11")
        charset = plugin = None
        attributes: dict[bytes, bytes] = {}
        try:
            user, position = read_nul_bytes(payload, 1)
            response, position = _read_auth_response(payload, position, capabilities)
            database, position = read_nul_bytes(payload, position)
            if position < len(payload):
                charset, position = read_fixed_int(payload, position, 2)
            if position < len(payload) and capabilities & cap.CLIENT_PLUGIN_AUTH:
                plugin, position = _read_name(payload, position)
            if position < len(payload) and capabilities & cap.CLIENT_CONNECT_ATTRS:
                attributes = _read_attributes(payload, position)
        except ProtocolError as error:
            raise ProtocolError(f"COM_CHANGE_USER: {error}") from None
        return cls(user, response, database or None, charset, plugin, attributes)

    def build(self, capabilities: int) -> bytes:
        """Write the COM_CHANGE_USER. A field needs those before it, and the capability that it stands for."""
        parts = [
            b"\x11",
            nul_bytes(self.user),
            _auth_response(self.auth_response, capabilities),
            nul_bytes(self.database or b""),
        ]
        has_plugin, has_attributes = self.auth_plugin is not None, bool(self.attributes)
        if (
            (has_plugin and (self.charset is None or not capabilities & cap.CLIENT_PLUGIN_AUTH))
            or (has_attributes and (self.charset is None or not capabilities & cap.CLIENT_CONNECT_ATTRS))
            or (has_attributes and not has_plugin and capabilities & cap.CLIENT_PLUGIN_AUTH)
        ):
            raise ProtocolError("COM_CHANGE_USER: a field without its capability or the one before")
        if self.charset is not None:
            parts.append(self.charset.to_bytes(2, "little"))
        if self.auth_plugin is not None:
            parts.append(_name(self.auth_plugin))
        if has_attributes:
            parts.append(_attributes(self.attributes))
        return b"".join(parts)


def _with_extended(capabilities: int, extended: int) -> int:
    return capabilities if capabilities & cap.CLIENT_LONG_PASSWORD else capabilities | extended << 32


def _extended(capabilities: int) -> int:
    return 0 if capabilities & cap.CLIENT_LONG_PASSWORD else capabilities >> 32


def _pack_head(capabilities: int, max_packet_size: int, charset: int) -> bytes:
    return _client_head.pack(capabilities & 0xFFFFFFFF, max_packet_size, charset, _extended(capabilities))


def _too_old(packet: str) -> ProtocolError:
    return ProtocolError(f"{packet}: the client does not speak protocol 4.1 (it is older than MySQL 4.1)")


def _refusal(payload: bytes) -> ProtocolError:
    if len(payload) < 3:
        return ProtocolError("ERR in place of a greeting: ends inside its error number")
    code = int.from_bytes(payload[1:3], "little")
    state, text = "HY000", payload[3:]
    # Which of the two forms it is the server cannot have agreed with us: without a state before 5.7.
    if text[:1] == b"#" and len(text) >= 6:
        state, text = text[1:6].decode("latin-1"), text[6:]
    return ServerRefusedError(code, state, text.decode("utf-8", "replace"))


def _read_name(payload: bytes, position: int) -> tuple[str, int]:
    name, position = read_nul_bytes(payload, position)
    return name.decode("latin-1"), position


def _name(name: str) -> bytes:
    try:
        return nul_bytes(name.encode("latin-1"))
    except UnicodeEncodeError:
        raise ProtocolError("a plugin name or version with characters outside of Latin-1") from None


def _read_auth_response(payload: bytes, position: int, capabilities: int) -> tuple[bytes, int]:
    if not capabilities & cap.CLIENT_SECURE_CONNECTION:
        return read_nul_bytes(payload, position)
    length, position = read_fixed_int(payload, position, 1)
    return read_fixed_bytes(payload, position, length)


def _auth_response(response: bytes, capabilities: int) -> bytes:
    if not capabilities & cap.CLIENT_SECURE_CONNECTION:
        return nul_bytes(response)
    if len(response) > 255:
        raise ProtocolError(f"an authentication response of {len(response)} bytes, at most 255 fit")
    return bytes((len(response),)) + response


def _read_attributes(payload: bytes, position: int) -> dict[bytes, bytes]:
    block, _ = read_lenenc_bytes(payload, position)
    attributes = {}
    position = 0
    while position < len(block):
        key, position = read_lenenc_bytes(block, position)
        attributes[key], position = read_lenenc_bytes(block, position)
    return attributes


def _attributes(attributes: dict[bytes, bytes]) -> bytes:
    return lenenc_bytes(b"".join(lenenc_bytes(k) + lenenc_bytes(v) for k, v in attributes.items()))
