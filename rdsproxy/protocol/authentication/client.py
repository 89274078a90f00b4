"""Authentication towards a database, as its client: what to answer to each packet before OK or ERR."""

from __future__ import annotations

from typing import Final

from rdsproxy.protocol.authentication import ed25519
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2, CLEAR, ED25519, NATIVE, NONCE_SIZE
from rdsproxy.protocol.authentication.rsa import encrypt_password
from rdsproxy.protocol.authentication.scrambles import caching_sha2_scramble, native_scramble
from rdsproxy.protocol.authentication.verifier import password_bytes
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.handshake import AuthMoreData, AuthSwitchRequest

_OLD: Final = "mysql_old_password"
_FAST_OK: Final = b"\x03"
_FULL: Final = b"\x04"
_KEY_REQUEST: Final = b"\x02"
_MAX_SWITCHES: Final = 8  # MariaDB tries each of a user's plugins in turn

# What an AuthMoreData would be now.
_NONE, _SHA2_RESULT, _PUBLIC_KEY = range(3)


class ClientAuthentication:
    """One login at a database.

    `first_response` answers the greeting; then `receive` takes each packet until the caller sees OK or ERR, which end
    it. `secure` says that nobody else can read the connection (TLS or a Unix socket): only there the password itself
    is sent. Without it caching_sha2_password asks the server for its public key unless `server_public_key` (PEM) is
    given; against someone who can alter the connection, only the latter (or TLS) protects.

    Both raise AuthenticationError when the login must not go on, and ProtocolError for packets that no server sends.
    """

    __slots__ = ("_awaiting", "_nonce", "_password", "_public_key", "_secure", "_switches", "plugin")

    def __init__(self, password: str, secure: bool, server_public_key: bytes | None = None) -> None:
        self._password = password_bytes(password)
        self._secure = secure
        self._public_key = server_public_key
        self._nonce = b""
        self._awaiting = _NONE
        self._switches = 0
        self.plugin = CACHING_SHA2
        """The plugin of the last response; after `first_response`, the one to name in the HandshakeResponse."""

    def first_response(self, plugin: str, nonce: bytes) -> bytes:
        """Answer the plugin and nonce of a greeting.

        A greeting names the server's default, not the user's plugin, which may follow as a switch. So a default that
        this does not know, or that would show the password, is answered by caching_sha2_password.
        """
        return self._respond(plugin if plugin in (NATIVE, CACHING_SHA2) else CACHING_SHA2, nonce)

    def receive(self, payload: bytes) -> bytes | None:
        """Take an AuthSwitchRequest or AuthMoreData; give the payload to send, or None if there is nothing to."""
        kind = payload[:1]
        if kind == b"\xfe":
            self._switches += 1
            if self._switches > _MAX_SWITCHES:
                raise ProtocolError("AuthSwitchRequest: one too many in one login")
            if len(payload) == 1:
                raise _unsupported(_OLD)
            request = AuthSwitchRequest.parse(payload)
            return self._respond(request.plugin, request.data)
        if kind == b"\x01":
            return self._continue(AuthMoreData.parse(payload).data)
        if kind == b"\x02":
            raise AuthenticationError("the database asks for a second factor: use an account with a password alone")
        raise ProtocolError("during authentication: neither a switch nor more data, nor OK or ERR")

    def _respond(self, plugin: str, data: bytes) -> bytes:
        self.plugin = plugin
        self._awaiting = _NONE
        password = self._password
        if plugin == NATIVE:
            return native_scramble(password, _first(data, NONCE_SIZE))
        if plugin == CACHING_SHA2:
            self._nonce = _first(data, NONCE_SIZE)
            if password:
                self._awaiting = _SHA2_RESULT
            return caching_sha2_scramble(password, self._nonce)
        if plugin == ED25519:
            nonce = _first(data, 32)
            return ed25519.sign(password, nonce) if password else b""
        if plugin == CLEAR:
            if not self._secure:
                raise AuthenticationError(
                    f"the database asks for the password itself ({CLEAR}) on a connection that others can read: "
                    "use TLS towards it"
                )
            return password + b"\0" if password else b""
        raise _unsupported(plugin)

    def _continue(self, data: bytes) -> bytes | None:
        awaiting, self._awaiting = self._awaiting, _NONE
        if awaiting == _SHA2_RESULT and data == _FAST_OK:
            return None
        if awaiting == _SHA2_RESULT and data == _FULL:
            if self._secure:
                return self._password + b"\0"
            if self._public_key is None:
                self._awaiting = _PUBLIC_KEY
                return _KEY_REQUEST
            return encrypt_password(self._password, self._nonce, self._public_key)
        if awaiting == _PUBLIC_KEY:
            return encrypt_password(self._password, self._nonce, data)
        raise ProtocolError(f"AuthMoreData: unexpected at this point of {self.plugin[:64]!r}")


def _first(data: bytes, size: int) -> bytes:
    # MySQL's nonces carry a NUL behind them, in a switch.
    if len(data) < size:
        raise ProtocolError(f"a nonce of {len(data)} bytes, need {size}")
    return data[:size]


def _unsupported(plugin: str) -> AuthenticationError:
    return AuthenticationError(
        f"the database asks for the authentication plugin {plugin[:64]!r}, which is not supported: "
        f"give the user {CACHING_SHA2}, {NATIVE} or (MariaDB) ed25519"
    )
