"""Authentication of a client, as its server: from the HandshakeResponse to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rdsproxy.protocol.authentication.plugins import NATIVE, fresh_nonce
from rdsproxy.protocol.authentication.rsa import RSAKeyPair
from rdsproxy.protocol.authentication.verifier import Verifier
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.handshake import AuthMoreData, AuthSwitchRequest, Greeting

_FAST_OK: Final = AuthMoreData(b"\x03").build()
_FULL: Final = AuthMoreData(b"\x04").build()
_KEY_REQUEST: Final = b"\x02"

_NEW, _SWITCHED, _FULL_ASKED, _KEY_GIVEN, _DECIDED = range(5)


class ServerAuthentication:
    """One login of a client.

    `start`, then `receive` with each of the client's packets, give the payloads to send. When `verdict` is no longer
    None the caller sends what it was given and then OK or ERR.

    `verifier` is None for an unknown user, who goes the same way at the same cost against `decoy` and is denied at
    its end. `plugin` (None: the client knows no plugins) and `response` are the client's. `greeting` is what it
    answered; None says that it answered none, or one that was answered before, as in COM_CHANGE_USER: then the
    response is not looked at, and the client is asked again. `secure` says that nobody else can read the connection.
    """

    __slots__ = (
        "_expected",
        "_greeting",
        "_keys",
        "_known",
        "_nonce",
        "_plugin",
        "_proof",
        "_response",
        "_secure",
        "_state",
        "used_password",
        "verdict",
    )

    def __init__(
        self,
        verifier: Verifier | None,
        decoy: Verifier,
        *,
        greeting: Greeting | None,
        plugin: str | None,
        response: bytes,
        secure: bool,
        keys: RSAKeyPair,
    ) -> None:
        self._known = verifier is not None
        self._expected = decoy if verifier is None else verifier
        self._greeting = greeting
        self._nonce = b""
        self._plugin = plugin
        self._response = response
        self._secure = secure
        self._keys = keys
        self._state = _NEW
        self._proof: Callable[[Verifier], bool] | None = None
        self.verdict: bool | None = None
        """None until it is known whether the client may come in."""
        self.used_password = _is_password(response)
        """For the message of a denial: (using password: YES) or NO."""

    def start(self) -> list[bytes]:
        """Check the client's first response, or ask for another. Raises ProtocolError if called again."""
        if self._state != _NEW:
            raise ProtocolError("authentication: has begun already")
        expected, greeting = self._expected.plugin, self._greeting
        if self._plugin is None:
            if expected != NATIVE or greeting is None:
                return self._decide(False)
        elif greeting is None or not self._plugin == expected == greeting.auth_plugin:
            # A client that prefers another plugin than the greeting's shows it nothing of the greeting: the mysql
            # command line of version 9 then sends an empty response, whatever the password.
            self._state = _SWITCHED
            self._nonce = fresh_nonce()
            return [AuthSwitchRequest(expected, self._nonce + b"\0").build()]
        self._nonce = greeting.nonce
        return self._check_response(self._response)

    def receive(self, payload: bytes) -> list[bytes]:
        """Take the client's next packet. Raises ProtocolError if none is due."""
        state = self._state
        if state in (_NEW, _DECIDED):
            raise ProtocolError("authentication: a packet from the client that nothing asked for")
        if state == _SWITCHED:
            return self._check_response(payload)
        if self._secure:
            return self._check_password(payload[:-1] if payload.endswith(b"\0") else None)
        if state == _FULL_ASKED and payload == _KEY_REQUEST:
            self._state = _KEY_GIVEN
            return [AuthMoreData(self._keys.public_pem).build()]
        return self._check_password(self._keys.decrypt(payload, self._nonce))

    def reconsider(self, verifier: Verifier | None) -> None:
        """Judge a client that was denied by what is known of its user now. A different plugin leaves it denied."""
        same = verifier is not None and verifier.plugin == self._expected.plugin
        self._known = same
        expected = verifier if verifier is not None and same else self._expected
        matches = self._proof is not None and self._proof(expected)
        self._decide(matches)

    def _check_password(self, password: bytes | None) -> list[bytes]:
        # Hashed in any case, so that the time taken does not tell a wrong password from a wrong padding.
        matches = self._expected.accepts_password(password or b"")
        if password is not None:
            self._proof = lambda verifier: verifier.accepts_password(password)
        return self._decide(matches and password is not None)

    def _check_response(self, response: bytes) -> list[bytes]:
        self.used_password = _is_password(response)
        if not self.used_password:
            return self._decide(self._expected.is_empty)
        matches = self._expected.accepts_response(self._nonce, response)
        if self._expected.plugin == NATIVE:
            self._proof = lambda verifier: verifier.accepts_response(self._nonce, response)
            return self._decide(matches)
        if matches and self._known:
            self._decide(True)
            return [_FAST_OK]
        # As MySQL, whose cache may be out of date: a wrong scramble is not yet a wrong password.
        self._state = _FULL_ASKED
        return [_FULL]

    def _decide(self, matches: bool) -> list[bytes]:
        self._state = _DECIDED
        self.verdict = matches and self._known
        return []


def _is_password(response: bytes) -> bool:
    # libmysqlclient answers caching_sha2_password with one NUL when it has no password.
    return response not in (b"", b"\0")
